//! Plans and targets as people write them, in JSON or in a TOML file. What is left away has the default shown here.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use jiff::civil;
use ota_core::fleet::records::{
    AttemptRules, Budget, Cause, DailyWindow, Date, DateRange, Gate, Limits, OnFailure, Pace, Plan,
    Promotion, Schedule, SmallGroup, Stage, Target, Trial,
};
use ota_core::number::ReleaseId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::release::{FieldError, field};
use super::units::{UnitError, as_text};
use super::{Share, Span, Time};

/// How a campaign proceeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanBody {
    /// Who gets it first; nobody in particular if left away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialBody>,
    /// The parts of the fleet, one behind the other. Default: the whole fleet at once.
    pub stages: Vec<StageBody>,
    /// When.
    pub schedule: ScheduleBody,
    /// How much at once.
    pub limits: LimitsBody,
    /// How long one device may take, and how often it may try.
    pub attempts: AttemptsBody,
    /// How many people must approve, not counting the author; the product's minimum counts if it is more.
    pub approvals: u8,
    /// What a failed gate leads to.
    pub on_failure: OnFailureBody,
    /// Higher goes first.
    pub priority: u8,
}

impl Default for PlanBody {
    fn default() -> Self {
        Self {
            trial: None,
            stages: vec![StageBody::default()],
            schedule: ScheduleBody::default(),
            limits: LimitsBody::default(),
            attempts: AttemptsBody::default(),
            approvals: 1,
            on_failure: OnFailureBody::Pause,
            priority: 0,
        }
    }
}

/// The trial group and its gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialBody {
    /// Who is in it; left away, whoever is named beside the plan.
    #[serde(default = "nobody_yet")]
    pub who: TargetBody,
    /// What must be seen before the fleet gets it.
    #[serde(default)]
    pub gate: GateBody,
    /// Whether a person must say so as well.
    #[serde(default)]
    pub promotion: PromotionBody,
}

const fn nobody_yet() -> TargetBody {
    TargetBody::Devices(Vec::new())
}

/// Who promotes from the trial to the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromotionBody {
    /// A person, once the gate has passed.
    #[default]
    ByPerson,
    /// The gate alone.
    ByGate,
}

/// A part of the fleet with a gate behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StageBody {
    /// How much of the fleet has had its turn at its end, earlier stages included.
    pub until: Share,
    /// How fast turns come within it.
    pub pace: PaceBody,
    /// What must be seen before the next one begins.
    pub gate: GateBody,
}

impl Default for StageBody {
    fn default() -> Self {
        Self { until: Share(1_000_000), pace: PaceBody::AtOnce, gate: GateBody::default() }
    }
}

/// How fast turns come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PaceBody {
    /// All at once.
    AtOnce,
    /// Evenly over a span.
    Linear {
        /// The span.
        over: Span,
    },
    /// From a base rate on, growing with success.
    Exponential {
        /// Devices per minute at the beginning.
        base_per_minute: u32,
        /// What the rate is multiplied by, in percent.
        factor_percent: u32,
        /// How many confirmed devices each step takes.
        every_confirmed: u32,
    },
}

/// What a stage must show. Default: at least 20 devices; 1% failures are good, 20% are bad; either error 5%.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GateBody {
    /// How many devices must have ended before the first judgement.
    pub sample_min: u32,
    /// The share of failures that is still good.
    pub failures_good: Share,
    /// The share of failures that is bad.
    pub failures_bad: Share,
    /// How often, at most, a good release is stopped.
    pub false_stop: Share,
    /// How often, at most, a bad release passes.
    pub missed_stop: Share,
    /// Shares of single causes that are still good.
    pub budgets: Vec<BudgetBody>,
    /// The largest share of devices that took the offer and fell silent.
    pub silent_max: Share,
    /// How long the stage must have looked good.
    pub soak: Span,
    /// Whether only authenticated evidence counts.
    pub attested_only: bool,
    /// What becomes of a group with too few devices for these error rates.
    pub small_group: SmallGroupBody,
}

