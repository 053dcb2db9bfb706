//! A product with roots, releases and assignments to bend: keys are named by numbers, bodies are plain values, and
//! envelopes over anything at all can be forged with an independent COSE implementation.

use coset::{
    CoseSign1Builder, CoseSignBuilder, CoseSignatureBuilder, HeaderBuilder, TaggedCborSerializable, iana,
};
use ota_core::cbor::to_vec;
use ota_core::crypto::sign::{EcdsaP256Signer, Ed25519Signer, SignError, Signer};
use ota_core::crypto::soft::{EcdsaP256, Ed25519, SoftSha256};
use ota_core::crypto::{Either, SignatureAlgorithm, digest};
use ota_core::integrity::{IntegrityString, Strength};
use ota_core::list::List;
use ota_core::number::{
    ByteLength, Generation, KeyId, Nonce, PackageVersion, ReleaseId, RootVersion, SecurityEpoch,
};
use ota_core::text::{DeviceId, FileName, HardwareRevision, InstallTarget, PackageName, ProductId, Revision};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{
    Action, Assignment, AssignmentCheck, DevelopmentRoots, DeviceIdentity, File, HashedBody, InstallContext,
    Key, PendingNonce, Release, ReleaseCheck, ReleaseKind, Role, RoleKeys, Root, RootCheck, TrustError,
    TrustedRoot, TrustedState, VerifiedAssignment,
};

pub(crate) type H = SoftSha256;
pub(crate) const VERIFIER: Either<Ed25519, EcdsaP256> = Either(Ed25519, EcdsaP256);
pub(crate) const PRODUCT: &str = "thermostat";
pub(crate) const DEVICE: &str = "th-0000000042";
pub(crate) const HARDWARE: &str = "rev-b";
pub(crate) const NONCE: Nonce = Nonce([0x5a; 16]);
pub(crate) const DAY: u64 = 24 * 3600;

/// A moment, in days since the product's first root was made.
pub(crate) fn day(days: u64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + days * DAY)
}

/// A key pair. Numbers below 100 are Ed25519 keys, the others P-256 keys.
pub(crate) enum Pair {
    Ed(Ed25519Signer),
    Ec(EcdsaP256Signer),
}

pub(crate) fn pair(number: u8) -> Pair {
    let secret = digest::<H>(&[b'k', b'e', b'y', number]);
    if number < 100 {
        Pair::Ed(Ed25519Signer::from_seed(&secret))
    } else {
        Pair::Ec(EcdsaP256Signer::from_scalar(&secret).unwrap())
    }
}

impl Signer for Pair {
    fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Self::Ed(signer) => signer.algorithm(),
            Self::Ec(signer) => signer.algorithm(),
        }
    }
    fn public_key(&self) -> &[u8] {
        match self {
            Self::Ed(signer) => signer.public_key(),
            Self::Ec(signer) => signer.public_key(),
        }
    }
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        match self {
            Self::Ed(signer) => signer.sign(message),
            Self::Ec(signer) => signer.sign(message),
        }
    }
}

impl Pair {
    pub(crate) fn key(&self) -> Key<'_> {
        Key { algorithm: self.algorithm(), public: self.public_key() }
    }
    pub(crate) fn id(&self) -> KeyId {
        self.key().id::<H>()
    }
}

/// A root as a plain value; keys by number.
#[derive(Clone)]
pub(crate) struct RootSpec {
    pub(crate) product: &'static str,
    pub(crate) version: u32,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
    /// Listed keys; normally those of the roles.
    pub(crate) keys: Vec<u8>,
    /// Threshold, generation and keys of each role.
    pub(crate) roles: [(u8, u32, Vec<u8>); 4],
    pub(crate) strength_min: Strength,
    pub(crate) development: bool,
}

pub(crate) const ROOT_KEYS: [u8; 3] = [1, 2, 103];
pub(crate) const RELEASE_KEYS: [u8; 3] = [11, 12, 113];
pub(crate) const SERVER_KEY: u8 = 21;
pub(crate) const FILE_KEY: u8 = 31;

impl RootSpec {
    pub(crate) fn first() -> Self {
        Self::with_roles([
            (2, 0, ROOT_KEYS.to_vec()),
            (2, 0, RELEASE_KEYS.to_vec()),
            (1, 0, vec![SERVER_KEY]),
            (1, 0, vec![FILE_KEY]),
        ])
    }

