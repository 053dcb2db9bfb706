//! A campaign's life: draft, approvals, trial, stages, pause, end. Every function takes a campaign and gives the next.
//!
//! Nobody gets past the trial or a gate by any order of commands: the only ways into `Rolling` are a passed trial
//! gate and, where the plan asks for it, a person; the only way to the next stage is its gate.

use ota_core::fleet::records::{
    Amended, Amendment, Approval, Campaign, CampaignState, Gate, OnFailure, Pace, PausedFrom, PhaseDevices,
    Plan, Product, Progress, Promotion, Stage, Target,
};
use ota_core::number::{ReleaseId, Sha256Digest};
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::filter::{Filter, FilterError};
use super::gate::{self, Breach, Evidence, Verdict};
use super::ramp;
use super::schedule::{self, ScheduleError};
use crate::digest::sha256;

/// Most stages of a plan.
pub const STAGES_MAX: usize = 32;
/// Most devices that a target lists one by one.
pub const LISTED_DEVICES_MAX: usize = 4096;
const PPM: u32 = 1_000_000;

/// Why a campaign cannot be made, changed or moved on. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CampaignError {
    /// The schedule is wrong.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The target's expression is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The plan has no stage, too many, or shares that do not rise to the whole.
    #[error("a plan has 1 to 32 stages whose shares rise to 1000000 ppm")]
    Stages,
    /// A pace has no span, no rate or no growth.
    #[error("a pace needs a span, a rate of at least one device a minute, and a factor of at least 100 %")]
    Pace,
    /// A gate could never pass or never fail.
    #[error("a gate needs good < bad <= 1000000 ppm and error rates between 1 and 500000 ppm")]
    Gate,
    /// A deadline is zero.
    #[error("deadlines of attempts must not be zero")]
    Deadlines,
    /// A list of devices is empty, too long or unsorted.
    #[error("a target lists 1 to 4096 devices, each once, in rising order")]
    Devices,
    /// The target matches nothing.
    #[error("the target matches no device; correct it, or register the devices first")]
    MatchesNothing,
    /// The trial group is drawn from a snapshot.
    #[error("a trial group is a list of devices or an expression, not a snapshot")]
    TrialTarget,
    /// The release is not signed.
    #[error("the release is not signed; bring the signatures first")]
    NotSigned,
    /// The release is withdrawn or past its expiry.
    #[error("the release was withdrawn or has expired; make a new one")]
    NotOfferable,
    /// The release is of another product.
    #[error("the release is of another product")]
    WrongProduct,
    /// Devices of the product speak a protocol that cannot carry the release.
    #[error("devices of this product cannot get the release: {0}")]
    Protocol(&'static str),
    /// It is no draft any more.
    #[error("only a draft can be edited; stop this one and make another")]
    NotADraft,
    /// The command does not fit the state.
    #[error("a campaign that is {found:?} cannot be {wanted}")]
    State {
        /// The state it is in.
        found: CampaignState,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The author approves his own work.
    #[error("the author cannot approve; somebody else must")]
    OwnWork,
    /// It was approved by this person.
    #[error("this person has approved it already")]
    ApprovedAlready,
    /// The approver has seen another content.
    #[error("the campaign has changed since it was read; read it again before approving")]
    ChangedSince,
    /// No device has failed that could try again.
    #[error("there is nothing to try again: the device has not failed in this campaign")]
    NothingToRetry,
    /// None of the devices that have failed can try again now.
    #[error("{}", none_to_retry(*judged, *set_apart))]
    NoneToRetry {
        /// How many are still judged by the gate of their stage.
        judged: u64,
        /// How many are quarantined or revoked.
        set_apart: u64,
    },
    /// The gate of the stage has not passed yet.
    #[error("the gate of its stage still judges what has failed; devices try again once it has passed")]
    StillJudged,
    /// There are too few approvals.
    #[error("{found} of {needed} approvals are there")]
    TooFewApprovals {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A gate needs more devices than are listed for it.
    #[error(
        "the trial lists {devices} devices and its gate needs {needs}; list more, ask less of the gate, or let small groups be judged by share"
    )]
    GateNeedsMore {
        /// How many are listed.
        devices: u64,
        /// How many the gate needs.
        needs: u64,
    },
    /// A trial that has shown nothing is to count as passed.
    #[error("no device of the trial has confirmed the release yet; wait for one, or stop the campaign")]
    NothingSeen,
    /// There is no amendment.
    #[error("no change of this campaign waits for consent; read the campaign again")]
    NoAmendment,
    /// The stage has shown worse since the amendment was made.
    #[error("more devices have failed or fallen silent since the change was asked for; look, and ask again")]
    WorseSince,
    /// A running campaign cannot get a snapshot as its target.
    #[error("a running campaign cannot get a snapshot; give a filter or a list, or make another campaign")]
    SnapshotWhileRunning,
    /// Another campaign wants another release of the same package on the same devices, with the same right.
    #[error(
        "campaign {0} wants another release of the package on the same devices; stop it or set a priority"
    )]
    Contradicts(ota_core::number::CampaignId),
}

