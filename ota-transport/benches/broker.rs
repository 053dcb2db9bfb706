//! The embedded broker beside mosquitto: requests and answers through each, and a burst of connects.
//!
//! The server answers each request with a chunk. For the embedded broker it sits at the link inside the process; for
//! mosquitto it is an MQTT client, with the same client library as the devices.

#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../tests/brokers/certificates.rs"]
mod certificates;
#[path = "../tests/support/mod.rs"]
mod support;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use async_trait::async_trait;
use ota_core::fleet::{
    Authorizer, Broker, ConnectRequest, Identity, LinkEvent, Outbound, Refusal, TopicAction,
};
use ota_core::text::DeviceId;
use ota_core::time::Instant as Tick;
use ota_transport::broker::{
    Authorities, BrokerConfig, BrokerLimits, ClientCertificates, EmbeddedBroker, ListenOn, TlsMaterial,
    server_config,
};
use ota_transport::session::{Event, Quality, Session, SessionConfig};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::runtime::Runtime;

use certificates::{Authority, PROVIDER};
use support::Mosquitto;

const CHUNK: [u8; 1024] = [7; 1024];
const REQUEST: [u8; 40] = [3; 40];

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

/// Writes each packet in two parts, without TCP_NODELAY, as devices of the original system do.
struct TwoParts(TcpStream);

impl Read for TwoParts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for TwoParts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (header, payload) = bytes.split_at(bytes.len() / 2);
        self.0.write_all(header)?;
        self.0.write_all(payload)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

struct Device<S> {
    session: Session,
    stream: S,
    started: Instant,
}

impl<S: Read + Write> Device<S> {
    fn connected(id: &str, stream: S, filter: &str) -> Self {
        let session = Session::new(SessionConfig::new(id), Tick(0)).unwrap();
        let mut device = Self { session, stream, started: Instant::now() };
        assert!(matches!(device.next(), Event::Connected { .. }));
        device.session.subscribe(filter, Quality::AtMostOnce).unwrap();
        assert!(matches!(device.next(), Event::Subscribed(_)));
        device
    }

    fn next(&mut self) -> Event {
        loop {
            let now = Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap());
            if let Some(event) = self.session.poll(&mut self.stream, now).unwrap() {
                return event;
            }
        }
    }

    /// Asks for so many chunks, `window` at a time.
    fn download(&mut self, topic: &str, chunks: usize, window: usize) {
        for _ in 0..window.min(chunks) {
            self.session.publish(topic, &REQUEST, Quality::AtMostOnce).unwrap();
        }
        for received in 0..chunks {
            assert!(matches!(self.next(), Event::Message { .. }));
            if received + window < chunks {
                self.session.publish(topic, &REQUEST, Quality::AtMostOnce).unwrap();
            }
        }
    }
}

fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // Short enough to see when it is over.
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream
}

fn nodelay(address: SocketAddr) -> TcpStream {
    let stream = tcp(address);
    stream.set_nodelay(true).unwrap();
    stream
}

fn tls(address: SocketAddr, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(connection, nodelay(address))
}

/// The embedded broker with a server that answers.
struct Embedded {
    runtime: Runtime,
    broker: Arc<EmbeddedBroker>,
    authority: Authority,
}

impl Embedded {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let authority = Authority::new("Fleet CA");
        let server = authority.server();
        let clients = Authorities { certificates_pem: authority.pem.as_bytes(), revocations_pem: &[] };
        let material = TlsMaterial {
            chain_pem: server.certificate_pem.as_bytes(),
            key_pem: server.key_pem.as_bytes(),
            clients: ClientCertificates::Required(clients),
        };
        let tls = server_config(&material, Arc::clone(&PROVIDER)).unwrap();
        let address = ([127, 0, 0, 1], 0).into();
        let listeners = vec![ListenOn { address, tls: None }, ListenOn { address, tls: Some(tls) }];
        let limits = BrokerLimits { packets_per_second: 1_000_000, ..BrokerLimits::default() };
        let limits = BrokerLimits { bytes_per_second: 1_000_000_000, ..limits };
        let config = BrokerConfig { listeners, limits, ..BrokerConfig::default() };
        let broker = Arc::new(runtime.block_on(EmbeddedBroker::start(config, Arc::new(Trusting))).unwrap());
        let link = broker.link();
        runtime.spawn(async move {
            loop {
                let events = link.receive(256).await.unwrap();
                if events.is_empty() {
                    break;
                }
                let answers = events.into_iter().filter_map(|event| match event {
                    LinkEvent::Message { dialect, device, .. } => {
                        Some(Outbound { dialect, device, payload: CHUNK[..].into() })
                    }
                    _ => None,
                });
                link.send(answers.collect()).await.unwrap();
            }
        });
        Self { runtime, broker, authority }
    }

    fn plain(&self) -> SocketAddr {
        self.broker.listeners()[0].address
    }

    fn secure(&self) -> SocketAddr {
        self.broker.listeners()[1].address
    }
}

