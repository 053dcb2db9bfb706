//! TLS for devices: what a listener needs, made from PEM, and the name in a verified certificate.
//!
//! A name is only read from a certificate that rustls has verified against the operator's own authorities.

use std::sync::{Arc, PoisonError, RwLock};

use ota_core::crypto::digest;
use ota_core::crypto::soft::SoftSha256;
use ota_core::number::Sha256Digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::clients::Proven;

/// Whether a listener wants client certificates.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ClientCertificates<'a> {
    /// It does not ask for any; clients have a user name and a password.
    Ignored,
    /// A client may show one; one that does not verify ends the connection.
    Optional(Authorities<'a>),
    /// A client without a valid one does not get in.
    Required(Authorities<'a>),
}

/// Whose client certificates are believed.
#[derive(Debug, Clone, Copy)]
pub struct Authorities<'a> {
    /// Certificates of the authorities that issue device certificates, in PEM. Never public ones.
    pub certificates_pem: &'a [u8],
    /// Certificate revocation lists in PEM; empty if there are none.
    pub revocations_pem: &'a [u8],
}

/// What a TLS listener needs.
#[derive(Clone, Copy)]
pub struct TlsMaterial<'a> {
    /// The server's certificate and those between it and its root, in PEM.
    pub chain_pem: &'a [u8],
    /// The server's private key, in PEM.
    pub key_pem: &'a [u8],
    /// Client certificates.
    pub clients: ClientCertificates<'a>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// One of the PEM texts cannot be read, or holds nothing of what it should.
    #[error("cannot read the {what}")]
    Pem {
        /// Which of them.
        what: &'static str,
        /// Why.
        source: pem::Error,
    },
    /// One of the PEM texts holds nothing of what it should.
    #[error("there is no certificate in the {what}")]
    Empty {
        /// Which of them.
        what: &'static str,
    },
    /// The authorities cannot be used.
    #[error("the client authorities cannot be used")]
    Authorities(#[source] rustls::server::VerifierBuilderError),
    /// rustls refuses it, for instance since key and certificate do not belong together.
    #[error("the certificate and the key cannot be used")]
    Rustls(#[from] rustls::Error),
}

/// Makes the configuration of a listener: TLS 1.2 and 1.3, with the cryptography that the program chose.
///
/// Sessions are not resumed: each connection shows its certificate anew, so that one that expired or was revoked ends
/// with the connection.
///
/// # Errors
/// [`TlsError`].
pub fn server_config(
    material: &TlsMaterial<'_>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(material.chain_pem, "server certificate")?;
    let key = PrivateKeyDer::from_pem_slice(material.key_pem)
        .map_err(|source| TlsError::Pem { what: "server key", source })?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match material.clients {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::Optional(authorities) | ClientCertificates::Required(authorities) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(authorities.certificates_pem, "client authorities")? {
                roots.add(certificate)?;
            }
            let revocations = CertificateRevocationListDer::pem_slice_iter(authorities.revocations_pem)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|source| TlsError::Pem { what: "certificate revocation lists", source })?;
            let mut verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(revocations);
            if matches!(material.clients, ClientCertificates::Optional(_)) {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Authorities)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// What a listener shows and believes now.
pub(super) struct CurrentTls(RwLock<Arc<ServerConfig>>);

impl CurrentTls {
    pub(super) fn new(tls: Arc<ServerConfig>) -> Self {
        Self(RwLock::new(tls))
    }

    pub(super) fn get(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, tls: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tls;
    }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { what, source })?;
    if found.is_empty() { Err(TlsError::Empty { what }) } else { Ok(found) }
}

/// What a verified certificate proves, if it has a clear name.
pub(super) fn proven(certificate: &CertificateDer<'_>) -> Option<Proven> {
    let name = proven_name(certificate)?;
    Some(Proven { name, fingerprint: Sha256Digest(digest::<SoftSha256>(certificate)) })
}

/// The name that a verified certificate proves: its only common name; without any, its only DNS name.
///
/// A certificate with two names proves neither.
fn proven_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut common_names = certificate.subject().iter_common_name();
    match (common_names.next(), common_names.next()) {
        (Some(name), None) => return name.as_str().ok().map(str::to_owned),
        (Some(_), Some(_)) => return None,
        (None, _) => {}
    }
    let alternatives = certificate.subject_alternative_name().ok()??;
    let mut names = alternatives.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let first = names.next()?;
    names.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn name_of(common_names: &[&str], dns_names: &[&str]) -> Option<String> {
        let dns_names: Vec<String> = dns_names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(dns_names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for &name in common_names {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        proven_name(certificate.der())
    }

    #[test]
    fn the_common_name_is_the_name_and_a_dns_name_only_stands_in_for_it() {
        assert_eq!(name_of(&["pump-7"], &["pump-8.example"]).as_deref(), Some("pump-7"));
        assert_eq!(name_of(&[], &["pump-8.example"]).as_deref(), Some("pump-8.example"));
        assert_eq!(name_of(&["ota/server"], &[]).as_deref(), Some("ota/server"));
    }

    #[test]
    fn a_certificate_without_one_clear_name_proves_nothing() {
        assert_eq!(name_of(&[], &[]), None);
        assert_eq!(name_of(&[], &["a.example", "b.example"]), None);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "pump-7");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "pump-8");
        let two_names = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert_eq!(proven_name(two_names.der()), None);
        assert_eq!(proven_name(&CertificateDer::from(&b"no certificate"[..])), None);
    }
}
