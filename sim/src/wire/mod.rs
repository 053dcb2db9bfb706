//! Devices on real sockets: the real engine, and a device of the original system, over MQTT and TLS.
//!
//! Nothing here is simulated but the device's flash and its bootloader. Time is the machine's.

mod connection;
pub mod native;
pub mod original;
pub mod program;
pub mod proxy;
mod stream;

use core::net::SocketAddr;
use std::sync::Arc;

use ota_core::time::{Instant, Millis};

pub use self::connection::{Connection, Notice};
pub use self::stream::Stream;

/// Which version of MQTT a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mqtt {
    /// 3.1.1, by the session of our own.
    V3,
    /// 5, by `rumqttc`.
    V5,
}

/// How a device reaches its broker.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// TLS, if it is spoken there; with the device's certificate, if it has one. The broker is `localhost`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The password that is shown together with the device's id, if there is one.
    pub password: Option<String>,
    /// The version of MQTT.
    pub mqtt: Mqtt,
    /// After so long without an answer a broker is given up. With MQTT 5 it is at least 5 s.
    pub keep_alive: Millis,
}

impl Access {
    /// Access without TLS and password, by MQTT 3.1.1.
    #[must_use]
    pub const fn plain(broker: SocketAddr) -> Self {
        Self { broker, tls: None, password: None, mqtt: Mqtt::V3, keep_alive: Millis(20_000) }
    }
}

/// The time of the engines in this process.
#[derive(Debug, Clone, Copy)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// Begins at zero.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When that time comes.
    #[must_use]
    pub fn at(&self, time: Instant) -> tokio::time::Instant {
        let far = core::time::Duration::from_secs(24 * 3600);
        (self.0 + core::time::Duration::from_millis(time.0).min(self.0.elapsed() + far)).into()
    }
}
