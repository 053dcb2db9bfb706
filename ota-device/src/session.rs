//! The check-in conversation: when to check in, with which nonce, and how long to wait for the answer.
//!
//! It runs beside whatever phase the engine is in. Only the latest nonce counts, and only for one answer.

use ota_core::limits::HINT_DELAY_MS_MAX;
use ota_core::number::Nonce;
use ota_core::time::{Instant, Millis};
use ota_core::trust::PendingNonce;

use crate::backoff::Backoff;
use crate::policy::Policy;
use crate::random::Jitter;

/// Longest wait for the answer to a check-in.
const ANSWER_WITHIN: Millis = Millis(20_000);
/// First and longest wait before a check-in without an answer is repeated.
const RETRY_FIRST: Millis = Millis(2_000);
const RETRY_MAX: Millis = Millis(3_600_000);
/// A hint to check in is followed within this time, so that notified devices do not come all at once.
const NOTIFY_SPREAD_MS: u64 = 3_000;

#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    retry: Backoff,
    last_sent: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Nothing is to be said before this time.
    Resting(Instant),
    /// A nonce has been asked for.
    AwaitNonce,
    /// The check-in can be sent.
    Ready(Nonce),
    /// The check-in was sent.
    AwaitAnswer { pending: PendingNonce, sent: Instant },
}

/// What the session wants to happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Nonce,
    CheckIn(Nonce),
    Nothing { until: Instant },
}

