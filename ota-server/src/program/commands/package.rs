//! `ota package`: what is uploaded is computed here first, and nobody signs what they have not been shown.
//!
//! A package is described in a TOML file:
//!
//! ```toml
//! package = "main"
//! hardware = ["rev-b"]
//! expires_in = "365d"
//!
//! [[file]]
//! name = "firmware.bin"
//! revision = "1.4.0"
//! target = "app"
//! path = "build/firmware.bin"      # relative to this file
//! ```

use std::fs::File;
use std::io::{BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use ota_core::block_map::BlockMapBuilder;
use ota_core::crypto::Hasher as _;
use ota_core::crypto::soft::{SoftSha256, SoftSha512};
use ota_core::integrity::IntegrityString;
use ota_core::number::{ReleaseId, Sha256Digest};
use ota_core::trust::{HashedBody, Release, SignedBody};
use serde::{Deserialize, Serialize};
use ureq::http::Method;

use crate::http::body::{
    ContentBody, FileInput, FixInput, Items, ReasonInput, ReleaseInput, ReleaseRef, ReleaseView,
    RequirementBody, Span, Time,
};
use crate::program::client::{Client, Login, segment};
use crate::program::output::{Format, plain, table};
use crate::program::upload::{Wanted, upload as send_file};
use crate::program::{Failure, PublicKey, read_signer};
use crate::rules::release::Verifier;
use crate::server::{Clock as _, SystemClock};

#[derive(Debug, Subcommand)]
pub(super) enum PackageCommand {
    /// Check a package's description and show what is in it; speaks to no server
    Build {
        /// The description, a TOML file
        description: PathBuf,
    },
    /// Upload a package's files and fix its release, ready to be signed
    Upload {
        /// The description, a TOML file
        description: PathBuf,
        /// The product
        #[arg(long)]
        product: String,
    },
    /// Sign a release: with a key file, or elsewhere in two steps
    Sign {
        /// The release's id
        release: String,
        /// Private key to sign with
        #[arg(long, value_name = "FILE", conflicts_with_all = ["export", "import"])]
        key: Option<PathBuf>,
        /// Public key of whoever signs elsewhere
        #[arg(long, value_name = "KEY", required_unless_present = "key")]
        public: Option<PublicKey>,
        /// Write the exact bytes to sign to this file
        #[arg(long, value_name = "FILE", conflicts_with = "import")]
        export: Option<PathBuf>,
        /// Bring the signature in this file: 64 bytes
        #[arg(long, value_name = "FILE")]
        import: Option<PathBuf>,
        /// Do not ask before signing what is shown
        #[arg(long)]
        yes: bool,
    },
    /// List releases
    List {
        /// Their product
        #[arg(long)]
        product: String,
    },
    /// Show a release
    Show {
        /// Its id
        release: String,
    },
    /// Offer a release to nobody any more, and stop its campaigns
    Withdraw {
        /// Its id
        release: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    package: String,
    #[serde(default)]
    version: Option<u64>,
    hardware: Vec<String>,
    #[serde(default)]
    epoch: u32,
    #[serde(default = "year")]
    expires_in: Span,
    #[serde(default)]
    security: bool,
    #[serde(default)]
    notes: Option<String>,
    #[serde(default, rename = "requirement")]
    requirements: Vec<RequirementBody>,
    #[serde(rename = "file")]
    files: Vec<DescribedFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedFile {
    name: String,
    revision: String,
    target: String,
    path: PathBuf,
    /// Length of the units of its block map; 0 for none.
    #[serde(default = "unit")]
    unit: u32,
    #[serde(default)]
    integrity: Vec<String>,
    #[serde(default)]
    urls: Vec<String>,
}

const fn year() -> Span {
    Span(ota_core::time::Millis(365 * 86_400_000))
}

const fn unit() -> u32 {
    ota_core::limits::UNIT_BYTES_DEFAULT
}

/// What a file on this machine contains.
#[derive(Debug, Serialize)]
struct Built {
    name: String,
    revision: String,
    target: String,
    size: u64,
    integrity: Vec<String>,
    block_map_sha256: Option<String>,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    sha256: Sha256Digest,
}

impl PackageCommand {
    pub(super) fn run(self, login: &dyn Fn() -> Login, format: Format) -> Result<(), Failure> {
        match self {
            Self::Build { description } => {
                format.show(&build(&read(&description)?, &description)?, |built| describe(built))
            }
            Self::Upload { description, product } => {
                upload(&login().client()?, format, &product, &description)
            }
            Self::Sign { release, key, public, export, import, yes } => {
                let client = login().client()?;
                let body = shown(&client, &release, format)?;
                match (key, public, export, import) {
                    (Some(key), _, _, _) => {
                        confirmed(yes)?;
                        let signer = read_signer(&key)?;
                        let public = PublicKey::of(&*signer);
                        let mut signed = taken_up(body)?;
                        signed
                            .sign::<SoftSha256>(&*signer, public.key(), &Verifier::default())
                            .map_err(unsigned)?;
                        bring(&client, format, &release, &signed)
                    }
                    (None, Some(public), Some(path), _) => {
                        let bytes =
                            taken_up(body)?.bytes_to_sign::<SoftSha256>(public.key()).map_err(unsigned)?;
                        std::fs::write(&path, bytes).map_err(|why| {
                            Failure::caused(format_args!("cannot write {}", path.display()), &why, "")
                        })?;
                        format.done(&format!(
                            "sign the bytes in {} and bring the signature with --import",
                            path.display()
                        ));
                        Ok(())
                    }
                    (None, Some(public), None, Some(path)) => {
                        let signature = std::fs::read(&path).map_err(|why| {
                            Failure::caused(format_args!("cannot read {}", path.display()), &why, "")
                        })?;
                        let signature = signature.try_into().map_err(|_| {
                            Failure::new(
                                format!("{} holds no signature", path.display()),
                                "expected exactly 64 bytes",
                            )
                        })?;
                        let mut signed = taken_up(body)?;
                        signed
                            .import::<SoftSha256>(public.key(), signature, &Verifier::default())
                            .map_err(unsigned)?;
                        bring(&client, format, &release, &signed)
                    }
                    _ => Err(Failure::new(
                        "nothing to sign with",
                        "give --key, or --public with --export or --import",
                    )),
                }
            }
            Self::List { product } => {
                let path = format!("/api/v1/products/{}/releases", segment(&product));
                let list: Items<ReleaseView> = login().client()?.all(&path)?;
                format.show(&list, |list| {
                    let row = |release: &ReleaseView| {
                        let files =
                            release.files.iter().map(|file| format!("{} {}", file.name, file.revision));
                        let files = files.collect::<Vec<_>>().join(", ");
                        [
                            release.package.clone(),
                            release.version.to_string(),
                            release.status.clone(),
                            files,
                            release.id.clone(),
                        ]
                    };
                    table(["PACKAGE", "VERSION", "STATUS", "FILES", "RELEASE"], list.items.iter().map(row))
                })
            }
            Self::Show { release } => {
                let view: ReleaseView =
                    login().client()?.get(&format!("/api/v1/releases/{}", segment(&release)))?;
                format.show(&view, |view| {
                    let row = |file: &crate::http::body::FileView| {
                        [file.name.clone(), file.revision.clone(), file.size.to_string(), file.target.clone(), file.sha256.clone()]
                    };
                    format!(
                        "release   {}\npackage   {} version {} of {}\nstatus    {}\nhardware  {}\nepoch     {}\nexpires   {}\n\n{}",
                        view.id, view.package, view.version, view.product, view.status,
                        view.hardware.join(" "), view.epoch, view.expires,
                        table(["FILE", "REVISION", "BYTES", "TARGET", "SHA-256"], view.files.iter().map(row))
                    )
                })
            }
            Self::Withdraw { release, reason } => {
                let path = format!("/api/v1/releases/{}/withdraw", segment(&release));
                login().client()?.tell(Method::POST, &path, &ReasonInput { reason, product: None })?;
                format.done("the release is offered to nobody any more");
                Ok(())
            }
        }
    }
}

fn read(path: &Path) -> Result<Description, Failure> {
    let wrong = |why: &dyn core::error::Error| {
        Failure::caused(
            format_args!("the description {} is not one", path.display()),
            why,
            "see `ota package --help`",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|why| wrong(&why))?;
    toml::from_str(&text).map_err(|why| wrong(&why))
}

fn build(description: &Description, path: &Path) -> Result<Vec<Built>, Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    description.files.iter().map(|file| built(file, &folder.join(&file.path))).collect()
}

/// Computes what the server will compute too: the two must agree.
fn built(file: &DescribedFile, path: &Path) -> Result<Built, Failure> {
    let unreadable = |why: &dyn core::error::Error| {
        Failure::caused(
            format_args!("cannot read {}", path.display()),
            why,
            "correct `path` in the description",
        )
    };
    let mut bytes = BufReader::new(File::open(path).map_err(|why| unreadable(&why))?);
    let (mut sha256, mut sha512, mut size) = (SoftSha256::new(), SoftSha512::new(), 0_u64);
    let mut map = match file.unit {
        0 => None,
        unit => Some(BlockMapBuilder::<SoftSha256>::new(unit).map_err(|why| {
            Failure::caused(
                format_args!("`unit` of {} is not allowed", file.name),
                &why,
                "use a power of two from 256 to 1048576, or 0",
            )
        })?),
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = bytes.read(&mut buffer).map_err(|why| unreadable(&why))?;
        if count == 0 {
            break;
        }
        let part = &buffer[..count];
        sha256.update(part);
        sha512.update(part);
        if let Some(map) = &mut map {
            map.update(part).map_err(|why| unreadable(&why))?;
        }
        size += u64::try_from(count).unwrap_or(u64::MAX);
    }
    let sha256 = Sha256Digest(sha256.finish());
    let map = match map {
        Some(map) if size > 0 => {
            Some(map.finish().map_err(|why| unreadable(&why))?.reference.digest.to_string())
        }
        _ => None,
    };
    let strings = [IntegrityString::Sha256(sha256.0), IntegrityString::Sha512(sha512.finish())];
    let computed = strings.iter().map(ToString::to_string);
    Ok(Built {
        name: file.name.clone(),
        revision: file.revision.clone(),
        target: file.target.clone(),
        size,
        integrity: computed.chain(file.integrity.iter().cloned()).collect(),
        block_map_sha256: map,
        path: path.to_owned(),
        sha256,
    })
}

fn describe(built: &[Built]) -> String {
    let row = |file: &Built| {
        [
            file.name.clone(),
            file.revision.clone(),
            file.size.to_string(),
            file.target.clone(),
            file.sha256.to_string(),
        ]
    };
    table(["FILE", "REVISION", "BYTES", "TARGET", "SHA-256"], built.iter().map(row))
}

fn upload(client: &Client, format: Format, product: &str, path: &Path) -> Result<(), Failure> {
    let description = read(path)?;
    let built = build(&description, path)?;
    let product = segment(product);
    let mut files = Vec::with_capacity(built.len());
    for (file, described) in built.iter().zip(&description.files) {
        let content = upload_file(client, format, &product, file, described.unit)?;
        files.push(FileInput {
            name: file.name.clone(),
            revision: file.revision.clone(),
            target: file.target.clone(),
            content,
            integrity: described.integrity.clone(),
            urls: described.urls.clone(),
        });
    }
    let input = ReleaseInput {
        package: description.package,
        version: description.version,
        hardware: description.hardware,
        epoch: description.epoch,
        requirements: description.requirements,
        files,
        expires: Time(SystemClock.now().plus(description.expires_in.0)),
        security: description.security,
        notes: description.notes,
    };
    let draft: ReleaseRef = client.post(&format!("/api/v1/products/{product}/releases"), &input)?;
    let fixed: ReleaseRef =
        client.post(&format!("/api/v1/releases/{}/fix", draft.id), &FixInput::default())?;
    format.show(&fixed, |fixed| {
        format!(
            "{}\n\nrelease {}\nsign it with `ota package sign {} --key FILE`",
            describe(&built),
            fixed.id,
            fixed.id
        )
    })
}

fn upload_file(
    client: &Client,
    format: Format,
    product: &str,
    file: &Built,
    unit: u32,
) -> Result<ContentBody, Failure> {
    let bar = match format {
        Format::Json => ProgressBar::hidden(),
        Format::Text => ProgressBar::new(file.size),
    };
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}") {
        bar.set_style(style);
    }
    bar.set_message(file.name.clone());
    let mut opened = File::open(&file.path)
        .map_err(|why| Failure::caused(format_args!("cannot read {}", file.path.display()), &why, ""))?;
    let wanted = Wanted { product, unit, size: file.size, sha256: file.sha256 };
    let content = send_file(client, &wanted, &mut opened, &bar)?;
    bar.finish_and_clear();
    if content.sha256 != file.sha256.to_string() {
        let way_out = "did the file change meanwhile? Build and upload it again";
        return Err(Failure::new(
            format!("the server received other bytes of {} than were read", file.name),
            way_out,
        ));
    }
    Ok(content)
}

/// Fetches the body, checks that it is the release's, and shows what it says: the server is not believed.
fn shown(client: &Client, release: &str, format: Format) -> Result<Vec<u8>, Failure> {
    let body = client.bytes(&format!("/api/v1/releases/{}/body", segment(release)))?;
    let id = ReleaseId(HashedBody::hash::<SoftSha256>(&body).digest().0);
    if id.to_string() != release {
        let way_out = "do not sign anything: the server gives out other bytes than it says";
        return Err(Failure::new(format!("the bytes are those of release {id}"), way_out));
    }
    let decoded = Release::decode(&body)
        .map_err(|why| Failure::caused("no device would read this release", &why, "do not sign it"))?;
    if format == Format::Text {
        let row = |file: ota_core::trust::File<'_>| {
            let strings =
                file.integrity.iter().map(|string| string.to_string()).collect::<Vec<_>>().join(" ");
            [file.name.to_string(), file.revision.to_string(), file.size.0.to_string(), strings]
        };
        eprintln!(
            "{} version {} of {}, epoch {}, for {}\n{}",
            plain(decoded.package.as_str()),
            decoded.version,
            plain(decoded.product.as_str()),
            decoded.epoch,
            decoded.hardware.iter().map(|revision| plain(revision.as_str())).collect::<Vec<_>>().join(" "),
            table(["FILE", "REVISION", "BYTES", "INTEGRITY"], decoded.files.iter().map(row))
        );
    }
    Ok(body)
}

pub(super) fn confirmed(yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    eprint!("Sign this? Type yes: ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::new("nothing was signed", "answer yes, or give --yes"))
    }
}

fn taken_up(body: Vec<u8>) -> Result<SignedBody, Failure> {
    SignedBody::release_from_body::<SoftSha256>(body).map_err(unsigned)
}

fn unsigned(why: ota_core::trust::BuildError) -> Failure {
    Failure::caused("nothing was signed", &why, "check the key and the release")
}

fn bring(client: &Client, format: Format, release: &str, signed: &SignedBody) -> Result<(), Failure> {
    let envelope = signed.envelope().map_err(unsigned)?;
    let length = u64::try_from(envelope.len()).unwrap_or(u64::MAX);
    let path = format!("/api/v1/releases/{}/signatures", segment(release));
    let view: ReleaseRef = client.send(&path, length, &mut envelope.as_slice())?;
    format.show(&view, |view| match view.status.as_str() {
        "signed" => format!("release {} is signed", view.id),
        _ => format!("release {} has this signature and needs more", view.id),
    })
}
