//! A server with its pages on a free port, people who can sign in, a product with keys, and a link for devices.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use ota_core::conformance::memory::{MemoryBlobStore, MemoryFleetStore};
use ota_core::crypto::SignatureAlgorithm;
use ota_core::crypto::sign::{Ed25519Signer, Signer};
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{
    AttemptRules, Gate, Limits, OnFailure, Pace, PersonRole, Plan, PrincipalRecord, Promotion, RoleGrant,
    Schedule, Stage, Target, Trial,
};
use ota_core::integrity::Strength;
use ota_core::list::List;
use ota_core::number::{CampaignId, Generation, ReleaseId, RootVersion, SecurityEpoch};
use ota_core::text::{
    DeviceIdBuf, FileNameBuf, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf,
    RevisionBuf,
};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{Key, RoleKeys, Root, SignedBody};
use ota_server::http::Options;
use ota_server::rules::campaign::Draft;
use ota_server::rules::permission::Principal;
use ota_server::rules::release::{ReleaseDraft, Verifier};
use ota_server::{Config, Entropy, KeySigner, NewDevice, NewProduct, Server, console};

use crate::wire::Wire;

/// What everybody signs in with.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    pub(crate) link: Wire,
    pub(crate) product: ProductIdBuf,
}

struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let next = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            *byte = u8::try_from((next ^ next >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56).unwrap();
        }
    }
}

fn key(seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(&[seed; 32])
}

fn public(signer: &Ed25519Signer) -> Key<'_> {
    Key { algorithm: SignatureAlgorithm::Ed25519, public: signer.public_key() }
}

/// Somebody who may do everything, for what a test needs before it begins.
pub(crate) fn machine() -> Principal {
    use PersonRole as R;
    let roles = [R::Viewer, R::Developer, R::Operator, R::Approver, R::KeyHolder, R::Administrator];
    Principal::new("machine", roles.map(|role| RoleGrant { role, products: None }).to_vec())
}

