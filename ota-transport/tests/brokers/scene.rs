//! A broker with mutual TLS, the authority behind it, and a server that sees everything.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io::Write;

use std::sync::{Arc, LazyLock, Mutex};

use ota_core::conformance::topics;
use ota_core::fleet::Broker;
use ota_transport::broker::{
    Authorities, BrokerConfig, BrokerLimits, ClientCertificates, DeviceAuthorizer, EmbeddedBroker, ListenOn,
    TlsMaterial, server_config,
};
use tokio::runtime::Runtime;

use crate::certificates::{Authority, Issued, PROVIDER};
use crate::raw::{Connect, Raw, Version};
use crate::support::Mosquitto;

pub(crate) const SERVER: &str = "ota/server";

/// The broker that is asked.
pub(crate) enum Subject {
    Embedded { broker: EmbeddedBroker, authorizer: Arc<DeviceAuthorizer>, runtime: Runtime },
    Mosquitto(Mosquitto),
}

pub(crate) struct Scene {
    pub(crate) subject: Subject,
    /// What its clients speak.
    pub(crate) version: Version,
    pub(crate) authority: Authority,
    markers: AtomicU64,
}

/// Everything that any broker of this process says, as text.
pub(crate) static LOG: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&log);
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || Shared(Arc::clone(&writer))).init();
    log
});

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether some line of the log holds all of these.
pub(crate) fn logged(words: &[&str]) -> bool {
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    log.lines().any(|line| words.iter().all(|word| line.contains(word)))
}

/// Waits until some line of the log holds all of these: the broker logs after it has acted.
pub(crate) fn wait_for_log(words: &[&str]) {
    let started = std::time::Instant::now();
    while !logged(words) {
        assert!(started.elapsed().as_secs() < 20, "never logged: {words:?}");
        std::thread::yield_now();
    }
}

impl Scene {
    pub(crate) fn embedded() -> Self {
        Self::embedded_with(BrokerLimits::default())
    }

    pub(crate) fn embedded_with(limits: BrokerLimits) -> Self {
        LazyLock::force(&LOG);
        let authority = Authority::new("Fleet CA");
        let server = authority.server();
        let clients = Authorities { certificates_pem: authority.pem.as_bytes(), revocations_pem: &[] };
        let tls = server_config(
            &TlsMaterial {
                chain_pem: server.certificate_pem.as_bytes(),
                key_pem: server.key_pem.as_bytes(),
                clients: ClientCertificates::Required(clients),
            },
            Arc::clone(&PROVIDER),
        )
        .unwrap();
        let authorizer = Arc::new(DeviceAuthorizer::new(topics::rules()).with_server(SERVER).unwrap());
        let listeners = vec![ListenOn { address: ([127, 0, 0, 1], 0).into(), tls: Some(tls) }];
        let config = BrokerConfig { listeners, limits, ..BrokerConfig::default() };
        let runtime = Runtime::new().unwrap();
        let broker = runtime.block_on(EmbeddedBroker::start(config, authorizer.clone())).unwrap();
        Self::of(Subject::Embedded { broker, authorizer, runtime }, authority)
    }

    /// With the configuration that is shipped, on a free port and with these certificates.
    pub(crate) fn mosquitto(name: &str) -> Option<Self> {
        let authority = Authority::new("Fleet CA");
        let server = authority.server();
        let shipped = include_str!("../../../docs/mosquitto/mosquitto.conf");
        let broker = Mosquitto::start_with(name, |folder, port| {
            for (file, text) in [
                ("clients-ca.pem", authority.pem.as_str()),
                ("server.pem", &server.certificate_pem),
                ("server.key", &server.key_pem),
                ("devices.acl", &topics::rules().mosquitto_acl(&[SERVER])),
            ] {
                std::fs::write(folder.join(file), text).unwrap();
            }
            let config = shipped.replace("/etc/mosquitto/ota", folder.to_str().unwrap());
            let config = config.replace("listener 8883", &format!("listener {port} 127.0.0.1"));
            format!("{config}\nlog_dest stderr\n")
        })?;
        Some(Self::of(Subject::Mosquitto(broker), authority))
    }

    /// Both brokers, each with clients of both versions of MQTT; the embedded one alone where mosquitto is not
    /// installed.
    pub(crate) fn each(name: &str) -> Vec<Self> {
        let of = |version: Version| {
            let mosquitto = Self::mosquitto(&format!("{name}-{version:?}"));
            let both = [Some(Self::embedded()), mosquitto].into_iter().flatten();
            both.map(move |scene| scene.speaking(version))
        };
        Version::BOTH.into_iter().flat_map(of).collect()
    }

    /// The same, with clients of this version.
    pub(crate) fn speaking(self, version: Version) -> Self {
        Self { version, ..self }
    }

    fn of(subject: Subject, authority: Authority) -> Self {
        Self { subject, version: Version::V3, authority, markers: AtomicU64::new(0) }
    }

    pub(crate) const fn is_embedded(&self) -> bool {
        matches!(self.subject, Subject::Embedded { .. })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.subject {
            Subject::Embedded { broker, .. } => broker.listeners()[0].address,
            Subject::Mosquitto(broker) => broker.address(),
        }
    }

    /// A TLS connection with this certificate, on which nothing was said yet.
    pub(crate) fn open(&self, identity: Option<&Issued>) -> Raw {
        Raw::tls(self.address(), &self.authority.client_config(identity)).speaking(self.version)
    }

    /// A device with its own certificate, connected.
    pub(crate) fn device(&self, id: &str) -> Raw {
        let mut device = self.open(Some(&self.authority.client(id)));
        assert_eq!(device.connect(&Connect::new(id)), Ok(0), "{id}");
        device
    }

    /// A server, connected, that sees every message.
    pub(crate) fn server(&self) -> Raw {
        let mut server = self.open(Some(&self.authority.client(SERVER)));
        assert_eq!(server.connect(&Connect::new(SERVER)), Ok(0));
        assert_eq!(server.subscribe("#"), Ok(1));
        server
    }

    /// Everything that the server has seen by now.
    pub(crate) fn seen(&self, server: &mut Raw) -> Vec<(String, Vec<u8>)> {
        let marker = format!("marker {}", self.markers.fetch_add(1, Ordering::Relaxed));
        server.publish("marker", &marker).unwrap();
        server.until(&marker).unwrap()
    }
}
