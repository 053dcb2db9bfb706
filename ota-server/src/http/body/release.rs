//! Packages: uploaded content, drafts of releases, releases.

use ota_core::fleet::records::{BlockMapRecord, FileRecord, Hosting, ReleaseRecord, RequirementRecord};
use ota_core::integrity::{IntegrityString, IntegrityStrings};
use ota_core::number::{ByteLength, PackageVersion, ReleaseId, SecurityEpoch, Sha256Digest};
use ota_core::text::{
    FileNameBuf, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf, RevisionBuf, UrlBuf,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Time, word};
use crate::rules::release::{ReleaseDraft, Uploaded};

/// What an upload answers, and what a file of a draft names: content by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentBody {
    /// The SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its integrity strings; the SHA-256 must be among them.
    pub integrity: Vec<String>,
    /// Its block map, if it has one.
    #[serde(default)]
    pub block_map: Option<BlockMapBody>,
}

/// A block map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockMapBody {
    /// Length of a unit in bytes.
    pub unit: u32,
    /// Length of the map in bytes.
    pub size: u64,
    /// The SHA-256 of the map.
    pub sha256: String,
}

/// An upload that goes on over several requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadView {
    /// Its id.
    pub id: String,
    /// How many bytes have arrived.
    pub offset: u64,
    /// What it has become, once it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentBody>,
}

impl From<Uploaded> for ContentBody {
    fn from(uploaded: Uploaded) -> Self {
        Self {
            sha256: uploaded.digest.to_string(),
            size: uploaded.size,
            integrity: uploaded.integrity.iter().map(ToString::to_string).collect(),
            block_map: uploaded.block_map.map(|map| BlockMapBody {
                unit: map.unit,
                size: map.size.0,
                sha256: map.digest.to_string(),
            }),
        }
    }
}

/// A field of an input is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct FieldError {
    /// Which.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

/// Names the field that an error is about.
pub(crate) fn field<T, E: core::fmt::Display>(name: &str, result: Result<T, E>) -> Result<T, FieldError> {
    result.map_err(|why| FieldError { field: name.to_owned(), why: why.to_string() })
}

fn digest(name: &str, text: &str) -> Result<Sha256Digest, FieldError> {
    field(name, Sha256Digest::from_hex(text).ok_or("expected 64 lower-case hexadecimal digits"))
}

impl ContentBody {
    fn uploaded(&self) -> Result<Uploaded, FieldError> {
        let own = digest("content.sha256", &self.sha256)?;
        let strings = IntegrityStrings::parse(self.integrity.iter().map(String::as_str));
        let integrity = field("content.integrity", strings)?.as_slice().to_vec();
        if !integrity.contains(&IntegrityString::Sha256(own.0)) {
            return field("content.integrity", Err("the SHA-256 of the content is not among the strings"));
        }
        let block_map = match &self.block_map {
            Some(map) => Some(BlockMapRecord {
                unit: map.unit,
                size: ByteLength(map.size),
                digest: digest("content.block_map.sha256", &map.sha256)?,
            }),
            None => None,
        };
        Ok(Uploaded { digest: own, size: self.size, integrity, block_map })
    }
}

/// A file of a draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileInput {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// Where on the device it goes.
    pub target: String,
    /// Its content, as the upload answered.
    pub content: ContentBody,
    /// Further integrity strings, for example signatures over the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integrity: Vec<String>,
    /// Where else it can be fetched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

impl FileInput {
    fn record(&self) -> Result<FileRecord, FieldError> {
        let given: Vec<&str> = self.integrity.iter().map(String::as_str).collect();
        let file = self.content.uploaded()?.file(
            field("name", FileNameBuf::new(self.name.as_str()))?,
            field("revision", RevisionBuf::new(self.revision.as_str()))?,
            field("target", InstallTargetBuf::new(self.target.as_str()))?,
            &given,
        );
        let urls =
            self.urls.iter().map(|url| field("urls", UrlBuf::new(url.as_str()))).collect::<Result<_, _>>()?;
        Ok(FileRecord { urls, hosting: Hosting::Here, ..field("integrity", file)? })
    }
}

/// What must be installed before a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RequirementBody {
    /// This file in one of the revisions that the requirements name for it.
    File {
        /// The file.
        name: String,
        /// One of the revisions that will do.
        revision: String,
    },
    /// A security epoch of at least this.
    EpochAtLeast(u32),
}

impl RequirementBody {
    fn record(&self) -> Result<RequirementRecord, FieldError> {
        Ok(match self {
            Self::File { name, revision } => RequirementRecord::FileRevision {
                file: field("requirements.file.name", FileNameBuf::new(name.as_str()))?,
                revision: field("requirements.file.revision", RevisionBuf::new(revision.as_str()))?,
            },
            Self::EpochAtLeast(epoch) => RequirementRecord::EpochAtLeast { epoch: SecurityEpoch(*epoch) },
        })
    }
}

