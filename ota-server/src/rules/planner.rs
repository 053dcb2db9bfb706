//! What a device is to do next, and for every campaign that has nothing for it: why.
//!
//! One function looks at one campaign and one device and gives a step or a reason; choosing an offer and answering
//! "why has it not got the update" are both made of it, so they can never disagree.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ota_core::fleet::records::{Attempt, AttemptPhase, CampaignState, Device, DeviceStatus, Installed};
use ota_core::number::{CampaignId, ReleaseId, SecurityEpoch};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Timestamp;
use ota_core::wire::ReportCode;

use super::attempt::{is_open, may_be_offered};
use super::ramp::{self, Turn};
use super::schedule::{Opening, Told, opening};
use super::view::{CampaignView, ProductView, ReleaseView};

/// Longest chain of stepping stones.
pub const STONES_MAX: usize = 16;

/// Why a device gets nothing from a campaign now: one clear reason, the first that applies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// The device's credentials were revoked.
    #[error("the device's credentials were revoked")]
    Revoked,
    /// The device keeps failing, or a person has set it apart.
    #[error("the device is quarantined{after}; release it when its cause is known", after = told_failures(*.failures))]
    Quarantined {
        /// How many times it has failed in a row.
        failures: u8,
    },
    /// A person has pinned the device to what it runs.
    #[error("the device is pinned to what it runs: {0}")]
    Pinned(Box<str>),
    /// The campaign is not for it.
    #[error("the campaign's target does not include the device")]
    NotTargeted,
    /// It has the release.
    #[error("it has the release")]
    HasIt,
    /// The campaign is still a draft or being prepared.
    #[error("the campaign has not been started")]
    NotStarted,
    /// The campaign begins later.
    #[error("the campaign begins at {at}", at = Told(*.0))]
    BeginsAt(Timestamp),
    /// Only the trial group gets it for now.
    #[error("the trial group comes first")]
    TrialFirst,
    /// It is paused.
    #[error("the campaign is paused: {0}")]
    Paused(Box<str>),
    /// It was stopped.
    #[error("the campaign was stopped: {0}")]
    Stopped(Box<str>),
    /// Its turn comes later.
    #[error("its turn has not come: {0}")]
    NotItsTurn(Turn),
    /// The schedule's window is closed.
    #[error("outside the window until {at}", at = Told(*.0))]
    OutsideWindow(Timestamp),
    /// The schedule has ended.
    #[error("the campaign's schedule has ended")]
    Ended,
    /// The release was withdrawn.
    #[error("the release was withdrawn")]
    Withdrawn,
    /// The release is past its expiry.
    #[error("the release has expired")]
    Expired,
    /// The hardware is another.
    #[error("the release does not list its hardware revision")]
    WrongHardware,
    /// The release's epoch is below the device's.
    #[error("the release has security epoch {release}, the device is at {device}")]
    EpochTooLow {
        /// The release's.
        release: SecurityEpoch,
        /// The device's.
        device: SecurityEpoch,
    },
    /// The release's body is larger than the device's buffer for it.
    #[error("the release's metadata has {needed} bytes, the device's buffer {found}")]
    TooBig {
        /// What the release needs.
        needed: u32,
        /// What the device has.
        found: u32,
    },
    /// No chain of releases leads from what it has to the release.
    #[error("no released version leads from what it has to this release")]
    NoPath,
    /// The protocol cannot carry it.
    #[error("its protocol cannot carry the release: {0}")]
    Protocol(&'static str),
    /// It failed for good.
    #[error("its attempt ended as {phase:?}: {why:?}", why = ReportCode::from_number(*.cause))]
    AttemptEnded {
        /// How it ended.
        phase: AttemptPhase,
        /// The number of the report code.
        cause: u16,
    },
    /// It waits for its next try.
    #[error("it tries again at {at}", at = Told(*.0))]
    RetryAt(Timestamp),
    /// It has installed the files and its boot is awaited.
    #[error("its boot is awaited{until}", until = told_until(*.0))]
    AwaitingBoot(Option<Timestamp>),
    /// It is at work for another campaign.
    #[error("it is at work for campaign {0}")]
    BusyWith(CampaignId),
    /// A newer campaign for the same package has reached it.
    #[error("campaign {0} for the same package has reached it")]
    SupersededBy(CampaignId),
    /// It has the offer and works on it.
    #[error("it is at work on it")]
    AtWork,
    /// It has not been heard for a long time.
    #[error("{heard}; its turn has come", heard = told_heard(*.0))]
    Offline(Timestamp),
}

