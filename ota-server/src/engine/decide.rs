//! Decisions about one device: what it said and what is known of it give changes and answers.
//!
//! Pure but for what is handed in: the time, what the limits have left, and the key that signs assignments. A decision
//! that is not committed is undone by giving its places back.

mod original;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ota_core::crypto::Authenticator;
use ota_core::crypto::soft::{HmacSha256, SoftSha256};
use ota_core::fleet::records::{Attempt, AttemptPhase, AttemptRules, Device, DeviceStatus};
use ota_core::fleet::{Dialect, Key, Record, Unit, Version};
use ota_core::number::{CampaignId, Nonce, ReleaseId, RootVersion, SecurityEpoch};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{Action, Assignment, offer_id};
use ota_core::wire::{Phase, RefuseCode, ReleaseSizes, ReportCode, RootHint};

use super::Changes;
use crate::conversation::{CheckIn, Evidence, Offer, OfferedFile, Report, Said, UpToDate};
use crate::delivery::budget::Budgets;
use crate::delivery::grant::{Granted, Keyring};
use crate::digest::sha256;
use crate::rules::attempt::{self, Heard as ReportHeard, Reported, is_open, moved, takes_a_place};
use crate::rules::device;
use crate::rules::planner::{self, Choice, Standing, Step};
use crate::rules::view::{CampaignView, ProductView, ReleaseView};
use crate::server::SecretWrap;
use crate::server::secrets::evidence_purpose;

use original::told_lately;
pub use original::{asked_late, began_anew, turn};

/// What is known of a device before an event.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its product.
    pub view: Arc<ProductView>,
    /// The version of its record.
    pub version: Version,
    /// Its record.
    pub device: Device,
    /// Its attempts in the campaigns that concern it.
    pub attempts: HashMap<CampaignId, (Version, Attempt)>,
}

/// What follows from an event.
#[derive(Debug, Default)]
pub struct Decision {
    /// What is committed before anything is said.
    pub unit: Option<Unit>,
    /// What is said then.
    pub said: Vec<Said>,
    /// The campaign that the device was newly admitted to: undone if the commit fails.
    pub admitted: Option<(CampaignId, DeviceIdBuf)>,
    /// What becomes of places after the commit.
    pub places: Vec<(CampaignId, DeviceIdBuf, Place)>,
    /// A refusal to be counted.
    pub refused: Option<RefuseCode>,
    /// The campaign whose blocks are being asked for.
    pub asked_for: Option<CampaignId>,
    /// Campaigns whose turnstiles have to be written with it, because the device takes a place.
    pub passes: Vec<CampaignId>,
    /// What the device waited for here has become another server's, or nobody's; what it said is older than what is known.
    pub is_stale: bool,
}

/// What becomes of the place that a device takes among those who download at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It takes one, in this site.
    Taken(Box<str>),
    /// It leaves it.
    Left,
}

impl Decision {
    /// A refusal without any change.
    #[must_use]
    pub fn refuse(code: RefuseCode, offer: Option<ota_core::number::OfferId>) -> Self {
        Self { said: vec![Said::Refuse { code, offer }], refused: Some(code), ..Self::default() }
    }
}

/// Signs assignments for a product, with a key that the product's root lists for that.
pub trait AssignmentSigner: Send + Sync + 'static {
    /// The signed assignment, or `None` if there is no key for this product or it does not answer.
    fn sign(&self, product: &ProductIdBuf, assignment: &Assignment<'_>) -> Option<Vec<u8>>;
}

/// What decisions are made with.
pub struct Context<'c> {
    /// The time.
    pub now: Timestamp,
    /// When the event was heard.
    pub heard: Timestamp,
    /// How long what is said may be on its way to a device, where nobody tells when that has connected anew.
    pub told_late: Millis,
    /// What the limits have left.
    pub budgets: &'c mut Budgets,
    /// The keys of grants.
    pub keyring: &'c Keyring,
    /// The key of assignments.
    pub signer: &'c dyn AssignmentSigner,
    /// What the keys of evidence are wrapped with.
    pub secrets: &'c dyn SecretWrap,
    /// When an idle device should check in again.
    pub next_check_in: Millis,
    /// How long an assignment is good for.
    pub assignment_life: Millis,
}

