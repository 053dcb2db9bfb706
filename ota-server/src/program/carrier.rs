//! What carries messages between the server and its devices.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use ota_core::fleet::records::{Device, DeviceStatus};
use ota_core::fleet::{
    Authorizer, Broker as _, ConnectRequest, FleetStore, Identity, Key, MessageLink, Record, Refusal,
    TopicAction, TopicRules,
};
use ota_core::number::Sha256Digest;
use ota_core::text::DeviceIdBuf;
use ota_core::wire::topic::TopicPrefix;
use ota_transport::broker::{
    Authorities, BrokerConfig, ClientCertificates, DeviceAuthorizer, EmbeddedBroker, ListenOn, Passwords,
    TlsMaterial, server_config,
};
use ota_transport::memory::{MemoryLink, MemoryLinkLimits};
use ota_transport::mqtt::{Credentials, MqttConfig, MqttLink, Sharing, Status};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Failure;
use super::disconnect::DisconnectingLink;
use super::installation::Installation;
use super::settings::{
    BrokerSettings, Clients, EmbeddedSettings, Enrolment, ExternalSettings, Settings, StoreSettings,
};
use crate::digest::sha256;
use crate::rules::device::{is_certificate, is_password};
use crate::server::{CommandError, Proof, Server};

/// How often a broker elsewhere is asked whether it is there; it gives a server up that is silent for half as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How devices reach the server.
#[derive(Clone)]
pub enum Devices {
    /// In this process only: nothing listens for devices.
    InProcess(MemoryLink),
    /// Through the broker inside.
    Embedded(Arc<EmbeddedBroker>, Arc<TlsFiles>, Arc<Registrar>),
    /// Through an MQTT broker elsewhere, which may be asked to close connections.
    Broker(Arc<MqttLink>, String, Option<Arc<DisconnectingLink>>),
}

impl Devices {
    /// Begins to carry messages as the settings say.
    ///
    /// # Errors
    /// [`Failure`] if a file of the settings is not what it should be, or an address cannot be listened on.
    pub async fn start(
        settings: &Settings,
        installation: &Installation,
        store: Arc<dyn FleetStore>,
    ) -> Result<Self, Failure> {
        match &settings.broker {
            BrokerSettings::None => Ok(Self::InProcess(MemoryLink::new(MemoryLinkLimits::default()))),
            BrokerSettings::Embedded(broker) => embedded(broker, installation, store).await,
            BrokerSettings::External(broker) => {
                let wrong =
                    |why| Failure::caused("the broker cannot be used", &why, "correct the section [mqtt]");
                let sharing = sharing(&settings.store, broker);
                let link = Arc::new(MqttLink::start(config(broker, sharing)?).map_err(wrong)?);
                let disconnecting = broker
                    .disconnect
                    .as_ref()
                    .map(|disconnect| DisconnectingLink::new(Arc::clone(&link), disconnect).map(Arc::new));
                let address = format!("{}:{}", broker.host, broker.port);
                Ok(Self::Broker(link, address, disconnecting.transpose()?))
            }
        }
    }

    /// The server's end.
    #[must_use]
    pub fn link(&self) -> Arc<dyn MessageLink> {
        match self {
            Self::InProcess(link) => Arc::new(link.clone()),
            Self::Embedded(broker, ..) => broker.link(),
            Self::Broker(_, _, Some(link)) => Arc::clone(link) as Arc<dyn MessageLink>,
            Self::Broker(link, ..) => Arc::clone(link) as Arc<dyn MessageLink>,
        }
    }

    /// Lets devices register themselves with this server, where the settings allow it. Until then nobody can.
    pub fn enrol_with(&self, server: &Server) {
        if let Self::Embedded(.., registrar) = self {
            registrar.set(Some(server.clone()));
        }
    }

    /// From now on no device can register itself: the broker lets go of the server.
    pub fn enrol_with_nobody(&self) {
        if let Self::Embedded(.., registrar) = self {
            registrar.set(None);
        }
    }