impl WhyNot {
    /// Whether the device is set apart from the campaign: neither time nor anything that it does itself changes that.
    #[must_use]
    pub const fn is_set_apart(&self) -> bool {
        matches!(
            self,
            Self::Revoked
                | Self::Quarantined { .. }
                | Self::Pinned(_)
                | Self::NotTargeted
                | Self::WrongHardware
                | Self::EpochTooLow { .. }
                | Self::TooBig { .. }
                | Self::Protocol(_)
                | Self::SupersededBy(_)
        )
    }
}

fn told_failures(failures: u8) -> String {
    match failures {
        0 => String::new(),
        1 => " after a failure".to_owned(),
        _ => format!(" after {failures} failures in a row"),
    }
}

fn told_until(due: Option<Timestamp>) -> String {
    due.map_or_else(String::new, |due| format!(" until {}", Told(due)))
}

fn told_heard(heard: Timestamp) -> String {
    if heard.0 == 0 {
        "it was never heard".to_owned()
    } else {
        format!("it was last heard at {}", Told(heard))
    }
}

/// What a device is to install next for a campaign.
#[derive(Debug, Clone)]
pub struct Step<'v> {
    /// For which campaign.
    pub campaign: &'v Arc<CampaignView>,
    /// What: the campaign's release or a stepping stone.
    pub release: &'v Arc<ReleaseView>,
    /// In which stage its turn came.
    pub stage: u16,
}

/// A device as decisions see it.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'d> {
    /// Its id.
    pub id: &'d DeviceIdBuf,
    /// Its record, with what it has just told.
    pub device: &'d Device,
    /// Whether it speaks a protocol that can only carry files of 1 byte to 4 GiB.
    pub is_sft: bool,
}

/// What one campaign has for a device, or why nothing.
///
/// # Errors
/// [`WhyNot`], the first reason that applies.
pub fn consider<'v>(
    product: &'v ProductView,
    campaign: &'v Arc<CampaignView>,
    standing: Standing<'_>,
    attempt: Option<&Attempt>,
    now: Timestamp,
) -> Result<Step<'v>, WhyNot> {
    let Standing { id, device, .. } = standing;
    match device.status {
        DeviceStatus::Active => {}
        DeviceStatus::Revoked => return Err(WhyNot::Revoked),
        DeviceStatus::Quarantined => {
            return Err(WhyNot::Quarantined { failures: device.failures.unwrap_or(0) });
        }
    }
    if let Some(reason) = &device.pinned {
        return Err(WhyNot::Pinned(reason.clone()));
    }
    let is_in = |target: &super::view::TargetView| target.holds(id, device, &product.names, now);
    let is_on_trial = campaign.trial.as_ref().is_some_and(is_in);
    if !is_on_trial && !is_in(&campaign.target) {
        return Err(WhyNot::NotTargeted);
    }
    let goal = product.release(&campaign.record.release).ok_or(WhyNot::Withdrawn)?;
    if let Some(attempt) = attempt {
        use AttemptPhase as P;
        match attempt.phase {
            P::Confirmed if goal.is_installed(&device.installed) => return Err(WhyNot::HasIt),
            // A stepping stone is confirmed and the goal is still ahead: the attempt goes on below.
            P::Confirmed if attempt.release != goal.id => {}
            P::Confirmed | P::Failed | P::RolledBack | P::Rejected | P::Cancelled => {
                return Err(WhyNot::AttemptEnded { phase: attempt.phase, cause: attempt.cause });
            }
            P::Installed => return Err(WhyNot::AwaitingBoot(attempt.due)),
            P::Waiting | P::Deferred if !may_be_offered(attempt, now) => {
                return Err(WhyNot::RetryAt(attempt.due.unwrap_or(now)));
            }
            _ => {}
        }
    } else if goal.is_installed(&device.installed) {
        return Err(WhyNot::HasIt);
    }
    let stage = turn_of(campaign, standing, attempt, is_on_trial, now)?;
    match opening(&campaign.record.plan.schedule, device, now) {
        Opening::Open => {}
        Opening::From(at) => return Err(WhyNot::OutsideWindow(at)),
        Opening::Never => return Err(WhyNot::Ended),
    }
    fits(goal, standing, now)?;
    let release = next_stone(product, goal, standing, now).ok_or(WhyNot::NoPath)?;
    fits(release, standing, now)?;
    Ok(Step { campaign, release, stage })
}

