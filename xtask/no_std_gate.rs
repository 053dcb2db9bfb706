//! What `cargo xtask no-std` builds and links: everything that runs on a device, in one library without std.
//!
//! Naming a crate puts it, and all that it depends on, into the graph in which rustc looks for an allocator, and all
//! of its code into the library, from where it is linked whether it is called or not. What is generic leaves code only
//! where it is used: hence the device below, an engine on a flash.
#![no_std]

use core::hint::black_box;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use ota_core::crypto::soft::{Ed25519, SoftSha256};
use ota_core::device::Slot;
use ota_core::integrity::Suite;
use ota_core::number::Nonce;
use ota_core::text::{DeviceId, HardwareRevision, InstallTarget, ProductId};
use ota_core::time::Instant;
use ota_core::trust::DevelopmentRoots;
use ota_device::{
    Buffers, Config, ExternalDownloads, Identity, Input, NoKey, Output, Policy, Profile, Updater,
};
use ota_storage::flash::{AreaRegion, FlashLayout, FlashStorage, Holds, LogRegion, segment_bytes_min};

/// Where a program that is linked from this library starts.
#[unsafe(no_mangle)]
pub extern "C" fn gate() {
    let _ = black_box(device());
}

/// A device that hears whatever lies in some memory; compiled and linked, never run.
fn device() -> Option<Instant> {
    let mut memory = black_box([0; 5 * 512]);
    let (metadata, rest) = memory.split_at_mut_checked(1024)?;
    let (blocks, rest) = rest.split_at_mut_checked(512)?;
    let (outgoing, message) = rest.split_at_mut_checked(512)?;
    let mut storage = FlashStorage::<Nor, 1>::new(Nor, LAYOUT).ok()?;
    storage.format().ok()?;
    let mut engine =
        Updater::new(config()?, Buffers { metadata, blocks, outgoing }, black_box(Instant(0))).ok()?;
    let mut input = Input::Message(black_box(message));
    loop {
        engine.handle_input(input, black_box(Instant(0))).ok()?;
        input = match engine.poll_output() {
            Output::Send(message) => Input::Nonce(Nonce(black_box(message).try_into().ok()?)),
            Output::Storage(op) => Input::StorageDone(op.perform(&mut storage)),
            Output::Boot(op) => Input::BootDone(op.perform(&mut ())),
            Output::Nonce => Input::Nonce(Nonce(black_box([0; 16]))),
            Output::Event(event) => {
                let _ = black_box(event);
                Input::Timeout
            }
            Output::WaitUntil(time) => return Some(time),
        };
    }
}

fn config() -> Option<Config<'static, Algorithms>> {
    Some(Config {
        identity: Identity {
            product: ProductId::new(black_box("pump")).ok()?,
            device: DeviceId::new(black_box("pump-1")).ok()?,
            hardware: HardwareRevision::new(black_box("rev-a")).ok()?,
        },
        firmware: InstallTarget::new(black_box("firmware")).ok(),
        connectivity: &[],
        policy: Policy::default(),
        key: None,
        external: ExternalDownloads::Yes,
        development: DevelopmentRoots::Refuse,
        seed: black_box(0),
    })
}

struct Algorithms;

impl Suite for Algorithms {
    type Sha256 = SoftSha256;
    type Others = ();
    type Verifier = Ed25519;
}

impl Profile for Algorithms {
    type Suite = Self;
    type Key = NoKey;
}

const SEGMENT: u32 = segment_bytes_min(1024, 4, 4096);

const fn log(number: u32) -> LogRegion {
    LogRegion {
        offset: 4096 + number * 2 * SEGMENT,
        segment_bytes: SEGMENT,
        segments: 2,
        record_bytes_max: 1024,
    }
}

const LAYOUT: FlashLayout<1> = FlashLayout {
    areas: [AreaRegion { holds: Holds::Slot("firmware", Slot::A), offset: 0, bytes: 4096 }],
    trusted: log(0),
    sets: log(1),
    journal: log(2),
};

/// A flash about which the compiler can assume nothing.
struct Nor;

impl ErrorType for Nor {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        bytes.fill(black_box(offset).to_le_bytes()[0]);
        black_box(Ok(()))
    }

    fn capacity(&self) -> usize {
        black_box(1 << 20)
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        let _ = black_box((from, to));
        black_box(Ok(()))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let _ = black_box((offset, bytes));
        black_box(Ok(()))
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
