//! What happens by itself: campaigns go on, deadlines pass, devices are told of their turn, keys are renewed.
//!
//! Everything here may happen twice or be interrupted anywhere: it is decided from what is stored, and committed with
//! the versions it was decided from.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use ota_core::crypto::soft::HmacSha256;
use ota_core::fleet::records::{
    AttemptPhase, Campaign, CampaignState, Device, GrantKey, OnFailure, PhaseDevices, Plan, Schedule,
};
use ota_core::fleet::{
    AuditDraft, CounterKey, CounterPrefix, Dialect, Index, IndexEntry, Key, Outbound, Outcome, Query, Record,
    StoreError, StoreErrorKind, Table, Version,
};
use ota_core::number::{CampaignId, ReleaseId};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};

use super::Server;
use super::conversation::Kind;
use super::queries::PhaseCount;
use super::secrets::grant_purpose;
use crate::conversation::Said;
use crate::delivery::grant::{GRANT_LIFE, Keyring, RingKey};
use crate::engine::catalog::{STOPPED, campaigns_in, scan_all};
use crate::engine::{Changes, Event};
use crate::rules::attempt::{is_open, takes_a_place};
use crate::rules::campaign::{self, Advance, Counted};
use crate::rules::course;
use crate::rules::gate::Evidence;
use crate::rules::ramp;
use crate::rules::rank::RANKS_PER_BUCKET;
use crate::rules::view::{CampaignView, ProductView, TargetView};

/// Whom a server tells that their turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Whoever was heard a moment ago, by any server.
    Everybody,
    /// Devices whose check-ins wait here for an answer; another server tells the others.
    WaitingHere,
}

/// How long a key of grants is kept behind its end, and how many one renewal takes away.
const GRANT_KEY_KEPT: Millis = Millis(7 * 24 * 3_600_000);
const GRANT_KEYS_REMOVED_MAX: usize = 64;
/// How many attempts one tick sweeps at most in one go.
const SWEEP: usize = 512;

impl Server {
    /// Does what is due now. Call it every second; [`Server::run`] does.
    ///
    /// Between two calls that are hours apart, and nothing heard meanwhile, nobody could be heard: silence is not judged
    /// for as long afterwards.
    ///
    /// # Errors
    /// [`StoreError`]; what was not done is done by the next tick.
    pub async fn tick(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.inner.ticking.lock().await;
        self.refresh().await?;
        self.renew_keyring().await?;
        self.notice_outage().await?;
        let is_the_one = self.is_the_one().await?;
        if is_the_one {
            for view in self.inner.catalog.known() {
                for campaign in &view.campaigns {
                    self.advance(&view, campaign).await?;
                }
                self.note_courses(&view).await?;
            }
            self.checkpoint().await?;
        }
        self.sft_due().await;
        let (mut out, due) = (Vec::new(), self.moment());
        self.take_back(&mut out).await?;
        if is_the_one && self.could_hear(self.now()) {
            self.sweep(&mut out).await?;
        }
        let whom = if is_the_one { Whom::Everybody } else { Whom::WaitingHere };
        self.notify(whom, &mut out).await?;
        // Whoever is not told now learns it at the next check-in.
        let _ = self.send_due(out, due).await;
        Ok(())
    }

    /// Puts the views of all products into memory: devices could come from any of them.
    pub(super) async fn load_products(&self) -> Result<(), StoreError> {
        for (key, _) in scan_all(&self.inner.store, &Query::table(Table::Product)).await? {
            let Key::Product(product) = key else { continue };
            self.inner.catalog.product(&product).await?;
            self.end_stopped(&product).await?;
        }
        Ok(())
    }

    /// Whatever other servers were taking back, or this one before it was stopped, is taken back by this one, too.
    pub(super) async fn end_stopped(&self, product: &ProductIdBuf) -> Result<(), StoreError> {
        for (key, _) in scan_all(&self.inner.store, &campaigns_in(product, STOPPED)).await? {
            if let Key::Campaign(campaign) = key {
                self.end(product, campaign);
            }
        }
        Ok(())
    }

