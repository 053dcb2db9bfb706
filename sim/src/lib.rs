//! Seeded fleets, links and flash that join the device's half and the fleet's half.

pub mod flash;
pub mod storage;
pub mod storage_sweep;
