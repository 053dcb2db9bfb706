//! One failure that several calls are told of: what commits for many at once fails for many at once.

use core::error::Error;
use core::fmt;
use std::sync::Arc;

use ota_core::fleet::{StoreError, StoreErrorKind};

/// A fault of a backend; each call gets an error of its own with the same source.
#[derive(Debug, Clone)]
pub(crate) struct SharedFault {
    kind: StoreErrorKind,
    fault: Arc<dyn Error + Send + Sync>,
}

impl SharedFault {
    pub(crate) fn new(kind: StoreErrorKind, fault: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, fault: Arc::new(fault) }
    }

    pub(crate) fn to_store_error(&self) -> StoreError {
        StoreError::new(self.kind, self.clone())
    }
}

impl fmt::Display for SharedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl Error for SharedFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}
