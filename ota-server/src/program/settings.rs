//! Settings of the server: one table, read from defaults, a TOML file, the environment and flags, in rising precedence.
//!
//! Whatever is wrong is said in one message that names the setting, where its value comes from, the value, and what is
//! allowed; nothing is started with a setting that was not understood.

mod files;
mod mqtt;
mod values;

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ota_core::fleet::TopicAccess;
use ota_core::time::Millis;
use ota_core::wire::topic::TopicPrefix;
use ota_transport::broker::BrokerLimits;
use tracing_subscriber::filter::LevelFilter;

pub use self::files::{FileSettings, PostgresSettings, S3Settings, Secrets, StoreSettings};
pub(super) use self::mqtt::DEVICE;
pub use self::mqtt::{DisconnectMethod, DisconnectSettings, ExternalSettings};
use self::values::{mib, public_url, span};
use super::oidc::{KeySource, OidcSettings};
use super::outbound::Inside;
use super::webhooks::WebhookSettings;

/// One setting: its key in the file; the flag is `--` and the environment variable `OTA_` before the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key: `http.listen` is `listen` in the section `[http]`, `--http-listen` and `OTA_HTTP_LISTEN`.
    pub key: &'static str,
    /// Its value if nobody says anything.
    pub default: &'static str,
    /// What it can be.
    pub allowed: &'static str,
    /// What it does.
    pub help: &'static str,
}

const fn setting(
    key: &'static str,
    default: &'static str,
    allowed: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, default, allowed, help }
}

