//! What can be wrong with an integrity string, with a list of them, and with a file that is checked by one.

use super::{Algorithm, Strength};
use crate::crypto::SignatureError;
use crate::number::{ByteLength, KeyId};

/// Why a text is not an integrity string, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct StringError {
    /// What is wrong.
    pub kind: StringErrorKind,
    /// The algorithm, where its name could be read.
    pub algorithm: Option<Algorithm>,
    /// Where, in bytes from the beginning of the text.
    pub offset: usize,
}

/// What is wrong with the text of an integrity string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StringErrorKind {
    /// The text is empty.
    #[error("an integrity string is empty")]
    Empty,
    /// There is no algorithm of this name.
    #[error("the algorithm is not known")]
    UnknownAlgorithm,
    /// An upper-case letter stands where only lower case is allowed.
    #[error("an upper-case letter is not allowed")]
    UpperCase,
    /// A character does not belong into its place.
    #[error("a character is not allowed")]
    Forbidden,
    /// Nothing follows the algorithm's name.
    #[error("the value is empty")]
    EmptyValue,
    /// The text ends before the value is complete.
    #[error("the value is truncated")]
    Truncated,
    /// Characters follow the end of the value.
    #[error("characters follow the value")]
    Trailing,
    /// The last character carries bits that no value needs: another text would mean the same value.
    #[error("the value is not in its canonical form")]
    NotCanonical,
}

/// Why a list of integrity strings was refused, and which of them is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("integrity string {index}: {kind}")]
pub struct StringsError {
    /// Position in the list; the first is 0.
    pub index: usize,
    /// What is wrong.
    pub kind: StringsErrorKind,
}

/// What is wrong with a list of integrity strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StringsErrorKind {
    /// There is none. A file without one would be a file without a check.
    #[error("there is none")]
    None,
    /// One of them is wrong by itself.
    #[error(transparent)]
    String(StringError),
    /// The algorithm has occurred before.
    #[error("the algorithm {0} occurs twice")]
    Duplicate(Algorithm),
}

/// Why a file was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum IntegrityError {
    /// The file has no integrity string at all.
    #[error("the file has no integrity string")]
    Missing,
    /// The file has integrity strings, but none that this build can compute.
    #[error("none of the file's integrity strings can be computed here")]
    NotComputable,
    /// The strongest string that can be computed is weaker than the product's root demands.
    #[error("the file is protected by a {strongest} only, a {strength_min} is demanded")]
    TooWeak {
        /// What the strongest computable string promises.
        strongest: Strength,
        /// What the root demands at least.
        strength_min: Strength,
    },
    /// More bytes came than the file has.
    #[error("more than the file's {size} bytes arrived")]
    TooLong {
        /// How long the file is.
        size: ByteLength,
    },
    /// The bytes ended before the file did.
    #[error("{found} of the file's {size} bytes arrived")]
    TooShort {
        /// How many bytes came.
        found: ByteLength,
        /// How long the file is.
        size: ByteLength,
    },
    /// The bytes are not the file's.
    #[error("the {0} of the bytes is not the file's")]
    Mismatch(Algorithm),
    /// The check was begun for another file than it is finished for.
    #[error("the check was begun for another file")]
    OtherFile,
    /// The signing key is none of the `file` role.
    #[error("the root lists no file key {0}")]
    UnknownKey(KeyId),
    /// The key of this id is for another signature scheme.
    #[error("the file key {0} is for another signature scheme")]
    WrongScheme(KeyId),
    /// The signature over the file was not accepted.
    #[error("the signature over the file: {0}")]
    Signature(#[source] SignatureError),
    /// A name or revision is longer than its kind can be, so that nobody can have signed it.
    #[error("what the signature covers cannot be written down")]
    Statement,
}
