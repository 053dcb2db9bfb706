//! Trusting a root: given at the factory, read back from storage, or followed from the one before it.

use crate::crypto::{Sha256, SignatureAlgorithm, SignatureVerifier};
use crate::integrity::{IntegrityString, Strength};
use crate::number::{Generation, KeyId, SecurityEpoch, Sha256Digest};
use crate::text::ProductId;
use crate::trust::envelope::Envelope;
use crate::trust::quorum::{Electorate, KeyRing, Progress, Tally, step};
use crate::trust::{Generations, HashedBody, Key, Role, Root, TrustError, TrustedState};

/// A root that the device trusts. All other checks begin with one.
#[derive(Debug, Clone)]
pub struct TrustedRoot<'a> {
    ring: KeyRing<'a>,
}

impl<'a> TrustedRoot<'a> {
    /// Trusts a root as it is given, at the factory or when a server sets up a product, and makes the first state.
    ///
    /// The epoch floor is the lowest security epoch that a release may have from now on.
    ///
    /// # Errors
    /// [`TrustError`] if the body is malformed or breaks a rule about keys.
    pub fn provision<H: Sha256>(
        body: &'a [u8],
        epoch_floor: SecurityEpoch,
    ) -> Result<(Self, TrustedState), TrustError> {
        let ring = KeyRing::read::<H>(&HashedBody::hash::<H>(body))?;
        let state = TrustedState {
            root: ring.root.version,
            root_digest: ring.digest,
            epoch: epoch_floor,
            generations: ring.root.generations(),
            last_time: ring.root.issued,
        };
        Ok((Self { ring }, state))
    }

    /// Takes back the trusted root from storage: its digest, version and generations must be those of the state.
    ///
    /// # Errors
    /// [`TrustError::NotTheTrustedRoot`] for any other root; [`TrustError`] if it is malformed.
    pub fn from_storage<H: Sha256>(body: HashedBody<'a>, state: &TrustedState) -> Result<Self, TrustError> {
        if body.digest() != state.root_digest {
            return Err(TrustError::NotTheTrustedRoot);
        }
        let root = Self { ring: KeyRing::read::<H>(&body)? };
        root.demand_state(state)?;
        Ok(root)
    }

    /// What it says.
    #[must_use]
    pub const fn root(&self) -> &Root<'a> {
        &self.ring.root
    }

    /// The product whose devices trust it.
    #[must_use]
    pub const fn product(&self) -> ProductId<'a> {
        self.ring.root.product
    }

    /// SHA-256 of its body.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.ring.digest
    }

    /// The key of this id, if it signs for the role; for integrity strings of signature kind the role is
    /// [`Role::File`].
    #[must_use]
    pub fn key(&self, role: Role, id: KeyId) -> Option<Key<'a>> {
        self.ring.key(role, id).map(|(_, key)| key)
    }

    /// The weakest integrity string that a file may rest on.
    #[must_use]
    pub const fn strength_min(&self) -> Strength {
        self.ring.root.strength_min
    }

    /// Whether a file may rest on this integrity string: strong enough, and if it is a signature, by a key of the
    /// file role. Whether the string matches is for whoever has the file.
    #[must_use]
    pub fn accepts(&self, string: &IntegrityString) -> bool {
        let by =
            |id: &KeyId, algorithm| self.key(Role::File, *id).is_some_and(|key| key.algorithm == algorithm);
        let is_known = match string {
            IntegrityString::Ed25519 { key, .. } => by(key, SignatureAlgorithm::Ed25519),
            IntegrityString::EcdsaP256 { key, .. } => by(key, SignatureAlgorithm::EcdsaP256),
            _ => true,
        };
        is_known && string.algorithm().strength() >= self.strength_min()
    }

    pub(super) const fn ring(&self) -> &KeyRing<'a> {
        &self.ring
    }

    pub(super) const fn generation(&self, role: Role) -> Generation {
        self.ring.root.role(role).generation
    }

    /// Demands that the state speaks of this root.
    pub(super) fn demand_state(&self, state: &TrustedState) -> Result<(), TrustError> {
        let root = &self.ring.root;
        if state.root_digest == self.ring.digest
            && state.root == root.version
            && state.generations == root.generations()
        {
            Ok(())
        } else {
            Err(TrustError::NotTheTrustedRoot)
        }
    }
}

impl<'a> KeyRing<'a> {
    pub(super) fn read<H: Sha256>(body: &HashedBody<'a>) -> Result<Self, TrustError> {
        let (root, ids) = Root::decode_with_ids::<H>(body.bytes())?;
        Ok(Self { root, digest: body.digest(), ids })
    }
}

/// How far the counting of signatures has come, for a caller that must let go of its borrows between two steps.
///
/// It names the role, the root and the body that it belongs to; taken to any other it counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureProgress {
    pub(super) role: Role,
    pub(super) root: Sha256Digest,
    pub(super) body: Sha256Digest,
    pub(super) next: u8,
    pub(super) tallies: [Tally; 2],
}

