//! The driver for executors: no std, no allocator, and no executor of its own.
//!
//! It is one future that borrows everything, so it can be a task of `embassy`, a branch of a `join`, or a spawned task
//! of tokio. Nothing in it needs to be `Send`; it is if its parts are.

use core::future::{Future, pending, poll_fn};
use core::pin::pin;
use core::task::Poll;

use ota_core::device::{BootControl, DeviceStorage};
use ota_core::time::Instant;

use super::{Application, Clock, Device, Heard, poll, take_turn};
use crate::config::Profile;

/// Carries messages to and from the server.
pub trait Link {
    /// What ends the driver. A connection that broke is no error: the link says so by [`Heard::Link`] and makes it anew.
    type Error;

    /// Sends a message, or drops it: what gets lost is asked for again. While it waits the whole device does, so it
    /// should not wait for a connection.
    fn send(&mut self, message: &[u8]) -> impl Future<Output = Result<(), Self::Error>>;

    /// Waits for the next message. Dropping the future loses nothing.
    fn receive(&mut self) -> impl Future<Output = Result<Heard<'_>, Self::Error>>;
}

/// Tells the time, and waits for it.
pub trait Timer: Clock {
    /// Waits until then; returning early is harmless. The time can lie so far ahead that the timer cannot tell it.
    fn wait_until(&mut self, time: Instant) -> impl Future<Output = ()>;
}

/// An application that has its turn when it wants, beside the turns that it has after each of the engine's.
pub trait AsyncApplication: Application {
    /// Waits until the application wants its turn: for a button, or for bytes that it fetches. Dropping the future
    /// loses nothing. Never, unless this is implemented.
    fn wants_turn(&mut self) -> impl Future<Output = ()> {
        pending()
    }
}

/// Drives a device until its application [leaves](super::Turn::Leave).
///
/// Dropping the future is like switching the device off, but for the engine, which is still there.
///
/// # Errors
/// What the link returned. The engine is where it was, and a power cut would have left the same.
pub async fn run<P, S, B, A, L, T>(
    mut device: Device<'_, '_, P, S, B, A>,
    link: &mut L,
    timer: &mut T,
) -> Result<(), L::Error>
where
    P: Profile,
    S: DeviceStorage + ?Sized,
    B: BootControl + ?Sized,
    A: AsyncApplication,
    L: Link,
    T: Timer,
{
    loop {
        let until = poll!(device, timer, |message| link.send(message).await?);
        take_turn!(device, timer);
        let heard = wait(link, timer, device.application, until).await?;
        device.give(heard.into(), timer.now());
    }
}

/// Waits for the link, the application or the time, whichever comes first.
async fn wait<'l, L: Link, T: Timer, A: AsyncApplication>(
    link: &'l mut L,
    timer: &mut T,
    application: &mut A,
    until: Instant,
) -> Result<Heard<'l>, L::Error> {
    // The engine asks for the next turn at once to let others have theirs: on an executor that takes a real pause, but
    // not a timer's, whose ticks may be long against a turn.
    let is_due = until <= timer.now();
    let mut has_paused = false;
    let mut received = pin!(link.receive());
    let mut wanted = pin!(application.wants_turn());
    let mut time = pin!(timer.wait_until(until));
    poll_fn(|context| {
        if let Poll::Ready(heard) = received.as_mut().poll(context) {
            return Poll::Ready(heard);
        }
        if wanted.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(Heard::Nothing));
        }
        if !is_due {
            return time.as_mut().poll(context).map(|()| Ok(Heard::Nothing));
        }
        if core::mem::replace(&mut has_paused, true) {
            return Poll::Ready(Ok(Heard::Nothing));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
