//! The update engine with what it needs from this device: a folder, randomness, and a clock that is handed in.
//!
//! [`Engine::turn`] is the whole driver: one input, outputs until the engine waits. Around it everything is counted
//! that the promise to the application speaks of: how long a turn took, and how much was done in it.

use core::time::Duration;
use std::path::Path;

use ota_core::crypto::soft::{Ed25519, SoftSha256};
use ota_core::device::{DeviceStorage, Log};
use ota_core::integrity::Suite;
use ota_core::limits::RECORD_BYTES_MAX;
use ota_core::list::List;
use ota_core::number::{ByteLength, Nonce, SecurityEpoch};
use ota_core::text::InstallTarget;
use ota_core::time::Instant;
use ota_core::trust::DevelopmentRoots;
use ota_device::provision::{ProvisioningImage, provision};
use ota_device::{
    Activity, Buffers, Config, Event, ExternalDownloads, Identity, Input, NoKey, Output, Policy, Profile,
    Progress, StorageOp, Updater,
};
use ota_storage::directory::{DirectoryLayout, DirectoryStorage};

use crate::Failure;
use crate::options::Options;

/// The algorithms of this device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linux;

impl Suite for Linux {
    type Sha256 = SoftSha256;
    type Others = ();
    type Verifier = Ed25519;
}

impl Profile for Linux {
    type Suite = Self;
    type Key = NoKey;
}

/// The update engine, its storage, and what was counted.
pub(crate) struct Engine<'b> {
    updater: Updater<'b, Linux>,
    storage: DirectoryStorage,
    target: InstallTarget<'b>,
    wake: Instant,
    /// The files in use may have changed since they were last published.
    is_unpublished: bool,
    /// An update was confirmed and published.
    is_confirmed: bool,
    figures: Figures,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Turns of the engine.
    pub(crate) turns: u64,
    /// The longest one.
    pub(crate) longest: Option<Turn>,
    /// The longest one without the time that the storage took.
    pub(crate) longest_thinking: Option<Turn>,
    /// The one that read and wrote the most bytes.
    pub(crate) busiest: Option<Turn>,
    /// When the download began and ended.
    pub(crate) download: Option<(Duration, Duration)>,
}

/// One turn of the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// How long it took.
    pub(crate) took: Duration,
    /// How much of that was spent in the storage.
    pub(crate) storing: Duration,
    /// How many bytes it read and wrote.
    pub(crate) bytes: usize,
    /// How often it called the storage.
    pub(crate) calls: u32,
    /// What the engine was doing.
    pub(crate) activity: Activity,
}

/// The memory that the engine works in.
pub(crate) struct Memory {
    metadata: Vec<u8>,
    blocks: Vec<u8>,
    outgoing: Vec<u8>,
}

impl Memory {
    /// What a microcontroller could spare as well.
    pub(crate) fn new() -> Self {
        Self { metadata: vec![0; 8 * 1024], blocks: vec![0; 32 * 1024], outgoing: vec![0; 4096] }
    }
}

impl<'b> Engine<'b> {
    /// Opens the folder, provisions it if it is new and there is a root, and makes an engine on it.
    pub(crate) fn open(options: &'b Options, memory: &'b mut Memory) -> Result<Self, Failure> {
        let target = options.target.borrow();
        let identity = Identity {
            product: options.product.borrow(),
            device: options.device.borrow(),
            hardware: options.hardware.borrow(),
        };
        let layout = DirectoryLayout::new().with_target(target, options.capacity);
        let mut storage = DirectoryStorage::open(&options.folder, layout)
            .map_err(|source| Failure::Folder { path: options.folder.clone(), source })?;
        if let Some(root) = &options.root {
            provision_once(identity, root, &mut storage)?;
        }
        let policy = Policy { bytes_per_second_max: options.bytes_per_second_max, ..Policy::default() };
        let config = Config {
            identity,
            firmware: None,
            connectivity: &[],
            policy,
            key: None,
            external: ExternalDownloads::No,
            development: DevelopmentRoots::Refuse,
            seed: u64::from_le_bytes(random()?),
        };
        let Memory { metadata, blocks, outgoing } = memory;
        let buffers = Buffers { metadata, blocks, outgoing };
        let updater = Updater::new(config, buffers, Instant(0))?;
        Ok(Self {
            updater,
            storage,
            target,
            wake: Instant(0),
            is_unpublished: true,
            is_confirmed: false,
            figures: Figures::default(),
        })
    }

    /// When the engine wants its next turn.
    pub(crate) fn wake(&self) -> Instant {
        self.wake
    }

    pub(crate) fn progress(&self) -> Progress {
        self.updater.progress()
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Whether an update was confirmed and published.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.is_confirmed && !self.is_unpublished
    }

