//! What is to be known of a release beyond its record: whose signatures count, and how it fares on which devices.

use std::collections::BTreeMap;

use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{AttemptPhase, ReleaseStatus};
use ota_core::fleet::{Query, Record, Table};
use ota_core::number::{CampaignId, KeyId, ReleaseId, SecurityEpoch};
use ota_core::trust::{Role, SignedBody, TrustedRoot};
use tokio::time::Instant;

use super::commands::CommandError;
use super::{SCAN_TIME_MAX, Server};
use crate::rules::permission::{Action, Principal};
use crate::rules::release::{ReleaseError, Verifier};

/// How many attempts are read at once.
const ATTEMPTS_AT_ONCE: usize = 512;
/// How many attempts of one campaign are looked at.
const ATTEMPTS_MAX: usize = 10_000;

/// Whose signatures of a release count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers {
    /// The keys that have signed, as far as the newest root lets them sign releases.
    pub keys: Vec<KeyId>,
    /// How many of them that root wants.
    pub needed: u8,
    /// The version of that root.
    pub root: u32,
}

/// How devices of one hardware that came from one revision have fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Their hardware, if they told it.
    pub hardware: Option<Box<str>>,
    /// The revision that they came from, if it was ever released.
    pub former: Option<Box<str>>,
    /// Devices that confirmed.
    pub confirmed: u64,
    /// Devices that failed, rolled back or fell silent.
    pub failed: u64,
}

/// How a campaign's devices have fared, as far as they were looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    /// By hardware and former revision.
    pub groups: Vec<Outcome>,
    /// How many devices were looked at, in the order of their ids: what they are says nothing about how they fare.
    pub looked_at: usize,
    /// Whether there are more.
    pub is_partial: bool,
}

impl Server {
    /// Whose signatures of a release count by the newest root; nobody's while it is a draft.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn signers(&self, by: &Principal, id: &ReleaseId) -> Result<Signers, CommandError> {
        let (record, _) = self.release_record(id).await?;
        self.permit(by, Action::View, &record.product)?;
        let (product, _) = self.product_record(&record.product).await?;
        if product.root.0 == 0 {
            return Ok(Signers { keys: Vec::new(), needed: 1, root: 0 });
        }
        let root = self.root_record(&record.product, product.root).await?;
        let (root, _) = TrustedRoot::provision::<SoftSha256>(&root.body, SecurityEpoch(0))
            .map_err(ReleaseError::Trust)?;
        let role = root.root().role(Role::Release);
        let mut signers = Signers { keys: Vec::new(), needed: role.threshold, root: product.root.0 };
        if record.status != ReleaseStatus::Draft && !record.envelope.is_empty() {
            let body = self.release_body(by, id).await?;
            let mut signed =
                SignedBody::release_from_body::<SoftSha256>(body.to_vec()).map_err(ReleaseError::from)?;
            let keys = role.keys.iter().filter_map(|id| root.key(Role::Release, id));
            let imported = signed.import_envelope::<SoftSha256>(&record.envelope, keys, &Verifier::default());
            imported.map_err(ReleaseError::from)?;
            signers.keys = signed.signers().collect();
        }
        Ok(signers)
    }

    /// How a campaign's devices have fared, by their hardware and the revision that they came from. Looks at no more than
    /// 10,000 of them, and for [`SCAN_TIME_MAX`].
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn outcomes(&self, by: &Principal, id: CampaignId) -> Result<Outcomes, CommandError> {
        let (campaign, _) = self.campaign_record(id).await?;
        self.permit(by, Action::View, &campaign.product)?;
        let view = self.view(&campaign.product).await?;
        let query = Query::Table { table: Table::Attempt, prefix: id.0.to_be_bytes().to_vec() };
        let mut groups: BTreeMap<(u32, u32), (u64, u64)> = BTreeMap::new();
        let (mut next, mut looked_at, began) = (None, 0, Instant::now());
        loop {
            let page = self.inner.store.scan(&query, next.as_ref(), ATTEMPTS_AT_ONCE).await?;
            looked_at += page.items.len();
            for (_, stored) in page.items {
                let Record::Attempt(attempt) = stored.record else { continue };
                let group = groups.entry((attempt.hardware, attempt.former)).or_default();
                match attempt.phase {
                    AttemptPhase::Confirmed => group.0 += 1,
                    AttemptPhase::Failed
                    | AttemptPhase::RolledBack
                    | AttemptPhase::Rejected
                    | AttemptPhase::Silent => group.1 += 1,
                    _ => {}
                }
            }
            next = page.next;
            if next.is_none() || looked_at >= ATTEMPTS_MAX || began.elapsed() >= SCAN_TIME_MAX {
                break;
            }
        }
        let text = |number: u32| view.names.text(number).map(Into::into);
        let group = |((hardware, former), (confirmed, failed)): ((u32, u32), (u64, u64))| Outcome {
            hardware: text(hardware),
            former: text(former),
            confirmed,
            failed,
        };
        let groups = groups.into_iter().filter(|(_, ended)| *ended != (0, 0)).map(group).collect();
        Ok(Outcomes { groups, looked_at, is_partial: next.is_some() })
    }
}
