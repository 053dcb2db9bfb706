//! A device, a server and the link between them, in one thread and in simulated time.
//!
//! [`World::run`] is one life of the device between two starts; a test strings lives together.

use ota_core::conformance::MemoryStorage;
use ota_core::crypto::soft::{HmacSha256, SoftSha256};
use ota_core::device::{Area, DeviceStorage, Granularity, Slot};
use ota_core::list::List;
use ota_core::number::{ByteLength, ByteOffset, Nonce, SecurityEpoch, Sha256Digest};
use ota_core::text::{FileName, InstallTarget, Revision};
use ota_core::time::{Instant, Millis};
use ota_core::trust::{DevelopmentRoots, TrustedState};
use ota_device::limits::PIECE_BYTES_MAX;
use ota_device::provision::{FactoryFile, ProvisioningImage, provision};
use ota_device::{
    Buffers, Command, Config, Event, ExternalDownloads, Identity, Input, Link, Output, Policy, Profile,
    Progress, Statistics, StorageOp, Updater,
};

use crate::device::{DEVICE, SimBoot, SimProfile, SimSuite, firmware_target, identity, meter};
use crate::host::Host;
use crate::link::{LinkConfig, SimLink};
use crate::random::Dice;
use crate::server::SimServer;
use crate::workshop::{SourceFile, sha256};

/// A server, as the link sees it.
pub trait Answers {
    /// What it says when a device says this.
    fn receive(&mut self, message: &[u8], now: Instant) -> Vec<Vec<u8>>;
}

impl Answers for SimServer {
    fn receive(&mut self, message: &[u8], now: Instant) -> Vec<Vec<u8>> {
        Self::receive(self, message, now)
    }
}

/// A storage whose power can go.
pub trait Powered: DeviceStorage {
    /// Whether the power is gone.
    fn is_cut(&self) -> bool;
    /// The device starts again.
    fn power_on(&mut self);
    /// How many changes of the medium there were, to put them in order with those of the bootloader.
    fn changes(&mut self) -> u64 {
        0
    }
}

impl Powered for MemoryStorage {
    fn is_cut(&self) -> bool {
        Self::is_cut(self)
    }

    fn power_on(&mut self) {
        self.restart();
    }
}

/// Why a life of the device ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The time is over.
    Time,
    /// The engine wants the device to restart.
    Restart,
    /// The power went.
    Power,
    /// What was waited for has happened.
    Reached,
}

/// What the application does when files are on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It says nothing.
    Silent,
    /// It says that the self-test passed.
    Pass,
    /// It says that the self-test failed.
    Fail,
}

/// Sizes of the engine's buffers, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct BufferSizes {
    /// For metadata.
    pub metadata: usize,
    /// For blocks.
    pub blocks: usize,
}

/// A device, a server and the link between them.
pub struct World<S, A = SimServer> {
    /// The device's storage.
    pub storage: S,
    /// Its bootloader.
    pub boot: SimBoot,
    /// The server.
    pub server: A,
    /// From device to server.
    pub up: SimLink,
    /// From server to device.
    pub down: SimLink,
    /// The time, in milliseconds since the simulation began.
    pub now: Instant,
    /// The application's wishes.
    pub policy: Policy,
    /// What the application says about new files.
    pub verdict: Verdict,
    /// The device's own key, if it has one.
    pub key: Option<[u8; 32]>,
    /// Whether the application fetches from URLs.
    pub external: ExternalDownloads,
    /// Where files are hosted elsewhere, and the application's download from there.
    pub host: Option<Host>,
    /// Commands that the application gives at certain times, earliest first.
    pub commands: Vec<(Instant, Command<'static>)>,
    /// Times at which the link goes down or up, earliest first.
    pub link_changes: Vec<(Instant, Link)>,
    /// Messages that somebody else sends to the device, with times, earliest first.
    pub injected: Vec<(Instant, Vec<u8>)>,
    /// What the engine told, without what it borrowed.
    pub events: Vec<String>,
    /// The engine's counters at the end of its last life.
    pub statistics: Statistics,
    /// The engine's progress at the end of its last life.
    pub progress: Option<Progress>,
    /// How large its buffers are.
    pub buffers: BufferSizes,
    /// The longest unit of the files' block maps, in bytes: so much may be moved in a turn, if that is more than a piece.
    pub unit_bytes_max: usize,
    /// The changes of the storage by which the engine was told what it trusts, in its first life.
    pub told_at: Option<u64>,
    /// The bootloader after each of its changes, with the changes of the storage before it; kept where it was begun.
    pub boot_trace: Vec<(u64, SimBoot)>,
    dice: Dice,
}

impl World<MemoryStorage> {
    /// A provisioned device with these files, on a perfect link, in memory.
    #[must_use]
    pub fn in_memory(seed: u64, installed: &[SourceFile]) -> Self {
        Self::in_memory_with(seed, installed, Granularity { write: 4, erase: 1024 })
    }

