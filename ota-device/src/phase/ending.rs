//! How attempts end before anything was committed, and how the engine gets up again after a fault.

use ota_core::device::Log;
use ota_core::time::{Instant, Millis};
use ota_core::wire::{Phase as Reached, ReportCode};

use super::{Origin, To};
use crate::config::Profile;
use crate::record::JournalRecord;
use crate::shared::{Happened, Shared, Step};

/// How long a fault is left alone before the storage is read anew.
const RECOVER_AFTER: Millis = Millis(5_000);

/// The attempt is over. The server hears why, also after a restart; the next attempt waits longer each time.
pub(crate) struct AttemptEnding {
    phase: Reached,
    code: ReportCode,
    is_asked: bool,
}

impl AttemptEnding {
    pub(crate) const fn new(phase: Reached, code: ReportCode) -> Self {
        Self { phase, code, is_asked: false }
    }

    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if !self.is_asked {
            self.is_asked = true;
            shared.happened(Happened::Failed(self.code));
            shared.tell(self.phase, self.code);
            if let Some(offer) = &shared.offer {
                let record = JournalRecord::Ended { offer: offer.id, phase: self.phase, code: self.code };
                let length = record.encode(shared.outgoing)?.len();
                return shared.append(Log::Journal, length);
            }
        }
        // A storage that fails even here changes nothing: what the journal says is only a hint.
        shared.answer = None;
        shared.forget_attempt();
        shared.news = None;
        let wait = shared.attempt_backoff.next(&mut shared.jitter);
        shared.session.begin_anew(wait, shared.now);
        Ok(To::Idle)
    }
}

/// Something failed while sets or trust were being changed. What the storage holds is read anew after a while.
pub(crate) struct Recover {
    at: Instant,
}

impl Recover {
    pub(crate) fn new<P: Profile>(shared: &Shared<'_, P>) -> Self {
        Self { at: shared.now.plus(RECOVER_AFTER) }
    }

    pub(crate) fn step<P: Profile>(&self, shared: &mut Shared<'_, P>) -> Step<To> {
        if shared.now < self.at {
            return Err(shared.wait(self.at));
        }
        shared.forget_attempt();
        Ok(To::Starting(Origin::Recovered))
    }
}
