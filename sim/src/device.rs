//! A simulated device: the real engine on a storage, with a bootloader and an application that can be told what to do.

use core::cell::RefCell;
use std::collections::HashSet;

use ota_core::crypto::soft::{Ed25519, HmacSha256, SoftCrc32, SoftSha256};
use ota_core::crypto::{
    Hasher, PUBLIC_KEY_BYTES_MAX, SIGNATURE_BYTES, Sha256, SignatureAlgorithm, SignatureError,
    SignatureVerifier,
};
use ota_core::device::{Area, BootControl, BootFault, DeviceStorage, FirmwareSlots, Slot};
use ota_core::integrity::Suite;
use ota_core::number::{ByteLength, ByteOffset, SecurityEpoch, Sha256Digest};
use ota_core::text::{DeviceId, HardwareRevision, InstallTarget};
use ota_device::{Identity, Profile};

use crate::workshop::{HARDWARE, product, sha256};

/// The algorithms of simulated devices.
#[derive(Debug, Clone, Copy)]
pub struct SimProfile;

/// The suite of [`SimProfile`].
#[derive(Debug, Clone, Copy)]
pub struct SimSuite;

impl Suite for SimSuite {
    type Sha256 = MeteredSha256;
    type Others = (SoftCrc32,);
    type Verifier = Remembering;
}

impl Profile for SimProfile {
    type Suite = SimSuite;
    type Key = HmacSha256;
}

/// The profile of a product that left out what it can leave out.
#[derive(Debug, Clone, Copy)]
pub struct LeastProfile;

impl Profile for LeastProfile {
    type Suite = SimSuite;
    type Key = HmacSha256;
    const BLOCK_MAPS: bool = false;
    const EXTERNAL_DOWNLOADS: bool = false;
}

/// SHA-256 that counts what it hashes, to see that a turn of the engine never costs more than it says.
#[derive(Debug, Clone)]
pub struct MeteredSha256(SoftSha256);

impl Hasher for MeteredSha256 {
    type Digest = [u8; 32];

    fn new() -> Self {
        Self(SoftSha256::new())
    }

    fn update(&mut self, bytes: &[u8]) {
        // Public keys are hashed for their ids whenever a root is looked at; what is meant are pieces of data.
        if bytes.len() > PUBLIC_KEY_BYTES_MAX {
            meter::hashed(bytes.len());
        }
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

impl Sha256 for MeteredSha256 {}

/// Ed25519 that does not compute again what it found good on this thread: sweeps verify the same bytes in millions of
/// lives. What it has not seen, and what is wrong, is computed each time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remembering;

/// Signatures that are remembered before all are forgotten.
const REMEMBERED_MAX: usize = 100_000;

thread_local! {
    static FOUND_GOOD: RefCell<HashSet<[u8; 32]>> = RefCell::default();
}

impl SignatureVerifier for Remembering {
    fn supports(algorithm: SignatureAlgorithm) -> bool {
        Ed25519::supports(algorithm)
    }

    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), SignatureError> {
        let mut hasher = SoftSha256::new();
        // Key and signature have fixed lengths, so no two triples are the same bytes.
        for part in [public_key, signature, message] {
            hasher.update(part);
        }
        let triple = hasher.finish();
        if public_key.len() == 32 && FOUND_GOOD.with_borrow(|good| good.contains(&triple)) {
            return Ok(());
        }
        Ed25519.verify(algorithm, public_key, message, signature)?;
        FOUND_GOOD.with_borrow_mut(|good| {
            if good.len() >= REMEMBERED_MAX {
                good.clear();
            }
            good.insert(triple);
        });
        Ok(())
    }
}

/// What [`MeteredSha256`] has hashed on this thread.
pub mod meter {
    use core::cell::Cell;

    thread_local! {
        static HASHED: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn hashed(bytes: usize) {
        HASHED.set(HASHED.get() + bytes);
    }

    /// Counts from nothing again.
    pub fn begin_turn() {
        HASHED.set(0);
    }

    /// Bytes since then.
    #[must_use]
    pub fn hashed_in_turn() -> usize {
        HASHED.get()
    }
}

/// The name of the simulated device.
pub const DEVICE: &str = "device-1";

/// Who the simulated device is.
#[must_use]
pub fn identity() -> Identity<'static> {
    Identity {
        product: product(),
        device: DeviceId::new(DEVICE).unwrap(),
        hardware: HardwareRevision::new(HARDWARE).unwrap(),
    }
}

/// The install target that holds firmware.
#[must_use]
pub fn firmware_target() -> InstallTarget<'static> {
    InstallTarget::new("firmware").unwrap()
}

/// Makes a firmware image: its own length first, so that the bootloader knows what to hash.
#[must_use]
pub fn firmware_image(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u64).to_le_bytes(), payload].concat()
}

