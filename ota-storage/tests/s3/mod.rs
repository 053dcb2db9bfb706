//! Files in a real S3 server: every promise of the trait, and what is said when the server is gone, has forgotten
//! everything, or lets nobody in.

use core::cell::Cell;
use core::time::Duration;

use bytes::Bytes;
use ota_core::conformance::{blob_store, blob_store_reopened};
use ota_core::fleet::{BlobStore, StoreError, StoreErrorKind};
use ota_core::number::{ByteLength, ByteOffset, Sha256Digest};
use ota_storage::object::{ObjectBlobStore, S3Credentials, S3Options};

use self::moto::{Door, Moto};

#[allow(dead_code, unreachable_pub, reason = "other suites use it, too")]
mod moto;

fn options(moto: &Moto) -> S3Options {
    let (id, secret) = moto.key.clone();
    S3Options {
        bucket: moto.bucket().into(),
        region: "us-east-1".into(),
        endpoint: Some(moto.endpoint()),
        credentials: S3Credentials::Key { id, secret },
        authorities_pem: None,
        patience: Duration::from_secs(30),
    }
}

/// Removes all files.
async fn empty(store: &ObjectBlobStore) {
    for digest in store.list(None, 1000).await.unwrap() {
        store.remove(&digest).await.unwrap();
    }
}

async fn put(store: &ObjectBlobStore, bytes: &'static [u8]) -> Result<Sha256Digest, StoreError> {
    let mut upload = store.upload().await?;
    upload.write(Bytes::from_static(bytes)).await?;
    Ok(upload.finish().await?.0)
}

/// All that an error says, with its causes.
fn chain(error: &dyn core::error::Error) -> String {
    let causes = core::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_bucket_conforms() {
    let Some(moto) = Moto::start() else { return };
    let store = ObjectBlobStore::s3(&options(&moto)).unwrap();
    blob_store(async || {
        empty(&store).await;
        store.clone()
    })
    .await;
    let is_first = Cell::new(true);
    blob_store_reopened(async || {
        if is_first.replace(false) {
            empty(&store).await;
        }
        ObjectBlobStore::s3(&options(&moto)).unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_and_works_again_when_it_is_back() {
    let Some(mut moto) = Moto::start() else { return };
    let store = ObjectBlobStore::s3(&options(&moto)).unwrap();
    let digest = put(&store, b"here").await.unwrap();
    moto.kill();
    for error in [
        store.probe().await.unwrap_err(),
        store.read(&digest, ByteOffset(0), ByteLength(4)).await.unwrap_err(),
        store.size(&digest).await.unwrap_err(),
        put(&store, b"lost").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{}", chain(&error));
    }
    moto.start_again();
    store.probe().await.unwrap();
    assert_eq!(store.size(&digest).await.unwrap(), None, "it is known that the file is lost");
    assert_eq!(put(&store, b"here").await.unwrap(), digest);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_and_a_key_that_is_wrong_are_told_apart() {
    let Some(moto) = Moto::start_with(Door::Guarded) else { return };
    let right = options(&moto);
    let (id, secret) = moto.key.clone();
    let elsewhere = S3Options { bucket: "nowhere".into(), ..right.clone() };
    let stranger = S3Credentials::Key { id: "AKIAIOSFODNN7EXAMPLE".into(), secret };
    let stranger = S3Options { credentials: stranger, ..right.clone() };
    let forger = S3Credentials::Key { id, secret: "guessed".into() };
    assert!(!format!("{forger:?}").contains("guessed"));
    let forger = S3Options { credentials: forger, ..right };
    for (options, word) in
        [(elsewhere, "NoSuchBucket"), (stranger, "InvalidAccessKeyId"), (forger, "SignatureDoesNotMatch")]
    {
        let store = ObjectBlobStore::s3(&options).unwrap();
        let error = store.probe().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(chain(&error).contains(word), "{}", chain(&error));
        assert!(put(&store, b"for nobody").await.is_err());
    }
}

#[test]
fn a_certificate_that_is_none_is_refused() {
    let options = S3Options {
        bucket: "files".into(),
        region: "us-east-1".into(),
        endpoint: None,
        credentials: S3Credentials::Environment,
        authorities_pem: Some(b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n".to_vec()),
        patience: Duration::from_secs(1),
    };
    let refused = ObjectBlobStore::s3(&options);
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Invalid);
}