/// The stage in which the device's turn came.
fn turn_of(
    campaign: &CampaignView,
    standing: Standing<'_>,
    attempt: Option<&Attempt>,
    is_on_trial: bool,
    now: Timestamp,
) -> Result<u16, WhyNot> {
    let record = &campaign.record;
    match record.state {
        CampaignState::Draft | CampaignState::Preparing => return Err(WhyNot::NotStarted),
        CampaignState::Scheduled => return Err(WhyNot::BeginsAt(record.plan.schedule.start)),
        CampaignState::Paused => return Err(WhyNot::Paused(record.reason.clone())),
        CampaignState::Stopped => return Err(WhyNot::Stopped(record.reason.clone())),
        CampaignState::Trial
        | CampaignState::Trialled
        | CampaignState::Rolling
        | CampaignState::Completed => {}
    }
    // Whoever has begun goes on, whatever has become of its group since.
    if let Some(attempt) = attempt {
        return Ok(attempt.stage);
    }
    if is_on_trial {
        return Ok(0);
    }
    if matches!(record.state, CampaignState::Trial | CampaignState::Trialled) {
        return Err(WhyNot::TrialFirst);
    }
    let rank = campaign.order.rank(campaign.id, standing.id, standing.device.bucket);
    match ramp::turn(&record.plan, record.state, &record.progress, rank, now) {
        Turn::Come => Ok(ramp::stage_of(&record.plan, rank)),
        later => Err(WhyNot::NotItsTurn(later)),
    }
}

/// Whether the release can be installed on the device at all, its requirements on files apart.
fn fits(release: &ReleaseView, standing: Standing<'_>, now: Timestamp) -> Result<(), WhyNot> {
    let device = standing.device;
    if release.record.status != ota_core::fleet::records::ReleaseStatus::Signed {
        return Err(WhyNot::Withdrawn);
    }
    if !release.is_offerable(now) {
        return Err(WhyNot::Expired);
    }
    // A device that cannot say its hardware revision is taken for what its product's releases are made for.
    let is_known = device.hardware != 0 || device.claimed_hardware.is_some();
    if is_known && !release.hardware.contains(&device.hardware) {
        return Err(WhyNot::WrongHardware);
    }
    if let Some(epoch) = device.epoch.filter(|epoch| release.record.epoch < *epoch) {
        return Err(WhyNot::EpochTooLow { release: release.record.epoch, device: epoch });
    }
    if let Some(found) = device.metadata_bytes_max.filter(|found| release.record.body_size > *found) {
        return Err(WhyNot::TooBig { needed: release.record.body_size, found });
    }
    if standing.is_sft { carried_by_sft(release).map_err(WhyNot::Protocol) } else { Ok(()) }
}