fn none_to_retry(judged: u64, set_apart: u64) -> String {
    match (judged, set_apart) {
        (0, 0) => "there is nothing to try again: no device has failed for good in this campaign".to_owned(),
        (judged, 0) => format!(
            "none of the devices that have failed can try again yet: the gate of their stage still judges {judged}"
        ),
        (0, set_apart) => format!(
            "none of the devices that have failed can try again: {set_apart} are quarantined or revoked"
        ),
        (judged, set_apart) => format!(
            "none of the devices that have failed can try again: the gate of their stage still judges {judged}, and \
             {set_apart} are quarantined or revoked"
        ),
    }
}

/// Checks target and plan.
///
/// # Errors
/// [`CampaignError`], the first thing that is wrong.
pub fn check(target: &Target, plan: &Plan, now: Timestamp) -> Result<(), CampaignError> {
    check_target(target)?;
    schedule::check(&plan.schedule, now)?;
    if plan.stages.is_empty() || plan.stages.len() > STAGES_MAX {
        return Err(CampaignError::Stages);
    }
    let rises = plan.stages.windows(2).all(|pair| pair[0].until_ppm < pair[1].until_ppm);
    if !rises || plan.stages.first().is_some_and(|first| first.until_ppm == 0) {
        return Err(CampaignError::Stages);
    }
    if plan.stages.last().is_none_or(|last| last.until_ppm != PPM) {
        return Err(CampaignError::Stages);
    }
    for Stage { pace, gate, .. } in &plan.stages {
        check_gate(gate)?;
        match *pace {
            Pace::Linear { over: Millis(0) } => return Err(CampaignError::Pace),
            Pace::Exponential { base_per_minute, factor_percent, every_confirmed }
                if base_per_minute == 0 || factor_percent < 100 || every_confirmed == 0 =>
            {
                return Err(CampaignError::Pace);
            }
            _ => {}
        }
    }
    if let Some(trial) = &plan.trial {
        check_gate(&trial.gate)?;
        check_target(&trial.who)?;
        if matches!(trial.who, Target::Snapshot { .. } | Target::Everyone | Target::OrdinalBelow { .. }) {
            return Err(CampaignError::TrialTarget);
        }
        if let Target::Devices { ids } = &trial.who {
            let devices = u64::try_from(ids.len()).unwrap_or(u64::MAX);
            let needs = gate::sample_that_can_pass(&trial.gate);
            if devices == 0 || devices < needs && trial.gate.small_group.is_none() {
                return Err(CampaignError::GateNeedsMore { devices, needs });
            }
        }
    }
    let rules = &plan.attempts;
    let deadlines = [rules.begin_within, rules.download_within, rules.install_within, rules.confirm_within];
    if deadlines.contains(&Millis(0)) || rules.retry_after > rules.retry_after_max {
        return Err(CampaignError::Deadlines);
    }
    Ok(())
}

