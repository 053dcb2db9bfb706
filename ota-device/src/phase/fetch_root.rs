//! Taking over the next root: fetched whole, checked under the old root and under itself, stored, then trusted.

use ota_core::device::Log;
use ota_core::limits::{ENVELOPE_BYTES_MAX, ROOT_BODY_BYTES_MAX};
use ota_core::number::RootVersion;
use ota_core::time::Millis;
use ota_core::trust::{BodyReceipt, Progress, RootCheck, SignatureProgress, TrustedState};
use ota_core::wire::{Part, ReportCode};

use super::metadata::{HashRegion, Save};
use super::{Origin, To};
use crate::arena::Region;
use crate::config::Profile;
use crate::download::{Transfer, Under};
use crate::limits::TIMEOUTS_IN_A_ROW_MAX;
use crate::math;
use crate::ops::Place;
use crate::record::TrustedRecord;
use crate::shared::{CORRUPT, Failure, Sha256Of, Shared, Step, Stop};

/// How long the device goes on without a root that it could not get or believe, before it tries again.
const RETRY: Millis = Millis(60_000);

/// How long the device waits before it asks for another permission to fetch a root.
const AFTER_REFUSAL: Millis = Millis(1_000);

pub(crate) struct FetchRoot<P: Profile> {
    at: At<P>,
    body: Option<BodyReceipt>,
}

#[expect(clippy::large_enum_variant, reason = "one at a time, kept in place, and there is no allocator")]
enum At<P: Profile> {
    Begin,
    /// The body, then the envelope.
    Fetch(Region, Transfer<P>),
    Hash(HashRegion<P>),
    Check(Option<SignatureProgress>),
    Save(Save, TrustedState),
    Stored(TrustedRecord),
}

impl<P: Profile> FetchRoot<P> {
    pub(crate) const fn new() -> Self {
        Self { at: At::Begin, body: None }
    }

    /// The transfer that blocks go to.
    pub(crate) const fn transfer(&mut self) -> Option<&mut Transfer<P>> {
        match &mut self.at {
            At::Fetch(_, transfer) => Some(transfer),
            _ => None,
        }
    }

    #[inline(never)]
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if self.transfer().is_some() && shared.root_offer.is_none() {
            shared.forget_attempt();
            shared.session.begin_anew(AFTER_REFUSAL, shared.now);
            return Ok(To::Starting(Origin::RootRefused));
        }
        if self.transfer().is_some() && shared.pace.timeouts_in_a_row() >= TIMEOUTS_IN_A_ROW_MAX {
            return Err(Failure::Attempt(ReportCode::Timeout).into());
        }
        match &mut self.at {
            At::Begin => {
                let hint = shared.root_offer.as_ref().ok_or(CORRUPT)?.hint;
                let (body, envelope) = (math::from_u32(hint.next_body), math::from_u32(hint.next_envelope));
                let is_sane =
                    (1..=ROOT_BODY_BYTES_MAX).contains(&body) && (1..=ENVELOPE_BYTES_MAX).contains(&envelope);
                if !is_sane {
                    return Err(Failure::Attempt(ReportCode::RootChain).into());
                }
                self.fetch(Region::Body, shared)
            }
            At::Fetch(region, transfer) => {
                transfer.advance(shared)?;
                if *region == Region::Body {
                    return self.fetch(Region::Envelope, shared);
                }
                self.at = At::Hash(HashRegion::new(Region::Body));
                Err(Stop::Again)
            }
            At::Hash(hash) => {
                self.body = Some(hash.step(shared)?);
                self.at = At::Check(None);
                Err(Stop::Yield)
            }
            At::Check(progress) => {
                let body = self.body.ok_or(CORRUPT)?;
                match check(progress.take(), body, shared)? {
                    Checked::More(next) => {
                        *progress = Some(next);
                        return Err(Stop::Yield);
                    }
                    Checked::Follows(state) => {
                        // The body first, then the record that names it: a cut in between changes nothing.
                        let place = Place::Root(shared.trusted.root_slot.other());
                        self.at = At::Save(Save::new(place, Region::Body), state);
                    }
                }
                Err(Stop::Yield)
            }
            At::Save(save, state) => {
                save.step(shared)?;
                let record = TrustedRecord {
                    state: *state,
                    root_slot: shared.trusted.root_slot.other(),
                    root_bytes: math::to_u32(shared.arena.region(Region::Body).len()),
                    boots: shared.trusted.boots,
                };
                let length = record.encode(shared.outgoing)?.len();
                self.at = At::Stored(record);
                shared.append(Log::Trusted, length)
            }
            At::Stored(record) => {
                shared.answered()?;
                shared.trusted = *record;
                shared.root_offer = None;
                // There may be a root behind this one, and what was offered has to be asked for anew.
                shared.forget_attempt();
                shared.session.begin_anew(Millis(0), shared.now);
                Ok(To::Starting(Origin::RootChanged))
            }
        }
    }

    #[inline(never)]
    fn fetch(&mut self, region: Region, shared: &mut Shared<'_, P>) -> Step<To> {
        let hint = shared.root_offer.as_ref().ok_or(CORRUPT)?.hint;
        // Hint and part speak of the root behind the trusted one, whatever the newest is.
        let version = RootVersion(shared.trusted.state.root.0.saturating_add(1));
        let (part, length) = match region {
            Region::Envelope => (Part::RootEnvelope(version), hint.next_envelope),
            _ => (Part::RootBody(version), hint.next_body),
        };
        shared.arena.place(region, math::from_u32(length))?;
        self.at = At::Fetch(region, Transfer::into_memory(part, Under::RootOffer, region, shared));
        Err(Stop::Again)
    }
}

enum Checked {
    More(SignatureProgress),
    Follows(TrustedState),
}

/// Checks one signature of the new root, and what the last one leaves.
#[inline(never)]
fn check<P: Profile>(
    progress: Option<SignatureProgress>,
    body: BodyReceipt,
    shared: &Shared<'_, P>,
) -> Result<Checked, Failure> {
    // Borrowed out of the result, because a move would be a second copy on the stack.
    let current = shared.root();
    let current = current.as_ref().map_err(|failure| *failure)?;
    let body = body.attach(shared.arena.region(Region::Body))?;
    let envelope = shared.arena.region(Region::Envelope);
    let mut check = RootCheck::begin::<Sha256Of<P>>(current, &shared.trusted.state, envelope, body)?;
    if let Some(progress) = &progress {
        check = check.resume(progress);
    }
    match check.step(&shared.verifier)? {
        Progress::More => Ok(Checked::More(check.pause())),
        Progress::Met => Ok(Checked::Follows(check.finish()?.1)),
    }
}

/// Goes on under the trusted root. Whoever said that there is a newer one cannot keep the device busy with it.
pub(crate) fn give_up<P: Profile>(_code: ReportCode, shared: &mut Shared<'_, P>) {
    shared.root_offer = None;
    shared.root_retry_at = shared.now.plus(RETRY);
    shared.forget_attempt();
    shared.session.begin_anew(Millis(0), shared.now);
}
