//! Where the server keeps its records and its files: in the data folder alone, or in a database that servers share.

use std::path::Path;
use std::sync::Arc;

use ota_core::fleet::{BlobStore, FleetStore, StoreError, StoreErrorKind};
use ota_core::number::Sha256Digest;
use ota_core::time::Millis;
use ota_storage::object::ObjectBlobStore;
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use ota_storage::redb::{RedbOptions, RedbStore};

use super::host::SystemEntropy;
use super::installation::Installation;
use super::settings::{PostgresSettings, StoreSettings};
use super::{Failure, tls};
use crate::server::{NoWrap, SecretWrap, WrappingKey};

/// The records and the files of a fleet.
pub(super) type Stores = (Arc<dyn FleetStore>, Arc<dyn BlobStore>);

/// Opens what the settings name.
///
/// # Errors
/// [`Failure`] says what is in the way, and what to do about it.
pub(super) async fn open(settings: &StoreSettings, installation: &Installation) -> Result<Stores, Failure> {
    match settings {
        StoreSettings::File => {
            let opened = tokio::task::spawn_blocking({
                let installation = installation.clone();
                move || open_files(&installation)
            });
            opened.await.map_err(|why| Failure::caused("the store was not opened", &why, ""))?
        }
        StoreSettings::Postgres(postgres) => {
            let store = connect(postgres).await?;
            let files = installation.files();
            let blobs = tokio::task::spawn_blocking(move || ObjectBlobStore::shared(&files));
            let blobs = blobs.await.map_err(|why| Failure::caused("the files were not opened", &why, ""))?;
            Ok((Arc::new(store), Arc::new(blobs.map_err(|why| files_failed(installation, &why))?)))
        }
    }
}

/// How often what other servers may have changed is read anew.
pub(super) const fn refresh_every(settings: &StoreSettings) -> Millis {
    match settings {
        StoreSettings::File => Millis(0),
        StoreSettings::Postgres(_) => Millis(5000),
    }
}

/// What wraps the secrets in the store.
///
/// # Errors
/// [`Failure`] if the file does not hold a key.
pub(super) fn secrets(file: Option<&Path>) -> Result<Arc<dyn SecretWrap>, Failure> {
    let Some(file) = file else { return Ok(Arc::new(NoWrap)) };
    let text = std::fs::read_to_string(file)
        .map_err(|why| Failure::caused(format_args!("cannot read {}", file.display()), &why, ""))?;
    // A digest has as many hexadecimal digits as a key.
    let Some(key) = Sha256Digest::from_hex(text.trim()) else {
        let way_out = "make one with: openssl rand -hex 32";
        return Err(Failure::new(
            format!("{} holds no key of 64 hexadecimal digits", file.display()),
            way_out,
        ));
    };
    Ok(Arc::new(WrappingKey::new(&key.0, Arc::new(SystemEntropy))))
}

fn open_files(installation: &Installation) -> Result<Stores, Failure> {
    let store = installation.store();
    let opened = RedbStore::open(&store, RedbOptions::default());
    let opened = opened.map_err(|why| {
        let way_out = "is another server running on it? Give another folder with --data, or end that one";
        Failure::caused(format_args!("cannot open the store {}", store.display()), &why, way_out)
    })?;
    // Only whoever has the store may clear away what uploads have left.
    let blobs =
        ObjectBlobStore::local(installation.files()).map_err(|why| files_failed(installation, &why))?;
    Ok((Arc::new(opened), Arc::new(blobs)))
}

fn files_failed(installation: &Installation, why: &StoreError) -> Failure {
    let files = installation.files();
    Failure::caused(format_args!("cannot open the files {}", files.display()), why, "check the folder")
}

/// Connects to the database.
///
/// # Errors
/// [`Failure`]; it never holds the connection string, which may hold a password.
pub(super) async fn connect(settings: &PostgresSettings) -> Result<PostgresStore, Failure> {
    let tls = match &settings.ca {
        None => None,
        Some(ca) => {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|why| tls::unusable("TLS", &why))?
                .with_root_certificates(tls::authorities("store.postgres_ca", ca)?)
                .with_no_client_auth();
            Some(Arc::new(config))
        }
    };
    let options = PostgresOptions { tls, upgrade: settings.upgrade, ..PostgresOptions::default() };
    PostgresStore::connect(&settings.url, options).await.map_err(|why| {
        let way_out = match why.kind() {
            StoreErrorKind::Invalid => {
                "give store.postgres as postgres://USER:PASSWORD@HOST/DATABASE, or as host=HOST dbname=DATABASE"
            }
            StoreErrorKind::Schema => {
                "start a server of a fitting version, or bring the tables up to date by starting one with \
                 store.upgrade set to at-start and a user who may change them"
            }
            _ => {
                "check that the database runs, that store.postgres names it, and what its user may do; start \
                 again then"
            }
        };
        Failure::caused("cannot use the database of store.postgres", &why, way_out)
    })
}