/// All settings.
pub const SETTINGS: &[Setting] = &[
    setting("data", "ota-data", "a folder", "where everything is kept"),
    setting(
        "store.postgres",
        "",
        "postgres://USER:PASSWORD@HOST/DATABASE; nothing for a file in the data folder",
        "the database that servers share",
    ),
    setting(
        "store.postgres_ca",
        "",
        "a PEM file; nothing for a connection without TLS",
        "the authorities that the database's certificate may come from",
    ),
    setting(
        "store.upgrade",
        "at-start",
        "at-start or by-hand",
        "whether this server may bring the tables of the database up to date",
    ),
    setting(
        "store.s3_bucket",
        "",
        "the name of a bucket that is there; nothing for the folder `files` in the data folder",
        "the bucket of an object store where uploaded files are kept, which servers share",
    ),
    setting(
        "store.s3_endpoint",
        "",
        "https://HOST or http://HOST, with a port if need be; nothing for Amazon's own",
        "where the object store listens that speaks the protocol of S3",
    ),
    setting("store.s3_region", "us-east-1", "a name", "the region of the bucket; other stores take any"),
    setting(
        "store.s3_key_id",
        "",
        "a text; nothing for the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the role of the machine",
        "the id of the access key shown to the object store",
    ),
    setting(
        "store.s3_secret_file",
        "",
        "a file; needed with store.s3_key_id",
        "the file with the secret of that access key",
    ),
    setting(
        "store.s3_ca",
        "",
        "a PEM file; nothing for the authorities of the system",
        "the authorities that the object store's certificate may come from",
    ),
    setting(
        "store.wrapping_key_file",
        "",
        "a file with 64 hexadecimal digits; nothing for `wrapping.key` in the data folder, made at the first start; needed \
         with a database",
        "the key that wraps the secrets in the store, the same for all servers: a copy of the store gives none of them away",
    ),
    setting(
        "store.secrets",
        "wrapped",
        "wrapped or plain",
        "whether secrets may lie in the database as they are, for whoever can read it or a copy of it",
    ),
    setting(
        "http.listen",
        "127.0.0.1:8480",
        "an address and a port, such as 127.0.0.1:8480; port 0 takes a free one",
        "where the HTTP API listens",
    ),
    setting(
        "http.beyond_loopback",
        "refuse",
        "refuse, or allow if a proxy in front of it speaks TLS",
        "whether the API, which is plain HTTP, may listen on other addresses than loopback",
    ),
    setting(
        "http.public_url",
        "",
        "https://HOST or http://HOST, with a port if need be and without a path; nothing for the address it listens on",
        "where people reach it; with https their sessions travel over TLS only",
    ),
    setting(
        "http.file_mib_max",
        "4096",
        "a number from 1 to 1048576",
        "the largest file that can be uploaded, in MiB",
    ),
    setting(
        "http.staged_mib_max",
        "16384",
        "a number from 1 to 1048576",
        "how much unfinished uploads may hold together in the data folder, in MiB; one of the largest files always fits",
    ),
    setting(
        "mqtt.broker",
        "embedded",
        "embedded, none, or the host and port of a broker, such as broker.example:8883",
        "the MQTT broker that devices connect to",
    ),
    setting(
        "mqtt.listen",
        "127.0.0.1:8883",
        "an address and a port, such as 0.0.0.0:8883; port 0 takes a free one",
        "where the embedded broker listens for devices, with TLS",
    ),
    setting(
        "mqtt.names",
        "localhost,127.0.0.1,::1",
        "host names and addresses, with commas between them",
        "what devices call the embedded broker: its development certificate is made for these",
    ),
    setting(
        "mqtt.clients",
        "certificates",
        "certificates, or certificates-and-passwords",
        "how devices show the embedded broker who they are",
    ),
    setting(
        "mqtt.enrolment",
        "announced",
        "announced, or refuse",
        "whether a device that nobody has registered may register itself at the embedded broker, with a certificate that \
         was announced to the server",
    ),
    setting(
        "mqtt.publish",
        "",
        "topics with {device} in them and commas between them, such as app/{device}/out/#, or nothing",
        "where a device's application may publish at the embedded broker, beside the topics of updates",
    ),
    setting(
        "mqtt.subscribe",
        "",
        "topics as for mqtt.publish, also without {device}, such as app/news",
        "where a device's application may subscribe at the embedded broker, beside the topics of updates",
    ),
    setting(
        "mqtt.connections_max",
        "10000",
        "a number from 1 to 1000000",
        "how many devices may be connected to the embedded broker at once",
    ),
    setting(
        "mqtt.connections_per_address_max",
        "10000",
        "a number from 1 to 1000000",
        "how many of them from one address; a fleet behind one router has one",
    ),
    setting(
        "mqtt.packets_per_second_max",
        "5000",
        "a number from 1 to 1000000",
        "how many packets a second the embedded broker reads from one device; beyond, it reads more slowly",
    ),
    setting(
        "mqtt.kib_per_second_max",
        "4096",
        "a number from 1 to 1000000",
        "how many KiB a second the embedded broker reads from one device; beyond, it reads more slowly",
    ),
    setting("mqtt.version", "3.1.1", "3.1.1 or 5", "the version of MQTT spoken with the broker"),
    setting(
        "mqtt.client_id",
        "ota/server",
        "a name without `+` and `#`; with a `/` in it, no device can have the same",
        "what this server calls itself at a broker elsewhere, another name for each server",
    ),
    setting("mqtt.user", "", "a user name, or nothing", "the user name shown to the broker"),
    setting("mqtt.password_file", "", "a file, or nothing", "the file with the password shown to the broker"),
    setting(
        "mqtt.ca",
        "",
        "a PEM file; nothing for a broker elsewhere without TLS, or for the development authority",
        "the authorities that certificates of the other end may come from: a broker's, or devices' at the embedded one",
    ),
    setting(
        "mqtt.certificate",
        "",
        "a PEM file, or nothing",
        "the certificate shown to the other end: to a broker, or to devices by the embedded one",
    ),
    setting("mqtt.key", "", "a PEM file, or nothing", "the private key of that certificate"),
    setting(
        "mqtt.prefix",
        TopicPrefix::DEFAULT.as_str(),
        "levels without wildcards",
        "what native topics begin with",
    ),
    setting(
        "mqtt.disconnect",
        "",
        "DELETE or POST and a URL with {device} in it, such as DELETE https://broker.example/clients/{device}; or nothing",
        "the request that has a broker elsewhere close the connection of a device that was locked out",
    ),
    setting(
        "mqtt.disconnect_authorization_file",
        "",
        "a file, or nothing",
        "the file with the value of that request's header Authorization, such as Basic and a key in Base64",
    ),
    setting(
        "mqtt.share_group",
        "",
        "a name; nothing for the only server",
        "the group of servers that divide messages",
    ),
    setting(
        "devices.check_in",
        "6h",
        "a span from 1s to 7d, such as 30m",
        "when a device with nothing to do checks in again",
    ),
    setting(
        "devices.check_ins_per_second",
        "5000",
        "a number from 1 to 1000000, or 0 for any number",
        "how many check-ins are taken in a second; those above it are told to come back a little later",
    ),
    setting(
        "devices.assignment_life",
        "1h",
        "a span from 1m to 1d",
        "how long the server's word to a device is good for",
    ),
    setting(
        "oidc.issuer",
        "",
        "the issuer exactly as its tokens name it, such as https://id.example; nothing for none",
        "the OpenID Connect provider whose bearer tokens are taken",
    ),
    setting(
        "oidc.audience",
        "",
        "a text; needed with oidc.issuer",
        "whom the provider's tokens must be for, usually the client id that this server has there",
    ),
    setting(
        "oidc.keys",
        "",
        "a file, or an address beginning with https:// or http://; needed with oidc.issuer",
        "the provider's JSON Web Key Set",
    ),
    setting(
        "oidc.claim",
        "sub",
        "the name of a claim, such as sub, email or preferred_username",
        "the claim with the name that the person has here",
    ),
    setting(
        "webhook.url",
        "",
        "an address beginning with http:// or https://, or nothing",
        "where events of campaigns are posted to",
    ),
    setting(
        "webhook.secret_file",
        "",
        "a file with `whsec_` and 32 bytes in Base64; needed with webhook.url",
        "the secret that webhooks are signed with",
    ),
    setting(
        "calls.inside_networks",
        "refuse",
        "refuse, or allow if everybody who may write URLs is trusted with the network",
        "whether files of other hosts and webhooks may be at addresses of loopback and private networks",
    ),
    setting(
        "store.former_wrapping_key_files",
        "",
        "files with 64 hexadecimal digits each, with commas between them, or nothing",
        "keys that wrapped secrets before: they still open them",
    ),
    setting(
        "store.compact_every",
        "7d",
        "a span from 1h to 365d, or never",
        "how often the store gives back the room that it does not need any more, when it is idle",
    ),
    setting(
        "store.sweep_every",
        "1d",
        "a span from 1h to 365d, or never",
        "how often uploaded files that no release refers to are removed",
    ),
    setting(
        "store.unreferenced_kept",
        "1d",
        "a span from 1h to 365d",
        "how long such files are kept at least, for drafts that are about to be made",
    ),
    setting(
        "store.forget_history_after",
        "never",
        "a span from 1d to 3650d, or never",
        "how long after a campaign was stopped the sweep removes what each device did in it",
    ),
    setting(
        "store.forget_drafts_after",
        "never",
        "a span from 1d to 3650d, or never",
        "after how long the sweep removes releases that nobody has signed and campaigns that nobody has started",
    ),
    setting(
        "audit.checkpoint_file",
        "",
        "a file; nothing for `audit-checkpoints` in the data folder",
        "where signed ends of the audit chain are appended; best where whoever can write the store cannot",
    ),
    setting(
        "audit.checkpoint_every",
        "1h",
        "a span from 1m to 365d, or never",
        "how often the end of the audit chain is signed, if something has happened",
    ),
    setting(
        "cache_mib",
        "256",
        "a number from 1 to 1048576",
        "memory for files on their way to devices, in MiB",
    ),
    setting("log", "info", "error, warn, info, debug or trace", "how much is logged, on standard error"),
];

