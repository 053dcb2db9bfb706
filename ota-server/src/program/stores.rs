//! Where the server keeps its records and its files: in the data folder alone, or in a database that servers share.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::fleet::{BlobStore, FleetStore, StoreError, StoreErrorKind};
use ota_core::time::Millis;
use ota_storage::object::{ObjectBlobStore, S3Credentials, S3Options};
use ota_storage::postgres::{PostgresOptions, PostgresStore};
use ota_storage::redb::{RedbOptions, RedbStore};

use super::host::SystemEntropy;
use super::installation::{Installation, read_wrapping_key};
use super::settings::{FileSettings, PostgresSettings, S3Settings, Secrets, Settings, StoreSettings};
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
pub(super) async fn open(
    settings: &StoreSettings,
    files: &FileSettings,
    installation: &Installation,
) -> Result<Stores, Failure> {
    let (store, upkeep): (Arc<dyn FleetStore>, Option<Arc<dyn Upkeep>>) = match settings {
        StoreSettings::File => {
            let opened = blocking({
                let installation = installation.clone();
                move || open_file(&installation)
            });
            let store = opened.await??;
            let upkeep = FileUpkeep { store: Arc::clone(&store), backups: installation.backups() };
            (store, Some(Arc::new(upkeep)))
        }
        StoreSettings::Postgres(postgres) => (Arc::new(connect(postgres).await?), None),
    };
    let blobs = match (files, settings) {
        (FileSettings::S3(s3), _) => open_bucket(s3).await?,
        (FileSettings::Folder, settings) => {
            // Only whoever has the store alone may clear away what uploads have left.
            let open = match settings {
                StoreSettings::File => ObjectBlobStore::local,
                StoreSettings::Postgres(_) => ObjectBlobStore::shared,
            };
            let folder = installation.files();
            blocking(move || open(folder)).await?.map_err(|why| files_failed(installation, &why))?
        }
    };
    Ok(Stores { store, blobs: Arc::new(blobs), upkeep })
}

/// Does what may take a while where it holds nobody up.
async fn blocking<T: Send + 'static>(open: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let opened = tokio::task::spawn_blocking(open).await;
    opened.map_err(|why| Failure::caused("the store was not opened", &why, ""))
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
        (None, StoreSettings::Postgres(_)) if settings.secrets == Secrets::Plain => {
            tracing::warn!(
                "secrets lie in the database as they are, for whoever can read it or a copy of it"
            );
            return Ok(Arc::new(NoWrap));
        }
        (None, StoreSettings::Postgres(_)) => {
            let way_out = "make a key with `openssl rand -hex 32`, keep it in a file that nobody else can read, and \
                           name it on all servers with store.wrapping_key_file; or set store.secrets to plain";
            return Err(Failure::new(
                "whoever can read the database, or a copy of it, could read its secrets: no key wraps them",
                way_out,
            ));
        }
    };
    let mut wrap = WrappingKey::new(&present, Arc::new(SystemEntropy));
    for file in &settings.kept.former_wrapping_keys {
        wrap = wrap.and_former(&read_wrapping_key(file)?);
    }
    Ok(Arc::new(wrap))
}

fn open_file(installation: &Installation) -> Result<Arc<RedbStore>, Failure> {
    let store = installation.store();
    let opened = RedbStore::open(&store, RedbOptions::default());
    opened.map(Arc::new).map_err(|why| {
        let way_out = "is another server running on it? Give another folder with --data, or end that one";
        Failure::caused(format_args!("cannot open the store {}", store.display()), &why, way_out)
    })
}

/// How long one request to an object store may take.
const BUCKET_PATIENCE: Duration = Duration::from_secs(10);

/// The files in a bucket, which has to be there and let us in.
async fn open_bucket(settings: &S3Settings) -> Result<ObjectBlobStore, Failure> {
    let read = |path: &Path| {
        let wrong = |why| Failure::caused(format_args!("cannot read {}", path.display()), &why, "");
        std::fs::read_to_string(path).map_err(wrong)
    };
    let credentials = match &settings.key {
        None => S3Credentials::Environment,
        Some((id, file)) => S3Credentials::Key { id: id.clone(), secret: read(file)?.trim().to_owned() },
    };
    let ca = settings.ca.as_deref().map(read).transpose()?;
    let options = S3Options {
        bucket: settings.bucket.clone(),
        region: settings.region.clone(),
        endpoint: settings.endpoint.clone(),
        credentials,
        authorities_pem: ca.map(String::into_bytes),
        patience: BUCKET_PATIENCE,
    };
    let failed = |why: StoreError| {
        let way_out = "check store.s3_endpoint, store.s3_region and store.s3_bucket, that the bucket is there, and \
                       that the key of store.s3_key_id may list, read, write and delete in it";
        Failure::caused(format_args!("cannot use the bucket {}", settings.bucket), &why, way_out)
    };
    let blobs = ObjectBlobStore::s3(&options).map_err(failed)?;
    blobs.probe().await.map_err(failed)?;
    Ok(blobs)
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
            _ if settings.ca.is_none() => {
                "check that the database runs, that store.postgres names it, and what its user may do; for a \
                 connection with TLS name the authorities of its certificate with store.postgres_ca; start again then"
            }
            _ => {
                "check that the database runs, that store.postgres names it, what its user may do, and that \
                 store.postgres_ca holds the authorities of its certificate; start again then"
            }
        };
        Failure::caused("cannot use the database of store.postgres", &why, way_out)
    })
}
