//! When a campaign may offer: its start and end, windows of the day, days without offers.
//!
//! Windows are times on a wall clock in some place, so summer time is the library's business (jiff, with the IANA
//! database compiled in): a window that a clock change skips does not happen that day.

use jiff::Timestamp as Moment;
use jiff::civil;
use jiff::tz::TimeZone;
use ota_core::fleet::records::{DailyWindow, DateRange, Device, Schedule};
use ota_core::time::Timestamp;

/// How far ahead an opening is looked for, in days.
const LOOK_AHEAD_DAYS: i64 = 400;

/// Whether offers may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// They may.
    Open,
    /// Not before this time.
    From(Timestamp),
    /// No more, or not within the next year.
    Never,
}

/// Why a schedule is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The zone is none of the IANA database.
    #[error(
        "there is no time zone {0:?}; use an IANA name such as Europe/Berlin, or none for each device's own"
    )]
    Zone(Box<str>),
    /// The end lies in the past or before the start.
    #[error("the schedule ends before it begins, or in the past; give a later end")]
    End,
    /// The start lies in the past.
    #[error("the schedule's start lies in the past; leave it away to begin at once")]
    Start,
    /// A window is empty or outside the day.
    #[error("a daily window is empty or outside the day; use minutes from 0 to 1440")]
    Window,
    /// A date does not exist, or the range ends before it begins.
    #[error("a blackout date does not exist, or its range ends before it begins")]
    Date,
}

/// Checks a schedule when it is made.
///
/// # Errors
/// [`ScheduleError`] says what to correct.
pub fn check(schedule: &Schedule, now: Timestamp) -> Result<(), ScheduleError> {
    if !schedule.zone.is_empty() && TimeZone::get(&schedule.zone).is_err() {
        return Err(ScheduleError::Zone(schedule.zone.clone()));
    }
    if schedule.start.0 != 0 && schedule.start < now {
        return Err(ScheduleError::Start);
    }
    if schedule.end.is_some_and(|end| end <= now || end <= schedule.start) {
        return Err(ScheduleError::End);
    }
    let is_window = |window: &DailyWindow| {
        window.from_minute < 1440 && window.until_minute <= 1440 && window.from_minute != window.until_minute
    };
    if !schedule.windows.iter().all(is_window) {
        return Err(ScheduleError::Window);
    }
    let is_range = |range: &DateRange| match (civil_date(range.first), civil_date(range.last)) {
        (Some(first), Some(last)) => first <= last,
        _ => false,
    };
    if schedule.blackouts.iter().all(is_range) { Ok(()) } else { Err(ScheduleError::Date) }
}

/// The zone that a schedule is read in for a device: the schedule's own, the device's tag `zone=`, or UTC.
fn zone(schedule: &Schedule, device: &Device) -> TimeZone {
    let name = if schedule.zone.is_empty() {
        super::device::tag_value(device, "zone")
    } else {
        Some(&*schedule.zone)
    };
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}

/// Whether a device may be made an offer now.
#[must_use]
pub fn opening(schedule: &Schedule, device: &Device, now: Timestamp) -> Opening {
    if schedule.end.is_some_and(|end| end <= now) {
        return Opening::Never;
    }
    if now < schedule.start {
        return Opening::From(schedule.start);
    }
    if schedule.windows.is_empty() && schedule.blackouts.is_empty() {
        return Opening::Open;
    }
    let zone = zone(schedule, device);
    let Some(local) = moment(now).map(|moment| moment.to_zoned(zone.clone())) else { return Opening::Never };
    let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
    let is_window =
        schedule.windows.is_empty() || schedule.windows.iter().any(|window| holds(window, minute));
    if is_window && !is_blacked_out(schedule, local.date()) {
        return Opening::Open;
    }
    match next_opening(schedule, &zone, local.date(), now) {
        Some(at) if schedule.end.is_none_or(|end| at < end) => Opening::From(at),
        _ => Opening::Never,
    }
}

const fn holds(window: &DailyWindow, minute: u16) -> bool {
    if window.from_minute < window.until_minute {
        window.from_minute <= minute && minute < window.until_minute
    } else {
        window.from_minute <= minute || minute < window.until_minute
    }
}

fn is_blacked_out(schedule: &Schedule, date: civil::Date) -> bool {
    schedule.blackouts.iter().any(|range| match (civil_date(range.first), civil_date(range.last)) {
        (Some(first), Some(last)) => first <= date && date <= last,
        _ => false,
    })
}

/// The first time after now at which some window begins on a day without blackout, midnight included: a window that
/// runs over midnight goes on there after a blackout.
fn next_opening(
    schedule: &Schedule,
    zone: &TimeZone,
    today: civil::Date,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut date = today;
    for _ in 0..LOOK_AHEAD_DAYS {
        if !is_blacked_out(schedule, date) {
            let midnight = (schedule.windows.is_empty()
                || schedule.windows.iter().any(|window| holds(window, 0)))
            .then_some(0);
            let minutes = schedule.windows.iter().map(|window| window.from_minute).chain(midnight);
            let times = minutes.filter_map(|minute| at_minute(date, minute, zone)).filter(|at| *at > now);
            if let Some(first) = times.min() {
                return Some(first);
            }
        }
        date = date.tomorrow().ok()?;
    }
    None
}

/// A minute of a day in a zone; `None` where a clock change skips it.
fn at_minute(date: civil::Date, minute: u16, zone: &TimeZone) -> Option<Timestamp> {
    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
    let wanted = date.at(hour, minute, 0, 0);
    let zoned = zone.to_zoned(wanted).ok()?;
    // A skipped time is moved to after the gap; what began inside the gap begins at its end.
    u64::try_from(zoned.timestamp().as_millisecond()).ok().map(Timestamp)
}

