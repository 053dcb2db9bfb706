//! What an object store's error means for the caller.

use core::error::Error;
use std::io;

use ota_core::fleet::{StoreError, StoreErrorKind};

pub(super) fn store_error(error: object_store::Error) -> StoreError {
    let kind = match &error {
        object_store::Error::NotFound { .. } => StoreErrorKind::NotFound,
        other => io_kind(other).unwrap_or(StoreErrorKind::Unavailable),
    };
    StoreError::new(kind, error)
}

pub(super) fn io_error(error: io::Error) -> StoreError {
    StoreError::new(kind_of(&error), error)
}

/// What the first I/O error among the causes says.
fn io_kind(error: &(dyn Error + 'static)) -> Option<StoreErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(kind_of(io));
        }
        cause = error.source();
    }
    None
}

fn kind_of(error: &io::Error) -> StoreErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreErrorKind::Full
        }
        _ => StoreErrorKind::Unavailable,
    }
}
