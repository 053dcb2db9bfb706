//! Erasing what is known of one device, for whoever has a right to that.
//!
//! What goes: its record with tags, credentials and last-heard time; its attempts in all campaigns; enrolments made for it
//! alone; its id in the lists of campaigns that have ended. What stays: the audit chain, which nobody can take entries out
//! of, and what people have written by hand; the answer says where that is. A power cut leaves the device there with a part
//! of its traces gone; the same command again takes the rest.

use ota_core::fleet::{Index, IndexEntry, Key, Query, Record, Stored, Table, Version};
use ota_core::number::{CampaignId, Sha256Digest};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Millis;

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::engine::catalog::{COMPLETED, STOPPED, UNDER_WAY, campaigns_in, scan_all, terminated};
use crate::rules::erasure;
use crate::rules::permission::{Action, Principal};
use crate::server::Server;

/// Most traces that one commit takes away.
const TRACES_AT_ONCE: usize = 1000;
/// Records that are looked at in one go.
const PAGE: usize = 1024;
/// For how long servers on the same store tell each other the id of an erased device, so that each closes its connection.
const TOLD_FOR: Millis = Millis(10 * 60_000);

/// What became of a device that was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// What the audit chain calls it from now on.
    pub digest: Sha256Digest,
    /// Attempts that went.
    pub attempts: u64,
    /// Enrolments made for it alone that went.
    pub enrolments: u64,
    /// Campaigns that have ended from whose lists it went.
    pub lists: u64,
    /// Expressions that people wrote and that still name it: of groups and of campaigns.
    pub named_in: Vec<String>,
}

/// A record that goes, or is written without the device.
struct Trace {
    key: Key,
    version: Version,
    before: Record,
    after: Option<Record>,
}

impl Server {
    /// Erases what is known of a device, closes its connection and refuses it from then on. There is no way back; a
    /// device that may register itself comes back as a new one.
    ///
    /// # Errors
    /// [`CommandError::StillCounted`] while a campaign that has not ended counts on the device. Any other
    /// [`CommandError`]: the device is still there, perhaps with a part of its history gone.
    pub async fn erase_device(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        reason: &str,
    ) -> Result<Erased, CommandError> {
        let (product, _) = self.device_record(id).await?;
        let product = product.product;
        self.permit(principal, Action::EraseDevice, &product)?;
        let mut erased = Erased {
            digest: erasure::digest_of(id),
            attempts: 0,
            enrolments: 0,
            lists: 0,
            named_in: self.named_in(&product, id).await?,
        };
        loop {
            let (gone, is_done) = self.command(|| self.erasure(principal, id, reason)).await?;
            for key in gone {
                match key {
                    Key::Attempt(campaign, _) => {
                        self.budgets().leave(campaign, id);
                        erased.attempts += 1;
                    }
                    Key::Enrolment(_) => erased.enrolments += 1,
                    _ => erased.lists += 1,
                }
            }
            if is_done {
                break;
            }
        }
        self.changed(&product);
        self.inner.begun.clear();
        self.sft_disconnected(id);
        // A link that cannot close connections refuses the device's messages all the same.
        let _ = self.inner.link.disconnect(id).await;
        Ok(erased)
    }

    /// One commit of an erasure: as many traces as it may take away, and once none is left the device itself.
    async fn erasure(
        &self,
        principal: &Principal,
        id: &DeviceIdBuf,
        reason: &str,
    ) -> Result<(Changes, (Vec<Key>, bool)), CommandError> {
        // Whoever gives the device an attempt writes its record, and this commit relies on it.
        let (device, version) = self.device_record(id).await?;
        let permit = self.permit(principal, Action::EraseDevice, &device.product)?;
        self.counted_on(&device.product, id).await?;
        let mut traces = self.traces_of(&device.product, id).await?;
        let is_done = traces.len() <= TRACES_AT_ONCE;
        traces.truncate(TRACES_AT_ONCE);
        let mut changes = Changes::default();
        let key = Key::Device(id.clone());
        if is_done {
            changes.write(key, version, Some(Record::Device(device)), None);
            let words = detail(&[("reason", reason)]);
            self.audit(&mut changes, &permit, "device.erase", erasure::digest_of(id), words);
            self.tell_revoked(&mut changes, id, Some(self.now().plus(TOLD_FOR))).await?;
        } else {
            changes.rely(key, version);
        }
        let mut gone = Vec::with_capacity(traces.len());
        for Trace { key, version, before, after } in traces {
            gone.push(key.clone());
            changes.write(key, version, Some(before), after);
        }
        Ok((changes, (gone, is_done)))
    }

