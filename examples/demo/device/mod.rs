//! One simulated device: the real update engine, on a folder of its own, over a TLS connection of its own, in one
//! thread.
//!
//! [`Device::live`] is its life: it is started, works, and is started again when new firmware wants it or when the
//! power goes. Nothing of a life survives in memory, as nothing would on a board. What is planned for the device
//! ([`Part`]) is done to it from here; the engine knows nothing of that.

mod board;
mod connection;
mod notes;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ota_core::crypto::soft::{Ed25519, SoftSha256};
use ota_core::device::{Area, DeviceStorage as _, Slot, StorageFault};
use ota_core::integrity::Suite;
use ota_core::list::List;
use ota_core::number::{ByteLength, ByteOffset, Nonce, SecurityEpoch, Sha256Digest};
use ota_core::text::{DeviceIdBuf, FileName, HardwareRevision, InstallTarget, ProductId, Revision};
use ota_core::time::{Instant, Millis};
use ota_core::trust::DevelopmentRoots;
use ota_core::wire::topic::{Direction, Protocol, Topic, TopicPrefix};
use ota_device::provision::{FactoryFile, ProvisionError, ProvisioningImage, provision};
use ota_device::{
    Activity, Buffers, Command, Config, Confirm, Event, ExternalDownloads, Identity, Input, Link, Misuse,
    NoKey, Output, Policy, Profile, Updater,
};
use ota_storage::boot::linux::UBoot;
use ota_storage::directory::{DirectoryLayout, DirectoryStorage};

use self::board::EnvironmentFile;
use self::connection::{Connection, IdentityFiles, Notice, milliseconds};
pub(crate) use self::notes::Notes;
use crate::product::{self, AUTHORITY, FIRMWARE, IDENTITY, TARGETS};

/// How long a device lies dark after its power was cut.
const DARK: Duration = Duration::from_millis(500);
/// The longest wait, so that the end of the demonstration is noticed.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// The largest file that a device takes, in bytes.
const CAPACITY: ByteLength = ByteLength(4 << 20);
/// How long a new certificate has to prove itself on the device whose certificate will not work, so that nobody has to
/// wait for it. All others have an hour.
const IMPATIENT: Millis = Millis(4_000);
/// How much of a download has come when the power is cut.
const CUT_PERCENT: u64 = 40;
/// The device's private key, in its folder.
pub(crate) const KEY_FILE: &str = "key.pem";

/// What is planned for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Nothing in particular.
    Plain,
    /// It is one of the trial group.
    Trial,
    /// Its new firmware fails the self-test.
    FailsSelfTest,
    /// Its power is cut in the middle of the download.
    LosesPower,
    /// It gets a new certificate that no broker accepts.
    WrongCertificate,
    /// It runs a revision from which no way leads to the new one but over another.
    Old,
}

impl Part {
    /// The part in a few words.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Trial => "trial group",
            Self::FailsSelfTest => "fails its self-test",
            Self::LosesPower => "loses its power",
            Self::WrongCertificate => "gets a wrong certificate",
            Self::Old => "needs a stepping stone",
        }
    }
}

/// What all devices share: where they connect, and whether the demonstration is over.
#[derive(Debug)]
pub(crate) struct World {
    /// The broker.
    pub(crate) broker: SocketAddr,
    /// The body of the product's first root, which the factory writes into each device.
    pub(crate) root: Vec<u8>,
    /// Whether devices are to be switched off.
    pub(crate) is_over: AtomicBool,
}

/// A device.
#[derive(Debug)]
pub(crate) struct Device {
    /// Its id.
    pub(crate) id: DeviceIdBuf,
    /// What is planned for it.
    pub(crate) part: Part,
    /// Its storage.
    pub(crate) folder: PathBuf,
    notes: Mutex<Notes>,
}

