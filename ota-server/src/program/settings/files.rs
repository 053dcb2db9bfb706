//! What the settings say of where things are kept: records in a file or a database, uploaded files in a folder or a bucket.

use core::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ota_storage::postgres::Upgrade;

use super::values::public_url;
use super::{Layers, Setting, SettingError};

/// Where records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// In a file of the data folder.
    File,
    /// In a database that servers share.
    Postgres(PostgresSettings),
}

/// How the database is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The connection string.
    pub url: String,
    /// Authorities of the database's certificate; `None` for a connection without TLS.
    pub ca: Option<PathBuf>,
    /// Whether the tables may be brought up to date.
    pub upgrade: Upgrade,
}

impl fmt::Debug for PostgresSettings {
    /// Leaves the connection string out, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings").field("ca", &self.ca).finish_non_exhaustive()
    }
}

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

/// How secrets lie in a database that servers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// Wrapped with a key that all servers have.
    Wrapped,
    /// As they are, where no key is set.
    Plain,
}

impl Layers {
    /// A file that has to be there and readable, or none.
    pub(super) fn existing_file(&self, key: &'static str) -> Result<Option<PathBuf>, SettingError> {
        let (text, from) = self.text(key);
        if text.is_empty() {
            return Ok(None);
        }
        let opened = File::open(text).and_then(|file| {
            let is_file = file.metadata()?.is_file();
            if is_file { Ok(()) } else { Err(io::Error::other("it is no file")) }
        });
        match opened {
            Ok(()) => Ok(Some(text.into())),
            Err(why) => {
                let allowed = Setting::by_key(key).map_or("", |setting| setting.allowed);
                Err(SettingError::Unreadable { key, value: text.to_owned(), from, allowed, why })
            }
        }
    }

    /// Where records are kept.
    pub(super) fn store(&self) -> Result<StoreSettings, SettingError> {
        let ca = self.existing_file("store.postgres_ca")?;
        let upgrade = self.read("store.upgrade", |text| match text {
            "at-start" => Some(Upgrade::AtStart),
            "by-hand" => Some(Upgrade::ByHand),
            _ => None,
        })?;
        Ok(match self.text("store.postgres").0 {
            "" => StoreSettings::File,
            url => StoreSettings::Postgres(PostgresSettings { url: url.to_owned(), ca, upgrade }),
        })
    }

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
