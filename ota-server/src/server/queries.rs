//! Questions of people, answered from counters and indexes: none of these walks the fleet unless it says so.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ota_core::fleet::records::{
    Attempt, AttemptPhase, Campaign, CampaignState, Device, DeviceStatus, FileProgress, Moment, Pace, Sample,
};
use ota_core::fleet::{
    CounterKey, CounterPrefix, Cursor, Index, IndexEntry, Key, Query, Record, Stored, Table, Version,
};
use ota_core::number::{CampaignId, Sha256Digest};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::{Millis, Timestamp};

use super::Server;
use super::commands::CommandError;
use super::groups::wide_open;
use crate::engine::Changes;
use crate::rules::campaign::{self, CampaignError, Draft};
use crate::rules::course::{self, Thinning};
use crate::rules::permission::{Action, Principal, Scope, permit};
use crate::rules::planner::{self, Standing, WhyNot};
use crate::rules::view::{CampaignView, ProductView};
use crate::rules::{amendment, attempt};

/// How long a device is silent before "offline" is the reason it gives.
const OFFLINE_AFTER: Millis = Millis(24 * 3_600_000);
/// How many devices a dry run looks at.
const SAMPLE: usize = 2_000;

/// How many devices stand where in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseCount {
    /// The stage; 0 is the trial group.
    pub stage: u16,
    /// The phase.
    pub phase: AttemptPhase,
    /// The number of the report code, or 0.
    pub cause: u16,
    /// How many.
    pub devices: u64,
}

/// How a campaign fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressReport {
    /// Its record.
    pub campaign: Campaign,
    /// What approvals must be for.
    pub hash: Sha256Digest,
    /// Where its devices are now.
    pub now: Vec<PhaseCount>,
    /// How many devices it is for; an estimate where the target is an expression.
    pub fleet: u64,
    /// How it went, oldest first: devices by phase, stage and kind of failure. The last one is now.
    pub samples: Vec<Sample>,
    /// When it will be through, at its present pace.
    pub projected_end: Option<Timestamp>,
    /// What its present gate waits for; `None` where no gate is being waited for.
    pub gate: Option<GateReport>,
    /// What consent to its open amendment must be for; `None` if no change waits for consent.
    pub amendment_hash: Option<Sha256Digest>,
}

impl ProgressReport {
    /// How many devices [`Server::retry_failed`] would let try again: those that have failed and are not judged any more. At
    /// most so many, for what is quarantined or revoked meanwhile is left out.
    ///
    /// # Errors
    /// [`CampaignError`]: why there is none.
    pub fn retryable(&self) -> Result<u64, CampaignError> {
        campaign::can_retry(&self.campaign)?;
        let failed = self.now.iter().filter(|count| attempt::has_failed(count.phase));
        let (mut ready, mut judged) = (0, 0);
        for count in failed {
            match campaign::can_retry_stage(&self.campaign, count.stage) {
                Ok(()) => ready += count.devices,
                Err(_) => judged += count.devices,
            }
        }
        if ready == 0 { Err(CampaignError::NoneToRetry { judged, set_apart: 0 }) } else { Ok(ready) }
    }
}

/// What the gate of a campaign's present stage waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateReport {
    /// The stage; 0 is the trial group.
    pub stage: u16,
    /// How many devices have ended or fallen silent.
    pub shown: u64,
    /// How many must have for the next judgement.
    pub next_look: u64,
    /// How many must have, none of them failing, before it can pass at all.
    pub passes_from: u64,
    /// How many devices the stage has that can get the release, where they are few enough to be counted. If that is less
    /// than `passes_from`, the gate never passes by itself: see `is_stuck`.
    pub devices: Option<u64>,
    /// Whether a person must amend the campaign for it to go on: too few devices, and a plan that lets nothing else
    /// decide.
    pub is_stuck: bool,
}

/// How many devices of a product have which revision of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetLine {
    /// The file.
    pub file: Box<str>,
    /// Its revision; `None` for all that were never released.
    pub revision: Option<Box<str>>,
    /// How many.
    pub devices: u64,
}