/// Whether the original protocol can carry a release.
///
/// # Errors
/// The reason in words, for the person who makes the campaign.
pub fn carried_by_sft(release: &ReleaseView) -> Result<(), &'static str> {
    for file in &release.record.files {
        if file.size.0 == 0 {
            return Err("a file is empty, and SFT cannot deliver empty files");
        }
        if u32::try_from(file.size.0).is_err() {
            return Err("a file has 4 GiB or more, and SFT's sizes have 32 bits");
        }
        if file.name.as_str().len() + file.revision.as_str().len() >= 1000 {
            return Err("a file's name and revision have 1000 bytes or more together");
        }
    }
    Ok(())
}

/// Whether the requirements on files and epoch are met by what would be installed.
fn is_met(release: &ReleaseView, installed: &[Installed], epoch: Option<SecurityEpoch>) -> bool {
    epoch.is_none_or(|epoch| epoch >= release.epoch_min)
        && release.required.iter().all(|(file, revisions)| {
            installed
                .iter()
                .any(|have| have.file == *file && have.revision != 0 && revisions.contains(&have.revision))
        })
}

/// The first release of the shortest chain that ends with the goal; the goal itself if nothing stands between.
///
/// Breadth first over the product's signed releases; each is taken once, since coming to it on a longer way opens
/// nothing that the shorter way does not, as long as requirements name files of the same package.
fn next_stone<'v>(
    product: &'v ProductView,
    goal: &'v Arc<ReleaseView>,
    standing: Standing<'_>,
    now: Timestamp,
) -> Option<&'v Arc<ReleaseView>> {
    let device = standing.device;
    if is_met(goal, &device.installed, device.epoch) {
        return Some(goal);
    }
    let mut stones: Vec<&Arc<ReleaseView>> = product
        .releases
        .values()
        .filter(|stone| stone.id != goal.id && stone.record.epoch <= goal.record.epoch)
        .filter(|stone| fits(stone, standing, now).is_ok() && !stone.is_installed(&device.installed))
        .collect();
    stones.sort_by_key(|stone| (core::cmp::Reverse(stone.record.version), stone.id));
    let mut first_of: HashMap<ReleaseId, &Arc<ReleaseView>> = HashMap::new();
    let mut queue = VecDeque::from([(device.installed.clone(), device.epoch, None, 0)]);
    while let Some((installed, epoch, first, length)) = queue.pop_front() {
        if length > 0 && is_met(goal, &installed, epoch) {
            return first;
        }
        if length == STONES_MAX {
            continue;
        }
        for stone in &stones {
            if first_of.contains_key(&stone.id) || !is_met(stone, &installed, epoch) {
                continue;
            }
            let first = first.or(Some(*stone));
            first_of.insert(stone.id, stone);
            let epoch = epoch.map(|epoch| epoch.max(stone.record.epoch));
            queue.push_back((overlaid(&installed, &stone.files), epoch, first, length + 1));
        }
    }
    None
}

/// What is installed after a release went over it.
fn overlaid(installed: &[Installed], files: &[Installed]) -> Vec<Installed> {
    let mut result: Vec<Installed> =
        installed.iter().filter(|have| files.iter().all(|file| file.file != have.file)).copied().collect();
    result.extend_from_slice(files);
    result
}

/// What a device is to do now.
#[derive(Debug, Clone)]
pub enum Choice<'v> {
    /// Install this; `overtaken` is the campaign whose attempt is given up for it.
    Install {
        /// What.
        step: Step<'v>,
        /// For which the present attempt is given up.
        overtaken: Option<CampaignId>,
    },
    /// Nothing now. The time is when its turn is expected, where that can be told.
    Nothing {
        /// When.
        turn: Option<Timestamp>,
    },
}

