//! What the device's storage and bootloader speak of.

use super::containers::choice;
use super::{Choices, Generate};
use crate::device::{Area, Granularity, Log, Slot, StorageFault, StorageFaultKind};
use crate::number::FileIndex;
use crate::text::InstallTargetBuf;

choice! {
    Slot = [Slot::A, Slot::B];
    Log = [Log::Trusted, Log::Sets, Log::Journal];
    StorageFaultKind = [
        StorageFaultKind::NoSuchArea, StorageFaultKind::Full, StorageFaultKind::OutOfBounds, StorageFaultKind::Medium,
    ];
}

impl Generate for StorageFault {
    fn generate(choices: &mut Choices<'_>) -> Self {
        StorageFaultKind::generate(choices).into()
    }
}

impl Generate for Granularity {
    /// Powers of two, the write unit within the erase unit.
    fn generate(choices: &mut Choices<'_>) -> Self {
        let erase = choices.up_to(17) as u32;
        let write = choices.up_to(u64::from(erase)) as u32;
        Self { write: 1 << write, erase: 1 << erase }
    }
}

/// An [`Area`] that owns the name of its install target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnedArea {
    target: InstallTargetBuf,
    slot: Slot,
    file: FileIndex,
    kind: u8,
}

impl OwnedArea {
    /// The area.
    #[must_use]
    pub fn lend(&self) -> Area<'_> {
        match self.kind {
            0 => Area::Slot(self.target.borrow(), self.slot),
            1 => Area::ReleaseBody,
            2 => Area::ReleaseEnvelope,
            3 => Area::BlockMap(self.file),
            4 => Area::Root(self.slot),
            5 => Area::RootEnvelope,
            _ => Area::SetBody(self.slot),
        }
    }
}

impl Generate for OwnedArea {
    fn generate(choices: &mut Choices<'_>) -> Self {
        Self {
            kind: choices.up_to(6) as u8,
            slot: Generate::generate(choices),
            file: Generate::generate(choices),
            target: Generate::generate(choices),
        }
    }
}
