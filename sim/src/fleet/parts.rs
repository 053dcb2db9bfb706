//! What a simulated fleet is made of: clock, link, randomness, a store that stumbles, people, keys and releases.

use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::cbor::to_vec;
use ota_core::crypto::SignatureAlgorithm;
use ota_core::crypto::sign::{Ed25519Signer, Signer};
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{PersonRole, RoleGrant};
use ota_core::fleet::{
    AuditEntry, CounterKey, CounterPrefix, Cursor, FleetStore, Key as RecordKey, Lease, LeaseRequest,
    LinkError, LinkEvent, MessageLink, Outbound, Outcome, Page, Query, StoreError, StoreErrorKind, Stored,
    Unit,
};
use ota_core::integrity::Strength;
use ota_core::list::List;
use ota_core::number::{Generation, Nonce, OfferId, ReleaseId, RootVersion, SecurityEpoch};
use ota_core::text::{
    DeviceIdBuf, FileNameBuf, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf,
    RevisionBuf,
};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{Action, Assignment, Key, RoleKeys, Root, SignedBody, offer_id};
use ota_core::wire::Down;
use ota_server::rules::permission::Principal;
use ota_server::rules::release::{ReleaseDraft, Verifier};
use ota_server::{AssignmentSigner, Clock, Entropy, KeySigner, NewDevice, NewProduct, Server};

use super::{BEGINNING, DAY};
use crate::random::Dice;

/// A release of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Its identity.
    pub id: ReleaseId,
    /// The revision of its file.
    pub revision: u32,
    /// How often it fails, of a million.
    pub failures: u32,
}

/// The server's clock: set to the true time, and possibly wrong.
pub(super) struct SimClock {
    now: AtomicU64,
    wrong_by_ms: AtomicI64,
}

impl SimClock {
    pub(super) const fn at(now: Timestamp) -> Self {
        Self { now: AtomicU64::new(now.0), wrong_by_ms: AtomicI64::new(0) }
    }

    pub(super) fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }

    /// From now on it tells so many milliseconds more than it should, or less.
    pub(super) fn is_wrong_by(&self, ms: i64) {
        self.wrong_by_ms.store(ms, Ordering::SeqCst);
    }

    pub(super) fn is_wrong(&self) -> bool {
        self.wrong_by_ms.load(Ordering::SeqCst) != 0
    }

    /// What the server takes for the time: its limits are kept by that.
    pub(super) fn told(&self) -> Timestamp {
        let now = self.now.load(Ordering::SeqCst);
        Timestamp(now.saturating_add_signed(self.wrong_by_ms.load(Ordering::SeqCst)))
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.told()
    }
}

/// Bytes that follow from a seed.
pub(super) struct SeededEntropy(Mutex<Dice>);