    /// The same on a medium of this granularity.
    #[must_use]
    pub fn in_memory_with(seed: u64, installed: &[SourceFile], granularity: Granularity) -> Self {
        let targets = ["firmware", "app", "data", "certificates"];
        let storage = MemoryStorage::with_targets(granularity, &targets, ByteLength(1 << 20), 8);
        World::provisioned(storage, seed, installed)
    }
}

impl<S: Powered> World<S> {
    /// A device on this storage, provisioned with these files, on a perfect link.
    #[must_use]
    pub fn provisioned(storage: S, seed: u64, installed: &[SourceFile]) -> Self {
        let server = SimServer::new(DEVICE, seed);
        let root = server.roots[0].body.clone();
        Self::joined(storage, server, &root, seed, installed)
    }
}

impl<S: Powered, A: Answers> World<S, A> {
    /// The same with a server of one's own, whose product has this root.
    #[must_use]
    pub fn joined(mut storage: S, server: A, root: &[u8], seed: u64, installed: &[SourceFile]) -> Self {
        factory(&mut storage, root, installed);
        let mut boot = SimBoot::new();
        storage.power_on();
        boot.restart(&mut storage);
        Self::started(storage, boot, server, seed)
    }

    /// A device on this storage, just started by this bootloader, on a perfect link to this server.
    #[must_use]
    pub fn started(storage: S, boot: SimBoot, server: A, seed: u64) -> Self {
        Self {
            storage,
            boot,
            server,
            up: SimLink::new(LinkConfig::PERFECT, seed ^ 1),
            down: SimLink::new(LinkConfig::PERFECT, seed ^ 2),
            now: Instant(0),
            policy: Policy::default(),
            verdict: Verdict::Silent,
            key: None,
            external: ExternalDownloads::No,
            host: None,
            commands: Vec::new(),
            link_changes: Vec::new(),
            injected: Vec::new(),
            events: Vec::new(),
            statistics: Statistics::default(),
            progress: None,
            buffers: BufferSizes { metadata: 6 * 1024, blocks: 16 * 1024 },
            unit_bytes_max: 0,
            told_at: None,
            boot_trace: Vec::new(),
            dice: Dice::new(seed ^ 3),
        }
    }

    /// Sets both directions of the link.
    pub const fn set_link(&mut self, config: LinkConfig) {
        self.up.set(config);
        self.down.set(config);
    }

    /// The nonce that the device will use for its first check-in in its next life.
    #[must_use]
    pub fn peek_nonce(&self) -> Nonce {
        let mut dice = self.dice.clone();
        // The engine's own seed is drawn first.
        dice.next();
        Nonce(dice.bytes(16).try_into().unwrap())
    }

    /// Restarts the device: whatever it had in memory is gone.
    pub fn restart(&mut self) {
        self.storage.power_on();
        self.boot.restart(&mut self.storage);
        if !self.boot_trace.is_empty() {
            self.boot_trace.push((self.storage.changes(), self.boot.clone()));
        }
    }

    /// Lives, restarting whenever the engine asks for it, until the time is over or something has happened.
    pub fn run_through(&mut self, span: Millis, reached: impl Fn(&Self, &Progress) -> bool) -> End {
        self.run_through_as::<SimProfile>(span, reached)
    }

