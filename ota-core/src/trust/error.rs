//! Why signed metadata was not believed, and the one place that turns that into a report's code.

use crate::cbor::DecodeError;
use crate::number::KeyId;
use crate::trust::Role;
use crate::wire::ReportCode;

/// Why signed metadata was refused. Whoever made it is at fault, never the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The envelope is not what the format says.
    #[error("the envelope is malformed")]
    Envelope(#[source] DecodeError),
    /// The body is not what the format says.
    #[error("the body is malformed")]
    Body(#[source] DecodeError),
    /// The body or the envelope is larger than its role allows.
    #[error("larger than its role allows")]
    TooLarge,
    /// The root breaks a rule about keys and thresholds.
    #[error("the root breaks a rule")]
    Root(#[source] RootFlaw),
    /// The signatures cover a body of another length or digest.
    #[error("the signatures are over another body")]
    OtherBody,
    /// The same key signs twice in one envelope.
    #[error("a key signs twice")]
    DuplicateSignature,
    /// The header of a signature names another algorithm than the trusted root does for its key.
    #[error("the header names another algorithm than the root")]
    AlgorithmMismatch {
        /// The key in question.
        key: KeyId,
    },
    /// The old and the new root give one key id to different keys.
    #[error("a key id belongs to two keys")]
    AmbiguousKey {
        /// The id in question.
        key: KeyId,
    },
    /// A signature of a key that counts does not match.
    #[error("a signature does not match")]
    BadSignature {
        /// The key in question.
        key: KeyId,
    },
    /// Fewer distinct keys of the role have signed than its threshold asks for.
    #[error("too few keys have signed")]
    TooFewSignatures {
        /// How many have.
        found: u8,
        /// How many must.
        needed: u8,
    },
    /// It is for another product.
    #[error("it is for another product")]
    WrongProduct,
    /// It is for another device.
    #[error("it is for another device")]
    WrongDevice,
    /// The device's hardware revision is not listed.
    #[error("it does not list this hardware revision")]
    WrongHardware,
    /// It does not repeat the nonce of the latest check-in, or that has been answered already.
    #[error("it does not answer the latest check-in")]
    NotFresh,
    /// Its time lies before a time that was trusted earlier.
    #[error("its time lies before one that was trusted earlier")]
    TimeWentBack,
    /// It is past its expiry.
    #[error("it has expired")]
    Expired {
        /// What has: the root, the release or the assignment.
        role: Role,
    },
    /// The release is not the one that the assignment names, or the assignment does not ask to install.
    #[error("it is not the release that was assigned")]
    NotAssigned,
    /// The assignment was verified under keys that have been replaced since.
    #[error("the assignment was verified under keys that have been replaced")]
    StaleAssignment,
    /// The security epoch lies below the device's.
    #[error("its security epoch lies below the device's")]
    EpochTooLow,
    /// The root's version is not exactly one higher.
    #[error("the root does not follow the trusted one")]
    RootVersion,
    /// The root lowers the generation of a role.
    #[error("the root lowers the generation of a role")]
    GenerationLowered,
    /// The root is not the one that the trusted state names.
    #[error("the root is not the trusted one")]
    NotTheTrustedRoot,
    /// A development key made the root, and this build does not accept that.
    #[error("the root was made with a development key")]
    DevelopmentKey,
    /// A file rests on weaker integrity strings than the root allows.
    #[error("a file has no integrity string that is strong enough")]
    WeakIntegrity,
}

/// Which rule about keys and thresholds a root breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RootFlaw {
    /// A role has keys but needs none of them.
    #[error("a threshold is zero")]
    ZeroThreshold,
    /// A role needs more keys than it has, or more signatures than its envelope can hold.
    #[error("a threshold is higher than can be met")]
    ThresholdTooHigh,
    /// The root role has no keys, so nothing could ever follow.
    #[error("the root role has no keys")]
    NoRootKeys,
    /// A key is listed twice, or together with its negative, which has the same owner.
    #[error("a key is listed twice")]
    KeyTwice,
    /// Two keys have the same id.
    #[error("two keys have the same id")]
    KeyIdTwice,
    /// A key serves two roles.
    #[error("a key serves two roles")]
    KeyInTwoRoles,
    /// A role names a key that is not listed.
    #[error("a role names an unknown key")]
    UnknownKey,
    /// A key serves no role.
    #[error("a key serves no role")]
    UnusedKey,
    /// It expires before it was made.
    #[error("it expires before it was made")]
    ExpiresBeforeIssued,
    /// Versions begin with 1.
    #[error("its version is zero")]
    VersionZero,
}

impl From<TrustError> for ReportCode {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::Envelope(_) | TrustError::Body(_) | TrustError::Root(_) => Self::Malformed,
            TrustError::TooLarge => Self::TooLarge,
            TrustError::OtherBody
            | TrustError::DuplicateSignature
            | TrustError::AlgorithmMismatch { .. }
            | TrustError::AmbiguousKey { .. }
            | TrustError::BadSignature { .. }
            | TrustError::TooFewSignatures { .. } => Self::Signature,
            TrustError::WrongProduct => Self::WrongProduct,
            TrustError::WrongHardware => Self::WrongHardware,
            TrustError::WrongDevice
            | TrustError::NotFresh
            | TrustError::TimeWentBack
            | TrustError::NotAssigned
            | TrustError::StaleAssignment => Self::NotFresh,
            TrustError::Expired { .. } => Self::Expired,
            TrustError::EpochTooLow => Self::RolledBackEpoch,
            TrustError::RootVersion | TrustError::GenerationLowered | TrustError::NotTheTrustedRoot => {
                Self::RootChain
            }
            TrustError::DevelopmentKey => Self::DevelopmentKey,
            TrustError::WeakIntegrity => Self::NoIntegrity,
        }
    }
}
