//! What devices talk to: a server of updates, the same with a responder in front of it that gives blocks away, or an echo;
//! each in a process of its own.

use core::fmt;
use core::net::SocketAddr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::fleet::records::PersonRole;
use ota_core::fleet::{
    AnswerAtOnce, Authorizer, Broker as _, ConnectRequest, Dialect, Identity, LinkError, LinkEvent,
    MessageLink, Outbound, Refusal, TopicAction,
};
use ota_core::number::ByteOffset;
use ota_core::text::{DeviceId, DeviceIdBuf};
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::{Block, Down, Part, Up, Want};
use ota_server::program::{Installation, SystemEntropy};
use ota_server::{Clock, KeySigner, NewDevice, Server};
use ota_sim::fleet_server::{enrol, person, roll_out};
use ota_sim::random::Dice;
use ota_sim::wire::Access;
use ota_sim::wire::program::client_config;
use ota_sim::workshop::{BEGINNING, SourceFile, Terms, Workshop, product};
use ota_storage::object::ObjectBlobStore;
use ota_storage::redb::{RedbOptions, RedbStore};
use ota_transport::broker::{
    Authorities, BrokerConfig, BrokerLimits, ClientCertificates, EmbeddedBroker, ListenOn, TlsMaterial,
    server_config,
};
use ota_transport::mqtt::{MqttConfig, MqttLink};
use tokio::runtime::Runtime;

use crate::mosquitto::Mosquitto;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "without TLS",
            Self::Tls => "with TLS",
        })
    }
}

/// Which broker, and how it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) transport: Transport,
    pub(crate) is_embedded: bool,
}

impl Setting {
    pub(crate) fn all() -> [Self; 4] {
        let of = |is_embedded, transport| Self { transport, is_embedded };
        [
            of(true, Transport::Plain),
            of(true, Transport::Tls),
            of(false, Transport::Plain),
            of(false, Transport::Tls),
        ]
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_embedded { "embedded" } else { "mosquitto" };
        write!(f, "{name} {}", self.transport)
    }
}

/// A broker that is not inside, if it is to be one, and the certificates of either.
pub(crate) struct Broker {
    setting: Setting,
    folder: PathBuf,
    mosquitto: Option<Mosquitto>,
    _kept: tempfile::TempDir,
}

impl Broker {
    /// Nothing where mosquitto is wanted and not there.
    pub(crate) fn start(setting: Setting) -> Option<Self> {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().to_owned();
        let installation = Installation::open(&folder).unwrap();
        let (certificate, key) = installation.broker_identity(&names()).unwrap();
        let mosquitto = match setting.is_embedded {
            true => None,
            false => Some(Mosquitto::start_with("bench-wire", |_, port| {
                let tls = match setting.transport {
                    Transport::Plain => String::new(),
                    Transport::Tls => {
                        format!("certfile {}\nkeyfile {}\n", certificate.display(), key.display())
                    }
                };
                format!(
                    "user root\nlistener {port} 127.0.0.1\n{tls}allow_anonymous true\nset_tcp_nodelay true\npersistence false\n\
                     max_queued_messages 0\nmax_inflight_messages 0\nlog_dest stderr\n"
                )
            })?),
        };
        Some(Self { setting, folder, mosquitto, _kept: kept })
    }
}

fn names() -> Vec<String> {
    ["localhost", "127.0.0.1"].map(str::to_owned).to_vec()
}

/// What a host does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Serves one file of so many bytes to so many devices.
    Fleet { devices: usize, bytes: usize },
    /// The same for the same devices, but blocks of the file come from a responder without a thought.
    Responder { devices: usize, bytes: usize },
    /// Answers each message with so many bytes.
    Echo { block: usize },
}

/// A host that runs. It ends with this.
pub(crate) struct Host {
    child: Child,
    _stdin: ChildStdin,
    address: SocketAddr,
    transport: Transport,
    folder: PathBuf,
}

impl Host {
    pub(crate) fn start(broker: &Broker, kind: Kind) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let at = broker.mosquitto.as_ref().map_or("inside".to_owned(), |broker| broker.address().to_string());
        let transport = if broker.setting.transport == Transport::Tls { "tls" } else { "plain" };
        let (what, first, second) = match kind {
            Kind::Fleet { devices, bytes } => ("fleet", devices, bytes),
            Kind::Responder { devices, bytes } => ("responder", devices, bytes),
            Kind::Echo { block } => ("echo", block, 0),
        };
        command.args(["host", what, &first.to_string(), &second.to_string(), &at, transport]);
        command.arg(&broker.folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("the host starts").unwrap();
        let address = line.parse().unwrap();
        let folder = broker.folder.clone();
        Self { child, _stdin: stdin, address, transport: broker.setting.transport, folder }
    }

