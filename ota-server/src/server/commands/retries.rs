//! Another try for devices whose attempts have ended badly.
//!
//! What a gate still judges is evidence, and evidence is not taken back: a device is tried again only once the gate of its
//! stage has passed. A gate that has failed is answered by people who accept what was seen, or by stopping the campaign.

use ota_core::fleet::records::{Attempt, AttemptPhase, Campaign, DeviceStatus};
use ota_core::fleet::{Cursor, Index, IndexEntry, Key, Query, Record, Stored, Version};
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Timestamp;

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::rules::attempt;
use crate::rules::campaign::{self, CampaignError};
use crate::rules::permission::{Action, Principal};
use crate::server::Server;

/// Attempts in one commit.
const PAGE: usize = 500;
/// Pages in one command.
const PAGES_MAX: usize = 40;

/// What became of the devices that were to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retried {
    /// Devices that get another offer when they check in next.
    pub retried: u64,
    /// Devices that do not: their stage is still being judged, or they are quarantined or revoked.
    pub left_out: u64,
    /// Those among them whose stage is still being judged.
    pub judged: u64,
    /// Whether the command looked at as many as it may, and there are more.
    pub is_partial: bool,
}

impl Server {
    /// Lets one device try again for a campaign for which it has failed.
    ///
    /// # Errors
    /// [`CommandError::Campaign`] if it has not failed, or if the gate of its stage still has to judge it.
    pub async fn retry_device(
        &self,
        principal: &Principal,
        id: CampaignId,
        device: &DeviceIdBuf,
        reason: &str,
    ) -> Result<(), CommandError> {
        let (record, _) = self.campaign_record(id).await?;
        self.permit(principal, Action::RunCampaign, &record.product)?;
        self.command(|| async {
            let (record, campaign_version) = self.campaign_record(id).await?;
            let permit = self.permit(principal, Action::RunCampaign, &record.product)?;
            let key = Key::Attempt(id, device.clone());
            let (version, Some(Record::Attempt(before))) = self.before(&key).await? else {
                return Err(CampaignError::NothingToRetry.into());
            };
            let after = again(&record, &before, self.now())?;
            let mut changes = Changes::default();
            changes.rely(Key::Campaign(id), campaign_version);
            changes.write(key, version, Some(Record::Attempt(before)), Some(Record::Attempt(after)));
            let words = detail(&[("reason", reason), ("device", device.as_str())]);
            self.audit(&mut changes, &permit, "campaign.retry", id, words);
            Ok((changes, ()))
        })
        .await
    }

    /// Lets all devices try again that have failed for a campaign, at most twenty thousand at once.
    ///
    /// Each commit takes some hundred of them; what an interruption leaves is told apart by asking again.
    ///
    /// # Errors
    /// [`CommandError::Campaign`] if the campaign is in no state for it, or if none of the devices can try again.
    pub async fn retry_failed(
        &self,
        principal: &Principal,
        id: CampaignId,
        reason: &str,
    ) -> Result<Retried, CommandError> {
        let (record, _) = self.campaign_record(id).await?;
        self.permit(principal, Action::RunCampaign, &record.product)?;
        campaign::can_retry(&record)?;
        let (mut done, mut pages) = (Retried::default(), 0);
        for phase in [AttemptPhase::Failed, AttemptPhase::RolledBack, AttemptPhase::Rejected] {
            let mut after = None;
            loop {
                if pages == PAGES_MAX {
                    return Ok(Retried { is_partial: true, ..done });
                }
                pages += 1;
                let place = PhasePage { campaign: id, phase, after: after.as_ref() };
                let (page, next) = self.retry_page(principal, place, reason).await?;
                done.retried += page.retried;
                done.left_out += page.left_out;
                done.judged += page.judged;
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        if done.retried == 0 {
            let set_apart = done.left_out.saturating_sub(done.judged);
            return Err(CampaignError::NoneToRetry { judged: done.judged, set_apart }.into());
        }
        Ok(done)
    }

    async fn retry_page(
        &self,
        principal: &Principal,
        place: PhasePage<'_>,
        reason: &str,
    ) -> Result<(Retried, Option<Cursor>), CommandError> {
        let PhasePage { campaign: id, phase, after } = place;
        self.command(|| async {
            let (record, campaign_version) = self.campaign_record(id).await?;
            let permit = self.permit(principal, Action::RunCampaign, &record.product)?;
            let entry = IndexEntry::new(Index::AttemptPhase).number(id.0).number(u64::from(phase.number()));
            let page = self.inner.store.scan(&Query::under(entry), after, PAGE).await?;
            let keys: Vec<Key> = page.items.iter().filter_map(|(key, _)| device_of(key)).collect();
            let devices = if keys.is_empty() { Vec::new() } else { self.inner.store.load(&keys).await? };
            let mut changes = Changes::default();
            changes.rely(Key::Campaign(id), campaign_version);
            let mut done = Retried::default();
            for ((key, stored), device) in page.items.into_iter().zip(devices) {
                match next_of(&record, stored, device, self.now()) {
                    Ok((version, before, after)) => {
                        changes.write(key, version, Some(before), Some(after));
                        done.retried += 1;
                    }
                    Err(why) => {
                        done.left_out += 1;
                        done.judged += u64::from(why == LeftOut::Judged);
                    }
                }
            }
            if done.retried > 0 {
                let count = done.retried.to_string();
                let words = detail(&[("reason", reason), ("devices", &count)]);
                self.audit(&mut changes, &permit, "campaign.retry", id, words);
            }
            Ok((changes, (done, page.next)))
        })
        .await
    }
}

/// Some of a campaign's attempts that stand in a phase.
#[derive(Clone, Copy)]
struct PhasePage<'c> {
    campaign: CampaignId,
    phase: AttemptPhase,
    after: Option<&'c Cursor>,
}

fn device_of(key: &Key) -> Option<Key> {
    match key {
        Key::Attempt(_, device) => Some(Key::Device(device.clone())),
        _ => None,
    }
}

/// Why a device that has failed does not try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftOut {
    /// The gate of its stage has not passed yet.
    Judged,
    /// It is quarantined or revoked, or was erased meanwhile.
    SetApart,
}

/// The attempt before and after, if it may begin again and its device takes part.
fn next_of(
    campaign: &Campaign,
    stored: Stored,
    device: Option<Stored>,
    now: Timestamp,
) -> Result<(Version, Record, Record), LeftOut> {
    let Record::Attempt(before) = stored.record else { return Err(LeftOut::SetApart) };
    let is_active = matches!(
        device,
        Some(Stored { record: Record::Device(device), .. }) if device.status == DeviceStatus::Active
    );
    if !is_active {
        return Err(LeftOut::SetApart);
    }
    let after = again(campaign, &before, now).map_err(|_| LeftOut::Judged)?;
    Ok((stored.version, Record::Attempt(before), Record::Attempt(after)))
}

/// The attempt as it begins again.
fn again(campaign: &Campaign, before: &Attempt, now: Timestamp) -> Result<Attempt, CampaignError> {
    campaign::can_retry_stage(campaign, before.stage)?;
    attempt::begun_again(before, &campaign.plan.attempts, now).ok_or(CampaignError::NothingToRetry)
}
