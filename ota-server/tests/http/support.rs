//! A server that listens on a free port, with people, a product, a signed release and a campaign.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::io::Read;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{Next, from_fn};
use ota_core::crypto::sign::{Ed25519Signer, Signer};
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{PersonRole, PrincipalRecord, RoleGrant};
use ota_core::integrity::Strength;
use ota_core::list::List;
use ota_core::number::{Generation, RootVersion};
use ota_core::text::ProductId;
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{RoleKeys, Root, SignedBody};
use ota_server::http::body::RoleBody;
use ota_server::http::{Options, hex, router, token_text};
use ota_server::program::{PublicKey, SystemEntropy};
use ota_server::rules::permission::Principal;
use ota_server::rules::release::Verifier;
use ota_server::{KeySigner, NewToken, Server};
use ota_storage::object::ObjectBlobStore;
use ota_storage::redb::{RedbOptions, RedbStore};
use ota_transport::memory::{MemoryLink, MemoryLinkLimits};
use serde_json::{Value, json};
use ureq::http::{HeaderValue, Method, Request};

/// An answer: its status and its body, JSON where it is.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The answer, if it is a good one.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        assert!((200..300).contains(&self.status), "{} {text}", self.status);
        self
    }

    /// A problem with this status that says what to do.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> Value {
        let problem = self.json();
        assert_eq!(self.status, status, "{problem}");
        assert_eq!(self.kind, "application/problem+json");
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail", "what_to_do"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
        }
        problem
    }
}

pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    pub(crate) machine: Principal,
    pub(crate) folder: tempfile::TempDir,
    agent: ureq::Agent,
    runtime: tokio::runtime::Runtime,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(folder.path().join("ota.redb"), RedbOptions::default()).unwrap();
        let blobs = ObjectBlobStore::local(folder.path().join("files")).unwrap();
        let link = MemoryLink::new(MemoryLinkLimits::default());
        let signer = KeySigner::for_all(key(4));
        let builder =
            Server::builder(Arc::new(store), Arc::new(blobs), Arc::new(link), Arc::new(SystemEntropy));
        let server = runtime.block_on(builder.signer(Arc::new(signer)).start()).unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let options = Options { staging: Some(folder.path().join("staging")), ..options };
        let serving = axum::serve(listener, router(server.clone(), options));
        runtime.spawn(async move { serving.await });
        // A server that refuses a request before it has read its body ends the connection.
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .max_redirects(0);
        let agent = agent.build().new_agent();
        let grant = RoleGrant { role: PersonRole::Administrator, products: None };
        let machine = Principal::new("machine", vec![grant]);
        Self { address, server, machine, folder, agent, runtime }
    }

    /// Somebody with this role, and a token that is good for `life`.
    pub(crate) fn person(&self, name: &str, role: RoleBody, product: Option<&str>, life: Millis) -> String {
        let products = product.map(|product| vec![product.parse().unwrap()]);
        let roles = vec![RoleGrant { role: role.role(), products }];
        let record = PrincipalRecord { title: name.into(), roles, disabled: false, password: None };
        self.runtime.block_on(async {
            self.server.set_principal(&self.machine, name, record).await.unwrap();
            let expires = Some(self.server.time().plus(life));
            let new = NewToken { expires, ..NewToken::default() };
            let issued = self.server.create_token(&self.machine, name, new).await.unwrap();
            token_text(&issued.name, &issued.secret)
        })
    }

    /// Another server on the same store, with uploads of its own. Returns where it listens.
    pub(crate) fn another(&self, name: &str) -> SocketAddr {
        self.serve(self.beside(name))
    }

    /// A balancer that sends each request to the next of two servers on the same store.
    pub(crate) fn balanced(&self) -> SocketAddr {
        let turn = AtomicUsize::new(0);
        let both =
            Router::new().nest_service("/0", self.beside("first")).nest_service("/1", self.beside("second"));
        let next_one = move |mut request: axum::extract::Request, next: Next| {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let path = format!("/{}{path}", turn.fetch_add(1, Ordering::SeqCst) % 2);
            *request.uri_mut() = path.parse().unwrap();
            next.run(request)
        };
        let next_one = Arc::new(next_one);
        let turns = from_fn(move |request, next| next_one(request, next));
        self.serve(Router::new().fallback_service(both).layer(turns))
    }

    fn beside(&self, name: &str) -> Router {
        let staging = Some(self.folder.path().join("staging-of").join(name));
        router(self.server.clone(), Options { staging, ..Options::default() })
    }

    fn serve(&self, router: Router) -> SocketAddr {
        let listener = self.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = axum::serve(listener, router);
        self.runtime.spawn(async move { serving.await });
        address
    }

    /// Does something with the server itself.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        self.send(method, path, token, "application/json", &bytes)
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        kind: &str,
        bytes: &[u8],
    ) -> Answer {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", kind)];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        self.raw(method, path, &headers, bytes)
    }

    /// A request with exactly these headers. A redirect is not followed.
    pub(crate) fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], bytes: &[u8]) -> Answer {
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let is_get = method == Method::GET;
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = if is_get {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(bytes).unwrap())
        };
        let mut answer = answer.unwrap_or_else(|why| panic!("{path} with {} bytes: {why}", bytes.len()));
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers: Vec<_> =
            answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let status = answer.status().as_u16();
        let is_live = headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned()));
        let bytes = match is_live {
            true => first_event(answer.body_mut().as_reader()),
            false => answer.body_mut().read_to_vec().unwrap(),
        };
        let mut answer = Answer { status, kind: String::new(), bytes, headers };
        answer.kind = answer.header("content-type").unwrap_or_default().to_owned();
        answer
    }
}