/// Mosquitto with a server that answers.
struct WithMosquitto {
    broker: Mosquitto,
    over: Arc<AtomicBool>,
    server: Option<thread::JoinHandle<()>>,
}

impl WithMosquitto {
    fn start() -> Option<Self> {
        let broker = Mosquitto::start("bench-broker", "max_queued_messages 0\nmax_inflight_messages 0")?;
        let over = Arc::new(AtomicBool::new(false));
        let mut server = Device::connected("ota/server", nodelay(broker.address()), "ota/1/+/up");
        let is_over = Arc::clone(&over);
        let server = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let now = Tick(u64::try_from(server.started.elapsed().as_millis()).unwrap());
                if let Some(Event::Message { topic, .. }) =
                    server.session.poll(&mut server.stream, now).unwrap()
                {
                    let down = format!("{}/down", topic.strip_suffix("/up").unwrap());
                    server.session.publish(&down, &CHUNK, Quality::AtMostOnce).unwrap();
                }
            }
        });
        Some(Self { broker, over, server: Some(server) })
    }
}

impl Drop for WithMosquitto {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.server.take().map(thread::JoinHandle::join));
    }
}

/// Milliseconds for 1 MiB in 1 KiB chunks, one at a time; slow cases are measured in part.
fn one_by_one<S: Read + Write>(stream: S, chunks: usize) -> f64 {
    let mut device = Device::connected("alone", stream, "ota/1/alone/down");
    device.download("ota/1/alone/up", 16, 1);
    let started = Instant::now();
    device.download("ota/1/alone/up", chunks, 1);
    started.elapsed().as_secs_f64() * 1000.0 * 1024.0 / f64::from(u32::try_from(chunks).unwrap())
}

/// Requests and answers per second with several devices, each with a window of 32.
fn together<S: Read + Write + Send + 'static>(devices: usize, open: impl Fn(&str) -> S) -> f64 {
    const CHUNKS: usize = 4000;
    let barrier = Arc::new(Barrier::new(devices + 1));
    let threads: Vec<_> = (0..devices)
        .map(|number| {
            let id = format!("device-{number}");
            let mut device = Device::connected(&id, open(&id), &format!("ota/1/{id}/down"));
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                barrier.wait();
                device.download(&format!("ota/1/{id}/up"), CHUNKS, 32);
            })
        })
        .collect();
    barrier.wait();
    let started = Instant::now();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    f64::from(u32::try_from(devices * CHUNKS).unwrap()) / started.elapsed().as_secs_f64()
}

/// Seconds until so many devices are connected by mutual TLS, 50 at a time.
fn burst(embedded: &Embedded, devices: usize) -> f64 {
    let identity = Arc::new(embedded.authority.client_config(Some(&embedded.authority.client("any"))));
    let address = embedded.secure();
    let started = Instant::now();
    let threads: Vec<_> = (0..50)
        .map(|first| {
            let identity = Arc::clone(&identity);
            thread::spawn(move || {
                let mut open = Vec::new();
                for number in (first..devices).step_by(50) {
                    let id = format!("burst-{number}");
                    open.push(Device::connected(&id, tls(address, &identity), &format!("ota/1/{id}/down")));
                }
                open
            })
        })
        .collect();
    let open: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let took = started.elapsed().as_secs_f64();
    drop(open);
    took
}

fn main() {
    let embedded = Embedded::start();
    let identity = embedded.authority.client_config(Some(&embedded.authority.client("any")));
    let secure = embedded.secure();
    let mosquitto = WithMosquitto::start();
    let beside = |measure: &dyn Fn(SocketAddr) -> f64| {
        mosquitto.as_ref().map_or("-".to_owned(), |scene| format!("{:.0}", measure(scene.broker.address())))
    };

    println!("<!-- bench: broker -->");
    println!("| | embedded | embedded, mutual TLS | mosquitto |");
    println!("|---|---|---|---|");
    println!(
        "| 1 MiB in 1 KiB chunks, one at a time, ms | {:.0} | {:.0} | {} |",
        one_by_one(nodelay(embedded.plain()), 1024),
        one_by_one(tls(secure, &identity), 1024),
        beside(&|address| one_by_one(nodelay(address), 1024)),
    );
    println!(
        "| the same, each request written in two parts without TCP_NODELAY, ms | {:.0} | - | {} |",
        one_by_one(TwoParts(tcp(embedded.plain())), 1024),
        beside(&|address| one_by_one(TwoParts(tcp(address)), 64)),
    );
    for devices in [1, 16] {
        println!(
            "| requests answered per second, {devices} devices, window 32 | {:.0} | {:.0} | {} |",
            together(devices, |_| nodelay(embedded.plain())),
            together(devices, |_| tls(secure, &identity)),
            beside(&|address| together(devices, |_| nodelay(address))),
        );
    }
    println!("| 1,000 devices connect and subscribe, s | - | {:.1} | - |", burst(&embedded, 1000));
    println!("<!-- /bench -->");
    embedded.runtime.block_on(embedded.broker.shutdown()).unwrap();
}
