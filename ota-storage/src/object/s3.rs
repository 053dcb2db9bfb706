//! An object store that speaks the protocol of S3: Amazon's own, or any other with an address of its own.
//!
//! Every wait has an end: a request is given up after a while, and repeated a few times where that can do no harm.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use ota_core::fleet::{StoreError, StoreErrorKind};

use super::ObjectBlobStore;

/// How often a request is repeated that failed at the other end or on its way.
const RETRIES_MAX: usize = 3;
/// The first pause before that, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Where the files are, and who asks for them.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The bucket, which has to be there.
    pub bucket: String,
    /// Its region; stores other than Amazon's take any.
    pub region: String,
    /// Where a store listens that is not Amazon's: `https://` or `http://`, a host, and a port if need be. The bucket is
    /// then a part of the path.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: S3Credentials,
    /// The authorities that the store's certificate may come from, in PEM; `None` for those of the system.
    pub authorities_pem: Option<Vec<u8>>,
    /// How long one request may take.
    pub patience: Duration,
}

/// Who asks an object store for files.
#[derive(Clone)]
pub enum S3Credentials {
    /// Whoever the environment says, in the variables that Amazon's own programs read, or else the machine's own role.
    Environment,
    /// Whoever has this key.
    Key {
        /// Its id.
        id: String,
        /// Its secret.
        secret: String,
    },
}

impl fmt::Debug for S3Credentials {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Key { id, .. } => f.debug_struct("Key").field("id", id).finish_non_exhaustive(),
        }
    }
}

impl ObjectBlobStore {
    /// The files in a bucket. Nothing is asked of it yet: [`probe`](ota_core::fleet::BlobStore::probe) tells whether it
    /// can be used. Needs a tokio runtime.
    ///
    /// Finished files are copied to their names, which S3 does for up to 5 GiB at once. Uploads that a crash left are for
    /// a rule of the bucket to expire: both unfinished multipart uploads and objects in `uploads/`.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if the options contradict each other or a certificate cannot be read.
    pub fn s3(options: &S3Options) -> Result<Self, StoreError> {
        let invalid = |error: object_store::Error| StoreError::new(StoreErrorKind::Invalid, error);
        let is_plain = options.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut client = ClientOptions::new()
            .with_allow_http(is_plain)
            .with_timeout(options.patience)
            .with_connect_timeout(options.patience / 2);
        if let Some(pem) = &options.authorities_pem {
            for certificate in Certificate::from_pem_bundle(pem).map_err(invalid)? {
                client = client.with_root_certificate(certificate);
            }
        }
        let mut builder = match &options.credentials {
            S3Credentials::Environment => AmazonS3Builder::from_env(),
            S3Credentials::Key { id, secret } => {
                AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret)
            }
        };
        if let Some(endpoint) = &options.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let store = builder
            .with_bucket_name(&options.bucket)
            .with_region(&options.region)
            .with_client_options(client)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: PAUSE_MIN, max_backoff: PAUSE_MAX, base: 2.0 },
                max_retries: RETRIES_MAX,
                retry_timeout: options.patience.saturating_mul(2),
            })
            .build()
            .map_err(invalid)?;
        Ok(Self::new(Arc::new(store)))
    }
}
