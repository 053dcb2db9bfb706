//! The engine: an event and what is known give changes and answers; changes are committed once, then answers leave.
//!
//! Deciding is pure and lives in [`decide`]; this file loads, commits, and plans again what lost a race. Events of
//! many devices share one commit. Nothing leaves before it is durable.

pub mod catalog;
mod changes;
pub mod decide;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::fleet::records::Attempt;
use ota_core::fleet::{FleetStore, Key, Outcome, Record, StoreError, Stored, Unit, Version};
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Timestamp;

pub use changes::Changes;

use self::catalog::Catalog;
use self::decide::{Decision, Known};
use crate::rules::view::ProductView;

/// How often an event is planned again when somebody else was faster.
const PLANS_MAX: u32 = 4;

/// An event of one device, to be decided.
#[derive(Debug, Clone)]
pub struct Event<K> {
    /// Whose.
    pub device: DeviceIdBuf,
    /// When it was heard, or became due. It may have waited since, while another server heard something later.
    pub heard: Timestamp,
    /// What.
    pub kind: K,
}

/// The limits of campaigns, which several servers may share.
#[async_trait]
pub(crate) trait SharedLimits: Sync {
    /// Makes sure that the limits of these products' campaigns are known.
    async fn know(&self, products: &[Arc<ProductView>]) -> Result<(), StoreError>;

    /// Adds the turnstiles of these campaigns to a unit that admits devices to them.
    fn close(&self, campaigns: &BTreeSet<CampaignId>, unit: &mut Changes);

    /// The unit has been committed.
    fn passed(&self, campaigns: &BTreeSet<CampaignId>);
}

/// Loads what is known about devices, decides all events, commits once, and plans again what conflicted.
///
/// Every device comes at most once. `decide` is asked with what is known, once the limits are; a device that is not known
/// gives `None`. The decisions come back in the order of the events; `Err` holds those that lost every race.
pub(crate) async fn run<K>(
    store: &Arc<dyn FleetStore>,
    catalog: &Catalog,
    events: &[Event<K>],
    limits: &dyn SharedLimits,
    mut decide: impl FnMut(&Event<K>, Option<&Known>) -> Decision,
    mut undo: impl FnMut(&Decision),
) -> Result<Vec<Option<Decision>>, StoreError> {
    let mut done: Vec<Option<Decision>> = events.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..events.len()).collect();
    for plan in 0..PLANS_MAX {
        if open.is_empty() {
            break;
        }
        if plan > 0 {
            catalog.refresh().await;
        }
        let known = load(store, catalog, open.iter().filter_map(|index| events.get(*index))).await?;
        limits.know(&products(&known)).await?;
        let mut round = Round::default();
        for (index, known) in open.iter().copied().zip(&known) {
            let Some(event) = events.get(index) else { continue };
            let mut decision = decide(event, known.as_ref());
            match decision.unit.take() {
                None => done[index] = Some(decision),
                Some(unit) if decision.passes.is_empty() => {
                    round.units.push(unit);
                    round.single.push((index, decision));
                }
                Some(unit) => round.join(index, decision, unit),
            }
        }
        open.clear();
        if !round.joined.is_empty() {
            limits.close(&round.campaigns, &mut round.unit);
            round.units.push(round.unit.into_unit());
        }
        // After an error nobody knows what has happened: nothing is undone, the caller asks the store again.
        let mut outcomes = commit(store, round.units).await?;
        if !round.joined.is_empty() {
            let outcome = outcomes.pop().unwrap_or(Outcome::Committed);
            if outcome == Outcome::Committed {
                limits.passed(&round.campaigns);
            }
            outcomes.extend(round.joined.iter().map(|_| outcome.clone()));
        }
        for ((index, decision), outcome) in round.single.into_iter().chain(round.joined).zip(outcomes) {
            match outcome {
                Outcome::Committed => done[index] = Some(decision),
                Outcome::Conflict(_) => {
                    undo(&decision);
                    open.push(index);
                }
            }
        }
        for (index, decision) in round.left_out {
            undo(&decision);
            open.push(index);
        }
    }
    Ok(done)
}

