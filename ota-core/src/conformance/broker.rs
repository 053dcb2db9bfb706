//! The suite of [`Broker`]: who gets in, who hears whom, and that nothing happens without asking the [`Authorizer`].

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::topics::{self, Case, DEVICE, OTHER};
use crate::fleet::{
    Authorizer, Broker, ConnectRequest, Dialect, Identity, LinkEvent, MessageLink, Outbound, Refusal,
    TopicAction,
};
use crate::text::{DeviceId, DeviceIdBuf};

/// The user name, and client id, of a server that connects as a client.
pub const SERVER: &str = "ota/server";
/// Neither [`DEVICE`] nor [`OTHER`].
const WITNESS: &str = "witness";

/// A running broker that clients can be connected to.
#[async_trait]
pub trait BrokerUnderTest: Send + Sync {
    /// The broker.
    fn broker(&self) -> &dyn Broker;

    /// Connects a client; `None` if it is refused, or if nobody listens any more.
    async fn connect(&self, client: &ClientHello) -> Option<Box<dyn BrokerClient>>;
}

/// What a client presents when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// What it calls itself.
    pub client_id: String,
    /// User name and password, if it has any.
    pub credentials: Option<(String, String)>,
    /// What is to be published when it dies.
    pub will: Option<LastWill>,
}

/// A message that a broker publishes when a client goes without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWill {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// As which kind of message.
    pub kept: Kept,
}

/// Whether a broker is asked to keep a message for those who subscribe later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// A message like any other.
    No,
    /// A retained message.
    Retained,
}

/// The client's end of a connection. Dropping it is a death: the last will is published.
#[async_trait]
pub trait BrokerClient: Send {
    /// Subscribes and waits for the answer; says whether the broker took the filter.
    async fn subscribe(&mut self, filter: &str) -> bool;

    /// Publishes; what becomes of it the broker does not say.
    async fn publish(&mut self, topic: &str, payload: Bytes, kept: Kept);

    /// The next message, with its topic; `None` when the connection is gone.
    async fn receive(&mut self) -> Option<(String, Bytes)>;

    /// Says goodbye and ends the connection.
    async fn leave(self: Box<Self>);
}

/// The authorizer that a broker under test is given: [`topics::rules`], and a password for everybody.
///
/// The password of a user is `secret of ` and the name. [`SERVER`] is a server, who may do everything.
#[derive(Debug, Default)]
pub struct SuiteAuthorizer {
    revoked: Mutex<BTreeSet<DeviceIdBuf>>,
    /// Who is revoked as soon as it was let in, when nobody can disconnect it yet.
    revoked_at_the_door: Mutex<Option<DeviceIdBuf>>,
}

impl SuiteAuthorizer {
    fn revoked(&self) -> MutexGuard<'_, BTreeSet<DeviceIdBuf>> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Authorizer for SuiteAuthorizer {
    async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal> {
        let user = request.user.as_deref().ok_or(Refusal::Credentials)?;
        if request.password.as_deref() != Some(password(user).as_bytes()) {
            return Err(Refusal::Credentials);
        }
        if user == SERVER {
            return Ok(Identity::Server);
        }
        let device = DeviceId::new(user).map(DeviceIdBuf::from).map_err(|_| Refusal::Credentials)?;
        if self.revoked().contains(&device) {
            return Err(Refusal::Revoked);
        }
        let at_the_door = self.revoked_at_the_door.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.revoked().extend(at_the_door.filter(|unlucky| *unlucky == device));
        Ok(Identity::Device(device))
    }

    async fn stands(&self, identity: &Identity) -> Result<(), Refusal> {
        match identity {
            Identity::Device(device) if self.revoked().contains(device) => Err(Refusal::Revoked),
            _ => Ok(()),
        }
    }

    fn topic(&self, identity: &Identity, action: TopicAction, topic: &str) -> Result<(), Refusal> {
        let Identity::Device(device) = identity else { return Ok(()) };
        if self.revoked().contains(device) {
            return Err(Refusal::Revoked);
        }
        if topics::rules().allow(device.borrow(), action, topic) { Ok(()) } else { Err(Refusal::Topic) }
    }
}

