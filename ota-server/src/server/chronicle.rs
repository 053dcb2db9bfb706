//! The audit chain as people read it: the newest first, and what concerns one campaign.

use ota_core::fleet::AuditEntry;
use ota_core::number::CampaignId;

use super::Server;
use super::commands::CommandError;
use crate::rules::permission::{Action, Principal, Scope, permit};

/// How many entries of the chain are looked at for one campaign: the newest.
const LOOKED_AT_MAX: u64 = 4096;
/// How many entries are read at once.
const PAGE: u64 = 512;

/// Entries of the audit chain, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// The number of the last entry of the whole chain; 0 if there is none.
    pub last: u64,
}

/// What was done with a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CampaignLog {
    /// The entries, the newest first.
    pub entries: Vec<AuditEntry>,
    /// Whether the search ended before the campaign's beginning.
    pub is_partial: bool,
}

impl Server {
    /// Entries of the audit chain before this number, the newest first; from the end if it is `None`.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn audit_page(
        &self,
        by: &Principal,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AuditPage, CommandError> {
        permit(by, Action::ReadAudit, Scope::Installation)?;
        let last = self.last_audit_entry().await?;
        let until = before.unwrap_or(u64::MAX).min(last + 1);
        let count = u64::try_from(limit).unwrap_or(PAGE).clamp(1, PAGE).min(until.saturating_sub(1));
        let mut entries = Vec::new();
        if count > 0 {
            entries = self.inner.store.audit(until - count, usize::try_from(count).unwrap_or(limit)).await?;
            entries.reverse();
        }
        Ok(AuditPage { entries, last })
    }

    /// What people and its own plan did with a campaign. Whoever may look at its product may read it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn campaign_log(&self, by: &Principal, id: CampaignId) -> Result<CampaignLog, CommandError> {
        let (campaign, _) = self.campaign_record(id).await?;
        self.permit(by, Action::View, &campaign.product)?;
        let is_of_it = |entry: &AuditEntry| {
            entry.draft.action.starts_with("campaign.") && entry.draft.subject == id.to_string()
        };
        let last = self.last_audit_entry().await?;
        let (mut entries, mut until, mut looked_at) = (Vec::new(), last + 1, 0);
        while until > 1 && looked_at < LOOKED_AT_MAX {
            let count = PAGE.min(until - 1);
            let page = self.inner.store.audit(until - count, usize::try_from(count).unwrap_or(1)).await?;
            let is_before = page.first().is_none_or(|oldest| oldest.draft.at < campaign.created);
            entries.extend(page.into_iter().rev().filter(|entry| is_of_it(entry)));
            until -= count;
            looked_at += count;
            if is_before {
                return Ok(CampaignLog { entries, is_partial: false });
            }
        }
        Ok(CampaignLog { entries, is_partial: until > 1 })
    }

    /// The number of the last entry; 0 if there is none. The chain has no gaps, so halving finds its end.
    async fn last_audit_entry(&self) -> Result<u64, CommandError> {
        let has = async |number: u64| -> Result<bool, CommandError> {
            Ok(!self.inner.store.audit(number, 1).await?.is_empty())
        };
        let mut beyond = 1;
        while has(beyond).await? {
            beyond *= 2;
        }
        let mut last = beyond / 2;
        while beyond - last > 1 {
            let middle = last + (beyond - last) / 2;
            if has(middle).await? {
                last = middle;
            } else {
                beyond = middle;
            }
        }
        Ok(last)
    }
}
