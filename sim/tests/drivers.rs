//! The drivers that come with the engine, each through a whole update with firmware; where time is simulated, on a link
//! that loses messages.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use std::collections::VecDeque;
use std::rc::Rc;

use ota_core::conformance::MemoryStorage;
use ota_core::device::Granularity;
use ota_core::number::{ByteLength, Nonce};
use ota_core::time::{Instant, Millis};
use ota_core::trust::DevelopmentRoots;
use ota_core::wire::Phase;
use ota_device::driver::asynchronous::{self, AsyncApplication, Timer};
use ota_device::driver::tokio::{ChannelLink, Closed, Incoming, TokioTimer};
use ota_device::driver::{Application, Clock, Device, Heard, Turn, blocking};
use ota_device::{
    Buffers, Command, Config, Confirm, Event, ExternalDownloads, Input, Link, Misuse, Policy, Progress,
    Statistics, Updater,
};
use ota_sim::device::{DEVICE, SimBoot, SimProfile, firmware_image, firmware_target, identity};
use ota_sim::random::Dice;
use ota_sim::server::SimServer;
use ota_sim::workshop::{SourceFile, Terms};
use ota_sim::world::factory;

/// An application that tests new files itself, and wants a restart to happen.
struct App {
    dice: Dice,
    has_tested: bool,
    is_confirmed: bool,
    wants_restart: bool,
    turns: u32,
    refused: Vec<Misuse>,
    /// Given with the next turns.
    commands: VecDeque<Command<'static>>,
    progress: Option<Progress>,
}

impl App {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            has_tested: false,
            is_confirmed: false,
            wants_restart: false,
            turns: 0,
            refused: Vec::new(),
            commands: VecDeque::new(),
            progress: None,
        }
    }
}

impl Application for App {
    fn nonce(&mut self) -> Nonce {
        Nonce(self.dice.bytes(16).try_into().unwrap())
    }

    fn event(&mut self, event: Event<'_>) -> Option<Command<'static>> {
        match event {
            Event::OnTrial => {
                self.has_tested = true;
                return Some(Command::SelfTestPassed);
            }
            Event::RestartNeeded => self.wants_restart = true,
            Event::Confirmed(_) => self.is_confirmed = true,
            _ => {}
        }
        None
    }

    fn turn(&mut self, progress: Progress, _: &Statistics) -> Turn<'_> {
        self.turns += 1;
        self.progress = Some(progress);
        if let Some(command) = self.commands.pop_front() {
            return Turn::Give(Input::Command(command));
        }
        if self.wants_restart || self.is_confirmed { Turn::Leave } else { Turn::Wait }
    }

    fn refused(&mut self, misuse: Misuse) {
        self.refused.push(misuse);
    }
}

impl AsyncApplication for App {}

fn file(name: &str, revision: &str, target: &str, length: usize, seed: u64) -> SourceFile {
    SourceFile::new(name, revision, target, Dice::new(seed).bytes(length))
}

fn files(revision: &str, seed: u64) -> Vec<SourceFile> {
    let image = firmware_image(&Dice::new(seed).bytes(20_000));
    vec![
        SourceFile::new("fw.bin", revision, "firmware", image).in_units(4096),
        file("app.bin", revision, "app", 30_000, seed + 1),
    ]
}

fn config() -> Config<'static, SimProfile> {
    Config {
        identity: identity(),
        firmware: Some(firmware_target()),
        connectivity: &[],
        policy: Policy { confirm: Confirm::SelfTestAndCheckedIn, ..Policy::default() },
        key: None,
        external: ExternalDownloads::No,
        development: DevelopmentRoots::Refuse,
        seed: 3,
    }
}

/// A provisioned device with a server that offers it new firmware and a file.
struct Scene {
    storage: MemoryStorage,
    boot: SimBoot,
    app: App,
}

impl Scene {
    fn new() -> (Self, SimServer) {
        let mut server = SimServer::new(DEVICE, 5);
        server.release = Some(server.workshop.release(&Terms::default(), files("2", 30)));
        let granularity = Granularity { write: 4, erase: 1024 };
        let mut storage =
            MemoryStorage::with_targets(granularity, &["firmware", "app"], ByteLength(1 << 20), 8);
        factory(&mut storage, &server.roots[0].body, &files("1", 10));
        storage.restart();
        let mut boot = SimBoot::new();
        boot.restart(&mut storage);
        (Self { storage, boot, app: App::new(7) }, server)
    }

