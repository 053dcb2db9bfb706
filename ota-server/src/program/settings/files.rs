//! What the settings say of uploaded files: the folder or the bucket where they are kept.

use std::path::{Path, PathBuf};

use super::values::public_url;
use super::{Layers, SettingError};

/// Where uploaded files are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSettings {
    /// In a folder of the data folder.
    Folder,
    /// In a bucket of an object store.
    S3(S3Settings),
}

/// How a bucket is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// Its name.
    pub bucket: String,
    /// Where its store listens; `None` for Amazon's own.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// The id of the access key and the file with its secret; `None` for what the environment says.
    pub key: Option<(String, PathBuf)>,
    /// Authorities of the store's certificate; `None` for those of the system.
    pub ca: Option<PathBuf>,
}

impl Layers {
    /// Where uploaded files are kept.
    pub(super) fn files(&self) -> Result<FileSettings, SettingError> {
        let bucket = self.read("store.s3_bucket", |text| {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            text.bytes().all(is_name).then(|| text.to_owned())
        })?;
        if bucket.is_empty() {
            return Ok(FileSettings::Folder);
        }
        let key = match self.text("store.s3_key_id").0 {
            "" => None,
            id => {
                let secret = self.read("store.s3_secret_file", |text| {
                    Path::new(text).is_file().then(|| PathBuf::from(text))
                })?;
                Some((id.to_owned(), secret))
            }
        };
        Ok(FileSettings::S3(S3Settings {
            bucket,
            endpoint: self.read("store.s3_endpoint", public_url)?,
            region: self.read("store.s3_region", |text| (!text.is_empty()).then(|| text.to_owned()))?,
            key,
            ca: self.existing_file("store.s3_ca")?,
        }))
    }
}
