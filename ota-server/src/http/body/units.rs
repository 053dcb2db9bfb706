//! Times, spans and shares as texts that people write and programs read back exactly.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use ota_core::time::{Millis, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment in RFC 3339, with milliseconds, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

/// A span: a number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Millis);

/// A share in percent with at most four decimals, which is parts per million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

/// A text is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct UnitError(&'static str);

impl UnitError {
    pub(super) const fn new(expected: &'static str) -> Self {
        Self(expected)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0.0).ok();
        match millis.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok()) {
            Some(moment) => write!(f, "{moment:.3}"),
            // Later than the calendar goes: people mean "never" by it.
            None => write!(f, "{:.3}", jiff::Timestamp::MAX),
        }
    }
}

impl FromStr for Time {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = UnitError("a time in RFC 3339 from 1970 on, such as 2031-05-01T12:00:00Z");
        let moment: jiff::Timestamp = text.parse().map_err(|_| wrong)?;
        u64::try_from(moment.as_millisecond()).map(|millis| Self(Timestamp(millis))).map_err(|_| wrong)
    }
}

/// Units of a span and their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.0;
        let is_whole = |(_, length): &&(&str, u64)| millis >= *length && millis.is_multiple_of(*length);
        match UNITS.iter().find(is_whole) {
            Some((unit, length)) => write!(f, "{}{unit}", millis / length),
            None => f.write_str("0s"),
        }
    }
}

impl FromStr for Span {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = UnitError("a span such as 250ms, 90s, 15m, 12h or 7d");
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(wrong)?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().map_err(|_| wrong)?;
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(wrong)?;
        number.checked_mul(*length).map(|millis| Self(Millis(millis))).ok_or(wrong)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

impl FromStr for Share {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = UnitError("a share from 0% to 100% with at most four decimals, such as 12.5%");
        let number = text.strip_suffix('%').ok_or(wrong)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || whole.len() > 3 || decimals.len() > 4 {
            return Err(wrong);
        }
        let whole: u32 = whole.parse().map_err(|_| wrong)?;
        let rest: u32 = format!("{decimals:0<4}").parse().map_err(|_| wrong)?;
        let ppm = whole * 10_000 + rest;
        if ppm > 1_000_000 { Err(wrong) } else { Ok(Self(ppm)) }
    }
}

/// Serialised as the text that `Display` writes and `FromStr` reads; its schema is a pattern for such texts.
macro_rules! as_text {
    ($($name:ident: $pattern:literal, $about:literal;)+) => {$(
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $about })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(|error| D::Error::custom(format_args!("{error}, found {text:?}")))
            }
        }
    )+};
}
pub(super) use as_text;
as_text! {
    Time: r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
        "A moment in RFC 3339, such as 2031-05-01T12:00:00Z.";
    Span: "^[0-9]{1,12}(ms|s|m|h|d)$", "A span, such as 250ms, 90s, 15m, 12h or 7d.";
    Share: r"^[0-9]{1,3}(\.[0-9]{1,4})?%$", "A share from 0% to 100% with at most four decimals, such as 12.5%.";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0..253_370_764_800_000_u64, ppm in 0..=1_000_000_u32) {
            prop_assert_eq!(Span(Millis(millis)).to_string().parse(), Ok(Span(Millis(millis))));
            prop_assert_eq!(Time(Timestamp(millis)).to_string().parse(), Ok(Time(Timestamp(millis))));
            prop_assert_eq!(Share(ppm).to_string().parse(), Ok(Share(ppm)));
        }
    }

    #[test]
    fn people_read_short_forms() {
        assert_eq!(Span(Millis(5_400_000)).to_string(), "90m");
        assert_eq!(Span(Millis(0)).to_string(), "0s");
        assert_eq!(Share(125_000).to_string(), "12.5%");
        assert_eq!(Time(Timestamp(1000)).to_string(), "1970-01-01T00:00:01.000Z");
    }

    #[test]
    fn what_is_not_quite_right_is_refused() {
        for bad in ["", "5", "5 m", "-5m", "5w", "1.5h", "99999999999999999999s", "18446744073709551615d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
        for bad in ["", "5", "%", "100.0001%", "101%", "1.00001%", "+1%", "1.%", ".5%"] {
            assert!(bad.parse::<Share>().is_err(), "{bad:?}");
        }
        for bad in ["", "yesterday", "1969-12-31T23:59:59Z", "2031-02-30T00:00:00Z"] {
            assert!(bad.parse::<Time>().is_err(), "{bad:?}");
        }
    }
}