impl Session {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { state: State::Resting(now), retry: Backoff::new(RETRY_FIRST, RETRY_MAX), last_sent: None }
    }

    /// What is due now.
    pub(crate) fn wants(&mut self, now: Instant, jitter: &mut Jitter) -> Wants {
        match &self.state {
            State::Resting(until) if *until <= now => {
                self.state = State::AwaitNonce;
                Wants::Nonce
            }
            State::Resting(until) => Wants::Nothing { until: *until },
            State::AwaitNonce => Wants::Nothing { until: Instant(u64::MAX) },
            State::Ready(nonce) => Wants::CheckIn(*nonce),
            State::AwaitAnswer { sent, .. } => {
                let until = sent.plus(ANSWER_WITHIN);
                if until > now {
                    return Wants::Nothing { until };
                }
                let until = now.plus(self.retry.next(jitter));
                self.state = State::Resting(until);
                Wants::Nothing { until }
            }
        }
    }

    /// Takes the nonce that was asked for; says whether one was.
    pub(crate) fn give_nonce(&mut self, nonce: Nonce) -> bool {
        let is_asked = matches!(self.state, State::AwaitNonce);
        if is_asked {
            self.state = State::Ready(nonce);
        }
        is_asked
    }

    /// The check-in with this nonce was sent.
    pub(crate) const fn sent(&mut self, nonce: Nonce, now: Instant) {
        self.last_sent = Some(now);
        self.state = State::AwaitAnswer { pending: PendingNonce::new(nonce), sent: now };
    }

    /// The nonce whose answer is awaited, and when it was sent.
    pub(crate) const fn pending(&mut self) -> Option<(&mut PendingNonce, Instant)> {
        match &mut self.state {
            State::AwaitAnswer { pending, sent } => Some((pending, *sent)),
            _ => None,
        }
    }

    /// A verified answer came; the next check-in follows after the server's hint or the policy's interval.
    pub(crate) fn answered(&mut self, hint: Option<Millis>, policy: &Policy, now: Instant) {
        self.retry.reset();
        let wait = match hint {
            Some(hint) if hint.0 > 0 => {
                Millis(hint.0.min(HINT_DELAY_MS_MAX)).max(policy.check_in_interval_min)
            }
            _ => policy.check_in_interval,
        };
        self.state = State::Resting(now.plus(wait));
    }

    /// An answer came that cannot be used.
    pub(crate) fn put_off(&mut self, now: Instant, jitter: &mut Jitter) {
        self.state = State::Resting(now.plus(self.retry.next(jitter)));
    }

    /// The server asks for patience. It is there, and says itself for how long: what the device adds of its own keeps hints
    /// that nobody has signed from making it ask more often than its policy allows, and is no more than that.
    pub(crate) fn told_to_wait(&mut self, wait: Millis, policy: &Policy, now: Instant, jitter: &mut Jitter) {
        let own = self.retry.next_up_to(policy.check_in_interval_min, jitter);
        self.state = State::Resting(now.plus(own.max(Millis(wait.0.min(HINT_DELAY_MS_MAX)))));
    }

    /// Check in as soon as possible. One that is under way is enough, unless its answer is known to be useless.
    pub(crate) fn check_in(&mut self, now: Instant) {
        if let State::Resting(until) = &mut self.state {
            *until = (*until).min(now);
        }
    }

    /// Check in again after this wait at the latest.
    pub(crate) fn check_in_after(&mut self, wait: Millis, now: Instant) {
        if let State::Resting(until) = &mut self.state {
            *until = (*until).min(now.plus(wait));
        }
    }

    /// The link is back. A check-in whose answer is awaited, or that the link took with it, is said again: nobody will
    /// answer it any more.
    pub(crate) const fn reconnected(&mut self, now: Instant) {
        if let State::AwaitAnswer { .. } = self.state {
            self.state = State::Resting(now);
        }
    }

    /// Gives up what is under way and checks in anew after this wait.
    pub(crate) const fn begin_anew(&mut self, wait: Millis, now: Instant) {
        self.state = State::Resting(now.plus(wait));
    }

    /// The server hints that there is something to do; anybody could have said that.
    pub(crate) fn notified(&mut self, policy: &Policy, now: Instant, jitter: &mut Jitter) {
        let spread = now.plus(Millis(jitter.up_to(NOTIFY_SPREAD_MS)));
        let allowed = match self.last_sent {
            Some(sent) => spread.max(sent.plus(policy.check_in_interval_min)),
            None => spread,
        };
        if let State::Resting(until) = &mut self.state {
            *until = (*until).min(allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> (Session, Jitter, Policy) {
        (Session::new(Instant(0)), Jitter::new(1), Policy::default())
    }

    #[test]
    fn a_check_in_without_an_answer_is_repeated_with_a_new_nonce_and_growing_waits() {
        let (mut session, mut jitter, _) = session();
        let mut now = Instant(0);
        let mut waits = Vec::new();
        for round in 0..12 {
            assert_eq!(session.wants(now, &mut jitter), Wants::Nonce);
            assert!(session.give_nonce(Nonce([round; 16])));
            assert!(!session.give_nonce(Nonce([99; 16])));
            assert_eq!(session.wants(now, &mut jitter), Wants::CheckIn(Nonce([round; 16])));
            session.sent(Nonce([round; 16]), now);
            now = now.plus(ANSWER_WITHIN);
            let Wants::Nothing { until } = session.wants(now, &mut jitter) else { panic!("no wait") };
            waits.push(until.since(now).0);
            now = until;
        }
        assert!(waits[0] <= 2000 && waits[5] > 20_000 && waits[11] >= 1_800_000, "{waits:?}");
    }

    #[test]
    fn a_server_that_asks_for_patience_again_and_again_is_asked_every_minute() {
        let (mut session, mut jitter, policy) = session();
        let mut now = Instant(0);
        for round in 0..40 {
            session.sent(Nonce([round; 16]), now);
            session.told_to_wait(Millis(500), &policy, now, &mut jitter);
            let Wants::Nothing { until } = session.wants(now, &mut jitter) else { panic!("no wait") };
            let wait = until.since(now);
            assert!(wait <= policy.check_in_interval_min, "{wait:?} in round {round}");
            assert!(round < 8 || wait.0 > 30_000, "{wait:?} in round {round}");
            now = until;
            assert_eq!(session.wants(now, &mut jitter), Wants::Nonce);
            assert!(session.give_nonce(Nonce([round + 1; 16])));
        }
        session.sent(Nonce([99; 16]), now);
        session.told_to_wait(Millis(300_000), &policy, now, &mut jitter);
        assert_eq!(session.wants(now, &mut jitter), Wants::Nothing { until: now.plus(Millis(300_000)) });
    }

    #[test]
    fn notifications_cannot_make_the_device_check_in_more_often_than_its_policy_allows() {
        let (mut session, mut jitter, policy) = session();
        session.sent(Nonce([0; 16]), Instant(0));
        session.answered(None, &policy, Instant(10));
        for _ in 0..1000 {
            session.notified(&policy, Instant(20), &mut jitter);
        }
        let Wants::Nothing { until } = session.wants(Instant(20), &mut jitter) else { panic!("no wait") };
        assert_eq!(until, Instant(policy.check_in_interval_min.0));
    }

    #[test]
    fn a_check_in_that_the_link_took_with_it_is_said_again_when_the_link_is_back() {
        let (mut session, mut jitter, policy) = session();
        session.sent(Nonce([7; 16]), Instant(0));
        session.reconnected(Instant(50));
        assert_eq!(session.wants(Instant(50), &mut jitter), Wants::Nonce);
        // A link that comes and goes while nothing is awaited makes nobody talk.
        session.answered(None, &policy, Instant(60));
        session.reconnected(Instant(70));
        assert!(matches!(session.wants(Instant(70), &mut jitter), Wants::Nothing { .. }));
    }

    #[test]
    fn a_hint_is_capped_at_seven_days() {
        let (mut session, mut jitter, policy) = session();
        session.answered(Some(Millis(u64::MAX)), &policy, Instant(0));
        assert_eq!(
            session.wants(Instant(0), &mut jitter),
            Wants::Nothing { until: Instant(HINT_DELAY_MS_MAX) }
        );
    }
}