impl SignatureProgress {
    pub(super) fn belongs_to(&self, role: Role, root: Sha256Digest, body: Sha256Digest) -> bool {
        (self.role, self.root, self.body) == (role, root, body)
    }
}

/// Checks that a root follows the trusted one: version N+1 exactly, signed by the thresholds of both.
///
/// Time plays no part: an expired root still leads to the next one, or a device that was switched off for long
/// would be lost for ever.
#[derive(Debug)]
pub struct RootCheck<'r, 'a> {
    current: &'r TrustedRoot<'r>,
    state: TrustedState,
    envelope: Envelope<'r>,
    following: KeyRing<'a>,
    next: u8,
    by_current: Tally,
    by_following: Tally,
}

impl<'r, 'a> RootCheck<'r, 'a> {
    /// Reads the new root and checks everything but its signatures.
    ///
    /// # Errors
    /// [`TrustError`]: most of all [`TrustError::RootVersion`], [`TrustError::GenerationLowered`],
    /// [`TrustError::WrongProduct`] and [`TrustError::DevelopmentKey`] for what must not follow.
    pub fn begin<H: Sha256>(
        current: &'r TrustedRoot<'_>,
        state: &TrustedState,
        envelope: &'r [u8],
        body: HashedBody<'a>,
    ) -> Result<Self, TrustError> {
        current.demand_state(state)?;
        let envelope = Envelope::over_body(envelope, &body)?;
        let following = KeyRing::read::<H>(&body)?;
        let (old, new) = (current.root(), &following.root);
        if new.product != old.product {
            return Err(TrustError::WrongProduct);
        }
        if old.version.0.checked_add(1) != Some(new.version.0) {
            return Err(TrustError::RootVersion);
        }
        if !new.generations().is_at_least(&state.generations) {
            return Err(TrustError::GenerationLowered);
        }
        // A real product never goes back to keys that lie on somebody's desk.
        if new.development && !old.development {
            return Err(TrustError::DevelopmentKey);
        }
        Ok(Self {
            current,
            state: *state,
            envelope,
            following,
            next: 0,
            by_current: Tally::NONE,
            by_following: Tally::NONE,
        })
    }

    /// Checks at most one signature.
    ///
    /// # Errors
    /// [`TrustError::BadSignature`], [`TrustError::AlgorithmMismatch`] or [`TrustError::TooFewSignatures`]; the
    /// root is not to be trusted, whatever the next step says.
    pub fn step(&mut self, verifier: &impl SignatureVerifier) -> Result<Progress, TrustError> {
        let mut electorates = [
            Electorate { ring: self.current.ring(), tally: &mut self.by_current },
            Electorate { ring: &self.following, tally: &mut self.by_following },
        ];
        step(&mut self.next, &self.envelope, Role::Root, &mut electorates, verifier)
    }

    /// Lets go of the borrows between two steps; [`resume`](Self::resume) goes on after a new
    /// [`begin`](Self::begin).
    #[must_use]
    pub const fn pause(self) -> SignatureProgress {
        SignatureProgress {
            role: Role::Root,
            root: self.current.ring().digest,
            body: self.following.digest,
            next: self.next,
            tallies: [self.by_current, self.by_following],
        }
    }

    /// Goes on where a check of the same root under the same trusted root paused; otherwise begins anew.
    #[must_use]
    pub fn resume(mut self, progress: &SignatureProgress) -> Self {
        if progress.belongs_to(Role::Root, self.current.digest(), self.following.digest) {
            self.next = progress.next;
            [self.by_current, self.by_following] = progress.tallies;
        }
        self
    }

    /// Gives the new root and the state to be stored with it.
    ///
    /// Only now may anything be stored: the body first, then the state that names its digest. A higher generation
    /// of the assignment role sets the last time to that of the new root, so that a stolen key which had signed
    /// a time in the future loses its hold.
    ///
    /// # Errors
    /// [`TrustError::TooFewSignatures`] if a threshold has not been met.
    pub fn finish(self) -> Result<(TrustedRoot<'a>, TrustedState), TrustError> {
        self.by_current.demand(self.current.ring(), Role::Root)?;
        self.by_following.demand(&self.following, Role::Root)?;
        let generations = self.following.root.generations();
        let is_recovery = generations.of(Role::Assignment) > self.state.generations.of(Role::Assignment);
        let state = TrustedState {
            root: self.following.root.version,
            root_digest: self.following.digest,
            epoch: self.state.epoch,
            generations,
            last_time: if is_recovery { self.following.root.issued } else { self.state.last_time },
        };
        Ok((TrustedRoot { ring: self.following }, state))
    }

    /// Takes all steps at once, where nobody waits.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn verify_all(
        mut self,
        verifier: &impl SignatureVerifier,
    ) -> Result<(TrustedRoot<'a>, TrustedState), TrustError> {
        while self.step(verifier)? == Progress::More {}
        self.finish()
    }
}

impl Generations {
    /// Whether no role's generation is lower than there.
    #[must_use]
    pub fn is_at_least(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0.iter()).all(|(one, other)| one >= other)
    }
}
