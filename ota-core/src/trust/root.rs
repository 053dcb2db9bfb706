//! The body of a root: whose keys count for what.

use crate::cbor::{DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer, from_slice};
use crate::crypto::{PUBLIC_KEY_BYTES_MAX, Sha256, SignatureAlgorithm, key_id};
use crate::integrity::Strength;
use crate::limits::{KEYS_MAX, ROLE_KEYS_MAX, ROOT_BODY_BYTES_MAX};
use crate::list::{Item, List};
use crate::number::{Generation, KeyId, RootVersion};
use crate::text::ProductId;
use crate::time::Timestamp;
use crate::trust::{Generations, Role, RootFlaw, TrustError};

/// What a root says. One root per product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root<'a> {
    /// The product whose devices trust it.
    pub product: ProductId<'a>,
    /// Its version; the next root is exactly one higher.
    pub version: RootVersion,
    /// When it was made.
    pub issued: Timestamp,
    /// From when on it blocks installs; it never blocks the next root.
    pub expires: Timestamp,
    /// All public keys; none twice, and none in two roles.
    pub keys: List<'a, Key<'a>>,
    /// Keys and threshold of each role, in the order of [`Role::ALL`](super::Role::ALL).
    pub roles: [RoleKeys<'a>; 4],
    /// The weakest integrity string that a file may rest on.
    pub strength_min: Strength,
    /// Whether a development key made it: release builds refuse it unless they are told otherwise.
    pub development: bool,
}

/// A public key and its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// What its signatures are checked with. The header of a signature must agree.
    pub algorithm: SignatureAlgorithm,
    /// The key itself, of exactly the algorithm's length.
    pub public: &'a [u8],
}

/// Which keys sign for a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleKeys<'a> {
    /// The keys, by id.
    pub keys: List<'a, KeyId>,
    /// How many distinct ones must sign; at least 1 and at most their number (0 only for a role without keys).
    pub threshold: u8,
    /// Raised when one of the keys may have been stolen.
    pub generation: Generation,
}

/// Keys of the body's map.
mod key {
    pub(super) const PRODUCT: u64 = 0;
    pub(super) const VERSION: u64 = 1;
    pub(super) const ISSUED: u64 = 2;
    pub(super) const EXPIRES: u64 = 3;
    pub(super) const KEYS: u64 = 4;
    pub(super) const ROLES: u64 = 5;
    pub(super) const STRENGTH_MIN: u64 = 6;
    pub(super) const DEVELOPMENT: u64 = 7;
}

impl<'a> Root<'a> {
    /// Reads a body strictly and checks every rule about keys and thresholds that a root can break by itself.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`], [`TrustError::Body`] with the offset of what is wrong, or [`TrustError::Root`].
    pub fn decode<H: Sha256>(body: &'a [u8]) -> Result<Self, TrustError> {
        Self::decode_with_ids::<H>(body).map(|(root, _)| root)
    }

    /// Reads a body and returns the ids of its keys too, in the order of the keys.
    pub(super) fn decode_with_ids<H: Sha256>(body: &'a [u8]) -> Result<(Self, KeyIds), TrustError> {
        if body.len() > ROOT_BODY_BYTES_MAX {
            return Err(TrustError::TooLarge);
        }
        let root = from_slice(body, Self::read).map_err(TrustError::Body)?;
        let ids = root.key_ids::<H>();
        root.check(&ids).map_err(TrustError::Root)?;
        Ok((root, ids))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut entries = reader.map()?;
        let (mut product, mut version, mut issued, mut expires) = (None, None, None, None);
        let (mut keys, mut roles, mut strength_min, mut development) = (None, None, None, false);
        while let Some(key) = entries.next_key(reader)? {
            match key {
                key::PRODUCT => product = Some(ProductId::decode(reader)?),
                key::VERSION => version = Some(RootVersion(reader.u32()?)),
                key::ISSUED => issued = Some(Timestamp(reader.u64()?)),
                key::EXPIRES => expires = Some(Timestamp(reader.u64()?)),
                key::KEYS => keys = Some(List::decode(reader, KEYS_MAX)?),
                key::ROLES => roles = Some(read_roles(reader)?),
                key::STRENGTH_MIN => strength_min = Some(read_strength(reader)?),
                key::DEVELOPMENT => development = read_true(reader)?,
                other => entries.skip_optional(other, reader)?,
            }
        }
        match (product, version, issued, expires, keys, roles, strength_min) {
            (
                Some(product),
                Some(version),
                Some(issued),
                Some(expires),
                Some(keys),
                Some(roles),
                Some(strength_min),
            ) => Ok(Self { product, version, issued, expires, keys, roles, strength_min, development }),
            _ => Err(reader.refuse(DecodeErrorKind::MissingKey, 0)),
        }
    }

