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
mod containers;
mod device;
#[cfg(feature = "fleet")]
mod fleet;
mod messages;
mod metadata;
mod original;
mod owned;
#[cfg(feature = "proptest")]
mod proptest;
mod words;

pub use choices::{Choices, Generate};
pub use device::OwnedArea;
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
            // The device's storage.
            crate::device::Slot, crate::device::Log, crate::device::StorageFault, crate::device::StorageFaultKind,
            crate::device::Granularity, crate::testing::OwnedArea,
            // Original messages.
            crate::sft::Phase, crate::sft::StatusCode, crate::testing::OwnedSftUp, crate::testing::OwnedSftDown,
        }
    };
}
use for_every_type;

/// The same for the fleet's types.
#[cfg(feature = "fleet")]
macro_rules! for_every_fleet_type {
    ($implement:ident) => {
        $implement! {
            // Records.
            crate::fleet::Record, crate::fleet::Table, crate::fleet::Key, crate::fleet::records::Product,
            crate::fleet::records::RootRecord, crate::fleet::records::Device, crate::fleet::records::DeviceStatus,
            crate::fleet::records::Installed, crate::fleet::records::ClaimedFile,
            crate::fleet::records::Credential, crate::fleet::records::ReleaseRecord,
            crate::fleet::records::ReleaseStatus, crate::fleet::records::FileRecord,
            crate::fleet::records::BlockMapRecord, crate::fleet::records::Hosting,
            crate::fleet::records::RequirementRecord, crate::fleet::records::BlobRecord,
            crate::fleet::records::Campaign, crate::fleet::records::CampaignState, crate::fleet::records::Target,
            crate::fleet::records::Approval, crate::fleet::records::Progress, crate::fleet::records::PausedFrom,
            crate::fleet::records::Sample, crate::fleet::records::Plan, crate::fleet::records::Trial,
            crate::fleet::records::Promotion, crate::fleet::records::Stage, crate::fleet::records::Pace,
            crate::fleet::records::Gate, crate::fleet::records::Budget, crate::fleet::records::Cause,
            crate::fleet::records::Schedule, crate::fleet::records::DailyWindow,
            crate::fleet::records::DateRange, crate::fleet::records::Date, crate::fleet::records::Limits,
            crate::fleet::records::AttemptRules, crate::fleet::records::OnFailure,
            crate::fleet::records::Attempt, crate::fleet::records::AttemptPhase, crate::fleet::records::Moment,
            crate::fleet::records::Interned, crate::fleet::records::Group, crate::fleet::records::GrantKey,
            crate::fleet::records::PrincipalRecord, crate::fleet::records::RoleGrant,
            crate::fleet::records::PersonRole, crate::fleet::records::Token,
            crate::fleet::records::TokenKind, crate::fleet::records::Setting,
            // What a store is given and gives back.
            crate::fleet::Unit, crate::fleet::Write, crate::fleet::Version, crate::fleet::Stored,
            crate::fleet::CounterKey, crate::fleet::CounterPrefix, crate::fleet::CounterChange,
            crate::fleet::Index, crate::fleet::IndexEntry, crate::fleet::AuditDraft, crate::fleet::AuditEntry,
            crate::fleet::AuditHash, crate::fleet::LeaseRequest,
            // What a link carries.
            crate::fleet::Dialect, crate::fleet::LinkEvent, crate::fleet::Outbound,
        }
    };
}
#[cfg(feature = "fleet")]
use for_every_fleet_type;
