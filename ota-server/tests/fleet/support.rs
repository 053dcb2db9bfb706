//! A small world: a product with its keys, a clock that is told the time, a link that keeps what is sent.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::memory::{MemoryBlobStore, MemoryFleetStore};
use ota_core::crypto::SignatureAlgorithm;
use ota_core::crypto::sign::{Ed25519Signer, Signer};
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::*;
use ota_core::fleet::{AnswerAtOnce, Dialect, FleetStore, LinkError, LinkEvent, MessageLink, Outbound};
use ota_core::integrity::Strength;
use ota_core::list::List;
use ota_core::number::*;
use ota_core::text::*;
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{Generations, Key, RoleKeys, Root, SignedBody};
use ota_core::wire::{
    AlgorithmSet, Capabilities, CheckIn, Down, InventoryItem, Part, Phase, Report, ReportCode,
    TrustedSummary, Up, Want, WantBlocks,
};
use ota_server::rules::campaign::{Draft, hash_of};
use ota_server::rules::permission::Principal;
use ota_server::rules::release::{ReleaseDraft, Verifier};
use ota_server::{Clock, Entropy, KeySigner, NewDevice, NewProduct, Server};

pub(crate) const HOUR: Millis = Millis(3_600_000);
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);

#[derive(Default)]
pub(crate) struct HandClock {
    pub(crate) time: AtomicU64,
    /// How much time passes whenever somebody looks at it.
    pub(crate) step: AtomicU64,
}

impl HandClock {
    pub(crate) fn at(time: Timestamp) -> Self {
        Self { time: AtomicU64::new(time.0), step: AtomicU64::new(0) }
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.time.fetch_add(self.step.load(Ordering::SeqCst), Ordering::SeqCst))
    }
}

/// Bytes that differ each time, from a seed.
pub(crate) struct Seeded(pub(crate) AtomicU64);

impl Seeded {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let next = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            *byte = u8::try_from((next ^ next >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56).unwrap();
        }
    }
}

/// A link that brings one batch and ends, and keeps what is sent.
#[derive(Default)]
pub(crate) struct KeepingLink {
    pub(crate) arriving: Mutex<Vec<LinkEvent>>,
    pub(crate) sent: Mutex<VecDeque<Outbound>>,
    pub(crate) closed: Mutex<Vec<DeviceIdBuf>>,
    /// Who is to be asked at once.
    pub(crate) at_once: Mutex<Option<Arc<dyn AnswerAtOnce>>>,
    /// It is another connection whenever somebody looks at it.
    pub(crate) is_unsteady: AtomicBool,
    connection: AtomicU64,
}

#[async_trait]
impl MessageLink for KeepingLink {
    async fn receive(&self, _: usize) -> Result<Vec<LinkEvent>, LinkError> {
        Ok(core::mem::take(&mut *self.arriving.lock().unwrap()))
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.sent.lock().unwrap().extend(messages);
        Ok(())
    }

    fn connection(&self) -> u64 {
        self.connection.fetch_add(u64::from(self.is_unsteady.load(Ordering::SeqCst)), Ordering::SeqCst)
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        self.closed.lock().unwrap().push(device.clone());
        Ok(true)
    }

    fn answer_at_once(&self, answers: Arc<dyn AnswerAtOnce>) {
        *self.at_once.lock().unwrap() = Some(answers);
    }
}

pub(crate) struct World {
    pub(crate) clock: Arc<HandClock>,
    pub(crate) link: Arc<KeepingLink>,
    pub(crate) store: Arc<MemoryFleetStore>,
    pub(crate) blobs: Arc<MemoryBlobStore>,
    pub(crate) server: Server,
    pub(crate) product: ProductIdBuf,
}

pub(crate) fn key(seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(&[seed; 32])
}

fn key_of(signer: &Ed25519Signer) -> Key<'_> {
    Key { algorithm: SignatureAlgorithm::Ed25519, public: signer.public_key() }
}

