//! The fleet's half of an over-the-air update: packages, campaigns, delivery and reports.
//!
//! A library to embed: [`Server`] takes a store of the fleet, a store of files and a link to the devices, all of them
//! traits of `ota-core`, and does the rest. It opens no socket and knows no database.
//!
//! - [`rules`] decide: pure functions, time is an argument;
//! - [`conversation`] is what is said with devices, whatever their protocol;
//! - [`engine`] loads, lets the rules decide, commits once, and only then lets answers go;
//! - [`delivery`] serves blocks under grants, without a database.

#[cfg(feature = "console")]
pub mod console;
pub mod conversation;
pub mod delivery;
mod digest;
pub mod engine;
#[cfg(feature = "http")]
pub mod http;
pub mod moving;
#[cfg(feature = "program")]
pub mod program;
pub mod rules;
mod server;

pub use engine::decide::AssignmentSigner;
pub use server::*;