    /// The same, on a device of another profile.
    pub fn run_through_as<P>(&mut self, span: Millis, reached: impl Fn(&Self, &Progress) -> bool) -> End
    where
        P: Profile<Suite = SimSuite, Key = HmacSha256>,
    {
        let until = self.now.plus(span);
        loop {
            match self.run_as::<P>(until, &reached) {
                End::Restart => self.restart(),
                end => return end,
            }
        }
    }

    /// One life of the device.
    ///
    /// # Panics
    /// If the engine works without end at one moment: that is a stall.
    pub fn run(&mut self, until: Instant, reached: &impl Fn(&Self, &Progress) -> bool) -> End {
        self.run_as::<SimProfile>(until, reached)
    }

    fn run_as<P>(&mut self, until: Instant, reached: &impl Fn(&Self, &Progress) -> bool) -> End
    where
        P: Profile<Suite = SimSuite, Key = HmacSha256>,
    {
        let mut metadata = vec![0; self.buffers.metadata];
        let mut blocks = vec![0; self.buffers.blocks];
        let mut outgoing = vec![0; 4096];
        let connectivity = [InstallTarget::new("certificates").unwrap()];
        let config = Config::<P> {
            identity: identity(),
            firmware: Some(firmware_target()),
            connectivity: &connectivity,
            policy: self.policy,
            key: self.key.as_ref().map(HmacSha256::new),
            external: self.external,
            development: DevelopmentRoots::Refuse,
            seed: self.dice.next(),
        };
        let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
        let mut updater = Updater::new(config, buffers, self.now).unwrap();
        if let Some(host) = &mut self.host {
            host.forget();
        }
        let end = self.live(&mut updater, until, reached);
        self.statistics = *updater.statistics();
        self.progress = Some(updater.progress());
        end
    }