/// Asks a broker for everything that [`Broker`] and [`Authorizer`] say of it, its link apart, which has
/// [a suite of its own](super::message_link). `fresh` starts a broker with this authorizer each time.
///
/// # Panics
/// At the first broken promise. A message that does not arrive is waited for without end: give the test a time limit.
pub async fn broker<B: BrokerUnderTest>(fresh: impl AsyncFn(Arc<dyn Authorizer>) -> B) {
    macro_rules! ask {
        ($($case:ident)+) => { $({
            let authorizer = Arc::new(SuiteAuthorizer::default());
            let under_test = fresh(Arc::clone(&authorizer) as Arc<dyn Authorizer>).await;
            $case(&Scene { under_test: &under_test, authorizer: &authorizer }).await;
        })+ };
    }
    ask! {
        nobody_gets_in_without_credentials
        a_device_gets_in_under_its_own_client_id_only
        what_a_device_says_reaches_the_link_under_its_own_name
        what_the_server_says_reaches_that_device_alone
        a_device_publishes_on_its_own_topics_and_nothing_is_retained
        a_device_hears_its_own_topics_whatever_it_subscribes
        a_last_will_is_published_when_its_device_dies_and_not_when_it_leaves
        a_last_will_reaches_no_further_than_a_message
        who_is_revoked_neither_hears_nor_says_anything_more
        who_is_revoked_while_it_comes_in_does_not_stay
        a_disconnected_device_is_gone_and_may_come_again
        who_comes_again_ends_its_earlier_connection
        a_broker_that_was_shut_down_serves_nobody
    }
}

struct Scene<'a, B> {
    under_test: &'a B,
    authorizer: &'a SuiteAuthorizer,
}

fn password(user: &str) -> String {
    format!("secret of {user}")
}

fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

/// A client that is who it says.
fn honest(name: &str) -> ClientHello {
    let credentials = Some((name.to_string(), password(name)));
    ClientHello { client_id: name.to_string(), credentials, will: None }
}

fn with_will(name: &str, topic: &str, payload: &str, kept: Kept) -> ClientHello {
    let will = LastWill { topic: topic.to_string(), payload: bytes(payload), kept };
    ClientHello { will: Some(will), ..honest(name) }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn cases(action: TopicAction) -> impl Iterator<Item = Case> {
    topics::cases().into_iter().filter(move |case| case.action == action)
}

const fn kept(action: TopicAction) -> Kept {
    match action {
        TopicAction::Retain => Kept::Retained,
        _ => Kept::No,
    }
}

type Client = Box<dyn BrokerClient>;

impl<B: BrokerUnderTest> Scene<'_, B> {
    fn link(&self) -> Arc<dyn MessageLink> {
        self.under_test.broker().link()
    }

    async fn admitted(&self, hello: &ClientHello) -> Client {
        let client = self.under_test.connect(hello).await;
        client.unwrap_or_else(|| panic!("{hello:?} is admitted"))
    }

    async fn refused(&self, hello: &ClientHello, why: &str) {
        assert!(self.under_test.connect(hello).await.is_none(), "{why}: {hello:?} is refused");
    }

    /// A device that hears what the server says, and what [`publish`] can mark the end with.
    async fn device(&self, name: &str) -> Client {
        let mut device = self.admitted(&honest(name)).await;
        assert!(device.subscribe(&format!("ota/1/{name}/down")).await, "a device subscribes its own topic");
        device
    }

    /// A server that hears everything.
    async fn server(&self) -> Client {
        let mut server = self.admitted(&honest(SERVER)).await;
        assert!(server.subscribe("#").await, "a server subscribes to everything");
        server
    }

    /// The next things that devices said through the link; who came and went is left out.
    async fn said(&self, count: usize) -> Vec<(Dialect, DeviceIdBuf, Bytes)> {
        let link = self.link();
        let mut said = Vec::new();
        while said.len() < count {
            let events = link.receive(1).await.unwrap();
            assert!(!events.is_empty(), "the link of a running broker is open");
            said.extend(events.into_iter().filter_map(|event| match event {
                LinkEvent::Message { dialect, device, payload }
                | LinkEvent::Late { dialect, device, payload } => Some((dialect, device, payload)),
                LinkEvent::Connected(_) | LinkEvent::Disconnected(_) => None,
            }));
        }
        said
    }

    async fn tell(&self, name: &str, dialect: Dialect, payload: &str) {
        let message = Outbound { dialect, device: id(name), payload: bytes(payload) };
        self.link().send(Vec::from([message])).await.unwrap();
    }
}

