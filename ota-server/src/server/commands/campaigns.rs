//! Campaigns: drafts, approvals, start, promotion, pause, resume, stop, and stopping everything.

use ota_core::fleet::records::{Campaign, CampaignState, Device, ReleaseStatus, Target};
use ota_core::fleet::{Index, IndexEntry, Key, Query, Record, Stored, Version};
use ota_core::number::{CampaignId, Sha256Digest};
use ota_core::text::ProductIdBuf;
use roaring::RoaringTreemap;

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::engine::catalog::{COMPLETED, UNDER_WAY, campaigns_in, scan_all};
use crate::engine::decide::dialect_number;
use crate::rules::campaign::{self, CampaignError, Draft};
use crate::rules::filter::Filter;
use crate::rules::permission::{Action, Permit, Principal, Scope, permit};
use crate::rules::planner::carried_by_sft;
use crate::rules::view::ReleaseView;
use crate::server::Server;

/// How many devices a page of a snapshot's preparation has.
const PAGE: usize = 1024;

impl Server {
    /// Makes a draft of a campaign.
    ///
    /// # Errors
    /// [`CommandError::Campaign`] says what is wrong with it.
    pub async fn draft_campaign(
        &self,
        principal: &Principal,
        draft: Draft,
    ) -> Result<CampaignId, CommandError> {
        let permit = self.permit(principal, Action::RunCampaign, &draft.product)?;
        let now = self.now();
        self.command(|| async {
            let made = campaign::draft(draft.clone(), permit.principal(), now)?;
            self.demand_release(&draft).await?;
            let (id, counter) = self.next_campaign_id().await?;
            let mut changes = Changes::default();
            counter.write(&mut changes);
            changes.write(Key::Campaign(id), Version(0), None, Some(Record::Campaign(Box::new(made))));
            let release = draft.release.to_string();
            let words = detail(&[("title", &draft.title), ("release", &release)]);
            self.audit(&mut changes, &permit, "campaign.draft", id, words);
            Ok((changes, id))
        })
        .await
    }

    /// Gives a draft other content; approvals of the former content are void.
    ///
    /// # Errors
    /// [`CommandError::Campaign`].
    pub async fn edit_campaign(
        &self,
        principal: &Principal,
        id: CampaignId,
        content: Draft,
    ) -> Result<(), CommandError> {
        let (record, _) = self.campaign_record(id).await?;
        self.permit(principal, Action::RunCampaign, &record.product)?;
        if record.product != content.product {
            return Err(CampaignError::WrongProduct.into());
        }
        self.demand_release(&content).await?;
        let now = self.now();
        self.change_campaign(principal, Action::RunCampaign, id, "campaign.edit", "", |campaign, permit| {
            campaign::edited(campaign, content.clone(), permit.principal(), now)
        })
        .await
        .map(drop)
    }

    /// Edits a draft of this very version: what somebody else changed meanwhile is not undone.
    ///
    /// # Errors
    /// [`CommandError::Changed`] if it has another version by now.
    pub async fn edit_campaign_of_version(
        &self,
        principal: &Principal,
        id: CampaignId,
        expected: Version,
        content: Draft,
    ) -> Result<(), CommandError> {
        let (record, _) = self.campaign_record(id).await?;
        self.permit(principal, Action::RunCampaign, &record.product)?;
        self.demand_release(&content).await?;
        let now = self.now();
        let product = self
            .command(|| async {
                let (record, version) = self.campaign_record(id).await?;
                let permit = self.permit(principal, Action::RunCampaign, &record.product)?;
                if record.product != content.product {
                    return Err(CampaignError::WrongProduct.into());
                }
                if version != expected {
                    return Err(CommandError::Changed);
                }
                let next = campaign::edited(&record, content.clone(), permit.principal(), now)?;
                let product = record.product.clone();
                let (before, after) = (Record::Campaign(Box::new(record)), Record::Campaign(Box::new(next)));
                let mut changes = Changes::default();
                changes.write(Key::Campaign(id), version, Some(before), Some(after));
                self.audit(&mut changes, &permit, "campaign.edit", id, detail(&[("reason", "")]));
                Ok((changes, product))
            })
            .await?;
        self.changed(&product);
        Ok(())
    }