/// Deadlines of attempts whose campaign is gone.
const ORPHAN_RULES: AttemptRules = AttemptRules {
    begin_within: Millis(3_600_000),
    download_within: Millis(86_400_000),
    install_within: Millis(86_400_000),
    confirm_within: Millis(86_400_000),
    retries_max: 0,
    retry_after: Millis(0),
    retry_after_max: Millis(0),
};

/// A device and its attempts while a decision changes them.
struct Draft<'k> {
    id: &'k DeviceIdBuf,
    known: &'k Known,
    device: Device,
    attempts: HashMap<CampaignId, Attempt>,
    relies_on: Vec<(CampaignId, Version)>,
}

impl<'k> Draft<'k> {
    fn new(id: &'k DeviceIdBuf, known: &'k Known) -> Self {
        let attempts = known.attempts.iter().map(|(id, (_, attempt))| (*id, attempt.clone())).collect();
        Self { id, known, device: known.device.clone(), attempts, relies_on: Vec::new() }
    }

    fn rules(&self, campaign: CampaignId) -> AttemptRules {
        self.known.view.campaign(campaign).map_or(ORPHAN_RULES, |campaign| campaign.record.plan.attempts)
    }

    /// The attempt that the device is or was last at work on.
    fn latest(&self) -> Option<(CampaignId, &Attempt)> {
        let campaign = self.device.attempt?;
        Some((campaign, self.attempts.get(&campaign)?))
    }

    /// Whether the device has asked for bytes of this release before, under whichever campaign: it may have kept them, and
    /// then it asks for nothing when it is offered the same again.
    fn has_asked_for(&self, release: &ReleaseId) -> bool {
        self.attempts.values().any(|attempt| attempt.asked && attempt.release == *release)
    }

    /// Puts a changed attempt in its place, with what follows for the device and for the way ahead.
    fn put(&mut self, campaign: CampaignId, mut next: Attempt, now: Timestamp) {
        use AttemptPhase as P;
        let view = &self.known.view;
        let goal = view.campaign(campaign);
        let needs_proof =
            view.record.attested_only || goal.is_some_and(|goal| asks_for_proof(goal, next.stage));
        if next.phase == P::Confirmed && needs_proof && !next.attested {
            // What is only claimed does not count: the attempt stays where it was until the device proves it.
            return;
        }
        let was = self.attempts.get(&campaign).map(|attempt| attempt.phase);
        if next.phase == P::Confirmed {
            self.device.failures = None;
            if let Some(goal) = goal.filter(|goal| goal.record.release != next.release) {
                // A stepping stone: the way goes on to the goal.
                let rules = goal.record.plan.attempts;
                next = moved(next, P::Waiting, 0, &rules, now);
                next.due = Some(now);
                next.asked = false;
                next.retries = 0;
            }
        }
        let ended_badly = matches!(next.phase, P::Failed | P::RolledBack) && was != Some(next.phase);
        if ended_badly {
            let failures = self.device.failures.unwrap_or(0).saturating_add(1);
            self.device.failures = Some(failures);
            let limit = view.record.quarantine_after;
            if limit > 0 && failures >= limit && self.device.status == DeviceStatus::Active {
                self.device.status = DeviceStatus::Quarantined;
            }
        }
        self.attempts.insert(campaign, next);
    }

