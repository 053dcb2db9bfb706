//! Which topics are a device's own: the one set of rules for the embedded broker and for the ACL file of others.
//!
//! Deny by default. A device publishes on its own `up` and `svc`, reads its own `down` and `cln`, and has what an
//! operator opened for its application; nothing is retained. All comparisons are byte for byte, level by level.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Dialect, TopicAction};
use crate::limits::{APPLICATION_TOPICS_MAX, TOPIC_PATTERN_BYTES_MAX};
use crate::text::DeviceId;
use crate::wire::topic::{AnyDevice, Direction, Protocol, Topic, TopicPrefix, TopicPrefixBuf};

/// Stands for the device's id in the pattern of an application topic.
const DEVICE_PLACEHOLDER: &str = "{device}";
/// Begins the filter of a shared subscription.
const SHARED: &str = "$share/";

/// What a device may do with topics that were opened for its application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicAccess {
    /// Publish there. The pattern must name the device.
    Publish,
    /// Subscribe there.
    Subscribe,
}

/// Why an application topic is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TopicPatternError {
    /// Empty, too long, with control characters or `%`, an empty level, or beginning with `$`.
    #[error("it is no topic pattern")]
    Malformed,
    /// `+`, `#` and `{device}` are whole levels, `#` is the last one, and `{device}` comes once at most.
    #[error("a wildcard or {{device}} stands in the wrong place")]
    Wildcard,
    /// The first level must be a literal, or a device could choose an id that makes the topic another's.
    #[error("its first level must be a literal")]
    FirstLevel,
    /// Publishing is only opened on topics that name the device: else nobody could tell who said it.
    #[error("a topic to publish on must hold {{device}}")]
    Anonymous,
    /// It would open topics that belong to the update protocols.
    #[error("it overlaps with the topics of updates")]
    Reserved,
    /// More patterns than [`APPLICATION_TOPICS_MAX`].
    #[error("too many application topics")]
    TooMany,
}

/// The rules of one broker.
///
/// ```
/// use ota_core::fleet::{TopicAccess, TopicAction, TopicRules};
/// use ota_core::text::DeviceId;
/// use ota_core::wire::topic::TopicPrefix;
///
/// let rules = TopicRules::new(TopicPrefix::DEFAULT)
///     .with_application_topic("app/{device}/state", TopicAccess::Publish)
///     .unwrap();
/// let pump = DeviceId::new("pump-7").unwrap();
/// assert!(rules.allow(pump, TopicAction::Publish, "ota/1/pump-7/up"));
/// assert!(rules.allow(pump, TopicAction::Publish, "app/pump-7/state"));
/// assert!(!rules.allow(pump, TopicAction::Subscribe, "ota/1/+/down"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRules {
    prefix: TopicPrefixBuf,
    application: Vec<(Box<str>, TopicAccess)>,
}

impl TopicRules {
    /// The rules for updates alone.
    #[must_use]
    pub fn new(prefix: TopicPrefix<'_>) -> Self {
        Self { prefix: prefix.into(), application: Vec::new() }
    }

    /// Opens topics for the application of each device: `{device}` stands for its id, `+` and `#` as in a filter.
    ///
    /// # Errors
    /// [`TopicPatternError`] says what is wrong with the pattern.
    pub fn with_application_topic(
        mut self,
        pattern: &str,
        access: TopicAccess,
    ) -> Result<Self, TopicPatternError> {
        check_pattern(pattern, access)?;
        // A device's id can be any text: for what the pattern could reach, it is a wildcard.
        let reach = pattern.replace(DEVICE_PLACEHOLDER, "+");
        if self.own("+").iter().any(|(topic, _)| overlap(&reach, topic)) {
            return Err(TopicPatternError::Reserved);
        }
        if self.application.len() >= APPLICATION_TOPICS_MAX {
            return Err(TopicPatternError::TooMany);
        }
        self.application.push((pattern.into(), access));
        Ok(self)
    }

    /// Whether a device may do this with this topic or filter.
    #[must_use]
    pub fn allow(&self, device: DeviceId<'_>, action: TopicAction, topic: &str) -> bool {
        match action {
            TopicAction::Retain => false,
            // A message is on one topic: what looks like a filter would be one on many.
            TopicAction::Publish => {
                !topic.contains(['+', '#']) && self.covers(device, TopicAccess::Publish, topic)
            }
            TopicAction::Receive => self.covers(device, TopicAccess::Subscribe, topic),
            TopicAction::Subscribe => match topic.strip_prefix(SHARED) {
                // A device shares what is its own with itself alone.
                Some(shared) => shared.split_once('/').is_some_and(|(group, filter)| {
                    !group.is_empty() && self.covers(device, TopicAccess::Subscribe, filter)
                }),
                None => self.covers(device, TopicAccess::Subscribe, topic),
            },
        }
    }