/// Most decisions that are joined: their parts fit into one unit.
const JOINED_MAX: usize = 1_000;

/// What is committed in one round.
#[derive(Default)]
struct Round {
    units: Vec<Unit>,
    /// Decisions with a unit each.
    single: Vec<(usize, Decision)>,
    /// Decisions that take places: all in one unit, because each relies on the ones before it.
    joined: Vec<(usize, Decision)>,
    unit: Changes,
    campaigns: BTreeSet<CampaignId>,
    /// Decisions that this unit cannot take in.
    left_out: Vec<(usize, Decision)>,
}

impl Round {
    fn join(&mut self, index: usize, decision: Decision, unit: Unit) {
        if self.joined.len() < JOINED_MAX && self.unit.join(unit) {
            self.campaigns.extend(&decision.passes);
            self.joined.push((index, decision));
        } else {
            self.left_out.push((index, decision));
        }
    }
}

/// The products of devices, each once.
fn products(known: &[Option<Known>]) -> Vec<Arc<ProductView>> {
    let mut views: Vec<Arc<ProductView>> = Vec::new();
    for known in known.iter().flatten() {
        if views.iter().all(|view| view.id != known.view.id) {
            views.push(Arc::clone(&known.view));
        }
    }
    views
}

async fn commit(store: &Arc<dyn FleetStore>, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
    if units.is_empty() { Ok(Vec::new()) } else { store.commit(units).await }
}

/// Loads devices, then the attempts that their decisions may need: two loads, however many devices.
async fn load<'e, K: 'e>(
    store: &Arc<dyn FleetStore>,
    catalog: &Catalog,
    events: impl Iterator<Item = &'e Event<K>>,
) -> Result<Vec<Option<Known>>, StoreError> {
    let devices: Vec<&DeviceIdBuf> = events.map(|event| &event.device).collect();
    let keys: Vec<Key> = devices.iter().map(|device| Key::Device((*device).clone())).collect();
    let stored = store.load(&keys).await?;
    let mut known: Vec<Option<Known>> = Vec::with_capacity(devices.len());
    let mut wanted: Vec<(usize, CampaignId)> = Vec::new();
    for (index, stored) in stored.into_iter().enumerate() {
        let Some(Stored { version, record: Record::Device(device) }) = stored else {
            known.push(None);
            continue;
        };
        let view = catalog.product(&device.product).await?;
        let campaigns = view.iter().flat_map(|view: &Arc<ProductView>| view.campaigns.iter().map(|c| c.id));
        wanted.extend(campaigns.map(|campaign| (index, campaign)));
        // The latest attempt can belong to a campaign that has been stopped since.
        let latest =
            device.attempt.filter(|latest| view.as_ref().is_none_or(|view| view.campaign(*latest).is_none()));
        wanted.extend(latest.map(|campaign| (index, campaign)));
        known.push(view.map(|view| Known { view, version, device, attempts: HashMap::new() }));
    }
    let keys: Vec<Key> = wanted
        .iter()
        .filter_map(|(index, campaign)| Some(Key::Attempt(*campaign, (*devices.get(*index)?).clone())))
        .collect();
    let attempts = if keys.is_empty() { Vec::new() } else { store.load(&keys).await? };
    for ((index, campaign), stored) in wanted.into_iter().zip(attempts) {
        let found: Option<(Version, Attempt)> = match stored {
            Some(Stored { version, record: Record::Attempt(attempt) }) => Some((version, attempt)),
            _ => None,
        };
        if let (Some(Some(known)), Some(found)) = (known.get_mut(index), found) {
            known.attempts.insert(campaign, found);
        }
    }
    Ok(known)
}