/// What becomes of a group with too few devices for its gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmallGroupBody {
    /// Once all of them have ended, their share of failures decides.
    #[default]
    ByShare,
    /// A person must accept what was seen.
    ByPerson,
}

impl Default for GateBody {
    fn default() -> Self {
        Self {
            sample_min: 20,
            failures_good: Share(10_000),
            failures_bad: Share(200_000),
            false_stop: Share(50_000),
            missed_stop: Share(50_000),
            budgets: Vec::new(),
            silent_max: Share(50_000),
            soak: Span(Millis(0)),
            attested_only: false,
            small_group: SmallGroupBody::ByShare,
        }
    }
}

/// How much of one kind of failure is still good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetBody {
    /// Which kind.
    pub cause: CauseBody,
    /// The share that is still good.
    pub good: Share,
}

/// The kinds of failure that gates tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseBody {
    /// The bytes did not arrive.
    Download,
    /// They were not what they should be.
    Verification,
    /// They could not be put in place.
    Install,
    /// The new files did not prove themselves.
    Boot,
}

/// When a campaign may offer. Default: at once, without an end, all day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleBody {
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// No offers from here on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
    /// The zone of windows and blackout dates; empty for each device's own.
    pub zone: String,
    /// When in the day.
    pub windows: Vec<WindowBody>,
    /// Days without offers.
    pub blackouts: Vec<BlackoutBody>,
}

/// A part of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowBody {
    /// Its beginning.
    pub from: DayTime,
    /// Its end; before the beginning for one that runs over midnight.
    pub until: DayTime,
}

/// Days, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlackoutBody {
    /// The first.
    pub first: String,
    /// The last.
    pub last: String,
}

/// A time of day: `HH:MM`, up to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayTime(pub u16);

impl fmt::Display for DayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl FromStr for DayTime {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let two = |text: &str| -> Option<u16> {
            let is_two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_two { text.parse().ok() } else { None }
        };
        let minutes = text.split_once(':').and_then(|(hours, minutes)| Some((two(hours)?, two(minutes)?)));
        match minutes {
            Some((hours, minutes)) if minutes < 60 && hours * 60 + minutes <= 1440 => {
                Ok(Self(hours * 60 + minutes))
            }
            _ => Err(UnitError::new("a time of day from 00:00 to 24:00")),
        }
    }
}
as_text! {
    DayTime: "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", "A time of day from 00:00 to 24:00.";
}

/// How much at once; 0 means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsBody {
    /// Devices that get an offer in a minute.
    pub devices_per_minute: u32,
    /// Devices that are downloading at once.
    pub downloads_max: u32,
    /// Bytes of files in a second.
    pub bytes_per_second: u64,
    /// Devices that are downloading at once in one place (tag `site=`).
    pub downloads_per_site_max: u32,
}

impl From<LimitsBody> for Limits {
    fn from(body: LimitsBody) -> Self {
        Self {
            devices_per_minute: body.devices_per_minute,
            downloads_max: body.downloads_max,
            bytes_per_second: body.bytes_per_second,
            downloads_per_site_max: body.downloads_per_site_max,
        }
    }
}

impl From<Limits> for LimitsBody {
    fn from(limits: Limits) -> Self {
        Self {
            devices_per_minute: limits.devices_per_minute,
            downloads_max: limits.downloads_max,
            bytes_per_second: limits.bytes_per_second,
            downloads_per_site_max: limits.downloads_per_site_max,
        }
    }
}

/// How long one device may take, and how often it may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttemptsBody {
    /// From the offer to the first request.
    pub begin_within: Span,
    /// From there to the last byte.
    pub download_within: Span,
    /// From there to the installation.
    pub install_within: Span,
    /// From there to the confirmation.
    pub confirm_within: Span,
    /// How often a device may try again.
    pub retries_max: u8,
    /// How long it waits before the first time; twice as long each time more.
    pub retry_after: Span,
    /// How long it waits at most.
    pub retry_after_max: Span,
}

impl Default for AttemptsBody {
    fn default() -> Self {
        let hours = |hours: u64| Span(Millis(hours * 3_600_000));
        Self {
            begin_within: hours(24),
            download_within: hours(72),
            install_within: hours(24),
            confirm_within: hours(24),
            retries_max: 3,
            retry_after: hours(1),
            retry_after_max: hours(24),
        }
    }
}