    /// The unit and what becomes of places.
    fn finish(self, budgets: &Budgets, decision: &mut Decision) {
        let mut changes = Changes::default();
        let mut is_changed = false;
        if self.device != self.known.device {
            let (before, after) = (self.known.device.clone(), self.device);
            let key = Key::Device(self.id.clone());
            changes.write(key, self.known.version, Some(Record::Device(before)), Some(Record::Device(after)));
            is_changed = true;
        }
        for (campaign, attempt) in self.attempts {
            let before = self.known.attempts.get(&campaign);
            if before.is_some_and(|(_, before)| *before == attempt) {
                continue;
            }
            let was = before.is_some_and(|(_, before)| takes_a_place(before.phase));
            match (was, takes_a_place(attempt.phase)) {
                (true, false) => decision.places.push((campaign, self.id.clone(), Place::Left)),
                (false, true) => {
                    decision.places.push((campaign, self.id.clone(), Place::Taken(attempt.site.clone())));
                    decision.passes.extend(budgets.turnstile(campaign).map(|_| campaign));
                }
                _ => {}
            }
            let version = before.map_or(Version(0), |(version, _)| *version);
            let before = before.map(|(_, before)| Record::Attempt(before.clone()));
            let key = Key::Attempt(campaign, self.id.clone());
            changes.write(key, version, before, Some(Record::Attempt(attempt)));
            is_changed = true;
        }
        for (campaign, version) in self.relies_on {
            changes.rely(Key::Campaign(campaign), version);
        }
        decision.unit = is_changed.then(|| changes.into_unit());
    }
}

fn asks_for_proof(campaign: &CampaignView, stage: u16) -> bool {
    let plan = &campaign.record.plan;
    match usize::from(stage).checked_sub(1) {
        None => plan.trial.as_ref().is_some_and(|trial| trial.gate.attested_only),
        Some(index) => plan.stages.get(index).is_some_and(|stage| stage.gate.attested_only),
    }
}

/// Whether a message's evidence is the device's own and newer than any before.
///
/// # Errors
/// [`RefuseCode::BadEvidence`] if it is false, or a copy.
fn attested(
    context: &Context<'_>,
    id: &DeviceIdBuf,
    device: &mut Device,
    evidence: Option<&Evidence>,
) -> Result<bool, RefuseCode> {
    let (Some(evidence), Some(key)) = (evidence, &device.evidence_key) else { return Ok(false) };
    let key = &context.secrets.unwrap(&evidence_purpose(id), key).ok_or(RefuseCode::Internal)?;
    let pieces: Vec<&[u8]> = evidence.covered.iter().map(AsRef::as_ref).collect();
    HmacSha256::new(key).verify(&pieces, &evidence.mac).map_err(|_| RefuseCode::BadEvidence)?;
    let seen = (evidence.boot, evidence.sequence);
    // A number that does not rise is a replayed message, or a copy of the device with a life of its own.
    if device.evidence_seen.is_some_and(|last| seen <= last) {
        return Err(RefuseCode::BadEvidence);
    }
    device.evidence_seen = Some(seen);
    Ok(true)
}

/// Who is speaking, and whether it may: product, status, and the one dialect that its record is bound to.
fn admitted<'k>(
    id: &'k DeviceIdBuf,
    known: Option<&'k Known>,
    dialect: Dialect,
) -> Result<Draft<'k>, RefuseCode> {
    let known = known.ok_or(RefuseCode::UnknownDevice)?;
    if known.device.status == DeviceStatus::Revoked {
        return Err(RefuseCode::Revoked);
    }
    let number = dialect_number(dialect);
    let allowed = known.view.record.dialects;
    let is_allowed = allowed == 0 || allowed & 1 << number != 0;
    if !is_allowed || known.device.dialect.is_some_and(|pinned| pinned != number) {
        return Err(RefuseCode::UnknownDevice);
    }
    let mut draft = Draft::new(id, known);
    draft.device.dialect = Some(number);
    Ok(draft)
}

/// The number under which a dialect is stored.
#[must_use]
pub const fn dialect_number(dialect: Dialect) -> u8 {
    match dialect {
        Dialect::Sft => 2,
        _ => 1,
    }
}

