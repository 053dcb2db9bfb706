//! Releases: from a draft to a fixed body, to enough signatures, to the day it is withdrawn.
//!
//! Once its body is fixed nothing about a release changes but its signatures and whether it is withdrawn: its identity
//! *is* the SHA-256 of the body. Before it counts as signed, the signatures are checked as a device would.

use ota_core::block_map::BlockMapError;
use ota_core::crypto::soft::{EcdsaP256, Ed25519, SoftSha256};
use ota_core::crypto::{Either, SignatureVerifier};
use ota_core::fleet::records::{
    BlockMapRecord, FileRecord, Hosting, ReleaseRecord, ReleaseStatus, RequirementRecord,
};
use ota_core::integrity::{IntegrityString, IntegrityStrings, Strength};
use ota_core::limits;
use ota_core::list::List;
use ota_core::number::{PackageVersion, ReleaseId, SecurityEpoch, Sha256Digest};
use ota_core::text::{
    FileNameBuf, HardwareRevision, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf,
    RevisionBuf, Url, UrlBuf,
};
use ota_core::time::Timestamp;
use ota_core::trust::{
    BlockMapRef, BuildError, EpochRaise, File, HashedBody, Key, Release, ReleaseKind, Requirement, Role,
    SignatureCheck, SignedBody, TrustError, TrustedRoot,
};

/// What checks signatures on a server: both schemes, in software.
pub type Verifier = Either<Ed25519, EcdsaP256>;

/// Why a release cannot be made, fixed, signed or withdrawn. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It is no draft any more.
    #[error("only a draft can be changed; make a new release")]
    NotADraft,
    /// Its body is not fixed.
    #[error("the release's body is not fixed; fix it before signing")]
    NotFixed,
    /// It has no files, too many, or one twice.
    #[error("a release has 1 to 1024 files, each name once")]
    Files,
    /// It names no hardware revision.
    #[error("a release names 1 to 64 hardware revisions")]
    Hardware,
    /// It has too many requirements.
    #[error("a release has at most 64 requirements")]
    Requirements,
    /// Its expiry lies in the past.
    #[error("the release's expiry lies in the past; give a later one")]
    Expired,
    /// A file and revision already stand for other content.
    #[error("{file} in revision {revision} already names other content; give the file a new revision")]
    RevisionTaken {
        /// The file.
        file: FileNameBuf,
        /// The revision.
        revision: RevisionBuf,
    },
    /// The content of a file is not in the store.
    #[error("the content of {0} has not been uploaded")]
    NotUploaded(FileNameBuf),
    /// A file that another host keeps has no URL, or one that is kept here is not here.
    #[error("{0} is kept elsewhere and has no URL")]
    NoUrl(FileNameBuf),
    /// An integrity string is not one, comes twice, or is not that of the content.
    #[error("an integrity string of {file} is wrong: {why}")]
    Integrity {
        /// The file.
        file: FileNameBuf,
        /// What is wrong.
        why: Box<str>,
    },
    /// A block map is not that of the content, or there is no content here that it could be of.
    #[error("the block map of {0} is not that of its content here; take what the upload answered, or none")]
    BlockMap(FileNameBuf),
    /// No block map can have such units.
    #[error("a block map cannot be made")]
    Unit(#[from] BlockMapError),
    /// The body could not be made.
    #[error("the release's body cannot be made")]
    Build(#[from] BuildError),
    /// A signature, or the set of them, is not good.
    #[error("the signatures are not good")]
    Trust(#[from] TrustError),
    /// The product has no root, so nobody can sign.
    #[error("the product has no root; bring its first root")]
    NoRoot,
}

/// What somebody wants a release to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseDraft {
    /// The product.
    pub product: ProductIdBuf,
    /// The package.
    pub package: PackageNameBuf,
    /// The version; `None` for the product's next.
    pub version: Option<PackageVersion>,
    /// The hardware revisions it runs on.
    pub hardware: Vec<HardwareRevisionBuf>,
    /// Its security epoch.
    pub epoch: SecurityEpoch,
    /// What must be installed before it.
    pub requirements: Vec<RequirementRecord>,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// When it may no longer be installed.
    pub expires: Timestamp,
    /// Whether it closes a security hole.
    pub security: bool,
    /// Where people read what changed.
    pub notes: Option<UrlBuf>,
    /// The digest of its software bill of materials.
    pub sbom: Option<Sha256Digest>,
}

/// What is known of uploaded content: computed by the server itself while the bytes went by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its SHA-256: what it is stored under.
    pub digest: Sha256Digest,
    /// Its length.
    pub size: u64,
    /// Its checksum and hashes, weakest first.
    pub integrity: Vec<IntegrityString>,
    /// Its block map, if one was made.
    pub block_map: Option<BlockMapRecord>,
}