/// What a failed gate leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OnFailureBody {
    /// Nothing more is offered until a person decides.
    Pause,
    /// The campaign ends, and running attempts are taken back.
    Stop,
    /// It ends, and devices go back.
    Revert {
        /// The former release.
        to: String,
    },
}

/// Which devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetBody {
    /// All devices of the product.
    Everyone,
    /// The devices that were registered before the one with this ordinal.
    OrdinalBelow(u64),
    /// Whichever devices fulfil this expression when they check in.
    Filter(String),
    /// The devices that fulfil this expression when the campaign is prepared.
    Snapshot(String),
    /// These devices.
    Devices(Vec<String>),
}

impl TargetBody {
    /// The target as the rules know it.
    ///
    /// # Errors
    /// [`FieldError`] for an id that is not one.
    pub fn target(&self, name: &str) -> Result<Target, FieldError> {
        Ok(match self {
            Self::Everyone => Target::Everyone,
            Self::OrdinalBelow(ordinal) => Target::OrdinalBelow { ordinal: *ordinal },
            Self::Filter(text) => Target::Filter { expression: text.as_str().into() },
            Self::Snapshot(text) => {
                Target::Snapshot { expression: text.as_str().into(), bitmap: None, count: 0 }
            }
            Self::Devices(ids) => {
                let ids = ids.iter().map(|id| field(name, DeviceIdBuf::new(id.as_str())));
                let mut ids = ids.collect::<Result<Vec<_>, _>>()?;
                // The order in which people list devices means nothing.
                ids.sort_unstable();
                Target::Devices { ids }
            }
        })
    }
}

impl From<&Target> for TargetBody {
    fn from(target: &Target) -> Self {
        match target {
            Target::Everyone => Self::Everyone,
            Target::OrdinalBelow { ordinal } => Self::OrdinalBelow(*ordinal),
            Target::Filter { expression } => Self::Filter(expression.to_string()),
            Target::Snapshot { expression, .. } => Self::Snapshot(expression.to_string()),
            Target::Devices { ids } => Self::Devices(ids.iter().map(|id| id.as_str().to_owned()).collect()),
        }
    }
}

impl PlanBody {
    /// The plan as the rules know it.
    ///
    /// # Errors
    /// [`FieldError`] names the field.
    pub fn plan(&self) -> Result<Plan, FieldError> {
        let trial = match &self.trial {
            Some(trial) => Some(Trial {
                who: trial.who.target("plan.trial.who")?,
                gate: trial.gate.gate(),
                promotion: match trial.promotion {
                    PromotionBody::ByPerson => Promotion::ByPerson,
                    PromotionBody::ByGate => Promotion::ByGate,
                },
            }),
            None => None,
        };
        let on_failure = match &self.on_failure {
            OnFailureBody::Pause => OnFailure::Pause,
            OnFailureBody::Stop => OnFailure::Stop,
            OnFailureBody::Revert { to } => {
                let to = ReleaseId::from_hex(to).ok_or("expected the id of a release");
                OnFailure::Revert { to: field("plan.on_failure.revert.to", to)? }
            }
        };
        Ok(Plan {
            trial,
            stages: self.stages.iter().map(StageBody::stage).collect(),
            schedule: self.schedule.schedule()?,
            limits: self.limits.into(),
            attempts: AttemptRules {
                begin_within: self.attempts.begin_within.0,
                download_within: self.attempts.download_within.0,
                install_within: self.attempts.install_within.0,
                confirm_within: self.attempts.confirm_within.0,
                retries_max: self.attempts.retries_max,
                retry_after: self.attempts.retry_after.0,
                retry_after_max: self.attempts.retry_after_max.0,
            },
            approvals: self.approvals,
            on_failure,
            priority: self.priority,
        })
    }
}