    fn live<P: Profile>(
        &mut self,
        updater: &mut Updater<'_, P>,
        until: Instant,
        reached: &impl Fn(&Self, &Progress) -> bool,
    ) -> End {
        let mut turns_now = 0_u32;
        loop {
            let mut commands = Vec::new();
            let Some((wake, restart)) = self.poll(updater, &mut commands) else { return End::Power };
            if self.told_at.is_none() && updater.trusted().is_some() {
                self.told_at = Some(self.storage.changes());
            }
            if reached(self, &updater.progress()) {
                return End::Reached;
            }
            if restart {
                return End::Restart;
            }
            if let Some(command) = commands.pop() {
                updater.handle_input(Input::Command(command), self.now).unwrap();
                continue;
            }
            let next = [
                Some(wake),
                self.up.next_at(),
                self.down.next_at(),
                self.commands.first().map(|(at, _)| *at),
                self.link_changes.first().map(|(at, _)| *at),
                self.injected.first().map(|(at, _)| *at),
                self.host.as_ref().and_then(Host::next_at),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(until).max(self.now);
            if next > until {
                self.now = until;
                return End::Time;
            }
            turns_now = if next > self.now { 0 } else { turns_now + 1 };
            assert!(turns_now < 1_000_000, "the engine works without end at {:?}", self.now);
            self.now = next;
            self.one_input(updater, wake);
        }
    }

    /// Polls until the engine waits; `None` if the power went.
    fn poll<P: Profile>(
        &mut self,
        updater: &mut Updater<'_, P>,
        commands: &mut Vec<Command<'static>>,
    ) -> Option<(Instant, bool)> {
        let mut restart = false;
        let mut moved = 0;
        let moved_max = PIECE_BYTES_MAX.max(self.policy.block_bytes as usize).max(self.unit_bytes_max);
        meter::begin_turn();
        loop {
            match updater.poll_output() {
                Output::Send(message) => self.up.send(message, self.now),
                Output::Storage(op) => {
                    moved += bytes_of(&op);
                    assert!(moved <= moved_max, "{moved} bytes are read and written in one turn");
                    let answer = op.perform(&mut self.storage);
                    if self.storage.is_cut() {
                        return None;
                    }
                    updater.handle_input(Input::StorageDone(answer), self.now).unwrap();
                }
                Output::Boot(op) => {
                    let answer = op.perform(&mut self.boot);
                    if !self.boot_trace.is_empty() {
                        self.boot_trace.push((self.storage.changes(), self.boot.clone()));
                    }
                    updater.handle_input(Input::BootDone(answer), self.now).unwrap();
                }
                Output::Nonce => {
                    let bytes = self.dice.bytes(16);
                    let nonce = Nonce(bytes.try_into().unwrap());
                    updater.handle_input(Input::Nonce(nonce), self.now).unwrap();
                }
                Output::Event(event) => {
                    restart |= event == Event::RestartNeeded;
                    if let (Event::FetchExternally { url, offset, size, block_bytes, .. }, Some(host)) =
                        (event, &mut self.host)
                    {
                        host.begin(url.as_str(), offset, size, block_bytes, self.now);
                    }
                    match (event, self.verdict) {
                        (Event::OnTrial, Verdict::Pass) => commands.push(Command::SelfTestPassed),
                        (Event::OnTrial, Verdict::Fail) => commands.push(Command::SelfTestFailed),
                        _ => {}
                    }
                    self.events.push(name_of(&event));
                }
                Output::WaitUntil(wake) => {
                    let hashed = meter::hashed_in_turn();
                    assert!(hashed <= PIECE_BYTES_MAX, "{hashed} bytes are hashed in one turn");
                    return Some((wake, restart));
                }
            }
        }
    }

    /// Gives the engine the one input that is due, and the server what has reached it.
    fn one_input<P: Profile>(&mut self, updater: &mut Updater<'_, P>, wake: Instant) {
        let is_due = |at: &Instant| *at <= self.now;
        if self.link_changes.first().is_some_and(|(at, _)| is_due(at)) {
            let (_, link) = self.link_changes.remove(0);
            self.up.clear();
            self.down.clear();
            updater.handle_input(Input::Link(link), self.now).unwrap();
            return;
        }
        while let Some(message) = self.up.receive(self.now) {
            for answer in self.server.receive(&message, self.now) {
                self.down.send(&answer, self.now);
            }
        }
        if self.commands.first().is_some_and(|(at, _)| is_due(at)) {
            let (_, command) = self.commands.remove(0);
            if let Some(host) = &mut self.host {
                host.is_paused = command == Command::Pause;
            }
            // A command that makes no sense now is refused, which is what some tests want to see.
            if updater.handle_input(Input::Command(command), self.now).is_err() {
                self.events.push("misuse".into());
            }
            return;
        }
        if self.injected.first().is_some_and(|(at, _)| is_due(at)) {
            let (_, message) = self.injected.remove(0);
            updater.handle_input(Input::Message(&message), self.now).unwrap();
            return;
        }
        if let Some(host) = &mut self.host
            && host.next_at().is_some_and(|at| at <= self.now)
        {
            if host.deliver(updater, self.now) {
                updater.handle_input(Input::Command(Command::ExternalFailed), self.now).unwrap();
            }
            return;
        }
        match self.down.receive(self.now) {
            Some(message) => updater.handle_input(Input::Message(&message), self.now).unwrap(),
            None if wake <= self.now => updater.handle_input(Input::Timeout, self.now).unwrap(),
            None => {}
        }
    }

    /// The bytes that lie in a slot.
    pub fn slot(&mut self, target: &str, slot: Slot, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let area = Area::Slot(InstallTarget::new(target).unwrap(), slot);
        self.storage.read(area, ByteOffset(0), &mut bytes).unwrap();
        bytes
    }

    /// Whether the active files of the device are exactly these, byte for byte, as a fresh engine tells it. Looking
    /// changes nothing: the engine that looks works on a copy, because a start on trial counts.
    pub fn has_installed(&mut self, files: &[SourceFile]) -> bool
    where
        S: Clone,
    {
        let (storage, boot) = (self.storage.clone(), self.boot.clone());
        let is_installed = self.finds_installed(files);
        (self.storage, self.boot) = (storage, boot);
        is_installed
    }

    /// The same, on the storage itself.
    fn finds_installed(&mut self, files: &[SourceFile]) -> bool {
        self.look(&[files]).is_some_and(|found| found.set == Some(0))
    }

    /// What a fresh engine finds on the storage: its trusted state, and which of these sets is active, byte for byte.
    /// `None` if it does not get as far as telling.
    pub fn look(&mut self, sets: &[&[SourceFile]]) -> Option<Found> {
        let mut metadata = vec![0; self.buffers.metadata];
        let mut blocks = vec![0; self.buffers.blocks];
        let mut outgoing = vec![0; 4096];
        let config = Config::<SimProfile> {
            identity: identity(),
            firmware: Some(firmware_target()),
            connectivity: &[],
            policy: self.policy,
            key: None,
            external: ExternalDownloads::No,
            development: DevelopmentRoots::Refuse,
            seed: 1,
        };
        let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
        let mut updater = Updater::new(config, buffers, self.now).unwrap();
        let mut commands = Vec::new();
        let target = first_target(sets.first()?);
        while updater.trusted().is_none() || updater.installed(target).is_none() {
            let before = self.now;
            self.poll(&mut updater, &mut commands)?;
            if updater.installed(target).is_none() && before == self.now {
                return None;
            }
        }
        let trusted = updater.trusted()?;
        let active: Vec<Vec<_>> = sets
            .iter()
            .map(|files| {
                let installed = files.iter().map(|file| {
                    let installed = updater.installed(InstallTarget::new(&file.target).unwrap())?;
                    let is_right = installed.revision.as_str() == file.revision
                        && installed.digest == sha256(&file.bytes);
                    is_right.then_some(installed.slot)
                });
                installed.collect()
            })
            .collect();
        let mut is_active = |(files, slots): (&&[SourceFile], &Vec<Option<Slot>>)| {
            files.iter().zip(slots).all(|(file, slot)| {
                slot.is_some_and(|slot| self.slot(&file.target, slot, file.bytes.len()) == file.bytes)
            })
        };
        let set = sets.iter().zip(&active).position(&mut is_active);
        Some(Found { trusted, set })
    }
}

/// What a fresh engine finds on a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it trusts.
    pub trusted: TrustedState,
    /// Which of the sets that were asked for is active; the first one, if they are the same.
    pub set: Option<usize>,
}

fn bytes_of(op: &StorageOp<'_>) -> usize {
    match op {
        StorageOp::Write { bytes, .. } | StorageOp::Append { record: bytes, .. } => bytes.len(),
        StorageOp::Read { into, .. } => into.len(),
        _ => 0,
    }
}

fn first_target(files: &[SourceFile]) -> InstallTarget<'_> {
    InstallTarget::new(&files[0].target).unwrap()
}