    /// Writes the body.
    ///
    /// # Errors
    /// [`EncodeError`] if the sink is full.
    pub fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.map(if self.development { 8 } else { 7 })?;
        writer.u64(key::PRODUCT)?;
        self.product.encode(writer)?;
        writer.u64(key::VERSION)?;
        writer.u64(u64::from(self.version.0))?;
        writer.u64(key::ISSUED)?;
        writer.u64(self.issued.0)?;
        writer.u64(key::EXPIRES)?;
        writer.u64(self.expires.0)?;
        writer.u64(key::KEYS)?;
        self.keys.encode(writer)?;
        writer.u64(key::ROLES)?;
        writer.array(self.roles.len())?;
        for role in &self.roles {
            role.encode(writer)?;
        }
        writer.u64(key::STRENGTH_MIN)?;
        writer.u64(u64::from(strength_number(self.strength_min)))?;
        if self.development {
            writer.u64(key::DEVELOPMENT)?;
            writer.bool(true)?;
        }
        Ok(())
    }

    /// Keys and threshold of a role.
    #[must_use]
    pub const fn role(&self, role: Role) -> &RoleKeys<'a> {
        let [root, release, assignment, file] = &self.roles;
        match role {
            Role::Root => root,
            Role::Release => release,
            Role::Assignment => assignment,
            Role::File => file,
        }
    }

    /// The generations of all roles.
    #[must_use]
    pub const fn generations(&self) -> Generations {
        let [root, release, assignment, file] = &self.roles;
        Generations([root.generation, release.generation, assignment.generation, file.generation])
    }

    fn key_ids<H: Sha256>(&self) -> KeyIds {
        let mut ids = [KeyId([0; KeyId::LENGTH]); KEYS_MAX];
        for (id, key) in ids.iter_mut().zip(self.keys) {
            *id = key.id::<H>();
        }
        ids
    }

    /// All pairs of at most [`KEYS_MAX`] keys and of at most four times [`ROLE_KEYS_MAX`] ids are looked at.
    fn check(&self, ids: &KeyIds) -> Result<(), RootFlaw> {
        if self.version.0 == 0 {
            return Err(RootFlaw::VersionZero);
        }
        if self.expires <= self.issued {
            return Err(RootFlaw::ExpiresBeforeIssued);
        }
        if self.role(Role::Root).keys.is_empty() {
            return Err(RootFlaw::NoRootKeys);
        }
        for role in Role::ALL {
            self.role(role).check_threshold(role)?;
        }
        let listed = || self.keys.iter().zip(ids.iter());
        for (index, (key, id)) in listed().enumerate() {
            for (other, other_id) in listed().skip(index.saturating_add(1)) {
                if key.has_owner_of(&other) {
                    return Err(RootFlaw::KeyTwice);
                }
                if id == other_id {
                    return Err(RootFlaw::KeyIdTwice);
                }
            }
            match self.uses_of(*id) {
                (0, _) => return Err(RootFlaw::UnusedKey),
                (1, 1) => {}
                (1, _) => return Err(RootFlaw::KeyTwice),
                _ => return Err(RootFlaw::KeyInTwoRoles),
            }
        }
        let is_known = |named: KeyId| listed().any(|(_, id)| *id == named);
        if self.roles.iter().all(|role| role.keys.iter().all(is_known)) {
            Ok(())
        } else {
            Err(RootFlaw::UnknownKey)
        }
    }

    /// In how many roles a key stands, and how often in all of them together.
    fn uses_of(&self, id: KeyId) -> (usize, usize) {
        let in_role = |role: &RoleKeys<'_>| role.keys.iter().filter(|named| *named == id).count();
        let roles = self.roles.iter().filter(|role| in_role(role) > 0).count();
        (roles, self.roles.iter().map(in_role).fold(0, usize::saturating_add))
    }
}