pub(crate) fn person(name: &str, roles: &[PersonRole]) -> Principal {
    Principal::new(name, roles.iter().map(|role| RoleGrant { role: *role, products: None }).collect())
}

pub(crate) fn admin() -> Principal {
    person("admin", &[PersonRole::Administrator])
}

pub(crate) fn developer() -> Principal {
    person("dev", &[PersonRole::Developer])
}

pub(crate) fn holder() -> Principal {
    person("holder", &[PersonRole::KeyHolder])
}

pub(crate) fn operator() -> Principal {
    person("operator", &[PersonRole::Operator])
}

pub(crate) fn approver() -> Principal {
    person("approver", &[PersonRole::Approver])
}

/// The first root: one root key, two release keys of which one is enough, one assignment key.
pub(crate) fn root_body(product: &ProductIdBuf) -> Vec<u8> {
    let (root, one, two, assignment) = (key(1), key(2), key(3), key(4));
    let keys = [key_of(&root), key_of(&one), key_of(&two), key_of(&assignment)];
    let id = |signer: &Ed25519Signer| key_of(signer).id::<SoftSha256>();
    let (root_ids, release_ids, assignment_ids) = ([id(&root)], [id(&one), id(&two)], [id(&assignment)]);
    let role = |keys| RoleKeys { keys, threshold: 1, generation: Generation(0) };
    let root = Root {
        product: product.borrow(),
        version: RootVersion(1),
        issued: Timestamp(1),
        expires: Timestamp(u64::MAX / 2),
        keys: List::from_slice(&keys),
        roles: [
            role(List::from_slice(&root_ids)),
            role(List::from_slice(&release_ids)),
            role(List::from_slice(&assignment_ids)),
            RoleKeys::nobody(),
        ],
        strength_min: Strength::Hash,
        development: false,
    };
    SignedBody::root::<SoftSha256>(&root).unwrap().body().to_vec()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_dialects(0).await
    }

    pub(crate) async fn with_dialects(dialects: u32) -> Self {
        let clock = Arc::new(HandClock::at(START));
        let link = Arc::new(KeepingLink::default());
        let store = Arc::new(MemoryFleetStore::new());
        let blobs = Arc::new(MemoryBlobStore::new());
        let product = ProductIdBuf::new("lamp").unwrap();
        let server = Self::start(&clock, &link, &store, &blobs).await;
        let new = NewProduct {
            id: product.clone(),
            title: "Lamp".into(),
            approvals_min: 1,
            quarantine_after: 3,
            attested_only: false,
            dialects,
        };
        server.create_product(&admin(), &new).await.unwrap();
        server.add_root(&holder(), &product, &root_body(&product), &[]).await.unwrap();
        Self { clock, link, store, blobs, server, product }
    }

    async fn start(
        clock: &Arc<HandClock>,
        link: &Arc<KeepingLink>,
        store: &Arc<MemoryFleetStore>,
        blobs: &Arc<MemoryBlobStore>,
    ) -> Server {
        let seeded = Arc::new(Seeded(AtomicU64::new(clock.now().0)));
        let store: Arc<dyn FleetStore> = Arc::clone(store) as _;
        Server::builder(store, Arc::clone(blobs) as _, Arc::clone(link) as _, seeded)
            .clock(Arc::clone(clock) as _)
            .signer(Arc::new(KeySigner::for_all(key(4))))
            .start()
            .await
            .unwrap()
    }

    /// The server is gone and another one starts on the same stores.
    pub(crate) async fn restart(&mut self) {
        self.server = Self::start(&self.clock, &self.link, &self.store, &self.blobs).await;
    }

    pub(crate) fn pass(&self, span: Millis) {
        self.clock.time.fetch_add(span.0, Ordering::SeqCst);
    }

    /// So many hours go by while the server is at work: a clock that leaps over them is another matter.
    pub(crate) async fn live(&self, hours: u64) {
        for _ in 0..hours {
            self.pass(HOUR);
            self.server.tick().await.unwrap();
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn register(&self, names: &[(&str, &[&str])]) {
        let new: Vec<NewDevice> = names
            .iter()
            .map(|(name, tags)| NewDevice {
                tags: tags.iter().map(|tag| Box::from(*tag)).collect(),
                ..NewDevice::named(DeviceIdBuf::new(*name).unwrap())
            })
            .collect();
        self.server.register_devices(&operator(), &self.product, &new).await.unwrap();
    }

    pub(crate) async fn file(&self, name: &str, revision: &str, content: &[u8]) -> FileRecord {
        let mut upload = self.server.upload(&developer(), &self.product, 4096).await.unwrap();
        for piece in content.chunks(3000) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let target = if name == "firmware.bin" { "firmware" } else { "app" };
        let uploaded = upload.finish().await.unwrap();
        uploaded
            .file(
                FileNameBuf::new(name).unwrap(),
                RevisionBuf::new(revision).unwrap(),
                InstallTargetBuf::new(target).unwrap(),
                &[],
            )
            .unwrap()
    }

    pub(crate) fn release_draft(&self, files: Vec<FileRecord>) -> ReleaseDraft {
        ReleaseDraft {
            product: self.product.clone(),
            package: PackageNameBuf::new("main").unwrap(),
            version: None,
            hardware: vec![HardwareRevisionBuf::new("rev-a").unwrap()],
            epoch: SecurityEpoch(0),
            requirements: Vec::new(),
            files,
            expires: START.plus(Millis(400 * 24 * HOUR.0)),
            security: false,
            notes: None,
            sbom: None,
        }
    }

    pub(crate) async fn sign(&self, draft: ReleaseDraft) -> ReleaseId {
        let draft = self.server.draft_release(&developer(), draft).await.unwrap();
        let id = self.server.fix_release(&developer(), &draft, None).await.unwrap();
        let body = self.server.release_body(&developer(), &id).await.unwrap();
        let mut signed = SignedBody::release_from_body::<SoftSha256>(body.to_vec()).unwrap();
        let signer = key(2);
        signed.sign::<SoftSha256>(&signer, key_of(&signer), &Verifier::default()).unwrap();
        let status = self.server.sign_release(&holder(), &id, &signed.envelope().unwrap()).await.unwrap();
        assert_eq!(status, ReleaseStatus::Signed);
        id
    }

    /// A signed release of one file.
    pub(crate) async fn release(&self, revision: &str, content: &[u8]) -> ReleaseId {
        let file = self.file("app.bin", revision, content).await;
        self.sign(self.release_draft(vec![file])).await
    }

    pub(crate) async fn start_campaign(&self, draft: Draft) -> CampaignId {
        let id = self.server.draft_campaign(&operator(), draft).await.unwrap();
        let report = self.server.progress(&operator(), id).await.unwrap();
        self.server.approve_campaign(&approver(), id, &report.hash).await.unwrap();
        assert_eq!(hash_of(&report.campaign), report.hash);
        self.server.start_campaign(&operator(), id).await.unwrap();
        id
    }

    /// What the server says to a device when it says this.
    pub(crate) async fn say(&self, device: &str, dialect: Dialect, payload: Bytes) -> Vec<Bytes> {
        let device = DeviceIdBuf::new(device).unwrap();
        let message = LinkEvent::Message { dialect, device: device.clone(), payload };
        self.server.handle(vec![message]).await.unwrap();
        self.heard_by(&device)
    }

    pub(crate) fn heard_by(&self, device: &DeviceIdBuf) -> Vec<Bytes> {
        let mut sent = self.link.sent.lock().unwrap();
        let (mine, others) = sent.drain(..).partition(|out| out.device == *device);
        *sent = others;
        let mine: VecDeque<Outbound> = mine;
        mine.into_iter().map(|out| out.payload).collect()
    }

    pub(crate) async fn assert_counters_are_exact(&self) {
        let recount = self.server.recount(&admin()).await.unwrap();
        assert_eq!(recount.differences, []);
    }
}

pub(crate) fn gate(sample_min: u32) -> Gate {
    Gate {
        sample_min,
        failures_good_ppm: 50_000,
        failures_bad_ppm: 999_999,
        false_stop_ppm: 100_000,
        missed_stop_ppm: 500_000,
        budgets: Vec::new(),
        silent_max_ppm: 300_000,
        soak: Millis(0),
        attested_only: false,
        small_group: None,
    }
}

pub(crate) fn plan() -> Plan {
    Plan {
        trial: None,
        stages: vec![Stage { until_ppm: 1_000_000, pace: Pace::AtOnce, gate: gate(1) }],
        schedule: Schedule::default(),
        limits: Limits::default(),
        attempts: AttemptRules {
            begin_within: HOUR,
            download_within: HOUR,
            install_within: HOUR,
            confirm_within: HOUR,
            retries_max: 1,
            retry_after: Millis(60_000),
            retry_after_max: HOUR,
        },
        approvals: 1,
        on_failure: OnFailure::Pause,
        priority: 0,
    }
}

pub(crate) fn draft(world: &World, release: ReleaseId, plan: Plan) -> Draft {
    Draft {
        product: world.product.clone(),
        title: "campaign".into(),
        release,
        target: Target::Everyone,
        plan,
    }
}

/// A device that speaks the native protocol, honest and simple.
pub(crate) struct Lamp {
    pub(crate) name: String,
    pub(crate) revision: String,
    pub(crate) nonce: u8,
    pub(crate) product: &'static str,
    pub(crate) hardware: &'static str,
    pub(crate) file: &'static str,
}

/// What a device keeps of an offer.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) id: OfferId,
    pub(crate) assignment: Bytes,
    pub(crate) grant: Bytes,
    pub(crate) body: u32,
}

