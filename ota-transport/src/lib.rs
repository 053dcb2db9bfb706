//! How updates travel: memory links, MQTT clients and brokers, and wrappers that inject faults.

#[cfg(feature = "memory")]
pub mod memory;
#[cfg(feature = "session")]
pub mod session;