async fn publish(client: &mut Client, topic: &str, payload: &str) {
    client.publish(topic, bytes(payload), Kept::No).await;
}

/// Everything that a client hears up to a message that says this, which is left out.
async fn until(client: &mut Client, end: &str) -> Vec<(String, Bytes)> {
    let mut heard = Vec::new();
    loop {
        let message = client.receive().await.expect("the connection of who keeps to the rules goes on");
        if message.1 == end.as_bytes() {
            return heard;
        }
        heard.push(message);
    }
}

async fn nobody_gets_in_without_credentials(scene: &Scene<'_, impl BrokerUnderTest>) {
    let nobody = ClientHello { credentials: None, ..honest(DEVICE) };
    scene.refused(&nobody, "nothing proves who it is").await;
    let wrong = ClientHello { credentials: Some((DEVICE.into(), password(OTHER))), ..honest(DEVICE) };
    scene.refused(&wrong, "another's password").await;
    for name in ["+", "#", "device-b/down", "../device-b", ""] {
        scene.refused(&honest(name), "a name that is no device's").await;
    }
    scene.device(DEVICE).await;
}

async fn a_device_gets_in_under_its_own_client_id_only(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut other = scene.device(OTHER).await;
    for stolen in [OTHER, SERVER, "#", "anything", ""] {
        let thief = ClientHello { client_id: stolen.into(), ..honest(DEVICE) };
        scene.refused(&thief, "a client id that is not its own").await;
    }
    let server = ClientHello { client_id: OTHER.into(), ..honest(SERVER) };
    scene.refused(&server, "a server under a device's name").await;
    scene.tell(OTHER, Dialect::Native, "still there").await;
    assert!(until(&mut other, "still there").await.is_empty(), "the session that was to be stolen goes on");
}

async fn what_a_device_says_reaches_the_link_under_its_own_name(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut device = scene.device(DEVICE).await;
    for (topic, payload) in [
        (format!("ota/1/{OTHER}/up"), "forged"),
        (format!("xi/ctrl/v1/{OTHER}/svc"), "forged"),
        (format!("ota/1/{DEVICE}/down"), "to itself"),
        (format!("app/{DEVICE}/out/x"), "not for the server"),
        (format!("ota/1/{DEVICE}/up"), "native"),
        (format!("xi/ctrl/v1/{DEVICE}/svc"), "original"),
    ] {
        publish(&mut device, &topic, payload).await;
    }
    let expected = [(Dialect::Native, "native"), (Dialect::Sft, "original")];
    let expected = expected.map(|(dialect, payload)| (dialect, id(DEVICE), bytes(payload)));
    assert_eq!(scene.said(2).await, expected, "the link hears what is for it, and nothing else");
}

async fn what_the_server_says_reaches_that_device_alone(scene: &Scene<'_, impl BrokerUnderTest>) {
    let (mut device, mut other) = (scene.device(DEVICE).await, scene.device(OTHER).await);
    assert!(device.subscribe(&format!("xi/ctrl/v1/{DEVICE}/cln")).await);
    for (name, dialect, payload) in [
        (DEVICE, Dialect::Native, "one"),
        (DEVICE, Dialect::Sft, "two"),
        (OTHER, Dialect::Native, "end"),
        (DEVICE, Dialect::Native, "end"),
        ("nobody", Dialect::Native, "lost"),
    ] {
        scene.tell(name, dialect, payload).await;
    }
    let expected =
        [(format!("ota/1/{DEVICE}/down"), bytes("one")), (format!("xi/ctrl/v1/{DEVICE}/cln"), bytes("two"))];
    assert_eq!(until(&mut device, "end").await, expected, "each dialect has its topic");
    assert_eq!(until(&mut other, "end").await, [], "what is for one device reaches no other");
}

