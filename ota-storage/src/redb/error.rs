//! What went wrong, and what it means: for the caller a kind, for the writer whether to open the file again.

use core::panic::AssertUnwindSafe;
use std::io;

use ota_core::fleet::{RecordError, StoreError, StoreErrorKind};

use crate::shared_fault::SharedFault;

/// Any failure inside this backend.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the database failed")]
    Redb(#[source] redb::Error),
    #[error("the file cannot be opened")]
    Open(#[source] io::Error),
    #[error("a record cannot be read")]
    Record(#[source] RecordError),
    #[error("a row of table {0} cannot be read")]
    Row(&'static str),
    #[error("an index names a record that is not there")]
    Dangling,
    #[error("the file has schema {found}, this version knows the schemas up to {known}")]
    Schema { found: u64, known: u64 },
    #[error("the file is a database of another program")]
    Foreign,
    #[error("the database panicked: {0}")]
    Panicked(String),
    #[error("the database is being opened again")]
    Reopening,
    #[error("the store is closed")]
    Closed,
    #[error("a copy of the store failed; the store itself is as it was")]
    Copy(#[source] Box<Fault>),
    #[error("so much was written meanwhile that the copy fell behind; try again when it is quieter")]
    FellBehind,
    #[error("there is a file of that name already")]
    Exists,
    #[error("the store is being compacted already")]
    Compacting,
    #[error("the store lies in a medium of its own, whose file cannot be replaced")]
    NoFile,
}

impl Fault {
    /// The same, met while a copy was made: the store's own file need not be opened again because of it.
    pub(super) fn of_a_copy(self) -> Self {
        Self::Copy(Box::new(self))
    }

    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Redb(redb::Error::Io(error)) | Self::Open(error) => io_kind(error),
            Self::Redb(redb::Error::Corrupted(_))
            | Self::Record(_)
            | Self::Row(_)
            | Self::Dangling
            | Self::Panicked(_) => StoreErrorKind::Corrupt,
            Self::Redb(redb::Error::ValueTooLarge(_)) => StoreErrorKind::Invalid,
            Self::Redb(redb::Error::UpgradeRequired(_)) | Self::Schema { .. } | Self::Foreign => {
                StoreErrorKind::Schema
            }
            Self::NoFile | Self::Exists => StoreErrorKind::Invalid,
            Self::Copy(fault) => fault.kind(),
            Self::Redb(_) | Self::Reopening | Self::Closed | Self::FellBehind | Self::Compacting => {
                StoreErrorKind::Unavailable
            }
        }
    }

    /// Whether redb refuses to go on before the file is opened again.
    pub(super) fn needs_reopening(&self) -> bool {
        match self {
            Self::Redb(error) => !matches!(error, redb::Error::ValueTooLarge(_)),
            Self::Open(_) | Self::Panicked(_) => true,
            _ => false,
        }
    }
}

fn io_kind(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreErrorKind::Full
        }
        // How redb says that the file is not one of its own, or shorter than it says.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Unavailable,
    }
}

macro_rules! from_redb {
    ($($error:ident),+) => {$(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        }
    )+};
}

from_redb!(CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError);

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind(), fault)
    }
}

impl From<Fault> for SharedFault {
    fn from(fault: Fault) -> Self {
        Self::new(fault.kind(), fault)
    }
}

/// Turns a panic into a fault. redb panics on some damaged pages, above all in debug builds, and a store that does
/// not answer any more would be worse than one that says what is wrong.
pub(super) fn caught<T>(action: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    std::panic::catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Fault::Panicked(text.unwrap_or_default()))
    })
}
