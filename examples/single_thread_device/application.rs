//! The device's own work: telemetry that is due on the beat, and commands that are answered at once.
//!
//! It knows nothing of updates but what it tells about them. It counts how often the update engine had a turn between
//! the moment a telemetry was due and the moment it was published: the promise of this program is "at most once".

use core::time::Duration;

use ota_device::Progress;
use ota_transport::session::{Quality, Session, SessionError};

use crate::options::Options;

/// Longest command that is read, in bytes. What is longer is cut: an answer repeats it.
const COMMAND_BYTES_MAX: usize = 64;

/// The device's own work.
#[derive(Debug)]
pub(crate) struct Application {
    telemetry_topic: String,
    answer_topic: String,
    interval: Duration,
    /// When the next telemetry is due; `None` before the device was connected for the first time.
    due: Option<Duration>,
    sequence: u64,
    /// Turns of the engine since the application has last looked at the clock and was not late.
    turns_since_look: u32,
    figures: Figures,
}

/// How well it went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Telemetries published.
    pub(crate) published: u64,
    /// Telemetries that fell due while there was no connection.
    pub(crate) skipped: u64,
    /// Commands answered.
    pub(crate) answered: u64,
    /// The most that a telemetry was late.
    pub(crate) late_max: Duration,
    /// All lateness together.
    pub(crate) late_sum: Duration,
    /// The most turns that the engine had while a telemetry was due.
    pub(crate) turns_waited_max: u32,
}

/// What a command wants from the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing.
    Nothing,
    /// Ask for no more blocks.
    Pause,
    /// Go on.
    Resume,
}

impl Application {
    pub(crate) fn new(options: &Options) -> Self {
        let device = options.device.as_str();
        Self {
            telemetry_topic: format!("telemetry/{device}"),
            answer_topic: format!("answers/{device}"),
            interval: options.telemetry_interval,
            due: None,
            sequence: 0,
            turns_since_look: 0,
            figures: Figures::default(),
        }
    }

    /// When the application wants its next turn.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The engine has had a turn.
    pub(crate) fn count_turn(&mut self) {
        self.turns_since_look += 1;
    }

    /// The application's turn: publishes what is due. `None` is a device without a connection, which skips what it
    /// cannot publish.
    pub(crate) fn take_turn(&mut self, session: Option<&mut Session>, progress: &Progress, now: Duration) {
        let Some(session) = session else {
            self.skip(now);
            return;
        };
        while let due = *self.due.get_or_insert(now)
            && due <= now
        {
            let text = format!(
                "seq={} uptime_ms={} activity={:?} done={} total={}",
                self.sequence,
                now.as_millis(),
                progress.activity,
                progress.done.0,
                progress.total.0
            );
            // A queue without room means a broker that does not read. The telemetry stays due, and counts as late.
            if session.publish(&self.telemetry_topic, text.as_bytes(), Quality::AtLeastOnce).is_err() {
                return;
            }
            let late = now.saturating_sub(due);
            self.figures.published += 1;
            self.figures.late_max = self.figures.late_max.max(late);
            self.figures.late_sum += late;
            self.figures.turns_waited_max = self.figures.turns_waited_max.max(self.turns_since_look);
            self.sequence += 1;
            self.due = Some(due + self.interval);
        }
        self.turns_since_look = 0;
    }

    /// Answers a command, and says what it wants from the engine.
    ///
    /// # Errors
    /// A refusal of the session, which goes on; the sender asks again.
    pub(crate) fn answer(
        &mut self,
        session: &mut Session,
        payload: &[u8],
        progress: &Progress,
    ) -> Result<Wish, SessionError> {
        let command = readable(payload);
        let known = command.split(' ').next().unwrap_or_default();
        let (wish, answer) = match known {
            "status" => (
                Wish::Nothing,
                format!("{:?} {} of {} bytes", progress.activity, progress.done.0, progress.total.0),
            ),
            "pause" => (Wish::Pause, "downloads pause".to_owned()),
            "resume" => (Wish::Resume, "downloads go on".to_owned()),
            _ => (Wish::Nothing, "not known; try status, pause or resume".to_owned()),
        };
        session.publish(
            &self.answer_topic,
            format!("{command}: {answer}").as_bytes(),
            Quality::AtLeastOnce,
        )?;
        self.figures.answered += 1;
        Ok(wish)
    }

    fn skip(&mut self, now: Duration) {
        while let Some(due) = self.due
            && due <= now
        {
            self.figures.skipped += 1;
            self.sequence += 1;
            self.due = Some(due + self.interval);
        }
        self.turns_since_look = 0;
    }
}

/// The command as text that can be repeated without harm, whoever sent it.
fn readable(payload: &[u8]) -> String {
    let payload = payload.get(..COMMAND_BYTES_MAX).unwrap_or(payload);
    let text = String::from_utf8_lossy(payload);
    text.trim().chars().map(|char| if char.is_control() { '?' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_repeated_without_harm() {
        assert_eq!(readable(b" status 7\n"), "status 7");
        assert_eq!(readable(b"a\0b\x1b[2J"), "a?b?[2J");
        assert_eq!(readable(&[b'x'; 1000]).len(), COMMAND_BYTES_MAX);
        assert_eq!(readable(&[0xff, b'x']), "\u{fffd}x");
    }
}
