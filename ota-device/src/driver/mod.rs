//! Drivers: the loop of [the crate page](crate), finished, for those whose device fits one of them.
//!
//! A driver holds no rule about updates. It does what the engine asks for, hands over what the link brings, gives the
//! application its turn, and waits. Whoever needs another loop writes the one of the crate page.
//!
//! | driver | for | waits by |
//! |---|---|---|
//! | [`blocking::run`] | one thread, with or without std: a socket with a time limit, a serial line that is polled | [`blocking::Link::receive`] |
//! | [`asynchronous::run`] | any executor, with or without std, `embassy` among them | [`asynchronous::Link`], [`asynchronous::Timer`] |
//! | [`tokio::ChannelLink`], [`tokio::TokioTimer`] | what `asynchronous::run` needs on tokio (feature `tokio`) | channels, tokio's clock |
//!
//! Storage operations run where the driver runs, each at most one block or a piece of 4 KiB. Where that is too long for
//! the others on an executor, the driver gets a thread of its own.

pub mod asynchronous;
pub mod blocking;
#[cfg(feature = "tokio")]
pub mod tokio;

use ota_core::device::{BootControl, DeviceStorage};
use ota_core::number::Nonce;
use ota_core::time::Instant;

use crate::config::Profile;
use crate::io::{Command, Event, Input, Link, Misuse};
use crate::statistics::{Progress, Statistics};
use crate::updater::Updater;

/// An engine and what it works on. A driver borrows it for as long as it runs.
pub struct Device<'d, 'b, P: Profile, S: ?Sized, B: ?Sized, A: ?Sized> {
    /// The engine.
    pub updater: &'d mut Updater<'b, P>,
    /// Where everything rests.
    pub storage: &'d mut S,
    /// The bootloader.
    pub boot: &'d mut B,
    /// Everything else that the device does.
    pub application: &'d mut A,
}

/// The application, as far as a driver needs it.
pub trait Application {
    /// 16 bytes that nobody can predict, not even from all those before them.
    fn nonce(&mut self) -> Nonce;

    /// Something happened; the application may answer with a command.
    ///
    /// [`Event::RestartNeeded`] is best answered by returning [`Turn::Leave`] from the next
    /// [`turn`](Self::turn) and restarting the device then, or by restarting it at once.
    fn event(&mut self, event: Event<'_>) -> Option<Command<'static>> {
        let _ = event;
        None
    }

    /// The application's turn, between two turns of the engine: for its own work, as long as that takes.
    fn turn(&mut self, progress: Progress, statistics: &Statistics) -> Turn<'_> {
        let _ = (progress, statistics);
        Turn::Wait
    }

    /// The engine refused an input of the application's; it did nothing. [`Misuse::NoRoom`] asks to give it again.
    fn refused(&mut self, misuse: Misuse) {
        let _ = misuse;
    }
}

/// What an application does with its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<'a> {
    /// Nothing for the engine. The driver waits for the link, the time, or whatever else wakes it.
    Wait,
    /// The engine gets this: a command, or bytes that the application fetched.
    Give(Input<'a>),
    /// The driver returns. The engine goes on where it stopped when a driver is called again.
    Leave,
}

/// What a link brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A message for the engine.
    Message(&'a [u8]),
    /// The link is up, or down.
    Link(Link),
    /// Nothing, until now.
    Nothing,
}

impl<'a> From<Heard<'a>> for Input<'a> {
    fn from(heard: Heard<'a>) -> Self {
        match heard {
            Heard::Message(message) => Self::Message(message),
            Heard::Link(link) => Self::Link(link),
            Heard::Nothing => Self::Timeout,
        }
    }
}

/// Reads the time.
pub trait Clock {
    /// Milliseconds since any moment before the engine was made; never less than before.
    fn now(&self) -> Instant;
}

impl<P: Profile, S: DeviceStorage + ?Sized, B: BootControl + ?Sized, A: Application + ?Sized>
    Device<'_, '_, P, S, B, A>
{
    /// Gives the engine an input that it may refuse.
    fn give(&mut self, input: Input<'_>, now: Instant) {
        if let Err(misuse) = self.updater.handle_input(input, now) {
            self.application.refused(misuse);
        }
    }
}

/// Does what the engine asks for until it waits, and is the time until when. Drivers differ in how they send.
macro_rules! poll {
    ($device:expr, $clock:expr, |$message:ident| $send:expr) => {
        loop {
            let input = match $device.updater.poll_output() {
                $crate::Output::WaitUntil(time) => break time,
                $crate::Output::Send($message) => {
                    $send;
                    continue;
                }
                $crate::Output::Storage(op) => $crate::Input::StorageDone(op.perform(&mut *$device.storage)),
                $crate::Output::Boot(op) => $crate::Input::BootDone(op.perform(&mut *$device.boot)),
                $crate::Output::Nonce => $crate::Input::Nonce($device.application.nonce()),
                $crate::Output::Event(event) => match $device.application.event(event) {
                    Some(command) => $crate::Input::Command(command),
                    None => continue,
                },
            };
            $device.give(input, $clock.now());
        }
    };
}
/// Gives the application its turn; goes on with the driver's loop, or leaves it.
macro_rules! take_turn {
    ($device:expr, $clock:expr) => {
        match $device.application.turn($device.updater.progress(), $device.updater.statistics()) {
            $crate::driver::Turn::Wait => {}
            $crate::driver::Turn::Leave => return Ok(()),
            $crate::driver::Turn::Give(input) => {
                let refused = $device.updater.handle_input(input, $clock.now()).err();
                if let Some(misuse) = refused {
                    $device.application.refused(misuse);
                }
                continue;
            }
        }
    };
}
pub(crate) use {poll, take_turn};