/// A time as people read it: RFC 3339, to the second, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told(pub Timestamp);

impl core::fmt::Display for Told {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match moment(self.0) {
            Some(moment) => write!(f, "{moment:.0}"),
            // Later than the calendar goes.
            None => f.write_str("the end of time"),
        }
    }
}

fn moment(at: Timestamp) -> Option<Moment> {
    Moment::from_millisecond(i64::try_from(at.0).ok()?).ok()
}

fn civil_date(date: ota_core::fleet::records::Date) -> Option<civil::Date> {
    civil::Date::new(date.year, date.month, date.day).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::device::tests::device;
    use ota_core::fleet::records::Date;

    fn at(text: &str) -> Timestamp {
        let moment: Moment = text.parse().unwrap();
        Timestamp(u64::try_from(moment.as_millisecond()).unwrap())
    }

    fn nightly(zone: &str) -> Schedule {
        Schedule {
            zone: zone.into(),
            windows: vec![DailyWindow { from_minute: 22 * 60, until_minute: 4 * 60 }],
            ..Schedule::default()
        }
    }

    #[test]
    fn a_window_runs_over_midnight() {
        let schedule = nightly("UTC");
        for open in
            ["2026-03-01T22:00:00Z", "2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z", "2026-03-02T03:59:59Z"]
        {
            assert_eq!(opening(&schedule, &device(&[]), at(open)), Opening::Open, "{open}");
        }
        let noon = opening(&schedule, &device(&[]), at("2026-03-01T12:00:00Z"));
        assert_eq!(noon, Opening::From(at("2026-03-01T22:00:00Z")));
    }

    #[test]
    fn a_window_is_read_in_the_devices_own_zone() {
        let schedule = nightly("");
        let noon = at("2026-07-01T12:00:00Z");
        assert_eq!(opening(&schedule, &device(&["zone=Pacific/Auckland"]), noon), Opening::Open);
        let berlin = opening(&schedule, &device(&["zone=Europe/Berlin"]), noon);
        assert_eq!(berlin, Opening::From(at("2026-07-01T20:00:00Z")));
    }

    #[test]
    fn clock_changes_move_windows_with_the_wall_clock() {
        // Berlin: 2026-03-29 02:00 becomes 03:00, 2026-10-25 03:00 becomes 02:00.
        let window = |from, until| Schedule {
            zone: "Europe/Berlin".into(),
            windows: vec![DailyWindow { from_minute: from, until_minute: until }],
            ..Schedule::default()
        };
        let morning = window(8 * 60, 9 * 60);
        let before = opening(&morning, &device(&[]), at("2026-03-28T12:00:00Z"));
        assert_eq!(before, Opening::From(at("2026-03-29T06:00:00Z")));
        // 02:30 to 02:45 happens twice in October and not at all in March.
        let skipped = window(150, 165);
        assert_eq!(opening(&skipped, &device(&[]), at("2026-10-25T00:35:00Z")), Opening::Open);
        assert_eq!(opening(&skipped, &device(&[]), at("2026-10-25T01:35:00Z")), Opening::Open);
        for minute in 0..60 {
            let now = at("2026-03-29T00:30:00Z").plus(ota_core::time::Millis(minute * 60_000));
            assert_ne!(opening(&skipped, &device(&[]), now), Opening::Open, "{minute}");
        }
    }

    #[test]
    fn blackout_days_have_no_offers_and_the_next_day_is_found() {
        let range = DateRange {
            first: Date { year: 2026, month: 12, day: 24 },
            last: Date { year: 2026, month: 12, day: 26 },
        };
        let schedule = Schedule { blackouts: vec![range], ..nightly("UTC") };
        let eve = opening(&schedule, &device(&[]), at("2026-12-24T23:00:00Z"));
        assert_eq!(
            eve,
            Opening::From(at("2026-12-27T00:00:00Z")),
            "the night's window goes on after midnight"
        );
    }

    #[test]
    fn an_end_ends_it_and_a_start_begins_it() {
        let schedule = Schedule {
            start: at("2026-02-01T00:00:00Z"),
            end: Some(at("2026-03-01T00:00:00Z")),
            ..Schedule::default()
        };
        assert_eq!(
            opening(&schedule, &device(&[]), at("2026-01-01T00:00:00Z")),
            Opening::From(schedule.start)
        );
        assert_eq!(opening(&schedule, &device(&[]), at("2026-02-01T00:00:00Z")), Opening::Open);
        assert_eq!(opening(&schedule, &device(&[]), at("2026-03-01T00:00:00Z")), Opening::Never);
    }

    #[test]
    fn a_wrong_schedule_says_what_to_correct() {
        let now = at("2026-02-01T00:00:00Z");
        let past = Schedule { start: at("2026-01-01T00:00:00Z"), ..Schedule::default() };
        assert_eq!(check(&past, now), Err(ScheduleError::Start));
        let ended = Schedule { end: Some(now), ..Schedule::default() };
        assert_eq!(check(&ended, now), Err(ScheduleError::End));
        assert_eq!(
            check(&nightly("Europe/Atlantis"), now),
            Err(ScheduleError::Zone("Europe/Atlantis".into()))
        );
        let empty = vec![DailyWindow { from_minute: 60, until_minute: 60 }];
        assert_eq!(
            check(&Schedule { windows: empty, ..Schedule::default() }, now),
            Err(ScheduleError::Window)
        );
        let never = Date { year: 2026, month: 2, day: 30 };
        let blackouts = vec![DateRange { first: never, last: never }];
        assert_eq!(check(&Schedule { blackouts, ..Schedule::default() }, now), Err(ScheduleError::Date));
        assert_eq!(check(&nightly("Europe/Berlin"), now), Ok(()));
    }
}
