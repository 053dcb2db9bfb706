//! The product of the demonstration: its files in all their revisions, and the descriptions of its packages.
//!
//! Everything is made from the name and the revision alone, so what a device should have can be computed again at the
//! end and compared with what lies on its disk.

use std::path::Path;

use ota_core::crypto::Hasher as _;
use ota_core::crypto::soft::SoftSha256;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::Failure;

/// The product.
pub(crate) const PRODUCT: &str = "lamp";
/// The hardware revision of its devices.
pub(crate) const HARDWARE: &str = "rev-c";

/// The install target of the firmware.
pub(crate) const FIRMWARE: &str = "firmware";
/// The install target of the authorities that the broker's certificate may come from.
pub(crate) const AUTHORITY: &str = "authority";
/// The install target of the configuration.
pub(crate) const SETTINGS: &str = "settings";
/// The install target of the device's own certificate.
pub(crate) const IDENTITY: &str = "identity";
/// All of them.
pub(crate) const TARGETS: [&str; 4] = [AUTHORITY, FIRMWARE, IDENTITY, SETTINGS];

/// What all devices have come to in the end, in bytes of the firmware.
const FIRMWARE_BYTES: usize = 1 << 20;
/// The firmware that devices have been made with was smaller.
const FORMER_FIRMWARE_BYTES: usize = 128 << 10;

/// A file in one of its revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its revision.
    pub(crate) revision: &'static str,
    /// Where on the device it goes.
    pub(crate) target: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// A package: files that belong together.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    /// What people call its files on disk.
    pub(crate) title: &'static str,
    /// The package it is a version of.
    pub(crate) name: &'static str,
    /// Its files.
    pub(crate) files: Vec<Content>,
    /// The revision of the firmware that must run before.
    pub(crate) needs_firmware: Option<&'static str>,
}

/// The packages of the demonstration.
#[derive(Debug)]
pub(crate) struct Packages {
    /// What the oldest device was made with. It was never released here.
    pub(crate) oldest: Package,
    /// What the other devices were made with; a stepping stone for the oldest.
    pub(crate) former: Package,
    /// What everybody is to get.
    pub(crate) new: Package,
}

impl Packages {
    /// Makes them. `authority` is what the broker's certificate comes from now.
    ///
    /// # Errors
    /// [`Failure`] if the next authority cannot be made.
    pub(crate) fn make(authority: &str) -> Result<Self, Failure> {
        let package =
            |title, firmware: (&'static str, usize), authority: (&'static str, String), settings| Package {
                title,
                name: "system",
                files: vec![
                    Content {
                        name: "authority.pem",
                        revision: authority.0,
                        target: AUTHORITY,
                        bytes: authority.1.into_bytes(),
                    },
                    Content {
                        name: "firmware.bin",
                        revision: firmware.0,
                        target: FIRMWARE,
                        bytes: firmware_image(firmware.0, firmware.1),
                    },
                    settings_of(settings),
                ],
                needs_firmware: None,
            };
        let (first, next) = (authority.to_owned(), format!("{authority}{}", next_authority()?));
        let former = ("1.5", FORMER_FIRMWARE_BYTES);
        let new = package("lamp-2.0", ("2.0", FIRMWARE_BYTES), ("2026-2", next), "2");
        Ok(Self {
            oldest: package("lamp-1.0", ("1.0", FORMER_FIRMWARE_BYTES), ("2026-1", first.clone()), "1"),
            former: package("lamp-1.5", former, ("2026-1", first), "1"),
            new: Package { needs_firmware: Some(former.0), ..new },
        })
    }
}

impl Package {
    /// Writes the files and the description, a TOML file as `ota package` reads it, into a folder.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let files = folder.join(self.title);
        let failed = |error| Failure::file(&files, &error);
        std::fs::create_dir_all(&files).map_err(failed)?;
        let mut text =
            format!("package = {:?}\nhardware = [{HARDWARE:?}]\nexpires_in = \"365d\"\n", self.name);
        if let Some(revision) = self.needs_firmware {
            text += &format!(
                "\n[[requirement]]\nfile = {{ name = \"firmware.bin\", revision = {revision:?} }}\n"
            );
        }
        for Content { name, revision, target, bytes } in &self.files {
            std::fs::write(files.join(name), bytes).map_err(failed)?;
            text += &format!(
                "\n[[file]]\nname = {name:?}\nrevision = {revision:?}\ntarget = {target:?}\n\
                 path = \"{}/{name}\"\nunit = {UNIT_BYTES}\n",
                self.title
            );
        }
        std::fs::write(folder.join(format!("{}.toml", self.title)), text).map_err(failed)
    }
}

/// What is checked and written at once on the devices, in bytes. Their file systems prefer large pieces.
const UNIT_BYTES: u32 = 16 * 1024;

/// A device's certificate as a file of a package.
pub(crate) fn identity(revision: &'static str, pem: String) -> Content {
    Content { name: "identity.pem", revision, target: IDENTITY, bytes: pem.into_bytes() }
}

/// A certificate that names a device and belongs to its key, but comes from an authority that no broker knows.
///
/// # Errors
/// [`Failure`] if it cannot be made.
pub(crate) fn foreign_certificate(device: &str, key_pem: &str) -> Result<String, Failure> {
    let failed = |error: rcgen::Error| Failure::new(format!("the wrong certificate: {error}"));
    let (authority, authority_key) =
        (authority("somebody else's authority")?, KeyPair::generate().map_err(failed)?);
    let issuer = Issuer::new(authority, authority_key);
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, device);
    let key = KeyPair::from_pem(key_pem).map_err(failed)?;
    Ok(params.signed_by(&key, &issuer).map_err(failed)?.pem())
}

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = SoftSha256::new();
    hasher.update(bytes);
    hasher.finish()
}

/// The authority that will follow the present one: devices trust both for a while.
fn next_authority() -> Result<String, Failure> {
    let failed = |error: rcgen::Error| Failure::new(format!("the next authority: {error}"));
    let key = KeyPair::generate().map_err(failed)?;
    Ok(authority("the next authority")?.self_signed(&key).map_err(failed)?.pem())
}

fn authority(name: &str) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(Vec::new()).map_err(|error| Failure::new(error.to_string()))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    Ok(params)
}

/// Bytes that do not compress, as machine code does not: the SHA-256 of a counter, over and over.
fn firmware_image(revision: &str, length: usize) -> Vec<u8> {
    let mut image = format!("firmware {revision}\n").into_bytes();
    let mut counter = 0_u64;
    while image.len() < length {
        image.extend_from_slice(&sha256(&[revision.as_bytes(), &counter.to_le_bytes()].concat()));
        counter += 1;
    }
    image.truncate(length);
    image
}

fn settings_of(revision: &'static str) -> Content {
    let text = format!("{{\n  \"revision\": {revision},\n  \"brightness\": 80,\n  \"dusk_lux\": 40\n}}\n");
    Content { name: "settings.json", revision, target: SETTINGS, bytes: text.into_bytes() }
}
