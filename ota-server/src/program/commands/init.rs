//! `ota init`: a product with its keys and its first root.
//!
//! It can be run again whatever an earlier run has left: keys that are there are taken, a product without a root gets
//! one, and one with a root of these keys is left as it is.

use std::path::{Path, PathBuf};

use clap::Args;
use ota_core::crypto::soft::SoftSha256;
use ota_core::integrity::Strength;
use ota_core::list::List;
use ota_core::number::{Generation, KeyId, RootVersion};
use ota_core::text::ProductIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{Key, RoleKeys, Root, SignedBody};
use serde::Serialize;

use super::Context;
use crate::http::body::{InstallationView, Items, Made, ProductInput, ProductView, RootInput};
use crate::http::hex;
use crate::program::client::segment;
use crate::program::{Failure, KeyAlgorithm, PublicKey, generate_key, read_signer};
use crate::rules::release::Verifier;
use crate::server::{Clock as _, SystemClock};

/// A day, in milliseconds.
pub(super) const DAY: u64 = 86_400_000;
/// The private key that signs roots, in the folder of keys.
const ROOT_KEY: &str = "root-key.pem";
/// The body of the root, beside it.
const ROOT: &str = "root.cbor";

#[derive(Debug, Args)]
pub(super) struct Init {
    /// Id of the product
    product: String,
    /// What people call it
    #[arg(long)]
    title: Option<String>,
    /// Folder for its keys and its root [default: keys/PRODUCT]
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Private key that signs roots; made anew if not given
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// Public key that signs releases, as `ota key show` prints it; several may be given; made anew if not given
    #[arg(long, value_name = "KEY")]
    release_key: Vec<PublicKey>,
    /// How many of the release keys must sign
    #[arg(long, default_value_t = 1)]
    threshold: u8,
    /// How many people must approve a campaign, not counting its author
    #[arg(long, default_value_t = 1)]
    approvals: u8,
    /// How long the root is good for, in days
    #[arg(long, default_value_t = 3650)]
    valid_days: u32,
    /// Mark the root as made with development keys: release builds of devices refuse it
    #[arg(long)]
    development: bool,
}

#[derive(Serialize)]
struct Initialised {
    product: String,
    root_version: u32,
    root: PathBuf,
    release_keys: Vec<String>,
    made: Vec<PathBuf>,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let product = ProductIdBuf::new(self.product.as_str()).map_err(|why| {
            Failure::caused(format_args!("{:?} is no id of a product", self.product), &why, "")
        })?;
        let installation: InstallationView = context.client.get("/api/v1/installation")?;
        let way_out = "set a key that signs assignments in the server";
        let assignment = installation.assignment_key.as_deref().map(str::parse::<PublicKey>);
        let assignment =
            assignment.ok_or_else(|| Failure::new("the server signs no assignments", way_out))?;
        let assignment = assignment
            .map_err(|why| Failure::caused("the server's assignment key cannot be read", &why, ""))?;