/// A device checks in.
pub fn check_in(
    context: &mut Context<'_>,
    id: &DeviceIdBuf,
    known: Option<&Known>,
    said: &CheckIn,
    dialect: Dialect,
) -> Decision {
    let mut draft = match admitted(id, known, dialect) {
        Ok(draft) => draft,
        Err(code) => return Decision::refuse(code, None),
    };
    let view = Arc::clone(&draft.known.view);
    if said.product.as_ref().is_some_and(|product| *product != view.id) {
        return Decision::refuse(RefuseCode::WrongProduct, None);
    }
    let proven = match attested(context, id, &mut draft.device, said.evidence.as_ref()) {
        Ok(proven) => proven,
        Err(code) => return Decision::refuse(code, None),
    };
    let now = context.now;
    if draft.latest().is_some_and(|(_, latest)| attempt::is_confirmed_since(latest, context.heard)) {
        return Decision { is_stale: true, ..Decision::default() };
    }
    if let Some(retry_after) = told_lately(context, &draft, dialect) {
        draft.device.waits_with = Some(said.nonce);
        let mut decision = Decision { said: vec![Said::Busy { retry_after }], ..Decision::default() };
        draft.finish(context.budgets, &mut decision);
        return decision;
    }
    remember(&mut draft.device, said, &view, now);
    outcome(&mut draft, said, proven, now);
    if let Some((campaign, latest)) = draft.latest() {
        let has = view.release(&latest.release).is_some_and(|r| r.is_installed(&draft.device.installed));
        if let Some(next) = attempt::shown(latest, has, proven, &draft.rules(campaign), now) {
            draft.put(campaign, next, now);
        }
    }
    if dialect == Dialect::Sft {
        draft.device.waits_with = Some(said.nonce);
    }
    let mut decision = Decision::default();
    let standing_device = draft.device.clone();
    let standing = Standing { id, device: &standing_device, is_sft: dialect == Dialect::Sft };
    let attempts: HashMap<CampaignId, &Attempt> = draft.attempts.iter().map(|(id, a)| (*id, a)).collect();
    match planner::choose(&view, standing, &attempts, now) {
        Choice::Install { step, overtaken } => {
            drop(attempts);
            install(context, &mut draft, &mut decision, &step, overtaken, said, dialect);
        }
        Choice::Nothing { turn } => {
            let answer = up_to_date(context, id, &view, said, turn);
            decision.said.push(answer.unwrap_or(Said::Refuse { code: RefuseCode::Internal, offer: None }));
        }
    }
    draft.finish(context.budgets, &mut decision);
    decision
}

/// Takes what a check-in tells into the device's record.
fn remember(device: &mut Device, said: &CheckIn, view: &ProductView, now: Timestamp) {
    device.heard = device.heard.max(now);
    let inventory = device::inventory(&said.inventory, &view.names);
    device.installed = inventory.installed;
    device.claimed = (!inventory.claimed.is_empty()).then_some(inventory.claimed);
    if let Some(hardware) = &said.hardware {
        device.hardware = view.names.number(hardware.as_str());
        device.claimed_hardware = (device.hardware == 0).then(|| hardware.clone());
    }
    if said.epoch.is_some() {
        device.epoch = said.epoch.map(|epoch| epoch.max(device.epoch.unwrap_or(SecurityEpoch(0))));
    }
    if said.metadata_bytes_max.is_some() {
        device.metadata_bytes_max = said.metadata_bytes_max;
    }
}

/// Takes the outcome of the last attempt in, if it has not been heard as a report.
fn outcome(draft: &mut Draft<'_>, said: &CheckIn, proven: bool, now: Timestamp) {
    let Some(outcome) = &said.outcome else { return };
    let Some((campaign, latest)) = draft.latest().filter(|(_, latest)| latest.offer == Some(outcome.offer))
    else {
        return;
    };
    let reported = Reported {
        sequence: latest.sequence.map_or(0, |last| last.saturating_add(1)),
        phase: outcome.phase,
        code: outcome.code,
        done: latest.done,
        detail: &outcome.detail,
        attested: proven,
    };
    let is_news = latest.phase.number() != outcome.phase.number();
    if let Ok(ReportHeard::Changed(next)) = attempt::reported(latest, &reported, &draft.rules(campaign), now)
        && is_news
        && latest.phase != AttemptPhase::Waiting
    {
        draft.put(campaign, *next, now);
    }
}