/// Why a device cannot go on. A connection that breaks is none of these.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("its folder: {0}")]
    Folder(#[from] std::io::Error),
    #[error("its storage: {0}")]
    Storage(#[from] StorageFault),
    #[error("the factory: {0}")]
    Provision(#[from] ProvisionError),
    #[error("the system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    #[error("this program misuses the engine: {0}")]
    Misuse(#[from] Misuse),
}

/// Why a device was switched off.
enum End {
    /// The demonstration is over.
    Over,
    /// It restarts itself.
    Restart,
    /// The power was cut.
    PowerCut,
}

/// The algorithms of the devices.
#[derive(Debug, Clone, Copy)]
struct Linux;

impl Suite for Linux {
    type Sha256 = SoftSha256;
    type Others = ();
    type Verifier = Ed25519;
}

impl Profile for Linux {
    type Suite = Self;
    type Key = NoKey;
}

impl Device {
    /// A device in this folder, that nothing is known of yet.
    pub(crate) fn new(id: DeviceIdBuf, part: Part, folder: PathBuf) -> Self {
        Self { id, part, folder, notes: Mutex::default() }
    }

    /// What was seen of it so far.
    pub(crate) fn notes(&self) -> Notes {
        self.note().clone()
    }

    /// Its thread has ended for this reason.
    pub(crate) fn has_failed(&self, why: String) {
        self.note().failure = Some(why);
    }

    /// The file in use at an install target, as the device's other programs see it.
    pub(crate) fn active(&self, target: &str) -> PathBuf {
        self.folder.join("active").join(target)
    }

    /// What the factory does: installs the first files, and writes who the device is and which root it trusts.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn manufacture(&self, root: &[u8], files: &[product::Content]) -> Result<(), Failure> {
        let mut storage = DirectoryStorage::open(&self.folder, layout())?;
        let mut factory = Vec::new();
        for file in files {
            let area = Area::Slot(target(file.target), Slot::A);
            let size = ByteLength(u64::try_from(file.bytes.len()).unwrap_or(u64::MAX));
            storage.prepare(area, size, ByteLength(0))?;
            storage.write(area, ByteOffset(0), &file.bytes)?;
            factory.push(FactoryFile {
                name: FileName::new(file.name).expect("the product's names are names"),
                revision: Revision::new(file.revision).expect("the product's revisions are revisions"),
                digest: Sha256Digest(product::sha256(&file.bytes)),
                target: target(file.target),
                slot: Slot::A,
                size,
            });
        }
        factory.sort_by_key(|file| file.name);
        let image = ProvisioningImage {
            identity: self.identity(),
            root,
            epoch_floor: SecurityEpoch(0),
            key: None,
            files: List::from_slice(&factory),
            firmware: Some(target(FIRMWARE)),
        };
        Ok(provision::<SoftSha256, _>(&image, &mut storage, &mut [0; 4096])?)
    }

    /// Lives until the demonstration is over.
    pub(crate) fn live(&self, world: &World) {
        while !world.is_over.load(Ordering::Relaxed) {
            self.note().starts += 1;
            match self.run(world) {
                Ok(End::Over) => return,
                Ok(End::Restart) => {}
                Ok(End::PowerCut) => std::thread::sleep(DARK),
                Err(failure) => {
                    self.has_failed(failure.to_string());
                    return;
                }
            }
        }
    }

    /// From one start to the next.
    fn run(&self, world: &World) -> Result<End, Failure> {
        let boot = board::start(&self.folder)?;
        let storage = DirectoryStorage::open(&self.folder, layout())?;
        let (mut metadata, mut blocks, mut outgoing) = (vec![0; 8 * 1024], vec![0; 64 * 1024], vec![0; 4096]);
        let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
        let connectivity = [target(AUTHORITY), target(IDENTITY)];
        let updater = Updater::new(self.config(&connectivity)?, buffers, Instant(0))?;
        let topic = |direction| {
            let protocol = Protocol::Native(TopicPrefix::DEFAULT);
            Topic { protocol, device: self.id.borrow(), direction }.to_string()
        };
        let files = IdentityFiles {
            authority: self.active(AUTHORITY),
            certificate: self.active(IDENTITY),
            key: self.folder.join(KEY_FILE),
        };
        let down = topic(Direction::Down);
        let connection = Connection::new(world.broker, files, self.id.as_str(), down);
        Powered {
            device: self,
            began: std::time::Instant::now(),
            updater,
            storage,
            boot,
            connection,
            up: topic(Direction::Up),
            wake: Instant(0),
            is_shown: false,
        }
        .run(world)
    }

    fn identity(&self) -> Identity<'_> {
        Identity {
            product: ProductId::new(product::PRODUCT).expect("the product's id is an id"),
            device: self.id.borrow(),
            hardware: HardwareRevision::new(product::HARDWARE).expect("the hardware revision is one"),
        }
    }

    fn config<'a>(&'a self, connectivity: &'a [InstallTarget<'a>]) -> Result<Config<'a, Linux>, Failure> {
        let policy = Policy {
            block_bytes: 4096,
            window_max: 16,
            check_in_interval: Millis::from_seconds(60),
            check_in_interval_min: Millis::from_seconds(1),
            confirm: Confirm::SelfTestAndCheckedIn,
            ..Policy::default()
        };
        Ok(Config {
            identity: self.identity(),
            firmware: Some(target(FIRMWARE)),
            connectivity,
            policy,
            key: None,
            external: ExternalDownloads::No,
            development: DevelopmentRoots::Refuse,
            seed: u64::from_le_bytes(random()?),
        })
    }

    fn note(&self) -> MutexGuard<'_, Notes> {
        // Notes are whole after every statement: a panic elsewhere does no harm to them.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A device that is switched on.
