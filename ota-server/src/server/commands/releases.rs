//! Packages and releases: drafts, bodies, signatures, withdrawal, and what is no longer needed.

use bytes::Bytes;
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{Interned, Product, ReleaseRecord, ReleaseStatus};
use ota_core::fleet::{Index, IndexEntry, Key, Query, Record, Stored, Version};
use ota_core::number::{ByteLength, ByteOffset, PackageVersion, ReleaseId, SecurityEpoch, Sha256Digest};
use ota_core::text::ProductIdBuf;
use ota_core::time::Timestamp;
use ota_core::trust::{EpochRaise, TrustedRoot};

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::engine::catalog::scan_all;
use crate::rules::permission::{Action, Principal};
use crate::rules::release::{self, ReleaseDraft, ReleaseError, Signatures};
use crate::server::Server;

impl Server {
    /// Makes a draft of a release.
    ///
    /// # Errors
    /// [`CommandError::Release`] says what is wrong with it.
    pub async fn draft_release(
        &self,
        principal: &Principal,
        draft: ReleaseDraft,
    ) -> Result<ReleaseId, CommandError> {
        let permit = self.permit(principal, Action::DraftRelease, &draft.product)?;
        let now = self.now();
        let mut name = [0; 32];
        self.inner.entropy.fill(&mut name);
        let id = ReleaseId(name);
        self.command(|| async {
            let (record, version) = self.product_record(&draft.product).await?;
            let made = release::draft(draft.clone(), record.next_version, permit.principal(), now)?;
            self.demand_content(&made).await?;
            self.demand_free_revisions(&made, &id).await?;
            let next_version = PackageVersion(made.version.0.saturating_add(1)).max(record.next_version);
            let mut changes = Changes::default();
            let key = Key::Product(draft.product.clone());
            let after = Product { next_version, ..record.clone() };
            changes.write(key, version, Some(Record::Product(record)), Some(Record::Product(after)));
            let words = detail(&[("package", made.package.as_str()), ("version", &made.version.to_string())]);
            changes.write(Key::Release(id), Version(0), None, Some(Record::Release(made)));
            self.audit(&mut changes, &permit, "release.draft", id, words);
            Ok((changes, id))
        })
        .await
    }

    /// One product, file and revision never name two contents.
    async fn demand_free_revisions(
        &self,
        record: &ReleaseRecord,
        id: &ReleaseId,
    ) -> Result<(), CommandError> {
        for file in &record.files {
            let place = IndexEntry::new(Index::ReleaseFile)
                .text(record.product.as_str())
                .text(file.name.as_str())
                .text(file.revision.as_str());
            let others = scan_all(&self.inner.store, &Query::under(place)).await?;
            let is_taken = others.iter().any(|(key, stored)| match (key, &stored.record) {
                (Key::Release(other), Record::Release(release)) if other != id => {
                    release.files.iter().any(|known| {
                        known.name == file.name
                            && known.revision == file.revision
                            && known.digest != file.digest
                    })
                }
                _ => false,
            });
            if is_taken {
                return Err(ReleaseError::RevisionTaken {
                    file: file.name.clone(),
                    revision: file.revision.clone(),
                }
                .into());
            }
        }
        Ok(())
    }

    /// Fixes the body of a draft and gives the release its identity: from now on only signatures are added.
    ///
    /// # Errors
    /// [`CommandError::Release`] if no device would read it, or it jumps the epoch without `raise` allowing it.
    pub async fn fix_release(
        &self,
        principal: &Principal,
        draft: &ReleaseId,
        raise: Option<EpochRaise>,
    ) -> Result<ReleaseId, CommandError> {
        let (first, _) = self.release_record(draft).await?;
        let permit = self.permit(principal, Action::DraftRelease, &first.product)?;
        let product = first.product;
        let id = self
            .command(|| async {
                let (record, version) = self.release_record(draft).await?;
                self.demand_free_revisions(&record, draft).await?;
                let raise = match raise {
                    Some(raise) => raise,
                    None => EpochRaise::ByOneFrom(self.highest_epoch(&product).await?),
                };
                let (id, fixed, body) = release::fixed(&record, raise)?;
                self.put_blob(body.body().to_vec()).await?;
                let mut changes = Changes::default();
                let before = Some(Record::Release(record));
                changes.write(Key::Release(*draft), version, before, None);
                if self.load_one(&Key::Release(id)).await?.is_some() {
                    return Err(ReleaseError::NotADraft.into());
                }
                self.intern(&product, &fixed, &mut changes).await?;
                changes.write(Key::Release(id), Version(0), None, Some(Record::Release(fixed)));
                self.audit(
                    &mut changes,
                    &permit,
                    "release.fix",
                    id,
                    detail(&[("draft", &draft.to_string())]),
                );
                Ok((changes, id))
            })
            .await?;
        self.changed(&product);
        Ok(id)
    }

