//! Where updates rest: flash and directories on devices, redb, Postgres and object stores on servers.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(any(feature = "boot-embassy", feature = "boot-linux"))]
pub mod boot;
#[cfg(all(feature = "directory", target_os = "linux"))]
pub mod directory;
#[cfg(feature = "flash")]
pub mod flash;
#[cfg(feature = "object-store")]
pub mod object;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(any(feature = "postgres", feature = "redb"))]
mod shared_fault;
