//! How campaigns and fleets have fared: samples in bounded space, and what they say about the end.
//!
//! A course never grows beyond its limit, keeps its first and its newest sample, and is only added to when something
//! has changed: between two samples nothing did, or an extra one just before a change says so.

use core::cmp::Ordering;
use std::collections::BTreeMap;

use ota_core::fleet::records::{
    Campaign, CampaignState, FileSample, Pace, Plan, RevisionDevices, Sample, Stage,
};
use ota_core::time::{Millis, Timestamp};

use super::campaign::Counted;

/// Most samples of one course.
pub const SAMPLES_MAX: usize = 192;
/// Most revisions that one sample of a file tells apart.
pub const REVISIONS_MAX: usize = 15;
/// Most files of a product that have a course.
pub const FILES_MAX: usize = 64;

/// What a course is made of.
pub trait Sampled: Clone {
    /// When it was taken.
    fn at(&self) -> Timestamp;
    /// The same at another time.
    #[must_use]
    fn moved_to(&self, at: Timestamp) -> Self;
}

impl Sampled for Sample {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn moved_to(&self, at: Timestamp) -> Self {
        Self { at, ..self.clone() }
    }
}

impl Sampled for FileSample {
    fn at(&self) -> Timestamp {
        self.at
    }

    fn moved_to(&self, at: Timestamp) -> Self {
        Self { at, ..self.clone() }
    }
}

/// Which samples go when there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinning {
    /// Those that stand closest: what remains lies evenly over the whole life.
    Even,
    /// Those that stand closest for their age: yesterday is kept by the hour, last year by the week.
    FinerTowardsNow,
}

/// Adds a sample to a course, if it says anything new; says whether it did. `every` is how often samples are taken.
pub fn note<S: Sampled + PartialEq>(
    samples: &mut Vec<S>,
    sample: S,
    every: Millis,
    thinning: Thinning,
) -> bool {
    if let Some(last) = samples.last() {
        if last.moved_to(sample.at()) == sample || sample.at() <= last.at() {
            return false;
        }
        let just_before = Timestamp(sample.at().0.saturating_sub(every.0));
        // Nothing had changed until a moment ago: without this the change would look as slow as the quiet was long.
        if just_before > last.at().plus(every) {
            let quiet = last.moved_to(just_before);
            samples.push(quiet);
        }
    }
    samples.push(sample);
    while samples.len() > SAMPLES_MAX {
        thin_out(samples, thinning);
    }
    true
}

/// Ends a course with what is true now, for a chart: also if that is what was true before.
pub fn end_now<S: Sampled + PartialEq>(samples: &mut Vec<S>, present: S, every: Millis, thinning: Thinning) {
    let is_later = samples.last().is_none_or(|last| last.at() < present.at());
    if !note(samples, present.clone(), every, thinning) && is_later {
        samples.push(present);
    }
}

/// Takes the one sample out that is missed least; never the first or the last.
fn thin_out<S: Sampled>(samples: &mut Vec<S>, thinning: Thinning) {
    let Some(now) = samples.last().map(Sampled::at) else { return };
    let weights = samples.windows(3).map(|three| {
        let [before, it, behind] = three else { return (u128::MAX, 1) };
        let gap = u128::from(behind.at().since(before.at()).0);
        match thinning {
            Thinning::Even => (gap, 1),
            Thinning::FinerTowardsNow => (gap, u128::from(now.since(it.at()).0) + 1),
        }
    });
    // Compared as fractions: gap by age.
    let by_share = |a: &(u128, u128), b: &(u128, u128)| -> Ordering {
        a.0.saturating_mul(b.1).cmp(&b.0.saturating_mul(a.1))
    };
    let least = weights.enumerate().min_by(|(_, a), (_, b)| by_share(a, b)).map(|(index, _)| index + 1);
    if let Some(index) = least {
        samples.remove(index);
    }
}

/// Notes where the campaign stands; says whether that is anything new.
pub fn note_campaign(campaign: &mut Campaign, counted: &Counted, every: Millis, now: Timestamp) -> bool {
    let sample = sample_of(campaign, counted, now);
    note(&mut campaign.samples, sample, every, Thinning::Even)
}

/// Where a campaign stands now.
#[must_use]
pub fn sample_of(campaign: &Campaign, counted: &Counted, now: Timestamp) -> Sample {
    let all = &counted.all;
    Sample {
        at: now,
        offered: all.ended() + all.silent + all.open,
        confirmed: all.confirmed,
        failed: all.failed_in_all(),
        stage: Some(campaign.progress.stage),
        phases: Some(counted.phases.clone()),
        causes: Some(all.failed),
    }
}

/// A sample of one file: the revisions that most devices have, and the others together.
///
/// Devices whose revision was never released count as revision 0, however few they are.
#[must_use]
pub fn file_sample(counts: &BTreeMap<u32, u64>, now: Timestamp) -> FileSample {
    let mut by_size: Vec<RevisionDevices> = counts
        .iter()
        .filter(|(_, devices)| **devices > 0)
        .map(|(revision, devices)| RevisionDevices { revision: *revision, devices: *devices })
        .collect();
    by_size.sort_by_key(|line| (line.revision != 0, core::cmp::Reverse(line.devices), line.revision));
    let rest = by_size.split_off(by_size.len().min(REVISIONS_MAX));
    by_size.sort_by_key(|line| line.revision);
    FileSample { at: now, revisions: by_size, others: rest.iter().map(|line| line.devices).sum() }
}

