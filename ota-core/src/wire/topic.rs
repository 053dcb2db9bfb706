//! Topics: the one place where a device's identity becomes a level of a topic, and back.
//!
//! A topic is built only from a checked [`DeviceId`] and read back byte for byte: no wildcard, separator or NUL
//! passes, nothing is normalised, and a name that merely looks alike is another device.

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use core::fmt;

use crate::limits::TOPIC_PREFIX_BYTES_MAX;
use crate::text::{DeviceId, TextError};

/// The prefix unless configured otherwise.
pub const PREFIX_DEFAULT: &str = "ota";

/// Version of the native protocol, as its topics carry it.
const VERSION_LEVEL: &str = "/1/";
/// What comes before the device in topics of the original protocol.
const SFT_PREFIX: &str = "xi/ctrl/v1/";

/// The levels before the version in native topics.
///
/// 1 to 64 bytes: one or more levels, none empty, without wildcards and control characters, not beginning with `$`,
/// which brokers keep for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicPrefix<'a>(&'a str);

impl<'a> TopicPrefix<'a> {
    /// `ota`.
    pub const DEFAULT: TopicPrefix<'static> = TopicPrefix(PREFIX_DEFAULT);

    /// Checks the prefix.
    ///
    /// # Errors
    /// [`TextError`] says which rule it breaks, and where.
    pub fn new(text: &'a str) -> Result<Self, TextError> {
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        if text.len() > TOPIC_PREFIX_BYTES_MAX {
            return Err(TextError::TooLong { found: text.len(), limit: TOPIC_PREFIX_BYTES_MAX });
        }
        if text.starts_with('$') {
            return Err(TextError::Forbidden { offset: 0 });
        }
        if let Some((offset, _)) = text.char_indices().find(|(_, c)| matches!(c, '+' | '#') || c.is_control())
        {
            return Err(TextError::Forbidden { offset });
        }
        let mut offset = 0_usize;
        for level in text.split('/') {
            if level.is_empty() {
                return Err(TextError::Component { offset });
            }
            offset = offset.saturating_add(level.len()).saturating_add(1);
        }
        Ok(Self(text))
    }

    /// The text itself.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// The owned form of [`TopicPrefix`].
#[cfg(feature = "alloc")]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicPrefixBuf(Box<str>);

#[cfg(feature = "alloc")]
impl TopicPrefixBuf {
    /// The borrowed form.
    #[must_use]
    pub fn borrow(&self) -> TopicPrefix<'_> {
        TopicPrefix(&self.0)
    }
}

#[cfg(feature = "alloc")]
impl From<TopicPrefix<'_>> for TopicPrefixBuf {
    fn from(prefix: TopicPrefix<'_>) -> Self {
        Self(prefix.0.into())
    }
}

/// Which way a topic carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the device: it publishes there, and nobody else may.
    Up,
    /// To the device: it subscribes there, and nobody else may.
    Down,
}

/// Which protocol a topic belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol<'a> {
    /// The native one: `<prefix>/1/<device>/up` and `down`.
    Native(TopicPrefix<'a>),
    /// The original one: `xi/ctrl/v1/<device>/svc` and `cln`.
    Sft,
}

impl Protocol<'_> {
    const fn last_level(self, direction: Direction) -> &'static str {
        match (self, direction) {
            (Self::Native(_), Direction::Up) => "/up",
            (Self::Native(_), Direction::Down) => "/down",
            (Self::Sft, Direction::Up) => "/svc",
            (Self::Sft, Direction::Down) => "/cln",
        }
    }

    /// What comes before the device.
    fn write_before_device(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native(prefix) => {
                f.write_str(prefix.0)?;
                f.write_str(VERSION_LEVEL)
            }
            Self::Sft => f.write_str(SFT_PREFIX),
        }
    }
}

/// The topic of one device in one direction. [`Display`](fmt::Display) writes it.
///
/// ```
/// use ota_core::text::DeviceId;
/// use ota_core::wire::topic::{Direction, Protocol, Topic, TopicPrefix};
///
/// let protocol = Protocol::Native(TopicPrefix::DEFAULT);
/// let topic = Topic { protocol, device: DeviceId::new("pump-7").unwrap(), direction: Direction::Up };
/// assert_eq!(topic.to_string(), "ota/1/pump-7/up");
/// assert_eq!(Topic::parse(protocol, "ota/1/pump-7/up"), Ok(topic));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Topic<'a> {
    /// The protocol.
    pub protocol: Protocol<'a>,
    /// Whose topic it is.
    pub device: DeviceId<'a>,
    /// Which of its two.
    pub direction: Direction,
}

