//! The driver for one thread: it waits in the link, and nowhere else.

use ota_core::device::{BootControl, DeviceStorage};
use ota_core::time::Millis;

use super::{Application, Clock, Device, Heard, poll, take_turn};
use crate::config::Profile;

/// Carries messages to and from the server, from the thread that calls it.
pub trait Link {
    /// What ends the driver. A connection that broke is no error: the link says so by [`Heard::Link`] and makes it anew.
    type Error;

    /// Sends a message, or drops it: what gets lost is asked for again.
    ///
    /// # Errors
    /// When there will never be a connection again.
    fn send(&mut self, message: &[u8]) -> Result<(), Self::Error>;

    /// Waits for the next message, but no longer than this; not at all if that is nothing. Returning
    /// [`Heard::Nothing`] early is harmless, so a link that never waits works too, and keeps the processor busy.
    ///
    /// # Errors
    /// When there will never be a connection again.
    fn receive(&mut self, wait: Millis) -> Result<Heard<'_>, Self::Error>;
}

/// Drives a device until its application [leaves](super::Turn::Leave).
///
/// The application has its turn after each turn of the engine, and at least once in `turn_within`, whatever the link
/// brings or does not bring.
///
/// # Errors
/// What the link returned. The engine is where it was, and a power cut would have left the same.
pub fn run<P, S, B, A, L, C>(
    mut device: Device<'_, '_, P, S, B, A>,
    link: &mut L,
    clock: &C,
    turn_within: Millis,
) -> Result<(), L::Error>
where
    P: Profile,
    S: DeviceStorage + ?Sized,
    B: BootControl + ?Sized,
    A: Application + ?Sized,
    L: Link + ?Sized,
    C: Clock + ?Sized,
{
    loop {
        let until = poll!(device, clock, |message| link.send(message)?);
        take_turn!(device, clock);
        let wait = until.since(clock.now()).min(turn_within);
        let heard = link.receive(wait)?;
        device.give(heard.into(), clock.now());
    }
}

/// The clock of the standard library: monotonic, from when it was made.
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy)]
pub struct SystemClock(std::time::Instant);

#[cfg(feature = "std")]
impl SystemClock {
    /// A clock that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self(std::time::Instant::now())
    }
}

#[cfg(feature = "std")]
impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "std")]
impl Clock for SystemClock {
    fn now(&self) -> ota_core::time::Instant {
        ota_core::time::Instant(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
