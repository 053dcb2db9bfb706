//! A simulated link: one direction of it, with a bandwidth, a delay, a queue and every kind of bad luck.

use std::collections::BTreeMap;

use ota_core::time::Instant;

use crate::random::Dice;

/// What a link is like. Chances are per million messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkConfig {
    /// Time from the last bit sent to the last bit received, in milliseconds.
    pub delay_ms: u64,
    /// Capacity in bits per second; 0 for no limit.
    pub bits_per_second: u64,
    /// Bytes that the transport adds to each message.
    pub overhead_bytes: u64,
    /// Bytes that may wait for the link; what is beyond is dropped.
    pub queue_bytes: u64,
    /// Chance that a message is lost.
    pub loss: u32,
    /// Chance that it comes twice.
    pub duplicates: u32,
    /// Chance that it comes later than those behind it.
    pub reordering: u32,
    /// Chance that some of its bits are wrong.
    pub corruption: u32,
}

impl LinkConfig {
    /// A link without limits and without bad luck.
    pub const PERFECT: Self = Self {
        delay_ms: 0,
        bits_per_second: 0,
        overhead_bytes: 0,
        queue_bytes: u64::MAX,
        loss: 0,
        duplicates: 0,
        reordering: 0,
        corruption: 0,
    };
}

/// One direction of a link.
#[derive(Debug, Clone)]
pub struct SimLink {
    config: LinkConfig,
    dice: Dice,
    /// When the link is free again, in microseconds.
    free_at: u64,
    /// Messages under way, by time of arrival in microseconds and order of sending.
    under_way: BTreeMap<(u64, u64), Vec<u8>>,
    sent: u64,
    carried_bytes: u64,
}

impl SimLink {
    /// A link with nothing on it.
    #[must_use]
    pub const fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            dice: Dice::new(seed),
            free_at: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            carried_bytes: 0,
        }
    }

    /// Changes what the link is like from now on.
    pub const fn set(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Sends a message, or loses it.
    pub fn send(&mut self, message: &[u8], now: Instant) {
        let now_us = now.0 * 1000;
        let length = message.len() as u64 + self.config.overhead_bytes;
        let mut leaves = self.free_at.max(now_us);
        if self.config.bits_per_second > 0 {
            let waiting = (leaves - now_us) * self.config.bits_per_second / 8_000_000;
            if waiting > self.config.queue_bytes {
                return;
            }
            leaves += length * 8_000_000 / self.config.bits_per_second;
            self.free_at = leaves;
        }
        self.carried_bytes += length;
        if self.dice.happens(self.config.loss) {
            return;
        }
        let copies = 1 + u64::from(self.dice.happens(self.config.duplicates));
        for copy in 0..copies {
            let mut arrives = leaves + self.config.delay_ms * 1000;
            if copy > 0 || self.dice.happens(self.config.reordering) {
                arrives += self.dice.below(self.config.delay_ms * 2000 + 20_000);
            }
            let mut message = message.to_vec();
            if self.dice.happens(self.config.corruption) && !message.is_empty() {
                let at = self.dice.below(message.len() as u64) as usize;
                message[at] ^= 1 << self.dice.below(8);
            }
            self.sent += 1;
            self.under_way.insert((arrives, self.sent), message);
        }
    }

    /// When the next message arrives.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.under_way.keys().next().map(|(arrives, _)| Instant(arrives.div_ceil(1000)))
    }

    /// A message that has arrived by now.
    pub fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now.0 * 1000).then(|| first.remove())
    }

    /// The connection breaks: whatever was under way is gone.
    pub fn clear(&mut self) {
        self.under_way.clear();
        self.free_at = 0;
    }

    /// How many bytes went over the link, lost ones included.
    #[must_use]
    pub const fn carried_bytes(&self) -> u64 {
        self.carried_bytes
    }
}
