//! What was wrong with some encoded bytes, and where.

/// Why bytes were refused, and the offset of the item that was to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct DecodeError {
    /// What was wrong.
    pub kind: DecodeErrorKind,
    /// Offset of the offending item, in bytes from the beginning of the input.
    pub offset: usize,
}

/// The receipt of a [`Reader`](super::Reader) that has refused its bytes: the reader knows what was wrong, and where.
///
/// It takes no room, so that the many who pass it on stay small; [`Reader::error`](super::Reader::error) gives the
/// [`DecodeError`] to the one who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub(super) ());

/// What was wrong with an encoded item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends inside an item.
    #[error("the input ends too early")]
    Truncated,
    /// Bytes follow the end of the value.
    #[error("bytes follow the end")]
    TrailingBytes,
    /// An integer or a length is not in its shortest form.
    #[error("an integer is not in its shortest form")]
    NotShortest,
    /// A string, array or map has no definite length.
    #[error("an indefinite length is not allowed")]
    Indefinite,
    /// The additional information 28 to 30, or a simple value other than false, true and null (floats included).
    #[error("a reserved or forbidden value")]
    Forbidden,
    /// The item is of another type than its place requires.
    #[error("an item of another type was expected")]
    WrongType,
    /// An array or tuple has another number of elements than its place requires.
    #[error("the number of elements is wrong")]
    WrongCount,
    /// Arrays, maps and tags are nested deeper than [`NESTING_MAX`](crate::limits::NESTING_MAX).
    #[error("nested too deeply")]
    TooDeep,
    /// A string, list or the whole input is over its limit.
    #[error("larger than its limit")]
    TooLarge,
    /// The keys of a map do not rise.
    #[error("the keys of a map are not sorted")]
    UnsortedKeys,
    /// A map holds the same key twice.
    #[error("a key occurs twice")]
    DuplicateKey,
    /// A map holds a key below 64 that this version does not know.
    #[error("a critical key is not known")]
    UnknownCriticalKey,
    /// A required key is missing from a map.
    #[error("a required key is missing")]
    MissingKey,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// The type of a message does not exist, or not in this direction.
    #[error("the type of the message is not known")]
    UnknownType,
    /// A value is well-formed but not allowed in its place: out of range, an unknown number, a forbidden character.
    #[error("a value is out of its range")]
    OutOfRange,
}

impl DecodeErrorKind {
    /// The error at this offset.
    #[must_use]
    pub const fn at(self, offset: usize) -> DecodeError {
        DecodeError { kind: self, offset }
    }
}

/// Why a value could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The caller's buffer is too small.
    #[error("the buffer is too small")]
    BufferFull,
    /// The value breaks a limit of its format and no reader would accept it.
    #[error("the value exceeds a limit of its format")]
    TooLarge,
}
