//! How long a message may have waited before it was read: in the broker, in a socket, or because this server was slow to take
//! what came before it.
//!
//! Nothing in MQTT says when a message was published. But a broker answers and forwards on one connection in one order: what
//! arrives behind the answer to a question was forwarded after the question was asked. So a question that means
//! nothing is asked a few times a second, and whatever is read is no older than the last one that was answered.

use core::time::Duration;
use std::collections::VecDeque;

use tokio::time::Instant;

/// How often it is asked.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(250);

/// What was asked of the broker and is answered in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// For messages.
    Messages,
    /// Only to be answered.
    Nothing(Instant),
}

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Fresh {
    asked: VecDeque<Asked>,
    since: Instant,
}

impl Fresh {
    /// A connection that is made from now on: nothing waits in it.
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: VecDeque::new(), since: now }
    }

    /// Whatever is read now was forwarded after this moment.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Messages were asked for.
    pub(super) fn asked_for_messages(&mut self) {
        self.asked.push_back(Asked::Messages);
    }

    /// Whether it is worth asking again: not while a former question waits for its answer.
    pub(super) fn is_answered(&self) -> bool {
        self.asked.is_empty()
    }

    /// It was asked for nothing.
    pub(super) fn asked_for_nothing(&mut self, now: Instant) {
        self.asked.push_back(Asked::Nothing(now));
    }

    /// The broker has answered; says whether that was about messages.
    pub(super) fn answered(&mut self) -> bool {
        match self.asked.pop_front() {
            Some(Asked::Nothing(at)) => {
                self.since = at;
                false
            }
            Some(Asked::Messages) | None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_no_older_than_the_last_question_that_was_answered() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut fresh = Fresh::new(begun);
        fresh.asked_for_messages();
        assert!(!fresh.is_answered());
        assert!(fresh.answered(), "it was about messages");
        fresh.asked_for_nothing(at(1));
        assert_eq!(fresh.since(), at(0), "nobody knows yet");
        fresh.asked_for_messages();
        assert!(!fresh.answered());
        assert_eq!(fresh.since(), at(1));
        assert!(fresh.answered() && fresh.is_answered());
        assert_eq!(fresh.since(), at(1));
    }
}
