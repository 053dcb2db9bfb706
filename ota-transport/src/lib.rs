//! How updates travel: memory links, MQTT clients and brokers, and wrappers that inject faults.

#[cfg(feature = "broker")]
pub mod broker;
#[cfg(any(feature = "session", feature = "mqtt"))]
mod credentials;
#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "session")]
pub mod session;
#[cfg(feature = "wrappers")]
pub mod wrappers;
