//! The device's half on a Cortex-M3 with 64 KiB of RAM: updates over a serial line while the application goes on.
//!
//! One loop, one thread, no allocator: whatever arrived goes in, whatever the engine wants is done, then it is the
//! application's turn. The application here counts, which is enough to show that it is never kept waiting.
#![no_std]
#![no_main]

mod boot;
mod host;
mod layout;
mod stack;
mod uart;

use core::convert::Infallible;
use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use ota_core::crypto::soft::{Ed25519, SoftSha256};
use ota_core::integrity::Suite;
use ota_core::number::Nonce;
use ota_core::text::{DeviceId, HardwareRevision, InstallTarget, ProductId};
use ota_core::time::Instant;
use ota_core::trust::DevelopmentRoots;
use ota_device::{
    Buffers, Command, Config, Event, ExternalDownloads, Identity, Input, NoKey, Output, Policy, Profile, Updater,
};
use ota_storage::flash::FlashStorage;

use crate::boot::Boot;
use crate::host::Flash;
use crate::uart::Uart;

/// Which build this is.
const REVISION: &str = match option_env!("FIRMWARE_REVISION") {
    Some(revision) => revision,
    None => "1",
};

/// A build that is broken on purpose: it restarts as soon as it is on trial.
const NEVER_CONFIRMS: bool = option_env!("FIRMWARE_NEVER_CONFIRMS").is_some();

/// Ticks of the core clock in a millisecond: 12 MHz after a reset.
const TICKS_PER_MS: u32 = 12_000;

static NOW_MS: AtomicU32 = AtomicU32::new(0);

/// SHA-256 and Ed25519, and nothing else is linked.
struct Algorithms;

impl Suite for Algorithms {
    type Sha256 = SoftSha256;
    type Others = ();
    type Verifier = Ed25519;
}

impl Profile for Algorithms {
    type Suite = Self;
    type Key = NoKey;
    // There is nothing on this board that could fetch from a URL.
    const EXTERNAL_DOWNLOADS: bool = false;
}

type Engine = Updater<'static, Algorithms>;
type Storage = FlashStorage<Flash, 13>;

/// What the engine works in. Static, so that the report of static RAM counts it.
struct Memory {
    metadata: [u8; 6 * 1024],
    blocks: [u8; 4 * 1024],
    outgoing: [u8; 1024],
    packet: [u8; 1200],
}

#[exception]
fn SysTick() {
    NOW_MS.fetch_add(1, Ordering::Relaxed);
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    line!("panic");
    host::fail()
}

#[entry]
fn main() -> ! {
    stack::paint();
    start_clock();
    line!("revision {}", REVISION);
    let Err(why) = run();
    line!("failed: {}", why);
    host::fail()
}

fn start_clock() {
    if let Some(core) = cortex_m::Peripherals::take() {
        let mut clock = core.SYST;
        clock.set_clock_source(SystClkSource::Core);
        clock.set_reload(TICKS_PER_MS - 1);
        clock.clear_current();
        clock.enable_counter();
        clock.enable_interrupt();
    }
}

fn now() -> Instant {
    Instant(NOW_MS.load(Ordering::Relaxed).into())
}

fn run() -> Result<Infallible, &'static str> {
    let memory = cortex_m::singleton!(: Memory = Memory {
        metadata: [0; 6 * 1024],
        blocks: [0; 4 * 1024],
        outgoing: [0; 1024],
        packet: [0; 1200],
    })
    .ok_or("memory")?;
    let Memory { metadata, blocks, outgoing, packet } = memory;
    let storage = storage()?;
    let engine = engine(Buffers { metadata, blocks, outgoing })?;
    let mut boot = Boot::new();
    let mut uart = Uart::new(packet);
    let mut turns = 0_u32;
    loop {
        serve(engine, storage, &mut boot, turns)?;
        match uart.receive() {
            Some(message) => engine.handle_input(Input::Message(message), now()),
            None => engine.handle_input(Input::Timeout, now()),
        }
        .map_err(|_| "misuse")?;
        // Here the application has its turn: buttons, sensors, its own messages.
        turns = turns.wrapping_add(1);
    }
}

/// Apart from the loop, so that the stack on which the engine is made is free again before the engine works.
#[inline(never)]
fn engine(buffers: Buffers<'static>) -> Result<&'static mut Engine, &'static str> {
    let engine = Engine::new(configuration()?, buffers, now()).map_err(|_| "buffers")?;
    cortex_m::singleton!(: Engine = engine).ok_or("engine")
}

#[inline(never)]
fn storage() -> Result<&'static mut Storage, &'static str> {
    let flash = Flash::open().map_err(|_| "no flash")?;
    let storage = Storage::new(flash, layout::LAYOUT).map_err(|_| "layout")?;
    cortex_m::singleton!(: Storage = storage).ok_or("storage")
}

fn configuration() -> Result<Config<'static, Algorithms>, &'static str> {
    Ok(Config {
        identity: Identity {
            product: ProductId::new("thermostat").map_err(|_| "product")?,
            device: DeviceId::new("board-1").map_err(|_| "device")?,
            hardware: HardwareRevision::new("rev-c").map_err(|_| "hardware")?,
        },
        firmware: Some(InstallTarget::new("firmware").map_err(|_| "target")?),
        connectivity: &[],
        policy: Policy { block_bytes: 1024, window_max: 4, ..Policy::default() },
        key: None,
        external: ExternalDownloads::No,
        development: DevelopmentRoots::Refuse,
        seed: 1,
    })
}

/// Does what the engine wants until it waits.
fn serve(engine: &mut Engine, storage: &mut Storage, boot: &mut Boot, turns: u32) -> Result<(), &'static str> {
    loop {
        let input = match engine.poll_output() {
            Output::WaitUntil(_) => return Ok(()),
            Output::Send(message) => {
                uart::send(message);
                continue;
            }
            Output::Storage(operation) => Input::StorageDone(operation.perform(storage)),
            Output::Boot(operation) => Input::BootDone(operation.perform(boot)),
            Output::Nonce => Input::Nonce(Nonce(host::random().map_err(|_| "no random bytes")?)),
            Output::Event(event) => match decide(event, turns) {
                Some(command) => Input::Command(command),
                None => continue,
            },
        };
        engine.handle_input(input, now()).map_err(|_| "misuse")?;
    }
}

/// What the application makes of an event.
fn decide(event: Event<'_>, turns: u32) -> Option<Command<'static>> {
    match event {
        Event::Downloaded => line!("downloaded after {} turns of the application", turns),
        Event::RestartNeeded => {
            tell_memory();
            line!("restart");
            host::reset();
        }
        Event::OnTrial => {
            line!("on trial");
            if NEVER_CONFIRMS {
                host::reset();
            }
            return Some(Command::SelfTestPassed);
        }
        Event::Confirmed(_) => {
            tell_memory();
            line!("confirmed");
            host::reset();
        }
        Event::Reverted(code) => {
            line!("reverted {}", code.number());
            tell_memory();
            host::reset();
        }
        Event::Failed(code) => line!("attempt failed {}", code.number()),
        Event::Unprovisioned => {
            line!("unprovisioned");
            host::fail();
        }
        _ => {}
    }
    None
}

fn tell_memory() {
    line!("engine {} static {} stack {}", size_of::<Engine>(), stack::static_bytes(), stack::high_water_bytes());
}
