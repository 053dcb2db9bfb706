//! The messages of the native protocol, both directions.
//!
//! Each is a CBOR array: the message type first, then fixed positions, then optionally a map of extensions. All of
//! them borrow from the bytes they were decoded from, and are encoded into a caller's buffer.

mod down;
mod part;
mod up;

pub use down::{
    Block, Busy, Cancel, Down, Notify, Offer, Refuse, RefuseCode, ReleaseSizes, ReportAck, RootHint, UpToDate,
};
pub use part::Part;
pub use up::{
    AlgorithmSet, Capabilities, CheckIn, Evidence, InventoryItem, Outcome, Phase, Report, ReportCode,
    TrustedSummary, Up, Want, WantBlocks,
};