    pub(crate) fn with_roles(roles: [(u8, u32, Vec<u8>); 4]) -> Self {
        let mut keys: Vec<u8> = roles.iter().flat_map(|(_, _, keys)| keys.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        Self {
            product: PRODUCT,
            version: 1,
            issued: day(0),
            expires: day(1000),
            keys,
            roles,
            strength_min: Strength::Hash,
            development: false,
        }
    }

    /// The same root as version 2, made a day later.
    pub(crate) fn second() -> Self {
        Self { version: 2, issued: day(1), expires: day(1001), ..Self::first() }
    }

    pub(crate) fn with_root_keys(self, threshold: u8, keys: &[u8]) -> Self {
        let [_, release, assignment, file] = self.roles;
        let roles = [(threshold, 0, keys.to_vec()), release, assignment, file];
        Self { keys: Self::with_roles(roles.clone()).keys, roles, ..self }
    }

    pub(crate) fn with_server(self, generation: u32, key: u8) -> Self {
        let [root, release, _, file] = self.roles;
        let roles = [root, release, (1, generation, vec![key]), file];
        Self { keys: Self::with_roles(roles.clone()).keys, roles, ..self }
    }

    /// Hands the root to `then`; it cannot be returned because its lists borrow.
    pub(crate) fn with<T>(&self, then: impl FnOnce(&Root<'_>) -> T) -> T {
        let pairs: Vec<Pair> = self.keys.iter().map(|number| pair(*number)).collect();
        let keys: Vec<Key<'_>> = pairs.iter().map(Pair::key).collect();
        let ids: Vec<Vec<KeyId>> =
            self.roles.iter().map(|(_, _, keys)| keys.iter().map(|key| pair(*key).id()).collect()).collect();
        let roles = core::array::from_fn(|index| {
            let (threshold, generation, _) = &self.roles[index];
            RoleKeys {
                keys: List::from_slice(&ids[index]),
                threshold: *threshold,
                generation: Generation(*generation),
            }
        });
        then(&Root {
            product: ProductId::new(self.product).unwrap(),
            version: RootVersion(self.version),
            issued: self.issued,
            expires: self.expires,
            keys: List::from_slice(&keys),
            roles,
            strength_min: self.strength_min,
            development: self.development,
        })
    }

    /// The body as it would be written, whether or not anybody would accept it.
    pub(crate) fn body(&self) -> Vec<u8> {
        self.with(|root| to_vec(|writer| root.encode(writer)).unwrap())
    }
}

/// A file of a release as a plain value.
#[derive(Clone)]
pub(crate) struct FileSpec {
    pub(crate) name: String,
    pub(crate) integrity: Vec<IntegrityString>,
}

impl FileSpec {
    pub(crate) fn new(name: &str) -> Self {
        let integrity = vec![IntegrityString::Sha256(digest::<H>(name.as_bytes()))];
        Self { name: name.to_owned(), integrity }
    }
}

/// A release as a plain value.
#[derive(Clone)]
pub(crate) struct ReleaseSpec {
    pub(crate) product: &'static str,
    pub(crate) hardware: Vec<&'static str>,
    pub(crate) version: u64,
    pub(crate) epoch: u32,
    pub(crate) files: Vec<FileSpec>,
    pub(crate) expires: Timestamp,
}

impl ReleaseSpec {
    pub(crate) fn usual() -> Self {
        Self {
            product: PRODUCT,
            hardware: vec!["rev-a", HARDWARE],
            version: 7,
            epoch: 3,
            files: vec![FileSpec::new("firmware.bin"), FileSpec::new("certs/ca.pem")],
            expires: day(500),
        }
    }

    pub(crate) fn with<T>(&self, then: impl FnOnce(&Release<'_>) -> T) -> T {
        let hardware: Vec<HardwareRevision<'_>> =
            self.hardware.iter().map(|text| HardwareRevision::new(text).unwrap()).collect();
        let files: Vec<File<'_>> = self
            .files
            .iter()
            .map(|file| File {
                name: FileName::new(&file.name).unwrap(),
                revision: Revision::new("1.4.2").unwrap(),
                size: ByteLength(300_000),
                target: InstallTarget::new("app").unwrap(),
                integrity: List::from_slice(&file.integrity),
                block_map: None,
                urls: List::empty(),
            })
            .collect();
        then(&Release {
            product: ProductId::new(self.product).unwrap(),
            hardware: List::from_slice(&hardware),
            package: PackageName::new("controller").unwrap(),
            version: PackageVersion(self.version),
            epoch: SecurityEpoch(self.epoch),
            requirements: List::empty(),
            files: List::from_slice(&files),
            expires: self.expires,
            kind: ReleaseKind::Feature,
            notes: None,
            sbom: None,
        })
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.with(|release| to_vec(|writer| release.encode(writer)).unwrap())
    }
}

pub(crate) fn release_id(body: &[u8]) -> ReleaseId {
    ReleaseId(digest::<H>(body))
}

pub(crate) fn payload_of(body: &[u8]) -> Vec<u8> {
    to_vec(|writer| {
        writer.array(2)?;
        writer.u64(u64::try_from(body.len()).unwrap())?;
        writer.bytes(&digest::<H>(body))
    })
    .unwrap()
}

pub(crate) fn aad(role: Role, product: &str) -> Vec<u8> {
    format!("ota/v1/{}/{product}", role.name()).into_bytes()
}

pub(crate) fn header(algorithm: SignatureAlgorithm, id: KeyId) -> coset::Header {
    let algorithm = match algorithm {
        SignatureAlgorithm::EcdsaP256 => iana::Algorithm::ES256,
        _ => iana::Algorithm::EdDSA,
    };
    HeaderBuilder::new().algorithm(algorithm).key_id(id.0.to_vec()).build()
}

/// An envelope by coset over any payload, signed by these keys for this role and product.
pub(crate) fn envelope_over(payload: Vec<u8>, role: Role, product: &str, keys: &[u8]) -> Vec<u8> {
    let mut builder = CoseSignBuilder::new().payload(payload);
    for number in keys {
        let pair = pair(*number);
        let protected = header(pair.algorithm(), pair.id());
        let signature = CoseSignatureBuilder::new().protected(protected).build();
        builder = builder.add_created_signature(signature, &aad(role, product), |message| {
            pair.sign(message).unwrap().to_vec()
        });
    }
    builder.build().to_tagged_vec().unwrap()
}

/// An envelope by coset over a body.
pub(crate) fn envelope(body: &[u8], role: Role, keys: &[u8]) -> Vec<u8> {
    envelope_over(payload_of(body), role, PRODUCT, keys)
}

/// An assignment as a plain value.
#[derive(Clone, Copy)]
pub(crate) struct AssignmentSpec {
    pub(crate) device: &'static str,
    pub(crate) product: &'static str,
    pub(crate) nonce: Nonce,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) action: Action,
    pub(crate) key: u8,
}

impl AssignmentSpec {
    pub(crate) fn of(action: Action) -> Self {
        Self {
            device: DEVICE,
            product: PRODUCT,
            nonce: NONCE,
            issued: day(10),
            expires: day(11),
            action,
            key: SERVER_KEY,
        }
    }

    pub(crate) fn install(body: &[u8]) -> Self {
        Self::of(Action::Install(release_id(body)))
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let assignment = Assignment {
            device: DeviceId::new(self.device).unwrap(),
            nonce: self.nonce,
            issued: self.issued,
            expires: self.expires,
            action: self.action,
        };
        to_vec(|writer| assignment.encode(writer)).unwrap()
    }

    /// Signed by coset.
    pub(crate) fn signed(&self) -> Vec<u8> {
        let pair = pair(self.key);
        CoseSign1Builder::new()
            .protected(header(pair.algorithm(), pair.id()))
            .payload(self.body())
            .create_signature(&aad(Role::Assignment, self.product), |message| {
                pair.sign(message).unwrap().to_vec()
            })
            .build()
            .to_tagged_vec()
            .unwrap()
    }
}

/// A device: what it trusts and what it is. Bodies live as long as the test.
pub(crate) struct Device {
    pub(crate) root: TrustedRoot<'static>,
    pub(crate) state: TrustedState,
    pub(crate) hardware: &'static str,
    pub(crate) elapsed: Millis,
    pub(crate) development: DevelopmentRoots,
    /// The epoch that the running image carries.
    pub(crate) running_epoch: SecurityEpoch,
}

/// Bytes that live for ever: a test is short and borrows are a nuisance in it.
pub(crate) fn leak(bytes: Vec<u8>) -> &'static [u8] {
    Box::leak(bytes.into_boxed_slice())
}

impl Device {
    /// From the factory, with the first root and an epoch floor of 3.
    pub(crate) fn new() -> Self {
        Self::provisioned(&RootSpec::first())
    }