/// Checks a target by itself.
///
/// # Errors
/// [`CampaignError`], the first thing that is wrong.
pub fn check_target(target: &Target) -> Result<(), CampaignError> {
    match target {
        Target::Filter { expression } | Target::Snapshot { expression, .. } => {
            Filter::parse(expression)?;
            Ok(())
        }
        Target::Devices { ids } => {
            let is_list = (1..=LISTED_DEVICES_MAX).contains(&ids.len());
            let rises = ids.windows(2).all(|pair: &[DeviceIdBuf]| pair[0] < pair[1]);
            if is_list && rises { Ok(()) } else { Err(CampaignError::Devices) }
        }
        Target::OrdinalBelow { ordinal: 0 } => Err(CampaignError::MatchesNothing),
        Target::Everyone | Target::OrdinalBelow { .. } => Ok(()),
    }
}

fn check_gate(gate: &Gate) -> Result<(), CampaignError> {
    let is_rate = |ppm: u32| (1..=PPM / 2).contains(&ppm);
    let is_gate = gate.failures_good_ppm < gate.failures_bad_ppm
        && gate.failures_bad_ppm <= PPM
        && gate.silent_max_ppm <= PPM
        && is_rate(gate.false_stop_ppm)
        && is_rate(gate.missed_stop_ppm)
        && gate.budgets.len() <= 4
        && gate.budgets.iter().all(|budget| budget.good_ppm <= PPM);
    if is_gate { Ok(()) } else { Err(CampaignError::Gate) }
}

/// What approvals are consent to: release, target and plan.
#[must_use]
pub fn content_hash(release: &ReleaseId, target: &Target, plan: &Plan) -> Sha256Digest {
    let mut content = Vec::new();
    // Writing to a vector cannot fail.
    let _ = minicbor::encode((target, plan), &mut content);
    Sha256Digest(sha256(&[b"ota/v1/campaign/", &release.0, &content]))
}

/// The hash of a campaign's content.
#[must_use]
pub fn hash_of(campaign: &Campaign) -> Sha256Digest {
    content_hash(&campaign.release, &campaign.target, &campaign.plan)
}

/// A new draft.
///
/// # Errors
/// [`CampaignError`] if target or plan are wrong.
pub fn draft(draft: Draft, author: &str, now: Timestamp) -> Result<Campaign, CampaignError> {
    check(&draft.target, &draft.plan, now)?;
    Ok(Campaign {
        product: draft.product,
        title: draft.title,
        release: draft.release,
        target: draft.target,
        plan: draft.plan,
        author: author.into(),
        created: now,
        state: CampaignState::Draft,
        reason: "".into(),
        approvals: Vec::new(),
        progress: Progress::default(),
        samples: Vec::new(),
    })
}

/// What somebody wants a campaign to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The product.
    pub product: ota_core::text::ProductIdBuf,
    /// What people call it.
    pub title: Box<str>,
    /// The release.
    pub release: ReleaseId,
    /// Which devices.
    pub target: Target,
    /// How.
    pub plan: Plan,
}

/// A draft with other content. Approvals were for the former content and are void; who edits is the author from now on
/// too, so that nobody approves what he wrote himself.
///
/// # Errors
/// [`CampaignError`] if it is no draft, or the content is wrong.
pub fn edited(
    campaign: &Campaign,
    content: Draft,
    editor: &str,
    now: Timestamp,
) -> Result<Campaign, CampaignError> {
    if campaign.state != CampaignState::Draft {
        return Err(CampaignError::NotADraft);
    }
    let mut next = draft(content, editor, now)?;
    next.created = campaign.created;
    if hash_of(&next) == hash_of(campaign) {
        next.approvals = campaign.approvals.clone();
        next.author = campaign.author.clone();
    }
    Ok(next)
}

/// One more approval. `seen` is the hash of the content that the approver was shown.
///
/// # Errors
/// [`CampaignError`] if it is no draft, the approver its author, or the content another.
pub fn approved(
    campaign: &Campaign,
    approver: &str,
    seen: &Sha256Digest,
    now: Timestamp,
) -> Result<Campaign, CampaignError> {
    if campaign.state != CampaignState::Draft {
        return Err(CampaignError::State { found: campaign.state, wanted: "approved" });
    }
    if *campaign.author == *approver {
        return Err(CampaignError::OwnWork);
    }
    let hash = hash_of(campaign);
    if hash != *seen {
        return Err(CampaignError::ChangedSince);
    }
    if valid_approvals(campaign).any(|approval| &*approval.principal == approver) {
        return Err(CampaignError::ApprovedAlready);
    }
    let mut next = campaign.clone();
    next.approvals.retain(|approval| approval.hash == hash);
    next.approvals.push(Approval { principal: approver.into(), at: now, hash });
    Ok(next)
}

