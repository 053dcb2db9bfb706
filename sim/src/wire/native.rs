//! A device with the real engine on a real connection.
//!
//! [`Device::run`] is what the program of a device is: the connection and the engine take turns, and the engine may
//! restart the device. Dropping the future is a power cut.

use ota_core::conformance::MemoryStorage;
use ota_core::crypto::soft::HmacSha256;
use ota_core::device::{Area, Granularity};
use ota_core::number::{ByteLength, ByteOffset, Nonce};
use ota_core::text::{DeviceIdBuf, HardwareRevision, InstallTarget, ProductIdBuf};
use ota_core::time::Instant;
use ota_core::trust::DevelopmentRoots;
use ota_core::wire::topic::{Direction, Protocol, Topic, TopicPrefix};
use ota_device::{
    Buffers, Command, Config, Event, ExternalDownloads, Identity, Input, Link, Output, Policy, Statistics,
    Updater,
};

use super::{Access, Clock, Connection, Notice};
use crate::device::{SimBoot, SimProfile, firmware_target};
use crate::random::Dice;
use crate::workshop::{HARDWARE, SourceFile};
use crate::world::{BufferSizes, Powered, Verdict, factory_of, name_of};

/// A device, from its factory on.
#[derive(Debug)]
pub struct Device<S = MemoryStorage> {
    /// Its id.
    pub id: DeviceIdBuf,
    product: ProductIdBuf,
    /// Its storage.
    pub storage: S,
    /// Its bootloader.
    pub boot: SimBoot,
    /// The application's wishes.
    pub policy: Policy,
    /// What the application says about new files.
    pub verdict: Verdict,
    /// How large the engine's buffers are.
    pub buffers: BufferSizes,
    /// What the engine has told, without what it borrowed.
    pub events: Vec<String>,
    /// Connections that a broker has accepted.
    pub connections: u32,
    /// Why connections ended or could not be had.
    pub lost: Vec<String>,
    /// The engine's counters since the device was started last.
    pub statistics: Statistics,
    /// How often the engine had the device restarted.
    pub restarts: u32,
    dice: Dice,
}

/// What [`Device::run`] shows after each turn.
#[derive(Debug)]
pub struct Seen<'a> {
    /// What the engine has told so far.
    pub events: &'a [String],
    /// How many bytes of the release's files are on the device.
    pub done: u64,
    /// Connections that a broker has accepted so far.
    pub connections: u32,
    /// Connections that ended or could not be had so far.
    pub lost: usize,
}

impl Device<MemoryStorage> {
    /// A device in memory, as it leaves the factory of this product with these files.
    #[must_use]
    pub fn in_memory(
        product: &ProductIdBuf,
        root: &[u8],
        id: &DeviceIdBuf,
        installed: &[SourceFile],
        slot_bytes: u64,
    ) -> Self {
        let targets = ["firmware", "app", "data", "certificates"];
        let granularity = Granularity { write: 4, erase: 4096 };
        let storage = MemoryStorage::with_targets(granularity, &targets, ByteLength(slot_bytes), 8);
        Self::on(storage, product, root, id, installed)
    }
}

impl<S: Powered> Device<S> {
    /// The same on a storage of one's own, which is empty.
    #[must_use]
    pub fn on(
        mut storage: S,
        product: &ProductIdBuf,
        root: &[u8],
        id: &DeviceIdBuf,
        installed: &[SourceFile],
    ) -> Self {
        factory_of(identity(product, id), &mut storage, root, installed);
        let mut boot = SimBoot::new();
        storage.power_on();
        boot.restart(&mut storage);
        let seed = id.as_str().bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
        Self {
            id: id.clone(),
            product: product.clone(),
            storage,
            boot,
            policy: Policy::default(),
            verdict: Verdict::Silent,
            buffers: BufferSizes { metadata: 8 * 1024, blocks: 64 * 1024 },
            events: Vec::new(),
            connections: 0,
            lost: Vec::new(),
            statistics: Statistics::default(),
            restarts: 0,
            dice: Dice::new(seed),
        }
    }

