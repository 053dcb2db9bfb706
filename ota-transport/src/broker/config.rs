//! How the embedded broker is set up, and its limits.

use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;
use std::sync::Arc;

use ota_core::limits::SFT_MESSAGE_BYTES_MAX;
use ota_core::wire::topic::{TopicPrefix, TopicPrefixBuf};
use rustls::ServerConfig;

/// How a broker is set up.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Where it listens. None is allowed: then only the link inside the process lives.
    pub listeners: Vec<ListenOn>,
    /// The prefix of native topics.
    pub prefix: TopicPrefixBuf,
    /// What clients may use up.
    pub limits: BrokerLimits,
    /// Threads that the broker runs on; `None`: as many as there are processors.
    pub threads: Option<usize>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            prefix: TopicPrefix::DEFAULT.into(),
            limits: BrokerLimits::default(),
            threads: None,
        }
    }
}

/// One address to listen on.
#[derive(Debug, Clone)]
pub struct ListenOn {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// TLS, if it is spoken there; [`server_config`](super::server_config) makes it. Without it, user names and
    /// passwords cross the network in the clear.
    pub tls: Option<Arc<ServerConfig>>,
}

/// What clients may use up. What is over a limit is slowed down, refused or disconnected; the broker goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerLimits {
    /// Connections at once. Each takes three file descriptors: where the process may not have so many, fewer connections
    /// are let in.
    pub connections: usize,
    /// Connections of one address at once. Fleets behind one router share its address.
    pub connections_per_address: usize,
    /// Connects per second of one address, once its burst is spent.
    pub connects_per_second_per_address: u32,
    /// Connects of one address that are let in at once.
    pub connect_burst_per_address: u32,
    /// How long TLS may take, and after it the CONNECT with the answer to it.
    pub handshake_timeout: Duration,
    /// How long a client may take to read what is sent to it before it is disconnected.
    pub send_timeout: Duration,
    /// Bytes in a CONNECT.
    pub connect_packet_bytes: u32,
    /// Bytes in any other packet of a client.
    pub packet_bytes: u32,
    /// Packets per second of one client; it is read more slowly beyond.
    pub packets_per_second: u32,
    /// Bytes per second of one client; it is read more slowly beyond.
    pub bytes_per_second: u32,
    /// Subscriptions of one client.
    pub subscriptions: usize,
    /// Levels of a topic.
    pub topic_levels: usize,
    /// Messages of quality 1 and 2 that a client has not acknowledged yet.
    pub in_flight: NonZeroU16,
    /// Messages from the server that wait for one device, and as many from others; more are dropped.
    pub queued_messages: usize,
    /// Bytes from the server that wait for one device; the server waits a moment, then more are dropped.
    pub queued_bytes: usize,
    /// How long a session that was not declared clean is kept for a device that is gone.
    pub session_expiry: Duration,
    /// Messages from devices that the server has not received yet; devices are held back beyond.
    pub events: usize,
}

impl Default for BrokerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 10_000,
            connects_per_second_per_address: 500,
            connect_burst_per_address: 5_000,
            handshake_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(10),
            connect_packet_bytes: 8 * 1024,
            packet_bytes: PACKET_BYTES,
            packets_per_second: 5_000,
            bytes_per_second: 4 * 1024 * 1024,
            subscriptions: 32,
            topic_levels: 16,
            in_flight: NonZeroU16::MIN.saturating_add(63),
            queued_messages: 1_000,
            queued_bytes: 1024 * 1024,
            session_expiry: Duration::from_secs(3600),
            events: 4_096,
        }
    }
}

/// Room for the largest message of either protocol and its topic.
const PACKET_BYTES: u32 = 96 * 1024;
const _: () = assert!(SFT_MESSAGE_BYTES_MAX + 1024 < 96 * 1024);
