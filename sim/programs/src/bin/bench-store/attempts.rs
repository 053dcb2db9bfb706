//! Attempts as the store sees them: devices go their way through one campaign after the other, step by step.
//!
//! A step is what one message of a device makes the server commit: its own record, its attempt with the places where
//! that is found, and the counters of both. The bare loop writes the same rows and knows nothing of what they mean.

use core::time::Duration;
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use ota_core::fleet::records::{Attempt, AttemptPhase, AttemptRules, Device};
use ota_core::fleet::{FleetStore, Key, PreparedUnit, Record, Unit, Version};
use ota_core::number::{CampaignId, Nonce, OfferId, ReleaseId};
use ota_core::time::{Millis, Timestamp};
use ota_server::engine::Changes;
use ota_server::rules::attempt::moved;
use ota_sim::store_load::Fleet;
use ota_storage::redb::{RedbOptions, RedbStore};
use redb::{Database, ReadableTable, TableDefinition};

use super::{COUNTERS, RECORDS, load};

const PLACES: TableDefinition<'_, &[u8], u16> = TableDefinition::new("places");
const HOUR: Millis = Millis(3_600_000);
const RULES: AttemptRules = AttemptRules {
    begin_within: HOUR,
    download_within: HOUR,
    install_within: HOUR,
    confirm_within: HOUR,
    retries_max: 3,
    retry_after: HOUR,
    retry_after_max: HOUR,
};

/// The steps of one attempt.
pub(super) const WAY: [AttemptPhase; 5] = [
    AttemptPhase::Offered,
    AttemptPhase::Downloading,
    AttemptPhase::Verified,
    AttemptPhase::Installed,
    AttemptPhase::Confirmed,
];

struct Lived {
    version: Version,
    device: Device,
    campaign: CampaignId,
    attempt: Option<(Version, Attempt)>,
}

/// Devices at work, each of them one step further whenever its turn comes.
pub(super) struct Attempts {
    fleet: Fleet,
    lived: Vec<Lived>,
    next: usize,
}

impl Attempts {
    /// Devices that are registered and have not begun.
    pub(super) fn of(devices: u64, heard: Timestamp) -> Self {
        let fleet = Fleet::new();
        let lived = |ordinal| Lived {
            version: Version(1),
            device: fleet.device(ordinal, heard),
            campaign: CampaignId(0),
            attempt: None,
        };
        Self { lived: (0..devices).map(lived).collect(), fleet, next: 0 }
    }

    pub(super) fn units(&mut self, batch: usize) -> Vec<Unit> {
        (0..batch).map(|_| self.step()).collect()
    }

    fn step(&mut self) -> Unit {
        let place = self.next;
        self.next = (place + 7919) % self.lived.len();
        let id = self.fleet.id(place as u64);
        let lived = &mut self.lived[place];
        let now = lived.device.heard.plus(HOUR);
        let under_way = lived.attempt.take().filter(|(_, last)| last.phase != AttemptPhase::Confirmed);
        let (version, before, next) = match under_way {
            Some((version, last)) => {
                let step = WAY.iter().position(|phase| *phase == last.phase).map_or(0, |step| step + 1);
                (version, Some(last.clone()), moved(last, WAY[step], 0, &RULES, now))
            }
            None => {
                lived.campaign.0 += 1;
                let fresh = begun(&lived.device, lived.campaign, now);
                (Version(0), None, moved(fresh, WAY[0], 0, &RULES, now))
            }
        };
        let mut device = lived.device.clone();
        (device.heard, device.attempt) = (now, Some(lived.campaign));
        if next.phase == AttemptPhase::Confirmed {
            device.installed[0].revision += 1;
        }
        let mut changes = Changes::default();
        let was = core::mem::replace(&mut lived.device, device.clone());
        let key = Key::Device(id.clone());
        changes.write(key, lived.version, Some(Record::Device(was)), Some(Record::Device(device)));
        let key = Key::Attempt(lived.campaign, id);
        changes.write(key, version, before.map(Record::Attempt), Some(Record::Attempt(next.clone())));
        lived.version.0 += 1;
        lived.attempt = Some((Version(version.0 + 1), next));
        changes.into_unit()
    }
}

