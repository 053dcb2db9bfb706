//! Believing a release: that the release keys signed it, and that this device may install it now.

use crate::crypto::SignatureVerifier;
use crate::limits::RELEASE_BODY_BYTES_MAX;
use crate::number::{ReleaseId, SecurityEpoch, Sha256Digest};
use crate::text::{HardwareRevision, ProductId};
use crate::time::{Millis, Timestamp};
use crate::trust::envelope::Envelope;
use crate::trust::quorum::{Electorate, Progress, Tally, step};
use crate::trust::root_check::SignatureProgress;
use crate::trust::{Action, File, HashedBody, Release, Role, TrustError, TrustedRoot, VerifiedAssignment};

/// A release that enough release keys signed, under a root that is still the trusted one.
///
/// It belongs together and to the product. Whether a device may install it now is another question; a server asks
/// no more than this.
#[derive(Debug, Clone, Copy)]
pub struct SignedRelease<'a> {
    body: HashedBody<'a>,
    release: Release<'a>,
    root: Sha256Digest,
}

impl<'a> SignedRelease<'a> {
    /// What it says.
    #[must_use]
    pub const fn release(&self) -> &Release<'a> {
        &self.release
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> ReleaseId {
        ReleaseId(self.body.digest().0)
    }

    /// The bytes that were signed.
    #[must_use]
    pub const fn body(&self) -> HashedBody<'a> {
        self.body
    }

    /// Lets go of the bytes but keeps what is known about them.
    #[must_use]
    pub const fn detach(self) -> SignedReleaseReceipt {
        SignedReleaseReceipt { body: self.body.detach(), root: self.root }
    }

    /// Asks whether this device may install the release now: assigned, unexpired, right product and hardware, and
    /// not below the device's epoch. Cheap, so it is asked again right before the commit with a fresh assignment.
    ///
    /// # Errors
    /// [`TrustError`] says which rule forbids it; [`TrustError::NotTheTrustedRoot`] if the root has changed since
    /// the signatures were checked.
    pub fn admit(
        self,
        root: &TrustedRoot<'_>,
        assignment: &VerifiedAssignment,
        device: &InstallContext<'_>,
    ) -> Result<VerifiedRelease<'a>, TrustError> {
        if self.root != root.digest() {
            return Err(TrustError::NotTheTrustedRoot);
        }
        let now = may_install(root, self.id(), assignment, device)?;
        if now >= self.release.expires {
            return Err(TrustError::Expired { role: Role::Release });
        }
        if !self.release.hardware.iter().any(|listed| listed == device.hardware) {
            return Err(TrustError::WrongHardware);
        }
        if self.release.epoch < device.epoch {
            return Err(TrustError::EpochTooLow);
        }
        Ok(VerifiedRelease { signed: self, now })
    }
}

/// What is known about a release whose bytes are not borrowed at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedReleaseReceipt {
    body: super::BodyReceipt,
    root: Sha256Digest,
}

impl SignedReleaseReceipt {
    /// The identity of the release.
    #[must_use]
    pub const fn id(&self) -> ReleaseId {
        ReleaseId(self.body.digest().0)
    }

    /// Ties the receipt to its bytes again; the caller promises what
    /// [`BodyReceipt::attach`](super::BodyReceipt::attach) asks for.
    ///
    /// # Errors
    /// [`TrustError`] if these cannot be the bytes.
    pub fn attach(self, bytes: &[u8]) -> Result<SignedRelease<'_>, TrustError> {
        let body = self.body.attach(bytes)?;
        let release = Release::decode(bytes).map_err(TrustError::Body)?;
        Ok(SignedRelease { body, release, root: self.root })
    }
}

/// A release that this device may install now.
#[derive(Debug, Clone, Copy)]
pub struct VerifiedRelease<'a> {
    signed: SignedRelease<'a>,
    now: Timestamp,
}

impl<'a> VerifiedRelease<'a> {
    /// What it says.
    #[must_use]
    pub const fn release(&self) -> &Release<'a> {
        &self.signed.release
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> ReleaseId {
        self.signed.id()
    }