async fn a_device_publishes_on_its_own_topics_and_nothing_is_retained(
    scene: &Scene<'_, impl BrokerUnderTest>,
) {
    let (mut server, mut device) = (scene.server().await, scene.device(DEVICE).await);
    let mut other = scene.device(OTHER).await;
    let own_up = format!("ota/1/{DEVICE}/up");
    for action in [TopicAction::Publish, TopicAction::Retain] {
        for case in cases(action) {
            device.publish(&case.topic, bytes("case"), kept(action)).await;
            // What one client says is heard in that order.
            publish(&mut device, &own_up, "end").await;
            let seen = until(&mut server, "end").await;
            let expected = case.allowed.then(|| (case.topic.clone(), bytes("case")));
            assert_eq!(seen, Vec::from_iter(expected), "{case:?}");
        }
    }
    publish(&mut server, &format!("ota/1/{OTHER}/down"), "end").await;
    assert_eq!(until(&mut other, "end").await, [], "nothing of it reached another device");
    let mut late = scene.device(WITNESS).await;
    assert!(late.subscribe(&format!("app/{WITNESS}/in/x")).await);
    let mut late_server =
        scene.admitted(&ClientHello { client_id: "ota/late".into(), ..honest(SERVER) }).await;
    assert!(late_server.subscribe("#").await);
    publish(&mut late_server, &format!("ota/1/{WITNESS}/down"), "end").await;
    assert_eq!(until(&mut late, "end").await, []);
    assert_eq!(
        until(&mut late_server, "end").await,
        [],
        "who comes later finds nothing that was left for it"
    );
}

async fn a_device_hears_its_own_topics_whatever_it_subscribes(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut server = scene.server().await;
    let rules = topics::rules();
    let probes = [DEVICE, OTHER].map(|id| {
        [
            "ota/1/{}/down",
            "ota/1/{}/up",
            "xi/ctrl/v1/{}/cln",
            "xi/ctrl/v1/{}/svc",
            "app/{}/in/x",
            "app/{}/out/x",
        ]
        .map(|topic| topic.replace("{}", id))
    });
    let marker = format!("app/{DEVICE}/in/marker");
    for case in cases(TopicAction::Subscribe) {
        let mut device = scene.admitted(&honest(DEVICE)).await;
        assert_eq!(device.subscribe(&case.topic).await, case.allowed, "{case:?}");
        assert!(device.subscribe(&marker).await, "a refused subscription ends no connection");
        for probe in probes.iter().flatten() {
            publish(&mut server, probe, "probe").await;
        }
        publish(&mut server, &marker, "end").await;
        let heard = until(&mut device, "end").await;
        assert_eq!(heard.is_empty(), !case.allowed, "{case:?} heard {heard:?}");
        for (topic, _) in &heard {
            let device = DeviceId::new(DEVICE).unwrap();
            assert!(rules.allow(device, TopicAction::Receive, topic), "{case:?} heard {topic}");
        }
        device.leave().await;
    }
}

async fn a_last_will_is_published_when_its_device_dies_and_not_when_it_leaves(
    scene: &Scene<'_, impl BrokerUnderTest>,
) {
    let mut server = scene.server().await;
    let topic = format!("ota/1/{DEVICE}/up");
    let leaving = scene.admitted(&with_will(DEVICE, &topic, "left", Kept::No)).await;
    leaving.leave().await;
    drop(scene.admitted(&with_will(DEVICE, &topic, "died", Kept::No)).await);
    assert_eq!(until(&mut server, "died").await, [], "a goodbye takes the last will back");
    assert_eq!(
        scene.said(1).await,
        [(Dialect::Native, id(DEVICE), bytes("died"))],
        "the link hears a last will as well"
    );
}

async fn a_last_will_reaches_no_further_than_a_message(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut server = scene.server().await;
    for action in [TopicAction::Publish, TopicAction::Retain] {
        for case in cases(action) {
            let hello = with_will(DEVICE, &case.topic, "will", kept(action));
            match scene.under_test.connect(&hello).await {
                Some(device) => {
                    assert!(case.allowed, "{case:?} admits a device");
                    drop(device);
                    assert_eq!(until(&mut server, "will").await, []);
                }
                None => assert!(!case.allowed, "{case:?} refuses a device"),
            }
        }
    }
    drop(scene.admitted(&with_will(WITNESS, &format!("ota/1/{WITNESS}/up"), "end", Kept::No)).await);
    assert_eq!(until(&mut server, "end").await, [], "nothing was published for who was refused");
}

async fn who_is_revoked_while_it_comes_in_does_not_stay(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut other = scene.admitted(&honest(OTHER)).await;
    let unlucky = &scene.authorizer.revoked_at_the_door;
    *unlucky.lock().unwrap_or_else(PoisonError::into_inner) = Some(id(DEVICE));
    // Some brokers have said yes by then; the connection is closed all the same.
    if let Some(mut device) = scene.under_test.connect(&honest(DEVICE)).await {
        assert_eq!(device.receive().await, None, "who was revoked stays");
    }
    assert!(scene.authorizer.revoked().contains(&id(DEVICE)), "it was revoked after the first question");
    assert!(other.subscribe(&format!("app/{OTHER}/in/x")).await, "nobody else is disconnected");
}