/// The name of an event, with its reason where it has one.
pub(crate) fn name_of(event: &Event<'_>) -> String {
    let text = format!("{event:?}");
    match event {
        Event::Failed(_) | Event::Reverted(_) | Event::StorageFailed(_) => text,
        _ => text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned(),
    }
}

/// What the factory does: files into slot A, then the image.
pub fn factory<S: DeviceStorage>(storage: &mut S, root: &[u8], installed: &[SourceFile]) {
    factory_of(identity(), storage, root, installed);
}

/// The same for a device that is called otherwise.
pub(crate) fn factory_of<S: DeviceStorage>(
    who: Identity<'_>,
    storage: &mut S,
    root: &[u8],
    installed: &[SourceFile],
) {
    for file in installed {
        let area = Area::Slot(InstallTarget::new(&file.target).unwrap(), Slot::A);
        storage.prepare(area, ByteLength(file.bytes.len() as u64), ByteLength(0)).unwrap();
        storage.write(area, ByteOffset(0), &file.bytes).unwrap();
    }
    let mut files: Vec<FactoryFile<'_>> = installed
        .iter()
        .map(|file| FactoryFile {
            name: FileName::new(&file.name).unwrap(),
            revision: Revision::new(&file.revision).unwrap(),
            digest: digest_of(file),
            target: InstallTarget::new(&file.target).unwrap(),
            slot: Slot::A,
            size: ByteLength(file.bytes.len() as u64),
        })
        .collect();
    files.sort_by_key(|file| file.name);
    let image = ProvisioningImage {
        identity: who,
        root,
        epoch_floor: SecurityEpoch(1),
        key: None,
        files: List::from_slice(&files),
        firmware: Some(firmware_target()),
    };
    provision::<SoftSha256, S>(&image, storage, &mut [0; 8192]).unwrap();
}

fn digest_of(file: &SourceFile) -> Sha256Digest {
    sha256(&file.bytes)
}
