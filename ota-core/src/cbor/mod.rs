//! Deterministically encoded CBOR (RFC 8949, section 4.2.1), read strictly and written without an allocator.
//!
//! The reader refuses whatever a deterministic encoder would not have written: long forms of short integers,
//! indefinite lengths, unsorted or repeated keys, floats, simple values other than `false`, `true` and `null`,
//! deep nesting, and bytes behind the end. So there is one encoding of each value, and what was signed is what
//! was read. Nothing here recurses or allocates.

mod error;
mod reader;
mod writer;

pub use error::{DecodeError, DecodeErrorKind, EncodeError, Malformed};
pub use reader::{MapEntries, Reader, from_slice};
#[cfg(feature = "alloc")]
pub use writer::to_vec;
pub use writer::{Sink, SliceSink, Writer, encoded_length, to_slice};

/// The eight major types of RFC 8949, section 3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Major {
    Unsigned,
    Negative,
    Bytes,
    Text,
    Array,
    Map,
    Tag,
    Simple,
}

impl Major {
    pub(crate) const fn of(initial: u8) -> Self {
        match initial >> 5 {
            0 => Self::Unsigned,
            1 => Self::Negative,
            2 => Self::Bytes,
            3 => Self::Text,
            4 => Self::Array,
            5 => Self::Map,
            6 => Self::Tag,
            _ => Self::Simple,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Unsigned => 0,
            Self::Negative => 1 << 5,
            Self::Bytes => 2 << 5,
            Self::Text => 3 << 5,
            Self::Array => 4 << 5,
            Self::Map => 5 << 5,
            Self::Tag => 6 << 5,
            Self::Simple => 7 << 5,
        }
    }
}

#[cfg(test)]
mod tests;
