//! Devices and check-ins as a store sees them: what benchmarks and crash tests write.

use ota_core::fleet::records::{Device, DeviceStatus, Installed};
use ota_core::fleet::{CounterChange, CounterKey, Key, Record, Unit, Version, Write};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Timestamp;

/// Milliseconds of an hour: what the histogram of last-heard times counts in.
const HOUR_MS: u64 = 3_600_000;

/// A made-up fleet of one product.
#[derive(Debug, Clone)]
pub struct Fleet {
    product: ProductIdBuf,
}

impl Fleet {
    /// A fleet of the product `pump-x200`.
    ///
    /// # Panics
    /// Never: the name is a product.
    #[must_use]
    pub fn new() -> Self {
        Self { product: ProductIdBuf::new("pump-x200").expect("a product's name") }
    }

    /// Its product.
    #[must_use]
    pub const fn product(&self) -> &ProductIdBuf {
        &self.product
    }

    /// The id of a device: 16 characters, as serial numbers are.
    ///
    /// # Panics
    /// Never: the digits are an id.
    #[must_use]
    pub fn id(&self, ordinal: u64) -> DeviceIdBuf {
        // Spread over the whole range, so that devices do not arrive in the order of their ids.
        let scattered = ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        DeviceIdBuf::new(format!("{scattered:016x}")).expect("sixteen digits")
    }

    /// Its key.
    #[must_use]
    pub fn key(&self, ordinal: u64) -> Key {
        Key::Device(self.id(ordinal))
    }

    /// An idle device: identity, product, two interned revisions, last heard.
    #[must_use]
    pub fn device(&self, ordinal: u64, heard: Timestamp) -> Device {
        Device {
            product: self.product.clone(),
            ordinal,
            bucket: Device::bucket_of(&self.id(ordinal)),
            registered: Timestamp(1_790_000_000_000),
            heard,
            status: DeviceStatus::Active,
            hardware: 3,
            installed: vec![Installed { file: 1, revision: 17 }, Installed { file: 2, revision: 300 }],
            tags: vec![],
            attempt: None,
            epoch: None,
            dialect: None,
            credential: None,
            claimed: None,
            failures: None,
            claimed_hardware: None,
            metadata_bytes_max: None,
            evidence_key: None,
            evidence_seen: None,
            waits_with: None,
            pinned: None,
        }
    }

    /// What registering a device writes.
    #[must_use]
    pub fn registration(&self, ordinal: u64, heard: Timestamp) -> Unit {
        let key = self.key(ordinal);
        let device = Record::Device(self.device(ordinal, heard));
        Unit {
            expects: vec![(key.clone(), Version(0))],
            writes: vec![Write { key, before: None, after: Some(device) }],
            counters: vec![
                CounterChange { key: CounterKey::Devices { product: self.product.clone() }, by: 1 },
                self.heard(heard, 1),
            ],
            audit: vec![],
        }
    }

    /// What a check-in without news writes: the time, and the histogram.
    #[must_use]
    pub fn check_in(&self, ordinal: u64, version: Version, before: Timestamp, now: Timestamp) -> Unit {
        let key = self.key(ordinal);
        Unit {
            expects: vec![(key.clone(), version)],
            writes: vec![Write {
                key,
                before: Some(Record::Device(self.device(ordinal, before))),
                after: Some(Record::Device(self.device(ordinal, now))),
            }],
            counters: vec![self.heard(before, -1), self.heard(now, 1)],
            audit: vec![],
        }
    }

    /// The counter of devices that were last heard in the hour of this moment.
    ///
    /// # Panics
    /// In the year 491,000.
    #[must_use]
    pub fn heard(&self, at: Timestamp, by: i64) -> CounterChange {
        let hour = u32::try_from(at.0 / HOUR_MS).expect("an hour of our age");
        CounterChange { key: CounterKey::Heard { product: self.product.clone(), hour }, by }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Self::new()
    }
}