/// The approvals that count: for this very content, by different people, none of them the author.
pub fn valid_approvals(campaign: &Campaign) -> impl Iterator<Item = &Approval> {
    let hash = hash_of(campaign);
    campaign
        .approvals
        .iter()
        .enumerate()
        .filter(move |(index, approval)| {
            approval.hash == hash
                && approval.principal != campaign.author
                && campaign
                    .approvals
                    .iter()
                    .take(*index)
                    .all(|earlier| earlier.principal != approval.principal)
        })
        .map(|(_, approval)| approval)
}

/// Starts a draft that has its approvals.
///
/// # Errors
/// [`CampaignError`] if it is no draft, too few have approved, or its schedule has passed meanwhile.
pub fn started(
    campaign: &Campaign,
    product: &Product,
    by: &str,
    now: Timestamp,
) -> Result<Campaign, CampaignError> {
    if campaign.state != CampaignState::Draft {
        return Err(CampaignError::State { found: campaign.state, wanted: "started" });
    }
    let needed = usize::from(campaign.plan.approvals.max(product.approvals_min));
    let found = valid_approvals(campaign).count();
    if found < needed {
        return Err(CampaignError::TooFewApprovals { found, needed });
    }
    if campaign.plan.schedule.end.is_some_and(|end| end <= now) {
        return Err(ScheduleError::End.into());
    }
    let is_ready = !matches!(campaign.target, Target::Snapshot { bitmap: None, .. });
    let state = if is_ready { CampaignState::Scheduled } else { CampaignState::Preparing };
    let mut next = with_state(campaign, state, &format!("started by {by}"));
    next.progress.started = now;
    // Without a date it begins with this very commit.
    if is_ready && next.plan.schedule.start <= now {
        next = begun(&next, now);
    }
    Ok(next)
}

/// The first offers may be made: to the trial group, or to the first stage where there is none.
fn begun(campaign: &Campaign, now: Timestamp) -> Campaign {
    let mut next = campaign.clone();
    if next.plan.trial.is_some() {
        next.state = CampaignState::Trial;
        next.progress.since = now;
        next.progress.stage = 0;
    } else {
        enter_stage(&mut next, 1, now);
    }
    next
}

fn enter_stage(campaign: &mut Campaign, stage: u16, now: Timestamp) {
    campaign.state = CampaignState::Rolling;
    let (from, _) = ramp::stage_ranks(&campaign.plan, stage);
    let progress = &mut campaign.progress;
    progress.stage = stage;
    progress.since = now;
    progress.opened = from;
    progress.opened_at = now;
    progress.looks = 0;
    progress.passed = None;
    progress.accepted = None;
    forget_amendment(campaign);
}

/// What was wanted for a stage ends with it; other limits or another target can still be consented to.
fn forget_amendment(campaign: &mut Campaign) {
    let is_of_the_stage = |amendment: &Amendment| matches!(amendment.what, Amended::Gate | Amended::Soak);
    if campaign.progress.amendment.as_ref().is_some_and(is_of_the_stage) {
        campaign.progress.amendment = None;
    }
}

/// The gate of a stage; 0 is the trial's.
#[must_use]
pub fn gate_of(plan: &Plan, stage: u16) -> Option<&Gate> {
    match usize::from(stage).checked_sub(1) {
        None => plan.trial.as_ref().map(|trial| &trial.gate),
        Some(index) => plan.stages.get(index).map(|stage| &stage.gate),
    }
}

/// Whether devices that have failed may try again at all in a campaign like this.
///
/// # Errors
/// [`CampaignError::State`] for one that offers nothing.
pub const fn can_retry(campaign: &Campaign) -> Result<(), CampaignError> {
    use CampaignState as S;
    match campaign.state {
        S::Trial | S::Trialled | S::Rolling | S::Paused | S::Completed => Ok(()),
        found => Err(CampaignError::State { found, wanted: "tried again" }),
    }
}

