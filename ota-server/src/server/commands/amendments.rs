//! Changes of a running campaign: accepting what a stage has shown, sparing a soak, other limits, another target.

use ota_core::fleet::records::{Amended, Amendment, Campaign, Product};
use ota_core::fleet::{Key, Record};
use ota_core::number::{CampaignId, Sha256Digest};
use ota_core::time::Timestamp;

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::rules::amendment::{self, Amending};
use crate::rules::campaign::{CampaignError, Counted};
use crate::rules::permission::{Action, Principal};
use crate::rules::view::CampaignView;
use crate::server::Server;

/// What has become of an amendment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmendmentState {
    /// The change is made.
    Made,
    /// People must consent first.
    WaitsForConsent,
}

impl Server {
    /// Asks for a change of a running campaign, and makes it if nobody must consent. As many people must as approve
    /// campaigns of this plan and product, other than the one who asks; lowering limits needs nobody.
    ///
    /// # Errors
    /// [`CommandError::Campaign`] if the campaign is in no state for it, or the change is wrong.
    pub async fn amend_campaign(
        &self,
        principal: &Principal,
        id: CampaignId,
        what: Amended,
        reason: &str,
    ) -> Result<AmendmentState, CommandError> {
        self.amend(principal, Action::RunCampaign, id, "campaign.amend", |campaign, counted, product, now| {
            amendment::wanted(campaign, what.clone(), (principal.name(), reason), counted, product, now)
        })
        .await
    }

    /// Consents to the change of a running campaign. `seen` is its hash as it was shown with the campaign's progress.
    ///
    /// # Errors
    /// [`CommandError::Campaign`], among others if more devices have failed since the change was asked for.
    pub async fn consent_to_amendment(
        &self,
        principal: &Principal,
        id: CampaignId,
        seen: &Sha256Digest,
    ) -> Result<AmendmentState, CommandError> {
        self.amend(
            principal,
            Action::ApproveCampaign,
            id,
            "campaign.consent",
            |campaign, counted, product, now| {
                amendment::consented(campaign, principal.name(), seen, counted, product, now)
            },
        )
        .await
    }

    /// Takes a change back that still waits for consent.
    ///
    /// # Errors
    /// [`CommandError::Campaign`] if none waits.
    pub async fn drop_amendment(&self, principal: &Principal, id: CampaignId) -> Result<(), CommandError> {
        self.amend(principal, Action::RunCampaign, id, "campaign.drop_amendment", |campaign, _, _, _| {
            amendment::dropped(campaign)
        })
        .await
        .map(drop)
    }

    async fn amend(
        &self,
        principal: &Principal,
        action: Action,
        id: CampaignId,
        word: &str,
        change: impl Fn(&Campaign, &Counted, &Product, Timestamp) -> Result<Amending, CampaignError>,
    ) -> Result<AmendmentState, CommandError> {
        let now = self.now();
        let (product, state) = self
            .command(|| async {
                let (record, version) = self.campaign_record(id).await?;
                let permit = self.permit(principal, action, &record.product)?;
                let (product_record, product_version) = self.product_record(&record.product).await?;
                let view = CampaignView::new(id, version, record.clone(), None);
                let (counted, _) = self.counted(&view).await?;
                let Amending { campaign: next, amendment, is_done } =
                    change(&record, &counted, &product_record, now)?;
                let product = record.product.clone();
                let mut changes = Changes::default();
                changes.rely(Key::Product(product.clone()), product_version);
                let words = words_of(&amendment);
                let (before, after) = (Record::Campaign(Box::new(record)), Record::Campaign(Box::new(next)));
                changes.write(Key::Campaign(id), version, Some(before), Some(after));
                self.audit(&mut changes, &permit, word, id, words.clone());
                if is_done {
                    self.audit(&mut changes, &permit, "campaign.amended", id, words);
                }
                let state = if is_done { AmendmentState::Made } else { AmendmentState::WaitsForConsent };
                Ok((changes, (product, state)))
            })
            .await?;
        self.changed(&product);
        self.inner.catalog.product(&product).await?;
        Ok(state)
    }
}

/// What the audit log says about an amendment: what, why, and what had been seen.
fn words_of(asked: &Amendment) -> String {
    let what = match &asked.what {
        Amended::Gate => "gate".to_owned(),
        Amended::Soak => "soak".to_owned(),
        Amended::Limits { limits } => format!(
            "limits: {} a minute, {} at once, {} bytes a second, {} at once in a site",
            limits.devices_per_minute,
            limits.downloads_max,
            limits.bytes_per_second,
            limits.downloads_per_site_max
        ),
        Amended::Target { target } => format!("target: {target:?}"),
    };
    let seen = format!(
        "stage {}: {} confirmed, {} failed, {} silent, {} open",
        asked.seen.stage, asked.seen.confirmed, asked.seen.failed, asked.seen.silent, asked.seen.open
    );
    detail(&[("what", &what), ("reason", &asked.reason), ("asked_by", &asked.by), ("seen", &seen)])
}
