//! How many blocks may be in flight, and how long to wait for one.
//!
//! The time-out follows RFC 6298. The window is judged once per round trip: it grows while requests are answered
//! about as fast as the fastest ever was, and shrinks when answers begin to queue (as in TCP Vegas, Brakmo 1995) or
//! when many blocks get lost. A few losses alone do not shrink it, because on a radio link they say nothing about
//! how full the link is.

use ota_core::time::{Instant, Millis};

use crate::limits::{
    BLOCK_TIMEOUT_FIRST, BLOCK_TIMEOUT_MAX, BLOCK_TIMEOUT_MIN, REQUESTS_TIMED_MAX, WINDOW_BLOCKS_MAX,
};
use crate::math;

/// Window at the beginning, in bytes, and its limits in blocks (as in RFC 6928).
const WINDOW_FIRST_BYTES: u32 = 14_600;
const WINDOW_FIRST_MIN: u16 = 2;
const WINDOW_FIRST_MAX: u16 = 10;
/// Rounds after which the fastest round trip is found anew, because routes change.
const BASE_ROUNDS: u8 = 64;
/// Smoothed share of lost blocks, in 1/1024, above which the window shrinks.
const LOSS_SHARE_MAX: u32 = 128;

/// Sequence numbers of sent requests for blocks, compared in a circle.
pub(crate) type Sequence = u16;

/// How far `later` lies behind `earlier` on the circle of 14-bit numbers.
pub(crate) const fn distance(later: Sequence, earlier: Sequence) -> u16 {
    later.wrapping_sub(earlier) & SEQUENCE_MASK
}

/// Sequence numbers have 14 bits.
pub(crate) const SEQUENCE_MASK: u16 = 0x3fff;
const HALF_CIRCLE: u16 = 0x2000;

#[derive(Debug, Clone, Copy)]
struct Sent {
    first: Sequence,
    at: Instant,
}

