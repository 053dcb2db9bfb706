//! Products and their roots.

use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{Product, RootRecord};
use ota_core::fleet::{Key, Record, Stored, Version};
use ota_core::number::{PackageVersion, RootVersion, SecurityEpoch};
use ota_core::text::ProductIdBuf;
use ota_core::trust::{HashedBody, RootCheck, TrustError, TrustedRoot};

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::rules::permission::{Action, Principal};
use crate::rules::release::Verifier;
use crate::server::Server;

/// What a new product is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// Its id.
    pub id: ProductIdBuf,
    /// What people call it.
    pub title: Box<str>,
    /// How many people must approve a campaign at least.
    pub approvals_min: u8,
    /// How many failed attempts in a row put a device into quarantine; 0 for never.
    pub quarantine_after: u8,
    /// Whether only authenticated evidence counts.
    pub attested_only: bool,
    /// The protocols that its devices may speak, one bit for the number of each dialect; 0 for all.
    pub dialects: u32,
}

impl Server {
    /// Makes a product.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn create_product(&self, principal: &Principal, new: &NewProduct) -> Result<(), CommandError> {
        let permit = self.permit(principal, Action::KeepProducts, &new.id)?;
        let now = self.now();
        self.command(|| async {
            let key = Key::Product(new.id.clone());
            if self.load_one(&key).await?.is_some() {
                return Err(CommandError::ProductExists(new.id.clone()));
            }
            let product = Product {
                title: new.title.clone(),
                created: now,
                next_ordinal: 0,
                next_name: 1,
                root: RootVersion(0),
                next_version: PackageVersion(1),
                approvals_min: new.approvals_min,
                quarantine_after: new.quarantine_after,
                attested_only: new.attested_only,
                dialects: new.dialects,
            };
            let mut changes = Changes::default();
            changes.write(key, Version(0), None, Some(Record::Product(product)));
            self.audit(&mut changes, &permit, "product.create", &new.id, detail(&[("title", &new.title)]));
            Ok((changes, ()))
        })
        .await?;
        self.changed(&new.id);
        self.inner.catalog.product(&new.id).await?;
        Ok(())
    }

    /// Brings the product's next root: the first is trusted as it is given, each later one must be signed by the
    /// thresholds of the one before it and of itself.
    ///
    /// # Errors
    /// [`CommandError::Root`] says why it is not to be trusted.
    pub async fn add_root(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        body: &[u8],
        envelope: &[u8],
    ) -> Result<RootVersion, CommandError> {
        let permit = self.permit(principal, Action::BringSignatures, product)?;
        let version = self
            .command(|| async {
                let (record, version) = self.product_record(product).await?;
                let next = self.checked_root(product, &record, body, envelope).await?;
                let mut changes = Changes::default();
                let root = RootRecord { body: body.to_vec(), envelope: envelope.to_vec() };
                changes.write(Key::Root(product.clone(), next), Version(0), None, Some(Record::Root(root)));
                let after = Product { root: next, ..record.clone() };
                let key = Key::Product(product.clone());
                changes.write(key, version, Some(Record::Product(record)), Some(Record::Product(after)));
                self.audit(&mut changes, &permit, "root.add", next, detail(&[]));
                Ok((changes, next))
            })
            .await?;
        self.changed(product);
        self.inner.parts.clear();
        self.inner.catalog.product(product).await?;
        Ok(version)
    }

    async fn checked_root(
        &self,
        product: &ProductIdBuf,
        record: &Product,
        body: &[u8],
        envelope: &[u8],
    ) -> Result<RootVersion, CommandError> {
        if record.root.0 == 0 {
            let (root, _) = TrustedRoot::provision::<SoftSha256>(body, SecurityEpoch(0))?;
            return if root.product().as_str() == product.as_str() {
                Ok(root.root().version)
            } else {
                Err(TrustError::WrongProduct.into())
            };
        }
        let current = self.root_record(product, record.root).await?;
        let (trusted, state) = TrustedRoot::provision::<SoftSha256>(&current.body, SecurityEpoch(0))?;
        let body = HashedBody::hash::<SoftSha256>(body);
        let check = RootCheck::begin::<SoftSha256>(&trusted, &state, envelope, body)?;
        let (next, _) = check.verify_all(&Verifier::default())?;
        Ok(next.root().version)
    }

    pub(in crate::server) async fn product_record(
        &self,
        product: &ProductIdBuf,
    ) -> Result<(Product, Version), CommandError> {
        match self.load_one(&Key::Product(product.clone())).await? {
            Some(Stored { version, record: Record::Product(record) }) => Ok((record, version)),
            _ => Err(CommandError::NoProduct(product.clone())),
        }
    }

    pub(in crate::server) async fn root_record(
        &self,
        product: &ProductIdBuf,
        version: RootVersion,
    ) -> Result<RootRecord, CommandError> {
        match self.load_one(&Key::Root(product.clone(), version)).await? {
            Some(Stored { record: Record::Root(root), .. }) => Ok(root),
            _ => Err(crate::rules::release::ReleaseError::NoRoot.into()),
        }
    }
}
