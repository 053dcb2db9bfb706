//! The rules: pure functions over records, without I/O, clock or randomness.
//!
//! Whatever decides about a device or a campaign is here, and takes time as an argument. So the same rules run in a
//! server and in a simulation that replays a year in seconds.

pub mod amendment;
pub mod attempt;
pub mod campaign;
pub mod course;
pub mod device;
pub mod erasure;
pub mod filter;
pub mod gate;
pub mod password;
pub mod permission;
pub mod planner;
pub mod ramp;
pub mod rank;
pub mod release;
pub mod schedule;
pub mod view;
