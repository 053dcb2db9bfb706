//! The online key: signs assignments, and nothing else.

use std::collections::HashMap;

use ota_core::crypto::sign::Signer;
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::{self, Query, Record, StoreError, Stored, Table};
use ota_core::text::ProductIdBuf;
use ota_core::trust::{Assignment, Key, Role, Root, sign_assignment};

use super::Server;
use crate::engine::catalog::scan_all;
use crate::engine::decide::AssignmentSigner;
use crate::rules::release::Verifier;

/// Signs with one key for each product, or one for all that have none of their own.
#[derive(Default)]
pub struct KeySigner {
    default: Option<Box<dyn Signer + Send + Sync>>,
    products: HashMap<ProductIdBuf, Box<dyn Signer + Send + Sync>>,
}

impl KeySigner {
    /// One key for all products.
    #[must_use]
    pub fn for_all(signer: impl Signer + Send + Sync + 'static) -> Self {
        Self { default: Some(Box::new(signer)), products: HashMap::new() }
    }

    /// A product with a key of its own.
    #[must_use]
    pub fn with(mut self, product: ProductIdBuf, signer: impl Signer + Send + Sync + 'static) -> Self {
        self.products.insert(product, Box::new(signer));
        self
    }
}

impl AssignmentSigner for KeySigner {
    fn sign(&self, product: &ProductIdBuf, assignment: &Assignment<'_>) -> Option<Vec<u8>> {
        let signer = self.products.get(product).or(self.default.as_ref())?;
        let expected = Key { algorithm: signer.algorithm(), public: signer.public_key() };
        sign_assignment::<SoftSha256>(assignment, product.borrow(), &**signer, expected, &Verifier::default())
            .ok()
    }
}

impl Server {
    /// The products whose newest root does not name this key for assignments: their devices believe nothing that it signs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn products_unaware_of(&self, key: Key<'_>) -> Result<Vec<ProductIdBuf>, StoreError> {
        let id = key.id::<SoftSha256>();
        let is_named = |body: &[u8]| {
            let root = Root::decode::<SoftSha256>(body);
            root.is_ok_and(|root| root.role(Role::Assignment).keys.iter().any(|named| named == id))
        };
        let mut unaware = Vec::new();
        for (key, stored) in scan_all(&self.inner.store, &Query::table(Table::Product)).await? {
            let (fleet::Key::Product(product), Record::Product(record)) = (key, stored.record) else {
                continue;
            };
            // A product without a root has no devices yet.
            let root = self.load_one(&fleet::Key::Root(product.clone(), record.root)).await?;
            if let Some(Stored { record: Record::Root(root), .. }) = root
                && !is_named(&root.body)
            {
                unaware.push(product);
            }
        }
        Ok(unaware)
    }
}

/// Signs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSigner;

impl AssignmentSigner for NoSigner {
    fn sign(&self, _: &ProductIdBuf, _: &Assignment<'_>) -> Option<Vec<u8>> {
        None
    }
}