/// Whether devices of a stage that have failed may try again: not while their failures are what its gate judges.
///
/// # Errors
/// [`CampaignError::State`], or [`CampaignError::StillJudged`].
pub fn can_retry_stage(campaign: &Campaign, stage: u16) -> Result<(), CampaignError> {
    can_retry(campaign)?;
    let progress = &campaign.progress;
    let is_past = stage < progress.stage || (stage == progress.stage && progress.passed.is_some());
    let was = progress.paused.map_or(campaign.state, |paused| paused.state);
    let is_judged = was != CampaignState::Completed && !is_past;
    if is_judged && gate_of(&campaign.plan, stage).is_some() {
        return Err(CampaignError::StillJudged);
    }
    Ok(())
}

/// A person brings it from the trial to the fleet. The trial's gate must have passed.
///
/// # Errors
/// [`CampaignError::State`] otherwise.
pub fn promoted(campaign: &Campaign, by: &str, now: Timestamp) -> Result<Campaign, CampaignError> {
    if campaign.state != CampaignState::Trialled {
        return Err(CampaignError::State {
            found: campaign.state,
            wanted: "promoted before its trial has passed",
        });
    }
    let mut next = with_state(campaign, CampaignState::Rolling, &format!("promoted by {by}"));
    enter_stage(&mut next, 1, now);
    Ok(next)
}

/// Nothing is offered until it is resumed.
///
/// # Errors
/// [`CampaignError::State`] if there is nothing to pause.
pub fn paused(campaign: &Campaign, reason: &str, now: Timestamp) -> Result<Campaign, CampaignError> {
    use CampaignState as S;
    match campaign.state {
        S::Scheduled | S::Trial | S::Trialled | S::Rolling | S::Completed => {
            let mut next = with_state(campaign, S::Paused, reason);
            next.progress.paused = Some(PausedFrom { state: campaign.state, at: now });
            Ok(next)
        }
        found => Err(CampaignError::State { found, wanted: "paused" }),
    }
}

/// Goes on where the pause interrupted it; its spans are longer by the pause.
///
/// # Errors
/// [`CampaignError::State`] if it is not paused.
pub fn resumed(campaign: &Campaign, by: &str, now: Timestamp) -> Result<Campaign, CampaignError> {
    let Some(from) = campaign.progress.paused.filter(|_| campaign.state == CampaignState::Paused) else {
        return Err(CampaignError::State { found: campaign.state, wanted: "resumed" });
    };
    let mut next = with_state(campaign, from.state, &format!("resumed by {by}"));
    let lost = now.since(from.at);
    next.progress.paused = None;
    next.progress.since = next.progress.since.plus(lost);
    next.progress.opened_at = now;
    next.progress.passed = next.progress.passed.map(|passed| passed.plus(lost));
    Ok(next)
}

/// It ends for good; running attempts are cancelled.
///
/// # Errors
/// [`CampaignError::State`] if it has been stopped before.
pub fn stopped(campaign: &Campaign, reason: &str, now: Timestamp) -> Result<Campaign, CampaignError> {
    if campaign.state == CampaignState::Stopped {
        return Err(CampaignError::State { found: campaign.state, wanted: "stopped" });
    }
    let mut next = with_state(campaign, CampaignState::Stopped, reason);
    next.progress.amendment = None;
    next.progress.ended = Some(now);
    Ok(next)
}

fn with_state(campaign: &Campaign, state: CampaignState, reason: &str) -> Campaign {
    Campaign { state, reason: reason.into(), ..campaign.clone() }
}

/// What a campaign's own plan does next.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The campaign after it.
    pub campaign: Campaign,
    /// What the audit log calls it; `None` for what nobody needs to know.
    pub action: Option<&'static str>,
    /// The release that devices are to go back to, if the gate failed and the plan says so.
    pub revert_to: Option<ReleaseId>,
}

impl Advance {
    fn quiet(campaign: Campaign) -> Self {
        Self { campaign, action: None, revert_to: None }
    }