    /// Starts the device again and again, as its application wants, until the update is confirmed; `life` drives.
    fn update(
        &mut self,
        now: impl Fn() -> Instant,
        mut life: impl FnMut(Device<'_, '_, SimProfile, MemoryStorage, SimBoot, App>),
    ) {
        for _ in 0..3 {
            let (mut metadata, mut blocks, mut outgoing) = ([0; 6 * 1024], [0; 16 * 1024], [0; 1024]);
            let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
            let mut updater = Updater::new(config(), buffers, now()).unwrap();
            life(Device {
                updater: &mut updater,
                storage: &mut self.storage,
                boot: &mut self.boot,
                application: &mut self.app,
            });
            if self.app.is_confirmed {
                return;
            }
            assert!(core::mem::take(&mut self.app.wants_restart), "a driver returns when it is told to");
            self.storage.restart();
            self.boot.restart(&mut self.storage);
        }
        panic!("the update needs more than one restart");
    }

    fn assert_updated(&self, server: &SimServer) {
        assert!(self.app.has_tested && self.app.is_confirmed);
        assert!(server.has_heard(Phase::Installed), "{:?}", server.heard);
        assert!(self.app.turns > 50, "the application had {} turns", self.app.turns);
        assert!(self.app.progress.is_some());
        assert_eq!(self.app.refused, [], "a driver gives the engine nothing that it refuses");
        let firmware = files("2", 30).remove(0);
        assert_eq!(self.boot.digest, Some(ota_sim::workshop::sha256(&firmware.bytes)));
    }
}

/// Time that passes only while somebody waits for it, and a server at the end of a link that loses every ninth message.
struct Near {
    server: RefCell<SimServer>,
    now: Cell<Instant>,
    down: RefCell<VecDeque<Vec<u8>>>,
    sent: Cell<u32>,
}

#[derive(Clone)]
struct NearLink {
    near: Rc<Near>,
    message: Vec<u8>,
}

impl NearLink {
    fn new(server: SimServer) -> Self {
        let near = Near {
            server: RefCell::new(server),
            now: Cell::new(Instant(0)),
            down: RefCell::default(),
            sent: Cell::new(0),
        };
        Self { near: Rc::new(near), message: Vec::new() }
    }

    fn is_lost(&self) -> bool {
        self.near.sent.set(self.near.sent.get() + 1);
        self.near.sent.get().is_multiple_of(9)
    }

    fn say(&self, message: &[u8]) {
        if self.is_lost() {
            return;
        }
        let answers = self.near.server.borrow_mut().receive(message, self.near.now.get());
        let heard = answers.into_iter().filter(|_| !self.is_lost());
        self.near.down.borrow_mut().extend(heard);
    }

    fn hear(&mut self) -> Option<Heard<'_>> {
        self.message = self.near.down.borrow_mut().pop_front()?;
        Some(Heard::Message(&self.message))
    }

    fn sleep(&self, span: Millis) {
        self.near.now.set(self.near.now.get().plus(span));
    }
}

impl Clock for NearLink {
    fn now(&self) -> Instant {
        self.near.now.get()
    }
}

impl blocking::Link for NearLink {
    type Error = Infallible;

    fn send(&mut self, message: &[u8]) -> Result<(), Infallible> {
        self.say(message);
        Ok(())
    }

    fn receive(&mut self, wait: Millis) -> Result<Heard<'_>, Infallible> {
        if self.near.down.borrow().is_empty() {
            self.sleep(wait);
        }
        Ok(self.hear().unwrap_or(Heard::Nothing))
    }
}

#[test]
fn the_blocking_driver_takes_a_whole_update() {
    let (mut scene, server) = Scene::new();
    let link = NearLink::new(server);
    let clock = link.clone();
    scene.update(
        || clock.now(),
        |device| {
            let mut link = link.clone();
            let Ok(()) = blocking::run(device, &mut link, &clock, Millis(100));
        },
    );
    scene.assert_updated(&link.near.server.borrow());
}

/// A link that never waits, as a socket that is only looked at.
struct Glanced(NearLink);

impl blocking::Link for Glanced {
    type Error = Infallible;

    fn send(&mut self, message: &[u8]) -> Result<(), Infallible> {
        blocking::Link::send(&mut self.0, message)
    }

    fn receive(&mut self, _: Millis) -> Result<Heard<'_>, Infallible> {
        self.0.sleep(Millis(1));
        Ok(self.0.hear().unwrap_or(Heard::Nothing))
    }
}

#[test]
fn the_blocking_driver_works_with_a_link_that_never_waits() {
    let (mut scene, server) = Scene::new();
    let link = NearLink::new(server);
    let clock = link.clone();
    scene.update(
        || clock.now(),
        |device| {
            let Ok(()) = blocking::run(device, &mut Glanced(link.clone()), &clock, Millis(100));
        },
    );
    scene.assert_updated(&link.near.server.borrow());
}

impl asynchronous::Link for NearLink {
    type Error = Infallible;

    async fn send(&mut self, message: &[u8]) -> Result<(), Infallible> {
        self.say(message);
        Ok(())
    }

