//! Bodies about the store itself: its room, and copies of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::server::Recount;

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

/// Whether the counters are what the records say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecountView {
    /// How many records were counted.
    pub records: u64,
    /// Counters that differ: none in a store that is sound.
    pub differences: Vec<DifferenceView>,
}

/// A counter that is not what the records say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DifferenceView {
    /// What it counts, in words for whoever looks into it.
    pub counter: String,
    /// What it says.
    pub kept: i64,
    /// What the records say.
    pub counted: i64,
}

impl From<Recount> for RecountView {
    fn from(recount: Recount) -> Self {
        let view =
            |(counter, kept, counted)| DifferenceView { counter: format!("{counter:?}"), kept, counted };
        Self { records: recount.records, differences: recount.differences.into_iter().map(view).collect() }
    }
}