    /// Refuses while a campaign that has not ended has an attempt of the device, or its id in a list that was approved.
    async fn counted_on(&self, product: &ProductIdBuf, id: &DeviceIdBuf) -> Result<(), CommandError> {
        let under_way = self.campaigns_at(product, UNDER_WAY).await?;
        let keys: Vec<Key> =
            under_way.iter().map(|(id, ..)| *id).map(|campaign| Key::Attempt(campaign, id.clone())).collect();
        let attempts = if keys.is_empty() { Vec::new() } else { self.inner.store.load(&keys).await? };
        for ((campaign, _, record), attempt) in under_way.iter().zip(attempts) {
            let Record::Campaign(record) = record else { continue };
            if attempt.is_some() || erasure::is_listed(record, id) {
                return Err(CommandError::StillCounted(*campaign));
            }
        }
        Ok(())
    }

    /// What there is of a device besides its own record.
    async fn traces_of(&self, product: &ProductIdBuf, id: &DeviceIdBuf) -> Result<Vec<Trace>, CommandError> {
        let mut traces = Vec::new();
        let gone = |key, Stored { version, record }| Trace { key, version, before: record, after: None };
        let attempts = IndexEntry::new(Index::AttemptDevice).text(id.as_str());
        for (key, stored) in scan_all(&self.inner.store, &Query::under(attempts)).await? {
            traces.push(gone(key, stored));
        }
        // Certificates of a whole production run may wait here: they are looked through page by page.
        let (query, mut after) =
            (Query::under(IndexEntry::new(Index::EnrolmentProduct).text(product.as_str())), None);
        loop {
            let page = self.inner.store.scan(&query, after.as_ref(), PAGE).await?;
            for (key, stored) in page.items {
                if matches!(&stored.record, Record::Enrolment(made) if made.device.as_ref() == Some(id)) {
                    traces.push(gone(key, stored));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        for group in [COMPLETED, STOPPED] {
            for (campaign, version, before) in self.campaigns_at(product, group).await? {
                let Record::Campaign(record) = &before else { continue };
                if let Some(after) = erasure::without(record, id) {
                    let after = Some(Record::Campaign(Box::new(after)));
                    traces.push(Trace { key: Key::Campaign(campaign), version, before, after });
                }
            }
        }
        Ok(traces)
    }

    /// Where people have written the device's id into an expression.
    async fn named_in(&self, product: &ProductIdBuf, id: &DeviceIdBuf) -> Result<Vec<String>, CommandError> {
        let mut named = Vec::new();
        let groups = Query::Table { table: Table::Group, prefix: terminated(product) };
        for (key, stored) in scan_all(&self.inner.store, &groups).await? {
            if let (Key::Group(_, name), Record::Group(group)) = (key, stored.record)
                && erasure::asks_for(&group.expression, id)
            {
                named.push(format!("group {name}"));
            }
        }
        for group in [UNDER_WAY, COMPLETED, STOPPED] {
            for (campaign, _, record) in self.campaigns_at(product, group).await? {
                if matches!(&record, Record::Campaign(record) if erasure::is_asked_for(record, id)) {
                    named.push(format!("campaign {campaign}"));
                }
            }
        }
        Ok(named)
    }

    async fn campaigns_at(
        &self,
        product: &ProductIdBuf,
        group: u64,
    ) -> Result<Vec<(CampaignId, Version, Record)>, CommandError> {
        let found = scan_all(&self.inner.store, &campaigns_in(product, group)).await?;
        let campaign = |(key, stored): (Key, Stored)| match key {
            Key::Campaign(id) => Some((id, stored.version, stored.record)),
            _ => None,
        };
        Ok(found.into_iter().filter_map(campaign).collect())
    }
}
