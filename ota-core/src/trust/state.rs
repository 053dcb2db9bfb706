//! What a device trusts, as an explicit value: a check takes it and returns the next one.

use crate::number::{Generation, RootVersion, SecurityEpoch, Sha256Digest};
use crate::time::Timestamp;
use crate::trust::Role;

/// What must survive every restart, revert and factory reset. Nothing in it ever goes back, but for
/// `last_time`, which a root with a higher generation of the assignment role sets anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrustedState {
    /// Version of the trusted root.
    pub root: RootVersion,
    /// SHA-256 of the trusted root's body, so that what comes back from storage is known to be it.
    pub root_digest: Sha256Digest,
    /// The stored security epoch; the running image's own may be higher.
    pub epoch: SecurityEpoch,
    /// The highest generation seen of each role.
    pub generations: Generations,
    /// The latest time that a verified assignment gave.
    pub last_time: Timestamp,
}

/// One generation per role, in the order of [`Role::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Generations(pub [Generation; 4]);

impl Generations {
    /// The generation of one role.
    #[must_use]
    pub const fn of(&self, role: Role) -> Generation {
        let [root, release, assignment, file] = self.0;
        match role {
            Role::Root => root,
            Role::Release => release,
            Role::Assignment => assignment,
            Role::File => file,
        }
    }
}
