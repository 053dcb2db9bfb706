//! Where roots, releases and assignments are made for tests: real keys, real signatures, nothing pretended.

use std::sync::Arc;

use ota_core::block_map::BlockMapBuilder;
use ota_core::crypto::sign::{Ed25519Signer, Signer};
use ota_core::crypto::soft::SoftSha256;
use ota_core::crypto::{SignatureAlgorithm, digest};
use ota_core::integrity::{IntegrityString, Strength};
use ota_core::list::List;
use ota_core::number::{
    ByteLength, Generation, KeyId, Nonce, PackageVersion, ReleaseId, RootVersion, SecurityEpoch, Sha256Digest,
};
use ota_core::text::{
    DeviceId, FileName, HardwareRevision, InstallTarget, PackageName, ProductId, Revision, Url,
};
use ota_core::time::Timestamp;
use ota_core::trust::{
    Action, Assignment, BlockMapRef, EpochRaise, File, Key, Release, ReleaseKind, Requirement, RoleKeys,
    Root, SignedBody, sign_assignment,
};

use crate::device::Remembering;

/// The product of all simulated devices.
pub const PRODUCT: &str = "thermostat";
/// Their hardware revision.
pub const HARDWARE: &str = "rev-c";
/// The day on which the simulation begins.
pub const BEGINNING: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Body and envelope of something signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The body.
    pub body: Vec<u8>,
    /// The signatures over it.
    pub envelope: Vec<u8>,
}

impl Signed {
    /// The SHA-256 of the body.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        sha256(&self.body)
    }
}

/// A file before it is released.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// Where it goes.
    pub target: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Length of the units of its block map, if it gets one.
    pub unit: Option<u32>,
    /// Where else it is hosted.
    pub url: Option<String>,
}

impl SourceFile {
    /// A file without block map and URL.
    #[must_use]
    pub fn new(name: &str, revision: &str, target: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            revision: revision.into(),
            target: target.into(),
            bytes,
            unit: None,
            url: None,
        }
    }

    /// The same file with a block map.
    #[must_use]
    pub fn in_units(mut self, unit: u32) -> Self {
        self.unit = Some(unit);
        self
    }

    /// The encoded block map, if it has one.
    #[must_use]
    pub fn block_map(&self) -> Option<Vec<u8>> {
        let mut builder = BlockMapBuilder::<SoftSha256>::new(self.unit?).unwrap();
        builder.update(&self.bytes).unwrap();
        Some(builder.finish().unwrap().bytes)
    }
}

/// A release, its files, and everything a server needs to serve it.
#[derive(Debug, Clone)]
pub struct SourceRelease {
    /// What is signed.
    pub signed: Signed,
    /// The files in the order of the release.
    pub files: Vec<SourceFile>,
}

impl SourceRelease {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> ReleaseId {
        ReleaseId(self.signed.digest().0)
    }
}

/// What a release says beside its files.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Package version.
    pub version: u64,
    /// Security epoch.
    pub epoch: u32,
    /// Hardware revisions, rising.
    pub hardware: Vec<String>,
    /// When it expires.
    pub expires: Timestamp,
    /// Revisions of files that must be installed before it.
    pub requires: Vec<(String, String)>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            version: 1,
            epoch: 1,
            hardware: vec![HARDWARE.into()],
            expires: BEGINNING.plus(ota_core::time::Millis::from_seconds(10 * 365 * 24 * 3600)),
            requires: Vec::new(),
        }
    }
}

/// The holders of all keys. Clones share them.
#[derive(Clone)]
pub struct Workshop {
    root_keys: [Arc<Ed25519Signer>; 2],
    release_keys: [Arc<Ed25519Signer>; 2],
    assignment_key: Arc<Ed25519Signer>,
    generation: u32,
}

impl Default for Workshop {
    fn default() -> Self {
        Self::new()
    }
}

impl Workshop {
    /// The first generation of keys.
    #[must_use]
    pub fn new() -> Self {
        Self {
            root_keys: [key(1), key(2)],
            release_keys: [key(3), key(4)],
            assignment_key: key(5),
            generation: 1,
        }
    }

    /// Somebody else, who would like to be the workshop.
    #[must_use]
    pub fn impostor() -> Self {
        Self {
            root_keys: [key(101), key(102)],
            release_keys: [key(103), key(104)],
            assignment_key: key(105),
            generation: 1,
        }
    }

    /// Replaces the server's key, because somebody has stolen it. Roots from now on say so.
    pub fn replace_assignment_key(&mut self) {
        self.generation += 1;
        self.assignment_key = key(50 + self.generation as u8);
    }

