//! A device of the fleet that is run by the real engine, on a storage in memory and with a bootloader.
//!
//! Its lives are one coroutine: engine and buffers belong to it, and it waits wherever the engine does. Whoever drives it
//! puts messages in, polls it, and takes out what it says and when it wants to be woken.

use core::cell::RefCell;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use ota_core::conformance::MemoryStorage;
use ota_core::device::Granularity;
use ota_core::number::{ByteLength, Nonce};
use ota_core::text::{DeviceId, DeviceIdBuf, HardwareRevision, InstallTarget, ProductId};
use ota_core::time::{Instant, Millis, Timestamp};
use ota_core::trust::DevelopmentRoots;
use ota_device::{
    Buffers, Command, Config, Confirm, Event, ExternalDownloads, Identity, Input, Output, Policy, Updater,
};

use super::{BEGINNING, MINUTE};
use crate::device::{SimBoot, SimProfile, firmware_target};
use crate::random::Dice;
use crate::workshop::SourceFile;
use crate::world::factory_of;

/// How often it checks in when nothing happens.
const CHECK_IN: Millis = Millis(6 * 60 * MINUTE);

/// What the device and whoever drives it share.
struct Shared {
    now: Instant,
    inbox: VecDeque<Bytes>,
    outbox: Vec<Bytes>,
    wake: Instant,
    revision: u32,
    /// How many starts of a million with new files fail, and how many of these end as bricks.
    failures: u32,
    power_goes: bool,
    is_brick: bool,
    dice: Dice,
}

/// A device with the real engine.
pub(super) struct Engine {
    shared: Rc<RefCell<Shared>>,
    lives: Pin<Box<dyn Future<Output = ()>>>,
    /// The time for which somebody has promised to wake it.
    armed: Instant,
}

/// What wakes the engine.
enum Woken {
    Message(Bytes),
    Timeout,
    PowerCut,
}

impl Engine {
    /// A device as it leaves the factory, with revision 0.
    pub(super) fn new(id: DeviceIdBuf, root: Vec<u8>, seed: u64) -> Self {
        let shared = Shared {
            now: Instant(0),
            inbox: VecDeque::new(),
            outbox: Vec::new(),
            wake: Instant(0),
            revision: 0,
            failures: 0,
            power_goes: false,
            is_brick: false,
            dice: Dice::new(seed),
        };
        let shared = Rc::new(RefCell::new(shared));
        Self { lives: Box::pin(lives(Rc::clone(&shared), id, root)), shared, armed: Instant(0) }
    }

    pub(super) fn is_brick(&self) -> bool {
        self.shared.borrow().is_brick
    }

    pub(super) fn revision(&self) -> u32 {
        self.shared.borrow().revision
    }

    /// The power goes, now.
    pub(super) fn forget(&self) {
        self.shared.borrow_mut().power_goes = true;
    }

    pub(super) fn hear(&self, payload: Bytes) {
        self.shared.borrow_mut().inbox.push_back(payload);
    }

    /// Lets it do what it wants to do now: what it says, and when it is to be woken, unless it will be before that. A brick
    /// never is.
    pub(super) fn wake(&mut self, now: Timestamp, failures: u32) -> (Vec<Bytes>, Option<Millis>) {
        {
            let mut shared = self.shared.borrow_mut();
            (shared.now, shared.failures) = (Instant(now.since(BEGINNING).0), failures);
            if shared.is_brick {
                return (Vec::new(), None);
            }
        }
        let ended = self.lives.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let mut shared = self.shared.borrow_mut();
        shared.is_brick |= ended;
        let said = core::mem::take(&mut shared.outbox);
        let wait = Millis(shared.wake.0.saturating_sub(shared.now.0).clamp(1, 24 * 60 * MINUTE));
        let wake = shared.now.plus(wait);
        if shared.is_brick || (self.armed > shared.now && self.armed <= wake) {
            return (said, None);
        }
        self.armed = wake;
        (said, Some(wait))
    }
}

/// One life after the other, until the device is a brick.
async fn lives(shared: Rc<RefCell<Shared>>, id: DeviceIdBuf, root: Vec<u8>) {
    let identity = Identity {
        product: ProductId::new("lamp").expect("a name"),
        device: DeviceId::new(id.as_str()).expect("an id"),
        hardware: HardwareRevision::new("rev-a").expect("a name"),
    };
    let granularity = Granularity { write: 4, erase: 1024 };
    let mut storage =
        MemoryStorage::with_targets(granularity, &["firmware", "app"], ByteLength(16 * 1024), 8);
    factory_of(identity, &mut storage, &root, &[SourceFile::new("app.bin", "0", "app", vec![1; 200])]);
    let mut boot = SimBoot::new();
    loop {
        storage.restart();
        boot.restart(&mut storage);
        life(&shared, identity, &mut storage, &mut boot).await;
        if shared.borrow().is_brick {
            return;
        }
    }
}