/// A stream of events has no end: its first event.
fn first_event(mut stream: impl Read) -> Vec<u8> {
    let (mut event, mut byte) = (Vec::new(), [0]);
    while !event.ends_with(b"\n\n") {
        stream.read_exact(&mut byte).unwrap();
        event.extend_from_slice(&byte);
    }
    event
}

pub(crate) const DAY: Millis = Millis(86_400_000);

pub(crate) fn key(seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(&[seed; 32])
}

/// The first root of a product: keys 1 (root), 2 (release), 4 (assignment).
pub(crate) fn root_input(product: &str) -> Value {
    let publics = [1, 2, 4].map(|seed| PublicKey::of(&key(seed)));
    let keys = publics.each_ref().map(PublicKey::key);
    let ids = publics.each_ref().map(|public| [public.id()]);
    let role = |index: usize| RoleKeys {
        keys: List::from_slice(&ids[index]),
        threshold: 1,
        generation: Generation(0),
    };
    let root = Root {
        product: ProductId::new(product).unwrap(),
        version: RootVersion(1),
        issued: Timestamp(1),
        expires: Timestamp(u64::MAX / 2),
        keys: List::from_slice(&keys),
        roles: [role(0), role(1), role(2), RoleKeys::nobody()],
        strength_min: Strength::Hash,
        development: false,
    };
    json!({ "body": hex(SignedBody::root::<SoftSha256>(&root).unwrap().body()) })
}

/// The envelope with the release key's signature over a body.
pub(crate) fn signed(body: Vec<u8>) -> Vec<u8> {
    let signer = key(2);
    let mut signed = SignedBody::release_from_body::<SoftSha256>(body).unwrap();
    let expected = ota_core::trust::Key { algorithm: signer.algorithm(), public: signer.public_key() };
    signed.sign::<SoftSha256>(&signer, expected, &Verifier::default()).unwrap();
    signed.envelope().unwrap()
}

/// Tokens of one person for each role, all in the whole installation.
pub(crate) struct People {
    pub(crate) administrator: String,
    pub(crate) developer: String,
    pub(crate) operator: String,
    pub(crate) approver: String,
    pub(crate) key_holder: String,
}

impl People {
    pub(crate) fn of(world: &World) -> Self {
        let person = |name, role| world.person(name, role, None, DAY);
        Self {
            administrator: person("administrator", RoleBody::Administrator),
            developer: person("developer", RoleBody::Developer),
            operator: person("operator", RoleBody::Operator),
            approver: person("approver", RoleBody::Approver),
            key_holder: person("holder", RoleBody::KeyHolder),
        }
    }
}

/// A product with a device and a root.
pub(crate) fn product(world: &World, people: &People, id: &str) {
    let post = |path: &str, token: &str, body: &Value| world.ask("post", path, Some(token), body).good();
    post("/api/v1/products", &people.administrator, &json!({ "id": id }));
    post(&format!("/api/v1/products/{id}/roots"), &people.key_holder, &root_input(id));
    let devices = json!({ "devices": [{ "id": format!("{id}-device"), "tags": ["site=berlin"] }] });
    post(&format!("/api/v1/products/{id}/devices"), &people.operator, &devices);
}

/// A draft of a release with one file.
pub(crate) fn draft(world: &World, people: &People, product: &str, revision: &str, bytes: &[u8]) -> String {
    let path = format!("/api/v1/products/{product}/files?unit=256");
    let content =
        world.send("post", &path, Some(&people.developer), "application/octet-stream", bytes).good().json();
    let release = json!({
        "package": "main", "hardware": ["rev-b"], "expires": "2200-01-01T00:00:00Z",
        "files": [{ "name": "app.bin", "revision": revision, "target": "app", "content": content }],
    });
    let path = format!("/api/v1/products/{product}/releases");
    let made = world.ask("post", &path, Some(&people.developer), &release).good().json();
    made["id"].as_str().unwrap().to_owned()
}

/// A signed release with one file.
pub(crate) fn release(world: &World, people: &People, product: &str, revision: &str, bytes: &[u8]) -> String {
    let draft = draft(world, people, product, revision, bytes);
    let path = format!("/api/v1/releases/{draft}/fix");
    let fixed = world.ask("post", &path, Some(&people.developer), &json!({})).good().json();
    let id = fixed["id"].as_str().unwrap().to_owned();
    let body = world
        .ask("get", &format!("/api/v1/releases/{id}/body"), Some(&people.key_holder), &Value::Null)
        .good();
    let path = format!("/api/v1/releases/{id}/signatures");
    let answer =
        world.send("post", &path, Some(&people.key_holder), "application/cose", &signed(body.bytes)).good();
    assert_eq!(answer.json()["status"], "signed");
    id
}