/// Mosquitto CVE-2021-34434 and CVE-2018-12546: what was subscribed or left behind before stays in force after.
async fn who_is_revoked_neither_hears_nor_says_anything_more(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut server = scene.server().await;
    let will = format!("ota/1/{DEVICE}/up");
    let mut device = scene.admitted(&with_will(DEVICE, &will, "will of the revoked", Kept::No)).await;
    assert!(device.subscribe(&format!("ota/1/{DEVICE}/down")).await);
    let mut witness = scene.device(WITNESS).await;
    scene.authorizer.revoked().insert(id(DEVICE));
    publish(&mut device, &will, "word of the revoked").await;
    publish(&mut server, &format!("ota/1/{DEVICE}/down"), "secret").await;
    publish(&mut server, &format!("ota/1/{WITNESS}/down"), "end").await;
    until(&mut witness, "end").await;
    scene.tell(DEVICE, Dialect::Native, "secret").await;
    scene.link().disconnect(&id(DEVICE)).await.unwrap();
    assert_eq!(device.receive().await, None, "a subscription of before delivers nothing");
    drop(device);
    scene.refused(&honest(DEVICE), "its credentials are revoked").await;
    drop(scene.admitted(&with_will(WITNESS, &format!("ota/1/{WITNESS}/up"), "end", Kept::No)).await);
    let seen = until(&mut server, "end").await;
    let said_by_it = |(_, payload): &(String, Bytes)| payload.ends_with(b"of the revoked");
    assert!(!seen.iter().any(said_by_it), "neither a message nor a last will is taken of it: {seen:?}");
    scene.authorizer.revoked().clear();
    let mut device = scene.device(DEVICE).await;
    scene.tell(DEVICE, Dialect::Native, "end").await;
    assert_eq!(until(&mut device, "end").await, [], "nothing waited for it");
}

async fn a_disconnected_device_is_gone_and_may_come_again(scene: &Scene<'_, impl BrokerUnderTest>) {
    let (mut device, mut other) = (scene.device(DEVICE).await, scene.device(OTHER).await);
    let link = scene.link();
    assert!(link.disconnect(&id(DEVICE)).await.unwrap(), "a broker can disconnect a device");
    assert_eq!(device.receive().await, None, "a disconnected device has no connection any more");
    assert!(!link.disconnect(&id("nobody")).await.unwrap(), "there is nobody to disconnect");
    let (mut came, mut went) = (0, 0);
    while went == 0 {
        for event in link.receive(10).await.unwrap() {
            came += usize::from(event == LinkEvent::Connected(id(DEVICE)));
            went += usize::from(event == LinkEvent::Disconnected(id(DEVICE)));
        }
    }
    assert_eq!((came, went), (1, 1), "the link tells who came and who went");
    let mut again = scene.device(DEVICE).await;
    for (name, client) in [(DEVICE, &mut again), (OTHER, &mut other)] {
        scene.tell(name, Dialect::Native, "end").await;
        assert_eq!(until(client, "end").await, [], "{name} is there");
    }
}

async fn who_comes_again_ends_its_earlier_connection(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut earlier = scene.device(DEVICE).await;
    let mut later = scene.device(DEVICE).await;
    assert_eq!(earlier.receive().await, None, "a device has one connection");
    scene.tell(DEVICE, Dialect::Native, "end").await;
    assert_eq!(until(&mut later, "end").await, []);
    drop(earlier);
    scene.tell(DEVICE, Dialect::Native, "end").await;
    assert_eq!(until(&mut later, "end").await, [], "the end of the earlier one does not touch the later");
}

async fn a_broker_that_was_shut_down_serves_nobody(scene: &Scene<'_, impl BrokerUnderTest>) {
    let mut device = scene.device(DEVICE).await;
    let link = scene.link();
    scene.under_test.broker().shutdown().await.unwrap();
    assert_eq!(device.receive().await, None, "all connections are closed");
    while !link.receive(10).await.unwrap().is_empty() {}
    scene.refused(&honest(DEVICE), "nobody listens any more").await;
    scene.under_test.broker().shutdown().await.unwrap();
}
