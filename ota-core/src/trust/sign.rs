//! Making signed metadata: for servers and key holders, never for devices.
//!
//! A body is encoded once and read back by the same strict reader that devices use; from then on only its bytes
//! count. Signatures are added one by one, by a signer at hand or by people elsewhere who are given the exact bytes;
//! none enters an envelope that the expected public key does not verify.

use alloc::vec::Vec;

use crate::cbor::{EncodeError, to_vec};
use crate::crypto::sign::{SignError, Signer, sign_checked};
use crate::crypto::{SIGNATURE_BYTES, Sha256, SignatureVerifier};
use crate::limits::{ASSIGNMENT_BYTES_MAX, SIGNATURES_MAX};
use crate::number::{KeyId, SecurityEpoch, Sha256Digest};
use crate::text::{ProductId, ProductIdBuf};
use crate::trust::envelope::{Envelope, Form, Protected, TAG_SIGN, TAG_SIGN1, write_payload, write_signed};
use crate::trust::{Assignment, HashedBody, Key, Release, Role, Root, TrustError};

/// Why signed metadata was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// It could not be written.
    #[error("the metadata could not be written")]
    Encode(#[from] EncodeError),
    /// No device would accept it.
    #[error("no device would accept the metadata")]
    Refused(#[from] TrustError),
    /// What was written reads back as something else, for example because a list is not in order.
    #[error("the metadata does not read back as what was given")]
    NotItself,
    /// The release raises the security epoch by more than one, which locks devices out of everything before it.
    #[error("the release raises the security epoch from {from} to {to}")]
    EpochJump {
        /// The epoch before it.
        from: SecurityEpoch,
        /// Its own.
        to: SecurityEpoch,
    },
    /// This key has signed already.
    #[error("the key {key} has signed already")]
    SignedAlready {
        /// The key in question.
        key: KeyId,
    },
    /// The envelope has no room for another signature.
    #[error("the envelope is full")]
    Full,
    /// There is no signature, or not one that may be published.
    #[error("there is no signature that may be published")]
    Sign(#[from] SignError),
}

/// How far a release may raise the security epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EpochRaise {
    /// By one at the most, from the highest epoch that the product has released.
    ByOneFrom(SecurityEpoch),
    /// As far as it says. Devices that install it refuse everything below for ever; somebody has to have meant that.
    Unlimited,
}

/// A root or a release with the signatures collected so far.
#[derive(Debug, Clone)]
pub struct SignedBody {
    role: Role,
    product: ProductIdBuf,
    body: Vec<u8>,
    digest: Sha256Digest,
    signatures: Vec<Collected>,
}

#[derive(Debug, Clone)]
struct Collected {
    protected: Protected,
    signature: [u8; SIGNATURE_BYTES],
}

impl SignedBody {
    /// Begins a root.
    ///
    /// # Errors
    /// [`BuildError::Refused`] if it breaks a rule about keys; [`BuildError::NotItself`].
    pub fn root<H: Sha256>(root: &Root<'_>) -> Result<Self, BuildError> {
        let body = to_vec(|writer| root.encode(writer))?;
        if Root::decode::<H>(&body)? != *root {
            return Err(BuildError::NotItself);
        }
        Ok(Self::new::<H>(Role::Root, root.product, body))
    }

    /// Begins a release.
    ///
    /// # Errors
    /// [`BuildError::EpochJump`]; [`BuildError::Refused`] if no device would read it, for example because a file
    /// has no integrity string or a name comes twice; [`BuildError::NotItself`].
    pub fn release<H: Sha256>(release: &Release<'_>, raise: EpochRaise) -> Result<Self, BuildError> {
        if let EpochRaise::ByOneFrom(from) = raise {
            let to = release.epoch;
            if to.0 > from.0.saturating_add(1) {
                return Err(BuildError::EpochJump { from, to });
            }
        }
        let body = to_vec(|writer| release.encode(writer))?;
        if Release::decode(&body).map_err(TrustError::Body)? != *release {
            return Err(BuildError::NotItself);
        }
        Ok(Self::new::<H>(Role::Release, release.product, body))
    }

    /// Takes up a root whose body exists already, to add a signature.
    ///
    /// # Errors
    /// [`BuildError::Refused`] if the body is no root.
    pub fn root_from_body<H: Sha256>(body: Vec<u8>) -> Result<Self, BuildError> {
        let product = ProductIdBuf::from(Root::decode::<H>(&body)?.product);
        Ok(Self::new::<H>(Role::Root, product.borrow(), body))
    }

    /// Takes up a release whose body exists already, to add a signature.
    ///
    /// # Errors
    /// [`BuildError::Refused`] if the body is no release.
    pub fn release_from_body<H: Sha256>(body: Vec<u8>) -> Result<Self, BuildError> {
        let product = ProductIdBuf::from(Release::decode(&body).map_err(TrustError::Body)?.product);
        Ok(Self::new::<H>(Role::Release, product.borrow(), body))
    }

    fn new<H: Sha256>(role: Role, product: ProductId<'_>, body: Vec<u8>) -> Self {
        let digest = HashedBody::hash::<H>(&body).digest();
        Self { role, product: product.into(), body, digest, signatures: Vec::new() }
    }

    /// The body: what is stored, served and hashed.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// SHA-256 of the body; for a release this is its identity, and no signature changes it.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Whose signatures there are.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.signatures.iter().map(|one| one.protected.key)
    }

    /// The exact bytes that the holder of this key has to sign, for signing somewhere else.
    ///
    /// # Errors
    /// [`BuildError::Encode`] if they cannot be written.
    pub fn bytes_to_sign<H: Sha256>(&self, key: Key<'_>) -> Result<Vec<u8>, BuildError> {
        let header = header_of::<H>(key)?;
        let payload = self.payload()?;
        let product = self.product.borrow();
        Ok(to_vec(|writer| write_signed(writer, Form::Sign, &header, self.role, product, &payload))?)
    }

    /// Signs with a signer at hand, after checking that it holds the expected key and signs with it.
    ///
    /// # Errors
    /// [`BuildError::Sign`] if the signature may not be published; [`BuildError::SignedAlready`],
    /// [`BuildError::Full`].
    pub fn sign<H: Sha256>(
        &mut self,
        signer: &(impl Signer + ?Sized),
        expected: Key<'_>,
        verifier: &impl SignatureVerifier,
    ) -> Result<(), BuildError> {
        self.demand_room(expected.id::<H>())?;
        let message = self.bytes_to_sign::<H>(expected)?;
        let signature = sign_checked(signer, expected, verifier, &message)?;
        self.push::<H>(expected, signature);
        Ok(())
    }

    /// Takes in a signature that was made somewhere else, after checking it.
    ///
    /// # Errors
    /// [`BuildError::Sign`] if the key does not verify it; [`BuildError::SignedAlready`], [`BuildError::Full`].
    pub fn import<H: Sha256>(
        &mut self,
        key: Key<'_>,
        signature: [u8; SIGNATURE_BYTES],
        verifier: &impl SignatureVerifier,
    ) -> Result<(), BuildError> {
        self.demand_room(key.id::<H>())?;
        let message = self.bytes_to_sign::<H>(key)?;
        verifier.verify(key.algorithm, key.public, &message, &signature).map_err(SignError::SelfCheck)?;
        self.push::<H>(key, signature);
        Ok(())
    }

    /// Takes in the signatures of another envelope over the same body, as far as the given keys made them; others
    /// and those that are here already are left out. Returns how many were taken.
    ///
    /// # Errors
    /// [`BuildError::Refused`] if the envelope is malformed or speaks of another body; [`BuildError::Sign`] if
    /// a signature does not match.
    pub fn import_envelope<'k, H: Sha256>(
        &mut self,
        envelope: &[u8],
        keys: impl Iterator<Item = Key<'k>> + Clone,
        verifier: &impl SignatureVerifier,
    ) -> Result<usize, BuildError> {
        let envelope = Envelope::over_body(envelope, &HashedBody::hash::<H>(&self.body))?;
        let mut taken = 0_usize;
        for signature in (0..SIGNATURES_MAX).map_while(|index| envelope.signature(index)) {
            let header = signature.protected;
            let key =
                keys.clone().find(|key| key.id::<H>() == header.key && key.algorithm == header.algorithm);
            let Some(key) = key else { continue };
            if !self.signers().any(|signer| signer == header.key) {
                self.import::<H>(key, *signature.signature, verifier)?;
                taken = taken.saturating_add(1);
            }
        }
        Ok(taken)
    }

    /// The envelope with the signatures collected so far. Whether they are enough is for the check to say.
    ///
    /// # Errors
    /// [`BuildError::Encode`] if it cannot be written.
    pub fn envelope(&self) -> Result<Vec<u8>, BuildError> {
        let payload = self.payload()?;
        Ok(to_vec(|writer| {
            writer.tag(TAG_SIGN)?;
            writer.array(4)?;
            writer.bytes(&[])?;
            writer.map(0)?;
            writer.bytes(&payload)?;
            writer.array(self.signatures.len())?;
            for one in &self.signatures {
                writer.array(3)?;
                writer.bytes(&to_vec(|header| one.protected.encode(header))?)?;
                writer.map(0)?;
                writer.bytes(&one.signature)?;
            }
            Ok(())
        })?)
    }

    fn payload(&self) -> Result<Vec<u8>, EncodeError> {
        let size = u64::try_from(self.body.len()).map_err(|_| EncodeError::TooLarge)?;
        to_vec(|writer| write_payload(writer, size, &self.digest))
    }

    fn demand_room(&self, key: KeyId) -> Result<(), BuildError> {
        if self.signers().any(|signer| signer == key) {
            return Err(BuildError::SignedAlready { key });
        }
        if self.signatures.len() >= SIGNATURES_MAX { Err(BuildError::Full) } else { Ok(()) }
    }

    /// Keeps the signatures in the order of their key ids, so that the order in which people sign leaves no trace.
    fn push<H: Sha256>(&mut self, key: Key<'_>, signature: [u8; SIGNATURE_BYTES]) {
        let protected = Protected { algorithm: key.algorithm, key: key.id::<H>() };
        self.signatures.push(Collected { protected, signature });
        self.signatures.sort_by_key(|one| one.protected.key);
    }
}

