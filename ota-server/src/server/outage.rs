//! While the server is off nobody is heard, and deadlines pass: for a while after that silence says nothing about devices.
//!
//! Without this a weekend without a server would make every device that was at work silent at its first tick, and gates
//! would stop a release that has done nothing wrong, or take devices back from it. A clock that leaps ahead while the
//! server runs, or a machine that was asleep, looks the same to whoever keeps deadlines, and is treated the same.

use std::sync::PoisonError;

use ota_core::fleet::StoreError;
use ota_core::time::{Millis, Timestamp};

use super::Server;

/// Where the store keeps when a server was last at work, and how often that is noted.
const AT_WORK: &str = "server.at_work";
const NOTE_EVERY: Millis = Millis(3_600_000);
/// Outages that are not longer are as if there had been none: a restart, an upgrade.
const OUTAGE_MIN: Millis = Millis(2 * 3_600_000);

/// What is known of times in which nobody could be heard.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outage {
    /// Since when it has been noted that a server is at work; `None` before the first tick.
    noted: Option<Timestamp>,
    /// When the clock was last looked at.
    seen: Option<Timestamp>,
    /// Until when silence says nothing.
    until: Timestamp,
}

impl Outage {
    /// So much time is missing just before now. Whoever lives has checked in after as much again, or after `patience`.
    fn lacks(&mut self, span: Millis, patience: Millis, now: Timestamp) {
        if span > OUTAGE_MIN {
            self.until = self.until.max(now.plus(span.min(patience)));
        }
    }

    /// The clock shows this now.
    fn looks(&mut self, patience: Millis, now: Timestamp) {
        let span = self.seen.map_or(Millis(0), |seen| now.since(seen));
        // A clock that was set back would otherwise stretch the patience until it has caught up.
        self.until = self.until.min(now.plus(patience));
        self.lacks(span, patience, now);
        self.seen = Some(now);
    }
}

impl Server {
    /// Looks at the clock whenever anything happens, to find out that time is missing.
    pub(super) fn watch_clock(&self) {
        let now = self.now();
        let mut outage = self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.looks(self.inner.config.next_check_in, now);
    }

    /// Notes from time to time that a server is at work, and finds out at its first tick for how long none was.
    pub(super) async fn notice_outage(&self) -> Result<(), StoreError> {
        self.watch_clock();
        let now = self.now();
        let noted = self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner).noted;
        let lasted = match noted {
            Some(noted) if noted <= now && now.since(noted) < NOTE_EVERY => return Ok(()),
            Some(_) => Millis(0),
            None => self.done_at(AT_WORK).await?.map_or(Millis(0), |last| now.since(last)),
        };
        self.was_done(AT_WORK, now).await?;
        let mut outage = self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner);
        outage.lacks(lasted, self.inner.config.next_check_in, now);
        outage.noted = Some(now);
        Ok(())
    }

    /// Whether a device that is not heard could have been.
    pub(super) fn could_hear(&self, now: Timestamp) -> bool {
        now >= self.inner.outage.lock().unwrap_or_else(PoisonError::into_inner).until
    }
}