impl Setting {
    /// The setting with this key.
    #[must_use]
    pub fn by_key(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its flag, without the dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// Its environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("OTA_{}", self.key.replace('.', "_").to_uppercase())
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(name) => write!(f, "the flag --{name}"),
        }
    }
}

/// A setting is wrong. Nothing has been started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The value is not allowed.
    #[error("the setting `{key}` is {value:?}, from {from}; allowed is {allowed}")]
    Value {
        /// Which setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where it comes from.
        from: Source,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The file that it names cannot be read.
    #[error(
        "the setting `{key}` is {value:?}, from {from}; allowed is {allowed}, and that cannot be read: {why}"
    )]
    Unreadable {
        /// Which setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where it comes from.
        from: Source,
        /// What is allowed.
        allowed: &'static str,
        /// Why.
        why: std::io::Error,
    },
    /// There is no such setting.
    #[error("there is no setting `{key}`, found in {from}; allowed are {allowed}")]
    Unknown {
        /// What was found.
        key: String,
        /// Where.
        from: Source,
        /// All keys.
        allowed: String,
    },
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
}

/// Settings, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where everything is kept.
    pub data: PathBuf,
    /// Where records are kept.
    pub store: StoreSettings,
    /// Where uploaded files are kept.
    pub files: FileSettings,
    /// The file with the key that wraps secrets; `None` for the one in the data folder.
    pub wrapping_key: Option<PathBuf>,
    /// Whether secrets may lie in a database without a key that wraps them.
    pub secrets: Secrets,
    /// Where the HTTP API listens.
    pub http_listen: SocketAddr,
    /// Where people reach it, if not at that address; without a slash at its end.
    pub public_url: Option<String>,
    /// The largest file, in bytes.
    pub file_bytes_max: u64,
    /// How much unfinished uploads may hold together, in bytes.
    pub staged_bytes_max: u64,
    /// The broker.
    pub broker: BrokerSettings,
    /// When a device with nothing to do checks in again.
    pub check_in: Millis,
    /// How many check-ins are taken in a second; 0 for any number.
    pub check_ins_per_second: u32,
    /// How long an assignment is good for.
    pub assignment_life: Millis,
    /// The OpenID Connect provider, if there is one.
    pub oidc: Option<OidcSettings>,
    /// Whom to tell about campaigns, if anybody.
    pub webhook: Option<WebhookSettings>,
    /// Whether the server's own requests may go to inside networks.
    pub inside: Inside,
    /// What is kept, how, and for how long.
    pub kept: KeptSettings,
    /// Memory for files on their way, in bytes.
    pub cache_bytes: u64,
    /// How much is logged.
    pub log: LevelFilter,
}

