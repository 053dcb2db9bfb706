//! The data folder: the store, the files, and the keys that the first start makes.
//!
//! ```text
//! ota.redb             the store
//! files/               uploaded files by their content
//! staging/             what has arrived of uploads that are not finished
//! assignment-key.pem   signs the server's word to devices, and nothing else
//! wrapping.key         wraps the secrets in the store: keep a copy of it apart from copies of the store
//! audit-key.pem        signs ends of the audit chain, and nothing else
//! audit-checkpoints    those signed ends, one in a line
//! backups/             copies of the store that somebody asked for
//! tls/ca.pem, ca.key   a certificate authority for development
//! tls/server.pem, .key the certificate of the broker, from that authority, and the names it was made for: .names
//! ```
//!
//! Keys are readable by their owner only. A key that is there is never made anew, so devices keep trusting it.

use std::path::{Path, PathBuf};

use ota_core::crypto::sign::Signer;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::Failure;
use super::host::random;
use super::keys::{KeyAlgorithm, generate_key, read_signer, write_secret};
use crate::http::body::PublicKey;
use crate::http::{hex, unhex};

/// A data folder that is ready to be used.
#[derive(Debug, Clone)]
pub struct Installation {
    folder: PathBuf,
    is_new: bool,
}

/// A certificate for a device, with its private key, both in PEM.
#[derive(Clone)]
pub struct DeviceCertificate {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl core::fmt::Debug for DeviceCertificate {
    /// Leaves the key out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("DeviceCertificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Installation {
    /// Opens a data folder; makes it and its keys if they are not there.
    ///
    /// # Errors
    /// [`Failure`] if the folder cannot be made or written.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let tls = folder.join("tls");
        make_private(folder).and_then(|()| std::fs::create_dir_all(&tls)).map_err(|why| {
            let way_out = "give another folder with --data, or make it writable for this user";
            Failure::caused(format_args!("cannot make the data folder {}", folder.display()), &why, way_out)
        })?;
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let installation = Self { is_new: !folder.join("ota.redb").exists(), folder };
        if !installation.assignment_key().exists() {
            generate_key(KeyAlgorithm::Ed25519, &installation.assignment_key())?;
        }
        installation.make_authority()?;
        Ok(installation)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there was no store yet when it was opened.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// The store's file.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.join("ota.redb")
    }

