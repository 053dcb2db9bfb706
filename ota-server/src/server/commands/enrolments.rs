//! Enrolments: devices that nobody has registered do it themselves, with a certificate that was announced or with a token.
//!
//! The store keeps only hashes of tokens. Certificates and tokens are hashed with different words in front, so that
//! neither can be given out as the other.

use ota_core::fleet::records::{Credential, Device, Enrolment, EnrolmentKind, Product};
use ota_core::fleet::{Index, IndexEntry, Key, Query, Record, Version};
use ota_core::number::Sha256Digest;
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Timestamp;

use super::{CommandError, detail};
use crate::digest::sha256;
use crate::engine::Changes;
use crate::engine::catalog::scan_all;
use crate::rules::device;
use crate::rules::permission::{Action, Permit, Principal};
use crate::server::Server;

/// How many enrolments one command makes.
const BULK_MAX: usize = 1000;

/// What a device shows when it registers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'a> {
    /// The SHA-256 of a client certificate in its DER form. Whoever calls has checked that the device holds its key.
    Certificate(&'a Sha256Digest),
    /// A token.
    Token(&'a [u8]),
}

impl Proof<'_> {
    const fn kind(&self) -> EnrolmentKind {
        match self {
            Self::Certificate(_) => EnrolmentKind::Certificate,
            Self::Token(_) => EnrolmentKind::Token,
        }
    }

    /// Under what the enrolment is kept.
    fn key(&self) -> Sha256Digest {
        Sha256Digest(match self {
            Self::Certificate(digest) => sha256(&[b"ota/v1/enrolment/certificate/", &digest.0]),
            Self::Token(token) => sha256(&[b"ota/v1/enrolment/token/", token]),
        })
    }
}

/// What devices may do that show one of some proofs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewEnrolment {
    /// The only device that may use it, if it is for one.
    pub device: Option<DeviceIdBuf>,
    /// The tags that devices get.
    pub tags: Vec<Box<str>>,
    /// How many devices may use each proof; a certificate is one device's.
    pub uses_max: u32,
    /// When it stops being good, if ever.
    pub expires: Option<Timestamp>,
}

impl Server {
    /// Lets devices register themselves that show one of these proofs: all of them or none are taken.
    ///
    /// # Errors
    /// [`CommandError::TooMany`] above a thousand; [`CommandError::Enrolled`] for a proof that is good for something
    /// already.
    pub async fn enrol(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        proofs: &[Proof<'_>],
        new: &NewEnrolment,
    ) -> Result<(), CommandError> {
        let permit = self.permit(principal, Action::KeepDevices, product)?;
        if proofs.len() > BULK_MAX {
            return Err(CommandError::TooMany(BULK_MAX));
        }
        let tags = device::tags(new.tags.iter().map(|tag| &**tag))?;
        let now = self.now();
        self.command(|| async {
            let mut changes = Changes::default();
            changes.rely(Key::Product(product.clone()), self.product_record(product).await?.1);
            for proof in proofs {
                let key = Key::Enrolment(proof.key());
                if self.load_one(&key).await?.is_some() {
                    return Err(CommandError::Enrolled(proof.key()));
                }
                let uses_max = match proof.kind() {
                    EnrolmentKind::Certificate => 1,
                    EnrolmentKind::Token => new.uses_max.max(1),
                };
                let enrolment = Enrolment {
                    product: product.clone(),
                    device: new.device.clone(),
                    tags: tags.clone(),
                    uses_max,
                    uses: 0,
                    expires: new.expires,
                    created: now,
                    by: proof.kind(),
                };
                changes.write(key, Version(0), None, Some(Record::Enrolment(enrolment)));
            }
            let count = proofs.len().to_string();
            let device = new.device.as_ref().map_or("any", |device| device.as_str());
            let words = detail(&[("count", &count), ("tags", &tags.join(" "))]);
            self.audit(&mut changes, &permit, "enrolment.make", device, words);
            Ok((changes, ()))
        })
        .await
    }

    /// The enrolments of a product.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn enrolments(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
    ) -> Result<Vec<(Sha256Digest, Enrolment)>, CommandError> {
        self.permit(principal, Action::KeepDevices, product)?;
        let place = IndexEntry::new(Index::EnrolmentProduct).text(product.as_str());
        let all = scan_all(&self.inner.store, &Query::under(place)).await?;
        let enrolments = all.into_iter().filter_map(|(key, stored)| match (key, stored.record) {
            (Key::Enrolment(digest), Record::Enrolment(enrolment)) => Some((digest, enrolment)),
            _ => None,
        });
        Ok(enrolments.collect())
    }

