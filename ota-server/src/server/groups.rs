//! How many devices a stage really has: counted where they are few, so that small fleets get exact answers.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use ota_core::fleet::records::{Attempt, AttemptPhase, CampaignState, Device, Schedule};
use ota_core::fleet::{Index, IndexEntry, Key, Query, Record, StoreError, Stored};
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::Server;
use super::queries::GateReport;
use crate::rules::campaign::{Counted, LISTED_DEVICES_MAX, gate_of};
use crate::rules::gate::{sample_at, sample_that_can_pass};
use crate::rules::planner::{self, Standing, WhyNot};
use crate::rules::ramp::{self, Turn};
use crate::rules::view::{CampaignView, ProductView, TargetView};

/// How long a count is believed.
const BELIEVED: Millis = Millis(60_000);

/// How many devices a stage has, where they are few enough to be counted, and until when that is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupSize {
    devices: Option<u64>,
    until: Timestamp,
}

impl Server {
    /// How many devices of a stage (0 is the trial group) have an attempt or can get one, without those that have
    /// been off since before it began, unless that is all of them; `None` if more than a few thousand would have to be
    /// looked at.
    pub(super) async fn group_of(
        &self,
        view: &ProductView,
        campaign: &CampaignView,
        stage: u16,
    ) -> Result<Option<u64>, StoreError> {
        let (now, place) = (self.now(), (campaign.id, stage));
        {
            let sizes = self.inner.group_sizes.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = sizes.get(&place).filter(|known| now < known.until) {
                return Ok(known.devices);
            }
        }
        let devices = self.count_group(view, campaign, stage).await?;
        let mut sizes = self.inner.group_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.retain(|_, known| now < known.until);
        sizes.insert(place, GroupSize { devices, until: now.plus(BELIEVED) });
        Ok(devices)
    }

    async fn count_group(
        &self,
        view: &ProductView,
        campaign: &CampaignView,
        stage: u16,
    ) -> Result<Option<u64>, StoreError> {
        let candidates = match (stage, &campaign.trial) {
            (0, Some(trial)) => self.candidates(view, trial).await?,
            (0, None) => Some(Vec::new()),
            _ => self.candidates(view, &campaign.target).await?,
        };
        let Some(candidates) = candidates else { return Ok(None) };
        let keys: Vec<Key> = candidates.iter().map(|(id, _)| Key::Attempt(campaign.id, id.clone())).collect();
        let attempts = if keys.is_empty() { Vec::new() } else { self.inner.store.load(&keys).await? };
        let open = wide_open(campaign);
        let (mut here, mut missing) = (0, 0);
        for ((id, device), attempt) in candidates.iter().zip(attempts) {
            match attempt {
                // What was taken back has left the group, and says nothing.
                Some(Stored { record: Record::Attempt(attempt), .. }) => {
                    here += u64::from(attempt.stage == stage && attempt.phase != AttemptPhase::Cancelled);
                }
                _ if stage_of(view, campaign, id, device, self.now()) != Some(stage)
                    || !self.could_get(view, &open, id, device) => {}
                _ if is_missing(campaign, device, self.now()) && self.could_hear(self.now()) => missing += 1,
                _ => here += 1,
            }
        }
        // Where nobody came at all there is a group all the same, and nothing to judge it by.
        Ok(Some(if here == 0 { missing } else { here }))
    }

    /// Whether nothing but time and turn keeps a device from an offer.
    fn could_get(
        &self,
        view: &ProductView,
        open: &Arc<CampaignView>,
        id: &DeviceIdBuf,
        device: &Device,
    ) -> bool {
        let standing = Standing { id, device, is_sft: device.dialect == Some(2) };
        let none: HashMap<CampaignId, &Attempt> = HashMap::new();
        let reason = planner::why_not(view, open, standing, &none, Millis(u64::MAX), self.now());
        matches!(reason, WhyNot::NotItsTurn(Turn::Come) | WhyNot::BusyWith(_) | WhyNot::Offline(_))
    }

