//! What must never happen, watched from outside with rules of its own.
//!
//! The watch reads what the server sends and what it has stored, and judges it by plain statements: whoever is in no
//! trial gets nothing during a trial, nothing is offered by a campaign at rest, no stage is skipped, no limit exceeded.

use std::collections::{HashMap, HashSet, VecDeque};

use ota_core::fleet::records::{AttemptPhase, Campaign, CampaignState, DailyWindow, Date, Schedule};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Timestamp;
use ota_server::{AuditCheck, ProgressReport, Server};

use super::parts::{admin, operator};

#[derive(Default)]
pub(super) struct Watch {
    campaigns: HashMap<CampaignId, (u16, CampaignState)>,
    by_release: HashMap<ReleaseId, CampaignId>,
    /// Who has ever had an offer of a campaign.
    had: HashSet<(CampaignId, DeviceIdBuf)>,
    /// Stages whose gates people have taken as passed.
    accepted: HashSet<(CampaignId, u16)>,
    /// Stages that have passed while nobody was at it. Whoever was off before its turn came may begin during the soak.
    whole: HashSet<(CampaignId, u16)>,
    /// When first offers were made.
    first_offers: HashMap<CampaignId, VecDeque<Timestamp>>,
}

impl Watch {
    /// An offer is about to leave.
    pub(super) async fn offered(
        &mut self,
        server: &Server,
        device: &DeviceIdBuf,
        release: ReleaseId,
        (now, told): (Timestamp, Timestamp),
        seed: u64,
    ) {
        let Some(id) = self.by_release.get(&release).copied() else { return };
        let progress = server.progress(&operator(), id).await.expect("progress");
        let campaign = &progress.campaign;
        let is_on_trial = {
            let report = server.device(&operator(), device).await.expect("a device");
            report.tags.iter().any(|tag| &**tag == "trial")
        };
        use CampaignState as S;
        match campaign.state {
            S::Trial | S::Trialled => assert!(is_on_trial, "seed {seed}: {device} skipped the trial of {id}"),
            S::Rolling | S::Completed => {}
            // Answers leave after their commit, and the commit holds the campaign's version: so none can come now.
            at_rest => panic!("seed {seed}: {device} got an offer of campaign {id}, which is {at_rest:?}"),
        }
        let schedule = &campaign.plan.schedule;
        assert!(
            may_offer(schedule, told),
            "seed {seed}: {device} got an offer at {told:?}, outside {schedule:?}"
        );
        if self.had.insert((id, device.clone())) {
            let offers = self.first_offers.entry(id).or_default();
            offers.push_back(now);
            while offers.front().is_some_and(|first| now.since(*first).0 >= 60_000) {
                offers.pop_front();
            }
            let per_minute =
                usize::try_from(campaign.plan.limits.devices_per_minute).expect("a small number");
            // A bucket that was full gives one period's worth at once, and the next while it fills again. A server
            // that has just started begins with a full one.
            let most = 3 * per_minute;
            assert!(
                per_minute == 0 || offers.len() <= most,
                "seed {seed}: {} offers in a minute",
                offers.len()
            );
        }
        self.limits(&progress, seed);
    }

    fn limits(&self, progress: &ProgressReport, seed: u64) {
        let at_once: u64 = progress
            .now
            .iter()
            .filter(|line| matches!(line.phase, AttemptPhase::Offered | AttemptPhase::Downloading))
            .map(|line| line.devices)
            .sum();
        let most = u64::from(progress.campaign.plan.limits.downloads_max);
        assert!(
            most == 0 || at_once <= most,
            "seed {seed}: {at_once} downloads at once, the limit is {most}"
        );
    }

    /// People take the gate of this stage as passed.
    pub(super) fn accepted(&mut self, id: CampaignId, stage: u16) {
        self.accepted.insert((id, stage));
    }

