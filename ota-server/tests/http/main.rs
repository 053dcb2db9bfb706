//! The HTTP API over a real socket, with the real stores in a temporary folder.

mod input;
mod roles;
mod sessions;
mod story;
mod support;
