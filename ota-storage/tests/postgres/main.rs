//! The Postgres store keeps every promise of the trait, in a real database.
#![cfg(feature = "postgres")]

mod conforms;
mod crash;
mod faults;
mod former;
mod hints;
mod model;
pub mod server;
#[path = "../model/mod.rs"]
mod shared_model;
mod views;
