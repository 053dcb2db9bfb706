//! How a campaign proceeds. Shares are in parts per million, spans in milliseconds.

use alloc::boxed::Box;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use super::Target;
use crate::number::ReleaseId;
use crate::time::{Millis, Timestamp};

/// How a campaign proceeds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Plan {
    /// Who gets it first.
    #[n(0)]
    pub trial: Option<Trial>,
    /// The parts of the fleet, one behind the other.
    #[n(1)]
    pub stages: Vec<Stage>,
    /// When.
    #[n(2)]
    pub schedule: Schedule,
    /// How much at once.
    #[n(3)]
    pub limits: Limits,
    /// How long one device may take and how often it may try.
    #[n(4)]
    pub attempts: AttemptRules,
    /// How many people must approve, not counting the author.
    #[n(5)]
    pub approvals: u8,
    /// What a failed gate leads to.
    #[n(6)]
    pub on_failure: OnFailure,
    /// Higher goes first.
    #[n(7)]
    pub priority: u8,
}

/// The trial group and its gate.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Trial {
    /// Who is in it.
    #[n(0)]
    pub who: Target,
    /// What must be seen before the fleet gets it.
    #[n(1)]
    pub gate: Gate,
    /// Whether a person must say so as well.
    #[n(2)]
    pub promotion: Promotion,
}

/// Who promotes a release from its trial to the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Promotion {
    /// A person, once the gate has passed.
    #[n(0)]
    ByPerson,
    /// The gate alone.
    #[n(1)]
    ByGate,
}

/// A part of the fleet with a gate behind it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Stage {
    /// How much of the fleet has had its turn at its end, earlier stages included, in parts per million.
    #[n(0)]
    pub until_ppm: u32,
    /// How fast turns come within it.
    #[n(1)]
    pub pace: Pace,
    /// What must be seen before the next one begins, and what ends it early.
    #[n(2)]
    pub gate: Gate,
}

/// How fast turns come within a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Pace {
    /// All at once.
    #[n(0)]
    AtOnce,
    /// Evenly over a span of time.
    #[n(1)]
    Linear {
        /// The span.
        #[n(0)]
        over: Millis,
    },
    /// From a base rate on, growing by a factor each time that enough devices more have confirmed.
    #[n(2)]
    Exponential {
        /// Devices per minute at the beginning.
        #[n(0)]
        base_per_minute: u32,
        /// What the rate is multiplied by, in percent (200 doubles it).
        #[n(1)]
        factor_percent: u32,
        /// How many confirmed devices each step takes.
        #[n(2)]
        every_confirmed: u32,
    },
}

/// What a stage must show. A gate counts evidence, never claims of being on the way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Gate {
    /// How many devices must have ended, well or badly, before the first judgement.
    #[n(0)]
    pub sample_min: u32,
    /// The share of failures that is still good: at or below it, a false stop is as rare as `false_stop_ppm` says.
    #[n(1)]
    pub failures_good_ppm: u32,
    /// The share of failures that is bad: at or above it, passing is as rare as `missed_stop_ppm` says.
    #[n(2)]
    pub failures_bad_ppm: u32,
    /// How often, at most, a good release is stopped.
    #[n(3)]
    pub false_stop_ppm: u32,
    /// How often, at most, a bad release passes.
    #[n(4)]
    pub missed_stop_ppm: u32,
    /// Shares of single causes that are still good.
    #[n(5)]
    pub budgets: Vec<Budget>,
    /// The largest share of devices that took the offer and then fell silent.
    #[n(6)]
    pub silent_max_ppm: u32,
    /// How long the stage must have looked good before the next begins.
    #[n(7)]
    pub soak: Millis,
    /// Whether only evidence that the device's own key authenticated counts as success.
    #[n(8)]
    pub attested_only: bool,
    /// What becomes of a group that has too few devices for a judgement with these error rates.
    #[n(9)]
    pub small_group: Option<SmallGroup>,
}

/// What becomes of a group that has too few devices for its gate. Without a choice a person must amend the campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum SmallGroup {
    /// Once every device of the group has ended, its share of failures is compared with the share that is good. That
    /// says what became of the group, and promises nothing about the rest of the fleet.
    #[n(0)]
    ByShare,
}

/// How much of one kind of failure is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Budget {
    /// Which kind.
    #[n(0)]
    pub cause: Cause,
    /// The share that is still good, in parts per million.
    #[n(1)]
    pub good_ppm: u32,
}

/// The kinds of failure that gates tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Cause {
    /// The bytes did not arrive.
    #[n(0)]
    Download,
    /// The bytes or their signatures were not what they should be.
    #[n(1)]
    Verification,
    /// The device could not put them in place, or did not want to.
    #[n(2)]
    Install,
    /// The new files did not prove themselves after the boot.
    #[n(3)]
    Boot,
}

/// When a campaign may offer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Schedule {
    /// Not before; 0 for at once.
    #[n(0)]
    pub start: Timestamp,
    /// No offers from here on, if there is an end.
    #[n(1)]
    pub end: Option<Timestamp>,
    /// The zone of windows and blackout dates as an IANA name; empty for each device's own.
    #[n(2)]
    pub zone: Box<str>,
    /// When in the day; empty for the whole day.
    #[n(3)]
    pub windows: Vec<DailyWindow>,
    /// Days without offers.
    #[n(4)]
    pub blackouts: Vec<DateRange>,
}

/// A part of the day; one that ends before it begins runs over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DailyWindow {
    /// The first minute of the day, 0 to 1439.
    #[n(0)]
    pub from_minute: u16,
    /// The first minute that is no longer in it, 0 to 1440.
    #[n(1)]
    pub until_minute: u16,
}

/// Days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DateRange {
    /// The first.
    #[n(0)]
    pub first: Date,
    /// The last.
    #[n(1)]
    pub last: Date,
}

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Date {
    /// The year.
    #[n(0)]
    pub year: i16,
    /// The month, 1 to 12.
    #[n(1)]
    pub month: i8,
    /// The day, 1 to 31.
    #[n(2)]
    pub day: i8,
}

/// How much at once; 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Limits {
    /// Devices that get an offer in a minute.
    #[n(0)]
    pub devices_per_minute: u32,
    /// Devices that are downloading at once.
    #[n(1)]
    pub downloads_max: u32,
    /// Bytes of files in a second.
    #[n(2)]
    pub bytes_per_second: u64,
    /// Devices that are downloading at once in one place (tag `site=`).
    #[n(3)]
    pub downloads_per_site_max: u32,
}

/// How long one device may take, and how often it may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AttemptRules {
    /// From the offer to the first request for a block.
    #[n(0)]
    pub begin_within: Millis,
    /// From the first request to the last byte.
    #[n(1)]
    pub download_within: Millis,
    /// From there to the installation.
    #[n(2)]
    pub install_within: Millis,
    /// From the installation to the confirmation.
    #[n(3)]
    pub confirm_within: Millis,
    /// How often a device may try again.
    #[n(4)]
    pub retries_max: u8,
    /// How long it waits before the first time; twice as long each time more.
    #[n(5)]
    pub retry_after: Millis,
    /// How long it waits at most.
    #[n(6)]
    pub retry_after_max: Millis,
}

/// What a failed gate leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum OnFailure {
    /// Nothing more is offered until a person decides.
    #[n(0)]
    Pause,
    /// The campaign ends, and running attempts are cancelled.
    #[n(1)]
    Stop,
    /// It ends, and devices go back to this release at the pace of the same plan's first stage.
    #[n(2)]
    Revert {
        /// The former release.
        #[n(0)]
        to: ReleaseId,
    },
}