/// Makes an offer, or says that there is no room for it now.
fn install(
    context: &mut Context<'_>,
    draft: &mut Draft<'_>,
    decision: &mut Decision,
    step: &Step<'_>,
    overtaken: Option<CampaignId>,
    said: &CheckIn,
    dialect: Dialect,
) {
    let (now, id) = (context.now, draft.id);
    let campaign = step.campaign;
    let rules = campaign.record.plan.attempts;
    let known = draft.attempts.get(&campaign.id).cloned();
    let site: Box<str> = match &known {
        Some(attempt) if takes_a_place(attempt.phase) => attempt.site.clone(),
        _ => device::tag_value(&draft.device, "site").unwrap_or_default().into(),
    };
    let needs_place = known.as_ref().is_none_or(|attempt| {
        !matches!(
            attempt.phase,
            AttemptPhase::Downloading | AttemptPhase::Downloaded | AttemptPhase::Verified
        )
    });
    let has_place = known.as_ref().is_some_and(|attempt| takes_a_place(attempt.phase));
    if needs_place && !has_place {
        if let Err(retry_after) = context.budgets.admit(campaign.id, id, &site, now) {
            decision.said.push(Said::Busy { retry_after });
            return;
        }
        decision.admitted = Some((campaign.id, id.clone()));
    }
    let view = Arc::clone(&draft.known.view);
    let Some(offer) = offer(context, id, &view, step, said, &draft.device, dialect) else {
        if let Some((campaign, device)) = decision.admitted.take() {
            context.budgets.revoke(campaign, &device);
        }
        decision.said.push(Said::Refuse { code: RefuseCode::Internal, offer: None });
        decision.refused = Some(RefuseCode::Internal);
        return;
    };
    if let Some(other) = overtaken.and_then(|other| Some((other, draft.attempts.get(&other)?.clone()))) {
        let (other, attempt) = other;
        let given_up = moved(attempt, AttemptPhase::Cancelled, ReportCode::Cancelled.number(), &rules, now);
        draft.put(other, given_up, now);
    }
    let has_asked = draft.has_asked_for(&step.release.id);
    let fresh = || Attempt {
        product: view.id.clone(),
        stage: step.stage,
        phase: AttemptPhase::Waiting,
        cause: 0,
        release: step.release.id,
        offer: None,
        nonce: None,
        offered: now,
        changed: now,
        due: None,
        retries: 0,
        sequence: None,
        done: 0,
        asked: has_asked,
        former: former_of(&draft.device, step.release),
        hardware: draft.device.hardware,
        site: site.clone(),
        moments: Vec::new(),
        detail: "".into(),
        attested: false,
        dialect: dialect_number(dialect),
        files: None,
        missed: None,
    };
    let mut next = known.unwrap_or_else(fresh);
    if next.release != step.release.id {
        next.release = step.release.id;
        next.asked = has_asked;
        next.retries = 0;
        next.files = None;
    }
    // A device in the middle of it keeps phase and deadline: checking in again and again buys no time.
    if !matches!(
        next.phase,
        AttemptPhase::Offered | AttemptPhase::Downloading | AttemptPhase::Downloaded | AttemptPhase::Verified
    ) {
        next.site = site;
        next = moved(next, AttemptPhase::Offered, 0, &rules, now);
    }
    next.offer = Some(offer.id);
    next.nonce = Some(said.nonce);
    next.sequence = None;
    draft.put(campaign.id, next, now);
    draft.device.attempt = Some(campaign.id);
    draft.device.waits_with = None;
    draft.relies_on.push((campaign.id, campaign.version));
    decision.said.push(Said::Offer(Box::new(offer)));
}

