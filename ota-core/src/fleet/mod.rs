//! The fleet's records, and the traits that stores, blob stores, links and brokers implement.
//!
//! Backends hold no rules: a [`FleetStore`] keeps [`Record`]s, counters and the audit chain, and commits them
//! together; what they mean is the business of `ota-server`. All traits are object-safe, so that an integrator can
//! choose a backend while the program runs.

mod audit;
mod blob;
mod broker;
mod counter;
mod error;
mod index;
mod key;
mod link;
mod numbered;
mod prepared;
mod record;
mod store;
mod topic_rules;

pub mod records;

pub use audit::{AuditDraft, AuditEntry, AuditHash};
pub use blob::{BlobStore, BlobUpload};
pub use broker::{Authorizer, Broker, ConnectRequest, Identity, Listener, Refusal, TopicAction};
pub use counter::{CounterChange, CounterKey, CounterPrefix};
pub use error::{BoxError, StoreError, StoreErrorKind};
pub use index::{Index, IndexEntry, Query, ScanBounds};
pub use key::{Key, Table};
pub use link::{AnswerAtOnce, Dialect, LinkError, LinkEvent, MessageLink, Outbound, Share};
pub use prepared::{Place, PreparedUnit, PreparedWrite, UnitError};
pub use record::{Record, RecordError};
pub use store::{Cursor, FleetStore, Lease, LeaseRequest, Outcome, Page, Stored, Unit, Version, Write};
#[cfg(feature = "conformance")]
pub(crate) use topic_rules::filter_matches;
pub use topic_rules::{TopicAccess, TopicPatternError, TopicRules};
