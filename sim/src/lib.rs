//! Seeded fleets, links and flash that join the device's half and the fleet's half.

pub mod device;
pub mod flash;
pub mod fleet;
pub mod fleet_server;
pub mod host;
pub mod hostile;
pub mod link;
pub mod medium;
pub mod plot;
pub mod random;
pub mod server;
pub mod speed;
pub mod storage;
pub mod storage_sweep;
pub mod store_crash;
pub mod store_load;
pub mod update_sweep;
#[cfg(feature = "wire")]
pub mod wire;
pub mod workshop;
pub mod world;