struct Powered<'d> {
    device: &'d Device,
    began: std::time::Instant,
    updater: Updater<'d, Linux>,
    storage: DirectoryStorage,
    boot: UBoot<EnvironmentFile>,
    connection: Connection,
    up: String,
    /// When the engine wants its next turn.
    wake: Instant,
    /// Whether the other programs of the device see the files that are active now.
    is_shown: bool,
}

/// What a turn of the engine has told.
#[derive(Default)]
struct Told {
    /// Other files are active now.
    is_changed: bool,
    /// New files are on trial, and the application has to test them.
    is_on_trial: bool,
    /// The new files are kept.
    is_confirmed: bool,
    /// The device is to be restarted.
    wants_restart: bool,
}

impl Powered<'_> {
    fn run(mut self, world: &World) -> Result<End, Failure> {
        let mut end = self.give(Input::Link(Link::Down))?;
        while end.is_none() {
            if world.is_over.load(Ordering::Relaxed) {
                return Ok(End::Over);
            }
            if !self.is_shown && self.updater.progress().activity != Activity::Starting {
                self.show()?;
            }
            end = self.listen()?;
        }
        Ok(end.unwrap_or(End::Over))
    }

    /// Waits for something to do: a message, the connection coming or going, or the engine's own time. Then does it.
    fn listen(&mut self) -> Result<Option<End>, Failure> {
        let now = self.began.elapsed();
        let notice = if self.is_shown { self.connection.step(now) } else { None };
        match notice {
            Some(Notice::Up) => {
                self.device.note().connections += 1;
                self.give(Input::Link(Link::Up))
            }
            Some(Notice::Down(why)) => {
                self.device.note().turned_away(why.to_string());
                self.give(Input::Link(Link::Down))
            }
            Some(Notice::Message(payload)) => {
                self.device.note().hear(&payload);
                self.give(Input::Message(&payload))
            }
            Some(Notice::Progress) => Ok(None),
            None if self.wake <= milliseconds(now) => self.give(Input::Timeout),
            None => {
                self.connection.wait(Duration::from_millis(self.wake.0).min(now + WAIT_MAX), now);
                Ok(None)
            }
        }
    }

    /// Gives the engine one input, and does what its events ask of the application.
    fn give(&mut self, input: Input<'_>) -> Result<Option<End>, Failure> {
        let told = self.turn(input)?;
        if told.wants_restart {
            return Ok(Some(End::Restart));
        }
        if self.is_to_be_cut() {
            self.device.note().cut();
            return Ok(Some(End::PowerCut));
        }
        if told.is_changed {
            self.is_shown = false;
            let end = self.give(Input::Link(Link::Down))?;
            if end.is_some() {
                return Ok(end);
            }
        }
        if told.is_on_trial { self.give(Input::Command(self.self_test())) } else { Ok(None) }
    }

    /// One turn of the engine: an input, then whatever it wants done until it waits.
    fn turn(&mut self, input: Input<'_>) -> Result<Told, Failure> {
        let now = self.began.elapsed();
        let at = milliseconds(now);
        let mut told = Told::default();
        self.updater.handle_input(input, at)?;
        self.wake = loop {
            match self.updater.poll_output() {
                Output::Send(message) => self.connection.publish(&self.up, message),
                Output::Storage(op) => {
                    let answer = op.perform(&mut self.storage);
                    self.updater.handle_input(Input::StorageDone(answer), at)?;
                }
                Output::Boot(op) => {
                    let answer = op.perform(&mut self.boot);
                    self.updater.handle_input(Input::BootDone(answer), at)?;
                }
                Output::Nonce => self.updater.handle_input(Input::Nonce(Nonce(random()?)), at)?,
                Output::Event(event) => {
                    self.device.note().on_event(&event);
                    match event {
                        Event::OnTrial => (told.is_changed, told.is_on_trial) = (true, true),
                        Event::Reverted(_) => told.is_changed = true,
                        Event::Confirmed(_) => told.is_confirmed = true,
                        Event::RestartNeeded => told.wants_restart = true,
                        _ => {}
                    }
                    if told.is_changed {
                        // Nothing more goes over a connection that was made with the former certificates: a check-in
                        // over it would prove nothing about the new ones.
                        self.connection.drop_now(now);
                    }
                }
                Output::WaitUntil(time) => break time,
            }
        };
        if told.is_confirmed && self.device.part == Part::WrongCertificate {
            self.updater.set_policy(Policy { confirm_within: IMPATIENT, ..*self.updater.policy() });
        }
        self.device.note().on_progress(&self.updater.progress());
        Ok(told)
    }

    /// Shows the other programs of the device the files that are active now; the connection is one of them.
    fn show(&mut self) -> Result<(), Failure> {
        let targets = TARGETS.map(target);
        let slot = |at: &InstallTarget<'static>| Some((*at, self.updater.installed(*at)?.slot));
        let set: Vec<_> = targets.iter().filter_map(slot).collect();
        self.storage.publish(&set)?;
        self.is_shown = true;
        Ok(())
    }

    /// The application's test of new files. Firmware that is to fail it does.
    fn self_test(&self) -> Command<'static> {
        match self.device.part {
            Part::FailsSelfTest => Command::SelfTestFailed,
            _ => Command::SelfTestPassed,
        }
    }

    /// Whether this is the moment in which the power is to go.
    fn is_to_be_cut(&self) -> bool {
        let progress = self.updater.progress();
        self.device.part == Part::LosesPower
            && progress.activity == Activity::Downloading
            && progress.total.0 > 0
            && progress.done.0.saturating_mul(100) >= progress.total.0.saturating_mul(CUT_PERCENT)
            && self.device.note().cut.is_none()
    }
}

fn layout() -> DirectoryLayout {
    TARGETS.iter().fold(DirectoryLayout::new(), |layout, name| layout.with_target(target(name), CAPACITY))
}

fn target(name: &'static str) -> InstallTarget<'static> {
    InstallTarget::new(name).expect("the product's targets are names")
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