/// An answer, told apart.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Offer(Offered),
    UpToDate { turn: Option<Timestamp> },
    Busy(Millis),
    Refuse(ota_core::wire::RefuseCode),
    Block { offset: u64, bytes: Vec<u8> },
    Ack(u32),
    Cancel,
    Notify,
}

pub(crate) fn answer(payload: &Bytes) -> Answer {
    match Down::decode(payload).unwrap() {
        Down::Offer(offer) => Answer::Offer(Offered {
            id: ota_core::trust::offer_id::<SoftSha256>(offer.assignment),
            assignment: Bytes::copy_from_slice(offer.assignment),
            grant: Bytes::copy_from_slice(offer.grant),
            body: offer.release.body,
        }),
        Down::UpToDate(answer) => Answer::UpToDate { turn: answer.turn },
        Down::Busy(busy) => Answer::Busy(busy.retry_after),
        Down::Refuse(refuse) => Answer::Refuse(refuse.code),
        Down::Block(block) => Answer::Block { offset: block.offset.0, bytes: block.bytes.to_vec() },
        Down::ReportAck(ack) => Answer::Ack(ack.sequence.0),
        Down::Cancel(_) => Answer::Cancel,
        Down::Notify(_) => Answer::Notify,
    }
}

impl Lamp {
    pub(crate) fn new(name: &str, revision: &str) -> Self {
        Self {
            name: name.into(),
            revision: revision.into(),
            nonce: 0,
            product: "lamp",
            hardware: "rev-a",
            file: "app.bin",
        }
    }

