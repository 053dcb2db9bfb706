//! `ota device`: registration, lists, one device and why it has no update.

use std::path::PathBuf;

use clap::Subcommand;
use ota_core::text::DeviceIdBuf;
use ureq::http::Method;

use super::{Context, ExportTo};
use crate::http::body::{
    CredentialInput, DeviceInput, DeviceView, DevicesInput, DevicesView, ErasedView, ReasonInput, TagsInput,
};
use crate::program::client::{Login, segment};
use crate::program::keys::write_secret;
use crate::program::output::{Format, table, when};
use crate::program::{Failure, Installation};

/// What a device's password begins with in a file of devices.
const PASSWORD: &str = "password=";
/// What the name in a device's certificate begins with there.
const CERTIFICATE: &str = "certificate=";
/// Most devices in one request.
const AT_ONCE: usize = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum DeviceCommand {
    /// Register devices
    Add {
        /// Their product
        #[arg(long)]
        product: String,
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// A tag for all of them, such as site=berlin; several may be given
        #[arg(long)]
        tag: Vec<String>,
    },
    /// Register the devices of a file: on each line an id and, behind commas, its tags
    ///
    /// Among the tags may stand what the device shows to the broker instead of a certificate with its id in it:
    /// `password=...` with at least 16 random bytes, or `certificate=...` with the name in its certificate.
    Import {
        /// Their product
        #[arg(long)]
        product: String,
        /// The file
        file: PathBuf,
    },
    /// List devices
    List {
        /// Their product
        #[arg(long)]
        product: String,
        /// Only those with this tag
        #[arg(long)]
        tag: Option<String>,
        /// Only those in this group
        #[arg(long, conflicts_with = "tag")]
        group: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Write the devices of a product as a table or as JSON, one a line
    Export {
        /// Their product
        #[arg(long)]
        product: String,
        /// Only those with this tag
        #[arg(long)]
        tag: Option<String>,
        #[command(flatten)]
        export: ExportTo,
    },
    /// Show everything about a device
    Show {
        /// Its id
        id: String,
    },
    /// Say why a device has not got an update
    WhyNot {
        /// Its id
        id: String,
    },
    /// Give a device other tags
    Tag {
        /// Its id
        id: String,
        /// The tags it is to have; none takes all away
        tags: Vec<String>,
    },
    /// Take a device's credentials away and close its connection
    Revoke {
        /// Its id
        id: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
    /// Erase what is known of a device, for good
    ///
    /// Refused while a campaign that has not ended counts on it. The audit log keeps a digest of its id.
    Erase {
        /// Its id
        id: String,
        /// Why, for the audit log, where it stays: name nobody
        #[arg(long)]
        reason: String,
    },
    /// Set a device apart: it gets no more offers until it is released
    Quarantine {
        /// Its id
        id: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
    /// Pin a device to what it runs: no campaign changes that
    Pin {
        /// Its id
        id: String,
        /// Why, for the audit log and for whoever asks why it has no update
        #[arg(long)]
        reason: String,
    },
    /// Let campaigns change again what a device runs
    Unpin {
        /// Its id
        id: String,
    },
    /// Let a device try again for a campaign for which it has failed
    Retry {
        /// Its id
        id: String,
        /// The campaign
        #[arg(long)]
        campaign: u64,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
    /// Let a device take part again that was quarantined or revoked
    Release {
        /// Its id
        id: String,
    },
    /// Make a key and a certificate for each device, from the development authority of a data folder on this machine
    Certificate {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// The server's data folder
        #[arg(long, default_value = "ota-data")]
        data: PathBuf,
        /// Folder to write ID.pem and ID.key to
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
}

impl DeviceCommand {
    pub(super) fn run(self, login: &dyn Fn() -> Login, format: Format) -> Result<(), Failure> {
        let context = || Ok::<_, Failure>(Context { client: login().client()?, format });
        match self {
            Self::Add { product, ids, tag } => {
                let device = |id| DeviceInput { id, tags: tag.clone(), credential: None };
                register(&context()?, &product, ids.into_iter().map(device).collect())
            }
            Self::Import { product, file } => {
                let text = std::fs::read_to_string(&file).map_err(|why| {
                    Failure::caused(format_args!("cannot read {}", file.display()), &why, "")
                })?;
                let lines =
                    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                register(&context()?, &product, lines.map(device_of).collect())
            }
            Self::List { product, tag, group, limit } => {
                let only = match (&tag, &group) {
                    (_, Some(group)) => format!("&group={}", segment(group)),
                    (Some(tag), None) => format!("&tag={}", segment(tag)),
                    (None, None) => String::new(),
                };
                list(&context()?, &product, &only, limit)
            }
            Self::Export { product, tag, export } => {
                let tag = tag.map_or_else(String::new, |tag| format!("tag={}&", segment(&tag)));
                let path = format!("/api/v1/products/{}/devices/export?{tag}", segment(&product));
                export.run(&context()?.client, &path)
            }
            Self::Show { id } => {
                let context = context()?;
                context.format.show(&show(&context, &id)?, describe)
            }
            Self::WhyNot { id } => {
                let context = context()?;
                context.format.show(&show(&context, &id)?.why_not, |reasons| {
                    let row =
                        |why: &crate::http::body::WhyNotView| [why.campaign.to_string(), why.text.clone()];
                    match reasons.is_empty() {
                        true => {
                            format!("no campaign of its product is under way, so nothing is meant for {id}")
                        }
                        false => table(["CAMPAIGN", "REASON"], reasons.iter().map(row)),
                    }
                })
            }
            Self::Tag { id, tags } => {
                tell(&context()?, Method::PUT, &id, "tags", &TagsInput { tags }, "is tagged")
            }
            Self::Revoke { id, reason } => {
                let input = ReasonInput { reason, product: None };
                tell(&context()?, Method::POST, &id, "revoke", &input, "is revoked")
            }
            Self::Erase { id, reason } => erase(&context()?, &id, reason),
            Self::Quarantine { id, reason } => {
                let input = ReasonInput { reason, product: None };
                tell(&context()?, Method::POST, &id, "quarantine", &input, "is quarantined")
            }
            Self::Pin { id, reason } => {
                let input = ReasonInput { reason, product: None };
                tell(&context()?, Method::PUT, &id, "pin", &input, "is pinned to what it runs")
            }
            Self::Unpin { id } => {
                tell(&context()?, Method::DELETE, &id, "pin", &(), "is not pinned any more")
            }
            Self::Retry { id, campaign, reason } => {
                let context = context()?;
                let input = ReasonInput { reason, product: None };
                let path = format!("/api/v1/campaigns/{campaign}/devices/{}/retry", segment(&id));
                context.client.tell(Method::POST, &path, &input)?;
                context.format.done(&format!("{id} gets another offer when it checks in next"));
                Ok(())
            }
            Self::Release { id } => tell(&context()?, Method::POST, &id, "release", &(), "takes part again"),
            Self::Certificate { ids, data, out } => certificates(&ids, &data, &out, format),
        }
    }
}

fn device_of(line: &str) -> DeviceInput {
    let mut parts = line.split(',').map(str::trim).filter(|part| !part.is_empty());
    let id = parts.next().unwrap_or_default().to_owned();
    let (mut tags, mut credential) = (Vec::new(), None);
    for part in parts {
        if let Some(password) = part.strip_prefix(PASSWORD) {
            credential = Some(CredentialInput::Password(password.to_owned()));
        } else if let Some(name) = part.strip_prefix(CERTIFICATE) {
            credential = Some(CredentialInput::Certificate(name.to_owned()));
        } else {
            tags.push(part.to_owned());
        }
    }
    DeviceInput { id, tags, credential }
}

fn register(context: &Context, product: &str, devices: Vec<DeviceInput>) -> Result<(), Failure> {
    let path = format!("/api/v1/products/{}/devices", segment(product));
    let count = devices.len();
    for (index, part) in devices.chunks(AT_ONCE).enumerate() {
        let input = DevicesInput { devices: part.to_vec() };
        context.client.tell(Method::POST, &path, &input).map_err(|failure| match index {
            0 => failure,
            _ => {
                Failure::new(format!("{failure}\n  the first {} devices are registered", index * AT_ONCE), "")
            }
        })?;
    }
    context.format.done(&format!("{count} devices of {product} are registered"));
    Ok(())
}

fn list(context: &Context, product: &str, only: &str, limit: usize) -> Result<(), Failure> {
    let path = format!("/api/v1/products/{}/devices?limit={limit}{only}", segment(product));
    let page: DevicesView = context.client.get(&path)?;
    context.format.show(&page, |page| {
        let row = |device: &crate::http::body::DeviceLine| {
            let campaign = device.campaign.map_or_else(|| "-".to_owned(), |id| id.to_string());
            [device.id.clone(), device.status.clone(), when(device.heard), campaign, device.tags.join(" ")]
        };
        let mut text = table(["DEVICE", "STATUS", "HEARD", "CAMPAIGN", "TAGS"], page.items.iter().map(row));
        if page.next.is_some() {
            text.push_str("\n\nthere are more: raise --limit");
        }
        text
    })
}

fn erase(context: &Context, id: &str, reason: String) -> Result<(), Failure> {
    let path = format!("/api/v1/devices/{}/erase", segment(id));
    let erased: ErasedView = context.client.post(&path, &ReasonInput { reason, product: None })?;
    context.format.show(&erased, |erased| {
        let mut text = format!(
            "{id} is erased, with {} attempts and {} enrolments; the audit log calls it {}",
            erased.attempts, erased.enrolments, erased.digest
        );
        if !erased.named_in.is_empty() {
            text.push_str(&format!("\nexpressions still name it: {}", erased.named_in.join(", ")));
        }
        text
    })
}

fn show(context: &Context, id: &str) -> Result<DeviceView, Failure> {
    context.client.get(&format!("/api/v1/devices/{}", segment(id)))
}

fn describe(device: &DeviceView) -> String {
    let mut text = format!(
        "device   {}\nproduct  {}\nstatus   {}\nheard    {}\ntags     {}\n\n",
        device.id,
        device.product,
        device.status,
        when(device.heard),
        device.tags.join(" ")
    );
    if let Some(reason) = &device.pinned {
        text.push_str(&format!("pinned to what it runs: {reason}\n\n"));
    }
    let file = |file: &crate::http::body::InstalledView| {
        let note = if file.released { "" } else { "never released" };
        [file.file.clone(), file.revision.clone(), note.to_owned()]
    };
    text.push_str(&table(["FILE", "REVISION", ""], device.installed.iter().map(file)));
    text.push_str("\n\n");
    let attempt = |line: &crate::http::body::AttemptView| {
        let last = line.moments.last().map(|moment| moment.at);
        [line.campaign.to_string(), line.phase.clone(), line.cause.clone(), when(last), line.detail.clone()]
    };
    text.push_str(&table(
        ["CAMPAIGN", "PHASE", "CAUSE", "AT", "DETAIL"],
        device.attempts.iter().map(attempt),
    ));
    for why in &device.why_not {
        text.push_str(&format!("\ncampaign {}: {}", why.campaign, why.text));
    }
    text
}

fn tell(
    context: &Context,
    method: Method,
    id: &str,
    verb: &str,
    input: &impl serde::Serialize,
    done: &str,
) -> Result<(), Failure> {
    context.client.tell(method, &format!("/api/v1/devices/{}/{verb}", segment(id)), input)?;
    context.format.done(&format!("{id} {done}"));
    Ok(())
}

fn certificates(
    ids: &[String],
    data: &std::path::Path,
    out: &std::path::Path,
    format: Format,
) -> Result<(), Failure> {
    let named = |id: &String| {
        DeviceIdBuf::new(id.as_str())
            .map_err(|why| Failure::caused(format_args!("{id:?} is no id of a device"), &why, ""))
    };
    let ids = ids.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    if !data.join("tls/ca.key").exists() {
        let way_out = "give the server's data folder with --data; `ota serve` prints where it is";
        return Err(Failure::new(format!("{} has no development authority", data.display()), way_out));
    }
    std::fs::create_dir_all(out).map_err(|why| {
        Failure::caused(format_args!("cannot make {}", out.display()), &why, "give another with --out")
    })?;
    let installation = Installation::open(data)?;
    for id in &ids {
        let made = installation.device_certificate(id.as_str())?;
        let (certificate, key) = (out.join(format!("{id}.pem")), out.join(format!("{id}.key")));
        write_secret(&key, made.key.as_bytes())?;
        std::fs::write(&certificate, made.certificate).map_err(|why| {
            Failure::caused(format_args!("cannot write {}", certificate.display()), &why, "")
        })?;
        format.done(&format!("{} and {} are written", certificate.display(), key.display()));
    }
    Ok(())
}