    pub(crate) fn provisioned(root: &RootSpec) -> Self {
        let (root, state) = TrustedRoot::provision::<H>(leak(root.body()), SecurityEpoch(3)).unwrap();
        Self {
            root,
            state,
            hardware: HARDWARE,
            elapsed: Millis(0),
            development: DevelopmentRoots::Refuse,
            running_epoch: SecurityEpoch(0),
        }
    }

    fn identity() -> DeviceIdentity<'static> {
        DeviceIdentity { device: DeviceId::new(DEVICE).unwrap(), product: ProductId::new(PRODUCT).unwrap() }
    }

    /// Takes the answer to a check-in that carried this nonce.
    pub(crate) fn hear(
        &mut self,
        nonce: &mut PendingNonce,
        signed: &[u8],
    ) -> Result<VerifiedAssignment, TrustError> {
        let check = AssignmentCheck::begin(&self.root, &self.state, Self::identity(), signed)?;
        let (verified, state) = check.answer(nonce, &VERIFIER)?;
        self.state = state;
        Ok(verified)
    }

    /// Takes an answer to a check-in that has just been made with the usual nonce.
    pub(crate) fn hear_fresh(&mut self, signed: &[u8]) -> Result<VerifiedAssignment, TrustError> {
        self.hear(&mut PendingNonce::new(NONCE), signed)
    }

