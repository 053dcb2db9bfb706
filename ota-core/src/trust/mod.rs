//! Signed metadata: who may make a device install something.
//!
//! Roles and what they sign: `root` says whose keys count, `release` says what belongs together, `assignment` says
//! who gets it now. The types here are what the bodies mean; they can be decoded by anybody, and mean nothing
//! until a check has turned them into a receipt. `docs/trust.md` describes the bytes.
//!
//! A device that has fetched everything goes this way; each step needs what the one before it returned:
//!
//! ```
//! use ota_core::crypto::{Sha256, SignatureVerifier};
//! use ota_core::trust::{
//!     AssignmentCheck, DeviceIdentity, HashedBody, InstallContext, PendingNonce, ReleaseCheck, RootCheck, TrustError,
//!     TrustedRoot, TrustedState, VerifiedRelease,
//! };
//!
//! struct Fetched<'a> {
//!     trusted_root: &'a [u8],
//!     next_root: Option<(&'a [u8], &'a [u8])>,
//!     assignment: &'a [u8],
//!     envelope: &'a [u8],
//!     release: &'a [u8],
//! }
//!
//! fn may_install<'a, H: Sha256>(
//!     fetched: &Fetched<'a>,
//!     mut state: TrustedState,
//!     nonce: &mut PendingNonce,
//!     identity: DeviceIdentity<'a>,
//!     device: InstallContext<'a>,
//!     verifier: &impl SignatureVerifier,
//! ) -> Result<(VerifiedRelease<'a>, TrustedState), TrustError> {
//!     let mut root = TrustedRoot::from_storage::<H>(HashedBody::hash::<H>(fetched.trusted_root), &state)?;
//!     if let Some((envelope, body)) = fetched.next_root {
//!         let check = RootCheck::begin::<H>(&root, &state, envelope, HashedBody::hash::<H>(body))?;
//!         (root, state) = check.verify_all(verifier)?; // now store the body, then the state
//!     }
//!     let check = AssignmentCheck::begin(&root, &state, identity, fetched.assignment)?;
//!     let (assignment, state) = check.answer(nonce, verifier)?;
//!     let body = HashedBody::hash::<H>(fetched.release);
//!     let check = ReleaseCheck::begin(&root, &assignment, fetched.envelope, body, device)?;
//!     Ok((check.verify_all(verifier)?, state))
//! }
//! ```
//!
//! Where one step must not take long, [`BodyHasher`] hashes in pieces, and `step` of each check verifies one signature.

mod assignment;
mod assignment_check;
mod body;
mod envelope;
mod error;
mod quorum;
mod release;
mod release_check;
mod requirement;
mod root;
mod root_check;
#[cfg(feature = "sign")]
mod sign;
mod state;

pub use assignment::{Action, Assignment};
pub use assignment_check::{AssignmentCheck, DeviceIdentity, PendingNonce, VerifiedAssignment, offer_id};
pub use body::{BodyHasher, BodyReceipt, HashedBody, PausedHash};
pub use error::{RootFlaw, TrustError};
pub use quorum::Progress;
pub use release::{BlockMapRef, File, Release, ReleaseKind, Requirement};
pub use release_check::{
    DevelopmentRoots, InstallContext, ReleaseCheck, SignatureCheck, SignedRelease, SignedReleaseReceipt,
    VerifiedRelease,
};
pub use requirement::unmet_requirement;
pub use root::{Key, RoleKeys, Root};
pub use root_check::{RootCheck, SignatureProgress, TrustedRoot};
#[cfg(feature = "sign")]
pub use sign::{BuildError, EpochRaise, SignedBody, sign_assignment};
pub use state::{Generations, TrustedState};

/// Who signs what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Offline, threshold: keys, thresholds and generations of every role.
    Root,
    /// Offline or in hardware, threshold: whole packages.
    Release,
    /// Online: who gets which release now.
    Assignment,
    /// As the product wishes: single files, for integrity strings of the signature kind.
    File,
}

impl Role {
    /// All roles, in the order in which a root lists them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Release, Self::Assignment, Self::File];

    /// Its name in what signatures cover.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Assignment => "assignment",
            Self::File => "file",
        }
    }
}
