//! What went wrong, and what it means: for the caller a kind, for the writer whether to try again.

use core::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use ota_core::fleet::{RecordError, StoreError, StoreErrorKind};
use tokio_postgres::error::SqlState;

use crate::shared_fault::SharedFault;

/// Any failure inside this backend.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the database failed")]
    Postgres(#[source] tokio_postgres::Error),
    #[error("the settings of the connection cannot be used")]
    Settings(#[source] tokio_postgres::Error),
    #[error("the pool of connections cannot be made")]
    Pool(#[source] deadpool_postgres::BuildError),
    #[error("all {0} connections were in use for too long")]
    Exhausted(usize),
    #[error("no connection could be made in time")]
    ConnectTimeout,
    #[error("no answer came within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("a record cannot be read")]
    Record(#[source] RecordError),
    #[error("a row of table {0} cannot be read")]
    Row(&'static str),
    #[error("an index names a record that is not there")]
    Dangling,
    #[error(
        "the database has schema {found}, which programs can use that know schema {usable_from}; \
         this one knows the schemas up to {known}"
    )]
    Schema { found: i32, usable_from: i32, known: i32 },
    #[error(
        "the database has schema {found}, this version needs {known}, and it may not change it by itself"
    )]
    Outdated { found: i32, known: i32 },
    #[error("the database has a schema named ota that another program made")]
    Foreign,
    #[error("others wrote the same records each of {0} times")]
    Contended(u32),
    #[error("the store is closed")]
    Closed,
}

impl Fault {
    pub(super) fn kind(&self) -> StoreErrorKind {
        match self {
            Self::Postgres(error) => error.code().map_or(StoreErrorKind::Unavailable, kind_of),
            Self::Record(_) | Self::Row(_) | Self::Dangling => StoreErrorKind::Corrupt,
            Self::Schema { .. } | Self::Outdated { .. } | Self::Foreign => StoreErrorKind::Schema,
            Self::Settings(_) => StoreErrorKind::Invalid,
            Self::Pool(_)
            | Self::Exhausted(_)
            | Self::ConnectTimeout
            | Self::Timeout(_)
            | Self::Contended(_)
            | Self::Closed => StoreErrorKind::Unavailable,
        }
    }

    /// Whether the connection is of no use any more, although it is there: nobody knows what it is still at, or it leads to
    /// a database that only reads, such as one that another has taken over from. The next one may lead elsewhere.
    pub(super) fn ends_session(&self) -> bool {
        match self {
            Self::Timeout(_) => true,
            Self::Postgres(error) => error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION),
            _ => false,
        }
    }

    /// Whether the same transaction may well succeed now that it was rolled back: it met another one, or a connection
    /// that a restart of the database had closed.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Postgres(error) => match error.code() {
                Some(code) => {
                    *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE
                }
                None => error.is_closed(),
            },
            _ => false,
        }
    }

    pub(super) fn from_pool(error: PoolError, connections: usize) -> Self {
        match error {
            PoolError::Timeout(TimeoutType::Wait) => Self::Exhausted(connections),
            PoolError::Timeout(_) => Self::ConnectTimeout,
            PoolError::Backend(error) => Self::Postgres(error),
            PoolError::PostCreateHook(deadpool_postgres::HookError::Backend(error)) => Self::Postgres(error),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Self::Closed,
        }
    }
}

fn kind_of(code: &SqlState) -> StoreErrorKind {
    // The first two characters are the class of the error.
    match (code.code().get(..2).unwrap_or_default(), code) {
        (_, code) if *code == SqlState::DISK_FULL => StoreErrorKind::Full,
        ("XX", code) if *code != SqlState::INTERNAL_ERROR => StoreErrorKind::Corrupt,
        // A table, a column or a schema that this version knows is not there.
        ("42", code) if *code != SqlState::INSUFFICIENT_PRIVILEGE => StoreErrorKind::Schema,
        ("3F", _) => StoreErrorKind::Schema,
        ("22", _) => StoreErrorKind::Invalid,
        _ => StoreErrorKind::Unavailable,
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

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
