//! Checking a file while its bytes stream by. There is no way to begin without a string to check by, and no way
//! to a [`VerifiedFile`] but through [`FileCheck::finish`].

use super::{Algorithm, Digests, FileSubject, IntegrityError, IntegrityString, Strength, Suite};
use crate::crypto::{Hasher, SignatureVerifier};
use crate::limits::FILE_STATEMENT_BYTES_MAX;
use crate::list::List;
use crate::number::{ByteLength, FileIndex, KeyId, Sha256Digest};
use crate::trust::Key;
use crate::wire::AlgorithmSet;

/// The string that a file is checked by: the strongest that can be computed with these algorithms.
///
/// There is no second choice. Should the strongest fail, the file is refused.
///
/// # Errors
/// [`IntegrityError::Missing`] without any string, [`IntegrityError::NotComputable`] without one that can be
/// computed, [`IntegrityError::TooWeak`] if the strongest promises less than `strength_min`.
pub fn strongest(
    strings: List<'_, IntegrityString>,
    algorithms: AlgorithmSet,
    strength_min: Strength,
) -> Result<IntegrityString, IntegrityError> {
    if strings.is_empty() {
        return Err(IntegrityError::Missing);
    }
    let mut chosen: Option<IntegrityString> = None;
    for string in strings.iter().filter(|string| algorithms.contains(string.algorithm())) {
        if chosen.is_none_or(|chosen| string.algorithm() >= chosen.algorithm()) {
            chosen = Some(string);
        }
    }
    let chosen = chosen.ok_or(IntegrityError::NotComputable)?;
    let strongest = chosen.algorithm().strength();
    if strongest < strength_min {
        return Err(IntegrityError::TooWeak { strongest, strength_min });
    }
    Ok(chosen)
}

/// A file under check: give it the bytes in order, in pieces of any size, then finish.
///
/// It owns what it needs, so it outlives the buffer that the release was read from, and it is as large as the two
/// hashers that run.
pub struct FileCheck<S: Suite> {
    expected: IntegrityString,
    strength_min: Strength,
    index: FileIndex,
    size: ByteLength,
    /// How many bytes came; never more than `size`.
    seen: ByteLength,
    sha256: S::Sha256,
    /// Runs only when the string is of another hash than SHA-256.
    other: Option<<S::Others as Digests>::Running>,
}

impl<S: Suite> FileCheck<S> {
    /// Begins to check a file by the strongest of its strings that the suite can compute.
    ///
    /// # Errors
    /// As [`strongest`], before a single byte is fetched.
    pub fn begin(subject: &FileSubject<'_>, strength_min: Strength) -> Result<Self, IntegrityError> {
        let file = subject.file();
        let expected = strongest(file.integrity, S::algorithms(), strength_min)?;
        let algorithm = expected.algorithm();
        let other = S::Others::start(algorithm);
        // Signatures cover the SHA-256, and SHA-256 runs anyway; every other digest needs its hasher to run.
        let runs = algorithm.signature().is_some() || algorithm == Algorithm::Sha256 || other.is_some();
        if !runs {
            return Err(IntegrityError::NotComputable);
        }
        Ok(Self {
            expected,
            strength_min,
            index: subject.index(),
            size: file.size,
            seen: ByteLength(0),
            sha256: S::Sha256::new(),
            other,
        })
    }

    /// The string that the file is checked by.
    #[must_use]
    pub const fn expected(&self) -> &IntegrityString {
        &self.expected
    }

    /// How many bytes came so far.
    #[must_use]
    pub const fn seen(&self) -> ByteLength {
        self.seen
    }

