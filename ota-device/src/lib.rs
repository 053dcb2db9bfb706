//! The device's half of an over-the-air update: an engine without std, without an allocator, without I/O.
#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::as_conversions
    )
)]

mod arena;
mod backoff;
mod config;
mod download;
mod inbox;
mod io;
pub mod limits;
mod math;
mod ops;
mod outbox;
mod phase;
mod policy;
pub mod provision;
mod random;
mod record;
mod report;
mod session;
mod set;
mod shared;
mod statistics;
mod updater;

pub use config::{Buffers, Config, ExternalDownloads, Identity, NoKey, Profile};
pub use io::{
    BootAnswer, BootOp, Command, Event, Input, Installed, Link, Misuse, Offered, Output, StorageAnswer,
    StorageOp,
};
pub use policy::{Confirm, Policy, When};
pub use statistics::{Activity, Progress, Statistics};
pub use updater::Updater;