    /// A campaign after a tick: its record, if nothing is wrong with it.
    pub(super) async fn campaign(&mut self, server: &Server, id: CampaignId, seed: u64) -> Campaign {
        let progress = server.progress(&operator(), id).await.expect("progress");
        let campaign = &progress.campaign;
        self.by_release.insert(campaign.release, id);
        let (stage, state) = (campaign.progress.stage, campaign.state);
        if campaign.progress.passed.is_some() && at_it(&progress, stage) == 0 {
            self.whole.insert((id, stage));
        }
        let was = self.campaigns.insert(id, (stage, state));
        if let Some((was_stage, was_state)) = was {
            assert!(stage <= was_stage + 1, "seed {seed}: campaign {id} skipped a stage");
            let is_over = matches!(was_state, CampaignState::Stopped);
            assert!(!is_over || state == was_state, "seed {seed}: campaign {id} came back");
            if stage > was_stage && was_state == CampaignState::Rolling {
                let gate = &campaign.plan.stages[usize::from(was_stage) - 1].gate;
                let shown = confirmed(&progress, was_stage) + others(&progress, was_stage);
                let is_sample = shown >= u64::from(gate.sample_min) && confirmed(&progress, was_stage) > 0;
                // A group that is too small for a sample passes as a whole: nobody is at it any more.
                let was_whole = at_it(&progress, was_stage) == 0 || self.whole.contains(&(id, was_stage));
                let is_whole = gate.small_group.is_some() && was_whole;
                assert!(
                    is_sample || is_whole || self.accepted.contains(&(id, was_stage)),
                    "seed {seed}: campaign {id} left stage {was_stage}: {:?}",
                    progress.now,
                );
            }
        }
        if stage > 0 && campaign.plan.trial.is_some() {
            assert!(confirmed(&progress, 0) > 0, "seed {seed}: campaign {id} went on without its trial");
        }
        self.limits(&progress, seed);
        progress.campaign
    }

    /// Counters are what the records say, and the audit chain is whole.
    pub(super) async fn check_exactness(&self, server: &Server, seed: u64) {
        let recount = server.recount(&admin()).await.expect("a recount");
        assert_eq!(recount.differences, [], "seed {seed}");
        let check = server.verify_audit(&admin(), None).await.expect("the audit chain");
        assert!(matches!(check, AuditCheck::Intact { .. }), "seed {seed}: {check:?}");
    }
}

/// Whether a schedule in UTC allows offers at this time, as a calendar on the wall would tell.
fn may_offer(schedule: &Schedule, at: Timestamp) -> bool {
    let minute = (at.0 / 60_000) % 1440;
    let is_in = |window: &DailyWindow| {
        let (from, until) = (u64::from(window.from_minute), u64::from(window.until_minute));
        if from < until { (from..until).contains(&minute) } else { minute >= from || minute < until }
    };
    let today = date_of(at.0 / 86_400_000);
    let is_free = !schedule.blackouts.iter().any(|range| (range.first..=range.last).contains(&today));
    (schedule.windows.is_empty() || schedule.windows.iter().any(is_in)) && is_free
}

/// The date of a day since 1970, by counting.
fn date_of(mut day: u64) -> Date {
    let mut year = 1970_i16;
    loop {
        let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let months = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, days) in (1..).zip(months) {
            if day < days {
                return Date { year, month, day: i8::try_from(day + 1).unwrap_or(1) };
            }
            day -= days;
        }
        year += 1;
    }
}

fn confirmed(progress: &ProgressReport, stage: u16) -> u64 {
    let lines = progress.now.iter().filter(|line| line.stage == stage);
    lines.filter(|line| line.phase == AttemptPhase::Confirmed).map(|line| line.devices).sum()
}

/// Devices that have an offer and have not ended.
fn at_it(progress: &ProgressReport, stage: u16) -> u64 {
    use AttemptPhase as P;
    let lines = progress.now.iter().filter(|line| line.stage == stage);
    let open = [P::Offered, P::Downloading, P::Downloaded, P::Verified, P::Installed, P::Deferred];
    lines.filter(|line| open.contains(&line.phase)).map(|line| line.devices).sum()
}

/// Devices that have ended otherwise, or fallen silent.
fn others(progress: &ProgressReport, stage: u16) -> u64 {
    use AttemptPhase as P;
    let lines = progress.now.iter().filter(|line| line.stage == stage);
    lines
        .filter(|line| matches!(line.phase, P::Failed | P::RolledBack | P::Rejected | P::Silent | P::Waiting))
        .map(|line| line.devices)
        .sum()
}
