//! The fleet's half of an over-the-air update: packages, campaigns, delivery and reports.

mod digest;
pub mod rules;