    /// The server's time at which it was admitted.
    #[must_use]
    pub const fn admitted_at(&self) -> Timestamp {
        self.now
    }

    /// That it was signed, without that it may be installed now.
    #[must_use]
    pub const fn signed(&self) -> SignedRelease<'a> {
        self.signed
    }
}

/// Whether roots made with development keys are accepted for installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DevelopmentRoots {
    /// They are refused, as they should be wherever a product is not on its developer's desk.
    #[default]
    Refuse,
    /// They are accepted.
    Accept,
}

/// What the device is, where a release asks for it.
#[derive(Debug, Clone, Copy)]
pub struct InstallContext<'c> {
    /// Its product.
    pub product: ProductId<'c>,
    /// Its hardware revision.
    pub hardware: HardwareRevision<'c>,
    /// Its effective security epoch: the higher of the stored one and the running image's.
    pub epoch: SecurityEpoch,
    /// How long ago the check-in was sent that the assignment answers.
    pub elapsed: Millis,
    /// Whether development roots are accepted.
    pub development: DevelopmentRoots,
}

/// The rules that need nothing of the release but its identity; returns the server's time now.
fn may_install(
    root: &TrustedRoot<'_>,
    release: ReleaseId,
    assignment: &VerifiedAssignment,
    device: &InstallContext<'_>,
) -> Result<Timestamp, TrustError> {
    if root.product() != device.product {
        return Err(TrustError::WrongProduct);
    }
    if root.root().development && device.development == DevelopmentRoots::Refuse {
        return Err(TrustError::DevelopmentKey);
    }
    if assignment.action() != Action::Install(release) {
        return Err(TrustError::NotAssigned);
    }
    let now = assignment.time_after(device.elapsed, root)?;
    if now >= root.root().expires { Err(TrustError::Expired { role: Role::Root }) } else { Ok(now) }
}

/// Checks the signatures of a release, one by one.
#[derive(Debug)]
pub struct SignatureCheck<'r, 'a> {
    root: &'r TrustedRoot<'r>,
    envelope: Envelope<'r>,
    body: HashedBody<'a>,
    next: u8,
    tally: Tally,
}

impl<'r, 'a> SignatureCheck<'r, 'a> {
    /// Reads the envelope; the body is not read before its signatures have been checked.
    ///
    /// # Errors
    /// [`TrustError`] if the envelope is malformed or speaks of another body.
    pub fn begin(
        root: &'r TrustedRoot<'_>,
        envelope: &'r [u8],
        body: HashedBody<'a>,
    ) -> Result<Self, TrustError> {
        if body.bytes().len() > RELEASE_BODY_BYTES_MAX {
            return Err(TrustError::TooLarge);
        }
        let envelope = Envelope::over_body(envelope, &body)?;
        Ok(Self { root, envelope, body, next: 0, tally: Tally::NONE })
    }

    /// Checks at most one signature.
    ///
    /// # Errors
    /// [`TrustError::BadSignature`], [`TrustError::AlgorithmMismatch`] or [`TrustError::TooFewSignatures`]; the
    /// release is not to be trusted, whatever the next step says.
    pub fn step(&mut self, verifier: &impl SignatureVerifier) -> Result<Progress, TrustError> {
        let mut electorates = [Electorate { ring: self.root.ring(), tally: &mut self.tally }];
        step(&mut self.next, &self.envelope, Role::Release, &mut electorates, verifier)
    }

    /// Lets go of the borrows between two steps; [`resume`](Self::resume) goes on after a new
    /// [`begin`](Self::begin).
    #[must_use]
    pub const fn pause(self) -> SignatureProgress {
        SignatureProgress {
            role: Role::Release,
            root: self.root.ring().digest,
            body: self.body.digest(),
            next: self.next,
            tallies: [self.tally, Tally::NONE],
        }
    }