/// Why a text is not a topic of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// It does not have the form of the protocol's topics.
    #[error("it is not a topic of this protocol")]
    Foreign,
    /// What stands in the place of the device is no device id.
    #[error("the device id is refused: {0}")]
    Device(#[source] TextError),
}

impl<'a> Topic<'a> {
    /// Reads a topic of this protocol, byte for byte as it would be written.
    ///
    /// # Errors
    /// [`TopicError`]; a topic of another prefix or version is foreign, whatever device it names.
    pub fn parse(protocol: Protocol<'a>, text: &'a str) -> Result<Self, TopicError> {
        let rest = match protocol {
            Protocol::Native(prefix) => {
                text.strip_prefix(prefix.0).and_then(|rest| rest.strip_prefix(VERSION_LEVEL))
            }
            Protocol::Sft => text.strip_prefix(SFT_PREFIX),
        }
        .ok_or(TopicError::Foreign)?;
        let (device, direction) = [Direction::Up, Direction::Down]
            .into_iter()
            .find_map(|direction| {
                rest.strip_suffix(protocol.last_level(direction)).map(|device| (device, direction))
            })
            .ok_or(TopicError::Foreign)?;
        let device = DeviceId::new(device).map_err(TopicError::Device)?;
        Ok(Self { protocol, device, direction })
    }

    /// Writes the topic into the front of a buffer; [`TOPIC_BYTES_MAX`](crate::limits::TOPIC_BYTES_MAX) bytes are
    /// always enough. `None` if the buffer is too small.
    #[must_use]
    pub fn write_to(self, buffer: &mut [u8]) -> Option<&str> {
        written(buffer, format_args!("{self}"))
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.protocol.write_before_device(f)?;
        f.write_str(self.device.as_str())?;
        f.write_str(self.protocol.last_level(self.direction))
    }
}

/// The filter that a server subscribes: what all devices publish. [`Display`](fmt::Display) writes it.
///
/// Brokers with shared subscriptions take it behind `$share/<group>/`, so that servers divide the devices' messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FromAllDevices<'a>(pub Protocol<'a>);

impl FromAllDevices<'_> {
    /// Writes the filter into the front of a buffer. `None` if the buffer is too small.
    #[must_use]
    pub fn write_to(self, buffer: &mut [u8]) -> Option<&str> {
        written(buffer, format_args!("{self}"))
    }
}

impl fmt::Display for FromAllDevices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_before_device(f)?;
        f.write_str("+")?;
        f.write_str(self.0.last_level(Direction::Up))
    }
}

/// The topics of any device in one direction, with a text that stands in for the device, as filters and ACL files
/// have it (`+`, `%u`). [`Display`](fmt::Display) writes it; it is no topic to publish on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnyDevice<'a> {
    /// The protocol.
    pub protocol: Protocol<'a>,
    /// Which of a device's two topics.
    pub direction: Direction,
    /// What stands in the place of the device.
    pub stand_in: &'a str,
}

impl fmt::Display for AnyDevice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.protocol.write_before_device(f)?;
        f.write_str(self.stand_in)?;
        f.write_str(self.protocol.last_level(self.direction))
    }
}

/// Formats into the front of a buffer.
fn written<'b>(buffer: &'b mut [u8], text: fmt::Arguments<'_>) -> Option<&'b str> {
    let mut target = Target { buffer, filled: 0 };
    fmt::Write::write_fmt(&mut target, text).ok()?;
    let Target { buffer, filled } = target;
    core::str::from_utf8(buffer.get(..filled)?).ok()
}

struct Target<'b> {
    buffer: &'b mut [u8],
    filled: usize,
}

