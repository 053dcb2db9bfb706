//! What signed metadata must withstand: attacks by name, mistakes of others by name, golden files, an independent
//! COSE implementation, and random changes. Everything here goes through the public API with real keys.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod attacks;
mod cose;
mod golden;
mod index;
mod invariant;
mod making;
mod mistakes;
mod properties;
mod roots;
mod size;
mod support;