    pub(crate) fn hear_cancel(
        &self,
        of: &VerifiedAssignment,
        signed: &[u8],
    ) -> Result<VerifiedAssignment, TrustError> {
        let check = AssignmentCheck::begin(&self.root, &self.state, Self::identity(), signed)?;
        check.cancellation(of, &VERIFIER).map(|(verified, _)| verified)
    }

    pub(crate) fn context(&self) -> InstallContext<'static> {
        InstallContext {
            product: ProductId::new(PRODUCT).unwrap(),
            hardware: HardwareRevision::new(self.hardware).unwrap(),
            epoch: self.state.effective_epoch(self.running_epoch),
            elapsed: self.elapsed,
            development: self.development,
        }
    }

    /// Checks a release that was assigned.
    pub(crate) fn check(
        &self,
        assigned: &VerifiedAssignment,
        envelope: &[u8],
        body: &[u8],
    ) -> Result<(), TrustError> {
        let hashed = HashedBody::hash::<H>(body);
        let check = ReleaseCheck::begin(&self.root, assigned, envelope, hashed, self.context())?;
        let verified = check.verify_all(&VERIFIER)?;
        assert_eq!(verified.id(), release_id(body));
        Ok(())
    }

    /// Everything that stands between a release and its installation, with an assignment by the true server.
    pub(crate) fn would_install(&mut self, envelope: &[u8], body: &[u8]) -> Result<(), TrustError> {
        let signed = AssignmentSpec::install(body).signed();
        let assigned = self.hear_fresh(&signed)?;
        self.check(&assigned, envelope, body)
    }

    /// Takes the next root, if it is one.
    pub(crate) fn follow(&mut self, envelope: &[u8], body: &[u8]) -> Result<(), TrustError> {
        let (body, envelope) = (leak(body.to_vec()), leak(envelope.to_vec()));
        let hashed = HashedBody::hash::<H>(body);
        let check = RootCheck::begin::<H>(&self.root, &self.state, envelope, hashed)?;
        let (root, state) = check.verify_all(&VERIFIER)?;
        (self.root, self.state) = (root, state);
        Ok(())
    }

    pub(crate) fn follow_spec(&mut self, root: &RootSpec, keys: &[u8]) -> Result<(), TrustError> {
        let body = root.body();
        self.follow(&envelope(&body, Role::Root, keys), &body)
    }
}

/// A usual release with enough signatures.
pub(crate) fn signed_release(spec: &ReleaseSpec) -> (Vec<u8>, Vec<u8>) {
    let body = spec.body();
    (envelope(&body, Role::Release, &RELEASE_KEYS[..2]), body)
}

/// Every way to change one byte: each byte once with one bit, once with all.
pub(crate) fn with_one_byte_changed(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (0..bytes.len()).flat_map(move |offset| {
        [0x01_u8, 0x80, 0xff].into_iter().map(move |mask| {
            let mut changed = bytes.to_vec();
            changed[offset] ^= mask;
            (offset, changed)
        })
    })
}

/// What coset makes of an encoded message, so that a test can change it and write it again.
pub(crate) fn cose_sign(bytes: &[u8]) -> coset::CoseSign {
    coset::CoseSign::from_tagged_slice(bytes).unwrap()
}
