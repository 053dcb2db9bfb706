//! What is old goes, where the installation says after how long: attempts of campaigns that were stopped, and drafts.
//!
//! Removing an attempt takes it out of the counters in the same commit, so a recount always gives what they say; how the
//! campaign went stays in its record, as samples over time. Only campaigns that were stopped lose attempts: a completed one
//! still serves devices that come late, and must know who has failed. One look takes a bounded number away, so devices are
//! served meanwhile; the next look goes on.

use ota_core::fleet::records::{Campaign, CampaignState, ReleaseRecord, ReleaseStatus};
use ota_core::fleet::{
    AuditDraft, Index, IndexEntry, Key, Outcome, Query, Record, StoreError, Stored, Table,
};
use ota_core::text::ProductIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::Server;
use crate::engine::Changes;
use crate::engine::catalog::{STOPPED, UNDER_WAY, campaigns_in, scan_all};

/// How many attempts one commit takes away, and how many commits one look makes of them.
const ATTEMPTS_AT_ONCE: usize = 512;
const COMMITS_AT_ONCE: usize = 64;

impl Server {
    /// Takes away what has become too old; says whether nothing of it is left.
    pub(super) async fn forget_old(&self, now: Timestamp) -> Result<bool, StoreError> {
        let mut commits_left = COMMITS_AT_ONCE;
        for (key, _) in scan_all(&self.inner.store, &Query::table(Table::Product)).await? {
            let Key::Product(product) = key else { continue };
            self.forget_drafts(&product, now).await?;
            if !self.forget_history(&product, &mut commits_left, now).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The attempts of campaigns that were stopped long ago.
    async fn forget_history(
        &self,
        product: &ProductIdBuf,
        commits_left: &mut usize,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let after = self.inner.config.forget_history_after;
        if after == Millis(0) {
            return Ok(true);
        }
        for (key, stored) in scan_all(&self.inner.store, &campaigns_in(product, STOPPED)).await? {
            let (Key::Campaign(id), Record::Campaign(campaign)) = (key, stored.record) else { continue };
            if !is_older(ended(&campaign), after, now) {
                continue;
            }
            let attempts = Query::Table { table: Table::Attempt, prefix: id.0.to_be_bytes().to_vec() };
            loop {
                let page = self.inner.store.scan(&attempts, None, ATTEMPTS_AT_ONCE).await?;
                if page.items.is_empty() {
                    break;
                }
                if *commits_left == 0 {
                    return Ok(false);
                }
                *commits_left -= 1;
                // One that a device changes at this very moment is taken by the next look, with its neighbours.
                if !self.forget(product, "history.sweep", &id.to_string(), page.items, now).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Releases that nobody has signed and campaigns that nobody has started.
    async fn forget_drafts(&self, product: &ProductIdBuf, now: Timestamp) -> Result<(), StoreError> {
        let after = self.inner.config.forget_drafts_after;
        if after == Millis(0) {
            return Ok(());
        }
        let releases = Query::under(IndexEntry::new(Index::ReleaseVersion).text(product.as_str()));
        for query in [releases, campaigns_in(product, UNDER_WAY)] {
            for (key, stored) in scan_all(&self.inner.store, &query).await? {
                let (action, subject, touched) = match (&key, &stored.record) {
                    (Key::Release(id), Record::Release(release)) if is_unsigned(release) => {
                        ("release.sweep", id.to_string(), release.created)
                    }
                    (Key::Campaign(id), Record::Campaign(campaign))
                        if campaign.state == CampaignState::Draft =>
                    {
                        ("campaign.sweep", id.to_string(), touched(campaign))
                    }
                    _ => continue,
                };
                if is_older(touched, after, now) {
                    // One that somebody changes at this very moment is not old after all.
                    self.forget(product, action, &subject, vec![(key, stored)], now).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes these records in one commit, and notes it; says whether they were as they had been read.
    async fn forget(
        &self,
        product: &ProductIdBuf,
        action: &str,
        subject: &str,
        records: Vec<(Key, Stored)>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut changes = Changes::default();
        changes.audit(AuditDraft {
            at: now,
            principal: "the schedule".into(),
            action: action.into(),
            subject: subject.into(),
            product: product.as_str().into(),
            detail: format!("{{\"removed\":{}}}", records.len()),
        });
        for (key, Stored { version, record }) in records {
            changes.write(key, version, Some(record), None);
        }
        let outcome = self.inner.store.commit(vec![changes.into_unit()]).await?;
        self.changed(product);
        Ok(outcome == [Outcome::Committed])
    }
}

/// When a campaign that was stopped had its end. Records of before that was noted tell when they were last sampled.
fn ended(campaign: &Campaign) -> Timestamp {
    let progress = &campaign.progress;
    let sampled = campaign.samples.last().map(|sample| sample.at);
    progress.ended.or(sampled).unwrap_or_else(|| progress.started.max(campaign.created))
}

/// When anybody last did something about a draft.
fn touched(campaign: &Campaign) -> Timestamp {
    campaign.approvals.iter().map(|approval| approval.at).fold(campaign.created, Timestamp::max)
}

const fn is_unsigned(release: &ReleaseRecord) -> bool {
    matches!(release.status, ReleaseStatus::Draft | ReleaseStatus::Fixed)
}

/// A time that lies ahead is that of a clock that was wrong: nothing goes before its age is known.
fn is_older(than: Timestamp, after: Millis, now: Timestamp) -> bool {
    now.since(than) > after
}
