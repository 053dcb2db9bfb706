//! Bodies about the store itself: its room, and copies of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a compaction has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompactedView {
    /// How many bytes the store took.
    pub before_bytes: u64,
    /// How many it takes now.
    pub after_bytes: u64,
}

/// What a copy of the store is to be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupInput {
    /// A name for the file, not taken yet, of letters, digits, `.`, `_` and `-`.
    pub name: String,
}

/// Where a copy of the store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupView {
    /// The file, on the server's machine.
    pub path: String,
}
