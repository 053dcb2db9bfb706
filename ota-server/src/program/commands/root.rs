//! `ota root`: who may sign for a product, and how that changes.
//!
//! The next root is a file that goes from hand to hand: made from the newest one, signed by as many holders of root keys
//! as the old and the new root want, each at a machine of their own without a network if they like, then brought to the
//! server. The server checks it as a device does; devices take it at their next check-in.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use ota_core::crypto::sign::sign_checked;
use ota_core::crypto::soft::SoftSha256;
use ota_core::list::List;
use ota_core::number::{Generation, KeyId, RootVersion};
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{BuildError, Key, RoleKeys, Root, SignedBody};
use serde::{Deserialize, Serialize};

use super::Context;
use super::init::DAY;
use super::package::confirmed;
use crate::http::body::{InstallationView, Made, PublicKey, RootInput, Time};
use crate::http::{hex, unhex};
use crate::program::client::{Client, Login, segment};
use crate::program::output::{Format, plain, table};
use crate::program::{Failure, read_signer};
use crate::rules::release::Verifier;
use crate::server::{Clock as _, SystemClock};

#[derive(Debug, Subcommand)]
pub(super) enum RootCommand {
    /// Show who may sign, as the server has it or as a file says
    Show(Which),
    /// Make the root that follows the newest one, with these changes, in a file; nobody trusts it before it is signed
    Next(Next),
    /// Sign a root in a file with a root key; asks no server
    Sign {
        /// The file that `ota root next` made
        file: PathBuf,
        /// Private key to sign with
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Do not ask before signing what is shown
        #[arg(long)]
        yes: bool,
    },
    /// Bring a root that enough people have signed to the server
    Bring {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// The newest root of this product
    #[arg(long)]
    product: Option<String>,
    /// The root in this file
    #[arg(long)]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Next {
    /// Id of the product
    #[arg(long)]
    product: String,
    /// File to write; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Public key that may sign from now on, as ROLE=KEY with a role of root, release or assignment
    #[arg(long, value_name = "ROLE=KEY", value_parser = granted)]
    add: Vec<(SigningRole, PublicKey)>,
    /// Id of a key that may not sign any more, as `ota root show` lists it
    #[arg(long, value_name = "KEY-ID")]
    remove: Vec<String>,
    /// How many keys of a role must sign, as ROLE=NUMBER
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = threshold)]
    threshold: Vec<(SigningRole, u8)>,
    /// A key of this role may have been stolen: what the role signed before counts no more
    #[arg(long, value_name = "ROLE")]
    stolen: Vec<SigningRole>,
    /// How long it is good for, in days
    #[arg(long, default_value_t = 3650)]
    valid_days: u32,
}

/// A role whose keys can be changed from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SigningRole {
    /// Signs roots.
    Root,
    /// Signs releases.
    Release,
    /// Signs the server's word to devices.
    Assignment,
}

impl SigningRole {
    const fn index(self) -> usize {
        match self {
            Self::Root => 0,
            Self::Release => 1,
            Self::Assignment => 2,
        }
    }
}

fn granted(text: &str) -> Result<(SigningRole, PublicKey), String> {
    let (role, key) = of_role(text)?;
    let key = key.parse().map_err(|why| format!("{key:?} is no key: {why}"))?;
    Ok((role, key))
}

fn threshold(text: &str) -> Result<(SigningRole, u8), String> {
    let (role, number) = of_role(text)?;
    Ok((role, number.parse().map_err(|_| format!("{number:?} is no number from 0 to 255"))?))
}

fn of_role(text: &str) -> Result<(SigningRole, &str), String> {
    let (role, rest) = text.split_once('=').ok_or("expected a role, `=`, and what it gets")?;
    Ok((SigningRole::from_str(role, false).map_err(|_| "the roles are root, release and assignment")?, rest))
}

impl RootCommand {
    pub(super) fn run(self, login: &dyn Fn() -> Login, format: Format) -> Result<(), Failure> {
        match self {
            Self::Show(Which { file: Some(file), .. }) => {
                show(Carried::read(&file)?.signed()?.body(), format)
            }
            Self::Show(Which { product, .. }) => {
                show(&newest(&login().client()?, &product.unwrap_or_default())?, format)
            }
            Self::Next(next) => next.run(&Context { client: login().client()?, format }),
            Self::Sign { file, key, yes } => sign(&file, &key, yes, format),
            Self::Bring { file } => bring(&login().client()?, format, &file),
        }
    }
}

impl Next {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let body = newest(&context.client, &self.product)?;
        let before = decoded(&body)?;
        let installation: InstallationView = context.client.get("/api/v1/installation")?;

