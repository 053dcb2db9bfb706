//! How much of the fleet is open: a share of the ranks that only ever grows while a campaign runs.

use ota_core::fleet::records::{CampaignState, Pace, Plan, Progress};
use ota_core::time::{Millis, Timestamp};

use super::rank::RANKS;
use super::schedule::Told;

const PPM: u64 = 1_000_000;

/// A share of the fleet as the first rank that is not in it.
#[must_use]
pub fn ranks(ppm: u32) -> u64 {
    (u64::from(ppm) * RANKS).div_ceil(PPM).min(RANKS)
}

/// The ranks that a stage opens: from the end of the one before it to its own.
#[must_use]
pub fn stage_ranks(plan: &Plan, stage: u16) -> (u64, u64) {
    let end_of = |stage: u16| {
        usize::from(stage)
            .checked_sub(1)
            .and_then(|index| plan.stages.get(index))
            .map(|stage| ranks(stage.until_ppm))
    };
    (end_of(stage.saturating_sub(1)).unwrap_or(0), end_of(stage).unwrap_or(0))
}

/// The stage in which a rank has its turn; 1 is the first.
#[must_use]
pub fn stage_of(plan: &Plan, rank: u32) -> u16 {
    let position = plan.stages.iter().position(|stage| u64::from(rank) < ranks(stage.until_ppm));
    position.and_then(|index| u16::try_from(index + 1).ok()).unwrap_or(u16::MAX)
}

/// Ranks below this have had their turn.
///
/// What a pause interrupted does not shrink: everybody whose turn had come keeps it, though nothing is offered.
#[must_use]
pub fn opened(plan: &Plan, state: CampaignState, progress: &Progress, now: Timestamp) -> u64 {
    let state = progress.paused.map_or(state, |paused| paused.state);
    let now = progress.paused.map_or(now, |paused| paused.at);
    match state {
        CampaignState::Completed => RANKS,
        CampaignState::Rolling => {
            let (from, until) = stage_ranks(plan, progress.stage);
            let Some(stage) =
                usize::from(progress.stage).checked_sub(1).and_then(|index| plan.stages.get(index))
            else {
                return from;
            };
            match stage.pace {
                Pace::AtOnce => until,
                Pace::Linear { over } => from + portion(until - from, now.since(progress.since), over),
                Pace::Exponential { .. } => progress.opened.clamp(from, until),
            }
        }
        _ => 0,
    }
}

/// How far an exponential stage has opened now, given how many devices have confirmed in it.
///
/// The rate holds between two reckonings, so these should come often (each minute or so).
#[must_use]
pub fn grow(plan: &Plan, progress: &Progress, confirmed: u64, fleet: u64, now: Timestamp) -> u64 {
    let (from, until) = stage_ranks(plan, progress.stage);
    let stage = usize::from(progress.stage).checked_sub(1).and_then(|index| plan.stages.get(index));
    let Some(Pace::Exponential { base_per_minute, factor_percent, every_confirmed }) =
        stage.map(|stage| stage.pace)
    else {
        return progress.opened;
    };
    let steps = confirmed / u64::from(every_confirmed.max(1));
    let mut per_minute = u128::from(base_per_minute);
    for _ in 0..steps.min(64) {
        // Faster than the whole fleet in a minute is as good as at once.
        per_minute = (per_minute * u128::from(factor_percent) / 100).min(u128::from(fleet.max(1)));
    }
    let elapsed = u128::from(now.since(progress.opened_at).0);
    let more = per_minute * elapsed * u128::from(RANKS) / (60_000 * u128::from(fleet.max(1)));
    let more = u64::try_from(more).unwrap_or(RANKS);
    progress.opened.saturating_add(more).clamp(from, until)
}

/// When a rank has its turn, as far as that can be told: at once, at a time, or not before a gate has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has come.
    Come,
    /// It comes at about this time if nothing is paused or stopped.
    About(Timestamp),
    /// It depends on this stage, which has not begun.
    InStage(u16),
    /// It rises with success and has no time yet.
    WithSuccess,
}

impl core::fmt::Display for Turn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Come => f.write_str("it has come; the device has not asked since"),
            Self::About(at) => write!(f, "it comes at about {}", Told(*at)),
            Self::InStage(stage) => write!(f, "it comes in stage {stage}, which has not begun"),
            Self::WithSuccess => f.write_str("it comes as more devices succeed"),
        }
    }
}

/// When a rank has its turn.
#[must_use]
pub fn turn(plan: &Plan, state: CampaignState, progress: &Progress, rank: u32, now: Timestamp) -> Turn {
    let rank = u64::from(rank);
    if rank < opened(plan, state, progress, now) {
        return Turn::Come;
    }
    let stage = stage_of(plan, u32::try_from(rank).unwrap_or(u32::MAX));
    let state = progress.paused.map_or(state, |paused| paused.state);
    if state != CampaignState::Rolling || stage != progress.stage {
        return Turn::InStage(stage);
    }
    let (from, until) = stage_ranks(plan, stage);
    match usize::from(stage).checked_sub(1).and_then(|index| plan.stages.get(index)).map(|stage| stage.pace) {
        Some(Pace::Linear { over }) => {
            let behind = rank.saturating_sub(from).saturating_add(1);
            let span = (u128::from(over.0) * u128::from(behind)).div_ceil(u128::from((until - from).max(1)));
            let lost = progress.paused.map_or(Millis(0), |paused| now.since(paused.at));
            Turn::About(progress.since.plus(Millis(u64::try_from(span).unwrap_or(u64::MAX))).plus(lost))
        }
        _ => Turn::WithSuccess,
    }
}

fn portion(of: u64, elapsed: Millis, over: Millis) -> u64 {
    if elapsed >= over {
        return of;
    }
    u64::try_from(u128::from(of) * u128::from(elapsed.0) / u128::from(over.0.max(1))).unwrap_or(of)
}