    /// The devices that a target could hold; `None` if they are too many to look at.
    async fn candidates(
        &self,
        view: &ProductView,
        target: &TargetView,
    ) -> Result<Option<Vec<(DeviceIdBuf, Device)>>, StoreError> {
        let items: Vec<(Key, Stored)> = match target {
            TargetView::Nobody => Vec::new(),
            TargetView::Devices(ids) => {
                let keys: Vec<Key> = ids.iter().cloned().map(Key::Device).collect();
                let stored = self.inner.store.load(&keys).await?;
                keys.into_iter().zip(stored).filter_map(|(key, stored)| Some((key, stored?))).collect()
            }
            _ => {
                let most = u64::try_from(LISTED_DEVICES_MAX).unwrap_or(u64::MAX);
                let tag = match target {
                    TargetView::Filter(filter) => filter.needed_tag(),
                    _ => None,
                };
                let place = match tag {
                    Some(tag) => IndexEntry::new(Index::DeviceTag).text(view.id.as_str()).text(tag),
                    None if self.devices_of(&view.id).await? > most => return Ok(None),
                    None => IndexEntry::new(Index::DeviceBucket).text(view.id.as_str()),
                };
                let page = self.inner.store.scan(&Query::under(place), None, LISTED_DEVICES_MAX + 1).await?;
                if page.next.is_some() || page.items.len() > LISTED_DEVICES_MAX {
                    return Ok(None);
                }
                page.items
            }
        };
        let devices = items.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Device(id), Record::Device(device)) if device.product == view.id => Some((id, device)),
            _ => None,
        });
        Ok(Some(devices.collect()))
    }

    /// What the present gate of a campaign waits for.
    pub(super) async fn gate_report(
        &self,
        campaign: &CampaignView,
        counted: &Counted,
    ) -> Result<Option<GateReport>, StoreError> {
        let (record, stage) = (&campaign.record, campaign.record.progress.stage);
        let is_waiting = matches!(record.state, CampaignState::Trial | CampaignState::Rolling);
        let Some(gate) =
            gate_of(&record.plan, stage).filter(|_| is_waiting && record.progress.passed.is_none())
        else {
            return Ok(None);
        };
        let Some(view) = self.inner.catalog.product(&record.product).await? else { return Ok(None) };
        let devices = self.group_of(&view, campaign, stage).await?;
        let passes_from = sample_that_can_pass(gate);
        let next_look = sample_at(gate, record.progress.looks);
        Ok(Some(GateReport {
            stage,
            shown: counted.stage.ended() + counted.stage.silent,
            next_look,
            passes_from,
            devices,
            is_stuck: gate.small_group.is_none()
                && devices.is_some_and(|devices| devices < passes_from.max(next_look)),
        }))
    }

    /// Gates that could not pass even if every device of their stage confirmed.
    pub(super) async fn gates_that_wait(
        &self,
        view: &ProductView,
        campaign: &CampaignView,
        fleet: u64,
    ) -> Result<Vec<(u16, u64)>, StoreError> {
        let plan = &campaign.record.plan;
        let mut waiting = Vec::new();
        for stage in 0..=u16::try_from(plan.stages.len()).unwrap_or(u16::MAX) {
            let Some(gate) = gate_of(plan, stage).filter(|gate| gate.small_group.is_none()) else { continue };
            let devices = match self.count_group(view, campaign, stage).await? {
                Some(devices) => devices,
                // Too many to count: the shares are close enough.
                None if stage == 0 => continue,
                None => {
                    let (from, until) = ramp::stage_ranks(plan, stage);
                    let part = (u128::from(fleet) * u128::from(until - from)) >> 32;
                    u64::try_from(part).unwrap_or(u64::MAX)
                }
            };
            let needed = sample_that_can_pass(gate);
            if devices < needed {
                waiting.push((stage, needed));
            }
        }
        Ok(waiting)
    }
}

/// Whether a device was off before its turn could come, and has been since: for longer than an offered device has to begin.
/// It does not count against the release, and nobody can wait for it.
fn is_missing(campaign: &CampaignView, device: &Device, now: Timestamp) -> bool {
    let patience = campaign.record.plan.attempts.begin_within;
    let was_here = device.heard.max(campaign.record.progress.since);
    campaign.is_offering() && now.since(was_here) > patience
}

/// The campaign as if everybody's turn had come: what still keeps a device from it are reasons that time does not heal.
pub(super) fn wide_open(campaign: &CampaignView) -> Arc<CampaignView> {
    let mut open = campaign.clone();
    open.record.state = CampaignState::Completed;
    open.record.plan.schedule = Schedule::default();
    Arc::new(open)
}

/// The stage in which a device without an attempt would have its turn; `None` if it is not meant.
fn stage_of(
    view: &ProductView,
    campaign: &CampaignView,
    id: &DeviceIdBuf,
    device: &Device,
    now: Timestamp,
) -> Option<u16> {
    if campaign.trial.as_ref().is_some_and(|trial| trial.holds(id, device, &view.names, now)) {
        return Some(0);
    }
    let rank = campaign.order.rank(campaign.id, id, device.bucket);
    campaign.target.holds(id, device, &view.names, now).then(|| ramp::stage_of(&campaign.record.plan, rank))
}
