//! Devices: registration, tags, what is installed, when they were heard.
//!
//! A device's record stays small: names and revisions that were released are numbers, and only what was never
//! released is kept as text, within a limit.

use ota_core::fleet::records::{ClaimedFile, Credential, Device, DeviceStatus, Installed};
use ota_core::limits::NAME_BYTES_MAX;
use ota_core::number::Sha256Digest;
use ota_core::text::{DeviceIdBuf, FileNameBuf, ProductIdBuf, RevisionBuf};
use ota_core::time::Timestamp;

use super::view::Names;
use crate::digest::sha256;

/// Most tags of a device.
pub const TAGS_MAX: usize = 32;
/// Most files of a device whose name or revision was never released.
pub const CLAIMED_MAX: usize = 64;

/// Fewest bytes of a device's password. It is made by a machine and kept as one round of SHA-256, which protects only
/// what nobody can guess.
pub const PASSWORD_BYTES_MIN: usize = 16;
/// What the hash of a password begins with, so that it can be no other hash.
const PASSWORD_CONTEXT: &[u8] = b"ota/v1/device-password/";

/// The password is shorter than [`PASSWORD_BYTES_MIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a device's password has at least 16 bytes, made at random")]
pub struct PasswordError;

/// How a device's password is kept.
///
/// # Errors
/// [`PasswordError`] if it is short.
pub fn keep_password(password: &[u8], salt: [u8; 16]) -> Result<Credential, PasswordError> {
    if password.len() < PASSWORD_BYTES_MIN {
        return Err(PasswordError);
    }
    let hash = Sha256Digest(sha256(&[PASSWORD_CONTEXT, &salt, password]));
    Ok(Credential::Password { salt: salt.to_vec(), hash })
}

/// Whether this is the password of a device; never for one that has none.
#[must_use]
pub fn is_password(device: &Device, password: &[u8]) -> bool {
    match &device.credential {
        // What the time of comparing tells is about the hash, not about the password.
        Some(Credential::Password { salt, hash }) => hash.0 == sha256(&[PASSWORD_CONTEXT, salt, password]),
        _ => false,
    }
}

/// Whether a verified client certificate with this name in it is this device's, as it was registered. Without a word about
/// that, it is the one with the device's own id in it; with a word, no other certificate is, whoever issued it.
#[must_use]
pub fn is_certificate(
    id: &DeviceIdBuf,
    device: &Device,
    name: &str,
    fingerprint: Option<&Sha256Digest>,
) -> bool {
    match &device.credential {
        None => name == id.as_str(),
        Some(Credential::Certificate { name: wanted }) => name == &**wanted,
        Some(Credential::Fingerprints { sha256 }) => fingerprint.is_some_and(|shown| sha256.contains(shown)),
        Some(_) => false,
    }
}

/// Why a tag was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// It is empty or too long.
    #[error("a tag has 1 to 64 bytes")]
    Length,
    /// It has characters that expressions could not name.
    #[error("a tag is made of letters, digits and . _ - : / + = only")]
    Character,
    /// There are too many.
    #[error("a device has at most 32 tags")]
    TooMany,
    /// A zone is none of the IANA database.
    #[error("zone= names an IANA time zone")]
    Zone,
}

/// A new device of a product.
#[must_use]
pub fn registered(
    id: &DeviceIdBuf,
    product: ProductIdBuf,
    ordinal: u64,
    tags: Vec<Box<str>>,
    now: Timestamp,
) -> Device {
    Device {
        product,
        ordinal,
        bucket: Device::bucket_of(id),
        registered: now,
        heard: Timestamp(0),
        status: DeviceStatus::Active,
        hardware: 0,
        installed: Vec::new(),
        tags,
        attempt: None,
        epoch: None,
        dialect: None,
        credential: None,
        claimed: None,
        failures: None,
        claimed_hardware: None,
        metadata_bytes_max: None,
        evidence_key: None,
        evidence_seen: None,
        waits_with: None,
        pinned: None,
    }
}

/// Tags as they are kept: checked, sorted, each once.
///
/// # Errors
/// [`TagError`].
pub fn tags<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Vec<Box<str>>, TagError> {
    let mut tags = Vec::new();
    for text in texts {
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return Err(TagError::Length);
        }
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || "._-:/+=".contains(c)) {
            return Err(TagError::Character);
        }
        if text.strip_prefix("zone=").is_some_and(|zone| jiff::tz::TimeZone::get(zone).is_err()) {
            return Err(TagError::Zone);
        }
        tags.push(Box::from(text));
    }
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > TAGS_MAX { Err(TagError::TooMany) } else { Ok(tags) }
}

/// The value of a device's tag `key=value`.
#[must_use]
pub fn tag_value<'d>(device: &'d Device, key: &str) -> Option<&'d str> {
    device.tags.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
}

/// What a device has, as it tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// What has been released.
    pub installed: Vec<Installed>,
    /// What has not.
    pub claimed: Vec<ClaimedFile>,
}

