//! Where the server keeps its records and its files: in the data folder alone, or in a database that servers share.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::fleet::{BlobStore, FleetStore, StoreError, StoreErrorKind};
use ota_core::time::Millis;
use ota_storage::object::ObjectBlobStore;
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use ota_storage::redb::{RedbOptions, RedbStore};

use super::host::SystemEntropy;
use super::installation::{Installation, read_wrapping_key};
use super::settings::{PostgresSettings, Settings, StoreSettings};
use super::{Failure, tls};
use crate::server::{NoWrap, SecretWrap, Upkeep, WrappingKey};

/// The records and the files of a fleet.
pub(super) struct Stores {
    pub(super) store: Arc<dyn FleetStore>,
    pub(super) blobs: Arc<dyn BlobStore>,
    /// What keeps the store in order, where that is for this process to do.
    pub(super) upkeep: Option<Arc<dyn Upkeep>>,
}

/// Keeps the file that this process has opened.
struct FileUpkeep {
    store: Arc<RedbStore>,
    backups: PathBuf,
}

#[async_trait]
impl Upkeep for FileUpkeep {
    async fn compact(&self) -> Result<(u64, u64), StoreError> {
        let done = self.store.compact().await?;
        tracing::info!(before = done.before_bytes, after = done.after_bytes, "the store is compact");
        Ok((done.before_bytes, done.after_bytes))
    }

    async fn back_up(&self, name: &str) -> Result<String, StoreError> {
        std::fs::create_dir_all(&self.backups)
            .map_err(|why| StoreError::new(StoreErrorKind::Unavailable, why))?;
        let path = self.backups.join(name);
        self.store.back_up(&path).await?;
        Ok(path.display().to_string())
    }
}

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
            let blobs = Arc::new(blobs.map_err(|why| files_failed(installation, &why))?);
            Ok(Stores { store: Arc::new(store), blobs, upkeep: None })
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

/// What wraps the secrets in the store: the key that a setting names, or for a file in the data folder the one beside it.
///
/// # Errors
/// [`Failure`] if a file does not hold a key.
pub(super) fn secrets(
    settings: &Settings,
    installation: &Installation,
) -> Result<Arc<dyn SecretWrap>, Failure> {
    let present = match (&settings.wrapping_key, &settings.store) {
        (Some(file), _) => read_wrapping_key(file)?,
        (None, StoreSettings::File) => installation.wrapping_key()?,
        // Servers that share a database need the same key, and nobody has said which.
        (None, StoreSettings::Postgres(_)) => return Ok(Arc::new(NoWrap)),
    };
    let mut wrap = WrappingKey::new(&present, Arc::new(SystemEntropy));
    for file in &settings.kept.former_wrapping_keys {
        wrap = wrap.and_former(&read_wrapping_key(file)?);
    }
    Ok(Arc::new(wrap))
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
    let store = Arc::new(opened);
    let upkeep = FileUpkeep { store: Arc::clone(&store), backups: installation.backups() };
    Ok(Stores { store, blobs: Arc::new(blobs), upkeep: Some(Arc::new(upkeep)) })
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