    fn told(campaign: Campaign, action: &'static str) -> Self {
        Self { campaign, action: Some(action), revert_to: None }
    }
}

/// What has been counted of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// What the current stage has shown.
    pub stage: Evidence,
    /// What all stages have shown.
    pub all: Evidence,
    /// Devices of all stages by phase, for each phase in which there are any.
    pub phases: Vec<PhaseDevices>,
    /// How many devices the target has, as far as that is known.
    pub fleet: u64,
    /// How many devices the current stage has that can get the release, where they are few enough to be counted.
    pub group: Option<u64>,
}

/// Of how many devices one may still be at work when a campaign completes: in a large fleet somebody always is.
const DEVICES_PER_STRAGGLER: u64 = 100;

impl Counted {
    /// Whether hardly anybody is at work any longer; in a fleet below a hundred devices: nobody.
    fn is_almost_still(&self) -> bool {
        self.all.open.saturating_mul(DEVICES_PER_STRAGGLER) <= self.fleet
    }
}

/// What the plan does now, given what was counted; `None` if it waits.
#[must_use]
pub fn advance(campaign: &Campaign, counted: &Counted, now: Timestamp) -> Option<Advance> {
    use CampaignState as S;
    let is_running = matches!(campaign.state, S::Scheduled | S::Trial | S::Trialled | S::Rolling);
    if is_running && campaign.plan.schedule.end.is_some_and(|end| end <= now) {
        let mut next = with_state(campaign, S::Stopped, "the schedule has ended");
        next.progress.ended = Some(now);
        return Some(Advance::told(next, "campaign.end"));
    }
    match campaign.state {
        S::Scheduled if campaign.plan.schedule.start <= now => {
            Some(Advance::told(begun(campaign, now), "campaign.begin"))
        }
        S::Trial => {
            let trial = campaign.plan.trial.as_ref()?;
            judged(campaign, &trial.gate, counted, now, |next| match trial.promotion {
                Promotion::ByPerson => {
                    next.state = S::Trialled;
                    next.reason = "the trial has passed; a person must promote it".into();
                    "campaign.trial_passed"
                }
                Promotion::ByGate => {
                    enter_stage(next, 1, now);
                    "campaign.promote"
                }
            })
        }
        S::Rolling => {
            let index = usize::from(campaign.progress.stage).checked_sub(1)?;
            let stage = campaign.plan.stages.get(index)?;
            let (_, until) = ramp::stage_ranks(&campaign.plan, campaign.progress.stage);
            let is_open = ramp::opened(&campaign.plan, S::Rolling, &campaign.progress, now) >= until;
            let is_last = index + 1 == campaign.plan.stages.len();
            let number = campaign.progress.stage;
            let step = judged(campaign, &stage.gate, counted, now, |next| {
                if !is_open {
                    return "";
                }
                if is_last && !counted.is_almost_still() {
                    next.reason = "the last gate has passed; devices are still at work".into();
                    ""
                } else if is_last {
                    next.state = S::Completed;
                    next.reason = "all stages have passed their gates".into();
                    "campaign.complete"
                } else {
                    enter_stage(next, number + 1, now);
                    "campaign.next_stage"
                }
            });
            step.or_else(|| grown(campaign, counted, now))
        }
        // Devices that come late are still served, so the last gate still watches them.
        S::Completed => {
            let stage = campaign.plan.stages.last()?;
            judged(campaign, &stage.gate, counted, now, |_| "")
        }
        _ => None,
    }
}

/// Whether it matters now how many devices the present stage has: they are counted one by one, so it is asked first.
///
/// It does where all that were seen have ended, and would decide something new if they were everybody.
#[must_use]
pub fn depends_on_group(campaign: &Campaign, counted: &Counted) -> bool {
    use CampaignState as S;
    let stage = campaign.progress.stage;
    let (S::Trial | S::Rolling | S::Completed, Some(gate)) = (campaign.state, gate_of(&campaign.plan, stage))
    else {
        return false;
    };
    let (verdict, looks) = gate::judge(gate, campaign.progress.looks, &counted.stage);
    if verdict != Verdict::Wait {
        return false;
    }
    // The smallest group of all: what waits even for that waits for every other.
    match judged_whole(campaign, gate, looks, 0, &counted.stage) {
        Verdict::Wait => false,
        Verdict::Pass => campaign.progress.passed.is_none(),
        Verdict::Fail(_) => true,
    }
}

