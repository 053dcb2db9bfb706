//! What is decided for devices of the original protocol alone, which cannot be told to wait and say nothing of connections.

use ota_core::fleet::Dialect;
use ota_core::fleet::records::AttemptPhase;
use ota_core::number::Nonce;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;

use super::{Context, Decision, Draft, Known, check_in, dialect_number};
use crate::conversation::CheckIn;
use crate::rules::attempt::{self, is_open};

/// The turn of a device may have come that waits with a check-in of the original protocol, which knows no `Busy`.
///
/// It waits with the server that has heard it last, until any server has made it an offer. Where the store did not take the
/// check-in itself, that is this server as long as the store knows of nothing later.
pub fn turn(
    context: &mut Context<'_>,
    id: &DeviceIdBuf,
    known: Option<&Known>,
    said: &CheckIn,
    dialect: Dialect,
) -> Decision {
    let waits_elsewhere =
        |known: &Known| known.device.waits_with != Some(said.nonce) && known.device.heard >= context.heard;
    if known.is_none_or(waits_elsewhere) {
        return Decision { is_stale: true, ..Decision::default() };
    }
    check_in(context, id, known, said, dialect)
}

/// A device has begun anew, and its check-in was heard too late to be answered: what any server owes it since its former
/// connection is not sent any more. `nonce` stands for that check-in.
pub fn began_anew(
    context: &mut Context<'_>,
    id: &DeviceIdBuf,
    known: Option<&Known>,
    nonce: Nonce,
) -> Decision {
    let mut decision = Decision::default();
    let Some(known) = known else { return decision };
    let mut draft = Draft::new(id, known);
    let is_original = draft.device.dialect == Some(dialect_number(Dialect::Sft));
    let is_owed = is_original && draft.latest().is_some_and(|(_, latest)| is_open(latest.phase));
    // Whoever waits with a check-in that some server can still answer goes on waiting with it.
    if is_owed && draft.device.waits_with.is_none() {
        draft.device.waits_with = Some(nonce);
    }
    draft.finish(context.budgets, &mut decision);
    decision
}

/// A device has asked for a chunk too long ago to be answered. It shows all the same that it has got its offer, on whichever of its
/// connections: one that may not have got it is not offered the update again on this connection.
pub fn asked_late(context: &mut Context<'_>, id: &DeviceIdBuf, known: Option<&Known>) -> Decision {
    let mut decision = Decision::default();
    let Some(known) = known else { return decision };
    let mut draft = Draft::new(id, known);
    if draft.latest().is_some_and(|(_, latest)| latest.phase == AttemptPhase::Offered) {
        draft.device.heard = draft.device.heard.max(context.now);
        draft.device.waits_with = None;
    }
    draft.finish(context.budgets, &mut decision);
    decision
}

/// How long to wait with the answer to a device that may just have got one on the same connection.
pub(super) fn told_lately(context: &Context<'_>, draft: &Draft<'_>, dialect: Dialect) -> Option<Millis> {
    let (_, latest) = draft.latest().filter(|_| dialect == Dialect::Sft)?;
    // Nothing is heard of a device between an offer and what it asks for first.
    let told = draft.known.device.heard;
    attempt::to_be_asked_for(latest, told, context.heard, context.told_late, context.now)
}