    /// Lives, restarting whenever the engine asks for it, until something is seen.
    ///
    /// # Panics
    /// If the engine cannot be made, or is misused: these are faults of this driver.
    pub async fn run(&mut self, access: &Access, mut reached: impl FnMut(&Seen<'_>) -> bool) {
        let topics = Topics::of(&self.id);
        let clock = Clock::start();
        let mut connection = Connection::new(access.clone(), self.id.as_str(), topics.down.clone(), clock);
        while !self.live(&mut connection, &topics, clock, &mut reached).await {
            connection.cut();
            self.restarts += 1;
            self.storage.power_on();
            self.boot.restart(&mut self.storage);
        }
    }

    /// One life; whether what was waited for has been seen.
    async fn live(
        &mut self,
        connection: &mut Connection,
        topics: &Topics,
        clock: Clock,
        reached: &mut impl FnMut(&Seen<'_>) -> bool,
    ) -> bool {
        let (product, id) = (self.product.clone(), self.id.clone());
        let mut metadata = vec![0; self.buffers.metadata];
        let mut blocks = vec![0; self.buffers.blocks];
        let mut outgoing = vec![0; 4096];
        let connectivity = [InstallTarget::new("certificates").expect("a name")];
        let config = Config::<SimProfile> {
            identity: identity(&product, &id),
            firmware: Some(firmware_target()),
            connectivity: &connectivity,
            policy: self.policy,
            key: None::<HmacSha256>,
            external: ExternalDownloads::No,
            development: DevelopmentRoots::Refuse,
            seed: self.dice.next(),
        };
        let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
        let mut updater = Updater::new(config, buffers, clock.now()).expect("buffers and policy are good");
        let mut turn = self.turn(&mut updater, Input::Link(Link::Down), connection, topics, clock);
        loop {
            let seen = Seen {
                events: &self.events,
                done: updater.progress().done.0,
                connections: connection.connections,
                lost: self.lost.len(),
            };
            (self.connections, self.statistics) = (connection.connections, *updater.statistics());
            if reached(&seen) {
                return true;
            }
            if turn.is_restart {
                return false;
            }
            if let Some(command) = turn.command.take() {
                turn = self.turn(&mut updater, Input::Command(command), connection, topics, clock);
                continue;
            }
            let notice = connection.next(turn.wake).await;
            let input = match &notice {
                None => Input::Timeout,
                Some(Notice::Up) => Input::Link(Link::Up),
                Some(Notice::Down(why)) => {
                    self.lost.push(why.clone());
                    Input::Link(Link::Down)
                }
                Some(Notice::Message(payload)) => Input::Message(payload),
            };
            turn = self.turn(&mut updater, input, connection, topics, clock);
        }
    }

    /// One input, and whatever the engine wants done until it waits.
    fn turn(
        &mut self,
        updater: &mut Updater<'_, SimProfile>,
        input: Input<'_>,
        connection: &mut Connection,
        topics: &Topics,
        clock: Clock,
    ) -> Turn {
        let mut turn = Turn { wake: Instant(0), is_restart: false, command: None };
        let now = clock.now();
        updater.handle_input(input, now).expect("one input at a time");
        loop {
            let answer = match updater.poll_output() {
                Output::Send(message) => {
                    connection.send(&topics.up, message);
                    continue;
                }
                Output::Storage(op) => Input::StorageDone(op.perform(&mut self.storage)),
                Output::Boot(op) => Input::BootDone(op.perform(&mut self.boot)),
                Output::Nonce => Input::Nonce(Nonce(self.dice.bytes(16).try_into().expect("sixteen bytes"))),
                Output::Event(event) => {
                    turn.is_restart |= event == Event::RestartNeeded;
                    match (event, self.verdict) {
                        (Event::OnTrial, Verdict::Pass) => turn.command = Some(Command::SelfTestPassed),
                        (Event::OnTrial, Verdict::Fail) => turn.command = Some(Command::SelfTestFailed),
                        _ => {}
                    }
                    self.events.push(name_of(&event));
                    continue;
                }
                Output::WaitUntil(wake) => {
                    turn.wake = wake;
                    return turn;
                }
            };
            updater.handle_input(answer, now).expect("what was asked for");
        }
    }

    /// Whether these files are active, byte for byte, as a fresh engine tells it.
    ///
    /// # Panics
    /// If the storage fails.
    #[must_use]
    pub fn has_installed(&self, files: &[SourceFile]) -> bool
    where
        S: Clone,
    {
        let (mut storage, mut boot) = (self.storage.clone(), self.boot.clone());
        let (mut metadata, mut blocks) = (vec![0; self.buffers.metadata], vec![0; self.buffers.blocks]);
        let mut outgoing = vec![0; 4096];
        let config = Config::<SimProfile> {
            identity: identity(&self.product, &self.id),
            firmware: Some(firmware_target()),
            connectivity: &[],
            policy: self.policy,
            key: None::<HmacSha256>,
            external: ExternalDownloads::No,
            development: DevelopmentRoots::Refuse,
            seed: 1,
        };
        let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
        let mut updater = Updater::new(config, buffers, Instant(0)).expect("buffers and policy are good");
        loop {
            let answer = match updater.poll_output() {
                Output::Storage(op) => Input::StorageDone(op.perform(&mut storage)),
                Output::Boot(op) => Input::BootDone(op.perform(&mut boot)),
                Output::Nonce => Input::Nonce(Nonce([0; 16])),
                Output::Send(_) | Output::Event(_) => continue,
                Output::WaitUntil(_) => break,
            };
            updater.handle_input(answer, Instant(0)).expect("what was asked for");
        }
        files.iter().all(|file| {
            let target = InstallTarget::new(&file.target).expect("a name");
            let Some(found) = updater.installed(target) else { return false };
            let mut bytes = vec![0; file.bytes.len()];
            storage.read(Area::Slot(target, found.slot), ByteOffset(0), &mut bytes).expect("it can be read");
            found.revision.as_str() == file.revision
                && found.size.0 == file.bytes.len() as u64
                && bytes == file.bytes
        })
    }
}

struct Turn {
    wake: Instant,
    is_restart: bool,
    command: Option<Command<'static>>,
}

struct Topics {
    up: String,
    down: String,
}

impl Topics {
    fn of(device: &DeviceIdBuf) -> Self {
        let protocol = Protocol::Native(TopicPrefix::DEFAULT);
        let topic = |direction| Topic { protocol, device: device.borrow(), direction }.to_string();
        Self { up: topic(Direction::Up), down: topic(Direction::Down) }
    }
}

fn identity<'a>(product: &'a ProductIdBuf, device: &'a DeviceIdBuf) -> Identity<'a> {
    Identity {
        product: product.borrow(),
        device: device.borrow(),
        hardware: HardwareRevision::new(HARDWARE).expect("a name"),
    }
}