impl SeededEntropy {
    pub(super) const fn new(seed: u64) -> Self {
        Self(Mutex::new(Dice::new(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.0.lock().expect("no panic holds it");
        bytes.copy_from_slice(&dice.bytes(bytes.len()));
    }
}

/// A link that keeps what is sent until it is taken.
#[derive(Default)]
pub(super) struct KeptLink {
    sent: Mutex<Vec<Outbound>>,
    closed: Mutex<Vec<DeviceIdBuf>>,
}

impl KeptLink {
    pub(super) fn take(&self) -> Vec<Outbound> {
        core::mem::take(&mut *self.sent.lock().expect("no panic holds it"))
    }

    /// Devices whose connections the server has closed.
    pub(super) fn take_closed(&self) -> Vec<DeviceIdBuf> {
        core::mem::take(&mut *self.closed.lock().expect("no panic holds it"))
    }
}

#[async_trait]
impl MessageLink for KeptLink {
    async fn receive(&self, _: usize) -> Result<Vec<LinkEvent>, LinkError> {
        Ok(Vec::new())
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.sent.lock().expect("no panic holds it").extend(messages);
        Ok(())
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        self.closed.lock().expect("no panic holds it").push(device.clone());
        Ok(true)
    }
}

/// A store whose commits sometimes fail: half of those have happened all the same.
pub(super) struct StumblingStore {
    inner: Arc<dyn FleetStore>,
    dice: Mutex<Dice>,
    per_million: AtomicU32,
    failed: AtomicU64,
}

impl StumblingStore {
    pub(super) fn new(inner: Arc<dyn FleetStore>, seed: u64) -> Self {
        let dice = Mutex::new(Dice::new(seed ^ 0x5707_e0fa_11ed));
        Self { inner, dice, per_million: AtomicU32::new(0), failed: AtomicU64::new(0) }
    }

    pub(super) fn fails(&self, per_million: u32) {
        self.per_million.store(per_million, Ordering::SeqCst);
    }

    /// So many commits had failed before this store took the place of another.
    pub(super) fn has_failed(&self, before: u64) {
        self.failed.store(before, Ordering::SeqCst);
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl FleetStore for StumblingStore {
    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        let (fails, has_happened) = {
            let mut dice = self.dice.lock().expect("no panic holds it");
            (dice.happens(self.per_million.load(Ordering::SeqCst)), dice.happens(500_000))
        };
        if !fails {
            return self.inner.commit(units).await;
        }
        self.failed.fetch_add(1, Ordering::SeqCst);
        if has_happened {
            self.inner.commit(units).await?;
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn load(&self, keys: &[RecordKey]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.inner.load(keys).await
    }

    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        self.inner.scan(query, after, limit).await
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        self.inner.counters(of).await
    }

    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.inner.audit(from, limit).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        self.inner.lease(request).await
    }
}

/// Assignments without a signature for models that check none, a year of check-ins in seconds; and signed ones for
/// devices with the real engine.
pub(super) struct Sketch {
    key: KeySigner,
    /// From this device on they are real.
    real_from: usize,
    /// What was really signed: the releases that it offers.
    signed: Mutex<HashMap<OfferId, ReleaseId>>,
}

impl Sketch {
    pub(super) fn new(real_from: usize) -> Self {
        Self { key: KeySigner::for_all(signer(3)), real_from, signed: Mutex::default() }
    }

    /// The release that a message offers, if it is an offer.
    pub(super) fn offered(&self, payload: &Bytes) -> Option<ReleaseId> {
        let Down::Offer(offer) = Down::decode(payload).ok()? else { return None };
        if let Some((_, release)) = assigned(offer.assignment) {
            return Some(release);
        }
        let signed = self.signed.lock().expect("no panic holds it");
        signed.get(&offer_id::<SoftSha256>(offer.assignment)).copied()
    }
}

impl AssignmentSigner for Sketch {
    fn sign(&self, product: &ProductIdBuf, assignment: &Assignment<'_>) -> Option<Vec<u8>> {
        let place = assignment.device.as_str().strip_prefix("lamp-").and_then(|place| place.parse().ok());
        if place.is_none_or(|place: usize| place < self.real_from) {
            return to_vec(|writer| assignment.encode(writer)).ok();
        }
        let signed = self.key.sign(product, assignment)?;
        if let Action::Install(release) = assignment.action {
            let id = offer_id::<SoftSha256>(&signed);
            self.signed.lock().expect("no panic holds it").insert(id, release);
        }
        Some(signed)
    }
}

/// The nonce and the release that an assignment without a signature is about.
pub(super) fn assigned(assignment: &[u8]) -> Option<(Nonce, ReleaseId)> {
    let assignment = Assignment::decode(assignment).ok()?;
    match assignment.action {
        Action::Install(release) => Some((assignment.nonce, release)),
        _ => None,
    }
}

fn person(name: &str, roles: &[PersonRole]) -> Principal {
    Principal::new(name, roles.iter().map(|role| RoleGrant { role: *role, products: None }).collect())
}

/// Who makes products and looks after the installation.
#[must_use]
pub fn admin() -> Principal {
    person("admin", &[PersonRole::Administrator])
}

/// Who runs campaigns.
#[must_use]
pub fn operator() -> Principal {
    person("operator", &[PersonRole::Operator])
}

/// Who approves and promotes them.
#[must_use]
pub fn approver() -> Principal {
    person("approver", &[PersonRole::Approver])
}

/// Who signs releases.
fn holder() -> Principal {
    person("holder", &[PersonRole::KeyHolder])
}

pub(super) fn device_id(place: usize) -> DeviceIdBuf {
    DeviceIdBuf::new(format!("lamp-{place}")).expect("an id")
}

fn signer(seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(&[seed; 32])
}

fn key_of(signer: &Ed25519Signer) -> Key<'_> {
    Key { algorithm: SignatureAlgorithm::Ed25519, public: signer.public_key() }
}

/// A product with a root of one key for each role.
pub(super) async fn set_up(server: &Server) -> ProductIdBuf {
    let product = ProductIdBuf::new("lamp").expect("a name");
    let new = NewProduct {
        id: product.clone(),
        title: "Lamp".into(),
        approvals_min: 1,
        quarantine_after: 0,
        attested_only: false,
        dialects: 0,
    };
    server.create_product(&admin(), &new).await.expect("a product");
    server.add_root(&holder(), &product, &root_body(&product), &[]).await.expect("a first root");
    product
}

/// The first root of a product.
pub(super) fn root_body(product: &ProductIdBuf) -> Vec<u8> {
    let signers = [signer(1), signer(2), signer(3)];
    let keys = [key_of(&signers[0]), key_of(&signers[1]), key_of(&signers[2])];
    let ids = keys.map(|key| [key.id::<SoftSha256>()]);
    let role = |index: usize| RoleKeys {
        keys: List::from_slice(&ids[index]),
        threshold: 1,
        generation: Generation(0),
    };
    let root = Root {
        product: product.borrow(),
        version: RootVersion(1),
        issued: Timestamp(1),
        expires: Timestamp(u64::MAX / 2),
        keys: List::from_slice(&keys),
        roles: [role(0), role(1), role(2), RoleKeys::nobody()],
        strength_min: Strength::Hash,
        development: false,
    };
    SignedBody::root::<SoftSha256>(&root).expect("a root").body().to_vec()
}

/// Registers devices; every tenth is in the trial group.
pub(super) async fn register(server: &Server, product: &ProductIdBuf, ids: &[DeviceIdBuf]) {
    let new: Vec<NewDevice> = ids
        .iter()
        .enumerate()
        .map(|(place, id)| {
            let tags = if place % 10 == 0 { vec!["trial".into()] } else { Vec::new() };
            NewDevice { tags, ..NewDevice::named(id.clone()) }
        })
        .collect();
    for some in new.chunks(500) {
        server.register_devices(&operator(), product, some).await.expect("devices");
    }
}

/// A signed release whose one file has this number as its revision.
pub(super) async fn release(
    server: &Server,
    product: &ProductIdBuf,
    number: usize,
    failures: u32,
) -> Release {
    let revision = u32::try_from(number).expect("a small number");
    let id = release_of(server, product, number, vec![7; 300 + number]).await;
    Release { id, revision, failures }
}

/// A signed release of one file with this content; its revision is the number.
pub(super) async fn release_of(
    server: &Server,
    product: &ProductIdBuf,
    number: usize,
    content: Vec<u8>,
) -> ReleaseId {
    let developer = person("developer", &[PersonRole::Developer]);
    let mut upload = server.upload(&developer, product, 0).await.expect("an upload");
    upload.write(Bytes::from(content)).await.expect("bytes");
    let uploaded = upload.finish().await.expect("a file");
    let file = uploaded.file(
        FileNameBuf::new("app.bin").expect("a name"),
        RevisionBuf::new(number.to_string()).expect("a revision"),
        InstallTargetBuf::new("app").expect("a name"),
        &[],
    );
    let draft = ReleaseDraft {
        product: product.clone(),
        package: PackageNameBuf::new("main").expect("a name"),
        version: None,
        hardware: vec![HardwareRevisionBuf::new("rev-a").expect("a name")],
        epoch: SecurityEpoch(1),
        requirements: Vec::new(),
        files: vec![file.expect("a file")],
        expires: BEGINNING.plus(Millis(1_000 * DAY)),
        security: false,
        notes: None,
        sbom: None,
    };
    let draft = server.draft_release(&developer, draft).await.expect("a draft");
    let id = server.fix_release(&developer, &draft, None).await.expect("a body");
    let body = server.release_body(&developer, &id).await.expect("the body");
    let mut signed = SignedBody::release_from_body::<SoftSha256>(body.to_vec()).expect("a body");
    let key = signer(2);
    signed.sign::<SoftSha256>(&key, key_of(&key), &Verifier::default()).expect("a signature");
    let envelope = signed.envelope().expect("an envelope");
    server.sign_release(&holder(), &id, &envelope).await.expect("a signed release");
    id
}