    /// Takes an enrolment of a product back; devices that have used it stay registered. One that is not there, or
    /// another product's, is no error.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn remove_enrolment(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        enrolment: &Sha256Digest,
    ) -> Result<(), CommandError> {
        let permit = self.permit(principal, Action::KeepDevices, product)?;
        self.command(|| async {
            let mut changes = Changes::default();
            let key = Key::Enrolment(*enrolment);
            let (version, before) = self.before(&key).await?;
            if matches!(&before, Some(Record::Enrolment(found)) if found.product == *product) {
                changes.write(key, version, before, None);
            }
            self.audit(&mut changes, &permit, "enrolment.remove", enrolment, detail(&[]));
            Ok((changes, ()))
        })
        .await
    }

    /// A device that is not known registers itself. Says which product it is one of; one that has done so before with the
    /// same proof hears the same.
    ///
    /// # Errors
    /// [`CommandError::Claim`] if the proof is not good for this device, or not any more;
    /// [`CommandError::DeviceExists`] if it was registered in another way.
    pub async fn register_itself(
        &self,
        device: &DeviceIdBuf,
        proof: Proof<'_>,
    ) -> Result<ProductIdBuf, CommandError> {
        let now = self.now();
        self.command(|| async {
            let key = Key::Enrolment(proof.key());
            let (version, before) = self.before(&key).await?;
            let Some(Record::Enrolment(enrolment)) = before else { return Err(CommandError::Claim) };
            let is_for_it = enrolment.device.as_ref().is_none_or(|only| only == device);
            if !is_for_it || enrolment.by != proof.kind() {
                return Err(CommandError::Claim);
            }
            let product = enrolment.product.clone();
            let credential = match proof {
                Proof::Certificate(digest) => Some(Credential::Fingerprints { sha256: vec![*digest] }),
                Proof::Token(_) => None,
            };
            if let Some(Record::Device(known)) = self.before(&Key::Device(device.clone())).await?.1 {
                // Its first answer was lost, and the certificate says that it is the same one. A token could be anybody's.
                let is_same =
                    credential.is_some() && known.credential == credential && known.product == product;
                if is_same {
                    return Ok((Changes::default(), product));
                }
                return Err(CommandError::DeviceExists(device.clone()));
            }
            if enrolment.uses >= enrolment.uses_max || enrolment.expires.is_some_and(|expires| expires <= now)
            {
                return Err(CommandError::Claim);
            }
            let (record, product_version) = self.product_record(&product).await?;
            let tags = enrolment.tags.clone();
            let made = Device {
                credential,
                ..device::registered(device, product.clone(), record.next_ordinal, tags, now)
            };
            let mut changes = Changes::default();
            changes.write(Key::Device(device.clone()), Version(0), None, Some(Record::Device(made)));
            let used = Enrolment { uses: enrolment.uses.saturating_add(1), ..enrolment.clone() };
            let (before, after) = (Record::Enrolment(enrolment), Record::Enrolment(used));
            changes.write(key, version, Some(before), Some(after));
            let next = Product { next_ordinal: record.next_ordinal.saturating_add(1), ..record.clone() };
            let (before, after) = (Record::Product(record), Record::Product(next));
            changes.write(Key::Product(product.clone()), product_version, Some(before), Some(after));
            let permit = Permit::of_the_plan(Action::KeepDevices, &product);
            let words = detail(&[("enrolment", &proof.key().to_string())]);
            self.audit(&mut changes, &permit, "device.enrolled", device, words);
            Ok((changes, product))
        })
        .await
    }
}
