//! Which blocks of one part are there, asked for, or still to be asked for.
//!
//! Everything before `base` is durable. Behind it, up to [`WINDOW_BLOCKS_MAX`] blocks have a mark each; a block is
//! taken only if its mark says that it was asked for, and marked as gone when three that were asked for later have
//! come (as in RFC 9002, section 6.1.1; fewer where fewer are on their way) or when nothing comes any more.

use super::pace::{SEQUENCE_MASK, Sequence, distance};
use crate::limits::WINDOW_BLOCKS_MAX;

const MARKS: usize = 256;
/// Room for a bit for each mark.
pub(crate) const BITMAP_BYTES: usize = MARKS / 8;
const _: () = assert!(WINDOW_BLOCKS_MAX == 256);

/// How many later blocks come before an earlier one counts as lost.
const REORDERING: u16 = 3;

/// State of one block in the upper two bits, the number it was asked for under in the lower fourteen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark(u16);

const STATE: u16 = 0xc000;
const MISSING: u16 = 0;
const WANTED: u16 = 0x4000;
const HELD: u16 = 0x8000;
const DONE: u16 = 0xc000;

/// What a block that arrived means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was asked for, under this number.
    Wanted(Sequence),
    /// It was asked for, then given up too early, and not asked for again yet.
    Late,
    /// It has come before.
    Duplicate,
    /// Nobody asked for it.
    Stray,
}

#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Number of blocks of the part.
    blocks: u64,
    /// Every block before this one is durable.
    base: u64,
    /// The first block that was never asked for.
    edge: u64,
    marks: [Mark; MARKS],
    next: Sequence,
    /// The highest number under which a block was asked for that has come.
    highest: Option<Sequence>,
    in_flight: u16,
}

impl Window {
    /// A part of this many blocks of which the first ones are there.
    pub(crate) const fn new(blocks: u64, done: u64) -> Self {
        let base = if done < blocks { done } else { blocks };
        Self { blocks, base, edge: base, marks: [Mark(MISSING); MARKS], next: 0, highest: None, in_flight: 0 }
    }

    pub(crate) const fn base(&self) -> u64 {
        self.base
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.base >= self.blocks
    }

    pub(crate) const fn in_flight(&self) -> u16 {
        self.in_flight
    }

    pub(crate) const fn next_sequence(&self) -> Sequence {
        self.next
    }

    fn slot(&self, block: u64) -> Option<usize> {
        let inside = block >= self.base && block < self.blocks && block.saturating_sub(self.base) < 256;
        if inside { usize::try_from(block & 255).ok() } else { None }
    }

    fn mark(&self, block: u64) -> Mark {
        self.slot(block).and_then(|slot| self.marks.get(slot)).copied().unwrap_or(Mark(MISSING))
    }

    fn set(&mut self, block: u64, mark: u16) {
        if let Some(place) = self.slot(block).and_then(|slot| self.marks.get_mut(slot)) {
            *place = Mark(mark);
        }
    }

    /// Whether a block is neither there nor asked for.
    pub(crate) fn is_missing(&self, block: u64) -> bool {
        self.slot(block).is_some() && self.mark(block).0 & STATE == MISSING
    }

    /// Whether a block has come, durable or not.
    pub(crate) fn is_here(&self, block: u64) -> bool {
        block < self.base || matches!(self.mark(block).0 & STATE, HELD | DONE)
    }

    /// Looks at a block that has come, without taking it.
    pub(crate) fn judge(&self, block: u64) -> Arrival {
        if block < self.base {
            return Arrival::Duplicate;
        }
        if self.slot(block).is_none() {
            return Arrival::Stray;
        }
        let mark = self.mark(block);
        match mark.0 & STATE {
            WANTED => Arrival::Wanted(mark.0 & SEQUENCE_MASK),
            MISSING if block >= self.edge => Arrival::Stray,
            MISSING => Arrival::Late,
            _ => Arrival::Duplicate,
        }
    }

    /// Takes a block that was asked for; it is here but not durable.
    pub(crate) fn take(&mut self, block: u64, sequence: Sequence) {
        self.set(block, HELD);
        self.in_flight = self.in_flight.saturating_sub(1);
        let is_newer = self.highest.is_none_or(|highest| distance(sequence, highest) < 0x2000);
        if is_newer {
            self.highest = Some(sequence);
        }
    }