    async fn receive(&mut self) -> Result<Heard<'_>, Infallible> {
        match self.hear() {
            Some(heard) => Ok(heard),
            None => core::future::pending().await,
        }
    }
}

impl Timer for NearLink {
    async fn wait_until(&mut self, time: Instant) {
        assert!(time > self.near.now.get(), "a timer's tick is long: what is due waits for none");
        self.near.now.set(self.near.now.get().max(time));
    }
}

#[test]
fn the_asynchronous_driver_takes_a_whole_update_on_no_particular_executor() {
    let (mut scene, server) = Scene::new();
    let link = NearLink::new(server);
    let clock = link.clone();
    scene.update(
        || clock.now(),
        |device| {
            let (mut link, mut timer) = (link.clone(), link.clone());
            let Ok(()) = poll_until_ready(asynchronous::run(device, &mut link, &mut timer));
        },
    );
    scene.assert_updated(&link.near.server.borrow());
}

/// An executor in one line: whoever waits for something that does not exist here would hang.
fn poll_until_ready<F: Future>(future: F) -> F::Output {
    let mut future = core::pin::pin!(future);
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    loop {
        if let core::task::Poll::Ready(ready) = future.as_mut().poll(&mut context) {
            return ready;
        }
    }
}

#[tokio::test]
async fn the_asynchronous_driver_takes_a_whole_update_on_tokio() {
    let (mut scene, server) = Scene::new();
    let timer = TokioTimer::new();
    let server = Rc::new(RefCell::new(server));
    for _ in 0..3 {
        let (mut link, mut end) = ChannelLink::new(64);
        let serving = Rc::clone(&server);
        // Whoever owns the connection: here the server is at its other end.
        let serve = async move {
            end.incoming.send(Incoming::Link(Link::Up)).await.unwrap();
            while let Some(message) = end.outgoing.recv().await {
                let answers = serving.borrow_mut().receive(&message, timer.now());
                for answer in answers {
                    if end.incoming.send(Incoming::Message(answer)).await.is_err() {
                        return;
                    }
                }
            }
        };
        let life = async {
            let (mut metadata, mut blocks, mut outgoing) = ([0; 6 * 1024], [0; 16 * 1024], [0; 1024]);
            let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
            let mut updater = Updater::new(config(), buffers, timer.now()).unwrap();
            let device = Device {
                updater: &mut updater,
                storage: &mut scene.storage,
                boot: &mut scene.boot,
                application: &mut scene.app,
            };
            let mut timer = timer;
            let ended = asynchronous::run(device, &mut link, &mut timer).await;
            drop(link);
            ended
        };
        let (ended, ()) = tokio::join!(life, serve);
        assert_eq!(ended, Ok(()));
        if scene.app.is_confirmed {
            break;
        }
        assert!(core::mem::take(&mut scene.app.wants_restart));
        scene.storage.restart();
        scene.boot.restart(&mut scene.storage);
    }
    scene.assert_updated(&server.borrow());
}

#[tokio::test]
async fn a_connection_that_nobody_holds_any_more_ends_the_driver() {
    let (mut scene, _) = Scene::new();
    let (mut link, end) = ChannelLink::new(1);
    let (mut metadata, mut blocks, mut outgoing) = ([0; 6 * 1024], [0; 16 * 1024], [0; 1024]);
    let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
    let mut timer = TokioTimer::new();
    let mut updater = Updater::new(config(), buffers, timer.now()).unwrap();
    let device = Device {
        updater: &mut updater,
        storage: &mut scene.storage,
        boot: &mut scene.boot,
        application: &mut scene.app,
    };
    drop(end);
    assert_eq!(asynchronous::run(device, &mut link, &mut timer).await, Err(Closed));
}

#[test]
fn a_command_that_makes_no_sense_now_comes_back_to_the_application_and_stops_nothing() {
    let (mut scene, server) = Scene::new();
    let mut link = NearLink::new(server);
    let clock = link.clone();
    let (mut metadata, mut blocks, mut outgoing) = ([0; 6 * 1024], [0; 16 * 1024], [0; 1024]);
    let buffers = Buffers { metadata: &mut metadata, blocks: &mut blocks, outgoing: &mut outgoing };
    let mut updater = Updater::new(config(), buffers, clock.now()).unwrap();
    scene.app.commands = [Command::SelfTestPassed, Command::CheckIn].into();
    // It leaves when all is said.
    scene.app.wants_restart = true;
    let device = Device {
        updater: &mut updater,
        storage: &mut scene.storage,
        boot: &mut scene.boot,
        application: &mut scene.app,
    };
    let Ok(()) = blocking::run(device, &mut link, &clock, Millis(100));
    assert_eq!(scene.app.refused, [Misuse::NotNow]);
    assert!(scene.app.commands.is_empty());
}
