//! Topics: read byte for byte as they are written, and never of another device.

use ota_core::limits::TOPIC_BYTES_MAX;
use ota_core::wire::topic::{FromAllDevices, Protocol, Topic, TopicPrefix};

/// Reads a prefix (first line) and a topic (the rest).
pub fn topic(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let (prefix, text) = text.split_once('\n').unwrap_or(("ota", text));
    let prefix = TopicPrefix::new(prefix);
    let native = prefix.map(Protocol::Native);
    for protocol in native.into_iter().chain([Protocol::Sft]) {
        let filter = FromAllDevices(protocol).to_string();
        assert_eq!(filter.matches('+').count(), 1);
        assert!(!filter.contains('#') && !filter.starts_with('$'));
        let Ok(topic) = Topic::parse(protocol, text) else { continue };
        assert_eq!(topic.to_string(), text);
        let mut buffer = [0; TOPIC_BYTES_MAX];
        assert_eq!(topic.write_to(&mut buffer), Some(text));
        assert!(!text.contains(['+', '#', '\0']), "no wildcard is ever part of a topic");
        let levels_before = filter.split('/').take_while(|level| *level != "+").count();
        assert_eq!(text.split('/').nth(levels_before), Some(topic.device.as_str()), "one level, whole");
        assert_eq!(text.split('/').count(), filter.split('/').count());
    }
}
