//! The messages of the native protocol, both directions.
//!
//! Each is a CBOR array: the message type first, then fixed positions, then optionally a map of extensions. All of
//! them borrow from the bytes they were decoded from, and are encoded into a caller's buffer.
//!
//! ```
//! use ota_core::number::{OfferId, ReportSequence};
//! use ota_core::wire::{Down, ReportAck};
//!
//! let ack = Down::ReportAck(ReportAck { offer: OfferId([7; 8]), sequence: ReportSequence(3) });
//! let mut buffer = [0; 32];
//! let message = ack.encode_to_slice(&mut buffer)?;
//! assert_eq!(Down::decode(message), Ok(ack));
//! # Ok::<(), ota_core::cbor::EncodeError>(())
//! ```

mod code;
pub(crate) mod codec;
mod down;
mod evidence;
mod part;
pub mod topic;
mod up;

pub use code::{Phase, RefuseCode, ReportCode, UnknownCode};
pub use down::{
    Block, Busy, Cancel, Down, Notify, Offer, Refuse, ReleaseSizes, ReportAck, RootHint, UpToDate,
};
pub use evidence::{AttestError, Covered};
pub use part::Part;
pub use up::{
    AlgorithmSet, Capabilities, CheckIn, Evidence, InventoryItem, Outcome, Report, TrustedSummary, Up, Want,
    WantBlocks,
};

#[cfg(test)]
mod tests;
