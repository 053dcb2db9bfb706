//! What the device's half asks of its storage and its bootloader.
//!
//! Two small traits. [`DeviceStorage`] keeps bytes in areas and records in logs and knows nothing about updates;
//! [`BootControl`] starts firmware and says which one runs. Every rule about them lives in `ota-device`, so a
//! backend author codes against the sentences here and nothing else.

mod boot;
mod storage;

pub use boot::{BootControl, BootFault, FirmwareSlots};
pub use storage::{Area, DeviceStorage, Granularity, Log, Slot, StorageFault, StorageFaultKind};
