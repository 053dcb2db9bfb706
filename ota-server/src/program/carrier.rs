//! What carries messages between the server and its devices.

use std::sync::Arc;

use ota_core::fleet::MessageLink;
use ota_transport::memory::{MemoryLink, MemoryLinkLimits};
use ota_transport::mqtt::{Credentials, MqttConfig, MqttLink, Status};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Failure;
use super::settings::BrokerSettings;

/// How devices reach the server.
#[derive(Clone)]
pub enum Devices {
    /// In this process only: nothing listens for devices.
    InProcess(MemoryLink),
    /// Through an MQTT broker elsewhere.
    Broker(Arc<MqttLink>, String),
}

impl Devices {
    /// Begins to carry messages as the settings say.
    ///
    /// # Errors
    /// [`Failure`] if a file of the settings is not what it should be.
    pub fn start(broker: Option<&BrokerSettings>) -> Result<Self, Failure> {
        let Some(broker) = broker else {
            return Ok(Self::InProcess(MemoryLink::new(MemoryLinkLimits::default())));
        };
        let link = MqttLink::start(config(broker)?).map_err(|why| {
            Failure::caused("the broker cannot be used", &why, "correct the section [mqtt]")
        })?;
        Ok(Self::Broker(Arc::new(link), format!("{}:{}", broker.host, broker.port)))
    }

    /// The server's end.
    #[must_use]
    pub fn link(&self) -> Arc<dyn MessageLink> {
        match self {
            Self::InProcess(link) => Arc::new(link.clone()),
            Self::Broker(link, _) => Arc::clone(link) as Arc<dyn MessageLink>,
        }
    }

    /// Where devices connect, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::InProcess(_) => "nowhere: no broker is set, so no device can connect".to_owned(),
            Self::Broker(_, address) => format!("through the MQTT broker at {address}"),
        }
    }

    /// Whether messages can be carried now.
    ///
    /// # Errors
    /// Why not.
    pub fn ready(&self) -> Result<(), String> {
        match self {
            Self::InProcess(_) => Ok(()),
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
    pub fn close(&self) {
        match self {
            Self::InProcess(link) => link.close(),
            Self::Broker(link, _) => link.close(),
        }
    }
}

fn config(broker: &BrokerSettings) -> Result<MqttConfig, Failure> {
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

fn tls(broker: &BrokerSettings) -> Result<Option<Arc<rustls::ClientConfig>>, Failure> {
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