    /// Approves a campaign. `seen` is the hash of the content that the approver was shown.
    ///
    /// # Errors
    /// [`CommandError::Campaign`].
    pub async fn approve_campaign(
        &self,
        principal: &Principal,
        id: CampaignId,
        seen: &Sha256Digest,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let hash = seen.to_string();
        self.change_campaign(
            principal,
            Action::ApproveCampaign,
            id,
            "campaign.approve",
            &hash,
            |campaign, permit| campaign::approved(campaign, permit.principal(), seen, now),
        )
        .await
        .map(drop)
    }

    /// Starts an approved draft. Its cost does not depend on the number of devices, except for a snapshot of a filter,
    /// which is prepared by [`prepare_campaign`](Self::prepare_campaign).
    ///
    /// # Errors
    /// [`CommandError::Campaign`].
    pub async fn start_campaign(&self, principal: &Principal, id: CampaignId) -> Result<(), CommandError> {
        let now = self.now();
        let (first, _) = self.campaign_record(id).await?;
        self.permit(principal, Action::RunCampaign, &first.product)?;
        let (product, _) = self.product_record(&first.product).await?;
        self.demand_release(&Draft {
            product: first.product.clone(),
            title: first.title.clone(),
            release: first.release,
            target: first.target.clone(),
            plan: first.plan.clone(),
        })
        .await?;
        self.demand_no_contradiction(id, &first).await?;
        self.change_campaign(principal, Action::RunCampaign, id, "campaign.start", "", |campaign, permit| {
            campaign::started(campaign, &product, permit.principal(), now)
        })
        .await
        .map(drop)
    }

    /// Makes the snapshot that a started campaign waits for: one walk over the product's devices.
    ///
    /// # Errors
    /// [`CampaignError::MatchesNothing`] if no device fulfils the expression; the campaign goes back to being a draft.
    pub async fn prepare_campaign(&self, principal: &Principal, id: CampaignId) -> Result<u64, CommandError> {
        let (first, _) = self.campaign_record(id).await?;
        self.permit(principal, Action::RunCampaign, &first.product)?;
        let Target::Snapshot { expression, bitmap: None, .. } = &first.target else {
            return Err(CampaignError::State { found: first.state, wanted: "prepared" }.into());
        };
        let filter = Filter::parse(expression)?;
        let ordinals = self.ordinals(&first.product, &filter).await?;
        if ordinals.is_empty() {
            return Err(CampaignError::MatchesNothing.into());
        }
        let mut bytes = Vec::new();
        ordinals.serialize_into(&mut bytes).map_err(|error| {
            ota_core::fleet::StoreError::new(ota_core::fleet::StoreErrorKind::Invalid, error)
        })?;
        let bitmap = self.put_blob(bytes).await?;
        let count = ordinals.len();
        let words = count.to_string();
        self.change_campaign(
            principal,
            Action::RunCampaign,
            id,
            "campaign.prepare",
            &words,
            |campaign, _| {
                if !matches!(campaign.state, CampaignState::Draft | CampaignState::Preparing) {
                    return Err(CampaignError::State { found: campaign.state, wanted: "prepared" });
                }
                let mut next = campaign.clone();
                let expression = expression.clone();
                next.target = Target::Snapshot { expression, bitmap: Some(bitmap), count };
                // The bitmap belongs to what is approved: people approve the devices that really are in it.
                next.state = CampaignState::Draft;
                Ok(next)
            },
        )
        .await?;
        Ok(count)
    }