/// When the campaign will be through: at its pace over the later half of its life, and no sooner than its plan allows.
///
/// `None` while nobody can tell: before the trial was passed, while it is paused, or when nobody has confirmed for half
/// of its life.
#[must_use]
pub fn projected_end(campaign: &Campaign, counted: &Counted, now: Timestamp) -> Option<Timestamp> {
    if !matches!(campaign.state, CampaignState::Rolling | CampaignState::Completed) {
        return None;
    }
    let left = counted.fleet.saturating_sub(counted.all.ended());
    let first = campaign.samples.first()?.at;
    let half = Timestamp(first.0 + now.since(first).0 / 2);
    let reference = campaign.samples.iter().rev().find(|sample| sample.at <= half)?;
    let done = counted.all.confirmed.checked_sub(reference.confirmed).filter(|done| *done > 0)?;
    let span = u128::from(now.since(reference.at).0) * u128::from(left) / u128::from(done);
    let at_this_pace = now.plus(Millis(u64::try_from(span).unwrap_or(u64::MAX)));
    (left > 0).then(|| at_this_pace.max(last_turn(campaign, now)))
}

/// When the last device has its turn at the earliest: paces and soaks, without waiting for evidence.
fn last_turn(campaign: &Campaign, now: Timestamp) -> Timestamp {
    let Plan { stages, .. } = &campaign.plan;
    let Some(present) = usize::from(campaign.progress.stage).checked_sub(1) else { return now };
    if campaign.state != CampaignState::Rolling {
        return now;
    }
    let span = |stage: &Stage| match stage.pace {
        Pace::Linear { over } => over,
        Pace::AtOnce | Pace::Exponential { .. } => Millis(0),
    };
    let mut end = stages.get(present).map_or(now, |stage| campaign.progress.since.plus(span(stage))).max(now);
    for pair in stages.get(present..).unwrap_or_default().windows(2) {
        if let [stage, next] = pair {
            end = end.plus(stage.gate.soak).plus(span(next));
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, devices: u64) -> FileSample {
        FileSample { at: Timestamp(at), revisions: vec![RevisionDevices { revision: 1, devices }], others: 0 }
    }

    fn course(count: u64, every: u64, thinning: Thinning) -> Vec<FileSample> {
        let mut samples = Vec::new();
        for number in 0..count {
            assert!(note(&mut samples, sample(number * every, number), Millis(every), thinning));
            assert!(samples.len() <= SAMPLES_MAX);
        }
        samples
    }

    #[test]
    fn a_course_spans_the_whole_life_evenly_or_finer_towards_now() {
        let hours = 5 * 365 * 24;
        for thinning in [Thinning::Even, Thinning::FinerTowardsNow] {
            let samples = course(hours, 3_600, thinning);
            assert_eq!((samples[0].at.0, samples.last().unwrap().at.0), (0, (hours - 1) * 3_600));
            let gaps: Vec<u64> = samples.windows(2).map(|pair| pair[1].at.0 - pair[0].at.0).collect();
            match thinning {
                Thinning::Even => assert!(
                    gaps.iter().max().unwrap() <= &(4 * gaps.iter().min().unwrap()),
                    "{gaps:?} are not even"
                ),
                Thinning::FinerTowardsNow => {
                    let end = (hours - 1) * 3_600;
                    for (sample, gap) in samples.iter().skip(1).zip(&gaps) {
                        let age = end - sample.at.0;
                        assert!(*gap <= 3_600.max(age / 4) + 3_600, "a gap of {gap} s at an age of {age} s");
                    }
                }
            }
        }
    }

    #[test]
    fn a_quiet_time_stays_quiet_on_the_chart() {
        let mut samples = vec![sample(0, 1)];
        for hour in 1..100 {
            assert!(!note(&mut samples, sample(hour * 10, 1), Millis(10), Thinning::Even));
        }
        assert!(note(&mut samples, sample(1_000, 2), Millis(10), Thinning::Even));
        assert_eq!(samples, [sample(0, 1), sample(990, 1), sample(1_000, 2)]);
    }

    #[test]
    fn a_clock_that_went_back_adds_nothing() {
        let mut samples = vec![sample(100, 1)];
        assert!(!note(&mut samples, sample(100, 2), Millis(10), Thinning::Even));
        assert!(!note(&mut samples, sample(50, 2), Millis(10), Thinning::Even));
    }

    #[test]
    fn revisions_that_few_devices_have_count_together_and_unknown_ones_apart() {
        let counts: BTreeMap<u32, u64> = (1..=40).map(|n| (n, u64::from(n) * 10)).chain([(0, 1)]).collect();
        let sample = file_sample(&counts, Timestamp(1));
        assert_eq!(sample.revisions.len(), REVISIONS_MAX);
        assert_eq!(sample.revisions[0], RevisionDevices { revision: 0, devices: 1 });
        assert_eq!(sample.revisions.last().unwrap().revision, 40);
        let told: u64 = sample.revisions.iter().map(|line| line.devices).sum();
        assert_eq!(told + sample.others, counts.values().sum::<u64>());
    }
}
