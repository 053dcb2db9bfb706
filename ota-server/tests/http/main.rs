//! The HTTP API over a real socket, with the real stores in a temporary folder.

mod bodies;
mod editing;
mod fleet;
mod input;
mod openapi;
mod reports;
mod roles;
mod sessions;
mod story;
mod support;
mod uploads;
