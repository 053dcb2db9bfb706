//! Signed metadata: bodies that decode, with keys and thresholds that keep all rules of a root.

use std::collections::BTreeSet;

use super::{Choices, Generate, Owned, View};
use crate::cbor::{Reader, to_vec};
use crate::crypto::soft::SoftSha256;
use crate::crypto::{SignatureAlgorithm, key_id};
use crate::integrity::{IntegrityStrings, Strength};
use crate::limits::{BLOCK_MAP_BYTES_MAX, KEYS_MAX, ROLE_KEYS_MAX, UNIT_BYTES_MAX, UNIT_BYTES_MIN, URLS_MAX};
use crate::list::{Item, List};
use crate::number::{
    ByteLength, Generation, KeyId, Nonce, PackageVersion, ReleaseId, RootVersion, SecurityEpoch, Sha256Digest,
};
use crate::text::{
    DeviceIdBuf, FileName, FileNameBuf, HardwareRevision, HardwareRevisionBuf, InstallTargetBuf,
    PackageNameBuf, ProductIdBuf, RevisionBuf, Url, UrlBuf,
};
use crate::time::Timestamp;
use crate::trust::{
    Action, Assignment, BlockMapRef, File, Generations, Key, Release, ReleaseKind, Requirement, Role,
    RoleKeys, Root, TrustedState,
};

/// An [`Assignment`] body that owns its bytes.
pub type OwnedAssignment = Owned<Assignment<'static>>;
/// A [`File`] that owns its bytes.
pub type OwnedFile = Owned<File<'static>>;
/// A [`Release`] body that owns its bytes.
pub type OwnedRelease = Owned<Release<'static>>;
/// A [`Requirement`] that owns its bytes.
pub type OwnedRequirement = Owned<Requirement<'static>>;
/// A [`Root`] body that owns its bytes. Its keys have the right lengths but are no points of a curve.
pub type OwnedRoot = Owned<Root<'static>>;

/// Reads one item and nothing behind it.
pub(super) fn whole_item<'a, T: Item<'a>>(bytes: &'a [u8]) -> Option<T> {
    let mut reader = Reader::new(bytes);
    let item = T::decode(&mut reader).ok()?;
    reader.finish().ok()?;
    Some(item)
}

impl View for Assignment<'static> {
    type Of<'a> = Assignment<'a>;

    fn decode(bytes: &[u8]) -> Option<Assignment<'_>> {
        Assignment::decode(bytes).ok()
    }

    fn encode(view: &Assignment<'_>) -> Option<Vec<u8>> {
        to_vec(|w| view.encode(w)).ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        let device = DeviceIdBuf::generate(choices);
        Owned::of(&Assignment {
            device: device.borrow(),
            nonce: Nonce::generate(choices),
            issued: Timestamp::generate(choices),
            expires: Timestamp::generate(choices),
            action: Action::generate(choices),
        })
    }
}

impl View for File<'static> {
    type Of<'a> = File<'a>;

    fn decode(bytes: &[u8]) -> Option<File<'_>> {
        whole_item(bytes)
    }

    fn encode(view: &File<'_>) -> Option<Vec<u8>> {
        to_vec(|w| view.encode(w)).ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        let name = FileNameBuf::generate(choices);
        let (revision, target) = (RevisionBuf::generate(choices), InstallTargetBuf::generate(choices));
        let integrity = IntegrityStrings::generate(choices);
        let urls = choices.list(0, URLS_MAX, UrlBuf::generate);
        let urls: Vec<Url<'_>> = urls.iter().map(UrlBuf::borrow).collect();
        Owned::of(&File {
            name: name.borrow(),
            revision: revision.borrow(),
            size: ByteLength::generate(choices),
            target: target.borrow(),
            integrity: integrity.as_list(),
            block_map: choices.maybe(BlockMapRef::generate),
            urls: List::from_slice(&urls),
        })
    }
}

impl View for Requirement<'static> {
    type Of<'a> = Requirement<'a>;

    fn decode(bytes: &[u8]) -> Option<Requirement<'_>> {
        whole_item(bytes)
    }

    fn encode(view: &Requirement<'_>) -> Option<Vec<u8>> {
        to_vec(|w| view.encode(w)).ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        if choices.flip() {
            let (file, revision) = (FileNameBuf::generate(choices), RevisionBuf::generate(choices));
            Owned::of(&Requirement::FileRevision { file: file.borrow(), revision: revision.borrow() })
        } else {
            Owned::of(&Requirement::EpochAtLeast(SecurityEpoch::generate(choices)))
        }
    }
}