/// The revision of the release's first file that the device has now: what failures are grouped by.
fn former_of(device: &Device, release: &ReleaseView) -> u32 {
    let first = release.files.first().map(|file| file.file);
    device.installed.iter().find(|have| Some(have.file) == first).map_or(0, |have| have.revision)
}

fn offer(
    context: &Context<'_>,
    id: &DeviceIdBuf,
    view: &ProductView,
    step: &Step<'_>,
    said: &CheckIn,
    device: &Device,
    dialect: Dialect,
) -> Option<Offer> {
    let release = step.release;
    let (assignment, offer) = match dialect {
        // The original protocol has no signatures: the offer's name is made from what it is about.
        Dialect::Sft => {
            let [a, b, c, d, e, f, g, h, ..] =
                sha256(&[b"ota/v1/sft/", id.as_str().as_bytes(), &said.nonce.0]);
            (Bytes::new(), ota_core::number::OfferId([a, b, c, d, e, f, g, h]))
        }
        _ => assign(context, id, view, said.nonce, Action::Install(release.id))?,
    };
    let granted = Granted { campaign: step.campaign.id, what: release.id.0 };
    let grant = context.keyring.grant(id, offer, &granted, context.now)?;
    let rules = &step.campaign.record.plan.attempts;
    Some(Offer {
        id: offer,
        release: release.id,
        assignment,
        sizes: ReleaseSizes {
            body: release.record.body_size,
            envelope: u32::try_from(release.record.envelope.len()).unwrap_or(u32::MAX),
        },
        roots: root_hint(view, said.root),
        grant: Bytes::copy_from_slice(&grant),
        deadline: Millis(rules.begin_within.0.saturating_add(rules.download_within.0)),
        reason: reason(&step.campaign.record.title),
        files: offered_files(release, device),
    })
}

/// The files that differ from what the device has.
#[must_use]
pub fn offered_files(release: &ReleaseView, device: &Device) -> Vec<OfferedFile> {
    release
        .record
        .files
        .iter()
        .zip(&release.files)
        .zip(0_u16..)
        .filter(|((_, numbers), _)| numbers.revision == 0 || !device.installed.contains(numbers))
        .map(|((file, _), index)| OfferedFile {
            index,
            name: file.name.clone(),
            revision: file.revision.clone(),
            size: file.size.0,
            digest: file.digest.0,
            is_firmware: file.target.as_str() == "firmware",
        })
        .collect()
}

/// A title as a reason: as much of it as a hint can hold.
fn reason(title: &str) -> Box<str> {
    let mut end = title.len().min(ota_core::limits::DETAIL_BYTES_MAX);
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    title.get(..end).unwrap_or_default().chars().filter(|c| !c.is_control()).collect::<String>().into()
}

/// A signed assignment and the id of the offer that it makes.
fn assign(
    context: &Context<'_>,
    id: &DeviceIdBuf,
    view: &ProductView,
    nonce: Nonce,
    action: Action,
) -> Option<(Bytes, ota_core::number::OfferId)> {
    let assignment = Assignment {
        device: id.borrow(),
        nonce,
        issued: context.now,
        expires: context.now.plus(context.assignment_life),
        action,
    };
    let signed = context.signer.sign(&view.id, &assignment)?;
    let offer = offer_id::<SoftSha256>(&signed);
    Some((signed.into(), offer))
}

fn root_hint(view: &ProductView, has: Option<RootVersion>) -> RootHint {
    let following =
        has.and_then(|has| view.roots.iter().find(|root| Some(root.version.0) == has.0.checked_add(1)));
    RootHint {
        newest: view.record.root,
        next_body: following.map_or(0, |root| root.body),
        next_envelope: following.map_or(0, |root| root.envelope),
    }
}

