//! What the settings say of the broker: which it is, and of the one inside, what it opens and how much it lets clients
//! take.

use std::path::PathBuf;

use ota_core::fleet::{TopicAccess, TopicRules};
use ota_core::wire::topic::TopicPrefix;
use ota_transport::broker::BrokerLimits;
use ota_transport::mqtt::MqttVersion;

use super::values::names;
use super::{BrokerSettings, Clients, EmbeddedSettings, Enrolment, Layers, SettingError};

/// What stands in a URL for the id of a device.
pub(in crate::program) const DEVICE: &str = "{device}";

/// How a broker elsewhere is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSettings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The version of MQTT.
    pub version: MqttVersion,
    /// What this server calls itself.
    pub client_id: String,
    /// User name.
    pub user: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Authorities of the broker's certificate; `None` for a connection without TLS.
    pub ca: Option<PathBuf>,
    /// Certificate and key shown to the broker.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What native topics begin with.
    pub prefix: String,
    /// The group of servers that divide messages.
    pub share_group: Option<String>,
    /// How the broker is asked to close a device's connection, if it can be.
    pub disconnect: Option<DisconnectSettings>,
}

/// The request that has a broker elsewhere close the connection of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectSettings {
    /// How it is asked.
    pub method: DisconnectMethod,
    /// Where, with `{device}` in the place of the device's id.
    pub url: String,
    /// The file with the value of the header `Authorization`.
    pub authorization_file: Option<PathBuf>,
}

/// The method of such a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectMethod {
    /// `DELETE`, without a body.
    Delete,
    /// `POST`, with `{"device":"..."}` as its body.
    Post,
}

impl Layers {
    /// The broker that devices connect to.
    pub(super) fn broker(&self) -> Result<BrokerSettings, SettingError> {
        let kind = self.read("mqtt.broker", |text| match text {
            "none" | "embedded" => Some(None),
            text => {
                let (host, port) = text.rsplit_once(':')?;
                let port = port.parse().ok().filter(|port| *port != 0)?;
                (!host.is_empty()).then(|| Some((host.trim_matches(['[', ']']).to_owned(), port)))
            }
        })?;
        let prefix = self.read("mqtt.prefix", |text| TopicPrefix::new(text).ok().map(|_| text.to_owned()))?;
        let file = |key| self.existing_file(key);
        let identity = match (file("mqtt.certificate")?, file("mqtt.key")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (None, Some(_)) => return self.read("mqtt.certificate", |_| None),
            (Some(_), None) => return self.read("mqtt.key", |_| None),
        };
        let Some((host, port)) = kind else {
            if self.text("mqtt.broker").0 == "none" {
                return Ok(BrokerSettings::None);
            }
            return Ok(BrokerSettings::Embedded(Box::new(EmbeddedSettings {
                listen: self.read("mqtt.listen", |text| text.parse().ok())?,
                names: self.read("mqtt.names", names)?,
                identity,
                ca: file("mqtt.ca")?,
                clients: self.read("mqtt.clients", |text| match text {
                    "certificates" => Some(Clients::Certificates),
                    "certificates-and-passwords" => Some(Clients::CertificatesAndPasswords),
                    _ => None,
                })?,
                enrolment: self.read("mqtt.enrolment", |text| match text {
                    "announced" => Some(Enrolment::Announced),
                    "refuse" => Some(Enrolment::Refuse),
                    _ => None,
                })?,
                application: self.application(&prefix)?,
                limits: self.limits()?,
                prefix,
            })));
        };
        let some = |key| self.read(key, |text| Some((!text.is_empty()).then(|| text.to_owned())));
        let is_name = |text: &str| !text.is_empty() && !text.contains(['+', '#', '\0']);
        Ok(BrokerSettings::External(Box::new(ExternalSettings {
            host,
            port,
            version: self.read("mqtt.version", |text| match text {
                "3.1.1" => Some(MqttVersion::V3_1_1),
                "5" => Some(MqttVersion::V5),
                _ => None,
            })?,
            client_id: self.read("mqtt.client_id", |text| is_name(text).then(|| text.to_owned()))?,
            user: some("mqtt.user")?,
            password_file: file("mqtt.password_file")?,
            ca: file("mqtt.ca")?,
            identity,
            prefix,
            share_group: self.read("mqtt.share_group", |text| match text {
                "" => Some(None),
                text => (is_name(text) && !text.contains('/')).then(|| Some(text.to_owned())),
            })?,
            disconnect: self.disconnect()?,
        })))
    }

    /// How a broker elsewhere is asked to close connections.
    fn disconnect(&self) -> Result<Option<DisconnectSettings>, SettingError> {
        let request = self.read("mqtt.disconnect", |text| {
            if text.is_empty() {
                return Some(None);
            }
            let (method, url) = text.split_once(' ')?;
            let method = match method {
                "DELETE" => DisconnectMethod::Delete,
                "POST" => DisconnectMethod::Post,
                _ => return None,
            };
            let is_url = (url.starts_with("https://") || url.starts_with("http://"))
                && !url.contains(char::is_whitespace)
                // An agent of one's own may as well read the body.
                && (url.contains(DEVICE) || method == DisconnectMethod::Post);
            is_url.then(|| Some((method, url.to_owned())))
        })?;
        let authorization_file = self.existing_file("mqtt.disconnect_authorization_file")?;
        Ok(request.map(|(method, url)| DisconnectSettings { method, url, authorization_file }))
    }

    /// The topics that are opened for the devices' applications.
    fn application(&self, prefix: &str) -> Result<Vec<(String, TopicAccess)>, SettingError> {
        let mut rules = TopicPrefix::new(prefix).map(TopicRules::new).ok();
        let mut opened = Vec::new();
        for (key, access) in
            [("mqtt.publish", TopicAccess::Publish), ("mqtt.subscribe", TopicAccess::Subscribe)]
        {
            let patterns = self.read(key, |text| {
                let patterns = text.split(',').map(str::trim).filter(|pattern| !pattern.is_empty());
                let patterns: Vec<String> = patterns.map(str::to_owned).collect();
                let with =
                    |rules: TopicRules, pattern: &String| rules.with_application_topic(pattern, access).ok();
                let rules = patterns.iter().try_fold(rules.clone()?, with)?;
                Some((patterns, rules))
            })?;
            rules = Some(patterns.1);
            opened.extend(patterns.0.into_iter().map(|pattern| (pattern, access)));
        }
        Ok(opened)
    }

    /// What the broker inside lets clients take.
    fn limits(&self) -> Result<BrokerLimits, SettingError> {
        let number = |key| {
            self.read(key, |text| text.parse::<u32>().ok().filter(|number| (1..=1_000_000).contains(number)))
        };
        let count = |key| number(key).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        Ok(BrokerLimits {
            connections: count("mqtt.connections_max")?,
            connections_per_address: count("mqtt.connections_per_address_max")?,
            packets_per_second: number("mqtt.packets_per_second_max")?,
            bytes_per_second: number("mqtt.kib_per_second_max")?.saturating_mul(1024),
            ..BrokerLimits::default()
        })
    }
}
