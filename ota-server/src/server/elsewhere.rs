//! Files that other hosts keep, at the server: asked for by devices, fetched once, refused when they have changed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, PoisonError};

use ota_core::fleet::AuditDraft;
use ota_core::number::Sha256Digest;

use super::Server;
use super::commands::detail;
use crate::delivery::fetch::{FetchError, fetch_once};
use crate::delivery::shelf::Elsewhere;
use crate::engine::Changes;

/// Most files that wait to be fetched; devices that want a further one are told to come back.
const WAITING_MAX: usize = 256;

/// What waits to be fetched, and what turned out to be something else.
#[derive(Default)]
pub(super) struct Waiting {
    files: VecDeque<Elsewhere>,
    changed: HashSet<Sha256Digest>,
}

/// What becomes of a request for a file of another host that is not here yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elsewhen {
    /// It is being fetched.
    Soon,
    /// It is not what was signed, or nobody can fetch it.
    Never,
}

impl Server {
    /// A device wants a block of a file that is not here.
    pub(super) fn want_elsewhere(&self, file: &Elsewhere) -> Elsewhen {
        let mut waiting = self.inner.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        if self.inner.fetcher.is_none() || waiting.changed.contains(&file.digest) {
            return Elsewhen::Never;
        }
        let is_new = waiting.files.iter().all(|known| known.digest != file.digest);
        if is_new && waiting.files.len() < WAITING_MAX {
            waiting.files.push_back(file.clone());
        }
        Elsewhen::Soon
    }

    /// Fetches what devices have asked for, one file after the other. Content that has changed behind its URLs is
    /// refused, and reported in the audit log.
    pub async fn fetch_pending(&self) {
        let Some(fetcher) = self.inner.fetcher.as_ref().map(Arc::clone) else { return };
        loop {
            let next = {
                let waiting = self.inner.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.files.front().cloned()
            };
            let Some(file) = next else { return };
            let fetched = fetch_once(&*self.inner.blobs, &*fetcher, &file).await;
            {
                let mut waiting = self.inner.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.files.retain(|known| known.digest != file.digest);
                if matches!(fetched, Err(FetchError::Changed(_))) {
                    waiting.changed.insert(file.digest);
                }
            }
            if let Err(error @ FetchError::Changed(_)) = fetched {
                let mut changes = Changes::default();
                changes.audit(AuditDraft {
                    at: self.now(),
                    principal: "the server".into(),
                    action: "file.changed_elsewhere".into(),
                    subject: file.name.to_string(),
                    product: String::new(),
                    detail: detail(&[("sha256", &file.digest.to_string()), ("why", &error.to_string())]),
                });
                // A report that cannot be stored now is made again when the file is next asked for after a restart.
                let _ = self.inner.store.commit(vec![changes.into_unit()]).await;
            }
        }
    }

    pub(super) async fn keep_fetching(self) {
        loop {
            self.fetch_pending().await;
            tokio::time::sleep(core::time::Duration::from_secs(1)).await;
        }
    }
}