/// What is kept, how, and for how long. A span of 0 means never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSettings {
    /// Keys that wrapped secrets before.
    pub former_wrapping_keys: Vec<PathBuf>,
    /// How often the store is compacted.
    pub compact_every: Millis,
    /// How often files that nothing refers to are removed.
    pub sweep_every: Millis,
    /// How long such files are kept at least.
    pub unreferenced_kept: Millis,
    /// How long after the end of a campaign its attempts are removed.
    pub forget_history_after: Millis,
    /// After how long drafts are removed.
    pub forget_drafts_after: Millis,
    /// Where signed ends of the audit chain go; `None` for the data folder.
    pub checkpoint_file: Option<PathBuf>,
    /// How often there is one.
    pub checkpoint_every: Millis,
}

/// The broker that devices connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerSettings {
    /// There is none.
    None,
    /// The one inside.
    Embedded(Box<EmbeddedSettings>),
    /// One elsewhere.
    External(Box<ExternalSettings>),
}

/// How the broker inside is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What native topics begin with.
    pub prefix: String,
    /// What devices call it: the development certificate is made for these names and addresses.
    pub names: Vec<String>,
    /// Certificate and key that it shows; `None` for those of the development authority.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Authorities of devices' certificates; `None` for the development authority.
    pub ca: Option<PathBuf>,
    /// How devices show who they are.
    pub clients: Clients,
    /// Whether devices may register themselves.
    pub enrolment: Enrolment,
    /// Topics of the devices' applications.
    pub application: Vec<(String, TopicAccess)>,
    /// What devices may use up.
    pub limits: BrokerLimits,
}

