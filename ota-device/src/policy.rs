//! What the application decides: when, how fast, and who says that new files work.
//!
//! [`Policy::default`] updates a device safely without any further word from its application.

use ota_core::limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN};
use ota_core::time::{Instant, Millis};

use crate::limits::WINDOW_BLOCKS_MAX;

/// The application's wishes. They can be changed at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// When files are downloaded.
    pub download: When,
    /// When what is downloaded and verified is installed.
    pub install: When,
    /// Length of a block in bytes: 256 to 65,536, as much as the block buffer holds at most.
    pub block_bytes: u32,
    /// Most blocks in flight, 1 to 256; the engine finds out how many are good.
    pub window_max: u16,
    /// Most bytes per second that are asked for.
    pub bytes_per_second_max: Option<u32>,
    /// How long after one check-in the next one follows, unless the server asks for something else.
    pub check_in_interval: Millis,
    /// Shortest time between two check-ins that a server's hint can cause.
    pub check_in_interval_min: Millis,
    /// Longest time between two progress reports while bytes arrive.
    pub progress_interval: Millis,
    /// Who says that new files work. Where a target can cut the device off, being able to check in is demanded on
    /// top of it.
    pub confirm: Confirm,
    /// How long new files have to prove themselves after each start before the old ones come back.
    pub confirm_within: Millis,
    /// How often the device may start while new files are on trial, before it goes back for good: a power cut during
    /// a trial is not the fault of the files.
    pub trial_starts_max: u8,
}

/// When something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// At once.
    Now,
    /// While the application says that the device is idle.
    Idle,
    /// Between two minutes of the local day, the second excluded; over midnight if the second is the smaller.
    /// Never before the application has told the local time.
    Daily {
        /// First minute, 0 to 1439.
        from: u16,
        /// First minute that is too late, 0 to 1439.
        until: u16,
    },
    /// When the application says so, once per release.
    Asked,
}

/// Who says that new files work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Confirm {
    /// The device has checked in and got a verified answer since: it can be updated again, whatever else is wrong.
    CheckedIn,
    /// The application, by [`Command::SelfTestPassed`](crate::Command::SelfTestPassed).
    SelfTest,
    /// Both.
    SelfTestAndCheckedIn,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            download: When::Now,
            install: When::Now,
            block_bytes: 1024,
            window_max: 64,
            bytes_per_second_max: None,
            check_in_interval: Millis::from_seconds(24 * 3600),
            check_in_interval_min: Millis::from_seconds(60),
            progress_interval: Millis::from_seconds(30),
            confirm: Confirm::CheckedIn,
            confirm_within: Millis::from_seconds(3600),
            trial_starts_max: 4,
        }
    }
}

impl Policy {
    /// The same policy with every value inside its range.
    pub(crate) fn clamped(mut self) -> Self {
        self.block_bytes = self.block_bytes.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX);
        self.window_max = self.window_max.clamp(1, WINDOW_BLOCKS_MAX);
        self.trial_starts_max = self.trial_starts_max.max(1);
        self.bytes_per_second_max = self.bytes_per_second_max.map(|rate| rate.max(1));
        self.check_in_interval = self.check_in_interval.max(Millis(1000));
        self.check_in_interval_min = self.check_in_interval_min.max(Millis(1000));
        self.progress_interval = self.progress_interval.max(Millis(1000));
        self
    }
}

/// Minutes of a day.
pub(crate) const DAY_MINUTES: u16 = 1440;
const MINUTE_MS: u64 = 60_000;

/// What the application has said about the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moment {
    pub(crate) idle: bool,
    pub(crate) paused: bool,
    /// The minute of the day that was told, and when.
    minute: Option<(u16, Instant)>,
}

impl Moment {
    pub(crate) const fn tell_minute(&mut self, minute: u16, now: Instant) {
        self.minute = Some((minute, now));
    }

    /// Whether `when` allows it now; if it will later by itself, when.
    pub(crate) fn allows(&self, when: When, asked: Asked, now: Instant) -> Allowed {
        let yes_or_never = |yes| if yes { Allowed::Now } else { Allowed::WhenTold };
        match when {
            When::Now => Allowed::Now,
            When::Idle => yes_or_never(self.idle),
            When::Asked => yes_or_never(asked == Asked::Yes),
            When::Daily { from, until } => self.daily(from, until, now),
        }
    }

    fn daily(&self, from: u16, until: u16, now: Instant) -> Allowed {
        let Some((told, at)) = self.minute else { return Allowed::WhenTold };
        let day = u64::from(DAY_MINUTES).saturating_mul(MINUTE_MS);
        let into_day = |moment: u64| moment.checked_rem(day).unwrap_or(0);
        let millisecond =
            into_day(u64::from(told).saturating_mul(MINUTE_MS).saturating_add(into_day(now.since(at).0)));
        let from = u64::from(from).saturating_mul(MINUTE_MS);
        let until = u64::from(until).saturating_mul(MINUTE_MS);
        let inside = if from <= until {
            (from..until).contains(&millisecond)
        } else {
            !(until..from).contains(&millisecond)
        };
        if inside {
            return Allowed::Now;
        }
        let wait = into_day(from.saturating_add(day).saturating_sub(millisecond));
        Allowed::At(now.plus(Millis(wait.max(1))))
    }
}

/// Whether the application has said [`Go`](crate::Command::Go).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Asked {
    #[default]
    No,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    Now,
    /// Then it is worth asking again.
    At(Instant),
    /// The application has to say something first.
    WhenTold,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(minute: u16, hours_later: u64, from: u16, until: u16) -> Allowed {
        let mut moment = Moment::default();
        moment.tell_minute(minute, Instant(5));
        moment.allows(When::Daily { from, until }, Asked::No, Instant(5 + hours_later * HOUR))
    }

    #[test]
    fn a_daily_window_opens_and_closes_every_day() {
        assert_eq!(at(60, 0, 60, 120), Allowed::Now);
        assert_eq!(at(60, 1, 60, 120), Allowed::At(Instant(5 + HOUR + 23 * HOUR)));
        assert_eq!(at(60, 24 * 30, 60, 120), Allowed::Now);
        assert_eq!(at(0, 0, 60, 120), Allowed::At(Instant(5 + HOUR)));
    }

    #[test]
    fn a_daily_window_reaches_over_midnight() {
        assert_eq!(at(23 * 60, 0, 22 * 60, 4 * 60), Allowed::Now);
        assert_eq!(at(23 * 60, 4, 22 * 60, 4 * 60), Allowed::Now);
        assert_eq!(at(23 * 60, 5, 22 * 60, 4 * 60), Allowed::At(Instant(5 + 23 * HOUR)));
    }

    #[test]
    fn nothing_opens_before_the_local_time_is_known() {
        let moment = Moment::default();
        let when = When::Daily { from: 0, until: 1439 };
        assert_eq!(moment.allows(when, Asked::Yes, Instant(0)), Allowed::WhenTold);
    }
}