fn begun(device: &Device, campaign: CampaignId, now: Timestamp) -> Attempt {
    Attempt {
        product: device.product.clone(),
        stage: 1,
        phase: AttemptPhase::Waiting,
        cause: 0,
        release: ReleaseId([7; 32]),
        offer: Some(OfferId(campaign.0.to_be_bytes())),
        nonce: Some(Nonce([9; 16])),
        offered: now,
        changed: now,
        due: None,
        retries: 0,
        sequence: None,
        done: 0,
        asked: true,
        former: 17,
        hardware: 3,
        site: "".into(),
        moments: Vec::new(),
        detail: "".into(),
        attested: false,
        dialect: 1,
        files: None,
        missed: None,
    }
}

/// The steps through the store.
pub(super) struct Stored {
    attempts: Attempts,
    store: RedbStore,
}

impl Stored {
    pub(super) async fn open(path: &Path, devices: u64, heard: Timestamp) -> Self {
        let store = RedbStore::open(path, RedbOptions::default()).expect("a store");
        load(&store, &Fleet::new(), devices).await;
        Self { attempts: Attempts::of(devices, heard), store }
    }

    pub(super) async fn commit(&mut self, batch: usize) -> Duration {
        let units = self.attempts.units(batch);
        let started = Instant::now();
        let outcomes = self.store.commit(units).await.expect("a commit");
        let spent = started.elapsed();
        assert!(outcomes.iter().all(|outcome| *outcome == ota_core::fleet::Outcome::Committed));
        spent
    }
}

/// The same rows by themselves.
pub(super) struct Bare {
    attempts: Attempts,
    database: Database,
}

impl Bare {
    pub(super) fn open(path: &Path, devices: u64, heard: Timestamp) -> Self {
        let builder = &mut Database::builder();
        let builder = builder.set_cache_size(RedbOptions::default().cache_bytes);
        let bare = Self {
            attempts: Attempts::of(devices, heard),
            database: builder.create(path).expect("a database"),
        };
        let fleet = Fleet::new();
        let registered: Vec<Unit> = (0..devices).map(|ordinal| fleet.registration(ordinal, heard)).collect();
        for some in registered.chunks(10_000) {
            bare.write(&prepared(some.to_vec()));
        }
        bare
    }

    pub(super) fn commit(&mut self, batch: usize) -> Duration {
        let units = prepared(self.attempts.units(batch));
        let started = Instant::now();
        self.write(&units);
        started.elapsed()
    }

    fn write(&self, units: &[PreparedUnit]) {
        let mut transaction = self.database.begin_write().expect("a transaction");
        transaction.set_quick_repair(true);
        {
            let mut records = transaction.open_table(RECORDS).expect("a table");
            let mut places = transaction.open_table(PLACES).expect("a table");
            let mut counters = transaction.open_table(COUNTERS).expect("a table");
            let mut sums: HashMap<Vec<u8>, i64> = HashMap::new();
            for unit in units {
                for write in &unit.writes {
                    let (key, bytes, _) = &unit.expects[write.expected];
                    let row = [&[key.table().number()][..], bytes].concat();
                    let value = [&[1][..], write.after.as_deref().expect("a record")].concat();
                    records.insert(row.as_slice(), value.as_slice()).expect("an insert");
                    for place in &write.leaves {
                        let row = [&[place.index.number()][..], &place.sort_key].concat();
                        places.remove(row.as_slice()).expect("a removal");
                    }
                    for place in &write.enters {
                        let row = [&[place.index.number()][..], &place.sort_key].concat();
                        let length = u16::try_from(place.place_bytes).expect("a short place");
                        places.insert(row.as_slice(), length).expect("an insert");
                    }
                }
                for change in &unit.counters {
                    *sums.entry(change.key.to_bytes()).or_insert(0) += change.by;
                }
            }
            for (key, by) in sums {
                let before = counters.get(key.as_slice()).expect("a counter").map_or(0, |sum| sum.value());
                counters.insert(key.as_slice(), before + by).expect("an insert");
            }
        }
        transaction.commit().expect("a commit");
    }
}

fn prepared(units: Vec<Unit>) -> Vec<PreparedUnit> {
    units.into_iter().map(|unit| PreparedUnit::new(unit).expect("a unit")).collect()
}
