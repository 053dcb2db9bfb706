//! The device's half of an over-the-air update: an engine without std, without an allocator, without I/O.
//!
//! The application keeps its own connection, its own loop and its own thread. It gives the engine one input, polls
//! outputs until the engine waits, then goes on with its own work; a download of any size happens in the gaps.
//!
//! ```
//! use ota_core::device::{BootControl, DeviceStorage};
//! use ota_core::number::Nonce;
//! use ota_core::time::Instant;
//! use ota_device::{Event, Input, Misuse, Output, Profile, Updater};
//!
//! /// Gives the engine one input and does what follows from it. Returns when the engine wants to be called again.
//! fn turn<P: Profile>(
//!     updater: &mut Updater<'_, P>,
//!     input: Input<'_>,
//!     now: Instant,
//!     storage: &mut impl DeviceStorage,
//!     boot: &mut impl BootControl,
//!     mut send: impl FnMut(&[u8]),
//!     mut unpredictable: impl FnMut() -> [u8; 16],
//!     mut on_event: impl FnMut(Event<'_>),
//! ) -> Result<Instant, Misuse> {
//!     updater.handle_input(input, now)?;
//!     loop {
//!         match updater.poll_output() {
//!             Output::Send(message) => send(message),
//!             Output::Storage(op) => {
//!                 let answer = op.perform(storage);
//!                 updater.handle_input(Input::StorageDone(answer), now)?;
//!             }
//!             Output::Boot(op) => {
//!                 let answer = op.perform(boot);
//!                 updater.handle_input(Input::BootDone(answer), now)?;
//!             }
//!             Output::Nonce => updater.handle_input(Input::Nonce(Nonce(unpredictable())), now)?,
//!             Output::Event(event) => on_event(event),
//!             Output::WaitUntil(time) => return Ok(time),
//!         }
//!     }
//! }
//! ```
//!
//! That loop is there ready made, for one thread and for executors: see [`driver`].
//!
//! # What it does
//!
//! It checks in, takes over roots one by one, fetches and verifies the release that it is offered, fetches only the
//! files whose bytes differ, checks each as it lies in the storage, asks the server once more, and makes one record
//! that changes which files are active. New firmware is started on trial, and whatever is new has to prove itself in
//! time, or the old set comes back. A power cut at any moment leaves the old set or the new one.
//!
//! # What it refuses to do
//!
//! It opens no connection, reads no clock, draws no random numbers, touches no flash and allocates nothing. It installs
//! nothing that is not signed, listed, assigned to this device just now, and checked byte for byte.
//!
//! # What it costs
//!
//! A few kilobytes of state and three buffers of the caller's ([`Buffers`]). One poll does at most one signature
//! verification or 4 KiB of hashing, or one unit or block where the product chose longer ones.
//!
//! # Features
//!
//! Without any feature the crate needs neither std nor an allocator. Algorithms are chosen by type ([`Profile`]), so that
//! firmware links only what it uses.
//!
//! - `std`: the system's clock for [`driver::blocking`], and the feature of that name of the crates below.
//! - `tokio`: clock and link for [`driver::asynchronous`] on tokio.
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
pub mod driver;
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
mod slots;
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