/// Signs an assignment: the server's word to one device.
///
/// # Errors
/// [`BuildError::Refused`] if it would have expired when it is made, [`BuildError::Encode`] if it is too large,
/// [`BuildError::Sign`] if the signature may not be published.
pub fn sign_assignment<H: Sha256>(
    assignment: &Assignment<'_>,
    product: ProductId<'_>,
    signer: &(impl Signer + ?Sized),
    expected: Key<'_>,
    verifier: &impl SignatureVerifier,
) -> Result<Vec<u8>, BuildError> {
    if assignment.expires <= assignment.issued {
        return Err(BuildError::Refused(TrustError::Expired { role: Role::Assignment }));
    }
    let body = to_vec(|writer| assignment.encode(writer))?;
    let header = header_of::<H>(expected)?;
    let message =
        to_vec(|writer| write_signed(writer, Form::Sign1, &header, Role::Assignment, product, &body))?;
    let signature = sign_checked(signer, expected, verifier, &message)?;
    let signed = to_vec(|writer| {
        writer.tag(TAG_SIGN1)?;
        writer.array(4)?;
        writer.bytes(&header)?;
        writer.map(0)?;
        writer.bytes(&body)?;
        writer.bytes(&signature)
    })?;
    if signed.len() > ASSIGNMENT_BYTES_MAX { Err(EncodeError::TooLarge.into()) } else { Ok(signed) }
}

fn header_of<H: Sha256>(key: Key<'_>) -> Result<Vec<u8>, EncodeError> {
    let protected = Protected { algorithm: key.algorithm, key: key.id::<H>() };
    to_vec(|writer| protected.encode(writer))
}
