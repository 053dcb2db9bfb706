//! A year of a fleet in virtual time: twelve releases under one schedule with windows and a blackout, and what goes wrong
//! with releases in a year: one that breaks devices, one whose devices start to fail in the middle of its rollout for
//! reasons of their own, one that is withdrawn, one that another overtakes.

use ota_core::fleet::records::{
    CampaignState, DailyWindow, Date, DateRange, Pace, Plan, Promotion, Schedule, SmallGroup,
};
use ota_core::number::CampaignId;
use ota_core::time::Millis;

use super::{DAY, Faults, Fleet, Kept, Kinds, MINUTE, parts, plan};

/// How long a release has, from one to the next.
const MONTH: u64 = 30 * DAY;

/// What the months were about, from the first on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Month {
    /// A good release, while everything else goes wrong.
    Good,
    /// A release that breaks most devices: the trial group finds out.
    Bad,
    /// A good release, and from the middle of it on most starts fail: a cold night, a bad battery.
    Spike,
    /// A release that is withdrawn while it is being rolled out.
    Withdrawn,
    /// A release that a more urgent one overtakes.
    Overtaken,
}

use Month::{Bad, Good, Overtaken, Spike, Withdrawn};

const YEAR: [Month; 12] = [Good, Good, Bad, Good, Good, Spike, Good, Withdrawn, Good, Overtaken, Good, Good];

/// What became of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Became {
    /// Campaigns that were completed.
    pub completed: u32,
    /// Campaigns that their gates paused, and people stopped.
    pub paused: u32,
    /// Devices that live at the end, all of them on the last release.
    pub alive: usize,
}

/// The plan of all releases: offers at night only, none in the last days of the year.
#[must_use]
pub fn nightly() -> Plan {
    let mut plan = plan();
    plan.schedule = Schedule {
        zone: "UTC".into(),
        windows: vec![DailyWindow { from_minute: 22 * 60, until_minute: 4 * 60 }],
        blackouts: vec![DateRange {
            first: Date { year: 2027, month: 12, day: 20 },
            last: Date { year: 2027, month: 12, day: 31 },
        }],
        ..Schedule::default()
    };
    for stage in &mut plan.stages {
        stage.gate.small_group = Some(SmallGroup::ByShare);
        stage.pace = Pace::Linear { over: Millis(DAY) };
    }
    if let Some(trial) = &mut plan.trial {
        trial.promotion = Promotion::ByGate;
    }
    plan
}

/// Lets a year pass.
///
/// # Panics
/// With the seed, if anything happens that must not, or does not happen that must.
pub async fn pass(seed: u64, kinds: Kinds, kept: Kept) -> (Became, Fleet) {
    let mut fleet = Fleet::of(seed, kinds, kept).await;
    fleet.tick_every(Millis(2 * 60 * MINUTE));
    let mut became = Became::default();
    let months = YEAR.len();
    for (number, month) in YEAR.into_iter().enumerate() {
        let release = fleet.release(if month == Bad { 700_000 } else { 0 }).await;
        let campaign = fleet.campaign(release, nightly()).await;
        match month {
            Good => {
                fleet.run(Faults::HARSH, Millis(4 * DAY)).await;
                let rest = if number + 1 == months { 2 * MONTH } else { MONTH - 4 * DAY };
                fleet.run(Faults::NONE, Millis(rest)).await;
            }
            Bad => fleet.run(Faults::HARSH, Millis(MONTH)).await,
            Spike => {
                // From the second stage on, for half a day.
                for _ in 0..10 {
                    fleet.run(Faults::NONE, Millis(DAY)).await;
                    if fleet.record(campaign).await.progress.stage >= 2 {
                        break;
                    }
                }
                let spike = Faults { bad_starts: 600_000, ..Faults::NONE };
                fleet.run(spike, Millis(2 * DAY)).await;
                fleet.run(Faults::NONE, Millis(18 * DAY)).await;
            }
            Withdrawn => {
                fleet.run(Faults::NONE, Millis(3 * DAY)).await;
                fleet.withdraw(release).await;
                fleet.run(Faults::HARSH, Millis(4 * DAY)).await;
                fleet.run(Faults::NONE, Millis(MONTH - 7 * DAY)).await;
            }
            Overtaken => {
                fleet.run(Faults::NONE, Millis(2 * DAY)).await;
                let urgent = fleet.release(0).await;
                let plan = Plan { priority: 10, ..nightly() };
                let overtakes = fleet.campaign(urgent, plan).await;
                fleet.run(Faults::HARSH, Millis(2 * DAY)).await;
                fleet.run(Faults::NONE, Millis(MONTH - 4 * DAY)).await;
                became.completed += u32::from(state(&fleet, overtakes).await == CampaignState::Completed);
                fleet.stop(overtakes).await;
            }
        }
        let record = fleet.record(campaign).await;
        match (month, record.state) {
            (Bad, CampaignState::Paused) => {
                // In a trial of two, both are lucky with one such release of eleven; the stage behind it is larger.
                assert!(record.progress.stage <= 1, "seed {seed}: {}", record.reason);
                became.paused += 1;
            }
            (Bad, _) => panic!("a bad release was not stopped: {}", fleet.story(campaign).await),
            (Spike, CampaignState::Paused) => became.paused += 1,
            (Withdrawn, state) => assert_eq!(state, CampaignState::Stopped, "seed {seed}"),
            (_, CampaignState::Completed) => became.completed += 1,
            (Overtaken, _) => {}
            (_, _) => {
                panic!(
                    "the release of month {} is not completed: {}",
                    number + 1,
                    fleet.story(campaign).await
                )
            }
        }
        if month != Withdrawn && number + 1 < months {
            fleet.stop(campaign).await;
        }
        fleet.bury().await;
    }
    let last = fleet.releases.last().map_or(0, |release| release.revision);
    fleet.assert_everybody_has(last).await;
    became.alive = fleet.alive();
    (became, fleet)
}

async fn state(fleet: &Fleet, id: CampaignId) -> CampaignState {
    fleet.record(id).await.state
}

impl Fleet {
    /// Withdraws a release.
    async fn withdraw(&self, release: ota_core::number::ReleaseId) {
        let by = parts::operator();
        self.server.withdraw_release(&by, &release, "the simulation").await.expect("a withdrawal");
    }

    /// People take bricks out of service, and see to it that the trial group is as large as before.
    async fn bury(&self) {
        let wanted = self.devices.len().div_ceil(10);
        let mut on_trial = 0;
        let others = (0..self.devices.len()).filter(|place| place % 10 != 0);
        for place in (0..self.devices.len()).step_by(10).chain(others) {
            let id = parts::device_id(place);
            if self.devices[place].is_brick() {
                let _ = self.server.revoke_device(&parts::operator(), &id, "it is a brick").await;
            } else if on_trial < wanted {
                self.server.tag_device(&parts::operator(), &id, &["trial"]).await.expect("a tag");
                on_trial += 1;
            }
        }
    }
}
