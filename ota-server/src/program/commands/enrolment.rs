//! `ota enrolment`: lets devices register themselves.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::http::Method;

use super::Context;
use super::people::span;
use crate::digest::sha256;
use crate::http::body::{EnrolledView, EnrolmentInput, EnrolmentView, Items, ProofInput, Span};
use crate::http::hex;
use crate::program::Failure;
use crate::program::client::segment;
use crate::program::output::{table, when};

/// Most certificates in one request.
const AT_ONCE: usize = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum EnrolmentCommand {
    /// List what lets devices of a product register themselves
    List {
        /// The product
        #[arg(long)]
        product: String,
    },
    /// Announce client certificates: the device that shows one is registered when it connects first
    Certificates {
        #[command(flatten)]
        common: Common,
        /// PEM file with the certificates, or a file with the SHA-256 of one on each line
        file: PathBuf,
    },
    /// Make a token with which devices register themselves; it is shown once
    Token {
        #[command(flatten)]
        common: Common,
        /// How many devices may use it
        #[arg(long, default_value_t = 1)]
        uses: u32,
    },
    /// Take an enrolment back; devices that have used it stay registered
    Remove {
        /// The product
        #[arg(long)]
        product: String,
        /// The enrolment's id, as `ota enrolment list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// The product that devices become members of
    #[arg(long)]
    product: String,
    /// The only device that may use it
    #[arg(long)]
    device: Option<String>,
    /// A tag that devices get, such as batch=7; several may be given
    #[arg(long)]
    tag: Vec<String>,
    /// For how long it is good, such as 30d
    #[arg(long, value_parser = span)]
    expires_in: Option<Span>,
}

impl Common {
    fn enrol(&self, context: &Context, proof: ProofInput) -> Result<EnrolledView, Failure> {
        let input = EnrolmentInput {
            proof,
            device: self.device.clone(),
            tags: self.tag.clone(),
            expires_in: self.expires_in,
        };
        context.client.post(&path(&self.product), &input)
    }
}

impl EnrolmentCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, format) = (&context.client, context.format);
        match self {
            Self::List { product } => {
                format.show(&client.all(&path(&product))?, |all: &Items<EnrolmentView>| {
                    let row = |one: &EnrolmentView| {
                        let uses = format!("{} of {}", one.uses, one.uses_max);
                        let device = one.device.clone().unwrap_or_else(|| "any".to_owned());
                        let tags = one.tags.join(" ");
                        [one.id.clone(), one.proof.clone(), uses, device, when(one.expires), tags]
                    };
                    table(["ID", "BY", "USED", "DEVICE", "UNTIL", "TAGS"], all.items.iter().map(row))
                })
            }
            Self::Certificates { common, file } => {
                let digests = digests(&file)?;
                let mut enrolled = 0;
                for part in digests.chunks(AT_ONCE) {
                    let made = common.enrol(context, ProofInput::Certificates(part.to_vec()));
                    let made = made.map_err(|failure| match enrolled {
                        0 => failure,
                        _ => Failure::new(format!("{failure}\n  the first {enrolled} are enrolled"), ""),
                    })?;
                    enrolled += made.enrolled;
                }
                format.done(&format!("{enrolled} certificates of {} are enrolled", common.product));
                Ok(())
            }
            Self::Token { common, uses } => {
                let made = common.enrol(context, ProofInput::Token { uses })?;
                format.show(&made, |made| made.token.clone().unwrap_or_default())?;
                format.beside(&format!("good for {uses} devices; it is not shown again"));
                Ok(())
            }
            Self::Remove { product, id } => {
                client.tell(Method::DELETE, &format!("{}/{}", path(&product), segment(&id)), &())?;
                format.done("the enrolment is gone");
                Ok(())
            }
        }
    }
}

fn path(product: &str) -> String {
    format!("/api/v1/products/{}/enrolments", segment(product))
}

/// The SHA-256 of each certificate of a file.
fn digests(file: &Path) -> Result<Vec<String>, Failure> {
    let way_out = "give a PEM file with certificates, or a file with 64 hexadecimal digits on each line";
    let text = std::fs::read_to_string(file)
        .map_err(|why| Failure::caused(format_args!("cannot read {}", file.display()), &why, way_out))?;
    let found = if text.contains("-----BEGIN ") { of_pem(&text) } else { of_lines(&text) };
    let digests =
        found.map_err(|why| Failure::new(format!("{} cannot be used: {why}", file.display()), way_out))?;
    if digests.is_empty() {
        return Err(Failure::new(format!("{} has no certificates", file.display()), way_out));
    }
    Ok(digests)
}

fn of_pem(text: &str) -> Result<Vec<String>, String> {
    let digest = |certificate: CertificateDer<'_>| hex(&sha256(&[&certificate]));
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).map(|found| found.map(digest));
    found.collect::<Result<_, _>>().map_err(|why| why.to_string())
}

/// Digests as other tools print them: in either case, with colons, with `sha256 Fingerprint=` in front.
fn of_lines(text: &str) -> Result<Vec<String>, String> {
    let lines = text.lines().map(str::trim).zip(1..);
    let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let digest = |(line, number): (&str, u32)| {
        let digits = line.rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
        let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest { Ok(digits) } else { Err(format!("line {number} is no SHA-256")) }
    };
    lines.map(digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_other_tools_print_them() {
        let bytes = [0xab; 32];
        let plain = hex(&bytes);
        let colons = bytes.map(|byte| format!("{byte:02X}")).join(":");
        let text = format!("# batch 7\n{plain}\n\nsha256 Fingerprint={colons}\n");
        assert_eq!(of_lines(&text).unwrap(), [plain.clone(), plain]);
        assert_eq!(of_lines("abc").unwrap_err(), "line 1 is no SHA-256");
    }

    #[test]
    fn a_certificate_is_known_by_the_digest_of_its_der_form() {
        let made = rcgen::generate_simple_self_signed(["pump-1".to_owned()]).unwrap();
        let digest = hex(&sha256(&[made.cert.der()]));
        assert_eq!(of_pem(&made.cert.pem()).unwrap(), [digest]);
    }
}