    async fn ordinals(
        &self,
        product: &ProductIdBuf,
        filter: &Filter,
    ) -> Result<RoaringTreemap, CommandError> {
        let view = self
            .inner
            .catalog
            .product(product)
            .await?
            .ok_or_else(|| CommandError::NoProduct(product.clone()))?;
        let now = self.now();
        let place = match filter.needed_tag() {
            Some(tag) => IndexEntry::new(Index::DeviceTag).text(product.as_str()).text(tag),
            None => IndexEntry::new(Index::DeviceBucket).text(product.as_str()),
        };
        let query = Query::under(place);
        let (mut ordinals, mut after) = (RoaringTreemap::new(), None);
        loop {
            let page = self.inner.store.scan(&query, after.as_ref(), PAGE).await?;
            for (key, stored) in page.items {
                let (Key::Device(id), Record::Device(device)) = (key, stored.record) else { continue };
                if filter.holds(&id, &device, &view.names, now) {
                    ordinals.insert(device.ordinal);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(ordinals);
            }
        }
    }

    /// Brings a campaign whose trial has passed to the fleet.
    ///
    /// # Errors
    /// [`CommandError::Campaign`].
    pub async fn promote_campaign(&self, principal: &Principal, id: CampaignId) -> Result<(), CommandError> {
        let now = self.now();
        self.change_campaign(
            principal,
            Action::PromoteCampaign,
            id,
            "campaign.promote",
            "",
            |campaign, permit| campaign::promoted(campaign, permit.principal(), now),
        )
        .await
        .map(drop)
    }

    /// Nothing more is offered until it is resumed; who has an offer goes on.
    ///
    /// # Errors
    /// [`CommandError::Campaign`].
    pub async fn pause_campaign(
        &self,
        principal: &Principal,
        id: CampaignId,
        reason: &str,
    ) -> Result<(), CommandError> {
        let now = self.now();
        self.change_campaign(
            principal,
            Action::RunCampaign,
            id,
            "campaign.pause",
            reason,
            |campaign, permit| {
                campaign::paused(campaign, &format!("paused by {}: {reason}", permit.principal()), now)
            },
        )
        .await
        .map(drop)
    }

    /// Goes on with a paused campaign.
    ///
    /// # Errors
    /// [`CommandError::Campaign`].
    pub async fn resume_campaign(&self, principal: &Principal, id: CampaignId) -> Result<(), CommandError> {
        let now = self.now();
        self.change_campaign(principal, Action::RunCampaign, id, "campaign.resume", "", |campaign, permit| {
            campaign::resumed(campaign, permit.principal(), now)
        })
        .await
        .map(drop)
    }

    /// Ends a campaign; running attempts are taken back.
    ///
    /// # Errors
    /// [`CommandError::Campaign`].
    pub async fn stop_campaign(
        &self,
        principal: &Principal,
        id: CampaignId,
        reason: &str,
    ) -> Result<(), CommandError> {
        let now = self.now();
        let product = self
            .change_campaign(
                principal,
                Action::RunCampaign,
                id,
                "campaign.stop",
                reason,
                |campaign, permit| {
                    campaign::stopped(campaign, &format!("stopped by {}: {reason}", permit.principal()), now)
                },
            )
            .await?;
        self.end(&product, id);
        Ok(())
    }

    /// Stops all campaigns of a product, or of the installation; one action, one entry. Says how many it were.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn stop_everything(
        &self,
        principal: &Principal,
        product: Option<&ProductIdBuf>,
        reason: &str,
    ) -> Result<usize, CommandError> {
        let scope = product.map_or(Scope::Installation, Scope::Product);
        let permit = permit(principal, Action::StopEverything, scope)?;
        let products: Vec<ProductIdBuf> = match product {
            Some(product) => vec![product.clone()],
            None => scan_all(&self.inner.store, &Query::table(ota_core::fleet::Table::Product))
                .await?
                .into_iter()
                .filter_map(|(key, _)| match key {
                    Key::Product(product) => Some(product),
                    _ => None,
                })
                .collect(),
        };
        let why = format!("everything was stopped by {}: {reason}", permit.principal());
        let stopped = self
            .command(|| async {
                let mut changes = Changes::default();
                let mut stopped = Vec::new();
                for product in &products {
                    let campaigns = self.stop_in(product, |_| true, &why, &mut changes).await?;
                    stopped.extend(campaigns.into_iter().map(|campaign| (product.clone(), campaign)));
                }
                let subject = product.map_or("everything", |product| product.as_str());
                self.audit(&mut changes, &permit, "stop_everything", subject, detail(&[("reason", reason)]));
                Ok((changes, stopped))
            })
            .await?;
        let count = stopped.len();
        for (product, campaign) in stopped {
            self.changed(&product);
            self.end(&product, campaign);
        }
        Ok(count)
    }

    /// Stops the campaigns of a product that are meant, within the caller's commit.
    pub(super) async fn stop_in(
        &self,
        product: &ProductIdBuf,
        is_meant: impl Fn(&Campaign) -> bool,
        why: &str,
        changes: &mut Changes,
    ) -> Result<Vec<CampaignId>, CommandError> {
        let mut stopped = Vec::new();
        for group in [UNDER_WAY, COMPLETED] {
            for (key, Stored { version, record }) in
                scan_all(&self.inner.store, &campaigns_in(product, group)).await?
            {
                let (Key::Campaign(id), Record::Campaign(campaign)) = (key, record) else { continue };
                if campaign.state == CampaignState::Draft || !is_meant(&campaign) {
                    continue;
                }
                let next = campaign::stopped(&campaign, why, self.now())?;
                let after = Some(Record::Campaign(Box::new(next)));
                changes.write(Key::Campaign(id), version, Some(Record::Campaign(campaign)), after);
                stopped.push(id);
            }
        }
        Ok(stopped)
    }