#[derive(Debug, Clone)]
pub(crate) struct Pace {
    smoothed: Option<Millis>,
    variation: Millis,
    /// Smoothed time between two blocks; when the last one came, unless a time-out lies in between.
    gap: Millis,
    last: Option<Instant>,
    /// Whether a block of this part has come.
    has_begun: bool,
    fastest: Millis,
    fastest_age: u8,
    /// Time-outs since the last block.
    timeouts: u8,
    /// How often the time-out has doubled since the last round trip that was measured without doubt (Karn's rule:
    /// what comes after a repetition may belong to the first request, and must not bring a short time-out back).
    doublings: u8,
    window: u16,
    growth: Growth,
    /// The round ends when a block that was asked for after this one arrives.
    round_end: Sequence,
    round_fastest: Option<Millis>,
    /// The shortest time between two blocks of the round.
    round_gap: Option<Millis>,
    round_arrived: u16,
    round_lost: u16,
    loss_share: u32,
    /// Requests without repeated blocks whose first answer has not come, oldest first.
    sent: [Option<Sent>; REQUESTS_TIMED_MAX],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// Doubles each round: nothing is known yet.
    Doubling,
    /// Grows by an eighth each round.
    Steady,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self {
            smoothed: None,
            variation: Millis(0),
            gap: Millis(0),
            last: None,
            has_begun: false,
            fastest: Millis(u64::MAX),
            fastest_age: 0,
            timeouts: 0,
            doublings: 0,
            window: WINDOW_FIRST_MIN,
            growth: Growth::Doubling,
            round_end: 0,
            round_fastest: None,
            round_gap: None,
            round_arrived: 0,
            round_lost: 0,
            loss_share: 0,
            sent: [None; REQUESTS_TIMED_MAX],
        }
    }

    /// Another part is fetched, in blocks of this length: numbers begin anew, what is known about the link stays.
    pub(crate) fn begin_part(&mut self, block_bytes: u32) {
        if self.smoothed.is_none() {
            let blocks = WINDOW_FIRST_BYTES.checked_div(block_bytes).unwrap_or(0);
            let blocks = u16::try_from(blocks).unwrap_or(WINDOW_FIRST_MAX);
            self.window = blocks.clamp(WINDOW_FIRST_MIN, WINDOW_FIRST_MAX);
        }
        self.last = None;
        self.has_begun = false;
        self.gap = Millis(0);
        self.sent = [None; REQUESTS_TIMED_MAX];
        self.round_end = 0;
        self.round_fastest = None;
        self.round_gap = None;
        self.round_arrived = 0;
        self.round_lost = 0;
    }

    pub(crate) fn window(&self, most: u16) -> u16 {
        self.window.clamp(1, most.clamp(1, WINDOW_BLOCKS_MAX))
    }

    pub(crate) const fn round_trip(&self) -> Option<Millis> {
        self.smoothed
    }

    /// How long nothing may come before what is missing counts as lost.
    pub(crate) fn timeout(&self) -> Millis {
        let base = match self.smoothed {
            None => BLOCK_TIMEOUT_FIRST.0,
            // On a slow link most of the time passes between two blocks, not before the first of a request.
            Some(smoothed) => {
                let patience = math::times(self.variation.0.max(self.gap.0), 4);
                smoothed.0.saturating_add(patience)
            }
        };
        // Blocks of this part may be much longer than what was measured so far.
        let least = if self.has_begun { BLOCK_TIMEOUT_MIN } else { BLOCK_TIMEOUT_FIRST };
        let base = base.max(least.0);
        Millis(math::times(base, 1 << self.doublings.min(16)).min(BLOCK_TIMEOUT_MAX.0))
    }

    pub(crate) const fn timeouts_in_a_row(&self) -> u8 {
        self.timeouts
    }

    /// A request went out whose first block has this number; `repeats` if it asks for blocks a second time, which
    /// makes its answer ambiguous (Karn's rule).
    pub(crate) fn sent(&mut self, first: Sequence, repeats: bool, now: Instant) {
        if repeats {
            return;
        }
        if self.sent.iter().all(Option::is_some) {
            self.sent.rotate_left(1);
            if let Some(last) = self.sent.last_mut() {
                *last = None;
            }
        }
        if let Some(free) = self.sent.iter_mut().find(|sent| sent.is_none()) {
            *free = Some(Sent { first, at: now });
        }
    }

    /// A block came that was asked for under this number; `next` is the number of the next block to be asked for.
    pub(crate) fn arrived(&mut self, sequence: Sequence, next: Sequence, most: u16, now: Instant) {
        self.timeouts = 0;
        self.round_arrived = self.round_arrived.saturating_add(1);
        self.has_begun = true;
        let last = self.last.replace(now);
        if let Some(last) = last {
            let gap = now.since(last);
            self.gap = if self.gap.0 == 0 { gap } else { Millis(weighted(self.gap.0, gap.0, 8)) };
            self.round_gap = Some(self.round_gap.map_or(gap, |least| least.min(gap)));
        }
        if let Some(sample) = self.take_sample(sequence, now) {
            self.measure(sample);
        }
        // One block tells how long the way is, and only the second how many of them fit on it.
        if last.is_some() && distance(sequence, self.round_end) < HALF_CIRCLE {
            self.end_round(most);
            self.round_end = next;
        }
    }

    /// The time since the youngest request that began at or before this number, once per request.
    fn take_sample(&mut self, sequence: Sequence, now: Instant) -> Option<Millis> {
        let mut youngest: Option<Sent> = None;
        let sent = core::mem::replace(&mut self.sent, [None; REQUESTS_TIMED_MAX]);
        let mut free = self.sent.iter_mut();
        for sent in sent.into_iter().flatten() {
            if distance(sequence, sent.first) < HALF_CIRCLE {
                // Whatever was asked for before this request needs no time any more.
                youngest = Some(sent);
            } else if let Some(place) = free.next() {
                *place = Some(sent);
            }
        }
        youngest.filter(|sent| sent.first == sequence).map(|sent| now.since(sent.at))
    }

    fn measure(&mut self, sample: Millis) {
        self.doublings = 0;
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = Millis(sample.0 / 2);
            }
            Some(smoothed) => {
                let off = smoothed.0.abs_diff(sample.0);
                self.variation = Millis(weighted(self.variation.0, off, 4));
                self.smoothed = Some(Millis(weighted(smoothed.0, sample.0, 8)));
            }
        }
        self.fastest = self.fastest.min(sample);
        self.round_fastest = Some(self.round_fastest.map_or(sample, |fastest| fastest.min(sample)));
    }

    pub(crate) const fn lost(&mut self) {
        self.round_lost = self.round_lost.saturating_add(1);
    }

    /// Nothing came in time.
    pub(crate) fn timed_out(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
        self.doublings = self.doublings.saturating_add(1);
        self.last = None;
        self.sent = [None; REQUESTS_TIMED_MAX];
        self.window = (self.window / 2).max(1);
        self.growth = Growth::Steady;
        self.round_lost = 0;
        self.round_arrived = 0;
    }

    /// The link was gone: what was measured on it may not hold any more.
    pub(crate) fn reconnected(&mut self) {
        self.timeouts = 0;
        self.doublings = 0;
        self.last = None;
        self.sent = [None; REQUESTS_TIMED_MAX];
        self.fastest = Millis(u64::MAX);
        self.fastest_age = 0;
        self.round_fastest = None;
    }

    fn end_round(&mut self, most: u16) {
        let all = u32::from(self.round_arrived).saturating_add(u32::from(self.round_lost));
        let share = u32::from(self.round_lost).saturating_mul(1024).checked_div(all).unwrap_or(0);
        self.loss_share = self.loss_share.saturating_mul(7).saturating_add(share) / 8;
        let queues = self.round_fastest.is_some_and(|fastest| {
            let tolerated = (self.fastest.0 / 2).saturating_add(10);
            fastest.0 > self.fastest.0.saturating_add(tolerated)
        });
        if self.loss_share > LOSS_SHARE_MAX {
            self.window = self.window.saturating_sub(self.window / 4).max(1);
            self.growth = Growth::Steady;
            self.loss_share = 0;
        } else if queues {
            self.window = self.window.saturating_sub(self.window / 8).max(1);
            self.growth = Growth::Steady;
        } else {
            if self.is_full() {
                self.growth = Growth::Steady;
            }
            let step = match self.growth {
                Growth::Doubling => self.window,
                Growth::Steady => (self.window / 8).max(1),
            };
            self.window = self.window.saturating_add(step).min(most.clamp(1, WINDOW_BLOCKS_MAX));
        }
        self.fastest_age = self.fastest_age.saturating_add(1);
        if self.fastest_age >= BASE_ROUNDS
            && let Some(fastest) = self.round_fastest
        {
            self.fastest = fastest;
            self.fastest_age = 0;
        }
        self.round_fastest = None;
        self.round_gap = None;
        self.round_arrived = 0;
        self.round_lost = 0;
    }

    /// Whether the blocks in flight, one after the other as they came at the best, take longer than two round trips:
    /// a larger window would only fill the queues on the way, and what does not fit them is lost.
    fn is_full(&self) -> bool {
        let gap = self.round_gap.unwrap_or_default().0;
        math::times(gap, u64::from(self.window)) > math::times(self.fastest.0, 2)
    }
}

