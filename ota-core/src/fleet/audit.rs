//! The audit chain: what people and campaigns did, each entry bound to the one before it.

use alloc::string::String;

use crate::crypto::Hasher;
use crate::crypto::soft::SoftSha256;
use crate::time::Timestamp;

/// SHA-256 of an entry, its place and the hash of the entry before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AuditHash(pub [u8; 32]);

/// An entry as the rules make it; the store adds its place in the chain when it commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDraft {
    /// When it happened.
    pub at: Timestamp,
    /// Who did it.
    pub principal: String,
    /// What was done, as a stable dotted word (`campaign.pause`).
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// The product it concerns, or empty.
    pub product: String,
    /// The particulars, as a JSON object.
    pub detail: String,
}

/// An entry in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number; the first is 1.
    pub sequence: u64,
    /// What happened.
    pub draft: AuditDraft,
    /// The hash of the entry before it; zeros before the first.
    pub previous: AuditHash,
    /// Its own.
    pub hash: AuditHash,
}

impl AuditEntry {
    /// Puts a draft behind the entry with `previous` as its hash.
    #[must_use]
    pub fn chain(sequence: u64, previous: AuditHash, draft: AuditDraft) -> Self {
        let hash = AuditHash(hash(sequence, previous, &draft));
        Self { sequence, draft, previous, hash }
    }

    /// Whether its hash is that of its own content.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.hash.0 == hash(self.sequence, self.previous, &self.draft)
    }
}

/// Every field goes in behind its length, so that no two entries have the same bytes.
fn hash(sequence: u64, previous: AuditHash, draft: &AuditDraft) -> [u8; 32] {
    let mut hasher = SoftSha256::new();
    hasher.update(b"ota/v1/audit\0");
    hasher.update(&sequence.to_be_bytes());
    hasher.update(&previous.0);
    hasher.update(&draft.at.0.to_be_bytes());
    for text in [&draft.principal, &draft.action, &draft.subject, &draft.product, &draft.detail] {
        hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finish()
}
