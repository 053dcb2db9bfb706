//! The block buffer, divided into cells: pieces that are checked and written at once.

use core::ops::Range;

use crate::limits::CELLS_MAX;

/// Which cells are held, each by its index in the file.
#[derive(Debug, Clone)]
pub(crate) struct Cells {
    bytes: usize,
    count: usize,
    /// [`FREE`] where there is none.
    held: [u64; CELLS_MAX],
}

/// No cell has this index: a file of that many bytes does not exist.
const FREE: u64 = u64::MAX;

impl Cells {
    /// As many cells of this length as the buffer has room for.
    pub(crate) fn new(bytes: usize, buffer: usize) -> Self {
        let count = buffer.checked_div(bytes).unwrap_or(0).min(CELLS_MAX);
        Self { bytes, count, held: [FREE; CELLS_MAX] }
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    /// The slot that holds a cell.
    pub(crate) fn slot_of(&self, cell: u64) -> Option<usize> {
        self.held.iter().take(self.count).position(|held| *held == cell)
    }

    /// The slot that holds a cell, or a free one that holds it from now on.
    pub(crate) fn slot_for(&mut self, cell: u64) -> Option<usize> {
        if let Some(slot) = self.slot_of(cell) {
            return Some(slot);
        }
        let slot = self.held.iter().take(self.count).position(|held| *held == FREE)?;
        if let Some(held) = self.held.get_mut(slot) {
            *held = cell;
        }
        Some(slot)
    }

    /// The cell that a slot holds.
    pub(crate) fn cell_in(&self, slot: usize) -> Option<u64> {
        self.held.get(slot).copied().filter(|cell| *cell != FREE)
    }

    /// The cells that are held.
    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.held.iter().copied().enumerate().filter(|(_, cell)| *cell != FREE)
    }

    pub(crate) fn release(&mut self, slot: usize) {
        if let Some(held) = self.held.get_mut(slot) {
            *held = FREE;
        }
    }

    /// Where the first `length` bytes of a slot lie in the buffer.
    pub(crate) fn range(&self, slot: usize, length: usize) -> Range<usize> {
        let start = slot.saturating_mul(self.bytes);
        start..start.saturating_add(length.min(self.bytes))
    }
}