/// The old value with 1/`parts` of the new one mixed in.
fn weighted(old: u64, new: u64, parts: u64) -> u64 {
    let kept = math::times(old, parts.saturating_sub(1));
    kept.saturating_add(new).checked_div(parts).unwrap_or(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_sets_the_timeout_as_rfc_6298_says() {
        let mut pace = Pace::new();
        assert_eq!(pace.timeout(), BLOCK_TIMEOUT_FIRST);
        pace.sent(0, false, Instant(0));
        pace.arrived(0, 4, 64, Instant(300));
        assert_eq!(pace.round_trip(), Some(Millis(300)));
        assert_eq!(pace.timeout(), Millis(300 + 4 * 150));
    }

    #[test]
    fn the_answer_to_a_repeated_request_is_not_measured() {
        let mut pace = Pace::new();
        pace.sent(0, true, Instant(0));
        pace.arrived(0, 4, 64, Instant(300));
        assert_eq!(pace.round_trip(), None);
    }

    #[test]
    fn timeouts_double_up_to_a_limit_until_a_round_trip_is_measured() {
        let mut pace = Pace::new();
        for _ in 0..40 {
            pace.timed_out();
        }
        assert_eq!(pace.timeout(), BLOCK_TIMEOUT_MAX);
        assert_eq!(pace.window(64), 1);
        pace.arrived(0, 1, 64, Instant(0));
        assert_eq!((pace.timeout(), pace.timeouts_in_a_row()), (BLOCK_TIMEOUT_MAX, 0));
        pace.sent(1, false, Instant(0));
        pace.arrived(1, 2, 64, Instant(100));
        assert_eq!(pace.timeout(), Millis(100 + 4 * 100));
    }

    #[test]
    fn the_window_grows_on_a_free_link_and_shrinks_when_answers_queue() {
        let mut pace = Pace::new();
        pace.begin_part(1024);
        let mut next: Sequence = 0;
        // As many blocks as the window allows, all of them at once.
        let mut round = |pace: &mut Pace, round_trip: u64, at: u64| {
            let first = next;
            let blocks = pace.window(64);
            next = next.wrapping_add(blocks) & SEQUENCE_MASK;
            pace.sent(first, false, Instant(at));
            for block in 0..blocks {
                let sequence = first.wrapping_add(block) & SEQUENCE_MASK;
                pace.arrived(sequence, next, 64, Instant(at + round_trip));
            }
        };
        for step in 0..10 {
            round(&mut pace, 100, step * 1000);
        }
        assert_eq!(pace.window(64), 64);
        for step in 10..20 {
            round(&mut pace, 300, step * 1000);
        }
        assert!(pace.window(64) < 32, "{}", pace.window(64));
    }

    #[test]
    fn the_first_window_is_as_many_blocks_as_any_link_takes() {
        for (block_bytes, blocks) in [(256, 10), (1024, 10), (4096, 3), (16_384, 2), (65_536, 2)] {
            let mut pace = Pace::new();
            pace.begin_part(block_bytes);
            assert_eq!(pace.window(64), blocks, "{block_bytes}");
        }
    }

    #[test]
    fn a_window_that_fills_the_link_is_not_doubled() {
        let mut pace = Pace::new();
        pace.begin_part(1024);
        pace.sent(0, false, Instant(0));
        // 20 ms there and back, and 90 ms for each block to get onto the link.
        for block in 0..10 {
            pace.arrived(block, 10, 64, Instant(110 + u64::from(block) * 90));
        }
        assert!(pace.window(64) <= 11, "{}", pace.window(64));
    }

    #[test]
    fn metadata_of_one_block_says_nothing_about_the_window() {
        let mut pace = Pace::new();
        for _ in 0..8 {
            pace.begin_part(1024);
            pace.sent(0, false, Instant(0));
            pace.arrived(0, 1, 64, Instant(100));
        }
        assert_eq!(pace.window(64), 10);
    }
}
