//! When a device was heard, and until when that may be answered.
//!
//! A device of the original protocol crashes at an answer to what it asked before it connected anew, and where a foreign
//! broker carries the messages nobody tells the server that it has. What such a device asks is therefore answered soon
//! and over the link's connection that the question came by, or not at all: a device that waits in vain is corrected
//! by its next connection, one that has crashed by nothing.

use std::collections::HashMap;

use ota_core::fleet::{Dialect, LinkError, LinkEvent, Outbound};
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::Server;

/// How old a question may be when its answer leaves, where the device may have asked another server since: shorter than
/// anybody waits who switches a device off and on that hangs, also together with the second that it may have waited before.
const ANSWERED_WITHIN: Millis = Millis(3_000);

/// When something was heard, and by which connection of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    connection: u64,
}

/// An event of the link.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) moment: Moment,
    pub(super) event: LinkEvent,
}

/// When those were heard whom an answer could harm.
#[derive(Debug, Default)]
pub(super) struct Moments(HashMap<DeviceIdBuf, Moment>);

impl Server {
    /// Now.
    pub(super) fn moment(&self) -> Moment {
        Moment { at: self.now(), connection: self.inner.link.connection() }
    }

    /// Marks as late what is too old to be answered, and keeps in mind when the rest was heard.
    pub(super) fn still_to_answer(&self, mut heard: Vec<Heard>) -> (Vec<Heard>, Moments) {
        let mut moments = Moments::default();
        for Heard { moment, event } in &mut heard {
            let LinkEvent::Message { dialect: Dialect::Sft, device, .. } = &*event else { continue };
            if self.is_answered_in_time(*moment) {
                moments.0.insert(device.clone(), *moment);
            } else if let Some(late) = late(event) {
                *event = late;
            }
        }
        (heard, moments)
    }

    /// Sends answers to what was heard at these moments, without those that have become too old.
    pub(super) async fn answer(&self, mut out: Vec<Outbound>, moments: &Moments) -> Result<(), LinkError> {
        out.retain(|message| {
            let moment = moments.0.get(&message.device).filter(|_| message.dialect == Dialect::Sft);
            moment.is_none_or(|moment| self.is_answered_in_time(*moment))
        });
        if out.is_empty() { Ok(()) } else { self.inner.link.send(out).await }
    }

    /// Sends what is due since this moment, without what has become too old meanwhile.
    pub(super) async fn send_due(&self, mut out: Vec<Outbound>, since: Moment) -> Result<(), LinkError> {
        out.retain(|message| message.dialect != Dialect::Sft || self.is_answered_in_time(since));
        if out.is_empty() { Ok(()) } else { self.inner.link.send(out).await }
    }

    /// Whether somebody who looks every second, and looked last at this time, may have missed what others have heard since.
    pub(super) fn was_away_since(&self, looked: Timestamp) -> bool {
        self.has_neighbours() && self.now().since(looked) > ANSWERED_WITHIN
    }

    fn is_answered_in_time(&self, moment: Moment) -> bool {
        let is_soon = !self.has_neighbours() || self.now().since(moment.at) <= ANSWERED_WITHIN;
        is_soon && moment.connection == self.inner.link.connection()
    }
}

/// What is left of an event that nobody may answer any more: of an original device, that it has spoken.
pub(super) fn late(event: &LinkEvent) -> Option<LinkEvent> {
    match event {
        LinkEvent::Message { dialect: Dialect::Sft, device, payload } => {
            Some(LinkEvent::Late { dialect: Dialect::Sft, device: device.clone(), payload: payload.clone() })
        }
        LinkEvent::Late { .. } => Some(event.clone()),
        _ => None,
    }
}
