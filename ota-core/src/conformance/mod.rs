//! Behaviour suites for those who implement our traits, and the in-memory references the suites are checked against.
//!
//! A suite panics with the sentence that is broken. A bug found in one backend becomes a case here first, so that
//! every backend, and every wrapper around one, is asked.

#[cfg(feature = "fleet")]
mod blob_store;
mod boot_control;
#[cfg(feature = "fleet")]
mod broker;
mod device_storage;
#[cfg(feature = "fleet")]
mod fleet_store;
#[cfg(feature = "fleet")]
mod futures;
#[cfg(feature = "fleet")]
pub mod memory;
mod memory_storage;
#[cfg(feature = "fleet")]
mod message_link;
#[cfg(feature = "fleet")]
pub mod topics;

#[cfg(feature = "fleet")]
pub use blob_store::{blob_store, blob_store_reopened};
pub use boot_control::{MemoryBoot, boot_control};
#[cfg(feature = "fleet")]
pub use broker::{
    BrokerClient, BrokerUnderTest, ClientHello, Kept, LastWill, SERVER, SuiteAuthorizer, broker,
};
pub use device_storage::device_storage;
#[cfg(feature = "fleet")]
pub use fleet_store::{fleet_store, fleet_store_reopened};
pub use memory_storage::{CutPoint, MemoryStorage};
#[cfg(feature = "fleet")]
pub use message_link::{DeviceEnd, LinkUnderTest, message_link};
