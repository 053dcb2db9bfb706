//! Believing an assignment: signed by the server's key, for this device, and fresh.

use crate::crypto::{Sha256, SignatureVerifier, digest};
use crate::limits::CLOCK_SKEW_MS_MAX;
use crate::number::{Generation, Nonce, OfferId};
use crate::text::{DeviceId, ProductId};
use crate::time::{Millis, Timestamp};
use crate::trust::envelope::Envelope;
use crate::trust::quorum::{Electorate, Tally, step};
use crate::trust::{Action, Assignment, Role, TrustError, TrustedRoot, TrustedState};

/// The nonce of the latest check-in, good for one answer.
///
/// The caller makes a new one for each check-in and drops the one before it.
#[derive(Debug)]
pub struct PendingNonce {
    nonce: Option<Nonce>,
}

impl PendingNonce {
    /// Waits for the answer to a check-in that carried this nonce: 16 bytes that nobody can predict.
    #[must_use]
    pub const fn new(nonce: Nonce) -> Self {
        Self { nonce: Some(nonce) }
    }

    /// Whether the answer is still to come.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.nonce.is_some()
    }
}

/// An assignment that was believed, good until it expires, the power goes, or the server's keys are replaced.
///
/// It borrows nothing, because it outlives the message that brought it. It is never stored: after a restart the
/// device asks anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedAssignment {
    nonce: Nonce,
    issued: Timestamp,
    expires: Timestamp,
    action: Action,
    generation: Generation,
}

impl VerifiedAssignment {
    /// What the device is to do.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The server's time when it signed.
    #[must_use]
    pub const fn issued(&self) -> Timestamp {
        self.issued
    }

    /// When it stops being good, by the server's time.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The nonce that it answers.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// The server's time now, `elapsed` after the check-in was sent, if the assignment is still good then.
    ///
    /// # Errors
    /// [`TrustError::Expired`] if it is not; [`TrustError::StaleAssignment`] if the root has raised the generation
    /// of the server's keys since it was verified.
    pub fn time_after(&self, elapsed: Millis, root: &TrustedRoot<'_>) -> Result<Timestamp, TrustError> {
        if self.generation != root.generation(Role::Assignment) {
            return Err(TrustError::StaleAssignment);
        }
        let now = self.issued.plus(elapsed);
        if now < self.expires { Ok(now) } else { Err(TrustError::Expired { role: Role::Assignment }) }
    }
}

/// Whom an assignment must be for.
#[derive(Debug, Clone, Copy)]
pub struct DeviceIdentity<'c> {
    /// The device.
    pub device: DeviceId<'c>,
    /// Its product.
    pub product: ProductId<'c>,
}

/// Checks a signed assignment: one signature, so there is nothing to do in steps.
#[derive(Debug)]
pub struct AssignmentCheck<'r, 'a> {
    root: &'r TrustedRoot<'r>,
    state: TrustedState,
    device: DeviceIdentity<'r>,
    envelope: Envelope<'a>,
}

impl<'r, 'a> AssignmentCheck<'r, 'a> {
    /// Reads the envelope.
    ///
    /// # Errors
    /// [`TrustError::Envelope`] or [`TrustError::TooLarge`] if it is malformed, [`TrustError::WrongProduct`] or
    /// [`TrustError::NotTheTrustedRoot`] if root, state and device do not belong together.
    pub fn begin(
        root: &'r TrustedRoot<'_>,
        state: &TrustedState,
        device: DeviceIdentity<'r>,
        signed: &'a [u8],
    ) -> Result<Self, TrustError> {
        root.demand_state(state)?;
        if root.product() != device.product {
            return Err(TrustError::WrongProduct);
        }
        Ok(Self { root, state: *state, device, envelope: Envelope::with_body(signed)? })
    }

    /// Checks the answer to a check-in, whatever it asks for, and uses up the nonce.
    ///
    /// An answer that is refused leaves the nonce pending: a forged one must not keep the true one out.
    /// Returns the state with the answer's time in it; [`TrustedState::is_worth_storing_over`] says when to store it.
    ///
    /// # Errors
    /// [`TrustError`]: [`TrustError::NotFresh`] for another nonce or a second answer,
    /// [`TrustError::TimeWentBack`], [`TrustError::Expired`], [`TrustError::WrongDevice`], or what is wrong with
    /// the signature.
    pub fn answer(
        self,
        nonce: &mut PendingNonce,
        verifier: &impl SignatureVerifier,
    ) -> Result<(VerifiedAssignment, TrustedState), TrustError> {
        let pending = nonce.nonce.ok_or(TrustError::NotFresh)?;
        let verified = self.verify(pending, verifier)?;
        nonce.nonce = None;
        Ok((verified, self.state.with_time_seen(verified.issued)))
    }

    /// Checks that an offer is taken back: signed like the offer, over the same nonce and release.
    ///
    /// It needs no fresh nonce, because the worst that replaying it does is to withhold the update again.
    ///
    /// # Errors
    /// [`TrustError::NotAssigned`] if it takes back something else; [`TrustError`] as for [`answer`](Self::answer).
    pub fn cancellation(
        self,
        of: &VerifiedAssignment,
        verifier: &impl SignatureVerifier,
    ) -> Result<(VerifiedAssignment, TrustedState), TrustError> {
        let verified = self.verify(of.nonce, verifier)?;
        match (of.action, verified.action) {
            (Action::Install(offered), Action::Cancel(cancelled)) if offered == cancelled => {
                Ok((verified, self.state.with_time_seen(verified.issued)))
            }
            _ => Err(TrustError::NotAssigned),
        }
    }

    fn verify(
        &self,
        nonce: Nonce,
        verifier: &impl SignatureVerifier,
    ) -> Result<VerifiedAssignment, TrustError> {
        let mut tally = Tally::NONE;
        let mut electorates = [Electorate { ring: self.root.ring(), tally: &mut tally }];
        // One signature is all that the envelope has room for and all that the threshold can ask for.
        let _ = step(&mut 0, &self.envelope, Role::Assignment, &mut electorates, verifier)?;
        tally.demand(self.root.ring(), Role::Assignment)?;

        let assignment = Assignment::decode(self.envelope.payload).map_err(TrustError::Body)?;
        if assignment.device != self.device.device {
            return Err(TrustError::WrongDevice);
        }
        if assignment.nonce != nonce {
            return Err(TrustError::NotFresh);
        }
        // Another server's clock may be a little behind; the last time itself never goes back because of that.
        if assignment.issued.plus(Millis(CLOCK_SKEW_MS_MAX)) < self.state.last_time {
            return Err(TrustError::TimeWentBack);
        }
        if assignment.expires <= assignment.issued {
            return Err(TrustError::Expired { role: Role::Assignment });
        }
        Ok(VerifiedAssignment {
            nonce,
            issued: assignment.issued,
            expires: assignment.expires,
            action: assignment.action,
            generation: self.root.generation(Role::Assignment),
        })
    }
}

/// Which offer a signed assignment makes: the first 8 bytes of the SHA-256 of all its bytes.
#[must_use]
pub fn offer_id<H: Sha256>(signed: &[u8]) -> OfferId {
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = digest::<H>(signed);
    OfferId([b0, b1, b2, b3, b4, b5, b6, b7])
}
