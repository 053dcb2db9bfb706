//! Devices: registration one by one and in bulk, by claim; tags, quarantine, revocation.

use ota_core::fleet::records::{Credential, Device, DeviceStatus, Product};
use ota_core::fleet::{Key, Record, StoreError, StoreErrorKind, Stored, Version};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};

use super::{CommandError, detail};
use crate::digest::sha256;
use crate::engine::Changes;
use crate::rules::device;
use crate::rules::permission::{Action, Permit, Principal};
use crate::server::Server;
use crate::server::secrets::evidence_purpose;

/// How many devices are registered in one command.
const BULK_MAX: usize = 1000;

/// What a new device is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id.
    pub id: DeviceIdBuf,
    /// Its tags.
    pub tags: Vec<Box<str>>,
    /// How it proves who it is; `None` if the broker's own means decide that.
    pub credential: Option<Credential>,
    /// The key of its evidence, if it has one.
    pub evidence_key: Option<[u8; 32]>,
}

impl NewDevice {
    /// A device without tags, credentials and evidence.
    #[must_use]
    pub const fn named(id: DeviceIdBuf) -> Self {
        Self { id, tags: Vec::new(), credential: None, evidence_key: None }
    }
}

impl Server {
    /// Registers devices of a product: all of them or none.
    ///
    /// # Errors
    /// [`CommandError::DeviceExists`] for the first that is there already; [`CommandError::TooMany`] above a thousand.
    pub async fn register_devices(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        new: &[NewDevice],
    ) -> Result<(), CommandError> {
        let permit = self.permit(principal, Action::KeepDevices, product)?;
        self.register(&permit, product, new).await
    }

    async fn register(
        &self,
        permit: &Permit,
        product: &ProductIdBuf,
        new: &[NewDevice],
    ) -> Result<(), CommandError> {
        if new.len() > BULK_MAX {
            return Err(CommandError::TooMany(BULK_MAX));
        }
        let now = self.now();
        self.command(|| async {
            let (record, version) = self.product_record(product).await?;
            let keys: Vec<Key> = new.iter().map(|device| Key::Device(device.id.clone())).collect();
            let existing = self.inner.store.load(&keys).await?;
            if let Some((device, _)) = new.iter().zip(&existing).find(|(_, stored)| stored.is_some()) {
                return Err(CommandError::DeviceExists(device.id.clone()));
            }
            let mut changes = Changes::default();
            let mut ordinal = record.next_ordinal;
            for (device, key) in new.iter().zip(keys) {
                let tags = device::tags(device.tags.iter().map(|tag| &**tag))?;
                let made = Device {
                    credential: device.credential.clone(),
                    evidence_key: self.wrapped_evidence(&device.id, device.evidence_key.as_ref())?,
                    ..device::registered(&device.id, product.clone(), ordinal, tags, now)
                };
                changes.write(key, Version(0), None, Some(Record::Device(made)));
                ordinal += 1;
            }
            let after = Product { next_ordinal: ordinal, ..record.clone() };
            let key = Key::Product(product.clone());
            changes.write(key, version, Some(Record::Product(record)), Some(Record::Product(after)));
            let count = new.len().to_string();
            let first = new.first().map(|device| device.id.as_str()).unwrap_or_default();
            self.audit(&mut changes, permit, "device.register", first, detail(&[("count", &count)]));
            Ok((changes, ()))
        })
        .await?;
        Ok(())
    }

    fn wrapped_evidence(
        &self,
        id: &DeviceIdBuf,
        key: Option<&[u8; 32]>,
    ) -> Result<Option<Vec<u8>>, CommandError> {
        let Some(key) = key else { return Ok(None) };
        let wrapped = self.inner.secrets.wrap(&evidence_purpose(id), key);
        Ok(Some(wrapped.ok_or_else(|| StoreError::from(StoreErrorKind::Unavailable))?))
    }

