//! What carries messages between the server and its devices.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::fleet::records::DeviceStatus;
use ota_core::fleet::{
    Authorizer, Broker as _, ConnectRequest, FleetStore, Identity, Key, MessageLink, Record, Refusal,
    TopicAction, TopicRules,
};
use ota_core::wire::topic::TopicPrefix;
use ota_transport::broker::{
    Authorities, BrokerConfig, ClientCertificates, DeviceAuthorizer, EmbeddedBroker, ListenOn, TlsMaterial,
    server_config,
};
use ota_transport::memory::{MemoryLink, MemoryLinkLimits};
use ota_transport::mqtt::{Credentials, MqttConfig, MqttLink, Status};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Failure;
use super::installation::Installation;
use super::settings::{BrokerSettings, EmbeddedSettings, ExternalSettings};

/// How devices reach the server.
#[derive(Clone)]
pub enum Devices {
    /// In this process only: nothing listens for devices.
    InProcess(MemoryLink),
    /// Through the broker inside, with a certificate.
    Embedded(Arc<EmbeddedBroker>),
    /// Through an MQTT broker elsewhere.
    Broker(Arc<MqttLink>, String),
}

impl Devices {
    /// Begins to carry messages as the settings say.
    ///
    /// # Errors
    /// [`Failure`] if a file of the settings is not what it should be, or an address cannot be listened on.
    pub async fn start(
        broker: &BrokerSettings,
        installation: &Installation,
        store: Arc<dyn FleetStore>,
    ) -> Result<Self, Failure> {
        match broker {
            BrokerSettings::None => Ok(Self::InProcess(MemoryLink::new(MemoryLinkLimits::default()))),
            BrokerSettings::Embedded(settings) => embedded(settings, installation, store).await,
            BrokerSettings::External(settings) => {
                let wrong =
                    |why| Failure::caused("the broker cannot be used", &why, "correct the section [mqtt]");
                let link = MqttLink::start(config(settings)?).map_err(wrong)?;
                Ok(Self::Broker(Arc::new(link), format!("{}:{}", settings.host, settings.port)))
            }
        }
    }

    /// The server's end.
    #[must_use]
    pub fn link(&self) -> Arc<dyn MessageLink> {
        match self {
            Self::InProcess(link) => Arc::new(link.clone()),
            Self::Embedded(broker) => broker.link(),
            Self::Broker(link, _) => Arc::clone(link) as Arc<dyn MessageLink>,
        }
    }

    /// Where devices connect, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InProcess(_) => "nowhere: no broker is set, so no device can connect".to_owned(),
            Self::Embedded(broker) => {
                let addresses =
                    broker.listeners().into_iter().map(|listener| format!("mqtts://{}", listener.address));
                format!(
                    "{} with certificates of the development authority",
                    addresses.collect::<Vec<_>>().join(" ")
                )
            }
            Self::Broker(_, address) => format!("through the MQTT broker at {address}"),
        }
    }

    /// Whether messages can be carried now.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        match self {
            Self::InProcess(_) | Self::Embedded(_) => Ok(()),
            Self::Broker(link, address) => match &*link.status().borrow() {
                Status::Ready => Ok(()),
                Status::Connecting(Some(why)) => {
                    Err(format!("no connection to the broker at {address}: {why}"))
                }
                _ => Err(format!("connecting to the broker at {address}")),
            },
        }
    }

    /// Ends it: the server's loop returns.
    pub async fn close(&self) {
        match self {
            Self::InProcess(link) => link.close(),
            Self::Embedded(broker) => {
                if let Err(why) = broker.shutdown().await {
                    tracing::warn!(why, "the broker did not end well");
                }
            }
            Self::Broker(link, _) => link.close(),
        }
    }
}

/// Lets in whom a certificate names, if it is a registered device that was not revoked.
struct Registered {
    names: DeviceAuthorizer,
    store: Arc<dyn FleetStore>,
}

#[async_trait]
impl Authorizer for Registered {
    async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal> {
        let identity = self.names.connect(request).await?;
        let Identity::Device(device) = &identity else { return Ok(identity) };
        // A store that does not answer lets nobody in: devices come again.
        let loaded = self.store.load(&[Key::Device(device.clone())]).await.map_err(|_| Refusal::Limits)?;
        match loaded.into_iter().next().flatten().map(|stored| stored.record) {
            Some(Record::Device(record)) if record.status == DeviceStatus::Revoked => Err(Refusal::Revoked),
            Some(Record::Device(_)) => Ok(identity),
            _ => Err(Refusal::Credentials),
        }
    }

    fn topic(&self, identity: &Identity, action: TopicAction, topic: &str) -> Result<(), Refusal> {
        self.names.topic(identity, action, topic)
    }
}

/// The broker inside: TLS with the installation's certificate, and nobody gets in without one of its authority.
async fn embedded(
    settings: &EmbeddedSettings,
    installation: &Installation,
    store: Arc<dyn FleetStore>,
) -> Result<Devices, Failure> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|why| Failure::caused(format_args!("cannot read {}", path.display()), &why, ""))
    };
    let (certificate, key) = installation.broker_identity();
    let (chain_pem, key_pem, authority) =
        (read(&certificate)?, read(&key)?, read(&installation.authority())?);
    let authorities = Authorities { certificates_pem: &authority, revocations_pem: &[] };
    let clients = ClientCertificates::Required(authorities);
    let material = TlsMaterial { chain_pem: &chain_pem, key_pem: &key_pem, clients };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = server_config(&material, provider).map_err(|why| {
        let way_out = "move the folder tls/ of the data folder away to have its certificates made anew";
        Failure::caused("the broker's certificate cannot be used", &why, way_out)
    })?;
    let wrong = |why| Failure::caused("mqtt.prefix cannot be used", &why, "");
    let prefix = TopicPrefix::new(&settings.prefix).map_err(wrong)?;
    let config = BrokerConfig {
        listeners: vec![ListenOn { address: settings.listen, tls: Some(tls) }],
        prefix: prefix.into(),
        ..BrokerConfig::default()
    };
    let authorizer = Registered { names: DeviceAuthorizer::new(TopicRules::new(prefix)), store };
    let broker = EmbeddedBroker::start(config, Arc::new(authorizer)).await.map_err(|why| {
        let way_out = "end what listens there, or give another address with --mqtt-listen";
        Failure::caused("the broker cannot be started", &why, way_out)
    })?;
    Ok(Devices::Embedded(Arc::new(broker)))
}

fn config(broker: &ExternalSettings) -> Result<MqttConfig, Failure> {
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
        share_group: broker.share_group.clone(),
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
    let wrong = |what: &str, why: &dyn core::error::Error| {
        Failure::caused(format_args!("{what} cannot be used"), why, "give a PEM file with what is named")
    };
    let mut roots = rustls::RootCertStore::empty();
    let authorities = CertificateDer::pem_file_iter(ca).map_err(|why| wrong("mqtt.ca", &why))?;
    for authority in authorities {
        let authority = authority.map_err(|why| wrong("mqtt.ca", &why))?;
        roots.add(authority).map_err(|why| wrong("mqtt.ca", &why))?;
    }
    if roots.is_empty() {
        return Err(Failure::new(
            "mqtt.ca holds no certificate",
            "give a PEM file with the broker's authority",
        ));
    }
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