impl StageBody {
    fn stage(&self) -> Stage {
        let pace = match self.pace {
            PaceBody::AtOnce => Pace::AtOnce,
            PaceBody::Linear { over } => Pace::Linear { over: over.0 },
            PaceBody::Exponential { base_per_minute, factor_percent, every_confirmed } => {
                Pace::Exponential { base_per_minute, factor_percent, every_confirmed }
            }
        };
        Stage { until_ppm: self.until.0, pace, gate: self.gate.gate() }
    }
}

impl GateBody {
    fn gate(&self) -> Gate {
        let budget = |budget: &BudgetBody| Budget {
            cause: match budget.cause {
                CauseBody::Download => Cause::Download,
                CauseBody::Verification => Cause::Verification,
                CauseBody::Install => Cause::Install,
                CauseBody::Boot => Cause::Boot,
            },
            good_ppm: budget.good.0,
        };
        Gate {
            sample_min: self.sample_min,
            failures_good_ppm: self.failures_good.0,
            failures_bad_ppm: self.failures_bad.0,
            false_stop_ppm: self.false_stop.0,
            missed_stop_ppm: self.missed_stop.0,
            budgets: self.budgets.iter().map(budget).collect(),
            silent_max_ppm: self.silent_max.0,
            soak: self.soak.0,
            attested_only: self.attested_only,
            small_group: match self.small_group {
                SmallGroupBody::ByShare => Some(SmallGroup::ByShare),
                SmallGroupBody::ByPerson => None,
            },
        }
    }
}