impl Uploaded {
    /// A file of a release with this content. `given` are integrity strings that the uploader brought along: hashes
    /// must be those of the content; signatures are added to the computed ones.
    ///
    /// # Errors
    /// [`ReleaseError::Integrity`] if one is not the content's.
    pub fn file(
        &self,
        name: FileNameBuf,
        revision: RevisionBuf,
        target: InstallTargetBuf,
        given: &[&str],
    ) -> Result<FileRecord, ReleaseError> {
        let wrong = |why: String| ReleaseError::Integrity { file: name.clone(), why: why.into() };
        let mut integrity = self.integrity.clone();
        // No string at all is an error to the parser, and here only means that the uploader leaves it to us.
        let strings = if given.is_empty() {
            IntegrityStrings::empty()
        } else {
            IntegrityStrings::parse(given.iter().copied()).map_err(|error| wrong(error.to_string()))?
        };
        for string in strings.as_slice() {
            match self.integrity.iter().find(|known| known.algorithm() == string.algorithm()) {
                Some(known) if known != string => {
                    return Err(wrong(format!("the content has {known}, not {string}")));
                }
                Some(_) => {}
                None => integrity.push(*string),
            }
        }
        integrity.sort_by_key(IntegrityString::algorithm);
        Ok(FileRecord {
            name,
            revision,
            size: ota_core::number::ByteLength(self.size),
            target,
            digest: self.digest,
            integrity: integrity.iter().map(|string| string.to_string().into()).collect(),
            block_map: self.block_map,
            urls: Vec::new(),
            hosting: Hosting::Here,
        })
    }
}

/// Whether the checksums and hashes that a file claims are among those that were computed; signatures are left to whoever
/// signs the release, and to devices.
///
/// # Errors
/// [`ReleaseError::Integrity`] for the first that is not, and for a string that is none.
pub fn check_strings(file: &FileRecord, computed: &[Box<str>]) -> Result<(), ReleaseError> {
    let wrong = |why: String| ReleaseError::Integrity { file: file.name.clone(), why: why.into() };
    let strings = IntegrityStrings::parse(file.integrity.iter().map(|string| &**string))
        .map_err(|error| wrong(error.to_string()))?;
    for string in strings.as_slice() {
        let text = string.to_string();
        let is_computed = string.algorithm().strength() != Strength::Signature;
        if is_computed && !computed.iter().any(|known| **known == text) {
            return Err(wrong(format!("the content here does not have {text}")));
        }
    }
    Ok(())
}

/// A file that another host keeps: what is known of it is what the uploader brings along.
///
/// # Errors
/// [`ReleaseError::NoUrl`] without a URL; [`ReleaseError::Integrity`] without a SHA-256, which it is recognised by when
/// the server fetches it.
pub fn kept_elsewhere(
    name: FileNameBuf,
    revision: RevisionBuf,
    target: InstallTargetBuf,
    size: u64,
    given: &[&str],
    urls: Vec<UrlBuf>,
) -> Result<FileRecord, ReleaseError> {
    if urls.is_empty() {
        return Err(ReleaseError::NoUrl(name));
    }
    let strings = match IntegrityStrings::parse(given.iter().copied()) {
        Ok(strings) => strings,
        Err(error) => return Err(ReleaseError::Integrity { file: name, why: error.to_string().into() }),
    };
    let sha256 = strings.as_slice().iter().find_map(|string| match string {
        IntegrityString::Sha256(digest) => Some(Sha256Digest(*digest)),
        _ => None,
    });
    let Some(digest) = sha256 else {
        return Err(ReleaseError::Integrity {
            file: name,
            why: "a file kept elsewhere needs its sha2-256".into(),
        });
    };
    let mut integrity: Vec<IntegrityString> = strings.as_slice().to_vec();
    integrity.sort_by_key(IntegrityString::algorithm);
    Ok(FileRecord {
        name,
        revision,
        size: ota_core::number::ByteLength(size),
        target,
        digest,
        integrity: integrity.iter().map(|string| string.to_string().into()).collect(),
        block_map: None,
        urls,
        hosting: Hosting::Elsewhere,
    })
}

