//! The embedded broker and Debian's mosquitto, with the configuration that is shipped, under clients that mean harm.
//!
//! What is asked of both: nothing of one device reaches another, and the broker goes on. The embedded broker
//! is asked more: that it says why, and that its link inside the process tells the truth.

mod at_once;
mod broker_suite;
mod certificates;
mod embedded;
mod hostile;
mod hostile_v5;
mod limits;
mod link_suite;
mod raw;
mod scene;
mod slow_acknowledgements;
#[path = "../support/mod.rs"]
mod support;
mod table;