/// One file of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledFile {
    /// The file.
    pub file: Box<str>,
    /// Its revision.
    pub revision: Box<str>,
    /// Whether it was ever released.
    pub is_released: bool,
}

/// One attempt of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// For which campaign.
    pub campaign: CampaignId,
    /// Where it stands.
    pub phase: AttemptPhase,
    /// The number of the report code, or 0.
    pub cause: u16,
    /// What the device said.
    pub detail: Box<str>,
    /// What happened when.
    pub moments: Vec<Moment>,
    /// Whether the device's own key vouches for it.
    pub attested: bool,
    /// The files of the release, and how each was delivered.
    pub files: Vec<FileDelivery>,
}

/// How one file of a release was delivered to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDelivery {
    /// The file.
    pub file: Box<str>,
    /// Its revision in the release.
    pub revision: Box<str>,
    /// Whether the device has shown this revision in its last check-in: that is what counts as delivered.
    pub is_shown: bool,
    /// What the device last reported about this very file.
    pub reported: Option<FileProgress>,
}

/// Everything about one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceReport {
    /// Its product.
    pub product: ProductIdBuf,
    /// Whether it takes part.
    pub status: DeviceStatus,
    /// Why it is pinned to what it runs, if it is.
    pub pinned: Option<Box<str>>,
    /// When it was last heard; 0 if never.
    pub heard: Timestamp,
    /// Its tags.
    pub tags: Vec<Box<str>>,
    /// What it runs.
    pub installed: Vec<InstalledFile>,
    /// Its attempts, oldest campaign first.
    pub history: Vec<HistoryLine>,
    /// For each campaign under way, why it has not got the release (or that it has).
    pub reasons: Vec<(CampaignId, WhyNot)>,
}

/// Devices that failed alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureGroup {
    /// The number of the report code.
    pub cause: u16,
    /// The revision that they came from, of the release's first file; `None` if it was never released.
    pub former: Option<Box<str>>,
    /// Their hardware revision, if it was ever released for.
    pub hardware: Option<Box<str>>,
    /// How many.
    pub devices: u64,
}

/// What a campaign would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// How many devices of the product there are.
    pub fleet: u64,
    /// How many of them were looked at.
    pub looked_at: u64,
    /// How many of those would get it.
    pub would_get: u64,
    /// How many of those would not, by reason.
    pub left_out: Vec<(String, u64)>,
    /// How many bytes of files one device would fetch at most.
    pub bytes_per_device: u64,
    /// How long the stages take at least: their pace and soaks, without waiting for evidence. `None` where the pace
    /// rises with success.
    pub at_least: Option<Millis>,
    /// The stages (0 is the trial) whose gate needs more devices than it will see, and how many it needs: there the
    /// campaign will wait for a person, unless the plan has small groups judged by share.
    pub gates_that_wait: Vec<(u16, u64)>,
}

/// Whether the counters are what the records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recount {
    /// How many records were counted.
    pub records: u64,
    /// Counters that differ: which, what is kept, what was counted.
    pub differences: Vec<(CounterKey, i64, i64)>,
}

