//! What a device trusts, as an explicit value: a check takes it and returns the next one.

use crate::limits::TIME_STORED_EVERY_MS;
use crate::number::{Generation, RootVersion, SecurityEpoch, Sha256Digest};
use crate::time::{Millis, Timestamp};
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

impl TrustedState {
    /// The state after a confirmed boot of a release with this epoch: raised, never lowered.
    #[must_use]
    pub fn with_epoch_raised(self, to: SecurityEpoch) -> Self {
        Self { epoch: self.epoch.max(to), ..self }
    }

    /// The state after a verified assignment of this time: later or the same, never earlier.
    pub(super) fn with_time_seen(self, time: Timestamp) -> Self {
        Self { last_time: self.last_time.max(time), ..self }
    }

    /// The epoch that counts: the stored one or the running image's own, whichever is higher.
    #[must_use]
    pub fn effective_epoch(&self, running_image: SecurityEpoch) -> SecurityEpoch {
        self.epoch.max(running_image)
    }

    /// Whether it is worth a write to flash over what is `stored`: always when root, epoch or generations
    /// differ or the time was set back, but for a later time alone only once a day.
    #[must_use]
    pub fn is_worth_storing_over(&self, stored: &Self) -> bool {
        let due = stored.last_time.plus(Millis(TIME_STORED_EVERY_MS));
        let is_time_due = self.last_time < stored.last_time || self.last_time >= due;
        is_time_due || Self { last_time: stored.last_time, ..*self } != *stored
    }
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