/// The ids of a root's keys, in the order of the keys; what lies behind the last key means nothing.
pub(super) type KeyIds = [KeyId; KEYS_MAX];

fn read_roles<'a>(reader: &mut Reader<'a>) -> Result<[RoleKeys<'a>; 4], Malformed> {
    reader.tuple(Role::ALL.len())?;
    Ok([
        RoleKeys::decode(reader)?,
        RoleKeys::decode(reader)?,
        RoleKeys::decode(reader)?,
        RoleKeys::decode(reader)?,
    ])
}

const fn strength_number(strength: Strength) -> u8 {
    match strength {
        Strength::Checksum => 0,
        Strength::Hash => 1,
        Strength::Signature => 2,
    }
}

fn read_strength(reader: &mut Reader<'_>) -> Result<Strength, Malformed> {
    let offset = reader.position();
    match reader.u64()? {
        0 => Ok(Strength::Checksum),
        1 => Ok(Strength::Hash),
        2 => Ok(Strength::Signature),
        _ => Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)),
    }
}

/// A flag is written only when it is set, so that each body has one encoding.
fn read_true(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    let offset = reader.position();
    if reader.bool()? { Ok(true) } else { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) }
}

impl<'a> RoleKeys<'a> {
    /// A role that nobody holds.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { keys: List::empty(), threshold: 0, generation: Generation(0) }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(3)?;
        let offset = reader.position();
        let threshold =
            u8::try_from(reader.u64()?).map_err(|_| reader.refuse(DecodeErrorKind::OutOfRange, offset))?;
        let generation = Generation(reader.u32()?);
        Ok(Self { keys: List::decode(reader, ROLE_KEYS_MAX)?, threshold, generation })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(3)?;
        writer.u64(u64::from(self.threshold))?;
        writer.u64(u64::from(self.generation.0))?;
        self.keys.encode(writer)
    }

    fn check_threshold(&self, role: Role) -> Result<(), RootFlaw> {
        let single = matches!(role, Role::Assignment | Role::File);
        match (self.keys.len(), usize::from(self.threshold)) {
            (0, 0) => Ok(()),
            (1.., 0) => Err(RootFlaw::ZeroThreshold),
            (keys, threshold) if threshold > keys => Err(RootFlaw::ThresholdTooHigh),
            // An assignment and an integrity string have room for one signature: a higher threshold would be a
            // promise that nothing keeps.
            (_, threshold) if single && threshold > 1 => Err(RootFlaw::ThresholdTooHigh),
            _ => Ok(()),
        }
    }
}

impl Key<'_> {
    /// Its id: the first 8 bytes of the SHA-256 of its public bytes.
    #[must_use]
    pub fn id<H: Sha256>(&self) -> KeyId {
        key_id::<H>(self.public)
    }

    /// Whether whoever holds the other key holds this one too: the same point, or its negative. The sign of a point
    /// is the first byte of a compressed P-256 key and the highest bit of an Ed25519 key.
    fn has_owner_of(&self, other: &Self) -> bool {
        if self.algorithm != other.algorithm {
            return false;
        }
        match (self.algorithm, self.public, other.public) {
            (SignatureAlgorithm::EcdsaP256, [_, one @ ..], [_, other @ ..]) => one == other,
            (SignatureAlgorithm::Ed25519, [one @ .., last], [other @ .., other_last]) => {
                one == other && (last ^ other_last) & 0x7f == 0
            }
            (_, one, other) => one == other,
        }
    }
}

impl<'a> Item<'a> for Key<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(2)?;
        let offset = reader.position();
        let algorithm = SignatureAlgorithm::from_cose(reader.i64()?)
            .ok_or_else(|| reader.refuse(DecodeErrorKind::OutOfRange, offset))?;
        let offset = reader.position();
        let public = reader.bytes(PUBLIC_KEY_BYTES_MAX)?;
        if public.len() != algorithm.public_key_bytes() {
            return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset));
        }
        Ok(Self { algorithm, public })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(2)?;
        writer.i64(self.algorithm.cose())?;
        writer.bytes(self.public)
    }
}

impl<'a> Item<'a> for KeyId {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self(reader.byte_array()?))
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.bytes(&self.0)
    }
}