    async fn highest_epoch(&self, product: &ProductIdBuf) -> Result<SecurityEpoch, CommandError> {
        let query = Query::under(IndexEntry::new(Index::ReleaseVersion).text(product.as_str()));
        let releases = scan_all(&self.inner.store, &query).await?;
        let epochs = releases.into_iter().filter_map(|(_, stored)| match stored.record {
            Record::Release(release) if release.status != ReleaseStatus::Draft => Some(release.epoch),
            _ => None,
        });
        Ok(epochs.max().unwrap_or_default())
    }

    /// Gives numbers to the texts of a release that have none.
    async fn intern(
        &self,
        product: &ProductIdBuf,
        fixed: &ReleaseRecord,
        changes: &mut Changes,
    ) -> Result<(), CommandError> {
        let (record, version) = self.product_record(product).await?;
        self.inner.catalog.forget(product);
        let view = self.inner.catalog.product(product).await?;
        let mut next = record.next_name;
        let mut new: Vec<&str> = Vec::new();
        for text in release::texts(fixed) {
            let is_known = view.as_ref().is_some_and(|view| view.names.number(text) != 0);
            if is_known || new.contains(&text) {
                continue;
            }
            new.push(text);
            let key = Key::Interned(product.clone(), next);
            changes.write(key, Version(0), None, Some(Record::Interned(Interned { text: text.into() })));
            next += 1;
        }
        if next == record.next_name {
            changes.rely(Key::Product(product.clone()), version);
        } else {
            let after = Product { next_name: next, ..record.clone() };
            let key = Key::Product(product.clone());
            changes.write(key, version, Some(Record::Product(record)), Some(Record::Product(after)));
        }
        Ok(())
    }

