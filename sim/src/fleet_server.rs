//! The real server behind the memory link, as [`World`](crate::world::World) wants to talk to it.
//!
//! Everything of the fleet's half is real: its rules, a store, a blob store, the link; only time is simulated.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use ota_core::conformance::memory::{MemoryBlobStore, MemoryFleetStore};
use ota_core::fleet::records::{
    AttemptRules, FileRecord, Gate, Limits, OnFailure, Pace, PersonRole, Plan, RoleGrant, Schedule, Stage,
    Target,
};
use ota_core::fleet::{Dialect, MessageLink};
use ota_core::number::{CampaignId, ReleaseId, SecurityEpoch};
use ota_core::text::{
    DeviceIdBuf, FileNameBuf, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf,
    RevisionBuf,
};
use ota_core::time::{Instant, Millis, Timestamp};
use ota_server::rules::campaign::Draft;
use ota_server::rules::permission::Principal;
use ota_server::rules::release::ReleaseDraft;
use ota_server::{Clock, Entropy, KeySigner, NewDevice, NewProduct, Server};
use ota_transport::memory::{MemoryDevice, MemoryLink, MemoryLinkLimits};
use tokio::runtime::Runtime;

use crate::random::Dice;
use crate::workshop::{BEGINNING, HARDWARE, SourceFile, Terms, Workshop, product};
use crate::world::Answers;

/// The key with which the simulated device can vouch for what it says.
pub const EVIDENCE_KEY: [u8; 32] = [0x5e; 32];

const HOUR: Millis = Millis(3_600_000);

/// A server with one device at the other end of its link.
pub struct FleetServer {
    /// The server itself, for questions.
    pub server: Server,
    /// Runs what the server does; it does nothing in between.
    pub runtime: Runtime,
    link: Arc<MemoryLink>,
    device: MemoryDevice,
    clock: Arc<SimClock>,
    workshop: Workshop,
}

#[derive(Default)]
struct SimClock(AtomicU64);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        BEGINNING.plus(Millis(self.0.load(Ordering::SeqCst)))
    }
}

struct SimEntropy(std::sync::Mutex<Dice>);

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.0.lock().unwrap();
        bytes.copy_from_slice(&dice.bytes(bytes.len()));
    }
}

/// Somebody who has exactly one role.
#[must_use]
pub fn person(name: &str, role: PersonRole) -> Principal {
    Principal::new(name, vec![RoleGrant { role, products: None }])
}

impl FleetServer {
    /// A server that knows the product of all simulated devices and one of them.
    #[must_use]
    pub fn new(device: &str, seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let link = Arc::new(MemoryLink::new(MemoryLinkLimits::default()));
        let clock = Arc::new(SimClock::default());
        let id = DeviceIdBuf::new(device).unwrap();
        let (server, device) = runtime.block_on(async {
            let server = Server::builder(
                Arc::new(MemoryFleetStore::new()),
                Arc::new(MemoryBlobStore::new()),
                Arc::clone(&link) as _,
                Arc::new(SimEntropy(Dice::new(seed).into())),
            )
            .clock(Arc::clone(&clock) as _)
            .signer(Arc::new(KeySigner::for_all(Workshop::new().into_assignment_key())))
            .start()
            .await
            .unwrap();
            enrol(&server, &id).await;
            let device = link.connect(id).await.unwrap();
            (server, device)
        });
        Self { server, runtime, link, device, clock, workshop: Workshop::new() }
    }

    /// The body of the root that its devices trust.
    #[must_use]
    pub fn root_body() -> Vec<u8> {
        Workshop::new().root(1).body
    }

    /// A developer uploads files, the key holders sign, an operator and an approver start a campaign for everybody.
    pub fn roll_out(&self, terms: &Terms, files: &[SourceFile]) -> CampaignId {
        self.runtime.block_on(roll_out(&self.server, &self.workshop, terms, files))
    }

    /// The same with a gate that counts only what the device's own key vouches for.
    pub fn roll_out_attested(&self, terms: &Terms, files: &[SourceFile]) -> CampaignId {
        let mut plan = plan();
        for stage in &mut plan.stages {
            stage.gate.attested_only = true;
        }
        self.runtime.block_on(roll_out_by(&self.server, &self.workshop, terms, files, plan))
    }
}

impl Answers for FleetServer {
    fn receive(&mut self, message: &[u8], now: Instant) -> Vec<Vec<u8>> {
        self.clock.0.store(now.0, Ordering::SeqCst);
        self.runtime.block_on(async {
            self.server.tick().await.unwrap();
            self.device.send(Dialect::Native, Bytes::copy_from_slice(message)).await.unwrap();
            let events = self.link.receive(64).await.unwrap();
            self.server.handle(events).await.unwrap();
            let mut answers = Vec::new();
            loop {
                // What was sent is there by now; an empty inbox is not waited for.
                tokio::select! {
                    biased;
                    Some((_, answer)) = self.device.receive() => answers.push(answer.to_vec()),
                    () = core::future::ready(()) => return answers,
                }
            }
        })
    }
}