/// What a device is to do now, from all campaigns of its product.
///
/// One attempt at a time: a device at work stays with it, unless a security release overtakes before its commit.
#[must_use]
pub fn choose<'v>(
    product: &'v ProductView,
    standing: Standing<'_>,
    attempts: &HashMap<CampaignId, &Attempt>,
    now: Timestamp,
) -> Choice<'v> {
    let at_work = standing.device.attempt.filter(|campaign| {
        attempts.get(campaign).is_some_and(|attempt| is_open(attempt.phase))
            && product.campaign(*campaign).is_some_and(|campaign| campaign.is_offering())
    });
    let mut turn: Option<Timestamp> = None;
    let mut own_step = None;
    for campaign in &product.campaigns {
        if superseded_by(product, campaign, standing, attempts, now).is_some() {
            continue;
        }
        match consider(product, campaign, standing, attempts.get(&campaign.id).copied(), now) {
            Ok(step) if at_work.is_none_or(|at_work| at_work == campaign.id) => {
                own_step = Some(step);
                break;
            }
            Ok(step) => {
                let may_overtake = step.release.record.security
                    && at_work
                        .and_then(|id| attempts.get(&id))
                        .is_some_and(|attempt| attempt.phase != AttemptPhase::Installed);
                if may_overtake {
                    return Choice::Install { step, overtaken: at_work };
                }
            }
            Err(
                WhyNot::NotItsTurn(Turn::About(at))
                | WhyNot::OutsideWindow(at)
                | WhyNot::RetryAt(at)
                | WhyNot::BeginsAt(at),
            ) if at > now => {
                turn = Some(turn.map_or(at, |known| known.min(at)));
            }
            Err(_) => {}
        }
    }
    match own_step {
        Some(step) => Choice::Install { step, overtaken: None },
        None => Choice::Nothing { turn },
    }
}

/// A newer campaign for the same package that has already reached the device: the older one leaves it alone.
fn superseded_by(
    product: &ProductView,
    campaign: &CampaignView,
    standing: Standing<'_>,
    attempts: &HashMap<CampaignId, &Attempt>,
    now: Timestamp,
) -> Option<CampaignId> {
    let package =
        |campaign: &CampaignView| product.release(&campaign.record.release).map(|r| &r.record.package);
    let ours = package(campaign)?;
    product
        .campaigns
        .iter()
        .filter(|other| (other.record.created, other.id) > (campaign.record.created, campaign.id))
        .filter(|other| other.record.release != campaign.record.release && package(other) == Some(ours))
        .find(|other| {
            let has_attempt = attempts
                .get(&other.id)
                .is_some_and(|attempt| !matches!(attempt.phase, AttemptPhase::Cancelled));
            let has_release = product
                .release(&other.record.release)
                .is_some_and(|release| release.is_installed(&standing.device.installed));
            let is_targeted = other.target.holds(standing.id, standing.device, &product.names, now);
            has_attempt || (has_release && is_targeted)
        })
        .map(|other| other.id)
}

/// Why a device has not got a campaign's release; the answer to the question that operators ask most.
#[must_use]
pub fn why_not(
    product: &ProductView,
    campaign: &Arc<CampaignView>,
    standing: Standing<'_>,
    attempts: &HashMap<CampaignId, &Attempt>,
    silent_after: ota_core::time::Millis,
    now: Timestamp,
) -> WhyNot {
    if let Some(newer) = superseded_by(product, campaign, standing, attempts, now) {
        return WhyNot::SupersededBy(newer);
    }
    let attempt = attempts.get(&campaign.id).copied();
    match consider(product, campaign, standing, attempt, now) {
        Err(reason) => reason,
        Ok(_) => match standing.device.attempt {
            Some(other) if other != campaign.id && attempts.get(&other).is_some_and(|a| is_open(a.phase)) => {
                WhyNot::BusyWith(other)
            }
            _ if now.since(standing.device.heard) > silent_after => WhyNot::Offline(standing.device.heard),
            _ if attempt.is_some() => WhyNot::AtWork,
            _ => WhyNot::NotItsTurn(Turn::Come),
        },
    }
}