fn up_to_date(
    context: &Context<'_>,
    id: &DeviceIdBuf,
    view: &ProductView,
    said: &CheckIn,
    turn: Option<Timestamp>,
) -> Option<Said> {
    let (assignment, offer) = assign(context, id, view, said.nonce, Action::None)?;
    let granted = Granted { campaign: CampaignId(0), what: roots_of(&view.id) };
    let grant = context.keyring.grant(id, offer, &granted, context.now)?;
    let soon = turn.map(|turn| Millis(turn.since(context.now).0.max(1_000)));
    Some(Said::UpToDate(Box::new(UpToDate {
        assignment,
        roots: root_hint(view, said.root),
        grant: Bytes::copy_from_slice(&grant),
        next_check_in: soon.map_or(context.next_check_in, |soon| soon.min(context.next_check_in)),
        turn,
    })))
}

/// What a grant for the roots of a product names instead of a release.
#[must_use]
pub fn roots_of(product: &ProductIdBuf) -> [u8; 32] {
    sha256(&[b"ota/v1/roots/", product.as_str().as_bytes()])
}

/// A device reports about an offer.
pub fn report(
    context: &mut Context<'_>,
    id: &DeviceIdBuf,
    known: Option<&Known>,
    said: &Report,
    dialect: Dialect,
) -> Decision {
    let mut draft = match admitted(id, known, dialect) {
        Ok(draft) => draft,
        Err(code) => return Decision::refuse(code, said.offer),
    };
    let proven = match attested(context, id, &mut draft.device, said.evidence.as_ref()) {
        Ok(proven) => proven,
        Err(code) => return Decision::refuse(code, said.offer),
    };
    let now = context.now;
    draft.device.heard = draft.device.heard.max(now);
    let latest = draft.latest().map(|(campaign, latest)| (campaign, latest.clone()));
    let Some((campaign, latest)) =
        latest.filter(|(_, latest)| said.offer.is_none_or(|offer| latest.offer == Some(offer)))
    else {
        return Decision::refuse(RefuseCode::StaleOffer, said.offer);
    };
    let sequence = said.sequence.unwrap_or_else(|| latest.sequence.map_or(0, |last| last.saturating_add(1)));
    let files = draft.known.view.release(&latest.release).map_or(usize::MAX, |release| release.files.len());
    if said.file.is_some_and(|file| usize::from(file) >= files) {
        return Decision::refuse(RefuseCode::ImpossibleReport, said.offer);
    }
    // One file of several says how far the device is, not that the whole is there.
    let is_partial = said.file.is_some() && said.phase != Phase::Failed;
    let phase = if is_partial { Phase::Downloading } else { said.phase };
    let reported = Reported {
        sequence,
        phase,
        code: said.code,
        done: said.done,
        detail: &said.detail,
        attested: proven,
    };
    match attempt::reported(&latest, &reported, &draft.rules(campaign), now) {
        Ok(ReportHeard::Changed(mut next)) => {
            if let Some(file) = said.file {
                attempt::note_file(&mut next, file, said.phase, said.code, now);
            }
            draft.put(campaign, *next, now);
        }
        Ok(ReportHeard::Again) => {}
        Err(attempt::Disbelief::Ended) => return Decision::refuse(RefuseCode::StaleOffer, said.offer),
        Err(_) => return Decision::refuse(RefuseCode::ImpossibleReport, said.offer),
    }
    let mut decision = Decision::default();
    if let (Some(offer), Some(sequence)) = (said.offer, said.sequence) {
        decision.said.push(Said::ReportAck { offer, sequence });
    }
    draft.finish(context.budgets, &mut decision);
    decision
}