    /// Adds the next bytes of the file.
    ///
    /// # Errors
    /// [`IntegrityError::TooLong`] if they reach past the file's end. None of them is taken then.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), IntegrityError> {
        let too_long = IntegrityError::TooLong { size: self.size };
        let length = u64::try_from(bytes.len()).map_err(|_| too_long)?;
        let seen = self.seen.0.checked_add(length).filter(|seen| *seen <= self.size.0).ok_or(too_long)?;
        self.seen = ByteLength(seen);
        self.sha256.update(bytes);
        if let Some(other) = &mut self.other {
            S::Others::update(other, bytes);
        }
        Ok(())
    }

    /// Compares what came with what the release says, verifying one signature at most.
    ///
    /// `subject` is the file that the check was begun for, read again from the verified release. `file_key` finds
    /// a key of the `file` role in the trusted root, and is asked only if the string is a signature.
    ///
    /// # Errors
    /// [`IntegrityError`] if the bytes are too few or not the file's, the key is not known or of another scheme,
    /// the signature does not verify, or `subject` is another file.
    pub fn finish<'k>(
        self,
        subject: &FileSubject<'_>,
        file_key: impl FnOnce(KeyId) -> Option<Key<'k>>,
        verifier: &S::Verifier,
    ) -> Result<VerifiedFile, IntegrityError> {
        let file = subject.file();
        let is_same = self.index == subject.index()
            && self.size == file.size
            && strongest(file.integrity, S::algorithms(), self.strength_min) == Ok(self.expected);
        if !is_same {
            return Err(IntegrityError::OtherFile);
        }
        if self.seen < self.size {
            return Err(IntegrityError::TooShort { found: self.seen, size: self.size });
        }
        let algorithm = self.expected.algorithm();
        let mismatch = IntegrityError::Mismatch(algorithm);
        let sha256 = Sha256Digest(self.sha256.finish());
        match self.expected {
            IntegrityString::Sha256(expected) if expected == sha256.0 => {}
            IntegrityString::Sha256(_) => return Err(mismatch),
            IntegrityString::Ed25519 { key, signature } | IntegrityString::EcdsaP256 { key, signature } => {
                let key = Signed { id: key, key: file_key(key), algorithm, signature };
                key.verify(subject, &sha256, verifier)?;
            }
            IntegrityString::Crc32(_)
            | IntegrityString::Sha3_256(_)
            | IntegrityString::Sha512(_)
            | IntegrityString::Sha3_512(_) => {
                let other = self.other.ok_or(IntegrityError::NotComputable)?;
                if !S::Others::matches(other, &self.expected) {
                    return Err(mismatch);
                }
            }
        }
        Ok(VerifiedFile { index: self.index, size: self.size, sha256, algorithm })
    }
}

impl<S: Suite> core::fmt::Debug for FileCheck<S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FileCheck")
            .field("index", &self.index)
            .field("expected", &self.expected)
            .field("seen", &self.seen)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A signature over a file and the key that it must be verified with.
struct Signed<'k> {
    id: KeyId,
    key: Option<Key<'k>>,
    algorithm: Algorithm,
    signature: [u8; 64],
}

impl Signed<'_> {
    fn verify(
        &self,
        subject: &FileSubject<'_>,
        sha256: &Sha256Digest,
        verifier: &impl SignatureVerifier,
    ) -> Result<(), IntegrityError> {
        let key = self.key.ok_or(IntegrityError::UnknownKey(self.id))?;
        // The root fixes the scheme of each key; the string only has to agree.
        if Some(key.algorithm) != self.algorithm.signature() {
            return Err(IntegrityError::WrongScheme(self.id));
        }
        let mut buffer = [0; FILE_STATEMENT_BYTES_MAX];
        let statement = subject.statement(sha256, &mut buffer).map_err(|_| IntegrityError::Statement)?;
        verifier
            .verify(key.algorithm, key.public, statement, &self.signature)
            .map_err(IntegrityError::Signature)
    }
}

/// Receipt: the bytes of this file of the release were checked, all of them, and are what the release says.
///
/// Only [`FileCheck::finish`] makes one. Whoever acts on the file later compares what he acts on with
/// [`sha256`](Self::sha256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifiedFile {
    index: FileIndex,
    size: ByteLength,
    sha256: Sha256Digest,
    algorithm: Algorithm,
}

impl VerifiedFile {
    /// The file's position in the release.
    #[must_use]
    pub const fn index(&self) -> FileIndex {
        self.index
    }

    /// How many bytes were checked.
    #[must_use]
    pub const fn size(&self) -> ByteLength {
        self.size
    }

    /// The SHA-256 of the bytes, whatever they were checked by.
    #[must_use]
    pub const fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    /// What they were checked by.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