    /// Takes a block that came by another way than being asked for.
    pub(crate) fn hold(&mut self, block: u64) {
        if self.mark(block).0 & STATE == WANTED {
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        self.set(block, HELD);
        self.edge = self.edge.max(block.saturating_add(1)).min(self.blocks);
    }

    /// What is held becomes durable.
    pub(crate) fn finish(&mut self, block: u64) {
        self.set(block, DONE);
        while self.base < self.blocks && self.mark(self.base).0 & STATE == DONE {
            let done = self.base;
            self.set(done, MISSING);
            self.base = done.saturating_add(1);
        }
        self.edge = self.edge.max(self.base);
    }

    /// What is held is thrown away and asked for again.
    pub(crate) fn drop_held(&mut self, block: u64) {
        if self.mark(block).0 & STATE == HELD {
            self.set(block, MISSING);
        }
    }

    /// Gives up the blocks that were overtaken by later ones; returns how many.
    pub(crate) fn give_up_overtaken(&mut self) -> u16 {
        let Some(highest) = self.highest else { return 0 };
        // Where fewer are on their way, three later ones may never come (as in RFC 5827).
        let patience = self.in_flight.clamp(1, REORDERING);
        self.give_up(|sequence| {
            let behind = distance(highest, sequence);
            (patience..0x2000).contains(&behind)
        })
    }

    /// Gives up everything that was asked for; returns how many blocks that are.
    pub(crate) fn give_up_all(&mut self) -> u16 {
        self.give_up(|_| true)
    }

    fn give_up(&mut self, is_lost: impl Fn(Sequence) -> bool) -> u16 {
        let mut lost = 0_u16;
        for block in self.base..self.edge {
            let mark = self.mark(block);
            if mark.0 & STATE == WANTED && is_lost(mark.0 & SEQUENCE_MASK) {
                self.set(block, MISSING);
                lost = lost.saturating_add(1);
            }
        }
        self.in_flight = self.in_flight.saturating_sub(lost);
        lost
    }

    /// Chooses up to `most` blocks before `limit` to be asked for now, marks them, and writes them as a bitmap that
    /// begins with the first of them. Returns `None` if there is none.
    pub(crate) fn ask(
        &mut self,
        most: u16,
        limit: u64,
        span_max: u64,
        bitmap: &mut [u8; BITMAP_BYTES],
    ) -> Option<Asked> {
        let limit = limit.min(self.blocks).min(self.base.saturating_add(256));
        let first = (self.base..limit).find(|block| self.is_missing(*block))?;
        let limit = limit.min(first.saturating_add(span_max.clamp(1, 256)));
        let mut asked = Asked { first, sequence: self.next, blocks: 0, last: first, repeats: 0 };
        bitmap.fill(0);
        for block in first..limit {
            if asked.blocks >= most {
                break;
            }
            if !self.is_missing(block) {
                continue;
            }
            if block < self.edge {
                asked.repeats = asked.repeats.saturating_add(1);
            }
            self.set(block, WANTED | self.next);
            self.next = self.next.wrapping_add(1) & SEQUENCE_MASK;
            asked.blocks = asked.blocks.saturating_add(1);
            asked.last = block;
            let bit = block.saturating_sub(first);
            if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| bitmap.get_mut(index)) {
                *byte |= 1 << (bit & 7);
            }
        }
        self.edge = self.edge.max(asked.last.saturating_add(1));
        self.in_flight = self.in_flight.saturating_add(asked.blocks);
        Some(asked)
    }

    /// Whether blocks that were asked for before have to be asked for again.
    pub(crate) fn has_gaps(&self, limit: u64) -> bool {
        (self.base..self.edge.min(limit)).any(|block| self.is_missing(block))
    }

    /// Whether there is anything left to ask for before `limit`.
    pub(crate) fn has_work(&self, limit: u64) -> bool {
        let limit = limit.min(self.blocks).min(self.base.saturating_add(256));
        self.edge < limit || self.has_gaps(limit)
    }
}

/// Blocks that are to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) blocks: u16,
    /// How many of them were asked for before.
    pub(crate) repeats: u16,
    /// The number of the first.
    pub(crate) sequence: Sequence,
}

impl Asked {
    /// Whether there are no holes between first and last.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.last.saturating_sub(self.first).saturating_add(1) == u64::from(self.blocks)
    }
}

#[cfg(test)]
mod tests;