    /// How a device reaches it, with a certificate of its own if it wants one.
    pub(crate) fn access(&self, device: Option<&DeviceIdBuf>) -> Access {
        let tls = (self.transport == Transport::Tls).then(|| {
            let installation = Installation::open(&self.folder).unwrap();
            let authority = std::fs::read_to_string(installation.authority()).unwrap();
            let own = device.map(|id| installation.device_certificate(id.as_str()).unwrap());
            client_config(&authority, own.as_ref())
        });
        Access { tls, ..Access::plain(self.address) }
    }

    /// Processor time that it has taken.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name in parentheses may hold anything; proc(5) counts the rest from 3 on, in ticks of 10 ms.
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok());
        ticks.sum::<f64>() / 100.0
    }

    /// The most memory that it has had.
    pub(crate) fn peak_megabytes(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.unwrap_or(f64::NAN) / 1000.0
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The file that a fleet gets.
pub(crate) fn new_files(bytes: usize) -> Vec<SourceFile> {
    vec![SourceFile::new("app.bin", "2", "app", Dice::new(2).bytes(bytes))]
}

pub(crate) fn device_id(number: usize) -> DeviceIdBuf {
    DeviceIdBuf::new(format!("device-{number}")).unwrap()
}

/// Is what the arguments say until nobody holds its standard input any more.
pub(crate) fn be(words: &[String]) {
    let [what, first, second, at, transport, folder] = words else { panic!("six words") };
    let (first, second): (usize, usize) = (first.parse().unwrap(), second.parse().unwrap());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (link, address) = link(at, transport == "tls", Path::new(folder)).await;
        match what.as_str() {
            "fleet" => serve(link, Path::new(folder), first, second).await,
            "responder" => {
                let giver = Arc::new(Giver(new_files(second).remove(0).bytes.into()));
                serve(Arc::new(Responder { link, giver }), Path::new(folder), first, second).await;
            }
            _ => drop(tokio::spawn(echo(link, first))),
        }
        println!("{address}");
        std::io::stdout().flush().unwrap();
        tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await.unwrap().unwrap();
    });
    runtime.shutdown_background();
}

/// Everybody is who he says: what is measured is the way of the messages.
struct Trusting;

#[async_trait]
impl Authorizer for Trusting {
    async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal> {
        DeviceId::new(&request.client_id)
            .map(|id| Identity::Device(id.into()))
            .map_err(|_| Refusal::Credentials)
    }

    async fn stands(&self, _identity: &Identity) -> Result<(), Refusal> {
        Ok(())
    }

    fn topic(&self, _identity: &Identity, _action: TopicAction, _topic: &str) -> Result<(), Refusal> {
        Ok(())
    }
}

async fn link(at: &str, is_tls: bool, folder: &Path) -> (Arc<dyn MessageLink>, SocketAddr) {
    let installation = Installation::open(folder).unwrap();
    let authority = std::fs::read(installation.authority()).unwrap();
    if at != "inside" {
        let address: SocketAddr = at.parse().unwrap();
        let tls = is_tls.then(|| client_config(str::from_utf8(&authority).unwrap(), None));
        let config = MqttConfig { tls, ..MqttConfig::new("localhost", address.port(), "ota/server") };
        let link = MqttLink::start(config).unwrap();
        link.ready().await.unwrap();
        return (Arc::new(link), address);
    }
    let (certificate, key) = installation.broker_identity(&names()).unwrap();
    let read = |path: PathBuf| std::fs::read(path).unwrap();
    let (chain, key) = (read(certificate), read(key));
    let authorities = Authorities { certificates_pem: &authority, revocations_pem: &[] };
    let material =
        TlsMaterial { chain_pem: &chain, key_pem: &key, clients: ClientCertificates::Optional(authorities) };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = is_tls.then(|| server_config(&material, provider).unwrap());
    let listeners = vec![ListenOn { address: ([127, 0, 0, 1], 0).into(), tls }];
    // The limits of one client would be those of the responder, which is asked for each block.
    let limits = BrokerLimits {
        packets_per_second: 1_000_000,
        bytes_per_second: 1_000_000_000,
        ..BrokerLimits::default()
    };
    let config = BrokerConfig { listeners, limits, ..BrokerConfig::default() };
    let broker = EmbeddedBroker::start(config, Arc::new(Trusting)).await.unwrap();
    let (link, address) = (broker.link(), broker.listeners()[0].address);
    // It lives as long as the process.
    core::mem::forget(broker);
    (link, address)
}

/// The workshop's metadata are of a certain day; the time goes on from there.
struct WorkshopClock(std::time::Instant);

impl Clock for WorkshopClock {
    fn now(&self) -> Timestamp {
        BEGINNING.plus(Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap()))
    }
}

