//! Numbers, identities, texts and integrity strings.

use super::{Choices, Generate};
use crate::integrity::{Algorithm, IntegrityString, IntegrityStrings, Strength};
use crate::limits::{
    DETAIL_BYTES_MAX, DEVICE_ID_BYTES_MAX, FILE_NAME_BYTES_MAX, FILE_NAME_COMPONENTS_MAX, FILES_MAX,
    NAME_BYTES_MAX, REVISION_BYTES_MAX, URL_BYTES_MAX,
};
use crate::number::{
    BootCounter, ByteLength, ByteOffset, CampaignId, FileIndex, Generation, KeyId, Nonce, OfferId,
    PackageVersion, ReleaseId, ReportSequence, RootVersion, SecurityEpoch, Sha256Digest, UnitIndex,
};
use crate::text::{
    DetailBuf, DeviceIdBuf, FileNameBuf, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf,
    RevisionBuf, UrlBuf,
};
use crate::time::{Instant, Millis, Timestamp};

macro_rules! drawn {
    ($($type:ident $draw:ident)*) => {
        $(impl Generate for $type {
            fn generate(choices: &mut Choices<'_>) -> Self {
                Self(choices.$draw())
            }
        })*
    };
}

drawn! {
    RootVersion u32 Generation u32 SecurityEpoch u32 PackageVersion u64 UnitIndex u32 ReportSequence u32
    BootCounter u32 ByteOffset u64 ByteLength u64 CampaignId u64 Timestamp u64 Instant u64 Millis u64
    KeyId array OfferId array ReleaseId array Sha256Digest array Nonce array
}

impl Generate for FileIndex {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self(choices.up_to(FILES_MAX as u64 - 1) as u16)
    }
}

/// Characters of names; those that may begin one come first.
const NAME: &str = "abcXYZ019_-.";
const NAME_START: &str = "abcXYZ019_-";
/// One, two, three and four bytes of UTF-8, and what programs like to trip over.
const FREE: &str = "a1 .-'\"\\%{}\u{e4}\u{df}\u{4e2d}\u{1f680}\u{301}\u{feff}";

fn name(choices: &mut Choices<'_>, bytes_max: usize) -> String {
    let mut name = choices.text(NAME_START, 1, 1);
    name.push_str(&choices.text(NAME, 0, bytes_max - 1));
    name
}

/// Free text of at most this many bytes; longer characters leave a byte or two unused.
fn free(choices: &mut Choices<'_>, alphabet: &str, min: usize, bytes_max: usize) -> String {
    let mut text = choices.text(alphabet, min, bytes_max);
    while text.len() > bytes_max {
        text.pop();
    }
    text
}

macro_rules! texts {
    ($($type:ident $make:expr;)*) => {
        $(impl Generate for $type {
            fn generate(choices: &mut Choices<'_>) -> Self {
                let make: fn(&mut Choices<'_>) -> String = $make;
                Self::new(make(choices)).expect("the generator keeps to the rules of the text")
            }
        })*
    };
}

texts! {
    ProductIdBuf |choices| name(choices, NAME_BYTES_MAX);
    PackageNameBuf |choices| name(choices, NAME_BYTES_MAX);
    HardwareRevisionBuf |choices| name(choices, NAME_BYTES_MAX);
    InstallTargetBuf |choices| name(choices, NAME_BYTES_MAX);
    FileNameBuf file_name;
    DeviceIdBuf |choices| free(choices, &[FREE, ":$"].concat(), 1, DEVICE_ID_BYTES_MAX);
    RevisionBuf |choices| free(choices, &[FREE, "+#/"].concat(), 1, REVISION_BYTES_MAX);
    DetailBuf |choices| free(choices, &[FREE, "+#/"].concat(), 0, DETAIL_BYTES_MAX);
    UrlBuf |choices| free(choices, "a:/?#[]@!$&'()*+,;=%\"<>~", 1, URL_BYTES_MAX);
}

fn file_name(choices: &mut Choices<'_>) -> String {
    let components = choices.list(1, FILE_NAME_COMPONENTS_MAX, |choices| name(choices, 12));
    let mut path = components.join("/");
    // Cutting off the end can leave a separator there.
    path.truncate(FILE_NAME_BYTES_MAX);
    path.trim_end_matches('/').to_owned()
}

impl Generate for Algorithm {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&Self::ALL)
    }
}

impl Generate for Strength {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&[Self::Checksum, Self::Hash, Self::Signature])
    }
}

impl Generate for IntegrityString {
    fn generate(choices: &mut Choices<'_>) -> Self {
        match Algorithm::generate(choices) {
            Algorithm::Crc32 => Self::Crc32(choices.array()),
            Algorithm::Sha256 => Self::Sha256(choices.array()),
            Algorithm::Sha3_256 => Self::Sha3_256(choices.array()),
            Algorithm::Sha512 => Self::Sha512(choices.array()),
            Algorithm::Sha3_512 => Self::Sha3_512(choices.array()),
            Algorithm::EcdsaP256 => {
                Self::EcdsaP256 { key: KeyId(choices.array()), signature: choices.array() }
            }
            Algorithm::Ed25519 => Self::Ed25519 { key: KeyId(choices.array()), signature: choices.array() },
        }
    }
}

impl Generate for IntegrityStrings {
    fn generate(choices: &mut Choices<'_>) -> Self {
        let mut strings = Self::empty();
        for string in choices.list(1, 7, IntegrityString::generate) {
            // A second string of an algorithm is left out.
            let _ = strings.insert(string);
        }
        strings
    }
}
