//! Behaviour suites for those who implement our traits, and the in-memory references the suites are checked against.
//!
//! A suite panics with the sentence that is broken. A bug found in one backend becomes a case here first, so that
//! every backend is asked.

#[cfg(feature = "fleet")]
pub mod memory;