    pub(crate) fn check_in_message(&mut self) -> Bytes {
        let (file, revision) = (self.file, self.revision.clone());
        self.check_in_with(&[(file, &revision)])
    }

    /// A check-in that tells of these files and revisions, in the order of their names.
    pub(crate) fn check_in_with(&mut self, files: &[(&str, &str)]) -> Bytes {
        self.nonce = self.nonce.wrapping_add(1);
        let items: Vec<InventoryItem<'_>> = files
            .iter()
            .map(|(file, revision)| InventoryItem {
                file: FileName::new(file).unwrap(),
                revision: Revision::new(revision).unwrap(),
                digest: None,
            })
            .collect();
        let check_in = Up::CheckIn(CheckIn {
            product: ProductId::new(self.product).unwrap(),
            hardware: HardwareRevision::new(self.hardware).unwrap(),
            inventory: List::from_slice(&items),
            trusted: TrustedSummary {
                root: RootVersion(1),
                epoch: SecurityEpoch(0),
                generations: Generations::default(),
            },
            capabilities: Capabilities {
                block_bytes_max: 4096,
                window_max: 4,
                metadata_bytes_max: 8192,
                algorithms: AlgorithmSet(0x7f),
                encodings: 0,
                downloads_urls: false,
            },
            nonce: Nonce([self.nonce; 16]),
            outcome: None,
            evidence: None,
        });
        check_in.to_vec().unwrap().into()
    }

