//! Checkpoints of the audit chain: signed heads that are kept elsewhere, so that a chain whose end was cut off, or that
//! was written anew from some entry on, shows.
//!
//! The chain alone proves that nothing in its middle was changed. Who can write the whole store can also shorten it, or
//! compute all hashes anew; who has an earlier checkpoint sees both.

use core::fmt;
use core::str::FromStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use ota_core::crypto::SignatureVerifier as _;
use ota_core::crypto::sign::{SignError, Signer, sign_checked};
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::{AuditHash, BoxError, StoreError};
use ota_core::number::{KeyId, Sha256Digest};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::Key;

use super::Server;
use crate::rules::release::Verifier;

/// What a line begins with, and the format behind it.
const MARK: &str = "ota-checkpoint/1";
/// How many entries one tick follows at most.
const FOLLOWED_MAX: usize = 4096;
const PAGE: usize = 512;
/// How long a sink that failed is left alone.
const SINK_RETRY: Millis = Millis(60_000);

/// A signed head of the audit chain. Shown and read as one line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of the entry.
    pub sequence: u64,
    /// Its hash.
    pub hash: AuditHash,
    /// When it was signed.
    pub at: Timestamp,
    /// Which key signed.
    pub key: KeyId,
    /// The signature.
    pub signature: [u8; 64],
}

impl Checkpoint {
    /// Signs a head, and checks the signature before anybody gets it.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(
        sequence: u64,
        hash: AuditHash,
        at: Timestamp,
        signer: &dyn Signer,
    ) -> Result<Self, SignError> {
        let key = Key { algorithm: signer.algorithm(), public: signer.public_key() };
        let signature = sign_checked(signer, key, &Verifier::default(), &message(sequence, &hash, at))?;
        Ok(Self { sequence, hash, at, key: key.id::<SoftSha256>(), signature })
    }

    /// Whether one of these keys signed it.
    #[must_use]
    pub fn is_signed_by(&self, keys: &[Key<'_>]) -> bool {
        let message = message(self.sequence, &self.hash, self.at);
        keys.iter().filter(|key| key.id::<SoftSha256>() == self.key).any(|key| {
            Verifier::default().verify(key.algorithm, key.public, &message, &self.signature).is_ok()
        })
    }
}

fn message(sequence: u64, hash: &AuditHash, at: Timestamp) -> Vec<u8> {
    [b"ota/v1/checkpoint/".as_slice(), &sequence.to_be_bytes(), &at.0.to_be_bytes(), &hash.0].concat()
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = Sha256Digest(self.hash.0);
        write!(f, "{MARK} {} {} {hash} {} ", self.sequence, self.at.0, self.key)?;
        self.signature.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A line is no checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is no checkpoint: expected `{MARK} NUMBER TIME HASH KEY SIGNATURE`")]
pub struct CheckpointError;

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(line: &str) -> Result<Self, CheckpointError> {
        let read = || -> Option<Self> {
            let mut words = line.split(' ');
            let mark = words.next()?;
            let sequence = words.next()?.parse().ok()?;
            let at = Timestamp(words.next()?.parse().ok()?);
            let hash = AuditHash(Sha256Digest::from_hex(words.next()?)?.0);
            let key = KeyId(unhex(words.next()?)?);
            let signature = unhex(words.next()?)?;
            let checkpoint = Self { sequence, hash, at, key, signature };
            // One form only: what reads back otherwise was not written here.
            (mark == MARK && words.next().is_none() && checkpoint.to_string() == line).then_some(checkpoint)
        };
        read().ok_or(CheckpointError)
    }
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Where checkpoints are kept: away from the store that they are about.
#[async_trait]
pub trait CheckpointSink: Send + Sync + 'static {
    /// Keeps one durably.
    ///
    /// # Errors
    /// Any; it is tried again.
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), BoxError>;
}

/// Appends each checkpoint as a line to a file. Put it where whoever can write the store cannot, or ship its lines there.
#[derive(Debug, Clone)]
pub struct CheckpointFile(PathBuf);

