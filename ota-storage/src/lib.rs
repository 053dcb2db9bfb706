//! Where updates rest: flash and directories on devices, redb and object stores on servers.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "flash")]
pub mod flash;
#[cfg(feature = "redb")]
pub mod redb;
