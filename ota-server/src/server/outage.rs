//! While the server is off nobody is heard, and deadlines pass: for a while after that silence says nothing about devices.
//!
//! Without this a weekend without a server would make every device that was at work silent at its first tick, and gates
//! would stop a release that has done nothing wrong, or take devices back from it.

use std::sync::PoisonError;

use ota_core::fleet::StoreError;
use ota_core::time::{Millis, Timestamp};

use super::Server;

/// Where the store keeps when a server was last at work, and how often that is noted.
const AT_WORK: &str = "server.at_work";
const NOTE_EVERY: Millis = Millis(3_600_000);
/// Shorter outages are as if there had been none: a restart, an upgrade.
const OUTAGE_MIN: Millis = Millis(2 * 3_600_000);

/// What is known of the time before this server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outage {
    /// Since when it has been noted that a server is at work; `None` before the first tick.
    noted: Option<Timestamp>,
    /// Until when silence says nothing.
    until: Timestamp,
}

impl Server {
    /// Notes from time to time that a server is at work, and finds out at its first tick for how long none was.
    pub(super) async fn notice_outage(&self) -> Result<(), StoreError> {
        let now = self.now();
        let mut outage = *self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match outage.noted {
            Some(noted) if noted <= now && now.since(noted) < NOTE_EVERY => return Ok(()),
            Some(_) => {}
            None => {
                let lasted = self.done_at(AT_WORK).await?.map_or(Millis(0), |last| now.since(last));
                if lasted >= OUTAGE_MIN {
                    // As long as it takes until whoever lives has checked in.
                    outage.until = now.plus(lasted.min(self.inner.config.next_check_in));
                }
            }
        }
        self.was_done(AT_WORK, now).await?;
        outage.noted = Some(now);
        *self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner) = outage;
        Ok(())
    }

    /// Whether a device that is not heard could have been.
    pub(super) fn could_hear(&self, now: Timestamp) -> bool {
        now >= self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner).until
    }
}
