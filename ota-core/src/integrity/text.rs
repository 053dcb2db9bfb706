//! The text form of an integrity string: one text for each string, and nothing else is read.

use core::fmt::{self, Display, Formatter};
use core::str::FromStr;

use super::{Algorithm, IntegrityString, StringError, StringErrorKind, base64url};
use crate::hex;
use crate::number::KeyId;

impl Display for IntegrityString {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        match self {
            Self::Crc32(value) => hex::fmt(value, f),
            Self::Sha256(value) | Self::Sha3_256(value) => hex::fmt(value, f),
            Self::Sha512(value) | Self::Sha3_512(value) => hex::fmt(value, f),
            Self::EcdsaP256 { key, signature } | Self::Ed25519 { key, signature } => {
                write!(f, "{key}:")?;
                base64url::fmt(signature, f)
            }
        }
    }
}

impl FromStr for IntegrityString {
    type Err = StringError;

    fn from_str(text: &str) -> Result<Self, StringError> {
        let mut cursor = Cursor { text: text.as_bytes(), position: 0, algorithm: None };
        let string = match cursor.algorithm()? {
            Algorithm::Crc32 => Self::Crc32(cursor.hex()?),
            Algorithm::Sha256 => Self::Sha256(cursor.hex()?),
            Algorithm::Sha3_256 => Self::Sha3_256(cursor.hex()?),
            Algorithm::Sha512 => Self::Sha512(cursor.hex()?),
            Algorithm::Sha3_512 => Self::Sha3_512(cursor.hex()?),
            Algorithm::EcdsaP256 => Self::EcdsaP256 { key: cursor.key()?, signature: cursor.signature()? },
            Algorithm::Ed25519 => Self::Ed25519 { key: cursor.key()?, signature: cursor.signature()? },
        };
        cursor.finish()?;
        Ok(string)
    }
}

/// What of the text has been read.
struct Cursor<'t> {
    text: &'t [u8],
    position: usize,
    algorithm: Option<Algorithm>,
}

impl<'t> Cursor<'t> {
    fn error(&self, kind: StringErrorKind, offset: usize) -> StringError {
        StringError { kind, algorithm: self.algorithm, offset }
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// Reads the algorithm's name and the colon behind it.
    fn algorithm(&mut self) -> Result<Algorithm, StringError> {
        if self.text.is_empty() {
            return Err(self.error(StringErrorKind::Empty, 0));
        }
        let length = self.text.iter().position(|byte| *byte == b':');
        let name = self.text.get(..length.unwrap_or(self.text.len())).unwrap_or_default();
        let Some(algorithm) = Algorithm::ALL.into_iter().find(|known| known.name().as_bytes() == name) else {
            let known = Algorithm::ALL.iter().any(|known| known.name().as_bytes().eq_ignore_ascii_case(name));
            let upper = name.iter().position(u8::is_ascii_uppercase).filter(|_| known);
            return Err(match upper {
                Some(offset) => self.error(StringErrorKind::UpperCase, offset),
                None => self.error(StringErrorKind::UnknownAlgorithm, 0),
            });
        };
        self.algorithm = Some(algorithm);
        self.position = name.len();
        self.colon()?;
        if self.rest().is_empty() {
            return Err(self.error(StringErrorKind::EmptyValue, self.position));
        }
        Ok(algorithm)
    }

    fn colon(&mut self) -> Result<(), StringError> {
        match self.rest().first() {
            Some(b':') => {
                self.position = self.position.saturating_add(1);
                Ok(())
            }
            Some(_) => Err(self.error(StringErrorKind::Forbidden, self.position)),
            None => Err(self.error(StringErrorKind::Truncated, self.position)),
        }
    }

    /// Reads the digits of exactly `N` bytes.
    fn hex<const N: usize>(&mut self) -> Result<[u8; N], StringError> {
        let length = N.saturating_mul(2);
        let rest = self.rest();
        let digits = rest.get(..length).unwrap_or(rest);
        // A wrong character is reported before a missing one: it comes first in the text.
        if let Some(wrong) = digits.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            let is_upper = matches!(digits.get(wrong), Some(b'A'..=b'F'));
            let kind = if is_upper { StringErrorKind::UpperCase } else { StringErrorKind::Forbidden };
            return Err(self.error(kind, self.position.saturating_add(wrong)));
        }
        let mut bytes = [0; N];
        if !hex::decode(digits, &mut bytes) {
            return Err(self.error(StringErrorKind::Truncated, self.text.len()));
        }
        self.position = self.position.saturating_add(length);
        Ok(bytes)
    }

    /// Reads a key id and the colon behind it.
    fn key(&mut self) -> Result<KeyId, StringError> {
        let key = KeyId(self.hex()?);
        self.colon()?;
        Ok(key)
    }

    fn signature(&mut self) -> Result<[u8; 64], StringError> {
        let rest = self.rest();
        let Some(characters) = rest.first_chunk() else {
            // As with digits, a wrong character comes before a missing one.
            let wrong = rest.iter().position(|byte| !base64url::is_character(*byte));
            return Err(match wrong {
                Some(wrong) => self.error(StringErrorKind::Forbidden, self.position.saturating_add(wrong)),
                None => self.error(StringErrorKind::Truncated, self.text.len()),
            });
        };
        let signature = base64url::decode(characters).map_err(|problem| {
            let (kind, position) = match problem {
                base64url::Problem::Forbidden(position) => (StringErrorKind::Forbidden, position),
                base64url::Problem::NotCanonical(position) => (StringErrorKind::NotCanonical, position),
            };
            self.error(kind, self.position.saturating_add(position))
        })?;
        self.position = self.position.saturating_add(base64url::CHARACTERS);
        Ok(signature)
    }

    fn finish(&self) -> Result<(), StringError> {
        if self.rest().is_empty() {
            Ok(())
        } else {
            Err(self.error(StringErrorKind::Trailing, self.position))
        }
    }
}