impl fmt::Write for Target<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.filled.checked_add(text.len()).ok_or(fmt::Error)?;
        self.buffer.get_mut(self.filled..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.filled = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{DEVICE_ID_BYTES_MAX, TOPIC_BYTES_MAX};

    const NATIVE: Protocol<'static> = Protocol::Native(TopicPrefix::DEFAULT);

    #[test]
    fn both_protocols_write_and_read_their_topics() {
        for (protocol, direction, expected) in [
            (NATIVE, Direction::Up, "ota/1/a:b/up"),
            (NATIVE, Direction::Down, "ota/1/a:b/down"),
            (Protocol::Native(TopicPrefix::new("acme/eu").unwrap()), Direction::Up, "acme/eu/1/a:b/up"),
            (Protocol::Sft, Direction::Up, "xi/ctrl/v1/a:b/svc"),
            (Protocol::Sft, Direction::Down, "xi/ctrl/v1/a:b/cln"),
        ] {
            let topic = Topic { protocol, device: DeviceId::new("a:b").unwrap(), direction };
            assert_eq!(topic.to_string(), expected);
            assert_eq!(topic.write_to(&mut [0; TOPIC_BYTES_MAX]), Some(expected));
            assert_eq!(topic.write_to(&mut vec![0; expected.len() - 1]), None);
            assert_eq!(Topic::parse(protocol, expected), Ok(topic));
        }
        assert_eq!(FromAllDevices(NATIVE).to_string(), "ota/1/+/up");
        assert_eq!(FromAllDevices(Protocol::Sft).write_to(&mut [0; 99]), Some("xi/ctrl/v1/+/svc"));
    }

    /// DJI Romo 2026 and Mosquitto CVE-2017-7650: an id that is a wildcard, or holds a separator, reached the topics
    /// of other devices.
    #[test]
    fn incident_46_no_topic_reaches_another_device() {
        for hostile in ["", "+", "#", "a/b", "a/up/b", "../a", "a+", "a#", "a\0", "a\n", "\u{7f}", "\u{85}"] {
            assert!(DeviceId::new(hostile).is_err(), "{hostile:?}");
            for topic in [format!("ota/1/{hostile}/up"), format!("ota/1/{hostile}/down")] {
                assert!(matches!(Topic::parse(NATIVE, &topic), Err(TopicError::Device(_))), "{topic:?}");
            }
            let topic = format!("xi/ctrl/v1/{hostile}/svc");
            assert!(matches!(Topic::parse(Protocol::Sft, &topic), Err(TopicError::Device(_))), "{topic:?}");
        }
        let too_long = "x".repeat(DEVICE_ID_BYTES_MAX + 1);
        assert!(Topic::parse(NATIVE, &format!("ota/1/{too_long}/up")).is_err());
        // Two spellings that look alike are two devices: nothing is normalised or folded.
        let read = |text: &'static str| Topic::parse(NATIVE, text).unwrap().device;
        assert_ne!(read("ota/1/caf\u{e9}/up"), read("ota/1/cafe\u{301}/up"));
        assert_ne!(read("ota/1/A/up"), read("ota/1/a/up"));
        assert_ne!(read("ota/1/a /up"), read("ota/1/a/up"));
    }

    #[test]
    fn foreign_topics_are_told_apart() {
        for foreign in [
            "",
            "ota",
            "ota/1",
            "ota/1/a",
            "ota/1/a/",
            "ota/1/a/UP",
            "ota/1/a/up/",
            "ota/2/a/up",
            "OTA/1/a/up",
            "/ota/1/a/up",
            "x/ota/1/a/up",
            "otaa/1/a/up",
            "$share/ota/ota/1/a/up",
            "xi/ctrl/v1/a/svc",
        ] {
            assert_eq!(Topic::parse(NATIVE, foreign), Err(TopicError::Foreign), "{foreign:?}");
        }
        assert_eq!(Topic::parse(Protocol::Sft, "xi/ctrl/v1/a/up"), Err(TopicError::Foreign));
    }

    #[test]
    fn a_prefix_cannot_widen_what_is_subscribed() {
        for bad in ["", "/", "a/", "/a", "a//b", "+", "a/#", "a\0", "$share/x", &"x".repeat(65)] {
            assert!(TopicPrefix::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(TopicPrefix::new("a/b+"), Err(TextError::Forbidden { offset: 3 }));
        assert_eq!(TopicPrefix::new("a//b"), Err(TextError::Component { offset: 2 }));
    }

    #[test]
    fn the_longest_topic_fits_its_limit_exactly() {
        let (prefix, device) = ("p".repeat(TOPIC_PREFIX_BYTES_MAX), "d".repeat(DEVICE_ID_BYTES_MAX));
        let topic = Topic {
            protocol: Protocol::Native(TopicPrefix::new(&prefix).unwrap()),
            device: DeviceId::new(&device).unwrap(),
            direction: Direction::Down,
        };
        assert_eq!(topic.write_to(&mut [0; TOPIC_BYTES_MAX]).map(str::len), Some(TOPIC_BYTES_MAX));
    }
}