    async fn change_campaign(
        &self,
        principal: &Principal,
        action: Action,
        id: CampaignId,
        word: &str,
        reason: &str,
        change: impl Fn(&Campaign, &Permit) -> Result<Campaign, CampaignError>,
    ) -> Result<ProductIdBuf, CommandError> {
        let product = self
            .command(|| async {
                let (record, version) = self.campaign_record(id).await?;
                let permit = self.permit(principal, action, &record.product)?;
                let next = change(&record, &permit)?;
                let product = record.product.clone();
                let mut changes = Changes::default();
                let (before, after) = (Record::Campaign(Box::new(record)), Record::Campaign(Box::new(next)));
                changes.write(Key::Campaign(id), version, Some(before), Some(after));
                self.audit(&mut changes, &permit, word, id, detail(&[("reason", reason)]));
                Ok((changes, product))
            })
            .await?;
        self.changed(&product);
        self.inner.catalog.product(&product).await?;
        Ok(product)
    }

    /// The release can be offered, and the devices of the product can be given it.
    async fn demand_release(&self, draft: &Draft) -> Result<(), CommandError> {
        let (release, _) = self.release_record(&draft.release).await?;
        if release.product != draft.product {
            return Err(CampaignError::WrongProduct.into());
        }
        match release.status {
            ReleaseStatus::Signed if release.expires > self.now() => {}
            ReleaseStatus::Signed | ReleaseStatus::Withdrawn => {
                return Err(CampaignError::NotOfferable.into());
            }
            ReleaseStatus::Draft | ReleaseStatus::Fixed => return Err(CampaignError::NotSigned.into()),
        }
        let (product, _) = self.product_record(&draft.product).await?;
        let sft = 1_u32 << dialect_number(ota_core::fleet::Dialect::Sft);
        if product.dialects & sft != 0 {
            let view = ReleaseView::new(draft.release, release, &crate::rules::view::Names::default());
            carried_by_sft(&view).map_err(CampaignError::Protocol)?;
        }
        self.demand_somebody(draft).await
    }

    /// The target matches at least one device, as far as one look can tell.
    async fn demand_somebody(&self, draft: &Draft) -> Result<(), CommandError> {
        let is_nobody = match &draft.target {
            Target::Devices { ids } => {
                let keys: Vec<Key> = ids.iter().map(|id| Key::Device(id.clone())).collect();
                let devices = self.inner.store.load(&keys).await?;
                devices.iter().flatten().all(|stored| match &stored.record {
                    Record::Device(Device { product, .. }) => *product != draft.product,
                    _ => true,
                })
            }
            Target::Filter { expression } | Target::Snapshot { expression, .. } => {
                match Filter::parse(expression)?.needed_tag() {
                    Some(tag) => {
                        let place = IndexEntry::new(Index::DeviceTag).text(draft.product.as_str()).text(tag);
                        self.inner.store.scan(&Query::under(place), None, 1).await?.items.is_empty()
                    }
                    None => false,
                }
            }
            Target::Everyone | Target::OrdinalBelow { .. } => false,
        };
        if is_nobody { Err(CampaignError::MatchesNothing.into()) } else { Ok(()) }
    }

    /// No other campaign wants another release of the same package on surely the same devices with the same priority.
    async fn demand_no_contradiction(&self, id: CampaignId, campaign: &Campaign) -> Result<(), CommandError> {
        let (release, _) = self.release_record(&campaign.release).await?;
        for (key, stored) in scan_all(&self.inner.store, &campaigns_in(&campaign.product, UNDER_WAY)).await? {
            let (Key::Campaign(other), Record::Campaign(running)) = (key, stored.record) else { continue };
            let competes = other != id
                && running.state != CampaignState::Draft
                && running.release != campaign.release
                && running.plan.priority == campaign.plan.priority
                && campaign::surely_overlap(&running.target, &campaign.target);
            if competes && self.release_record(&running.release).await?.0.package == release.package {
                return Err(CampaignError::Contradicts(other).into());
            }
        }
        Ok(())
    }

    pub(in crate::server) async fn campaign_record(
        &self,
        id: CampaignId,
    ) -> Result<(Campaign, Version), CommandError> {
        match self.load_one(&Key::Campaign(id)).await? {
            Some(Stored { version, record: Record::Campaign(campaign) }) => Ok((*campaign, version)),
            _ => Err(CommandError::NoCampaign(id)),
        }
    }
}
