//! The words of an over-the-air update: what a device and a server say to each other, and what they both trust.
//!
//! `ota-core` knows nobody. It needs neither std nor an allocator, does no I/O, reads no clock and draws no random
//! numbers; time, nonces and keys are arguments.
#![cfg_attr(not(feature = "std"), no_std)]
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

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod block_map;
pub mod cbor;
#[cfg(feature = "conformance")]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::as_conversions,
    reason = "a suite tells what is broken by panicking, and never runs in a product"
)]
pub mod conformance;
pub mod crypto;
pub mod device;
#[cfg(feature = "fleet")]
pub mod fleet;
mod hex;
pub mod integrity;
pub mod limits;
pub mod list;
#[cfg(feature = "fleet")]
mod minicbor_impls;
pub mod number;
pub mod sft;
#[cfg(any(feature = "proptest", feature = "arbitrary"))]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::as_conversions,
    reason = "a generator that breaks a rule must say so, and never runs in a product"
)]
pub mod testing;
pub mod text;
pub mod time;
pub mod trust;
pub mod wire;