    /// Reads the keys of grants, and makes one if there is none.
    pub(super) async fn load_keyring(&self) -> Result<(), StoreError> {
        let keys = scan_all(&self.inner.store, &Query::table(Table::GrantKey)).await?;
        let mut ring = Vec::new();
        for (key, stored) in keys {
            let (Key::GrantKey(id), Record::GrantKey(key)) = (key, stored.record) else { continue };
            let secret = self.inner.secrets.unwrap(&grant_purpose(id), &key.secret);
            // Going on without it would make a new key at every start, and refuse what other servers grant.
            let secret = secret.ok_or_else(|| StoreError::new(StoreErrorKind::Invalid, WrongWrappingKey))?;
            ring.push(RingKey { id, mac: HmacSha256::new(&secret), from: key.from, until: key.until });
        }
        let ring = Arc::new(Keyring::new(ring));
        *self.inner.keyring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        self.renew_keyring().await
    }

    /// Makes a new key of grants where the present ones will soon be of no use, or are of none: too old, or made by a clock
    /// that has been set back since.
    pub(super) async fn renew_keyring(&self) -> Result<(), StoreError> {
        // One that does not outlive the grants that are made with it is none.
        let life = self.inner.config.grant_key_life.max(Millis(GRANT_LIFE.0.saturating_mul(2)));
        let (now, ring) = (self.now(), self.keyring());
        if ring.is_usable(now) && !ring.needs_key(Millis(life.0 / 4), now) {
            return Ok(());
        }
        let mut secret = [0; 32];
        self.inner.entropy.fill(&mut secret);
        let id = ring.next_id();
        let secret = self
            .inner
            .secrets
            .wrap(&grant_purpose(id), &secret)
            .ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable, WrongWrappingKey))?;
        let key = Key::GrantKey(id);
        // Other servers have to know it before they are shown what was granted with it.
        let known_by_all = Millis(self.inner.config.refresh_every.0.saturating_mul(2));
        let from = if ring.is_usable(now) { now.plus(known_by_all) } else { now };
        let record = GrantKey { secret, from, until: now.plus(life) };
        let mut changes = Changes::default();
        changes.write(key, Version(0), None, Some(Record::GrantKey(record)));
        let kept = scan_all(&self.inner.store, &Query::table(Table::GrantKey)).await?;
        // The youngest stays whatever its age: the next number follows from it.
        let older = kept.iter().rev().skip(1).filter(|(_, stored)| is_long_over(&stored.record, now));
        for (key, stored) in older.take(GRANT_KEYS_REMOVED_MAX) {
            changes.write(key.clone(), stored.version, Some(stored.record.clone()), None);
        }
        self.inner.store.commit(vec![changes.into_unit()]).await?;
        // Whether this key or another server's was first: the ring is what the store says.
        Box::pin(self.load_keyring()).await
    }

    /// What has been counted of a campaign: for judging it, and line by line.
    pub(super) async fn counted(
        &self,
        campaign: &CampaignView,
    ) -> Result<(Counted, Vec<PhaseCount>), StoreError> {
        let counters = self.inner.store.counters(&CounterPrefix::Attempts(campaign.id)).await?;
        let mut lines = Vec::new();
        let (mut present, mut all) = (Evidence::default(), Evidence::default());
        let mut phases: BTreeMap<AttemptPhase, u64> = BTreeMap::new();
        for (key, count) in counters {
            let CounterKey::Attempts { stage, phase, cause, .. } = key else { continue };
            let (Some(phase), Ok(count)) = (AttemptPhase::from_number(phase), u64::try_from(count)) else {
                continue;
            };
            if stage == campaign.record.progress.stage {
                present.add(phase, cause, count);
            }
            all.add(phase, cause, count);
            *phases.entry(phase).or_insert(0) += count;
            lines.push(PhaseCount { stage, phase, cause, devices: count });
        }
        let phases = phases.into_iter().map(|(phase, devices)| PhaseDevices { phase, devices }).collect();
        let fleet = self.fleet_of(campaign).await?;
        Ok((Counted { stage: present, all, phases, fleet, group: None }, lines))
    }

    /// How many devices a target has, as far as counters tell.
    pub(super) async fn fleet_of(&self, campaign: &CampaignView) -> Result<u64, StoreError> {
        Ok(match &campaign.target {
            TargetView::OrdinalBelow(limit) => *limit,
            TargetView::Ordinals(ordinals) => ordinals.len(),
            TargetView::Devices(ids) => u64::try_from(ids.len()).unwrap_or(u64::MAX),
            TargetView::Nobody => 0,
            TargetView::Everyone | TargetView::Filter(_) => self.devices_of(&campaign.record.product).await?,
        })
    }

    /// The campaign's own plan goes on.
    async fn advance(&self, view: &ProductView, campaign: &Arc<CampaignView>) -> Result<(), StoreError> {
        let now = self.now();
        let (mut counted, _) = self.counted(campaign).await?;
        if campaign::depends_on_group(&campaign.record, &counted) {
            counted.group = self.group_of(view, campaign, campaign.record.progress.stage).await?;
        }
        let step = campaign::advance(&campaign.record, &counted, now);
        let is_sampled = campaign
            .record
            .samples
            .last()
            .is_some_and(|last| now.since(last.at) < self.inner.config.sample_every)
            || matches!(campaign.record.state, CampaignState::Scheduled | CampaignState::Paused);
        let mut step = match step {
            None if is_sampled => return Ok(()),
            None => Advance { campaign: campaign.record.clone(), action: None, revert_to: None },
            Some(step) => step,
        };
        if !is_sampled {
            let every = self.inner.config.sample_every;
            let is_news = course::note_campaign(&mut step.campaign, &counted, every, now);
            if !is_news && step.campaign == campaign.record {
                return Ok(());
            }
        }
        let mut changes = Changes::default();
        let before = Some(Record::Campaign(Box::new(campaign.record.clone())));
        if let Some(action) = step.action {
            changes.audit(AuditDraft {
                at: now,
                principal: "the plan".into(),
                action: action.into(),
                subject: campaign.id.to_string(),
                product: view.id.as_str().into(),
                detail: super::commands::detail(&[("reason", &step.campaign.reason)]),
            });
        }
        let ends = step.campaign.state == CampaignState::Stopped;
        if let Some(to) = step.revert_to {
            self.revert(view, campaign, to, &mut step.campaign, &mut changes, now).await?;
        }
        let after = Some(Record::Campaign(Box::new(step.campaign)));
        changes.write(Key::Campaign(campaign.id), campaign.version, before, after);
        let outcome = self.inner.store.commit(vec![changes.into_unit()]).await?;
        self.changed(&view.id);
        self.inner.catalog.product(&view.id).await?;
        if ends && outcome == [Outcome::Committed] {
            self.end(&view.id, campaign.id);
        }
        Ok(())
    }

    /// A campaign back to the former release, with the pace of the first stage, made in the same commit.
    async fn revert(
        &self,
        view: &ProductView,
        failed: &CampaignView,
        to: ReleaseId,
        stopped: &mut Campaign,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // A way back that no device may go is none: the campaign stops, and its reason says so.
        let is_within_epoch = match (view.release(&to), view.release(&failed.record.release)) {
            (Some(back), Some(from)) => back.is_offerable(now) && back.record.epoch >= from.record.epoch,
            _ => false,
        };
        if !is_within_epoch {
            stopped.reason =
                format!("{}; no way back: the former release is below the epoch", stopped.reason).into();
            return Ok(());
        }
        let (id, counter) = self.next_campaign_id().await?;
        let plan = Plan {
            trial: None,
            schedule: Schedule::default(),
            on_failure: OnFailure::Pause,
            priority: failed.record.plan.priority.saturating_add(1),
            ..failed.record.plan.clone()
        };
        let back = Campaign {
            product: view.id.clone(),
            title: format!("back from {}", failed.record.title).into(),
            release: to,
            target: failed.record.target.clone(),
            plan,
            author: "the plan".into(),
            created: now,
            state: CampaignState::Scheduled,
            reason: stopped.reason.clone(),
            approvals: Vec::new(),
            progress: ota_core::fleet::records::Progress::default(),
            samples: Vec::new(),
        };
        counter.write(changes);
        changes.write(Key::Campaign(id), Version(0), None, Some(Record::Campaign(Box::new(back))));
        stopped.progress.revert = Some(id);
        Ok(())
    }

    /// The running attempts of a campaign are to be taken back.
    pub(super) fn end(&self, product: &ProductIdBuf, campaign: CampaignId) {
        self.inner.begun.clear();
        let mut ending = self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if !ending.contains(&(product.clone(), campaign)) {
            ending.push((product.clone(), campaign));
        }
    }

    /// Takes back what still runs of campaigns that have ended.
    async fn take_back(&self, out: &mut Vec<Outbound>) -> Result<(), StoreError> {
        let ending = self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (product, campaign) in ending {
            let mut is_done = true;
            for phase in AttemptPhase::ALL.into_iter().filter(|phase| is_open(*phase)) {
                if phase == AttemptPhase::Installed {
                    continue;
                }
                let place =
                    IndexEntry::new(Index::AttemptPhase).number(campaign.0).number(u64::from(phase.number()));
                let page = self.inner.store.scan(&Query::under(place), None, SWEEP).await?;
                is_done &= page.items.is_empty();
                self.decide(events(page.items, self.now(), Kind::Cancel), out).await;
            }
            if is_done {
                let mut ending = self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner);
                ending.retain(|known| *known != (product.clone(), campaign));
                self.budgets().forget(campaign);
            }
        }
        Ok(())
    }

    /// Looks at attempts whose deadline has passed.
    async fn sweep(&self, out: &mut Vec<Outbound>) -> Result<(), StoreError> {
        let from = IndexEntry::new(Index::AttemptDue).number(0);
        let below = IndexEntry::new(Index::AttemptDue).number(self.now().0.saturating_add(1));
        let query = Query::between(from, below.place);
        let page = self.inner.store.scan(&query, None, SWEEP).await?;
        self.decide(events(page.items, self.now(), Kind::Overdue), out).await;
        Ok(())
    }

    /// The devices that take a place in a campaign, and their sites.
    pub(super) async fn places_of(
        &self,
        campaign: CampaignId,
    ) -> Result<Vec<(DeviceIdBuf, Box<str>)>, StoreError> {
        let mut places = Vec::new();
        for phase in AttemptPhase::ALL.into_iter().filter(|phase| takes_a_place(*phase)) {
            let place =
                IndexEntry::new(Index::AttemptPhase).number(campaign.0).number(u64::from(phase.number()));
            for (key, stored) in scan_all(&self.inner.store, &Query::under(place)).await? {
                if let (Key::Attempt(_, device), Record::Attempt(attempt)) = (key, stored.record) {
                    places.push((device, attempt.site));
                }
            }
        }
        Ok(places)
    }

    /// Tells devices that were heard a moment ago that their turn has come.
    async fn notify(&self, whom: Whom, out: &mut Vec<Outbound>) -> Result<(), StoreError> {
        let now = self.now();
        let mut left = self.inner.config.notify_per_tick_max;
        for view in self.inner.catalog.known() {
            for campaign in view.campaigns.iter().filter(|campaign| campaign.is_offering()) {
                if left == 0 {
                    return Ok(());
                }
                self.notify_campaign(&view, campaign, whom, &mut left, now, out).await?;
            }
        }
        Ok(())
    }

    async fn notify_campaign(
        &self,
        view: &ProductView,
        campaign: &CampaignView,
        whom: Whom,
        left: &mut usize,
        now: Timestamp,
        out: &mut Vec<Outbound>,
    ) -> Result<(), StoreError> {
        let record = &campaign.record;
        let is_new = {
            let notified = self.inner.notified.lock().unwrap_or_else(PoisonError::into_inner);
            !notified.contains_key(&campaign.id)
        };
        if is_new {
            self.notify_trial(view, campaign, whom, left, now, out).await?;
        }
        let opened = ramp::opened(&record.plan, record.state, &record.progress, now);
        let first = {
            let mut notified = self.inner.notified.lock().unwrap_or_else(PoisonError::into_inner);
            *notified.entry(campaign.id).or_insert(0)
        };
        let mut waiting = Vec::new();
        let mut bucket = first / RANKS_PER_BUCKET;
        while *left > 0 && bucket * RANKS_PER_BUCKET < opened {
            let number = campaign.order.bucket_at(u16::try_from(bucket).unwrap_or(u16::MAX));
            let place = IndexEntry::new(Index::DeviceBucket).text(view.id.as_str()).number(u64::from(number));
            let page = self.inner.store.scan(&Query::under(place), None, *left).await?;
            for (key, stored) in page.items {
                let (Key::Device(id), Record::Device(device)) = (key, stored.record) else { continue };
                if self.is_to_be_told(view, campaign, &id, &device, opened, now) {
                    self.tell(whom, &id, &device, &mut waiting, out);
                    *left = left.saturating_sub(1);
                }
            }
            // A bucket that is open in part comes again when more of it is.
            if (bucket + 1) * RANKS_PER_BUCKET > opened {
                break;
            }
            bucket += 1;
        }
        {
            let mut notified = self.inner.notified.lock().unwrap_or_else(PoisonError::into_inner);
            notified.insert(campaign.id, bucket * RANKS_PER_BUCKET);
        }
        self.decide(waiting, out).await;
        Ok(())
    }

    /// Tells the trial group, as far as it is a list or can be found by a tag.
    async fn notify_trial(
        &self,
        view: &ProductView,
        campaign: &CampaignView,
        whom: Whom,
        left: &mut usize,
        now: Timestamp,
        out: &mut Vec<Outbound>,
    ) -> Result<(), StoreError> {
        let devices = match &campaign.trial {
            Some(TargetView::Devices(ids)) => {
                let keys: Vec<Key> = ids.iter().map(|id| Key::Device(id.clone())).collect();
                let stored = self.inner.store.load(&keys).await?;
                keys.into_iter().zip(stored).filter_map(|(key, stored)| Some((key, stored?))).collect()
            }
            Some(TargetView::Filter(filter)) => match filter.needed_tag() {
                Some(tag) => {
                    let place = IndexEntry::new(Index::DeviceTag).text(view.id.as_str()).text(tag);
                    self.inner.store.scan(&Query::under(place), None, (*left).max(1)).await?.items
                }
                None => Vec::new(),
            },
            _ => Vec::new(),
        };
        let mut waiting = Vec::new();
        for (key, stored) in devices {
            let (Key::Device(id), Record::Device(device)) = (key, stored.record) else { continue };
            let is_in =
                campaign.trial.as_ref().is_some_and(|trial| trial.holds(&id, &device, &view.names, now));
            let was_heard =
                device.heard.0 != 0 && now.since(device.heard) <= self.inner.config.notify_heard_within;
            if is_in && was_heard && *left > 0 {
                self.tell(whom, &id, &device, &mut waiting, out);
                *left -= 1;
            }
        }
        self.decide(waiting, out).await;
        Ok(())
    }

    /// Tells one device: with a hint to check in, or by answering the check-in that it waits with.
    fn tell(
        &self,
        whom: Whom,
        id: &DeviceIdBuf,
        device: &Device,
        waiting: &mut Vec<Event<Kind>>,
        out: &mut Vec<Outbound>,
    ) {
        if device.dialect == Some(crate::engine::decide::dialect_number(Dialect::Sft)) {
            waiting.extend(self.sft_turn(id));
        } else if whom == Whom::Everybody {
            self.say(out, Dialect::Native, id, &Said::Notify);
        }
    }

    fn is_to_be_told(
        &self,
        view: &ProductView,
        campaign: &CampaignView,
        id: &DeviceIdBuf,
        device: &Device,
        opened: u64,
        now: Timestamp,
    ) -> bool {
        device.heard.0 != 0
            && now.since(device.heard) <= self.inner.config.notify_heard_within
            && device.attempt != Some(campaign.id)
            && u64::from(campaign.order.rank(campaign.id, id, device.bucket)) < opened
            && campaign.target.holds(id, device, &view.names, now)
            && view.release(&campaign.record.release).is_some_and(|r| !r.is_installed(&device.installed))
    }
}

/// The secrets in the store cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret in the store cannot be unwrapped or wrapped: configure the key that wrapped it, as former if need be"
)]
pub(super) struct WrongWrappingKey;

/// Whether a key of grants has been of no use for so long that nobody holds a grant of it any more, by any clock.
fn is_long_over(key: &Record, now: Timestamp) -> bool {
    matches!(key, Record::GrantKey(key) if key.until.plus(GRANT_KEY_KEPT) < now)
}

/// Events for the devices of these attempts, due now.
fn events(
    items: Vec<(Key, ota_core::fleet::Stored)>,
    now: Timestamp,
    kind: impl Fn(CampaignId) -> Kind,
) -> Vec<Event<Kind>> {
    items
        .into_iter()
        .filter_map(|(key, _)| match key {
            Key::Attempt(campaign, device) => Some(Event { device, heard: now, kind: kind(campaign) }),
            _ => None,
        })
        .collect()
}
