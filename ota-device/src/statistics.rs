//! What the engine counts: readable at any time, never allocated, never sent by itself.

use ota_core::number::ByteLength;
use ota_core::time::Millis;

/// Counters since the engine was made. All of them stop at their largest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Messages sent.
    pub messages_sent: u32,
    /// Messages that could not be read.
    pub messages_malformed: u32,
    /// Messages that came while the storage was busy, and were dropped.
    pub messages_busy: u32,
    /// Messages that fit nothing that is going on, were for another offer, or failed a check.
    pub messages_stray: u32,
    /// Blocks that were wanted and came.
    pub blocks_taken: u32,
    /// Blocks that had come already.
    pub blocks_duplicate: u32,
    /// Blocks that nobody asked for, or of a wrong length.
    pub blocks_stray: u32,
    /// Blocks that were asked for again.
    pub blocks_again: u32,
    /// Times when nothing came in time.
    pub timeouts: u32,
    /// Units whose bytes did not match the block map.
    pub units_bad: u32,
    /// Units that were copied from the active files.
    pub units_reused: u32,
    /// Requests that the server put off.
    pub busy: u32,
    /// Requests that the server refused.
    pub refused: u32,
    /// Offers, roots and releases that failed a check.
    pub metadata_refused: u32,
}

impl Statistics {
    #[inline(never)]
    pub(crate) fn count(counter: &mut u32) {
        *counter = counter.saturating_add(1);
    }
}

/// How far the engine has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub activity: Activity,
    /// Bytes of the release's files that are on the device.
    pub done: ByteLength,
    /// Bytes of the release's files that were to be fetched, 0 before that is known.
    pub total: ByteLength,
    /// The smoothed round-trip time of requests, if one was measured.
    pub round_trip: Option<Millis>,
    /// How many blocks may be in flight now.
    pub window: u16,
}

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Activity {
    /// Finding out what the storage holds.
    Starting,
    /// Nothing can be done: the storage was never provisioned.
    Unprovisioned,
    /// Waiting for the next check-in or its answer.
    Idle,
    /// Fetching and checking roots or a release.
    Metadata,
    /// Fetching files.
    Downloading,
    /// Checking files.
    Verifying,
    /// Waiting for permission, then for a fresh assignment.
    ReadyToInstall,
    /// Committing and activating.
    Installing,
    /// Waiting for the device to restart.
    RestartNeeded,
    /// The new files are on trial.
    OnTrial,
    /// Going back to the old files.
    Reverting,
}
