//! Public keys as texts.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use ota_core::crypto::SignatureAlgorithm;
use ota_core::crypto::sign::Signer;
use ota_core::crypto::soft::SoftSha256;
use ota_core::number::KeyId;
use ota_core::trust::Key;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::{UnitError, as_text};
use crate::http::{hex, unhex};

/// A public key, as `ed25519:` or `p256:` and hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: SignatureAlgorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// The public key of a signer.
    #[must_use]
    pub fn of(signer: &(impl Signer + ?Sized)) -> Self {
        Self { algorithm: signer.algorithm(), bytes: signer.public_key().to_vec() }
    }

    /// As signed metadata has it.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        Key { algorithm: self.algorithm, public: &self.bytes }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.key().id::<SoftSha256>()
    }
}

impl From<Key<'_>> for PublicKey {
    fn from(key: Key<'_>) -> Self {
        Self { algorithm: key.algorithm, bytes: key.public.to_vec() }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.algorithm {
            SignatureAlgorithm::Ed25519 => "ed25519",
            SignatureAlgorithm::EcdsaP256 => "p256",
            // A scheme that this program cannot make or read keys of yet.
            _ => "unknown",
        };
        write!(f, "{name}:{}", hex(&self.bytes))
    }
}

impl FromStr for PublicKey {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = UnitError::new(
            "a public key as `ota key show` prints it: ed25519: and 64, or p256: and 66 hexadecimal digits",
        );
        let (name, digits) = text.split_once(':').ok_or(wrong)?;
        let (algorithm, length) = match name {
            "ed25519" => (SignatureAlgorithm::Ed25519, 32),
            "p256" => (SignatureAlgorithm::EcdsaP256, 33),
            _ => return Err(wrong),
        };
        let bytes = unhex("key", digits).map_err(|_| wrong)?;
        if bytes.len() == length { Ok(Self { algorithm, bytes }) } else { Err(wrong) }
    }
}

as_text! {
    PublicKey: "^(ed25519:[0-9a-fA-F]{64}|p256:[0-9a-fA-F]{66})$", "A public key, as `ota key show` prints it.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_public_key_is_refused() {
        for bad in ["", "ed25519", "ed25519:00", "rsa:00", &format!("p256:{}", "00".repeat(32))] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad:?}");
        }
        let good = format!("ed25519:{}", "0a".repeat(32));
        assert_eq!(good.parse::<PublicKey>().unwrap().to_string(), good);
    }
}
