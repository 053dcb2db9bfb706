//! The pages as people use them: a real browser, real HTTP, the real server, simulated devices.

mod browser;
mod devices;
mod keyboard;
mod pages;
mod stories;
mod support;
mod times;
mod wire;