/// A draft as it is kept.
///
/// # Errors
/// [`ReleaseError`], the first thing that is wrong.
pub fn draft(
    draft: ReleaseDraft,
    next_version: PackageVersion,
    author: &str,
    now: Timestamp,
) -> Result<ReleaseRecord, ReleaseError> {
    if draft.files.is_empty() || draft.files.len() > limits::FILES_MAX {
        return Err(ReleaseError::Files);
    }
    let mut names: Vec<&FileNameBuf> = draft.files.iter().map(|file| &file.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(ReleaseError::Files);
    }
    if let Some(file) =
        draft.files.iter().find(|file| file.hosting == Hosting::Elsewhere && file.urls.is_empty())
    {
        return Err(ReleaseError::NoUrl(file.name.clone()));
    }
    let mut hardware = draft.hardware;
    hardware.sort_unstable();
    hardware.dedup();
    if hardware.is_empty() || hardware.len() > limits::HARDWARE_REVISIONS_MAX {
        return Err(ReleaseError::Hardware);
    }
    if draft.requirements.len() > limits::REQUIREMENTS_MAX {
        return Err(ReleaseError::Requirements);
    }
    if draft.expires <= now {
        return Err(ReleaseError::Expired);
    }
    Ok(ReleaseRecord {
        product: draft.product,
        package: draft.package,
        version: draft.version.unwrap_or(next_version),
        status: ReleaseStatus::Draft,
        author: author.into(),
        created: now,
        hardware,
        epoch: draft.epoch,
        requirements: draft.requirements,
        files: draft.files,
        expires: draft.expires,
        security: draft.security,
        notes: draft.notes,
        sbom: draft.sbom,
        body_size: 0,
        envelope: Vec::new(),
        withdrawn: None,
    })
}

/// All texts of a release that devices tell and overviews count: they are interned when its body is fixed.
pub fn texts(record: &ReleaseRecord) -> impl Iterator<Item = &str> {
    let required = record.requirements.iter().filter_map(|requirement| match requirement {
        RequirementRecord::FileRevision { file, revision } => Some([file.as_str(), revision.as_str()]),
        RequirementRecord::EpochAtLeast { .. } => None,
    });
    record
        .files
        .iter()
        .flat_map(|file| [file.name.as_str(), file.revision.as_str()])
        .chain(record.hardware.iter().map(HardwareRevisionBuf::as_str))
        .chain(required.flatten())
}

/// Fixes the body of a draft: what will be signed, and the release's identity.
///
/// # Errors
/// [`ReleaseError`] if it is no draft, or no device would read the body.
pub fn fixed(
    record: &ReleaseRecord,
    raise: EpochRaise,
) -> Result<(ReleaseId, ReleaseRecord, SignedBody), ReleaseError> {
    if record.status != ReleaseStatus::Draft {
        return Err(ReleaseError::NotADraft);
    }
    let body = build(record, raise)?;
    let id = ReleaseId(HashedBody::hash::<SoftSha256>(body.body()).digest().0);
    let body_size = u32::try_from(body.body().len()).map_err(|_| TrustError::TooLarge)?;
    Ok((id, ReleaseRecord { status: ReleaseStatus::Fixed, body_size, ..record.clone() }, body))
}