/// Sorts what a device tells into what was released and what was not.
///
/// Nothing is interned here: otherwise devices could fill the store with texts of their own.
#[must_use]
pub fn inventory(items: &[(FileNameBuf, RevisionBuf)], names: &Names) -> Inventory {
    let mut inventory = Inventory::default();
    for (file, revision) in items {
        let numbers = (names.number(file.as_str()), names.number(revision.as_str()));
        let (file_number, revision_number) = numbers;
        if file_number != 0 {
            inventory.installed.push(Installed { file: file_number, revision: revision_number });
        }
        if (file_number == 0 || revision_number == 0) && inventory.claimed.len() < CLAIMED_MAX {
            inventory.claimed.push(ClaimedFile { file: file.clone(), revision: revision.clone() });
        }
    }
    inventory.installed.sort_unstable_by_key(|installed| installed.file);
    inventory
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A device with these tags.
    pub(crate) fn device(tags: &[&str]) -> Device {
        let id = DeviceIdBuf::new("device-1").unwrap();
        let tags = super::tags(tags.iter().copied()).unwrap();
        registered(&id, ProductIdBuf::new("lamp").unwrap(), 1, tags, Timestamp(1))
    }

    #[test]
    fn a_password_is_known_by_its_hash_and_a_short_one_is_refused() {
        let password = b"Zk2vXw8s1Qn5Tb7Lr4Yd";
        assert_eq!(keep_password(&password[..15], [1; 16]), Err(PasswordError));
        let (one, other) =
            (keep_password(password, [1; 16]).unwrap(), keep_password(password, [2; 16]).unwrap());
        assert_ne!(one, other, "the salt is part of it");
        for credential in [one, other] {
            let device = Device { credential: Some(credential), ..device(&[]) };
            assert!(is_password(&device, password));
            assert!(!is_password(&device, &password[..19]));
            assert!(!is_password(&device, b""));
        }
        assert!(!is_password(&device(&[]), b""), "who has no password has none that is empty");
        let named = Credential::Certificate { name: "lamp".into() };
        assert!(!is_password(&Device { credential: Some(named), ..device(&[]) }, b""));
    }

    #[test]
    fn a_certificate_is_a_devices_by_its_id_or_by_what_was_registered_and_then_by_nothing_else() {
        let id = DeviceIdBuf::new("device-1").unwrap();
        let (one, two) = (Sha256Digest([1; 32]), Sha256Digest([2; 32]));
        let is_it = |credential: Option<Credential>, name: &str, shown: Option<&Sha256Digest>| {
            is_certificate(&id, &Device { credential, ..device(&[]) }, name, shown)
        };
        assert!(is_it(None, "device-1", None) && !is_it(None, "device-2", Some(&one)));
        let named = || Some(Credential::Certificate { name: "serial 7".into() });
        assert!(is_it(named(), "serial 7", None));
        assert!(!is_it(named(), "device-1", None), "its id is not what was registered");
        let pinned = || Some(Credential::Fingerprints { sha256: vec![one] });
        assert!(is_it(pinned(), "any name", Some(&one)));
        assert!(!is_it(pinned(), "device-1", Some(&two)) && !is_it(pinned(), "device-1", None));
        let password = || keep_password(&[7; PASSWORD_BYTES_MIN], [0; 16]).ok();
        assert!(!is_it(password(), "device-1", Some(&one)), "who was given a password shows that");
    }

    #[test]
    fn tags_are_sorted_and_each_is_kept_once() {
        assert_eq!(tags(["b", "a", "b"]).unwrap(), ["a".into(), Box::from("b")]);
        assert_eq!(tags([""]), Err(TagError::Length));
        assert_eq!(tags(["a b"]), Err(TagError::Character));
        assert_eq!(tags(["zone=Europe/Atlantis"]), Err(TagError::Zone));
        let many: Vec<String> = (0..=TAGS_MAX).map(|n| n.to_string()).collect();
        assert_eq!(tags(many.iter().map(String::as_str)), Err(TagError::TooMany));
    }

    #[test]
    fn a_tag_value_belongs_to_exactly_its_key() {
        let device = device(&["site=berlin", "siteb=x", "site"]);
        assert_eq!(tag_value(&device, "site"), Some("berlin"));
        assert_eq!(tag_value(&device, "zone"), None);
    }

    #[test]
    fn what_was_never_released_is_kept_as_text_and_within_a_limit() {
        let names = Names::new([(1, "app.bin".into()), (2, "1.0".into())]);
        let item = |file: &str, revision: &str| {
            (FileNameBuf::new(file).unwrap(), RevisionBuf::new(revision).unwrap())
        };
        let known = inventory(&[item("app.bin", "1.0"), item("app.bin", "own build")], &names);
        assert_eq!(known.installed[0], Installed { file: 1, revision: 2 });
        assert_eq!(known.installed[1], Installed { file: 1, revision: 0 });
        assert_eq!(
            known.claimed,
            [ClaimedFile { file: item("app.bin", "x").0, revision: item("x", "own build").1 }]
        );
        let many: Vec<_> = (0..200).map(|n| item(&format!("f{n}"), "1")).collect();
        assert_eq!(inventory(&many, &names).claimed.len(), CLAIMED_MAX);
    }
}