    pub(crate) async fn check_in(&mut self, world: &World) -> Answer {
        let message = self.check_in_message();
        let answers = world.say(&self.name, Dialect::Native, message).await;
        assert_eq!(answers.len(), 1, "one answer to one check-in");
        answer(&answers[0])
    }

    pub(crate) async fn offer(&mut self, world: &World) -> Offered {
        match self.check_in(world).await {
            Answer::Offer(offer) => offer,
            other => panic!("{} got {other:?} and no offer", self.name),
        }
    }

    pub(crate) fn want(
        &self,
        offer: &Offered,
        part: Part,
        offset: u64,
        block_bytes: u32,
        count: u16,
    ) -> Bytes {
        let want = Up::WantBlocks(WantBlocks {
            offer: offer.id,
            grant: &offer.grant,
            part,
            offset: ByteOffset(offset),
            block_bytes,
            want: Want::Count(count),
        });
        want.to_vec().unwrap().into()
    }

    pub(crate) async fn fetch(&self, world: &World, offer: &Offered, part: Part, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while u64::try_from(bytes.len()).unwrap() < size {
            let at = u64::try_from(bytes.len()).unwrap();
            let blocks = u16::try_from((size - at).div_ceil(1024).min(8)).unwrap();
            let answers =
                world.say(&self.name, Dialect::Native, self.want(offer, part, at, 1024, blocks)).await;
            for payload in &answers {
                match answer(payload) {
                    Answer::Block { offset, bytes: more } => {
                        assert_eq!(offset, u64::try_from(bytes.len()).unwrap());
                        bytes.extend(more);
                    }
                    other => panic!("{other:?} instead of a block"),
                }
            }
        }
        bytes
    }

    pub(crate) async fn report(
        &self,
        world: &World,
        offer: &Offered,
        sequence: u32,
        phase: Phase,
        code: ReportCode,
    ) -> Answer {
        let report = Up::Report(Report {
            offer: offer.id,
            sequence: ReportSequence(sequence),
            file: None,
            phase,
            code,
            done: ByteLength(0),
            detail: Detail::new("").unwrap(),
            evidence: None,
        });
        let answers = world.say(&self.name, Dialect::Native, report.to_vec().unwrap().into()).await;
        assert_eq!(answers.len(), 1);
        answer(&answers[0])
    }

    /// Downloads, installs, starts and confirms, all at once.
    pub(crate) async fn update(&mut self, world: &World, to: &str, size: u64) {
        let offer = self.offer(world).await;
        self.fetch(world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
        self.fetch(world, &offer, Part::File(FileIndex(0)), size).await;
        assert!(matches!(
            self.report(world, &offer, 0, Phase::Downloaded, ReportCode::Ok).await,
            Answer::Ack(0)
        ));
        assert!(matches!(
            self.report(world, &offer, 1, Phase::Installed, ReportCode::Ok).await,
            Answer::Ack(1)
        ));
        self.revision = to.into();
        assert!(matches!(self.check_in(world).await, Answer::UpToDate { .. }));
    }
}
