//! One error for every store: what kind it is decides what happens next, and the source says the rest.

/// An error of any backend.
pub type BoxError = Box<dyn core::error::Error + Send + Sync + 'static>;

/// A store failed. Nothing of the failed call was acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<BoxError>,
}

/// What to do about a failed store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached or is restarting: try again after a pause.
    #[error("the store cannot be reached")]
    Unavailable,
    /// There is no room left: make room, then try again.
    #[error("the store is full")]
    Full,
    /// What was read is not what was written: restore from a backup.
    #[error("the store is damaged")]
    Corrupt,
    /// The store was made by another version that this one cannot work with.
    #[error("the store has another version of its schema")]
    Schema,
    /// The caller asked for what this call cannot do: a record over its limit, an upload that was not finished.
    #[error("the request is not valid")]
    Invalid,
    /// There is no such blob.
    #[error("it is not there")]
    NotFound,
}

impl StoreError {
    /// An error with a source.
    pub fn new(kind: StoreErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}