        // Keys of the newest root, less those that go, and those that come; then by role.
        let mut keys: Vec<Key<'_>> = before.keys.iter().collect();
        let mut roles: Vec<(Vec<KeyId>, u8, Generation)> = before
            .roles
            .iter()
            .map(|role| (role.keys.iter().collect(), role.threshold, role.generation))
            .collect();
        for id in &self.remove {
            let Some(at) = keys.iter().position(|key| key.id::<SoftSha256>().to_string() == *id) else {
                let way_out = format!("`ota root show --product {}` lists the ids of its keys", self.product);
                return Err(Failure::new(format!("the newest root has no key {id}"), way_out));
            };
            let id = keys.remove(at).id::<SoftSha256>();
            roles.iter_mut().for_each(|(ids, ..)| ids.retain(|other| *other != id));
        }
        for (role, key) in &self.add {
            keys.push(key.key());
            roles[role.index()].0.push(key.id());
        }
        for (role, threshold) in &self.threshold {
            roles[role.index()].1 = *threshold;
        }
        for role in &self.stolen {
            let generation = &mut roles[role.index()].2;
            *generation = Generation(generation.0.saturating_add(1));
        }
        let version = before.version.0.checked_add(1);
        let version =
            version.ok_or_else(|| Failure::new("there is no version behind the newest root's", ""))?;
        let now = SystemClock.now();
        let role = |index: usize| {
            let (keys, threshold, generation) = &roles[index];
            RoleKeys { keys: List::from_slice(keys), threshold: *threshold, generation: *generation }
        };
        let next = Root {
            product: before.product,
            version: RootVersion(version),
            issued: Timestamp::from_seconds(now.as_seconds()),
            expires: now.plus(Millis(u64::from(self.valid_days) * DAY)),
            keys: List::from_slice(&keys),
            roles: [role(0), role(1), role(2), role(3)],
            strength_min: before.strength_min,
            development: before.development,
        };
        let way_out = "keys must differ from role to role, and each threshold be at least 1 and at most the number of keys";
        let made = SignedBody::root::<SoftSha256>(&next)
            .map_err(|why| Failure::caused("the root cannot be made", &why, way_out))?;
        Carried { body: hex(made.body()), signatures: Vec::new() }.write(&self.out)?;
        show(made.body(), context.format)?;
        if let Some(own) = installation.assignment_key
            && !next.keys.iter().any(|key| PublicKey::from(key).to_string() == own)
        {
            eprintln!(
                "note: this server signs assignments with {own}, which is not in this root: devices that have taken the \
                 root believe the server again when it has one of its keys"
            );
        }
        context.format.done(&format!(
            "\nnow each holder of a root key: ota root sign {0} --key FILE\nthen: ota root bring {0}",
            self.out.display()
        ));
        Ok(())
    }
}

fn sign(file: &Path, key: &Path, yes: bool, format: Format) -> Result<(), Failure> {
    let mut carried = Carried::read(file)?;
    let mut signed = carried.signed()?;
    let root = decoded(signed.body())?;
    eprintln!("{}", text_of(&root));
    let signer = read_signer(key)?;
    let public = PublicKey::of(&*signer);
    if !root.roles[SigningRole::Root.index()].keys.iter().any(|id| id == public.id()) {
        eprintln!(
            "note: {} is none of its root keys: it counts if the root before this one has it",
            public.id()
        );
    }
    confirmed(yes)?;
    let message = signed.bytes_to_sign::<SoftSha256>(public.key()).map_err(unsigned)?;
    let signature = sign_checked(&*signer, public.key(), &Verifier::default(), &message);
    let signature = signature.map_err(|why| unsigned(why.into()))?;
    // Checks it once more, and that this key has not signed yet.
    signed.import::<SoftSha256>(public.key(), signature, &Verifier::default()).map_err(unsigned)?;
    carried.signatures.push(CarriedSignature { key: public.to_string(), signature: hex(&signature) });
    carried.replace(file)?;
    format.done(&format!("signed with the key {}", public.id()));
    Ok(())
}

fn bring(client: &Client, format: Format, file: &Path) -> Result<(), Failure> {
    let signed = Carried::read(file)?.signed()?;
    let product = plain(decoded(signed.body())?.product.as_str());
    let envelope = signed.envelope().map_err(unsigned)?;
    let input = RootInput { body: hex(signed.body()), envelope: hex(&envelope) };
    let made: Made<u32> = client.post(&format!("/api/v1/products/{}/roots", segment(&product)), &input)?;
    format.show(&made, |made| format!("product {product} has root version {}", made.id))
}

/// A root on its way from hand to hand.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    /// Its body, in hexadecimal digits.
    body: String,
    /// Who has signed it so far.
    signatures: Vec<CarriedSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CarriedSignature {
    /// The public key, as `ota key show` prints it.
    key: String,
    /// The signature, in hexadecimal digits.
    signature: String,
}

impl Carried {
    fn read(file: &Path) -> Result<Self, Failure> {
        let what = format!("cannot read {}", file.display());
        let way_out = "give a file that `ota root next` has made";
        let text = std::fs::read(file).map_err(|why| Failure::caused(&what, &why, way_out))?;
        serde_json::from_slice(&text).map_err(|why| Failure::caused(&what, &why, way_out))
    }