    /// Goes on where a check of the same body under the same root paused; otherwise begins anew.
    #[must_use]
    pub fn resume(mut self, progress: &SignatureProgress) -> Self {
        if progress.belongs_to(Role::Release, self.root.digest(), self.body.digest()) {
            self.next = progress.next;
            [self.tally, _] = progress.tallies;
        }
        self
    }

    /// Reads the body, now that it is known to be signed, and checks it against the root.
    ///
    /// # Errors
    /// [`TrustError::TooFewSignatures`] if the threshold has not been met; [`TrustError::Body`],
    /// [`TrustError::WrongProduct`], [`TrustError::WeakIntegrity`] for what the root does not allow.
    pub fn finish(self) -> Result<SignedRelease<'a>, TrustError> {
        self.tally.demand(self.root.ring(), Role::Release)?;
        let release = Release::decode(self.body.bytes()).map_err(TrustError::Body)?;
        if release.product != self.root.product() {
            return Err(TrustError::WrongProduct);
        }
        let is_strong = |file: &File<'_>| file.integrity.iter().any(|string| self.root.accepts(&string));
        if !release.files.iter().all(|file| is_strong(&file)) {
            return Err(TrustError::WeakIntegrity);
        }
        Ok(SignedRelease { body: self.body, release, root: self.root.digest() })
    }

    /// Takes all steps at once, where nobody waits.
    ///
    /// # Errors
    /// As [`step`](Self::step) and [`finish`](Self::finish).
    pub fn verify_all(mut self, verifier: &impl SignatureVerifier) -> Result<SignedRelease<'a>, TrustError> {
        while self.step(verifier)? == Progress::More {}
        self.finish()
    }
}

/// Checks everything about a release that a device is asked to install: cheap rules first, then one signature after
/// the other, then the body.
#[derive(Debug)]
pub struct ReleaseCheck<'r, 'a> {
    signatures: SignatureCheck<'r, 'a>,
    assignment: VerifiedAssignment,
    device: InstallContext<'r>,
}

impl<'r, 'a> ReleaseCheck<'r, 'a> {
    /// Checks what can be known before any signature: that this very body was assigned, and that neither
    /// assignment nor root have expired.
    ///
    /// # Errors
    /// [`TrustError`] says which rule forbids it.
    pub fn begin(
        root: &'r TrustedRoot<'_>,
        assignment: &VerifiedAssignment,
        envelope: &'r [u8],
        body: HashedBody<'a>,
        device: InstallContext<'r>,
    ) -> Result<Self, TrustError> {
        may_install(root, ReleaseId(body.digest().0), assignment, &device)?;
        let signatures = SignatureCheck::begin(root, envelope, body)?;
        Ok(Self { signatures, assignment: *assignment, device })
    }

    /// Checks at most one signature.
    ///
    /// # Errors
    /// As [`SignatureCheck::step`].
    pub fn step(&mut self, verifier: &impl SignatureVerifier) -> Result<Progress, TrustError> {
        self.signatures.step(verifier)
    }

    /// As [`SignatureCheck::pause`].
    #[must_use]
    pub const fn pause(self) -> SignatureProgress {
        self.signatures.pause()
    }

    /// As [`SignatureCheck::resume`].
    #[must_use]
    pub fn resume(self, progress: &SignatureProgress) -> Self {
        Self { signatures: self.signatures.resume(progress), ..self }
    }

    /// Reads the body and checks the rules that need it.
    ///
    /// # Errors
    /// As [`SignatureCheck::finish`] and [`SignedRelease::admit`].
    pub fn finish(self) -> Result<VerifiedRelease<'a>, TrustError> {
        let root = self.signatures.root;
        self.signatures.finish()?.admit(root, &self.assignment, &self.device)
    }

    /// Takes all steps at once, where nobody waits.
    ///
    /// # Errors
    /// As [`step`](Self::step) and [`finish`](Self::finish).
    pub fn verify_all(
        mut self,
        verifier: &impl SignatureVerifier,
    ) -> Result<VerifiedRelease<'a>, TrustError> {
        while self.step(verifier)? == Progress::More {}
        self.finish()
    }
}