    /// Gives a device other tags.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn tag_device(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        tags: &[&str],
    ) -> Result<(), CommandError> {
        self.write_tags(principal, id, tags, None).await
    }

    /// Does so if its tags are of this very version: what somebody else changed meanwhile is not undone.
    ///
    /// # Errors
    /// [`CommandError::Changed`] if they have another version by now.
    pub async fn tag_device_of_version(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        expected: Version,
        tags: &[&str],
    ) -> Result<(), CommandError> {
        self.write_tags(principal, id, tags, Some(expected)).await
    }

    /// A device's tags and their version, which nothing but other tags changes: not what the device itself does.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn device_tags(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
    ) -> Result<(Vec<Box<str>>, Version), CommandError> {
        let (record, _) = self.device_record(id).await?;
        self.permit(principal, Action::View, &record.product)?;
        let version = tags_version(&record.tags);
        Ok((record.tags, version))
    }

    async fn write_tags(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        tags: &[&str],
        expected: Option<Version>,
    ) -> Result<(), CommandError> {
        let (record, _) = self.device_record(id).await?;
        self.permit(principal, Action::KeepDevices, &record.product)?;
        let tags = device::tags(tags.iter().copied())?;
        let words = detail(&[("tags", &tags.join(" "))]);
        self.command(|| async {
            let (record, version) = self.device_record(id).await?;
            let permit = self.permit(principal, Action::KeepDevices, &record.product)?;
            if expected.is_some_and(|expected| expected != tags_version(&record.tags)) {
                return Err(CommandError::Changed);
            }
            let after = Device { tags: tags.clone(), ..record.clone() };
            let mut changes = Changes::default();
            let key = Key::Device(id.clone());
            changes.write(key, version, Some(Record::Device(record)), Some(Record::Device(after)));
            self.audit(&mut changes, &permit, "device.tag", id, words.clone());
            Ok((changes, ()))
        })
        .await
    }

    /// A device's credentials are no longer good, and its connection is closed.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn revoke_device(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        reason: &str,
    ) -> Result<(), CommandError> {
        let words = detail(&[("reason", reason)]);
        self.command(|| async {
            let (record, version) = self.device_record(id).await?;
            let permit = self.permit(principal, Action::RevokeDevice, &record.product)?;
            let after = Device { status: DeviceStatus::Revoked, ..record.clone() };
            let mut changes = Changes::default();
            let key = Key::Device(id.clone());
            changes.write(key, version, Some(Record::Device(record)), Some(Record::Device(after)));
            self.audit(&mut changes, &permit, "device.revoke", id, words.clone());
            self.tell_revoked(&mut changes, id, None).await?;
            Ok((changes, ()))
        })
        .await?;
        self.inner.begun.clear();
        // A link that cannot close connections refuses the device's messages all the same.
        let _ = self.inner.link.disconnect(id).await;
        Ok(())
    }

    /// Sets a device apart: it gets no more offers until it is released. What it is downloading it may finish.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn quarantine_device(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        reason: &str,
    ) -> Result<(), CommandError> {
        let words = detail(&[("reason", reason)]);
        self.change_device(principal, Action::KeepDevices, id, "device.quarantine", words, |device| {
            // Its credentials stay bad: a revoked device is not let in again by this.
            if device.status == DeviceStatus::Active {
                device.status = DeviceStatus::Quarantined;
            }
        })
        .await
    }

    /// Pins a device to what it runs: no campaign changes that until it is unpinned. What it is downloading it may finish.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn pin_device(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        reason: &str,
    ) -> Result<(), CommandError> {
        let words = detail(&[("reason", reason)]);
        self.change_device(principal, Action::KeepDevices, id, "device.pin", words, |device| {
            device.pinned = Some(reason.into());
        })
        .await
    }

    /// Lets campaigns change again what a device runs.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn unpin_device(&self, principal: &Principal, id: &DeviceIdBuf) -> Result<(), CommandError> {
        self.change_device(principal, Action::KeepDevices, id, "device.unpin", detail(&[]), |device| {
            device.pinned = None;
        })
        .await
    }

    /// Lets a device take part again that was quarantined or revoked.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn release_device(&self, principal: &Principal, id: &DeviceIdBuf) -> Result<(), CommandError> {
        self.change_device(principal, Action::KeepDevices, id, "device.release", detail(&[]), |device| {
            device.status = DeviceStatus::Active;
            device.failures = None;
        })
        .await
    }

    async fn change_device(
        &self,
        principal: &Principal,
        action: Action,
        id: &DeviceIdBuf,
        word: &str,
        words: String,
        change: impl Fn(&mut Device),
    ) -> Result<(), CommandError> {
        self.command(|| async {
            let (record, version) = self.device_record(id).await?;
            let permit = self.permit(principal, action, &record.product)?;
            let mut after = record.clone();
            change(&mut after);
            let mut changes = Changes::default();
            let key = Key::Device(id.clone());
            changes.write(key, version, Some(Record::Device(record)), Some(Record::Device(after)));
            self.audit(&mut changes, &permit, word, id, words.clone());
            Ok((changes, ()))
        })
        .await
    }

    pub(in crate::server) async fn device_record(
        &self,
        id: &DeviceIdBuf,
    ) -> Result<(Device, Version), CommandError> {
        match self.load_one(&Key::Device(id.clone())).await? {
            Some(Stored { version, record: Record::Device(device) }) => Ok((device, version)),
            _ => Err(CommandError::NoDevice(id.clone())),
        }
    }
}

/// A version of tags: other tags have another one.
fn tags_version(tags: &[Box<str>]) -> Version {
    let mut parts: Vec<&[u8]> = vec![b"ota/v1/tags/"];
    // No tag holds a zero byte.
    parts.extend(tags.iter().flat_map(|tag| [tag.as_bytes(), b"\0"]));
    let [a, b, c, d, e, f, g, h, ..] = sha256(&parts);
    Version(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}
