//! Requirements: what must be installed before a release can be. A pure question, asked by devices and planners.

use crate::list::List;
use crate::number::SecurityEpoch;
use crate::text::{FileName, Revision};
use crate::trust::Requirement;

/// The first requirement that is not met, or `None` if all are.
///
/// Requirements on the same file are alternatives: one of their revisions must be installed. `inventory` is walked
/// once for each requirement at the most.
pub fn unmet_requirement<'a, 'i>(
    requirements: &List<'a, Requirement<'a>>,
    epoch: SecurityEpoch,
    inventory: impl Iterator<Item = (FileName<'i>, Revision<'i>)> + Clone,
) -> Option<Requirement<'a>> {
    requirements.iter().find(|requirement| match requirement {
        Requirement::EpochAtLeast(least) => epoch < *least,
        Requirement::FileRevision { file, .. } => {
            let Some((_, installed)) = inventory.clone().find(|(name, _)| name == file) else { return true };
            !requirements
                .iter()
                .any(|one| one == Requirement::FileRevision { file: *file, revision: installed })
        }
    })
}