impl Server {
    /// How a campaign fares, from its counters.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn progress(&self, by: &Principal, id: CampaignId) -> Result<ProgressReport, CommandError> {
        let (record, version) = self.campaign_record(id).await?;
        self.permit(by, Action::View, &record.product)?;
        let bitmap = self.inner.catalog.snapshot(&record.target).await?;
        let view = Arc::new(CampaignView::new(id, version, record.clone(), bitmap));
        let (counted, now) = self.counted(&view).await?;
        let fleet = counted.fleet;
        let projected_end = course::projected_end(&record, &counted, self.now());
        let (hash, mut samples) = (campaign::hash_of(&record), record.samples.clone());
        // What was counted of a campaign whose attempts have gone says nothing about how it went.
        let is_forgotten = record.state == CampaignState::Stopped && now.iter().all(|line| line.devices == 0);
        if !samples.is_empty() && !is_forgotten {
            let present = course::sample_of(&record, &counted, self.now());
            course::end_now(&mut samples, present, self.inner.config.sample_every, Thinning::Even);
        }
        let gate = self.gate_report(&view, &counted).await?;
        let amendment_hash = amendment::hash(&record);
        Ok(ProgressReport {
            campaign: record,
            hash,
            now,
            fleet,
            samples,
            projected_end,
            gate,
            amendment_hash,
        })
    }

    /// Which revisions a product's devices have, from its counters.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn fleet(
        &self,
        by: &Principal,
        product: &ProductIdBuf,
    ) -> Result<Vec<FleetLine>, CommandError> {
        self.permit(by, Action::View, product)?;
        let view = self.view(product).await?;
        let counters = self.inner.store.counters(&CounterPrefix::Installed(product.clone())).await?;
        let line = |(key, count)| match key {
            CounterKey::Installed { file, revision, .. } => Some(FleetLine {
                file: view.names.text(file)?.into(),
                revision: view.names.text(revision).map(Into::into),
                devices: u64::try_from(count).ok()?,
            }),
            _ => None,
        };
        Ok(counters.into_iter().filter_map(line).collect())
    }

    /// When a product's devices were last heard: hours since 1970 and how many devices, from its counters.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn heard(
        &self,
        by: &Principal,
        product: &ProductIdBuf,
    ) -> Result<Vec<(u32, u64)>, CommandError> {
        self.permit(by, Action::View, product)?;
        let counters = self.inner.store.counters(&CounterPrefix::Heard(product.clone())).await?;
        let line = |(key, count)| match key {
            CounterKey::Heard { hour, .. } => Some((hour, u64::try_from(count).ok()?)),
            _ => None,
        };
        Ok(counters.into_iter().filter_map(line).collect())
    }

    /// Everything about one device.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn device(&self, by: &Principal, id: &DeviceIdBuf) -> Result<DeviceReport, CommandError> {
        let (device, _) = self.device_record(id).await?;
        self.permit(by, Action::View, &device.product)?;
        let view = self.view(&device.product).await?;
        let attempts = self.attempts_of(id).await?;
        let by_campaign: HashMap<CampaignId, &Attempt> = attempts.iter().map(|(id, a)| (*id, a)).collect();
        let standing = Standing { id, device: &device, is_sft: device.dialect == Some(2) };
        let now = self.now();
        let reasons = view
            .campaigns
            .iter()
            .map(|campaign| {
                (campaign.id, planner::why_not(&view, campaign, standing, &by_campaign, OFFLINE_AFTER, now))
            })
            .collect();
        let name = |number: u32| view.names.text(number).unwrap_or_default();
        let released = device.installed.iter().filter(|have| have.revision != 0).map(|have| InstalledFile {
            file: name(have.file).into(),
            revision: name(have.revision).into(),
            is_released: true,
        });
        let claimed = device.claimed.iter().flatten().map(|have| InstalledFile {
            file: have.file.as_str().into(),
            revision: have.revision.as_str().into(),
            is_released: false,
        });
        let installed = released.chain(claimed).collect();
        let history = attempts.into_iter().map(|(campaign, attempt)| HistoryLine {
            files: deliveries(&view, &device, &attempt),
            campaign,
            phase: attempt.phase,
            cause: attempt.cause,
            detail: attempt.detail,
            moments: attempt.moments,
            attested: attempt.attested,
        });
        let history: Vec<HistoryLine> = history.collect();
        let Device { product, status, pinned, heard, tags, .. } = device;
        Ok(DeviceReport { product, status, pinned, heard, tags, installed, history, reasons })
    }

    /// Why a device has not got a campaign's release.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn why_not(
        &self,
        by: &Principal,
        id: &DeviceIdBuf,
        campaign: CampaignId,
    ) -> Result<WhyNot, CommandError> {
        let (device, _) = self.device_record(id).await?;
        self.permit(by, Action::View, &device.product)?;
        let view = self.view(&device.product).await?;
        let attempts = self.attempts_of(id).await?;
        let attempts: HashMap<CampaignId, &Attempt> = attempts.iter().map(|(id, a)| (*id, a)).collect();
        let standing = Standing { id, device: &device, is_sft: device.dialect == Some(2) };
        let campaign = match view.campaign(campaign) {
            Some(campaign) => Arc::clone(campaign),
            None => {
                let (record, version) = self.campaign_record(campaign).await?;
                if record.product != device.product {
                    return Ok(WhyNot::NotTargeted);
                }
                Arc::new(CampaignView::new(campaign, version, record, None))
            }
        };
        Ok(planner::why_not(&view, &campaign, standing, &attempts, OFFLINE_AFTER, self.now()))
    }

    async fn attempts_of(&self, id: &DeviceIdBuf) -> Result<Vec<(CampaignId, Attempt)>, CommandError> {
        let place = IndexEntry::new(Index::AttemptDevice).text(id.as_str());
        let page = self.inner.store.scan(&Query::under(place), None, 1000).await?;
        let attempt = |(key, stored): (Key, Stored)| match (key, stored.record) {
            (Key::Attempt(campaign, _), Record::Attempt(attempt)) => Some((campaign, attempt)),
            _ => None,
        };
        Ok(page.items.into_iter().filter_map(attempt).collect())
    }

    /// Groups a campaign's failed devices by cause, former revision and hardware. Looks at no more than `budget`
    /// attempts; the cursor says where to go on, `None` that it was all.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn failures(
        &self,
        by: &Principal,
        id: CampaignId,
        after: Option<&(AttemptPhase, Cursor)>,
        budget: usize,
    ) -> Result<(Vec<FailureGroup>, Option<(AttemptPhase, Cursor)>), CommandError> {
        let (record, _) = self.campaign_record(id).await?;
        self.permit(by, Action::View, &record.product)?;
        let view = self.view(&record.product).await?;
        let mut groups: BTreeMap<(u16, u32, u32), u64> = BTreeMap::new();
        let (mut left, mut next) = (budget.max(1), None);
        let phases =
            [AttemptPhase::Failed, AttemptPhase::RolledBack, AttemptPhase::Rejected, AttemptPhase::Silent];
        let from = after.map_or(phases[0], |(phase, _)| *phase);
        for phase in phases.into_iter().skip_while(|phase| *phase != from) {
            let place = IndexEntry::new(Index::AttemptPhase).number(id.0).number(u64::from(phase.number()));
            let cursor = after.filter(|(at, _)| *at == phase).map(|(_, cursor)| cursor);
            let page = self.inner.store.scan(&Query::under(place), cursor, left).await?;
            left = left.saturating_sub(page.items.len());
            for (_, stored) in page.items {
                if let Record::Attempt(attempt) = stored.record {
                    *groups.entry((attempt.cause, attempt.former, attempt.hardware)).or_insert(0) += 1;
                }
            }
            next = page.next.map(|cursor| (phase, cursor));
            if next.is_some() || left == 0 {
                break;
            }
        }
        let text = |number: u32| view.names.text(number).map(Into::into);
        let groups = groups.into_iter().map(|((cause, former, hardware), devices)| FailureGroup {
            cause,
            former: text(former),
            hardware: text(hardware),
            devices,
        });
        Ok((groups.collect(), next))
    }

    /// What a campaign would do, from a sample of the product's devices.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn dry_run(&self, by: &Principal, draft: &Draft) -> Result<DryRun, CommandError> {
        self.permit(by, Action::View, &draft.product)?;
        let now = self.now();
        let record = campaign::draft(draft.clone(), by.name(), now)?;
        let view = self.view(&draft.product).await?;
        let bitmap = self.inner.catalog.snapshot(&record.target).await?;
        let drafted = CampaignView::new(CampaignId(u64::MAX), Version(0), record, bitmap);
        let campaign = wide_open(&drafted);
        let fleet = self.fleet_of(&campaign).await?;
        let place = IndexEntry::new(Index::DeviceBucket).text(draft.product.as_str());
        let page = self.inner.store.scan(&Query::under(place), None, SAMPLE).await?;
        let (mut looked_at, mut would_get, mut left_out) = (0, 0, BTreeMap::new());
        for (key, stored) in page.items {
            let (Key::Device(id), Record::Device(device)) = (key, stored.record) else { continue };
            looked_at += 1;
            let standing = Standing { id: &id, device: &device, is_sft: device.dialect == Some(2) };
            match planner::consider(&view, &campaign, standing, None, now) {
                Ok(_) => would_get += 1,
                Err(reason) => *left_out.entry(reason.to_string()).or_insert(0) += 1,
            }
        }
        let bytes =
            view.release(&draft.release).map(|release| release.record.files.iter().map(|f| f.size.0).sum());
        Ok(DryRun {
            fleet,
            looked_at,
            would_get,
            left_out: left_out.into_iter().collect(),
            bytes_per_device: bytes.unwrap_or(0),
            at_least: at_least(draft),
            gates_that_wait: self.gates_that_wait(&view, &drafted, fleet).await?,
        })
    }

    /// Counts all records and compares with the counters. Walks the whole store: for checks, not for dashboards.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn recount(&self, by: &Principal) -> Result<Recount, CommandError> {
        permit(by, Action::KeepInstallation, Scope::Installation)?;
        let (mut counted, mut records): (BTreeMap<CounterKey, i64>, u64) = (BTreeMap::new(), 0);
        let (mut products, mut campaigns) = (Vec::new(), Vec::new());
        for table in [Table::Product, Table::Campaign, Table::Device, Table::Attempt] {
            let mut after = None;
            loop {
                let page = self.inner.store.scan(&Query::table(table), after.as_ref(), 1024).await?;
                for (key, stored) in page.items {
                    records += 1;
                    match &key {
                        Key::Product(product) => products.push(product.clone()),
                        Key::Campaign(campaign) => campaigns.push(*campaign),
                        _ => {}
                    }
                    for counter in Changes::counted(&key, &stored.record) {
                        *counted.entry(counter).or_insert(0) += 1;
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let mut prefixes = vec![CounterPrefix::Devices];
        prefixes.extend(products.iter().cloned().map(CounterPrefix::Installed));
        prefixes.extend(products.into_iter().map(CounterPrefix::Heard));
        prefixes.extend(campaigns.into_iter().map(CounterPrefix::Attempts));
        let mut kept: BTreeMap<CounterKey, i64> = BTreeMap::new();
        for prefix in prefixes {
            kept.extend(self.inner.store.counters(&prefix).await?);
        }
        let mut keys: Vec<CounterKey> = kept.keys().chain(counted.keys()).cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        let of = |map: &BTreeMap<CounterKey, i64>, key: &CounterKey| map.get(key).copied().unwrap_or(0);
        let differences = keys
            .into_iter()
            .map(|key| (of(&kept, &key), of(&counted, &key), key))
            .filter(|(kept, counted, _)| kept != counted)
            .map(|(kept, counted, key)| (key, kept, counted))
            .collect();
        Ok(Recount { records, differences })
    }

    pub(super) async fn view(&self, product: &ProductIdBuf) -> Result<Arc<ProductView>, CommandError> {
        let view = self.inner.catalog.product(product).await?;
        view.ok_or_else(|| CommandError::NoProduct(product.clone()))
    }
}

/// The files of an attempt's release, as far as the release is still known.
fn deliveries(view: &ProductView, device: &Device, attempt: &Attempt) -> Vec<FileDelivery> {
    let Some(release) = view.release(&attempt.release) else { return Vec::new() };
    let reported = |index: u16| {
        let files = attempt.files.as_deref().unwrap_or_default();
        files.iter().find(|state| state.file == index).copied()
    };
    let files = release.record.files.iter().zip(&release.files).zip(0_u16..);
    files
        .map(|((file, numbers), index)| FileDelivery {
            file: file.name.as_str().into(),
            revision: file.revision.as_str().into(),
            is_shown: numbers.revision != 0 && device.installed.contains(numbers),
            reported: reported(index),
        })
        .collect()
}

fn at_least(draft: &Draft) -> Option<Millis> {
    let soak = draft.plan.trial.as_ref().map_or(0, |trial| trial.gate.soak.0);
    draft.plan.stages.iter().try_fold(Millis(soak), |sum, stage| {
        let pace = match stage.pace {
            Pace::AtOnce => 0,
            Pace::Linear { over } => over.0,
            Pace::Exponential { .. } => return None,
        };
        Some(Millis(sum.0.saturating_add(pace).saturating_add(stage.gate.soak.0)))
    })
}