    /// Where devices connect, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InProcess(_) => "nowhere: no broker is set, so no device can connect".to_owned(),
            Self::Embedded(broker, tls, _) => {
                let addresses =
                    broker.listeners().into_iter().map(|listener| format!("mqtts://{}", listener.address));
                let addresses = addresses.collect::<Vec<_>>().join(" ");
                let passwords = if tls.clients == Clients::Certificates { "" } else { ", or with passwords" };
                format!("{addresses} with certificates of {}{passwords}", tls.authority.display())
            }
            Self::Broker(_, address, _) => format!("through the MQTT broker at {address}"),
        }
    }

    /// Whether messages can be carried now.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        match self {
            Self::InProcess(_) | Self::Embedded(..) => Ok(()),
            Self::Broker(link, address, _) => match &*link.status().borrow() {
                Status::Ready => Ok(()),
                Status::Connecting(Some(why)) => {
                    Err(format!("no connection to the broker at {address}: {why}"))
                }
                _ => Err(format!("connecting to the broker at {address}")),
            },
        }
    }

    /// Reads the certificates of the broker inside anew, if their files have changed: the next connection sees them,
    /// and nobody is disconnected. Says whether there was something new.
    ///
    /// # Errors
    /// [`Failure`] if they cannot be used; the old ones stay.
    pub fn renew_certificates(&self) -> Result<bool, Failure> {
        let Self::Embedded(broker, files, _) = self else { return Ok(false) };
        let Some(tls) = files.changed()? else { return Ok(false) };
        broker.renew_tls(&tls);
        Ok(true)
    }

    /// Ends it: the server's loop returns.
    pub async fn close(&self) {
        match self {
            Self::InProcess(link) => link.close(),
            Self::Embedded(broker, ..) => {
                self.enrol_with_nobody();
                if let Err(why) = broker.shutdown().await {
                    tracing::warn!(why, "the broker did not end well");
                }
            }
            Self::Broker(link, ..) => link.close(),
        }
    }
}

/// The files that TLS of the broker inside is made of.
#[derive(Debug)]
pub struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
    clients: Clients,
    /// The hash of what was read last.
    seen: Mutex<Option<[u8; 32]>>,
}

impl TlsFiles {
    /// What is in the files now, unless it was there before.
    fn changed(&self) -> Result<Option<Arc<rustls::ServerConfig>>, Failure> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|why| Failure::caused(format_args!("cannot read {}", path.display()), &why, ""))
        };
        let (chain, key, authority) = (read(&self.certificate)?, read(&self.key)?, read(&self.authority)?);
        let digest = [&chain, &key, &authority].map(|bytes| sha256(&[bytes]));
        let digest = sha256(&digest.each_ref().map(<[u8; 32]>::as_slice));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == Some(digest) {
            return Ok(None);
        }
        let authorities = Authorities { certificates_pem: &authority, revocations_pem: &[] };
        let clients = match self.clients {
            Clients::Certificates => ClientCertificates::Required(authorities),
            Clients::CertificatesAndPasswords => ClientCertificates::Optional(authorities),
        };
        let material = TlsMaterial { chain_pem: &chain, key_pem: &key, clients };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = server_config(&material, provider).map_err(|why| {
            let files = format!("{} and {}", self.certificate.display(), self.key.display());
            let way_out = "correct mqtt.certificate, mqtt.key and mqtt.ca; for development certificates, move \
                           server.* in the folder tls/ away to have them made anew";
            Failure::caused(format_args!("the broker's certificate, {files}, cannot be used"), &why, way_out)
        })?;
        *seen = Some(digest);
        Ok(Some(tls))
    }
}

async fn registered(store: &dyn FleetStore, id: &DeviceIdBuf) -> Result<Option<Device>, Refusal> {
    // A store that does not answer lets nobody in: devices come again.
    let loaded = store.load(&[Key::Device(id.clone())]).await.map_err(|_| Refusal::Limits)?;
    Ok(loaded.into_iter().next().flatten().and_then(|stored| match stored.record {
        Record::Device(device) => Some(device),
        _ => None,
    }))
}

/// The passwords of registered devices.
struct DevicePasswords(Arc<dyn FleetStore>);

#[async_trait]
impl Passwords for DevicePasswords {
    async fn verify(&self, user: &str, password: &[u8]) -> Result<(), Refusal> {
        let id = DeviceIdBuf::new(user).map_err(|_| Refusal::Credentials)?;
        let device = registered(&*self.0, &id).await?.ok_or(Refusal::Credentials)?;
        if is_password(&device, password) { Ok(()) } else { Err(Refusal::Credentials) }
    }
}