impl View for Release<'static> {
    type Of<'a> = Release<'a>;

    fn decode(bytes: &[u8]) -> Option<Release<'_>> {
        Release::decode(bytes).ok()
    }

    fn encode(view: &Release<'_>) -> Option<Vec<u8>> {
        to_vec(|w| view.encode(w)).ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        let (product, package) = (ProductIdBuf::generate(choices), PackageNameBuf::generate(choices));
        let hardware: BTreeSet<_> = choices.list(1, 8, HardwareRevisionBuf::generate).into_iter().collect();
        let hardware: Vec<HardwareRevision<'_>> = hardware.iter().map(HardwareRevisionBuf::borrow).collect();
        let requirements = choices.list(0, 8, OwnedRequirement::generate);
        let requirements: Vec<_> = requirements.iter().map(Owned::lend).collect();
        let owned_files = choices.list(1, 16, OwnedFile::generate);
        // The order of the files means something, so the first of a name stays where it is.
        let mut names = BTreeSet::<FileName<'_>>::new();
        let files: Vec<_> =
            owned_files.iter().map(Owned::lend).filter(|file| names.insert(file.name)).collect();
        let notes = choices.maybe(UrlBuf::generate);
        Owned::of(&Release {
            product: product.borrow(),
            hardware: List::from_slice(&hardware),
            package: package.borrow(),
            version: PackageVersion::generate(choices),
            epoch: SecurityEpoch::generate(choices),
            requirements: List::from_slice(&requirements),
            files: List::from_slice(&files),
            expires: Timestamp::generate(choices),
            kind: ReleaseKind::generate(choices),
            notes: notes.as_ref().map(UrlBuf::borrow),
            sbom: choices.maybe(Sha256Digest::generate),
        })
    }
}

impl View for Root<'static> {
    type Of<'a> = Root<'a>;

    fn decode(bytes: &[u8]) -> Option<Root<'_>> {
        Root::decode::<SoftSha256>(bytes).ok()
    }

    fn encode(view: &Root<'_>) -> Option<Vec<u8>> {
        to_vec(|w| view.encode(w)).ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        let product = ProductIdBuf::generate(choices);
        let held = RoleDraw::keys_of_roles(choices);
        let keys: Vec<Key<'_>> = held
            .iter()
            .flat_map(|role| &role.keys)
            .map(|(algorithm, public)| Key { algorithm: *algorithm, public })
            .collect();
        let ids: Vec<Vec<KeyId>> = held
            .iter()
            .map(|role| role.keys.iter().map(|(_, public)| key_id::<SoftSha256>(public)).collect())
            .collect();
        let roles: [RoleKeys<'_>; 4] = core::array::from_fn(|index| RoleKeys {
            keys: List::from_slice(&ids[index]),
            threshold: held[index].threshold,
            generation: held[index].generation,
        });
        let issued = choices.up_to(u64::MAX - 1);
        Owned::of(&Root {
            product: product.borrow(),
            version: RootVersion(choices.between(1, u32::MAX.into()) as u32),
            issued: Timestamp(issued),
            expires: Timestamp(choices.between(issued + 1, u64::MAX)),
            keys: List::from_slice(&keys),
            roles,
            strength_min: Strength::generate(choices),
            development: choices.flip(),
        })
    }
}

/// What is drawn for one role of a root.
struct RoleDraw {
    keys: Vec<(SignatureAlgorithm, Vec<u8>)>,
    threshold: u8,
    generation: Generation,
}

impl RoleDraw {
    /// Keys that differ in what decides whose they are: the bytes without the sign of the point.
    fn keys_of_roles(choices: &mut Choices<'_>) -> Vec<Self> {
        let mut room = KEYS_MAX;
        let mut serial = 0_u16;
        Role::ALL
            .into_iter()
            .map(|role| {
                let least = usize::from(matches!(role, Role::Root));
                let keys = choices.list(least, ROLE_KEYS_MAX.min(room), |choices| {
                    let algorithm = SignatureAlgorithm::generate(choices);
                    let mut public = vec![choices.byte(); algorithm.public_key_bytes()];
                    serial += 1;
                    public[1..3].copy_from_slice(&serial.to_be_bytes());
                    (algorithm, public)
                });
                room -= keys.len();
                let most = match role {
                    Role::Assignment | Role::File => keys.len().min(1),
                    Role::Root | Role::Release => keys.len(),
                };
                let threshold = choices.between(most.min(1) as u64, most as u64) as u8;
                Self { keys, threshold, generation: Generation::generate(choices) }
            })
            .collect()
    }
}

impl Generate for Action {
    fn generate(choices: &mut Choices<'_>) -> Self {
        match choices.index(3) {
            0 => Self::None,
            1 => Self::Install(ReleaseId::generate(choices)),
            _ => Self::Cancel(ReleaseId::generate(choices)),
        }
    }
}

impl Generate for BlockMapRef {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self {
            unit: choices.between(UNIT_BYTES_MIN.into(), UNIT_BYTES_MAX.into()) as u32,
            size: ByteLength(choices.up_to(BLOCK_MAP_BYTES_MAX)),
            digest: Sha256Digest::generate(choices),
        }
    }
}

impl Generate for ReleaseKind {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&[Self::Feature, Self::Security])
    }
}

impl Generate for SignatureAlgorithm {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&[Self::Ed25519, Self::EcdsaP256])
    }
}

impl Generate for Role {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&Self::ALL)
    }
}

impl Generate for Generations {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self(core::array::from_fn(|_| Generation::generate(choices)))
    }
}

impl Generate for TrustedState {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self {
            root: RootVersion::generate(choices),
            root_digest: Sha256Digest::generate(choices),
            epoch: SecurityEpoch::generate(choices),
            generations: Generations::generate(choices),
            last_time: Timestamp::generate(choices),
        }
    }
}