    /// A root of this version, signed by both root keys.
    #[must_use]
    pub fn root(&self, version: u32) -> Signed {
        let signers = self.root_keys.iter().chain(&self.release_keys).chain([&self.assignment_key]);
        let keys: Vec<Key<'_>> = signers.map(|signer| key_of(signer)).collect();
        let ids: Vec<_> = keys.iter().map(Key::id::<SoftSha256>).collect();
        let root = Root {
            product: product(),
            version: RootVersion(version),
            issued: BEGINNING,
            expires: Terms::default().expires,
            keys: List::from_slice(&keys),
            roles: [
                role(&ids[0..2], 2, 1),
                role(&ids[2..4], 2, 1),
                role(&ids[4..5], 1, self.generation),
                RoleKeys { keys: List::empty(), threshold: 0, generation: Generation(0) },
            ],
            strength_min: Strength::Hash,
            development: false,
        };
        let mut signed = SignedBody::root::<SoftSha256>(&root).unwrap();
        for signer in &self.root_keys {
            signed.sign::<SoftSha256>(&**signer, key_of(signer), &Remembering).unwrap();
        }
        Signed { body: signed.body().to_vec(), envelope: signed.envelope().unwrap() }
    }

    /// A release of these files, signed by both release keys.
    #[must_use]
    pub fn release(&self, terms: &Terms, files: Vec<SourceFile>) -> SourceRelease {
        let digests: Vec<_> =
            files.iter().map(|file| [IntegrityString::Sha256(sha256(&file.bytes).0)]).collect();
        let urls: Vec<Vec<Url<'_>>> =
            files.iter().map(|file| file.url.iter().map(|url| Url::new(url).unwrap()).collect()).collect();
        let listed: Vec<File<'_>> = files
            .iter()
            .zip(digests.iter().zip(&urls))
            .map(|(file, (digests, urls))| File {
                name: FileName::new(&file.name).unwrap(),
                revision: Revision::new(&file.revision).unwrap(),
                size: ByteLength(file.bytes.len() as u64),
                target: InstallTarget::new(&file.target).unwrap(),
                integrity: List::from_slice(digests),
                block_map: file.block_map().map(|map| BlockMapRef {
                    unit: file.unit.unwrap(),
                    size: ByteLength(map.len() as u64),
                    digest: sha256(&map),
                }),
                urls: List::from_slice(urls),
            })
            .collect();
        let hardware: Vec<_> =
            terms.hardware.iter().map(|revision| HardwareRevision::new(revision).unwrap()).collect();
        let requirements: Vec<_> = terms
            .requires
            .iter()
            .map(|(file, revision)| Requirement::FileRevision {
                file: FileName::new(file).unwrap(),
                revision: Revision::new(revision).unwrap(),
            })
            .collect();
        let release = Release {
            product: product(),
            hardware: List::from_slice(&hardware),
            package: PackageName::new("base").unwrap(),
            version: PackageVersion(terms.version),
            epoch: SecurityEpoch(terms.epoch),
            requirements: List::from_slice(&requirements),
            files: List::from_slice(&listed),
            expires: terms.expires,
            kind: ReleaseKind::Feature,
            notes: None,
            sbom: None,
        };
        let mut signed = SignedBody::release::<SoftSha256>(&release, EpochRaise::Unlimited).unwrap();
        for signer in &self.release_keys {
            signed.sign::<SoftSha256>(&**signer, key_of(signer), &Remembering).unwrap();
        }
        let signed = Signed { body: signed.body().to_vec(), envelope: signed.envelope().unwrap() };
        SourceRelease { signed, files }
    }

    /// Both release keys sign a body that somebody else has made.
    #[must_use]
    pub fn sign_release(&self, body: &[u8]) -> Vec<u8> {
        let mut signed = SignedBody::release_from_body::<SoftSha256>(body.to_vec()).unwrap();
        for signer in &self.release_keys {
            signed.sign::<SoftSha256>(&**signer, key_of(signer), &Remembering).unwrap();
        }
        signed.envelope().unwrap()
    }

    /// The key that signs assignments, for a server to hold.
    ///
    /// # Panics
    /// If there is a clone, which holds it as well.
    #[must_use]
    pub fn into_assignment_key(self) -> Ed25519Signer {
        Arc::into_inner(self.assignment_key).expect("a workshop without clones")
    }

    /// The server's word to one device.
    #[must_use]
    pub fn assignment(
        &self,
        device: DeviceId<'_>,
        nonce: Nonce,
        issued: Timestamp,
        action: Action,
    ) -> Vec<u8> {
        let expires = issued.plus(ota_core::time::Millis::from_seconds(3600));
        let assignment = Assignment { device, nonce, issued, expires, action };
        let key = key_of(&self.assignment_key);
        sign_assignment::<SoftSha256>(&assignment, product(), &*self.assignment_key, key, &Remembering)
            .unwrap()
    }
}

/// The product of all simulated devices.
#[must_use]
pub fn product() -> ProductId<'static> {
    ProductId::new(PRODUCT).unwrap()
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(digest::<SoftSha256>(bytes))
}

fn key(seed: u8) -> Arc<Ed25519Signer> {
    Arc::new(Ed25519Signer::from_seed(&[seed; 32]))
}

fn key_of(signer: &Ed25519Signer) -> Key<'_> {
    Key { algorithm: SignatureAlgorithm::Ed25519, public: signer.public_key() }
}

fn role(keys: &[KeyId], threshold: u8, generation: u32) -> RoleKeys<'_> {
    RoleKeys { keys: List::from_slice(keys), threshold, generation: Generation(generation) }
}