/// An administrator makes the product of all simulated devices, a key holder gives it its root, and an operator
/// registers one device: what a server over any link needs before its first campaign.
///
/// # Panics
/// If the server refuses, here and in [`roll_out`].
pub async fn enrol(server: &Server, device: &DeviceIdBuf) {
    let administrator = person("administrator", PersonRole::Administrator);
    let new = NewProduct {
        id: product().into(),
        title: "Thermostat".into(),
        approvals_min: 1,
        quarantine_after: 3,
        attested_only: false,
        dialects: 0,
    };
    server.create_product(&administrator, &new).await.unwrap();
    let root = Workshop::new().root(1);
    let holder = person("holder", PersonRole::KeyHolder);
    server.add_root(&holder, &product().into(), &root.body, &[]).await.unwrap();
    let operator = person("operator", PersonRole::Operator);
    let devices = [NewDevice { evidence_key: Some(EVIDENCE_KEY), ..NewDevice::named(device.clone()) }];
    server.register_devices(&operator, &product().into(), &devices).await.unwrap();
}

/// A developer uploads files, the key holders sign, an operator and an approver start a campaign for everybody.
pub async fn roll_out(
    server: &Server,
    workshop: &Workshop,
    terms: &Terms,
    files: &[SourceFile],
) -> CampaignId {
    roll_out_by(server, workshop, terms, files, plan()).await
}

async fn roll_out_by(
    server: &Server,
    workshop: &Workshop,
    terms: &Terms,
    files: &[SourceFile],
    plan: Plan,
) -> CampaignId {
    let release = release(server, workshop, terms, files).await;
    let operator = person("operator", PersonRole::Operator);
    let draft = Draft {
        product: product().into(),
        title: "everybody".into(),
        release,
        target: Target::Everyone,
        plan,
    };
    let campaign = server.draft_campaign(&operator, draft).await.unwrap();
    let hash = server.progress(&operator, campaign).await.unwrap().hash;
    let approver = person("approver", PersonRole::Approver);
    server.approve_campaign(&approver, campaign, &hash).await.unwrap();
    server.start_campaign(&operator, campaign).await.unwrap();
    campaign
}

async fn release(server: &Server, workshop: &Workshop, terms: &Terms, files: &[SourceFile]) -> ReleaseId {
    let developer = person("developer", PersonRole::Developer);
    let mut records: Vec<FileRecord> = Vec::new();
    for file in files {
        let unit = file.unit.unwrap_or(4096);
        let mut upload = server.upload(&developer, &product().into(), unit).await.unwrap();
        for piece in file.bytes.chunks(10_000) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        let uploaded = upload.finish().await.unwrap();
        let name = FileNameBuf::new(file.name.as_str()).unwrap();
        let revision = RevisionBuf::new(file.revision.as_str()).unwrap();
        let target = InstallTargetBuf::new(file.target.as_str()).unwrap();
        records.push(uploaded.file(name, revision, target, &[]).unwrap());
    }
    let draft = ReleaseDraft {
        product: ProductIdBuf::from(product()),
        package: PackageNameBuf::new("base").unwrap(),
        version: None,
        hardware: vec![HardwareRevisionBuf::new(HARDWARE).unwrap()],
        epoch: SecurityEpoch(terms.epoch),
        requirements: Vec::new(),
        files: records,
        expires: terms.expires,
        security: false,
        notes: None,
        sbom: None,
    };
    let draft = server.draft_release(&developer, draft).await.unwrap();
    let id = server.fix_release(&developer, &draft, None).await.unwrap();
    let body = server.release_body(&developer, &id).await.unwrap();
    let holder = person("holder", PersonRole::KeyHolder);
    server.sign_release(&holder, &id, &workshop.sign_release(&body)).await.unwrap();
    id
}

/// Everybody at once, kept when one device has confirmed.
fn plan() -> Plan {
    let gate = Gate {
        sample_min: 1,
        failures_good_ppm: 50_000,
        failures_bad_ppm: 999_999,
        false_stop_ppm: 100_000,
        missed_stop_ppm: 500_000,
        budgets: Vec::new(),
        silent_max_ppm: 300_000,
        soak: Millis(0),
        attested_only: false,
        small_group: None,
    };
    Plan {
        trial: None,
        stages: vec![Stage { until_ppm: 1_000_000, pace: Pace::AtOnce, gate }],
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