impl ScheduleBody {
    fn schedule(&self) -> Result<Schedule, FieldError> {
        let date = |text: &str| -> Result<Date, FieldError> {
            let date: civil::Date = field("plan.schedule.blackouts", text.parse())?;
            Ok(Date { year: date.year(), month: date.month(), day: date.day() })
        };
        let range =
            |range: &BlackoutBody| Ok(DateRange { first: date(&range.first)?, last: date(&range.last)? });
        let window =
            |window: &WindowBody| DailyWindow { from_minute: window.from.0, until_minute: window.until.0 };
        Ok(Schedule {
            start: self.start.map_or(Timestamp(0), |time| time.0),
            end: self.end.map(|time| time.0),
            zone: self.zone.as_str().into(),
            windows: self.windows.iter().map(window).collect(),
            blackouts: self.blackouts.iter().map(range).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Plan> for PlanBody {
    fn from(plan: &Plan) -> Self {
        let trial = plan.trial.as_ref().map(|trial| TrialBody {
            who: (&trial.who).into(),
            gate: (&trial.gate).into(),
            promotion: match trial.promotion {
                Promotion::ByPerson => PromotionBody::ByPerson,
                Promotion::ByGate => PromotionBody::ByGate,
            },
        });
        let attempts = plan.attempts;
        Self {
            trial,
            stages: plan.stages.iter().map(StageBody::from).collect(),
            schedule: (&plan.schedule).into(),
            limits: plan.limits.into(),
            attempts: AttemptsBody {
                begin_within: Span(attempts.begin_within),
                download_within: Span(attempts.download_within),
                install_within: Span(attempts.install_within),
                confirm_within: Span(attempts.confirm_within),
                retries_max: attempts.retries_max,
                retry_after: Span(attempts.retry_after),
                retry_after_max: Span(attempts.retry_after_max),
            },
            approvals: plan.approvals,
            on_failure: match plan.on_failure {
                OnFailure::Pause => OnFailureBody::Pause,
                OnFailure::Stop => OnFailureBody::Stop,
                OnFailure::Revert { to } => OnFailureBody::Revert { to: to.to_string() },
            },
            priority: plan.priority,
        }
    }
}

impl From<&Stage> for StageBody {
    fn from(stage: &Stage) -> Self {
        let pace = match stage.pace {
            Pace::AtOnce => PaceBody::AtOnce,
            Pace::Linear { over } => PaceBody::Linear { over: Span(over) },
            Pace::Exponential { base_per_minute, factor_percent, every_confirmed } => {
                PaceBody::Exponential { base_per_minute, factor_percent, every_confirmed }
            }
        };
        Self { until: Share(stage.until_ppm), pace, gate: (&stage.gate).into() }
    }
}

impl From<&Gate> for GateBody {
    fn from(gate: &Gate) -> Self {
        let budget = |budget: &Budget| BudgetBody {
            cause: match budget.cause {
                Cause::Download => CauseBody::Download,
                Cause::Verification => CauseBody::Verification,
                Cause::Install => CauseBody::Install,
                Cause::Boot => CauseBody::Boot,
            },
            good: Share(budget.good_ppm),
        };
        Self {
            sample_min: gate.sample_min,
            failures_good: Share(gate.failures_good_ppm),
            failures_bad: Share(gate.failures_bad_ppm),
            false_stop: Share(gate.false_stop_ppm),
            missed_stop: Share(gate.missed_stop_ppm),
            budgets: gate.budgets.iter().map(budget).collect(),
            silent_max: Share(gate.silent_max_ppm),
            soak: Span(gate.soak),
            attested_only: gate.attested_only,
            small_group: match gate.small_group {
                Some(SmallGroup::ByShare) => SmallGroupBody::ByShare,
                None => SmallGroupBody::ByPerson,
            },
        }
    }
}

impl From<&Schedule> for ScheduleBody {
    fn from(schedule: &Schedule) -> Self {
        let date = |date: Date| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
        let window = |window: &DailyWindow| WindowBody {
            from: DayTime(window.from_minute),
            until: DayTime(window.until_minute),
        };
        let range = |range: &DateRange| BlackoutBody { first: date(range.first), last: date(range.last) };
        Self {
            start: (schedule.start.0 != 0).then_some(Time(schedule.start)),
            end: schedule.end.map(Time),
            zone: schedule.zone.to_string(),
            windows: schedule.windows.iter().map(window).collect(),
            blackouts: schedule.blackouts.iter().map(range).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_goes_there_and_back_unchanged() {
        let plan = PlanBody {
            trial: Some(TrialBody {
                who: TargetBody::Devices(vec!["a".into(), "b".into()]),
                gate: GateBody {
                    budgets: vec![BudgetBody { cause: CauseBody::Boot, good: Share(1) }],
                    ..GateBody::default()
                },
                promotion: PromotionBody::ByGate,
            }),
            stages: vec![
                StageBody {
                    until: Share(105_000),
                    pace: PaceBody::Linear { over: Span(Millis(90_000)) },
                    ..StageBody::default()
                },
                StageBody {
                    pace: PaceBody::Exponential {
                        base_per_minute: 2,
                        factor_percent: 150,
                        every_confirmed: 10,
                    },
                    ..StageBody::default()
                },
            ],
            schedule: ScheduleBody {
                start: Some(Time(Timestamp(5))),
                end: Some(Time(Timestamp(6))),
                zone: "Europe/Berlin".into(),
                windows: vec![WindowBody { from: DayTime(1320), until: DayTime(240) }],
                blackouts: vec![BlackoutBody { first: "2031-12-24".into(), last: "2031-12-26".into() }],
            },
            on_failure: OnFailureBody::Revert { to: "ab".repeat(32) },
            ..PlanBody::default()
        };
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<PlanBody>(&text).unwrap(), plan);
        assert_eq!(PlanBody::from(&plan.plan().unwrap()), plan);
    }

    #[test]
    fn a_trial_may_leave_it_to_others_who_is_in_it() {
        let plan: PlanBody = serde_json::from_str(r#"{"trial":{"promotion":"by_gate"}}"#).unwrap();
        assert_eq!(plan.trial.unwrap().who, TargetBody::Devices(Vec::new()));
    }

    #[test]
    fn a_misspelt_limit_is_an_error() {
        let error = serde_json::from_str::<PlanBody>(r#"{"limits":{"device_per_minute":5}}"#).unwrap_err();
        assert!(error.to_string().contains("device_per_minute"), "{error}");
    }

    #[test]
    fn a_time_of_day_ends_at_midnight() {
        assert_eq!("24:00".parse(), Ok(DayTime(1440)));
        for bad in ["24:01", "7:00", "07:60", "0700", "", "ab:cd"] {
            assert!(bad.parse::<DayTime>().is_err(), "{bad:?}");
        }
    }
}
