//! What the tests share: the files before and after, and devices that live beside a test.

use core::sync::atomic::{AtomicBool, Ordering};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;

use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::time::Millis;
use ota_device::Policy;
use ota_sim::device::firmware_image;
use ota_sim::random::Dice;
use ota_sim::wire::Access;
use ota_sim::wire::native::Device;
use ota_sim::wire::original::{Crash, Moment, Original, Then};
use ota_sim::workshop::SourceFile;
use tokio::sync::watch;

pub(crate) const PRODUCT: &str = "pump";
/// The program under test; a soak is that program itself.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| match option_env!("CARGO_BIN_EXE_ota-under-test") {
        Some(program) => PathBuf::from(program),
        None => std::env::current_exe().expect("this program"),
    });
    &PROGRAM
}

pub(crate) fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

/// Firmware, an application and a certificate, in one revision.
pub(crate) fn files(revision: &str) -> Vec<SourceFile> {
    let seed = revision.bytes().map(u64::from).sum();
    let mut dice = Dice::new(seed);
    vec![
        SourceFile::new("firmware.bin", revision, "firmware", firmware_image(&dice.bytes(60_000))),
        SourceFile::new("app.bin", revision, "app", dice.bytes(20_001)),
        SourceFile::new("ca.pem", revision, "certificates", dice.bytes(1_500)),
    ]
}

/// One file, large enough that something can happen while it is on its way.
pub(crate) fn large(revision: &str, bytes: usize) -> Vec<SourceFile> {
    let seed = revision.bytes().map(u64::from).sum();
    vec![SourceFile::new("app.bin", revision, "app", Dice::new(seed).bytes(bytes))]
}

pub(crate) fn native(root: &[u8], name: &str, installed: &[SourceFile]) -> Device {
    let product = ProductIdBuf::new(PRODUCT).unwrap();
    Device::in_memory(&product, root, &id(name), installed, 2 << 20)
}

/// The policy of a device that asks again after a second where others wait for a minute: a test waits for it.
pub(crate) fn eager() -> Policy {
    Policy { check_in_interval_min: Millis(1_000), ..Policy::default() }
}

/// What is seen of a device from outside.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) done: u64,
    pub(crate) connections: u32,
    pub(crate) lost: usize,
    /// Its engine has told that the new set is kept.
    pub(crate) is_confirmed: bool,
}

/// Devices with the real engine that live until they are told to stop.
pub(crate) struct Living {
    tasks: Vec<(watch::Receiver<Seen>, tokio::task::JoinHandle<Device>)>,
    stop: watch::Sender<bool>,
}

impl Living {
    pub(crate) fn new() -> Self {
        Self { tasks: Vec::new(), stop: watch::Sender::new(false) }
    }

    /// Lets one more device live. Must be called inside a runtime.
    pub(crate) fn begin(&mut self, mut device: Device, access: Access) {
        let mut stopped = self.stop.subscribe();
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move {
            let living = device.run(&access, |seen| {
                let is_confirmed = seen.events.iter().any(|event| event == "Confirmed");
                let (done, connections, lost) = (seen.done, seen.connections, seen.lost);
                sender.send_replace(Seen { done, connections, lost, is_confirmed });
                false
            });
            tokio::select! {
                () = living => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
            device
        });
        self.tasks.push((seen, task));
    }

    /// Waits until this is true of each device.
    pub(crate) async fn all(&mut self, mut is_true: impl FnMut(&Seen) -> bool) {
        for (seen, _) in &mut self.tasks {
            seen.wait_for(|seen| is_true(seen)).await.expect("the device lives");
        }
    }

    /// Ends their lives, and looks at them.
    pub(crate) async fn end(self) -> Vec<Device> {
        self.stop.send_replace(true);
        let mut devices = Vec::new();
        for (_, task) in self.tasks {
            devices.push(task.await.expect("the device does not panic"));
        }
        devices
    }
}

/// A device of the original system that lives in a thread of its own until it is told to stop.
pub(crate) struct LivingOriginal {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Original, Crash>>,
}

impl LivingOriginal {
    pub(crate) fn begin(mut device: Original) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut watch = |moment: Moment<'_>| {
                let is_idle = matches!(moment, Moment::Quiet | Moment::Closed);
                if is_idle && is_stopped.load(Ordering::SeqCst) { Then::Vanish } else { Then::GoOn }
            };
            device.run_on(&mut watch).map(|()| device)
        });
        Self { stop, thread }
    }

    /// Ends its life, and looks at it.
    pub(crate) fn end(self) -> Original {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap().unwrap_or_else(|crash| panic!("{crash}"))
    }
}