fn build(record: &ReleaseRecord, raise: EpochRaise) -> Result<SignedBody, ReleaseError> {
    let hardware: Vec<HardwareRevision<'_>> =
        record.hardware.iter().map(HardwareRevisionBuf::borrow).collect();
    let requirements: Vec<Requirement<'_>> = record
        .requirements
        .iter()
        .map(|requirement| match requirement {
            RequirementRecord::FileRevision { file, revision } => {
                Requirement::FileRevision { file: file.borrow(), revision: revision.borrow() }
            }
            RequirementRecord::EpochAtLeast { epoch } => Requirement::EpochAtLeast(*epoch),
        })
        .collect();
    let strings: Vec<IntegrityStrings> = record
        .files
        .iter()
        .map(|file| {
            IntegrityStrings::parse(file.integrity.iter().map(|text| &**text)).map_err(|error| {
                ReleaseError::Integrity { file: file.name.clone(), why: error.to_string().into() }
            })
        })
        .collect::<Result<_, _>>()?;
    let urls: Vec<Vec<Url<'_>>> =
        record.files.iter().map(|file| file.urls.iter().map(UrlBuf::borrow).collect()).collect();
    let files: Vec<File<'_>> = record
        .files
        .iter()
        .zip(&strings)
        .zip(&urls)
        .map(|((file, strings), urls)| File {
            name: file.name.borrow(),
            revision: file.revision.borrow(),
            size: file.size,
            target: file.target.borrow(),
            integrity: strings.as_list(),
            block_map: file.block_map.map(|map| BlockMapRef {
                unit: map.unit,
                size: map.size,
                digest: map.digest,
            }),
            urls: List::from_slice(urls),
        })
        .collect();
    let release = Release {
        product: record.product.borrow(),
        hardware: List::from_slice(&hardware),
        package: record.package.borrow(),
        version: record.version,
        epoch: record.epoch,
        requirements: List::from_slice(&requirements),
        files: List::from_slice(&files),
        expires: record.expires,
        kind: if record.security { ReleaseKind::Security } else { ReleaseKind::Feature },
        notes: record.notes.as_ref().map(UrlBuf::borrow),
        sbom: record.sbom,
    };
    Ok(SignedBody::release::<SoftSha256>(&release, raise)?)
}

/// What signatures have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signatures {
    /// Enough: the release is signed.
    Enough(ReleaseRecord),
    /// More are needed.
    Partly(ReleaseRecord),
}

/// Takes the signatures of an envelope in, whoever made them and wherever, and checks them as a device would.
///
/// # Errors
/// [`ReleaseError`] if the body is not fixed, a signature is wrong or made by a key without the role.
pub fn with_signatures(
    record: &ReleaseRecord,
    body: Vec<u8>,
    envelope: &[u8],
    root: &TrustedRoot<'_>,
) -> Result<Signatures, ReleaseError> {
    if !matches!(record.status, ReleaseStatus::Fixed | ReleaseStatus::Signed) {
        return Err(ReleaseError::NotFixed);
    }
    let verifier = Verifier::default();
    let ids = root.root().role(Role::Release).keys;
    let keys = ids.iter().filter_map(|id| root.key(Role::Release, id));
    let mut collected = SignedBody::release_from_body::<SoftSha256>(body)?;
    if !record.envelope.is_empty() {
        collected.import_envelope::<SoftSha256>(&record.envelope, keys.clone(), &verifier)?;
    }
    collected.import_envelope::<SoftSha256>(envelope, keys, &verifier)?;
    let mut next = ReleaseRecord { envelope: collected.envelope()?, ..record.clone() };
    match is_signed(&next.envelope, collected.body(), root, &verifier) {
        Ok(()) => {
            next.status = ReleaseStatus::Signed;
            Ok(Signatures::Enough(next))
        }
        Err(TrustError::TooFewSignatures { .. }) => Ok(Signatures::Partly(next)),
        Err(error) => Err(error.into()),
    }
}

fn is_signed(
    envelope: &[u8],
    body: &[u8],
    root: &TrustedRoot<'_>,
    verifier: &impl SignatureVerifier,
) -> Result<(), TrustError> {
    let body = HashedBody::hash::<SoftSha256>(body);
    SignatureCheck::begin(root, envelope, body)?.verify_all(verifier).map(|_| ())
}

/// It is offered to nobody any more.
///
/// # Errors
/// [`ReleaseError::NotFixed`] for a draft: that is removed, not withdrawn.
pub fn withdrawn(record: &ReleaseRecord, reason: &str) -> Result<ReleaseRecord, ReleaseError> {
    match record.status {
        ReleaseStatus::Draft => Err(ReleaseError::NotFixed),
        _ => Ok(ReleaseRecord {
            status: ReleaseStatus::Withdrawn,
            withdrawn: Some(reason.into()),
            ..record.clone()
        }),
    }
}

/// A key of the root with this role, for a signer that must be the expected one.
#[must_use]
pub fn expected_key<'r>(root: &'r TrustedRoot<'_>, role: Role, public: &[u8]) -> Option<Key<'r>> {
    let keys = root.root().role(role).keys;
    keys.iter().filter_map(|id| root.key(role, id)).find(|key| key.public == public)
}