/// A bootloader with two slots, a trial boot and an automatic way back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SimBoot {
    slots: FirmwareSlots,
    /// With swapped slots these are the places that the images came from.
    kept: Slot,
    runs: Slot,
    trial: Option<Slot>,
    /// What runs.
    pub digest: Option<Sha256Digest>,
    /// Whether it says which slot runs.
    pub names_slot: bool,
    /// The highest epoch that the fuses can hold.
    pub epoch_max: u32,
    /// The next so many calls fail.
    pub faults: u32,
}

impl SimBoot {
    /// A bootloader whose kept firmware lies in slot A.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: FirmwareSlots::InTurn,
            kept: Slot::A,
            runs: Slot::A,
            trial: None,
            digest: None,
            names_slot: true,
            epoch_max: u32::MAX,
            faults: 0,
        }
    }

    /// A bootloader that runs firmware from slot A only, and swaps the slots for a trial and to go back.
    #[must_use]
    pub const fn swapping() -> Self {
        Self { slots: FirmwareSlots::Swapped, ..Self::new() }
    }

    /// Starts the device: the firmware on trial if one was asked for, otherwise the kept one.
    pub fn restart<S: DeviceStorage>(&mut self, storage: &mut S) {
        if self.slots == FirmwareSlots::Swapped {
            let next = self.trial.take().unwrap_or(self.kept);
            if next != self.runs {
                swap(storage);
                self.runs = next;
            }
            self.digest = read_firmware(Slot::A, storage);
            return;
        }
        self.runs = self.trial.take().unwrap_or(self.kept);
        self.digest = read_firmware(self.runs, storage);
        if self.digest.is_none() {
            self.runs = self.kept;
            self.digest = read_firmware(self.runs, storage);
        }
    }

    /// The slot that the running firmware lies in.
    #[must_use]
    pub const fn runs(&self) -> Slot {
        self.runs
    }

    fn fault(&mut self) -> Result<(), BootFault> {
        match self.faults.checked_sub(1) {
            Some(left) => {
                self.faults = left;
                Err(BootFault)
            }
            None => Ok(()),
        }
    }
}

impl Default for SimBoot {
    fn default() -> Self {
        Self::new()
    }
}

/// What a bootloader does with its scratch space, and finishes after any power cut.
fn swap<S: DeviceStorage>(storage: &mut S) {
    let [a, b] = [Slot::A, Slot::B].map(|slot| Area::Slot(firmware_target(), slot));
    let images = [a, b].map(|area| read_image(area, storage));
    for (area, image) in [b, a].into_iter().zip(images) {
        let image = image.unwrap_or_default();
        storage.prepare(area, ByteLength(image.len() as u64), ByteLength(0)).unwrap();
        storage.write(area, ByteOffset(0), &image).unwrap();
    }
}

fn read_firmware<S: DeviceStorage>(slot: Slot, storage: &mut S) -> Option<Sha256Digest> {
    read_image(Area::Slot(firmware_target(), slot), storage).map(|image| sha256(&image))
}

fn read_image<S: DeviceStorage>(area: Area<'_>, storage: &mut S) -> Option<Vec<u8>> {
    let capacity = storage.capacity(area)?.0;
    let mut head = [0; 8];
    storage.read(area, ByteOffset(0), &mut head).ok()?;
    let length = u64::from_le_bytes(head).checked_add(8).filter(|length| *length <= capacity)?;
    let mut image = vec![0; length as usize];
    storage.read(area, ByteOffset(0), &mut image).ok()?;
    Some(image)
}

impl BootControl for SimBoot {
    fn running(&self) -> Option<Sha256Digest> {
        self.digest
    }

    fn firmware_slots(&self) -> FirmwareSlots {
        self.slots
    }

    fn running_slot(&self) -> Option<Slot> {
        self.names_slot.then_some(self.runs)
    }

    fn request_trial(&mut self, slot: Slot) -> Result<(), BootFault> {
        self.fault()?;
        self.trial = Some(match self.slots {
            FirmwareSlots::InTurn => slot,
            FirmwareSlots::Swapped => {
                assert_eq!(slot, Slot::A, "firmware runs from nowhere else");
                self.runs.other()
            }
        });
        Ok(())
    }

    fn confirm(&mut self) -> Result<(), BootFault> {
        self.fault()?;
        self.kept = self.runs;
        Ok(())
    }

    fn revert(&mut self) -> Result<(), BootFault> {
        self.fault()?;
        self.trial = None;
        if self.kept == self.runs {
            self.kept = self.runs.other();
        }
        Ok(())
    }

    fn can_raise_epoch(&self, to: SecurityEpoch) -> bool {
        to.0 <= self.epoch_max
    }
}