impl From<RequirementRecord> for RequirementBody {
    fn from(record: RequirementRecord) -> Self {
        match record {
            RequirementRecord::FileRevision { file, revision } => {
                Self::File { name: file.into(), revision: revision.into() }
            }
            RequirementRecord::EpochAtLeast { epoch } => Self::EpochAtLeast(epoch.0),
        }
    }
}

/// A draft of a release to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseInput {
    /// The package it is a version of.
    pub package: String,
    /// Its version; the product's next if left away.
    #[serde(default)]
    pub version: Option<u64>,
    /// The hardware revisions it runs on.
    pub hardware: Vec<String>,
    /// Its security epoch.
    #[serde(default)]
    pub epoch: u32,
    /// What must be installed before it.
    #[serde(default)]
    pub requirements: Vec<RequirementBody>,
    /// Its files.
    pub files: Vec<FileInput>,
    /// When it may no longer be installed.
    pub expires: Time,
    /// Whether it closes a security hole.
    #[serde(default)]
    pub security: bool,
    /// Where people read what changed.
    #[serde(default)]
    pub notes: Option<String>,
}

impl ReleaseInput {
    /// The draft for this product.
    ///
    /// # Errors
    /// [`FieldError`] names the field.
    pub fn draft(self, product: ProductIdBuf) -> Result<ReleaseDraft, FieldError> {
        let hardware =
            self.hardware.iter().map(|text| field("hardware", HardwareRevisionBuf::new(text.as_str())));
        let named = |(index, file): (usize, &FileInput)| {
            file.record()
                .map_err(|error| FieldError { field: format!("files[{index}].{}", error.field), ..error })
        };
        Ok(ReleaseDraft {
            product,
            package: field("package", PackageNameBuf::new(self.package))?,
            version: self.version.map(PackageVersion),
            hardware: hardware.collect::<Result<_, _>>()?,
            epoch: SecurityEpoch(self.epoch),
            requirements: self.requirements.iter().map(RequirementBody::record).collect::<Result<_, _>>()?,
            files: self.files.iter().enumerate().map(named).collect::<Result<_, _>>()?,
            expires: self.expires.0,
            security: self.security,
            notes: self.notes.map(|url| field("notes", UrlBuf::new(url))).transpose()?,
            sbom: None,
        })
    }
}

/// How to fix a release's body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixInput {
    /// Lets the security epoch rise by more than one: devices that install it refuse everything below for ever.
    #[serde(default)]
    pub raise_epoch_without_limit: bool,
}

/// A release by its id and status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseRef {
    /// Its id.
    pub id: String,
    /// How far it has come.
    pub status: String,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseView {
    /// Its id.
    pub id: String,
    /// Its product.
    pub product: String,
    /// Its package.
    pub package: String,
    /// Its version.
    pub version: u64,
    /// How far it has come: `draft`, `fixed`, `signed` or `withdrawn`.
    pub status: String,
    /// Who made the draft.
    pub author: String,
    /// When it was made.
    pub created: Time,
    /// The hardware revisions it runs on.
    pub hardware: Vec<String>,
    /// Its security epoch.
    pub epoch: u32,
    /// What must be installed before it.
    pub requirements: Vec<RequirementBody>,
    /// Its files.
    pub files: Vec<FileView>,
    /// When it may no longer be installed.
    pub expires: Time,
    /// Whether it closes a security hole.
    pub security: bool,
    /// Where people read what changed.
    pub notes: Option<String>,
    /// Length of its signed metadata, in bytes.
    pub body_bytes: u32,
    /// Why it was withdrawn.
    pub withdrawn: Option<String>,
}

/// A file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileView {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// Where on the device it goes.
    pub target: String,
    /// Its length in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: String,
    /// Its integrity strings, weakest first.
    pub integrity: Vec<String>,
    /// Its block map.
    pub block_map: Option<BlockMapBody>,
    /// Where else it can be fetched.
    pub urls: Vec<String>,
}

impl From<FileRecord> for FileView {
    fn from(file: FileRecord) -> Self {
        Self {
            name: file.name.into(),
            revision: file.revision.into(),
            target: file.target.into(),
            size: file.size.0,
            sha256: file.digest.to_string(),
            integrity: file.integrity.into_iter().map(Into::into).collect(),
            block_map: file.block_map.map(|map| BlockMapBody {
                unit: map.unit,
                size: map.size.0,
                sha256: map.digest.to_string(),
            }),
            urls: file.urls.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<(ReleaseId, ReleaseRecord)> for ReleaseView {
    fn from((id, record): (ReleaseId, ReleaseRecord)) -> Self {
        Self {
            id: id.to_string(),
            product: record.product.into(),
            package: record.package.into(),
            version: record.version.0,
            status: word(&record.status),
            author: record.author.into(),
            created: Time(record.created),
            hardware: record.hardware.into_iter().map(Into::into).collect(),
            epoch: record.epoch.0,
            requirements: record.requirements.into_iter().map(Into::into).collect(),
            files: record.files.into_iter().map(Into::into).collect(),
            expires: Time(record.expires),
            security: record.security,
            notes: record.notes.map(Into::into),
            body_bytes: record.body_size,
            withdrawn: record.withdrawn.map(Into::into),
        }
    }
}
