//! A unit in the making: what it relies on, what it writes, and the counters that follow from that by themselves.
//!
//! Counters are never changed by hand: they are the difference between what a record counted for before and after.
//! So a recount of all records always gives the counters.

use std::collections::BTreeMap;

use ota_core::fleet::records::{Attempt, Device};
use ota_core::fleet::{AuditDraft, CounterChange, CounterKey, Key, Record, Unit, Version, Write};
use ota_core::number::CampaignId;

/// A unit in the making.
#[derive(Debug, Default)]
pub struct Changes {
    unit: Unit,
    counts: BTreeMap<CounterKey, i64>,
}

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

impl Changes {
    /// Relies on a record being at this version.
    pub fn rely(&mut self, key: Key, version: Version) {
        if !self.unit.expects.iter().any(|(known, _)| *known == key) {
            self.unit.expects.push((key, version));
        }
    }

    /// Writes a record; `None` after removes it.
    pub fn write(&mut self, key: Key, version: Version, before: Option<Record>, after: Option<Record>) {
        for (record, by) in [(&before, -1), (&after, 1)] {
            for counted in record.iter().flat_map(|record| Self::counted(&key, record)) {
                *self.counts.entry(counted).or_insert(0) += by;
            }
        }
        self.rely(key.clone(), version);
        self.unit.writes.push(Write { key, before, after });
    }

    /// Adds an entry to the audit chain.
    pub fn audit(&mut self, entry: AuditDraft) {
        self.unit.audit.push(entry);
    }

    /// The counters that a record counts one for.
    #[must_use]
    pub fn counted(key: &Key, record: &Record) -> Vec<CounterKey> {
        match (key, record) {
            (_, Record::Device(device)) => of_device(device),
            (Key::Attempt(campaign, _), Record::Attempt(attempt)) => vec![of_attempt(*campaign, attempt)],
            _ => Vec::new(),
        }
    }

    /// Takes in what another unit does, as one with this; `false` if the two rely on different versions of a record, or
    /// write the same one.
    #[must_use]
    pub fn join(&mut self, unit: Unit) -> bool {
        let known =
            |key: &Key| self.unit.expects.iter().find(|(known, _)| known == key).map(|(_, version)| *version);
        let is_written = |key: &Key| unit.writes.iter().any(|write| write.key == *key);
        let fits = |(key, version): &(Key, Version)| match known(key) {
            Some(known) => known == *version && !is_written(key),
            None => true,
        };
        if !unit.expects.iter().all(fits) {
            return false;
        }
        for (key, version) in unit.expects {
            self.rely(key, version);
        }
        self.unit.writes.extend(unit.writes);
        self.unit.audit.extend(unit.audit);
        for change in unit.counters {
            *self.counts.entry(change.key).or_insert(0) += change.by;
        }
        true
    }

    /// The unit.
    #[must_use]
    pub fn into_unit(mut self) -> Unit {
        let changed = self.counts.into_iter().filter(|(_, by)| *by != 0);
        self.unit.counters = changed.map(|(key, by)| CounterChange { key, by }).collect();
        self.unit
    }
}

fn of_device(device: &Device) -> Vec<CounterKey> {
    let product = || device.product.clone();
    let mut keys = vec![CounterKey::Devices { product: product() }];
    keys.extend(device.installed.iter().map(|installed| CounterKey::Installed {
        product: product(),
        file: installed.file,
        revision: installed.revision,
    }));
    if device.heard.0 != 0 {
        let hour = u32::try_from(device.heard.0 / HOUR_MS).unwrap_or(u32::MAX);
        keys.push(CounterKey::Heard { product: product(), hour });
    }
    keys
}

fn of_attempt(campaign: CampaignId, attempt: &Attempt) -> CounterKey {
    CounterKey::Attempts {
        campaign,
        stage: attempt.stage,
        phase: attempt.phase.number(),
        cause: attempt.cause,
    }
}