    /// One turn of the engine: an input, then whatever it wants done until it waits. Messages go to `send`, which may
    /// drop them.
    pub(crate) fn turn(
        &mut self,
        input: Input<'_>,
        now: Duration,
        mut send: impl FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let began = std::time::Instant::now();
        let activity = self.updater.progress().activity;
        let at = crate::connection::milliseconds(now);
        let mut storing = Duration::ZERO;
        let (mut bytes, mut calls) = (0, 0);
        self.updater.handle_input(input, at)?;
        self.wake = loop {
            match self.updater.poll_output() {
                Output::Send(message) => send(message),
                Output::Storage(op) => {
                    (bytes, calls) = (bytes + bytes_of(&op), calls + 1);
                    let before = std::time::Instant::now();
                    let answer = op.perform(&mut self.storage);
                    storing += before.elapsed();
                    self.updater.handle_input(Input::StorageDone(answer), at)?;
                }
                Output::Boot(op) => {
                    // Releases for this device hold no firmware.
                    let answer = op.perform(&mut ());
                    self.updater.handle_input(Input::BootDone(answer), at)?;
                }
                Output::Nonce => self.updater.handle_input(Input::Nonce(Nonce(random()?)), at)?,
                Output::Event(event) => {
                    tell(&event);
                    match event {
                        Event::OnTrial | Event::Reverted(_) => self.is_unpublished = true,
                        Event::Confirmed(_) => (self.is_unpublished, self.is_confirmed) = (true, true),
                        _ => {}
                    }
                }
                Output::WaitUntil(time) => break time,
            }
        };
        self.figures.count(Turn { took: began.elapsed(), storing, bytes, calls, activity });
        self.figures.watch_download(self.updater.progress().activity, now);
        Ok(())
    }

    /// Shows the other programs of the device the files that are in use now, if they may have changed; says whether
    /// that was tried. It counts as a turn, for the application waits for it all the same.
    pub(crate) fn publish(&mut self) -> bool {
        if !self.is_unpublished || self.progress().activity == Activity::Starting {
            return false;
        }
        let began = std::time::Instant::now();
        let installed = self.updater.installed(self.target);
        let set: Vec<_> = installed.iter().map(|file| (self.target, file.slot)).collect();
        match self.storage.publish(&set) {
            Ok(()) => self.is_unpublished = false,
            Err(fault) => eprintln!("the files in use could not be shown, and will be tried again: {fault}"),
        }
        let (took, activity) = (began.elapsed(), self.progress().activity);
        self.figures.count(Turn { took, storing: took, bytes: 0, calls: 1, activity });
        true
    }

    /// The file in use, as a sentence.
    pub(crate) fn describe_installed(&self) -> String {
        match self.updater.installed(self.target) {
            Some(file) => format!("{} {}, {} bytes", file.file, file.revision, file.size.0),
            None => "nothing".to_owned(),
        }
    }

    /// How many bytes of the file in use there are.
    pub(crate) fn installed_size(&self) -> ByteLength {
        self.updater.installed(self.target).map_or(ByteLength(0), |file| file.size)
    }
}

impl Figures {
    fn count(&mut self, turn: Turn) {
        self.turns += 1;
        keep_larger(&mut self.longest, turn, |turn| turn.took);
        keep_larger(&mut self.longest_thinking, turn, Turn::thinking);
        keep_larger(&mut self.busiest, turn, |turn| turn.bytes);
    }

    fn watch_download(&mut self, activity: Activity, now: Duration) {
        if activity == Activity::Downloading {
            let (began, _) = self.download.unwrap_or((now, now));
            self.download = Some((began, now));
        }
    }
}

fn keep_larger<T: Ord>(kept: &mut Option<Turn>, turn: Turn, by: impl Fn(&Turn) -> T) {
    if kept.as_ref().is_none_or(|kept| by(kept) < by(&turn)) {
        *kept = Some(turn);
    }
}

impl Turn {
    /// The time that was not spent in the storage.
    pub(crate) fn thinking(&self) -> Duration {
        self.took.saturating_sub(self.storing)
    }
}

/// What a factory does. A folder that was provisioned before keeps what it trusts.
fn provision_once(
    identity: Identity<'_>,
    root: &Path,
    storage: &mut DirectoryStorage,
) -> Result<(), Failure> {
    if storage.record(Log::Trusted, 0, &mut [0; RECORD_BYTES_MAX])?.is_some() {
        return Ok(());
    }
    let body = std::fs::read(root).map_err(|source| Failure::Root { path: root.to_owned(), source })?;
    let image = ProvisioningImage {
        identity,
        root: &body,
        epoch_floor: SecurityEpoch(0),
        key: None,
        files: List::empty(),
        firmware: None,
    };
    provision::<SoftSha256, _>(&image, storage, &mut [0; 512])?;
    println!("provisioned: {} of product {}", identity.device, identity.product);
    Ok(())
}

fn tell(event: &Event<'_>) {
    match event {
        Event::Offered(offered) => {
            println!("update: {} version {} is offered", offered.package, offered.version.0);
        }
        Event::Unprovisioned => {
            eprintln!("the folder is new, so no update can be trusted: give the product's root with --root");
        }
        Event::Confirmed(_) => println!("update: Confirmed"),
        event => println!("update: {event:?}"),
    }
}

fn bytes_of(op: &StorageOp<'_>) -> usize {
    match op {
        StorageOp::Write { bytes, .. } => bytes.len(),
        StorageOp::Read { into, .. } => into.len(),
        StorageOp::Append { record, .. } => record.len(),
        StorageOp::Record { into, .. } => into.len(),
        StorageOp::Granularity | StorageOp::Capacity(_) | StorageOp::Prepare { .. } => 0,
    }
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Failure::Randomness)?;
    Ok(bytes)
}