        let folder = self.keys.clone().unwrap_or_else(|| Path::new("keys").join(product.as_str()));
        let products: Items<ProductView> = context.client.get("/api/v1/products")?;
        let known = products.items.iter().find(|known| known.id == product.as_str());
        let view = match known {
            Some(known) if known.root_version > 0 => self.again(context, known, &folder)?,
            _ => {
                if known.is_none() {
                    self.make_product(context, &product)?;
                }
                self.make_root(context, &product, &folder, &assignment)?
            }
        };
        context.format.show(&view, |view| {
            let mut text = format!(
                "product {} has root version {}\n  {} goes into its devices at manufacture\n",
                view.product,
                view.root_version,
                view.root.display()
            );
            for path in &view.made {
                text.push_str(&format!(
                    "  {} is secret: keep a copy where no network reaches\n",
                    path.display()
                ));
            }
            text
        })
    }

    fn make_product(&self, context: &Context, product: &ProductIdBuf) -> Result<(), Failure> {
        let new = ProductInput {
            id: product.as_str().to_owned(),
            title: self.title.clone(),
            approvals_min: self.approvals,
            quarantine_after: 3,
            attested_only: false,
            protocols: Vec::new(),
        };
        context.client.post::<Made<String>>("/api/v1/products", &new).map(drop)
    }

    /// Makes the keys that are missing and the first root.
    fn make_root(
        &self,
        context: &Context,
        product: &ProductIdBuf,
        folder: &Path,
        assignment: &PublicKey,
    ) -> Result<Initialised, Failure> {
        std::fs::create_dir_all(folder).map_err(|why| {
            Failure::caused(
                format_args!("cannot make {}", folder.display()),
                &why,
                "give another with --keys",
            )
        })?;
        let mut made = Vec::new();
        let root_key = match &self.root_key {
            Some(path) => path.clone(),
            None => make(folder, ROOT_KEY, &mut made)?,
        };
        let release = if self.release_key.is_empty() {
            let path = make(folder, "release-key.pem", &mut made)?;
            vec![PublicKey::of(&*read_signer(&path)?)]
        } else {
            self.release_key.clone()
        };
        let (body, envelope) = self.root(product, &root_key, &release, assignment)?;
        let path = format!("/api/v1/products/{}/roots", segment(product.as_str()));
        let input = RootInput { body: hex(&body), envelope: hex(&envelope) };
        let version: Made<u32> = context.client.post(&path, &input)?;
        Ok(Initialised {
            product: product.as_str().to_owned(),
            root_version: version.id,
            root: write_root(folder, &body)?,
            release_keys: release.iter().map(ToString::to_string).collect(),
            made,
        })
    }

    /// The product has a root already: if it is one of these keys, an earlier run was interrupted after that at most.
    fn again(&self, context: &Context, known: &ProductView, folder: &Path) -> Result<Initialised, Failure> {
        let root_key = self.root_key.clone().unwrap_or_else(|| folder.join(ROOT_KEY));
        let body = context.client.bytes(&format!("/api/v1/products/{}/root", segment(&known.id)))?;
        let root = Root::decode::<SoftSha256>(&body)
            .map_err(|why| Failure::caused("no device would read the product's root", &why, ""))?;
        let ours = read_signer(&root_key).ok().map(|signer| PublicKey::of(&*signer));
        let is_ours = |key: Key<'_>| ours.as_ref().is_some_and(|ours| ours.key() == key);
        if !root.keys.iter().any(is_ours) {
            let way_out = "choose another id, or give the folder with its keys with --keys";
            let what = format!("there is a product {} already, with a root of other keys", known.id);
            return Err(Failure::new(what, way_out));
        }
        let path = folder.join(ROOT);
        let path = if path.exists() { path } else { write_root(folder, &body)? };
        Ok(Initialised {
            product: known.id.clone(),
            root_version: known.root_version,
            root: path,
            release_keys: Vec::new(),
            made: Vec::new(),
        })
    }

    fn root(
        &self,
        product: &ProductIdBuf,
        root_key: &Path,
        release: &[PublicKey],
        assignment: &PublicKey,
    ) -> Result<(Vec<u8>, Vec<u8>), Failure> {
        let signer = read_signer(root_key)?;
        let public = PublicKey::of(&*signer);
        let all = || core::iter::once(&public).chain(release).chain([assignment]);
        let keys: Vec<Key<'_>> = all().map(PublicKey::key).collect();
        let release_ids: Vec<KeyId> = release.iter().map(PublicKey::id).collect();
        let (root_ids, assignment_ids) = ([public.id()], [assignment.id()]);
        let role = |keys, threshold| RoleKeys { keys, threshold, generation: Generation(0) };
        let now = SystemClock.now();
        let root = Root {
            product: product.borrow(),
            version: RootVersion(1),
            issued: Timestamp::from_seconds(now.as_seconds()),
            expires: now.plus(Millis(u64::from(self.valid_days) * DAY)),
            keys: List::from_slice(&keys),
            roles: [
                role(List::from_slice(&root_ids), 1),
                role(List::from_slice(&release_ids), self.threshold),
                role(List::from_slice(&assignment_ids), 1),
                RoleKeys::nobody(),
            ],
            strength_min: Strength::Hash,
            development: self.development,
        };
        let way_out =
            "keys must differ from role to role, and the threshold be at most the number of release keys";
        let wrong =
            |why: ota_core::trust::BuildError| Failure::caused("the root cannot be made", &why, way_out);
        let mut signed = SignedBody::root::<SoftSha256>(&root).map_err(wrong)?;
        signed.sign::<SoftSha256>(&*signer, public.key(), &Verifier::default()).map_err(wrong)?;
        Ok((signed.body().to_vec(), signed.envelope().map_err(wrong)?))
    }
}

fn write_root(folder: &Path, body: &[u8]) -> Result<PathBuf, Failure> {
    let path = folder.join(ROOT);
    std::fs::write(&path, body)
        .map_err(|why| Failure::caused(format_args!("cannot write {}", path.display()), &why, ""))?;
    Ok(path)
}

/// Makes a key, or takes the one that an earlier try has made.
fn make(folder: &Path, name: &str, made: &mut Vec<PathBuf>) -> Result<PathBuf, Failure> {
    let path = folder.join(name);
    if !path.exists() {
        generate_key(KeyAlgorithm::Ed25519, &path)?;
    }
    made.push(path.clone());
    Ok(path)
}
