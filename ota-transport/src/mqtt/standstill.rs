//! Notices that the whole process has stood still, which nobody in it can do at the time.
//!
//! Where several servers divide the messages of a broker, the others have gone on meanwhile. What this one was about to
//! send is then as old as what the broker has kept for it, and devices of the original protocol crash at either. The
//! connection is therefore given up before another byte is written to it, and all that waits in it with it.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// How often it is looked at a clock at least.
const BEAT: Duration = Duration::from_millis(500);
/// What is no longer a busy machine.
const STANDSTILL: Duration = Duration::from_secs(4);

/// Polls `connection` until it is done, or until there was a standstill: then it is not polled again.
///
/// # Errors
/// How long nothing in this process has moved.
pub(super) async fn unless_it_stands_still<T>(connection: impl Future<Output = T>) -> Result<T, Duration> {
    let mut connection = pin!(connection);
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    poll_fn(|context| {
        let since = looked.elapsed();
        if since > STANDSTILL {
            return Poll::Ready(Err(since));
        }
        looked = Instant::now();
        while beats.poll_tick(context).is_ready() {}
        connection.as_mut().poll(context).map(Ok)
    })
    .await
}

#[cfg(test)]
mod tests {
    use core::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_waits_for_long_is_kept() {
        // sleeps: time is paused; this is a connection on which nothing happens.
        let waits = tokio::time::sleep(20 * STANDSTILL);
        assert_eq!(unless_it_stands_still(waits).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_standstill_a_connection_is_not_polled_again() {
        let mut polled_after = false;
        let begun = Instant::now();
        let connection = poll_fn(|_| {
            polled_after |= begun.elapsed() > STANDSTILL;
            Poll::<()>::Pending
        });
        let standstill = async {
            tokio::task::yield_now().await;
            tokio::time::advance(STANDSTILL + BEAT).await;
            pending().await
        };
        tokio::select! {
            biased;
            found = unless_it_stands_still(connection) => assert!(found.is_err_and(|since| since > STANDSTILL)),
            () = standstill => {}
        }
        assert!(!polled_after);
    }
}