/// Registers devices that nobody has registered, if their certificate was announced.
///
/// The broker is there before the server that it belongs to, so the server comes later, and goes earlier.
pub struct Registrar {
    enrolment: Enrolment,
    server: RwLock<Option<Server>>,
}

impl Registrar {
    fn set(&self, server: Option<Server>) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = server;
    }

    async fn register(
        &self,
        device: &DeviceIdBuf,
        fingerprint: Option<&Sha256Digest>,
    ) -> Result<(), Refusal> {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(server), Some(shown), Enrolment::Announced) = (server, fingerprint, self.enrolment) else {
            return Err(Refusal::Credentials);
        };
        match server.register_itself(device, Proof::Certificate(shown)).await {
            Ok(product) => {
                let (device, product) = (device.as_str(), product.as_str());
                tracing::info!(device, product, "device registered by its announced certificate");
                Ok(())
            }
            // Devices come again.
            Err(CommandError::Store(_)) => Err(Refusal::Limits),
            Err(_) => Err(Refusal::Credentials),
        }
    }
}

/// Lets in who has proven to be a registered device that was not revoked.
struct Registered {
    names: DeviceAuthorizer,
    store: Arc<dyn FleetStore>,
    registrar: Arc<Registrar>,
}

impl Registered {
    /// The device whose certificate this is, and its record.
    ///
    /// The client id says which device the client wants to be. It is believed if the certificate was registered for that
    /// device; otherwise the name in the certificate is the device's id, if it can be one.
    async fn device_of(
        &self,
        certificate: &str,
        named: Option<DeviceIdBuf>,
        request: &ConnectRequest,
    ) -> Result<(DeviceIdBuf, Option<Device>), Refusal> {
        if let Ok(wanted) = DeviceIdBuf::new(request.client_id.as_str())
            && Some(&wanted) != named.as_ref()
            && let Some(record) = registered(&*self.store, &wanted).await?
            && is_certificate(&wanted, &record, certificate, request.fingerprint.as_ref())
        {
            return Ok((wanted, Some(record)));
        }
        let named = named.ok_or(Refusal::Credentials)?;
        let record = registered(&*self.store, &named).await?;
        match &record {
            Some(record) if !is_certificate(&named, record, certificate, request.fingerprint.as_ref()) => {
                Err(Refusal::Credentials)
            }
            _ => Ok((named, record)),
        }
    }
}

#[async_trait]
impl Authorizer for Registered {
    async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal> {
        let named = match self.names.connect(request).await {
            Ok(Identity::Device(named)) => Some(named),
            Ok(other) => return Ok(other),
            // What a factory wrote into a certificate need not be an id: the certificate may have been registered.
            Err(Refusal::Credentials) if request.certificate.is_some() => None,
            Err(refusal) => return Err(refusal),
        };
        let (device, record) = match (&request.certificate, named) {
            (Some(certificate), named) => self.device_of(certificate, named, request).await?,
            // Its password was looked up already.
            (None, Some(named)) => {
                let record = registered(&*self.store, &named).await?;
                (named, Some(record.ok_or(Refusal::Credentials)?))
            }
            (None, None) => return Err(Refusal::Credentials),
        };
        match record {
            Some(record) if record.status == DeviceStatus::Revoked => return Err(Refusal::Revoked),
            Some(_) => {}
            // The broker would refuse it for this after it was registered.
            None if request.client_id != device.as_str() => return Err(Refusal::ForeignClientId),
            None => self.registrar.register(&device, request.fingerprint.as_ref()).await?,
        }
        Ok(Identity::Device(device))
    }

    async fn stands(&self, identity: &Identity) -> Result<(), Refusal> {
        let Identity::Device(device) = identity else { return Ok(()) };
        match registered(&*self.store, device).await? {
            Some(record) if record.status == DeviceStatus::Revoked => Err(Refusal::Revoked),
            Some(_) => Ok(()),
            None => Err(Refusal::Credentials),
        }
    }

    fn topic(&self, identity: &Identity, action: TopicAction, topic: &str) -> Result<(), Refusal> {
        self.names.topic(identity, action, topic)
    }
}