/// A device asked for the first block of an offer, with a grant that is good.
pub fn asked(
    context: &mut Context<'_>,
    id: &DeviceIdBuf,
    known: Option<&Known>,
    offer: ota_core::number::OfferId,
    dialect: Dialect,
) -> Decision {
    let mut draft = match admitted(id, known, dialect) {
        Ok(draft) => draft,
        Err(code) => return Decision::refuse(code, Some(offer)),
    };
    let latest = draft.latest().map(|(campaign, latest)| (campaign, latest.clone()));
    let Some((campaign, latest)) =
        latest.filter(|(_, latest)| latest.offer == Some(offer) && is_open(latest.phase))
    else {
        return Decision::refuse(RefuseCode::StaleOffer, Some(offer));
    };
    // A campaign that was stopped has nothing more to give, though its attempts have not all been taken back yet.
    if draft.known.view.campaign(campaign).is_none() {
        return Decision::refuse(RefuseCode::StaleOffer, Some(offer));
    }
    let mut decision = Decision { asked_for: Some(campaign), ..Decision::default() };
    // Whoever was silent has lost its place among those who download, and needs one again.
    if latest.phase == AttemptPhase::Silent {
        if let Err(retry_after) = context.budgets.admit(campaign, id, &latest.site, context.now) {
            return Decision { said: vec![Said::Busy { retry_after }], ..Decision::default() };
        }
        decision.admitted = Some((campaign, id.clone()));
    }
    draft.device.heard = draft.device.heard.max(context.now);
    draft.device.waits_with = None;
    if let Some(next) = attempt::asked(latest, &draft.rules(campaign), context.now) {
        draft.put(campaign, next, context.now);
    }
    draft.finish(context.budgets, &mut decision);
    decision
}

/// The deadline of a device's attempt may have passed.
pub fn overdue(
    context: &mut Context<'_>,
    id: &DeviceIdBuf,
    known: Option<&Known>,
    campaign: CampaignId,
) -> Decision {
    let (mut decision, now) = (Decision::default(), context.now);
    let Some(known) = known else { return decision };
    let mut draft = Draft::new(id, known);
    let rules = draft.rules(campaign);
    let next = draft.attempts.get(&campaign).and_then(|latest| {
        let given_up = attempt::given_up(latest, &rules, now);
        given_up
            .filter(|_| is_set_apart(known, id, campaign, now))
            .or_else(|| attempt::overdue(latest, known.device.heard, &rules, now))
    });
    if let Some(next) = next {
        draft.put(campaign, next, now);
    }
    draft.finish(context.budgets, &mut decision);
    decision
}

/// Whether a device will get nothing more from a campaign, however long it waits.
fn is_set_apart(known: &Known, id: &DeviceIdBuf, campaign: CampaignId, now: Timestamp) -> bool {
    let Some(goal) = known.view.campaign(campaign) else { return false };
    let is_sft = known.device.dialect == Some(dialect_number(Dialect::Sft));
    let standing = Standing { id, device: &known.device, is_sft };
    let attempts = known.attempts.iter().map(|(id, (_, attempt))| (*id, attempt)).collect();
    planner::why_not(&known.view, goal, standing, &attempts, Millis(u64::MAX), now).is_set_apart()
}

/// The attempt is taken back: its campaign was stopped, or its release withdrawn.
pub fn cancel(
    context: &mut Context<'_>,
    id: &DeviceIdBuf,
    known: Option<&Known>,
    campaign: CampaignId,
) -> Decision {
    let mut decision = Decision::default();
    let Some(known) = known else { return decision };
    let mut draft = Draft::new(id, known);
    let Some(latest) = draft.attempts.get(&campaign).filter(|latest| is_open(latest.phase)).cloned() else {
        return decision;
    };
    // Whoever has installed it already is beyond a cancellation; its boot shows what became of it.
    if latest.phase == AttemptPhase::Installed {
        return decision;
    }
    if let Some(nonce) = latest.nonce.filter(|_| latest.dialect == dialect_number(Dialect::Native)) {
        let release: ReleaseId = latest.release;
        if let Some((assignment, _)) = assign(context, id, &known.view, nonce, Action::Cancel(release)) {
            decision.said.push(Said::Cancel { assignment });
        }
    }
    let code = ReportCode::Cancelled.number();
    let next = moved(latest, AttemptPhase::Cancelled, code, &draft.rules(campaign), context.now);
    draft.put(campaign, next, context.now);
    draft.finish(context.budgets, &mut decision);
    decision
}
