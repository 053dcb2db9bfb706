//! What certificates of others are checked by.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Failure;

/// The authorities in a PEM file that a setting names.
///
/// # Errors
/// [`Failure`] if it cannot be read, or holds none.
pub(super) fn authorities(setting: &str, file: &Path) -> Result<RootCertStore, Failure> {
    let wrong = |why: &dyn core::error::Error| unusable(setting, why);
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(file).map_err(|why| wrong(&why))? {
        roots.add(authority.map_err(|why| wrong(&why))?).map_err(|why| wrong(&why))?;
    }
    if roots.is_empty() {
        return Err(Failure::new(
            format!("{setting} holds no certificate"),
            "give a PEM file with the authority of the other side",
        ));
    }
    Ok(roots)
}

/// A file that a setting names does not hold what it should.
pub(super) fn unusable(setting: &str, why: &dyn core::error::Error) -> Failure {
    Failure::caused(format_args!("{setting} cannot be used"), why, "give a PEM file with what is named")
}