impl World {
    pub(crate) async fn new() -> Self {
        let link = Wire::new();
        let server = Server::builder(
            Arc::new(MemoryFleetStore::new()),
            Arc::new(MemoryBlobStore::new()),
            Arc::new(link.clone()),
            Arc::new(Seeded(AtomicU64::new(1))),
        )
        .signer(Arc::new(KeySigner::for_all(key(4))))
        // A chart has something to draw within seconds.
        .config(Config { sample_every: Millis(500), course_every: Millis(500), ..Config::default() })
        .start()
        .await
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = console::router(server.clone(), Options::default());
        tokio::spawn(async move {
            axum::serve(listener, pages.into_make_service_with_connect_info::<SocketAddr>()).await
        });
        tokio::spawn({
            let server = server.clone();
            async move { server.run().await }
        });
        let world = Self { address, server, link, product: ProductIdBuf::new("lamp").unwrap() };
        world.people().await;
        world.enrol().await;
        world
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Olga runs campaigns, uploads and holds keys; Anna approves; Vera looks; Adam administrates.
    async fn people(&self) {
        use PersonRole as R;
        let people: [(&str, &[PersonRole]); 4] = [
            ("olga", &[R::Developer, R::Operator, R::KeyHolder]),
            ("anna", &[R::Approver]),
            ("vera", &[R::Viewer]),
            ("adam", &[R::Administrator]),
        ];
        for (name, roles) in people {
            let roles = roles.iter().map(|role| RoleGrant { role: *role, products: None }).collect();
            let record = PrincipalRecord { title: name.into(), roles, disabled: false, password: None };
            self.server.set_principal(&machine(), name, record).await.unwrap();
            let invitation = self.server.invite(&machine(), name).await.unwrap();
            let accepted =
                self.server.accept_invitation(&invitation.name, &invitation.secret, PASSWORD).await;
            accepted.unwrap().expect("a fresh invitation is good");
        }
    }

    async fn enrol(&self) {
        let new = NewProduct {
            id: self.product.clone(),
            title: "Street lamp".into(),
            approvals_min: 1,
            quarantine_after: 3,
            attested_only: false,
            dialects: 0,
        };
        self.server.create_product(&machine(), &new).await.unwrap();
        let root = root_body(&self.product);
        self.server.add_root(&machine(), &self.product, &root, &[]).await.unwrap();
    }

    pub(crate) async fn register(&self, names: &[String]) {
        let new: Vec<NewDevice> = names
            .iter()
            .map(|name| NewDevice {
                tags: vec!["site=berlin".into()],
                ..NewDevice::named(DeviceIdBuf::new(name.as_str()).unwrap())
            })
            .collect();
        self.server.register_devices(&machine(), &self.product, &new).await.unwrap();
    }

    /// A signed release of one file.
    pub(crate) async fn release(&self, revision: &str, content: &[u8]) -> ReleaseId {
        let by = machine();
        let mut upload = self.server.upload(&by, &self.product, 4096).await.unwrap();
        upload.write(Bytes::copy_from_slice(content)).await.unwrap();
        let uploaded = upload.finish().await.unwrap();
        let file = uploaded.file(
            FileNameBuf::new("app.bin").unwrap(),
            RevisionBuf::new(revision).unwrap(),
            InstallTargetBuf::new("app").unwrap(),
            &[],
        );
        let draft = ReleaseDraft {
            product: self.product.clone(),
            package: PackageNameBuf::new("main").unwrap(),
            version: None,
            hardware: vec![HardwareRevisionBuf::new("rev-a").unwrap()],
            epoch: SecurityEpoch(0),
            requirements: Vec::new(),
            files: vec![file.unwrap()],
            expires: self.server.time().plus(Millis(400 * 86_400_000)),
            security: false,
            notes: None,
            sbom: None,
        };
        let draft = self.server.draft_release(&by, draft).await.unwrap();
        let id = self.server.fix_release(&by, &draft, None).await.unwrap();
        let body = self.server.release_body(&by, &id).await.unwrap();
        self.server.sign_release(&by, &id, &envelope(body.to_vec())).await.unwrap();
        id
    }

    /// An approved campaign for everybody, begun.
    pub(crate) async fn campaign(&self, title: &str, release: ReleaseId, plan: Plan) -> CampaignId {
        let by = machine();
        let draft = Draft {
            product: self.product.clone(),
            title: title.into(),
            release,
            target: Target::Everyone,
            plan,
        };
        let id = self.server.draft_campaign(&by, draft).await.unwrap();
        let hash = self.server.progress(&by, id).await.unwrap().hash;
        let anna = Principal::new("anna", vec![RoleGrant { role: PersonRole::Approver, products: None }]);
        self.server.approve_campaign(&anna, id, &hash).await.unwrap();
        self.server.start_campaign(&by, id).await.unwrap();
        id
    }
}

/// A gate that is judged from so many devices on, and lets half of them fail or none.
pub(crate) fn gate(sample_min: u32, failures_good_ppm: u32) -> Gate {
    Gate {
        sample_min,
        failures_good_ppm,
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

/// Everybody at once, behind this gate.
pub(crate) fn plan(gate: Gate) -> Plan {
    let hour = Millis(3_600_000);
    Plan {
        trial: None,
        stages: vec![Stage { until_ppm: 1_000_000, pace: Pace::AtOnce, gate }],
        schedule: Schedule::default(),
        limits: Limits::default(),
        attempts: AttemptRules {
            begin_within: hour,
            download_within: hour,
            install_within: hour,
            confirm_within: hour,
            retries_max: 0,
            retry_after: Millis(60_000),
            retry_after_max: hour,
        },
        approvals: 1,
        on_failure: OnFailure::Pause,
        priority: 0,
    }
}

/// The same behind a trial with these devices.
pub(crate) fn plan_with_trial(gate: Gate, devices: &[&str]) -> Plan {
    let ids = devices.iter().map(|name| DeviceIdBuf::new(*name).unwrap()).collect();
    let trial = Trial { who: Target::Devices { ids }, gate: gate.clone(), promotion: Promotion::ByPerson };
    Plan { trial: Some(trial), ..plan(gate) }
}

/// The first root: keys 1 (root), 2 (release), 4 (assignment).
fn root_body(product: &ProductIdBuf) -> Vec<u8> {
    let (root, release, assignment) = (key(1), key(2), key(4));
    let keys = [public(&root), public(&release), public(&assignment)];
    let ids = keys.each_ref().map(|key| [key.id::<SoftSha256>()]);
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
    SignedBody::root::<SoftSha256>(&root).unwrap().body().to_vec()
}

/// The envelope with the release key's signature over a body.
pub(crate) fn envelope(body: Vec<u8>) -> Vec<u8> {
    let signer = key(2);
    let mut signed = SignedBody::release_from_body::<SoftSha256>(body).unwrap();
    signed.sign::<SoftSha256>(&signer, public(&signer), &Verifier::default()).unwrap();
    signed.envelope().unwrap()
}