/// The real server on real stores, with a campaign for everybody.
async fn serve(link: Arc<dyn MessageLink>, folder: &Path, devices: usize, bytes: usize) {
    let store = RedbStore::open(folder.join("ota.redb"), RedbOptions::default()).unwrap();
    let blobs = ObjectBlobStore::local(folder.join("files")).unwrap();
    let server = Server::builder(Arc::new(store), Arc::new(blobs), link, Arc::new(SystemEntropy))
        .clock(Arc::new(WorkshopClock(std::time::Instant::now())))
        .signer(Arc::new(KeySigner::for_all(Workshop::new().into_assignment_key())))
        .start()
        .await
        .unwrap();
    enrol(&server, &device_id(0)).await;
    let operator = person("operator", PersonRole::Operator);
    let others: Vec<NewDevice> = (1..devices).map(|number| NewDevice::named(device_id(number))).collect();
    for some in others.chunks(1000) {
        server.register_devices(&operator, &product().into(), some).await.unwrap();
    }
    roll_out(&server, &Workshop::new(), &Terms::default(), &new_files(bytes)).await;
    tokio::spawn(async move { server.run().await });
}

/// Gives devices the blocks of the file that they ask for, from memory, whatever their grants say.
struct Giver(Bytes);

impl AnswerAtOnce for Giver {
    fn answer(&self, _: Dialect, _: &DeviceIdBuf, payload: &Bytes) -> Option<Vec<Bytes>> {
        let Ok(Up::WantBlocks(wanted)) = Up::decode(payload) else { return None };
        let Part::File(_) = wanted.part else { return None };
        let indexes: Vec<usize> = match wanted.want {
            Want::Count(count) => (0..usize::from(count)).collect(),
            Want::Bitmap(bitmap) => {
                let is_set = |index: &usize| bitmap[index / 8] & 1 << (index % 8) != 0;
                (0..bitmap.len() * 8).filter(is_set).collect()
            }
        };
        let (first, size) =
            (usize::try_from(wanted.offset.0).ok()?, usize::try_from(wanted.block_bytes).ok()?);
        let [a, b, c, d, ..] = wanted.offer.0;
        let block = |index: usize| {
            let from: usize = first + index * size;
            let bytes = self.0.get(from..(from + size).min(self.0.len()))?;
            let offset = ByteOffset(u64::try_from(from).ok()?);
            let block = Down::Block(Block { offer: [a, b, c, d], part: wanted.part, offset, bytes });
            Some(block.to_vec().ok()?.into())
        };
        indexes.into_iter().map(block).collect()
    }
}

/// The giver in front of a server, which never hears of these requests: nothing is checked, budgeted, looked up or counted.
/// All else passes on. Where the link asks at once, it asks the giver.
struct Responder {
    link: Arc<dyn MessageLink>,
    giver: Arc<Giver>,
}

#[async_trait]
impl MessageLink for Responder {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        loop {
            let events = self.link.receive(limit).await?;
            let is_closed = events.is_empty();
            let (answers, rest) = answered(&*self.giver, events);
            self.link.send(answers).await?;
            if is_closed || !rest.is_empty() {
                return Ok(rest);
            }
        }
    }

    fn answer_at_once(&self, _: Arc<dyn AnswerAtOnce>) {
        self.link.answer_at_once(Arc::clone(&self.giver) as _);
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.link.send(messages).await
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        self.link.disconnect(device).await
    }
}

/// What is answered, and what is not.
fn answered(by: &dyn AnswerAtOnce, events: Vec<LinkEvent>) -> (Vec<Outbound>, Vec<LinkEvent>) {
    let (mut answers, mut rest) = (Vec::new(), Vec::new());
    for event in events {
        let LinkEvent::Message { dialect, device, payload } = &event else {
            rest.push(event);
            continue;
        };
        match by.answer(*dialect, device, payload) {
            Some(payloads) => answers.extend(payloads.into_iter().map(|payload| Outbound {
                dialect: *dialect,
                device: device.clone(),
                payload,
            })),
            None => rest.push(event),
        }
    }
    (answers, rest)
}

/// Answers each message with a block.
struct Echo(Bytes);

impl AnswerAtOnce for Echo {
    fn answer(&self, _: Dialect, _: &DeviceIdBuf, _: &Bytes) -> Option<Vec<Bytes>> {
        Some(vec![self.0.clone()])
    }
}

async fn echo(link: Arc<dyn MessageLink>, block: usize) {
    let echo = Arc::new(Echo(vec![7; block].into()));
    link.answer_at_once(Arc::clone(&echo) as _);
    loop {
        let events = link.receive(1024).await.unwrap();
        if events.is_empty() {
            return;
        }
        link.send(answered(&*echo, events).0).await.unwrap();
    }
}
