//! A device that keeps its beat while it updates itself: one thread, one MQTT connection, no executor.
//!
//! The loop in [`run`] hands out turns, and nobody holds the thread for longer than one: the connection moves what can
//! be moved without waiting, the engine does at most one block, one signature or 4 KiB of hashing, and after each turn
//! of the engine comes the application. So a telemetry is never late by more than one turn of the engine, whatever
//! the size of the download; what was measured is printed at the end.
//!
//! The process may be killed at any moment, as a device may lose its power: it goes on where it was.

mod application;
mod connection;
mod engine;
mod options;
mod report;

use core::time::Duration;
use std::path::PathBuf;
use std::process::ExitCode;

use ota_core::device::StorageFault;
use ota_core::wire::topic::{Direction, Protocol, Topic, TopicPrefix};
use ota_device::provision::ProvisionError;
use ota_device::{Command, Input, Link, Misuse};
use ota_transport::session::Quality;

use application::{Application, Wish};
use connection::{Connection, Notice, milliseconds};
use engine::{Engine, Memory};
use options::{HELP, Options, Run};

/// How long the device goes on after an update was confirmed, if it is to end then: the server hears of it.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest wait, for the case that nobody wants anything.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let options = match Options::read(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\nsingle_thread_device --help tells more");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why the program cannot go on. A connection that breaks is none of these.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot open the folder {}: {source}", .path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot read the root {}: {source}", .path.display())]
    Root { path: PathBuf, source: std::io::Error },
    #[error("cannot provision the device: {0}")]
    Provision(#[from] ProvisionError),
    #[error("the storage: {0}")]
    Storage(#[from] StorageFault),
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
    #[error("this program misuses the engine: {0}")]
    Misuse(#[from] Misuse),
}

fn run(options: &Options) -> Result<(), Failure> {
    let started = std::time::Instant::now();
    let clock = || started.elapsed();
    let topics = Topics::new(options);
    let mut memory = Memory::new();
    let mut engine = Engine::open(options, &mut memory)?;
    let mut application = Application::new(options);
    let mut connection = Connection::new(options.broker, options.device.as_str(), topics.subscriptions());
    let mut end = None;

    engine.turn(Input::Link(Link::Down), clock(), |_| {})?;
    while end.is_none_or(|end| clock() < end) {
        // First the connection: it also sends what the application said in its last turn.
        let notice = connection.step(clock());
        let mut is_idle = notice.is_none();
        let input = match &notice {
            Some(Notice::Up) => Some(Input::Link(Link::Up)),
            Some(Notice::Down(why)) => {
                eprintln!("no connection to {}: {why}", options.broker);
                Some(Input::Link(Link::Down))
            }
            Some(Notice::Message { topic, payload }) if *topic == topics.down => {
                Some(Input::Message(payload))
            }
            Some(Notice::Message { topic, payload }) if *topic == topics.commands => {
                obey(&mut application, &mut connection, &engine, payload).map(Input::Command)
            }
            Some(Notice::Message { .. } | Notice::Progress) | None => None,
        };

        // Then one turn of the engine, if there is a reason for it.
        let is_due = engine.wake() <= milliseconds(clock());
        let input = input.or(is_due.then_some(Input::Timeout));
        if let Some(input) = input {
            is_idle = false;
            engine.turn(input, clock(), |message| {
                // What does not fit gets lost, and the engine asks again.
                if let Some(session) = connection.session() {
                    drop(session.publish(&topics.up, message, Quality::AtMostOnce));
                }
            })?;
            application.count_turn();
        } else if engine.publish() {
            is_idle = false;
            application.count_turn();
        }

        // And after each of them the application.
        application.take_turn(connection.session(), &engine.progress(), clock());

        if options.run == Run::UntilConfirmed && engine.is_confirmed() {
            end = end.or(Some(clock() + FAREWELL));
        }
        if is_idle {
            let wake = Duration::from_millis(engine.wake().0);
            let now = clock();
            let wishes = [Some(wake), application.due(), end, Some(now + WAIT_MAX)];
            connection.wait(wishes.into_iter().flatten().min().unwrap_or(now), now);
        }
    }
    connection.close(clock);
    report::print(&engine, &application, &connection);
    Ok(())
}

/// Lets the application answer a command, and says what that means for the engine.
fn obey(
    application: &mut Application,
    connection: &mut Connection,
    engine: &Engine<'_>,
    payload: &[u8],
) -> Option<Command<'static>> {
    let session = connection.session()?;
    match application.answer(session, payload, &engine.progress()) {
        Ok(Wish::Nothing) => None,
        Ok(Wish::Pause) => Some(Command::Pause),
        Ok(Wish::Resume) => Some(Command::Resume),
        Err(why) => {
            eprintln!("a command could not be answered: {why}");
            None
        }
    }
}

/// The topics of this device.
struct Topics {
    up: String,
    down: String,
    commands: String,
}

impl Topics {
    fn new(options: &Options) -> Self {
        let protocol = Protocol::Native(TopicPrefix::DEFAULT);
        let device = options.device.borrow();
        let topic = |direction| Topic { protocol, device, direction }.to_string();
        Self {
            up: topic(Direction::Up),
            down: topic(Direction::Down),
            commands: format!("commands/{device}"),
        }
    }

    /// What the device listens to: updates ask again for what is lost, commands must arrive.
    fn subscriptions(&self) -> Vec<(String, Quality)> {
        vec![(self.down.clone(), Quality::AtMostOnce), (self.commands.clone(), Quality::AtLeastOnce)]
    }
}