/// Whether devices that nobody has registered may register themselves at the broker inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolment {
    /// Those whose certificate was announced.
    Announced,
    /// None.
    Refuse,
}

/// How devices show the broker inside who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// With certificates.
    Certificates,
    /// With certificates, or with their ids and passwords.
    CertificatesAndPasswords,
}

/// Texts of settings with their sources, each layer over the one before it.
#[derive(Debug, Default)]
pub struct Layers(BTreeMap<&'static str, (String, Source)>);

impl Layers {
    /// Adds the file: a table with sections, its keys joined by dots.
    ///
    /// # Errors
    /// [`SettingError`] if it cannot be read or has a key that is no setting.
    pub fn file(&mut self, path: &Path) -> Result<(), SettingError> {
        let failed = |why: String| SettingError::File { path: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| failed(error.to_string()))?;
        self.table("", &table, path)
    }

    fn table(&mut self, prefix: &str, table: &toml::Table, path: &Path) -> Result<(), SettingError> {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let text = match value {
                toml::Value::Table(section) => {
                    self.table(&key, section, path)?;
                    continue;
                }
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            self.put(&key, text, Source::File(path.to_owned()))?;
        }
        Ok(())
    }

    /// Adds the variables of the environment that are settings; others are none of our business.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, value) in variables {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) {
                self.0.insert(setting.key, (value, Source::Environment(name)));
            }
        }
    }

    /// Adds flags, by the keys of their settings.
    pub fn flags(&mut self, flags: impl IntoIterator<Item = (&'static Setting, String)>) {
        for (setting, value) in flags {
            self.0.insert(setting.key, (value, Source::Flag(setting.flag())));
        }
    }

    fn put(&mut self, key: &str, value: String, from: Source) -> Result<(), SettingError> {
        match Setting::by_key(key) {
            Some(setting) => {
                self.0.insert(setting.key, (value, from));
                Ok(())
            }
            None => {
                let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
                Err(SettingError::Unknown { key: key.to_owned(), from, allowed: keys.join(", ") })
            }
        }
    }

    /// The text of a setting, and where it comes from.
    fn text(&self, key: &'static str) -> (&str, Source) {
        match self.0.get(key) {
            Some((value, from)) => (value, from.clone()),
            None => (Setting::by_key(key).map_or("", |setting| setting.default), Source::Default),
        }
    }

    /// The data folder, which is needed to find the file.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.text("data").0.into()
    }

    fn read<T>(&self, key: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, SettingError> {
        let (value, from) = self.text(key);
        read(value).ok_or_else(|| SettingError::Value {
            key,
            value: value.to_owned(),
            from,
            allowed: Setting::by_key(key).map_or("", |setting| setting.allowed),
        })
    }

    /// Understands all settings.
    ///
    /// # Errors
    /// [`SettingError`], the first that is wrong.
    pub fn settings(&self) -> Result<Settings, SettingError> {
        let listen: SocketAddr = self.read("http.listen", |text| text.parse().ok())?;
        let may_be_reached = self.read("http.beyond_loopback", |text| match text {
            "allow" => Some(true),
            "refuse" => Some(false),
            _ => None,
        })?;
        if !listen.ip().is_loopback() && !may_be_reached {
            let (value, from) = self.text("http.listen");
            return Err(SettingError::Value {
                key: "http.listen",
                value: value.to_owned(),
                from,
                allowed: "a loopback address, because the API is plain HTTP; behind a proxy that speaks TLS, \
                          set `http.beyond_loopback` to allow",
            });
        }
        Ok(Settings {
            data: self.read("data", |text| (!text.is_empty()).then(|| PathBuf::from(text)))?,
            store: self.store()?,
            files: self.files()?,
            wrapping_key: self.existing_file("store.wrapping_key_file")?,
            secrets: self.read("store.secrets", |text| match text {
                "wrapped" => Some(Secrets::Wrapped),
                "plain" => Some(Secrets::Plain),
                _ => None,
            })?,
            http_listen: listen,
            public_url: self.read("http.public_url", public_url)?,
            file_bytes_max: self.read("http.file_mib_max", mib)?,
            staged_bytes_max: self.read("http.staged_mib_max", mib)?,
            broker: self.broker()?,
            check_in: self.read("devices.check_in", |text| span(text, 1000, 7 * 86_400_000))?,
            check_ins_per_second: self.read("devices.check_ins_per_second", |text| {
                text.parse().ok().filter(|rate| *rate <= 1_000_000)
            })?,
            assignment_life: self.read("devices.assignment_life", |text| span(text, 60_000, 86_400_000))?,
            oidc: self.oidc()?,
            webhook: self.webhook()?,
            inside: self.read("calls.inside_networks", |text| match text {
                "allow" => Some(Inside::Allow),
                "refuse" => Some(Inside::Refuse),
                _ => None,
            })?,
            kept: self.kept()?,
            cache_bytes: self.read("cache_mib", mib)?,
            log: self.read("log", |text| match text {
                "error" | "warn" | "info" | "debug" | "trace" => LevelFilter::from_str(text).ok(),
                _ => None,
            })?,
        })
    }

    fn kept(&self) -> Result<KeptSettings, SettingError> {
        const HOUR_MS: u64 = 3_600_000;
        const YEAR_MS: u64 = 365 * 24 * HOUR_MS;
        let span_or_never = |key, least, most| {
            self.read(key, |text| match text {
                "never" => Some(Millis(0)),
                text => span(text, least, most),
            })
        };
        let or_never = |key, least| span_or_never(key, least, YEAR_MS);
        let forget_after = |key| span_or_never(key, 24 * HOUR_MS, 10 * YEAR_MS);
        let file = |text: &str| Path::new(text).is_file().then(|| PathBuf::from(text));
        Ok(KeptSettings {
            former_wrapping_keys: self.read("store.former_wrapping_key_files", |text| match text {
                "" => Some(Vec::new()),
                text => text.split(',').map(|name| file(name.trim())).collect(),
            })?,
            compact_every: or_never("store.compact_every", HOUR_MS)?,
            sweep_every: or_never("store.sweep_every", HOUR_MS)?,
            unreferenced_kept: self.read("store.unreferenced_kept", |text| span(text, HOUR_MS, YEAR_MS))?,
            forget_history_after: forget_after("store.forget_history_after")?,
            forget_drafts_after: forget_after("store.forget_drafts_after")?,
            checkpoint_file: self.read("audit.checkpoint_file", |text| {
                Some((!text.is_empty()).then(|| PathBuf::from(text)))
            })?,
            checkpoint_every: or_never("audit.checkpoint_every", 60_000)?,
        })
    }

    fn oidc(&self) -> Result<Option<OidcSettings>, SettingError> {
        let issuer = self.text("oidc.issuer").0.to_owned();
        if issuer.is_empty() {
            return Ok(None);
        }
        let text = |key| self.read(key, |text| (!text.is_empty()).then(|| text.to_owned()));
        let keys = self.read("oidc.keys", |text| match text {
            text if text.starts_with("https://") || text.starts_with("http://") => {
                Some(KeySource::Url(text.to_owned()))
            }
            text => Path::new(text).is_file().then(|| KeySource::File(PathBuf::from(text))),
        })?;
        Ok(Some(OidcSettings { issuer, audience: text("oidc.audience")?, keys, claim: text("oidc.claim")? }))
    }

    fn webhook(&self) -> Result<Option<WebhookSettings>, SettingError> {
        let url = self.read("webhook.url", |text| {
            let is_url = text.is_empty() || text.starts_with("http://") || text.starts_with("https://");
            is_url.then(|| text.to_owned())
        })?;
        if url.is_empty() {
            return Ok(None);
        }
        let secret_file =
            self.read("webhook.secret_file", |text| Path::new(text).is_file().then(|| PathBuf::from(text)))?;
        Ok(Some(WebhookSettings { url, secret_file }))
    }
}

#[cfg(test)]
mod tests;