    /// What is said to the server on this topic: in which protocol, and by which device. The publisher still has to
    /// be that device.
    #[must_use]
    pub fn said<'t>(&'t self, topic: &'t str) -> Option<(Dialect, DeviceId<'t>)> {
        self.protocols().into_iter().find_map(|(dialect, protocol)| {
            let topic = Topic::parse(protocol, topic).ok()?;
            (topic.direction == Direction::Up).then_some((dialect, topic.device))
        })
    }

    /// The topic on which a device hears the server, in this protocol.
    #[must_use]
    pub fn heard(&self, dialect: Dialect, device: DeviceId<'_>) -> String {
        let protocol = match dialect {
            Dialect::Native => Protocol::Native(self.prefix.borrow()),
            Dialect::Sft => Protocol::Sft,
        };
        Topic { protocol, device, direction: Direction::Down }.to_string()
    }

    /// The same rules as an ACL file of mosquitto, for clients whose user name is their identity.
    ///
    /// `servers` are the user names of the servers, one each. They hold a `/`, so that no device can be called the same.
    #[must_use]
    pub fn mosquitto_acl(&self, servers: &[&str]) -> String {
        let mut acl = String::from(
            "# Who may do what. What is not named here is forbidden. %u is the user name: the common name of the client\n\
             # certificate (use_identity_as_username), or a name with a verified password; never the client id.\n\n\
             # Servers. No device can be called like this: a device id holds no slash.\n",
        );
        for server in servers {
            acl.push_str(&format!("user {server}\ntopic readwrite #\n"));
        }
        acl.push_str("\n# Every device: its own topics.\n");
        let application = self
            .application
            .iter()
            .map(|(pattern, access)| (pattern.replace(DEVICE_PLACEHOLDER, "%u"), *access));
        for (topic, access) in self.own("%u").into_iter().chain(application) {
            acl.push_str(match access {
                TopicAccess::Publish => "pattern write ",
                TopicAccess::Subscribe => "pattern read ",
            });
            acl.push_str(&topic);
            acl.push('\n');
        }
        acl
    }

    fn protocols(&self) -> [(Dialect, Protocol<'_>); 2] {
        [(Dialect::Native, Protocol::Native(self.prefix.borrow())), (Dialect::Sft, Protocol::Sft)]
    }

    /// The four topics of updates, with something in the place of the device.
    fn own(&self, stand_in: &str) -> Vec<(String, TopicAccess)> {
        let mut topics = Vec::new();
        for (_, protocol) in self.protocols() {
            for (direction, access) in
                [(Direction::Up, TopicAccess::Publish), (Direction::Down, TopicAccess::Subscribe)]
            {
                topics.push((AnyDevice { protocol, direction, stand_in }.to_string(), access));
            }
        }
        topics
    }

    /// Whether everything that a topic or filter stands for is the device's own, or was opened to it.
    fn covers(&self, device: DeviceId<'_>, access: TopicAccess, filter: &str) -> bool {
        let direction = match access {
            TopicAccess::Publish => Direction::Up,
            TopicAccess::Subscribe => Direction::Down,
        };
        let own = |(_, protocol): (Dialect, Protocol<'_>)| {
            Topic::parse(protocol, filter)
                .is_ok_and(|topic| topic.device == device && topic.direction == direction)
        };
        self.protocols().into_iter().any(own)
            || self
                .application
                .iter()
                .any(|(pattern, opened)| *opened == access && is_covered(filter, pattern, device.as_str()))
    }
}

fn check_pattern(pattern: &str, access: TopicAccess) -> Result<(), TopicPatternError> {
    if pattern.is_empty()
        || pattern.len() > TOPIC_PATTERN_BYTES_MAX
        || pattern.starts_with('$')
        // A percent sign is a placeholder of its own in ACL files.
        || pattern.chars().any(|c| c.is_control() || c == '%')
        || pattern.split('/').any(str::is_empty)
    {
        return Err(TopicPatternError::Malformed);
    }
    let whole = |level: &str| matches!(level, "+" | "#" | DEVICE_PLACEHOLDER);
    let misplaced = |level: &str| !whole(level) && level.contains(['+', '#', '{', '}']);
    let before_last = pattern.rsplit_once('/').map_or("", |(before, _)| before);
    let devices = pattern.split('/').filter(|level| *level == DEVICE_PLACEHOLDER).count();
    if pattern.split('/').any(misplaced) || before_last.contains('#') || devices > 1 {
        return Err(TopicPatternError::Wildcard);
    }
    if pattern.split('/').next().is_none_or(whole) {
        return Err(TopicPatternError::FirstLevel);
    }
    if access == TopicAccess::Publish && devices == 0 {
        return Err(TopicPatternError::Anonymous);
    }
    Ok(())
}

/// Whether each topic that the filter matches is matched by the pattern, with this device in it.
fn is_covered(filter: &str, pattern: &str, device: &str) -> bool {
    let mut filter = filter.split('/');
    for level in pattern.split('/') {
        // `a/#` also stands for `a`.
        if level == "#" {
            return true;
        }
        let covered = filter.next().is_some_and(|found| match level {
            "+" => found != "#",
            DEVICE_PLACEHOLDER => found == device,
            literal => found == literal,
        });
        if !covered {
            return false;
        }
    }
    filter.next().is_none()
}

/// Whether a filter, one that is not shared, takes messages on this topic. Wildcards never reach topics that begin
/// with `$`.
#[cfg(feature = "conformance")]
pub(crate) fn filter_matches(filter: &str, topic: &str) -> bool {
    topic.starts_with('$') == filter.starts_with('$') && overlap(filter, topic)
}

/// Whether two filters have a topic in common.
fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('/'), other.split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests;
