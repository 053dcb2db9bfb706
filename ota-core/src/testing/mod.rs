//! Values of every public data type for property tests and fuzzers, here and downstream.
//!
//! With the feature `proptest` every type listed below has an `any::<T>()`, with the feature `arbitrary` an
//! implementation of `Arbitrary`. Both rest on one generator per type ([`Generate`]) that turns a row of choices into
//! a value: only values that obey their own rules come out, limits are reached, and fewer or smaller choices
//! give a smaller value, so that failures shrink.
//!
//! Types that borrow have an owned twin, [`Owned`], that keeps the encoded bytes and lends the decoded view:
//!
//! ```
//! # #[cfg(feature = "proptest")] {
//! use ota_core::testing::OwnedUp;
//! use ota_core::wire::Up;
//! use proptest::prelude::*;
//!
//! proptest!(|(message: OwnedUp)| {
//!     let lent: Up<'_> = message.lend();
//!     prop_assert_eq!(lent.to_vec().unwrap(), message.bytes());
//! });
//! # }
//! ```

#[cfg(feature = "arbitrary")]
mod arbitrary;
mod choices;
mod messages;
mod metadata;
mod original;
mod owned;
#[cfg(feature = "proptest")]
mod proptest;
mod words;

pub use choices::{Choices, Generate};
pub use messages::{OwnedDown, OwnedInventoryItem, OwnedUp};
pub use metadata::{OwnedAssignment, OwnedFile, OwnedRelease, OwnedRequirement, OwnedRoot};
pub use original::{OwnedSftDown, OwnedSftUp};
pub use owned::{Owned, View};

/// Hands the list of all types that can be generated to another macro, so that it is written once.
macro_rules! for_every_type {
    ($implement:ident) => {
        $implement! {
            // Numbers and identities.
            crate::number::RootVersion, crate::number::Generation, crate::number::SecurityEpoch,
            crate::number::PackageVersion, crate::number::FileIndex, crate::number::UnitIndex,
            crate::number::ReportSequence, crate::number::BootCounter, crate::number::ByteOffset,
            crate::number::ByteLength, crate::number::CampaignId, crate::number::KeyId, crate::number::OfferId,
            crate::number::ReleaseId, crate::number::Sha256Digest, crate::number::Nonce,
            crate::time::Timestamp, crate::time::Instant, crate::time::Millis,
            // Texts.
            crate::text::DeviceIdBuf, crate::text::ProductIdBuf, crate::text::PackageNameBuf,
            crate::text::HardwareRevisionBuf, crate::text::InstallTargetBuf, crate::text::FileNameBuf,
            crate::text::RevisionBuf, crate::text::UrlBuf, crate::text::DetailBuf,
            // Integrity.
            crate::integrity::Algorithm, crate::integrity::Strength, crate::integrity::IntegrityString,
            crate::integrity::IntegrityStrings,
            // Signed metadata.
            crate::crypto::SignatureAlgorithm, crate::trust::Role, crate::trust::Generations,
            crate::trust::TrustedState, crate::trust::Action, crate::trust::BlockMapRef,
            crate::trust::ReleaseKind, crate::testing::OwnedAssignment, crate::testing::OwnedFile,
            crate::testing::OwnedRelease, crate::testing::OwnedRequirement, crate::testing::OwnedRoot,
            // Native messages.
            crate::wire::Part, crate::wire::Phase, crate::wire::ReportCode, crate::wire::RefuseCode,
            crate::wire::AlgorithmSet, crate::wire::Capabilities, crate::wire::TrustedSummary,
            crate::wire::Evidence, crate::wire::Notify, crate::wire::ReleaseSizes, crate::wire::RootHint,
            crate::wire::ReportAck, crate::wire::Busy, crate::wire::Refuse, crate::testing::OwnedUp,
            crate::testing::OwnedDown, crate::testing::OwnedInventoryItem,
            // Original messages.
            crate::sft::Phase, crate::sft::StatusCode, crate::testing::OwnedSftUp, crate::testing::OwnedSftDown,
        }
    };
}
use for_every_type;