    /// The body with its signatures, each of them checked.
    fn signed(&self) -> Result<SignedBody, Failure> {
        let way_out = "the file was changed: make it again";
        let digits =
            |name, digits: &str| unhex(name, digits).map_err(|why| Failure::new(why.detail, way_out));
        let mut signed = SignedBody::root_from_body::<SoftSha256>(digits("body", &self.body)?)
            .map_err(|why| Failure::caused("no device would read this root", &why, way_out))?;
        for CarriedSignature { key, signature } in &self.signatures {
            let public: PublicKey = key
                .parse()
                .map_err(|why| Failure::caused(format_args!("{key:?} is no key"), &why, way_out))?;
            let bytes = digits("signature", signature)?;
            let bytes = bytes.try_into().map_err(|_| Failure::new("a signature has 64 bytes", way_out))?;
            signed.import::<SoftSha256>(public.key(), bytes, &Verifier::default()).map_err(|why| {
                Failure::caused(
                    format_args!("the signature of {} does not count", public.id()),
                    &why,
                    way_out,
                )
            })?;
        }
        Ok(signed)
    }

    fn text(&self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec_pretty(self).map_err(|why| Failure::caused("cannot write JSON", &why, ""))
    }

    /// Writes it to a file that is not there yet.
    fn write(&self, file: &Path) -> Result<(), Failure> {
        let text = self.text()?;
        let written = File::create_new(file).and_then(|mut opened| {
            opened.write_all(&text)?;
            opened.sync_all()
        });
        written.map_err(|why| {
            Failure::caused(format_args!("cannot write {}", file.display()), &why, "give another with --out")
        })
    }

    /// Writes it over the file that it came from: that is whole at any time.
    fn replace(&self, file: &Path) -> Result<(), Failure> {
        let mut beside = file.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        // What an interrupted try has left is nothing to keep.
        let _ = std::fs::remove_file(&beside);
        self.write(&beside)?;
        std::fs::rename(&beside, file)
            .map_err(|why| Failure::caused(format_args!("cannot write {}", file.display()), &why, ""))
    }
}

fn unsigned(why: BuildError) -> Failure {
    Failure::caused("nothing was signed", &why, "check the key and the file")
}

/// The body of a product's newest root, as the server gives it out. What is made of it is shown before it is signed.
fn newest(client: &Client, product: &str) -> Result<Vec<u8>, Failure> {
    client.bytes(&format!("/api/v1/products/{}/root", segment(product)))
}

fn decoded(body: &[u8]) -> Result<Root<'_>, Failure> {
    Root::decode::<SoftSha256>(body)
        .map_err(|why| Failure::caused("no device would read this root", &why, ""))
}

/// What a root says, for scripts.
#[derive(Serialize)]
struct RootView {
    product: String,
    version: u32,
    issued: Time,
    expires: Time,
    development: bool,
    roles: Vec<RoleView>,
}

#[derive(Serialize)]
struct RoleView {
    role: &'static str,
    threshold: u8,
    generation: u32,
    keys: Vec<KeyLine>,
}

#[derive(Serialize)]
struct KeyLine {
    id: String,
    public: String,
}

/// The roles in the order in which a root has them.
const ROLES: [&str; 4] = ["root", "release", "assignment", "file"];

fn view(root: &Root<'_>) -> RootView {
    let public = |id: KeyId| {
        let key = root.keys.iter().find(|key| key.id::<SoftSha256>() == id);
        KeyLine {
            id: id.to_string(),
            public: key.map_or_else(String::new, |key| PublicKey::from(key).to_string()),
        }
    };
    let roles = ROLES.iter().zip(&root.roles).filter(|(_, role)| role.keys.iter().next().is_some());
    RootView {
        product: plain(root.product.as_str()),
        version: root.version.0,
        issued: Time(root.issued),
        expires: Time(root.expires),
        development: root.development,
        roles: roles
            .map(|(name, role)| RoleView {
                role: name,
                threshold: role.threshold,
                generation: role.generation.0,
                keys: role.keys.iter().map(public).collect(),
            })
            .collect(),
    }
}

fn text_of(root: &Root<'_>) -> String {
    let view = view(root);
    let rows = view.roles.iter().flat_map(|role| {
        role.keys.iter().map(|key| {
            let threshold = format!("{} of {}", role.threshold, role.keys.len());
            [role.role.to_owned(), threshold, role.generation.to_string(), key.id.clone(), key.public.clone()]
        })
    });
    let kind = if view.development { ", made with development keys" } else { "" };
    format!(
        "root {} of {}, good until {}{kind}\n{}",
        view.version,
        view.product,
        view.expires,
        table(["ROLE", "MUST SIGN", "GENERATION", "KEY", "PUBLIC"], rows)
    )
}

fn show(body: &[u8], format: Format) -> Result<(), Failure> {
    let root = decoded(body)?;
    format.show(&view(&root), |_| text_of(&root))
}
