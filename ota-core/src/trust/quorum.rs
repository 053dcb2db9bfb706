//! Counting signatures: the one loop that decides for every role whether enough keys have signed.

use crate::crypto::SignatureVerifier;
use crate::limits::KEYS_MAX;
use crate::number::{KeyId, Sha256Digest};
use crate::trust::envelope::Envelope;
use crate::trust::root::KeyIds;
use crate::trust::{Key, Role, Root, TrustError};

/// What one step of a check has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub enum Progress {
    /// A signature matches; another one must be checked.
    More,
    /// Enough keys have signed.
    Met,
}

/// A root, trusted or about to be, with the ids of its keys at hand.
#[derive(Debug, Clone)]
pub(super) struct KeyRing<'a> {
    pub(super) root: Root<'a>,
    pub(super) digest: Sha256Digest,
    pub(super) ids: KeyIds,
}

impl<'a> KeyRing<'a> {
    /// The key of this id, if the role has it, and its position in the root.
    pub(super) fn key(&self, role: Role, id: KeyId) -> Option<(usize, Key<'a>)> {
        if !self.root.role(role).keys.iter().any(|named| named == id) {
            return None;
        }
        // Slots behind the last key hold no key, so a position found there yields none.
        let position = self.ids.iter().position(|known| *known == id)?;
        Some((position, self.root.keys.get(position)?))
    }
}

/// Which keys of one root have signed: bit i stands for key i, so no key counts twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally(u16);

const _: () = assert!(KEYS_MAX <= 16, "one bit for each key");

impl Tally {
    /// Nobody has signed.
    pub(super) const NONE: Self = Self(0);

    fn add(&mut self, position: usize) {
        let bit = u32::try_from(position).ok().and_then(|position| 1_u16.checked_shl(position));
        self.0 |= bit.unwrap_or(0);
    }

    fn count(self) -> u8 {
        u8::try_from(self.0.count_ones()).unwrap_or(u8::MAX)
    }

    /// Whether the threshold is met. A role without keys has the threshold 0, which nothing ever meets.
    pub(super) fn meets(self, ring: &KeyRing<'_>, role: Role) -> bool {
        let needed = ring.root.role(role).threshold;
        needed > 0 && self.count() >= needed
    }

    /// That the threshold is met, or by how much it is missed.
    pub(super) fn demand(self, ring: &KeyRing<'_>, role: Role) -> Result<(), TrustError> {
        if self.meets(ring, role) {
            return Ok(());
        }
        Err(TrustError::TooFewSignatures { found: self.count(), needed: ring.root.role(role).threshold })
    }
}

/// Those whose keys must sign: the keys of one role of a root, and who of them has.
pub(super) struct Electorate<'x, 'a> {
    pub(super) ring: &'x KeyRing<'a>,
    pub(super) tally: &'x mut Tally,
}

/// Checks the next signature that counts for an electorate which still misses some, at most one.
///
/// Signatures of other keys prove nothing and are passed over, as are those of an algorithm that the verifier
/// does not know. A signature of a key that counts but does not match refuses the whole envelope.
pub(super) fn step<V: SignatureVerifier>(
    next: &mut u8,
    envelope: &Envelope<'_>,
    role: Role,
    electorates: &mut [Electorate<'_, '_>],
    verifier: &V,
) -> Result<Progress, TrustError> {
    while electorates.iter().any(|one| !one.tally.meets(one.ring, role)) {
        let Some(signature) = envelope.signature(usize::from(*next)) else {
            electorates.iter().try_for_each(|one| one.tally.demand(one.ring, role))?;
            break;
        };
        *next = next.saturating_add(1);
        let header = signature.protected;
        let Some(key) = sole_key(electorates, role, header.key)? else { continue };
        if key.algorithm != header.algorithm {
            return Err(TrustError::AlgorithmMismatch { key: header.key });
        }
        if !V::supports(key.algorithm) {
            continue;
        }
        let Some(product) = electorates.first().map(|one| one.ring.root.product) else { break };
        envelope.verify(&signature, &key, role, product, verifier)?;
        for one in electorates.iter_mut() {
            if let Some((position, _)) = one.ring.key(role, header.key) {
                one.tally.add(position);
            }
        }
        if electorates.iter().any(|one| !one.tally.meets(one.ring, role)) {
            return Ok(Progress::More);
        }
    }
    Ok(Progress::Met)
}

/// The key of this id: all electorates that know the id must know it for the same key.
fn sole_key<'a>(
    electorates: &[Electorate<'_, 'a>],
    role: Role,
    id: KeyId,
) -> Result<Option<Key<'a>>, TrustError> {
    let mut sole = None;
    for (_, key) in electorates.iter().filter_map(|one| one.ring.key(role, id)) {
        match sole {
            Some(other) if other != key => return Err(TrustError::AmbiguousKey { key: id }),
            _ => sole = Some(key),
        }
    }
    Ok(sole)
}