impl CheckpointFile {
    /// A file, made with the first checkpoint.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

#[async_trait]
impl CheckpointSink for CheckpointFile {
    async fn keep(&self, checkpoint: &Checkpoint) -> Result<(), BoxError> {
        let (path, line) = (self.0.clone(), format!("{checkpoint}\n"));
        let written = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
            file.write_all(line.as_bytes())?;
            file.sync_all()
        });
        Ok(written.await??)
    }
}

/// Who signs checkpoints, where they go, and how often.
pub(super) struct Checkpoints {
    pub(super) signer: Box<dyn Signer + Send + Sync>,
    pub(super) sink: Arc<dyn CheckpointSink>,
    pub(super) every: Millis,
}

/// How far the chain was followed, and what was exported of it.
#[derive(Default)]
pub(super) struct Followed {
    last: u64,
    head: AuditHash,
    exported: u64,
    due: Timestamp,
    is_broken: bool,
}

impl Server {
    /// Follows the audit chain and exports a checkpoint of its end, if it is time to and something has happened.
    ///
    /// A chain that does not follow from what was seen of it before is never signed.
    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        let Some(checkpoints) = &self.inner.checkpoints else { return Ok(()) };
        let now = self.now();
        let (mut last, mut head) = {
            let followed = self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner);
            if followed.is_broken || now < followed.due {
                return Ok(());
            }
            (followed.last, followed.head)
        };
        let (begun, mut is_broken) = (last, false);
        loop {
            let entries = self.inner.store.audit(last + 1, PAGE).await?;
            let is_end = entries.len() < PAGE;
            for entry in entries {
                is_broken |= entry.sequence != last + 1 || entry.previous != head || !entry.is_intact();
                (last, head) = (entry.sequence, entry.hash);
            }
            if is_broken || is_end {
                break;
            }
            if last - begun >= u64::try_from(FOLLOWED_MAX).unwrap_or(u64::MAX) {
                // A long chain is followed over several ticks, and signed once its end is reached.
                let mut followed = self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner);
                (followed.last, followed.head) = (last, head);
                return Ok(());
            }
        }
        let exported = {
            let mut followed = self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner);
            (followed.last, followed.head, followed.is_broken) = (last, head, is_broken);
            followed.due = now.plus(checkpoints.every);
            followed.exported
        };
        if is_broken || last == exported {
            return Ok(());
        }
        let kept = match Checkpoint::sign(last, head, now, &*checkpoints.signer) {
            Ok(checkpoint) => checkpoints.sink.keep(&checkpoint).await.is_ok(),
            Err(_) => false,
        };
        let mut followed = self.inner.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if kept {
            followed.exported = last;
        } else {
            followed.due = now.plus(SINK_RETRY);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ota_core::crypto::sign::Ed25519Signer;

    use super::*;

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written_and_in_no_other_form() {
        let signer = Ed25519Signer::from_seed(&[7; 32]);
        let key = Key { algorithm: signer.algorithm(), public: signer.public_key() };
        let checkpoint = Checkpoint::sign(12, AuditHash([9; 32]), Timestamp(5), &signer).unwrap();
        let line = checkpoint.to_string();
        assert_eq!(line.parse(), Ok(checkpoint.clone()));
        assert!(checkpoint.is_signed_by(&[key]));
        for wrong in [
            line.to_uppercase(),
            format!("{line} "),
            format!("{line}00"),
            line.replace(" 12 ", " 012 "),
            String::new(),
        ] {
            assert_eq!(wrong.parse::<Checkpoint>(), Err(CheckpointError), "{wrong}");
        }
        for other in [
            Checkpoint { sequence: 13, ..checkpoint },
            Checkpoint { at: Timestamp(6), ..checkpoint },
            Checkpoint { hash: AuditHash([8; 32]), ..checkpoint },
        ] {
            assert!(!other.is_signed_by(&[key]));
        }
        let another = Ed25519Signer::from_seed(&[8; 32]);
        let another = Key { algorithm: another.algorithm(), public: another.public_key() };
        assert!(!checkpoint.is_signed_by(&[another]));
    }
}