/// The broker inside: TLS with the configured certificate or the installation's own.
async fn embedded(
    settings: &EmbeddedSettings,
    installation: &Installation,
    store: Arc<dyn FleetStore>,
) -> Result<Devices, Failure> {
    let (certificate, key) = match &settings.identity {
        Some(identity) => identity.clone(),
        None => installation.broker_identity(&settings.names)?,
    };
    let authority = settings.ca.clone().unwrap_or_else(|| installation.authority());
    let files = TlsFiles { certificate, key, authority, clients: settings.clients, seen: Mutex::default() };
    // Never without TLS, whatever the files say.
    let tls = files.changed()?.ok_or_else(|| Failure::new("the broker has no certificate", ""))?;
    let wrong = |why| Failure::caused("mqtt.prefix cannot be used", &why, "");
    let prefix = TopicPrefix::new(&settings.prefix).map_err(wrong)?;
    let config = BrokerConfig {
        listeners: vec![ListenOn { address: settings.listen, tls: Some(tls) }],
        prefix: prefix.into(),
        limits: settings.limits.clone(),
        ..BrokerConfig::default()
    };
    let mut rules = TopicRules::new(prefix);
    for (pattern, access) in &settings.application {
        let wrong = |why| Failure::caused(format_args!("the topic {pattern} cannot be opened"), &why, "");
        rules = rules.with_application_topic(pattern, *access).map_err(wrong)?;
    }
    let mut names = DeviceAuthorizer::new(rules);
    if settings.clients == Clients::CertificatesAndPasswords {
        names = names.with_passwords(Arc::new(DevicePasswords(Arc::clone(&store))));
    }
    let registrar = Arc::new(Registrar { enrolment: settings.enrolment, server: RwLock::default() });
    let authorizer = Registered { names, store, registrar: Arc::clone(&registrar) };
    let broker = EmbeddedBroker::start(config, Arc::new(authorizer)).await.map_err(|why| {
        let way_out = "end what listens there, or give another address with --mqtt-listen";
        Failure::caused("the broker cannot be started", &why, way_out)
    })?;
    Ok(Devices::Embedded(Arc::new(broker), Arc::new(files), registrar))
}

/// How this server divides messages with others, of which it only knows that there may be some on its database.
fn sharing(store: &StoreSettings, broker: &ExternalSettings) -> Sharing {
    match (&broker.share_group, store) {
        (Some(group), _) => Sharing::Group(group.clone()),
        (None, StoreSettings::Postgres(_)) => {
            tracing::info!(
                "mqtt.share_group is not set: the servers of this database take turns, and one at a time hears all devices; \
                 where the broker knows shared subscriptions, set the same group on all, and they divide the messages"
            );
            Sharing::InTurns
        }
        (None, _) => Sharing::Alone,
    }
}

fn config(broker: &ExternalSettings, sharing: Sharing) -> Result<MqttConfig, Failure> {
    let password = match &broker.password_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|why| Failure::caused("cannot read mqtt.password_file", &why, ""))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        None => String::new(),
    };
    let credentials = broker.user.clone().map(|user| Credentials { user, password });
    Ok(MqttConfig {
        version: broker.version,
        credentials,
        tls: tls(broker)?,
        native_prefix: Some(broker.prefix.clone()),
        sharing,
        // The others of the group get nothing of this server's share until the broker has noticed that it is gone.
        keep_alive: KEEP_ALIVE,
        ..MqttConfig::new(broker.host.clone(), broker.port, broker.client_id.clone())
    })
}

fn tls(broker: &ExternalSettings) -> Result<Option<Arc<rustls::ClientConfig>>, Failure> {
    let Some(ca) = &broker.ca else {
        if broker.identity.is_some() {
            let way_out =
                "set mqtt.ca to the authority of the broker's certificate, or leave mqtt.certificate away";
            return Err(Failure::new("a certificate is set for a connection without TLS", way_out));
        }
        return Ok(None);
    };
    let wrong = super::tls::unusable;
    let roots = super::tls::authorities("mqtt.ca", ca)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong("TLS", &why))?
        .with_root_certificates(roots);
    let config = match &broker.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|why| wrong("mqtt.certificate", &why))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|why| wrong("mqtt.key", &why))?;
            builder.with_client_auth_cert(chain, key).map_err(|why| wrong("mqtt.certificate", &why))?
        }
    };
    Ok(Some(Arc::new(config)))
}
