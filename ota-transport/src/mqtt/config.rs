//! How a link to a broker is made.

use core::time::Duration;
use std::sync::Arc;

use ota_core::limits::MESSAGE_BYTES_MAX;
use ota_core::wire::topic::TopicPrefix;

use super::Credentials;

/// Which version of MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MqttVersion {
    /// 3.1.1, which every broker speaks.
    #[default]
    V3_1_1,
    /// 5.
    V5,
}

/// How the servers of one store divide what devices say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Not at all: this is the only one.
    #[default]
    Alone,
    /// By a shared subscription of this group.
    Group(String),
    /// One at a time hears all of it, for brokers that know no shared subscriptions. Whose turn it is the servers find out by
    /// their store: a link hears nothing until [`share`](ota_core::fleet::MessageLink::share) says so.
    InTurns,
}

/// How a link to a broker is made.
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// Name or address of the broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What this server calls itself, such as `ota/server-1`: each server of a fleet needs a name of its own, and with a
    /// `/` in it, it can be no device's.
    pub client_id: String,
    /// The version of the protocol.
    pub version: MqttVersion,
    /// User name and password, if the broker wants them.
    pub credentials: Option<Credentials>,
    /// TLS with these roots and, for a client certificate, this key; `None` for a plain connection.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// A ping is sent this often; a broker that does not answer before the next one is given up. At least 1 s.
    pub keep_alive: Duration,
    /// The prefix of native topics; `None` when the native protocol is not served here.
    pub native_prefix: Option<String>,
    /// Whether devices of the original protocol are served here.
    pub serves_sft: bool,
    /// Whether there are other servers, and how they divide the messages.
    pub sharing: Sharing,
    /// How long a message of an original device may have waited before it is taken, where there are other servers: the device
    /// may have said something else to another one since.
    pub waiting_max: Duration,
    /// Largest packet in either direction, in bytes. A larger one is not sent, and dropped when it arrives.
    pub packet_bytes_max: usize,
    /// Most messages that wait in either direction.
    pub queue_messages_max: usize,
}

impl MqttConfig {
    /// Sensible settings for a broker: 3.1.1, plain, 30 s keep-alive, native and original topics, shared by nobody.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            version: MqttVersion::default(),
            credentials: None,
            tls: None,
            keep_alive: Duration::from_secs(30),
            native_prefix: Some(TopicPrefix::DEFAULT.as_str().to_owned()),
            serves_sft: true,
            sharing: Sharing::Alone,
            waiting_max: Duration::from_secs(1),
            packet_bytes_max: 256 * 1024,
            queue_messages_max: 1024,
        }
    }

    /// Whether other servers may hear the same devices.
    pub(super) fn has_neighbours(&self) -> bool {
        self.sharing != Sharing::Alone
    }

    /// The group of the shared subscription.
    pub(super) fn group(&self) -> Option<&str> {
        match &self.sharing {
            Sharing::Group(group) => Some(group),
            Sharing::Alone | Sharing::InTurns => None,
        }
    }

    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn native_prefix(&self) -> Option<TopicPrefix<'_>> {
        self.native_prefix.as_deref().and_then(|prefix| TopicPrefix::new(prefix).ok())
    }

    pub(super) fn check(&self) -> Result<(), InvalidMqttConfig> {
        let wrong = |setting, allowed| Err(InvalidMqttConfig { setting, allowed });
        let names_nothing = |name: &str| name.is_empty() || name.contains(['\0', '/', '+', '#']);
        if self.host.is_empty() {
            return wrong("host", "a name or an address");
        }
        // A `/` is welcome here: no device can be called so, and brokers tell servers from devices by their names.
        if self.client_id.is_empty() || self.client_id.contains('\0') {
            return wrong("client_id", "a name such as `ota/server-1`, different for each server");
        }
        if self.keep_alive < Duration::from_secs(1) || self.keep_alive > Duration::from_secs(65_535) {
            return wrong("keep_alive", "1 to 65535 seconds");
        }
        if self.native_prefix.as_deref().is_some_and(|prefix| TopicPrefix::new(prefix).is_err()) {
            return wrong("native_prefix", "levels without wildcards, none empty, not beginning with `$`");
        }
        if self.native_prefix.is_none() && !self.serves_sft {
            return wrong("serves_sft", "true, or a native_prefix: otherwise no device could be heard");
        }
        if self.group().is_some_and(names_nothing) {
            return wrong("sharing", "a name without `/`, `+`, `#` and NUL");
        }
        if self.packet_bytes_max < 2 * MESSAGE_BYTES_MAX {
            return wrong(
                "packet_bytes_max",
                "at least 131120 bytes, room for the largest message and its topic",
            );
        }
        if self.queue_messages_max == 0 {
            return wrong("queue_messages_max", "at least 1");
        }
        Ok(())
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the setting {setting} of the MQTT link is not valid: allowed is {allowed}")]
pub struct InvalidMqttConfig {
    /// Which one.
    pub setting: &'static str,
    /// What it can be.
    pub allowed: &'static str,
}