async fn life(
    shared: &RefCell<Shared>,
    identity: Identity<'_>,
    storage: &mut MemoryStorage,
    boot: &mut SimBoot,
) {
    let (mut metadata, mut blocks, mut outgoing) = (vec![0; 6 * 1024], vec![0; 4 * 1024], vec![0; 2048]);
    let (start, seed) = {
        let mut shared = shared.borrow_mut();
        (shared.now, shared.dice.next())
    };
    let config = Config::<SimProfile> {
        identity,
        firmware: Some(firmware_target()),
        connectivity: &[],
        policy: Policy {
            check_in_interval: CHECK_IN,
            confirm: Confirm::SelfTestAndCheckedIn,
            ..Policy::default()
        },
        key: None,
        external: ExternalDownloads::No,
        development: DevelopmentRoots::Refuse,
        seed,
    };
    let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
    let mut updater = Updater::new(config, buffers, start).expect("buffers of a good size");
    let target = InstallTarget::new("app").expect("a name");
    loop {
        let now = shared.borrow().now;
        let turn = poll(&mut updater, shared, storage, boot, now);
        if let Some(installed) = updater.installed(target) {
            shared.borrow_mut().revision = installed.revision.as_str().parse().expect("a number");
        }
        match turn {
            Turn::Ends => return,
            Turn::Says(command) => {
                // A test that ends when nobody asks for it any more is refused, and does no harm.
                let _ = updater.handle_input(Input::Command(command), now);
                continue;
            }
            Turn::Waits => {}
        }
        let woken = poll_fn(|_| next(shared)).await;
        let now = shared.borrow().now;
        let heard = match &woken {
            Woken::Message(payload) => updater.handle_input(Input::Message(payload), now),
            Woken::Timeout => updater.handle_input(Input::Timeout, now),
            Woken::PowerCut => return,
        };
        heard.expect("an input at its time");
    }
}

enum Turn {
    Waits,
    Says(Command<'static>),
    Ends,
}

/// Does what the engine asks for until it waits.
fn poll(
    updater: &mut Updater<'_, SimProfile>,
    shared: &RefCell<Shared>,
    storage: &mut MemoryStorage,
    boot: &mut SimBoot,
    now: Instant,
) -> Turn {
    let mut turn = Turn::Waits;
    loop {
        let done = match updater.poll_output() {
            Output::Send(message) => {
                shared.borrow_mut().outbox.push(Bytes::copy_from_slice(message));
                Ok(())
            }
            Output::Storage(op) => {
                let answer = op.perform(storage);
                updater.handle_input(Input::StorageDone(answer), now)
            }
            Output::Boot(op) => {
                let answer = op.perform(boot);
                updater.handle_input(Input::BootDone(answer), now)
            }
            Output::Nonce => {
                let bytes = shared.borrow_mut().dice.bytes(16);
                let nonce = Nonce(bytes.try_into().expect("sixteen bytes"));
                updater.handle_input(Input::Nonce(nonce), now)
            }
            Output::Event(Event::OnTrial) => {
                let mut shared = shared.borrow_mut();
                let failures = shared.failures;
                turn = if !shared.dice.happens(failures) {
                    Turn::Says(Command::SelfTestPassed)
                } else if shared.dice.happens(500_000) {
                    shared.is_brick = true;
                    Turn::Ends
                } else {
                    Turn::Says(Command::SelfTestFailed)
                };
                Ok(())
            }
            Output::Event(Event::RestartNeeded) => {
                turn = Turn::Ends;
                Ok(())
            }
            Output::Event(_) => Ok(()),
            Output::WaitUntil(wake) => {
                shared.borrow_mut().wake = wake;
                return turn;
            }
        };
        done.expect("the engine takes what it asked for");
    }
}

fn next(shared: &RefCell<Shared>) -> Poll<Woken> {
    let mut shared = shared.borrow_mut();
    if core::mem::take(&mut shared.power_goes) {
        shared.inbox.clear();
        return Poll::Ready(Woken::PowerCut);
    }
    if let Some(payload) = shared.inbox.pop_front() {
        return Poll::Ready(Woken::Message(payload));
    }
    if shared.now >= shared.wake { Poll::Ready(Woken::Timeout) } else { Poll::Pending }
}