    /// The folder of uploaded files.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// The folder of what has arrived of unfinished uploads.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.folder.join("staging")
    }

    /// The folder of copies of the store.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.folder.join("backups")
    }

    /// Where signed ends of the audit chain go unless a setting says otherwise.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.folder.join("audit-checkpoints")
    }

    /// The folder's own key for the secrets in its store, which the first start makes.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be read.
    pub fn wrapping_key(&self) -> Result<[u8; 32], Failure> {
        let own = self.folder.join("wrapping.key");
        if !own.exists() {
            write_secret(&own, format!("{}\n", hex(&random::<32>())).as_bytes())?;
        }
        read_wrapping_key(&own)
    }

    /// The key that signs ends of the audit chain, and its public half. The first start makes it.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be read.
    pub fn audit_signer(&self) -> Result<(Box<dyn Signer + Send + Sync>, PublicKey), Failure> {
        let path = self.folder.join("audit-key.pem");
        if !path.exists() {
            generate_key(KeyAlgorithm::Ed25519, &path)?;
        }
        let signer = read_signer(&path)?;
        let public = PublicKey::of(&*signer);
        Ok((signer, public))
    }

    fn assignment_key(&self) -> PathBuf {
        self.folder.join("assignment-key.pem")
    }

    /// The development authority's certificate: what devices and people check the broker's by.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.join("tls/ca.pem")
    }

    /// The certificate and the private key of the broker inside, for these names and addresses: made if they are not
    /// there, and anew if they were made here for others. What somebody else has put there is left alone.
    ///
    /// # Errors
    /// [`Failure`] if they cannot be made.
    pub fn broker_identity(&self, names: &[String]) -> Result<(PathBuf, PathBuf), Failure> {
        let [certificate, key, made_for] =
            ["pem", "key", "names"].map(|end| self.folder.join("tls/server").with_extension(end));
        let wanted = names.join("\n");
        let is_good = match std::fs::read_to_string(&made_for) {
            Ok(names) => names == wanted,
            Err(_) => true,
        };
        if !is_good || !certificate.exists() || !key.exists() {
            let mut params = CertificateParams::new(names.to_vec()).map_err(|why| failed(&why))?;
            params.distinguished_name = named(names.first().map_or("localhost", String::as_str));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let made = self.issue(params)?;
            // The names first and the key last: a start that was interrupted here does it again.
            let _ = std::fs::remove_file(&key);
            write_public(&made_for, &wanted)?;
            write_public(&certificate, &made.certificate)?;
            write_secret(&key, made.key.as_bytes())?;
        }
        Ok((certificate, key))
    }

    /// The key that signs assignments, and its public half.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be read.
    pub fn assignment_signer(&self) -> Result<(Box<dyn Signer + Send + Sync>, PublicKey), Failure> {
        let signer = read_signer(&self.assignment_key())?;
        let public = PublicKey::of(&*signer);
        Ok((signer, public))
    }

    /// Makes a client certificate that names a device, from the development authority.
    ///
    /// # Errors
    /// [`Failure`] if the authority's key cannot be read.
    pub fn device_certificate(&self, device: &str) -> Result<DeviceCertificate, Failure> {
        let mut params = CertificateParams::new(Vec::new()).map_err(|why| failed(&why))?;
        params.distinguished_name = named(device);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn make_authority(&self) -> Result<(), Failure> {
        let ca = self.folder.join("tls/ca.key");
        if !ca.exists() {
            let key = KeyPair::generate().map_err(|why| failed(&why))?;
            let certificate = authority().self_signed(&key).map_err(|why| failed(&why))?;
            // The certificate first: whoever finds the key finds the certificate that belongs to it.
            write_public(&self.authority(), &certificate.pem())?;
            write_secret(&ca, key.serialize_pem().as_bytes())?;
        }
        Ok(())
    }

    fn issue(&self, mut params: CertificateParams) -> Result<DeviceCertificate, Failure> {
        let path = self.folder.join("tls/ca.key");
        let pem = std::fs::read_to_string(&path)
            .map_err(|why| Failure::caused(format_args!("cannot read {}", path.display()), &why, ""))?;
        let issuer = Issuer::new(authority(), KeyPair::from_pem(&pem).map_err(|why| failed(&why))?);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().map_err(|why| failed(&why))?;
        let certificate = params.signed_by(&key, &issuer).map_err(|why| failed(&why))?;
        Ok(DeviceCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Reads a key that wraps secrets: 64 hexadecimal digits in a line.
///
/// # Errors
/// [`Failure`] if it is none. The digits are in no message.
pub(super) fn read_wrapping_key(file: &Path) -> Result<[u8; 32], Failure> {
    let way_out = "expected a file with 64 hexadecimal digits, such as `openssl rand -hex 32` writes; without the key \
                   that wrapped them the secrets in the store are lost";
    let text = std::fs::read_to_string(file)
        .map_err(|why| Failure::caused(format_args!("cannot read {}", file.display()), &why, way_out))?;
    let key = unhex("key", text.trim_end()).ok().and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| Failure::new(format!("{} holds no key", file.display()), way_out))
}

fn failed(why: &rcgen::Error) -> Failure {
    let way_out = "move the folder tls/ away to have the development certificates made anew";
    Failure::caused("the development certificates cannot be made", why, way_out)
}

/// The authority, apart from its key: always the same, so that its certificate need not be read to issue others.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("ota development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Makes a folder that only this user looks into, if it is not there: who has made it has said who may.
fn make_private(folder: &Path) -> std::io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_public(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|why| Failure::caused(format_args!("cannot write {}", path.display()), &why, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_start_keeps_all_keys() {
        let folder = tempfile::tempdir().unwrap();
        let first = Installation::open(folder.path()).unwrap();
        let called = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        first.broker_identity(&called).unwrap();
        let names = ["assignment-key.pem", "tls/ca.pem", "tls/ca.key", "tls/server.pem", "tls/server.key"];
        let read = || names.map(|name| std::fs::read(folder.path().join(name)).unwrap());
        let before = read();
        let second = Installation::open(folder.path()).unwrap();
        second.broker_identity(&called).unwrap();
        assert_eq!(read(), before);
        assert_eq!(first.assignment_signer().unwrap().1, second.assignment_signer().unwrap().1);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_looks_into_a_folder_that_was_made_here() {
        use std::os::unix::fs::PermissionsExt as _;
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("for/data");
        Installation::open(&folder).unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_broker_that_is_called_otherwise_gets_another_certificate_and_keeps_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let installation = Installation::open(folder.path()).unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let (first, _) = installation.broker_identity(&["localhost".to_owned()]).unwrap();
        let (before, authority) = (std::fs::read(&first).unwrap(), read("tls/ca.pem"));
        let (second, _) = installation.broker_identity(&["broker.example".to_owned()]).unwrap();
        assert_ne!(std::fs::read(second).unwrap(), before);
        assert_eq!(read("tls/ca.pem"), authority);
    }
}