/// Judges a group as a whole, in the light of what people have said about it.
fn judged_whole(campaign: &Campaign, gate: &Gate, looks: u32, group: u64, seen: &Evidence) -> Verdict {
    let verdict = gate::judge_whole(gate, looks, group, seen);
    // People have seen this and taken it as passed; a group that is judged as a whole would fail for ever.
    let accepted = campaign.progress.accepted.map_or(0, |seen| seen.failed + seen.silent);
    match verdict {
        Verdict::Fail(breach) if breach.seen <= accepted => Verdict::Wait,
        verdict => verdict,
    }
}

/// Judges a gate and does what follows: go on after the soak, or what the plan says about failure.
fn judged(
    campaign: &Campaign,
    gate: &Gate,
    counted: &Counted,
    now: Timestamp,
    go_on: impl FnOnce(&mut Campaign) -> &'static str,
) -> Option<Advance> {
    let (mut verdict, looks) = gate::judge(gate, campaign.progress.looks, &counted.stage);
    // An empty trial shows nothing; an empty stage has nothing to show.
    let is_group = |group: &u64| *group > 0 || campaign.state != CampaignState::Trial;
    if let (Verdict::Wait, Some(group)) = (verdict, counted.group.filter(is_group)) {
        verdict = judged_whole(campaign, gate, looks, group, &counted.stage);
    }
    let mut next = campaign.clone();
    next.progress.looks = looks;
    match verdict {
        Verdict::Fail(breach) => return Some(on_breach(next, breach, now)),
        Verdict::Pass if next.progress.passed.is_none() => next.progress.passed = Some(now),
        Verdict::Pass | Verdict::Wait => {}
    }
    // The soak begins when the gate was found good, and every look during it can still fail.
    if next.progress.passed.is_some_and(|passed| now.since(passed) >= gate.soak) {
        let action = go_on(&mut next);
        if !action.is_empty() {
            return Some(Advance::told(next, action));
        }
    }
    (next != *campaign).then(|| Advance::quiet(next))
}

fn on_breach(campaign: Campaign, breach: Breach, now: Timestamp) -> Advance {
    let reason = format!("the gate of stage {} failed: {breach}", campaign.progress.stage);
    let (state, action, revert_to) = match campaign.plan.on_failure {
        OnFailure::Pause => (CampaignState::Paused, "campaign.gate_paused", None),
        OnFailure::Stop => (CampaignState::Stopped, "campaign.gate_stopped", None),
        OnFailure::Revert { to } => (CampaignState::Stopped, "campaign.gate_reverted", Some(to)),
    };
    let mut next = with_state(&campaign, state, &reason);
    forget_amendment(&mut next);
    match state {
        CampaignState::Paused => {
            next.progress.paused = Some(PausedFrom { state: campaign.state, at: now });
        }
        _ => next.progress.ended = Some(now),
    }
    Advance { campaign: next, action: Some(action), revert_to }
}

/// An exponential stage opens further; written when at least a bucket more is open, so that a quiet campaign is not
/// written every minute.
fn grown(campaign: &Campaign, counted: &Counted, now: Timestamp) -> Option<Advance> {
    let confirmed = counted.stage.confirmed;
    let opened = ramp::grow(&campaign.plan, &campaign.progress, confirmed, counted.fleet, now);
    if opened < campaign.progress.opened.saturating_add(super::rank::RANKS_PER_BUCKET / 16) {
        return None;
    }
    let mut next = campaign.clone();
    next.progress.opened = opened;
    next.progress.opened_at = now;
    Some(Advance::quiet(next))
}

/// Whether two targets surely share devices: both are for the product as a whole.
#[must_use]
pub fn surely_overlap(one: &Target, other: &Target) -> bool {
    let is_whole = |target: &Target| matches!(target, Target::Everyone | Target::OrdinalBelow { .. });
    is_whole(one) && is_whole(other) || one == other
}

#[cfg(test)]
mod tests;
