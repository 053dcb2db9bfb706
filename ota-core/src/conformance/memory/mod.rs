//! The in-memory references: what every other backend is compared with, and what tests of rules run on.
//!
//! They keep every promise of their traits except that nothing survives the process.

mod blob_store;
mod broker;
mod fleet_store;

pub use blob_store::MemoryBlobStore;
pub use broker::{MemoryBroker, MemoryClient};
pub use fleet_store::MemoryFleetStore;