    /// The bytes of a release's body, for people who sign elsewhere.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn release_body(&self, principal: &Principal, id: &ReleaseId) -> Result<Bytes, CommandError> {
        let (record, _) = self.release_record(id).await?;
        self.permit(principal, Action::View, &record.product)?;
        self.body_of(id, &record).await
    }

    async fn body_of(&self, id: &ReleaseId, record: &ReleaseRecord) -> Result<Bytes, CommandError> {
        if record.status == ReleaseStatus::Draft {
            return Err(ReleaseError::NotFixed.into());
        }
        let size = ByteLength(u64::from(record.body_size));
        Ok(self.inner.blobs.read(&Sha256Digest(id.0), ByteOffset(0), size).await?)
    }

    /// Takes signatures in. Once there are enough the release can be offered; says whether there are.
    ///
    /// # Errors
    /// [`CommandError::Release`] if a signature is not good.
    pub async fn sign_release(
        &self,
        principal: &Principal,
        id: &ReleaseId,
        envelope: &[u8],
    ) -> Result<ReleaseStatus, CommandError> {
        let (first, _) = self.release_record(id).await?;
        let permit = self.permit(principal, Action::BringSignatures, &first.product)?;
        let product = first.product;
        let status = self
            .command(|| async {
                let (record, version) = self.release_record(id).await?;
                let (product_record, product_version) = self.product_record(&product).await?;
                let root = self.root_record(&product, product_record.root).await?;
                let (root, _) = TrustedRoot::provision::<SoftSha256>(&root.body, SecurityEpoch(0))
                    .map_err(ReleaseError::Trust)?;
                let body = self.body_of(id, &record).await?;
                let (Signatures::Enough(next) | Signatures::Partly(next)) =
                    release::with_signatures(&record, body.to_vec(), envelope, &root)?;
                let mut changes = Changes::default();
                let status = next.status;
                changes.rely(Key::Product(product.clone()), product_version);
                let key = Key::Release(*id);
                changes.write(key, version, Some(Record::Release(record)), Some(Record::Release(next)));
                self.audit(&mut changes, &permit, "release.sign", id, detail(&[]));
                Ok((changes, status))
            })
            .await?;
        self.inner.parts.remove(&id.0);
        self.changed(&product);
        Ok(status)
    }

    /// Offers a release to nobody any more: its campaigns stop, running attempts are taken back.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn withdraw_release(
        &self,
        principal: &Principal,
        id: &ReleaseId,
        reason: &str,
    ) -> Result<(), CommandError> {
        let (first, _) = self.release_record(id).await?;
        let permit = self.permit(principal, Action::WithdrawRelease, &first.product)?;
        let product = first.product;
        let stopped = self
            .command(|| async {
                let (record, version) = self.release_record(id).await?;
                let next = release::withdrawn(&record, reason)?;
                let mut changes = Changes::default();
                let key = Key::Release(*id);
                changes.write(key, version, Some(Record::Release(record)), Some(Record::Release(next)));
                let why = format!("its release was withdrawn: {reason}");
                let is_of_it = |campaign: &ota_core::fleet::records::Campaign| campaign.release == *id;
                let stopped = self.stop_in(&product, is_of_it, &why, &mut changes).await?;
                self.audit(&mut changes, &permit, "release.withdraw", id, detail(&[("reason", reason)]));
                Ok((changes, stopped))
            })
            .await?;
        self.inner.parts.remove(&id.0);
        self.changed(&product);
        for campaign in stopped {
            self.end(&product, campaign);
        }
        self.inner.begun.clear();
        Ok(())
    }

    /// Removes stored files that no release needs and that were stored before this time; says how many.
    pub(in crate::server) async fn sweep_files(&self, before: Timestamp) -> Result<u64, CommandError> {
        let (mut after, mut removed) = (None, 0);
        loop {
            let page = self.inner.blobs.list(after.as_ref(), 256).await?;
            let Some(last) = page.last().copied() else { return Ok(removed) };
            after = Some(last);
            for digest in page {
                if self.is_unreferenced(&digest, before).await? {
                    self.remove_blob(&digest).await?;
                    removed += 1;
                }
            }
        }
    }

    async fn is_unreferenced(&self, digest: &Sha256Digest, before: Timestamp) -> Result<bool, CommandError> {
        let place = IndexEntry::new(Index::ReleaseBlob).bytes(&digest.0);
        if !self.inner.store.scan(&Query::under(place), None, 1).await?.items.is_empty() {
            return Ok(false);
        }
        let records = self.inner.store.load(&[Key::Blob(*digest), Key::Release(ReleaseId(digest.0))]).await?;
        let [blob, release] = records.as_slice() else { return Ok(false) };
        let is_young = match blob {
            Some(Stored { record: Record::Blob(blob), .. }) => blob.stored >= before,
            // Not on record: bodies of releases and snapshots, or an upload that was cut off before it was noted.
            _ => self.is_snapshot(digest).await?,
        };
        Ok(release.is_none() && !is_young)
    }

    /// Whether a campaign's snapshot is stored under this digest.
    async fn is_snapshot(&self, digest: &Sha256Digest) -> Result<bool, CommandError> {
        let campaigns = scan_all(&self.inner.store, &Query::table(ota_core::fleet::Table::Campaign)).await?;
        Ok(campaigns.iter().any(|(_, stored)| match &stored.record {
            Record::Campaign(campaign) => matches!(
                &campaign.target,
                ota_core::fleet::records::Target::Snapshot { bitmap: Some(bitmap), .. } if bitmap == digest
            ),
            _ => false,
        }))
    }

    /// The record goes first: a crash in between leaves a file that the next sweep finds, never a record without one.
    async fn remove_blob(&self, digest: &Sha256Digest) -> Result<(), CommandError> {
        let key = Key::Blob(*digest);
        if let Some(Stored { version, record }) = self.load_one(&key).await? {
            let mut changes = Changes::default();
            changes.write(key, version, Some(record), None);
            self.inner.store.commit(vec![changes.into_unit()]).await?;
        }
        Ok(self.inner.blobs.remove(digest).await?)
    }

    pub(in crate::server) async fn release_record(
        &self,
        id: &ReleaseId,
    ) -> Result<(ReleaseRecord, Version), CommandError> {
        match self.load_one(&Key::Release(*id)).await? {
            Some(Stored { version, record: Record::Release(release) }) => Ok((release, version)),
            _ => Err(CommandError::NoRelease(*id)),
        }
    }
}
