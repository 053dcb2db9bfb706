//! The metadata buffer: root, installed set, release and plan, one behind the other in one caller-given buffer.
//!
//! A region can only change its length when everything behind it is given up, so nothing is ever moved and no range
//! goes stale unnoticed.

use core::ops::Range;

/// What lies in the buffer, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Region {
    /// The body of the trusted root.
    Root,
    /// The body of the active set of files.
    Set,
    /// The body of the release, or of the root, that is being fetched.
    Body,
    /// Its envelope.
    Envelope,
    /// What is to be done with each file of the release.
    Plan,
    /// The body of the set that is being built.
    NewSet,
}

const REGIONS: [Region; 6] =
    [Region::Root, Region::Set, Region::Body, Region::Envelope, Region::Plan, Region::NewSet];

impl Region {
    const fn position(self) -> usize {
        match self {
            Self::Root => 0,
            Self::Set => 1,
            Self::Body => 2,
            Self::Envelope => 3,
            Self::Plan => 4,
            Self::NewSet => 5,
        }
    }
}

/// The buffer is too small for what should go into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSmall;

#[derive(Debug)]
pub(crate) struct Arena<'b> {
    bytes: &'b mut [u8],
    lengths: [usize; REGIONS.len()],
}

impl<'b> Arena<'b> {
    pub(crate) const fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, lengths: [0; REGIONS.len()] }
    }

    fn start(&self, region: Region) -> usize {
        self.lengths.iter().take(region.position()).fold(0, |sum, length| sum.saturating_add(*length))
    }

    /// Where a region lies.
    pub(crate) fn range(&self, region: Region) -> Range<usize> {
        let start = self.start(region);
        let length = self.lengths.get(region.position()).copied().unwrap_or(0);
        start..start.saturating_add(length)
    }

    pub(crate) fn region(&self, region: Region) -> &[u8] {
        self.bytes.get(self.range(region)).unwrap_or_default()
    }

    pub(crate) fn region_mut(&mut self, region: Region) -> &mut [u8] {
        let range = self.range(region);
        self.bytes.get_mut(range).unwrap_or_default()
    }

    /// The whole buffer.
    pub(crate) const fn all(&self) -> &[u8] {
        self.bytes
    }

    /// The whole buffer, to be read into.
    pub(crate) const fn all_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// Gives a region this length and gives up everything behind it. Its bytes mean nothing at first.
    pub(crate) fn place(&mut self, region: Region, length: usize) -> Result<(), TooSmall> {
        let end = self.start(region).checked_add(length).ok_or(TooSmall)?;
        self.give_up_from(region);
        if end > self.bytes.len() {
            return Err(TooSmall);
        }
        if let Some(slot) = self.lengths.get_mut(region.position()) {
            *slot = length;
        }
        Ok(())
    }

    /// Gives up a region and everything behind it.
    pub(crate) fn give_up_from(&mut self, region: Region) {
        self.lengths.iter_mut().skip(region.position()).for_each(|length| *length = 0);
    }

    /// How many bytes are left from the beginning of a region on.
    pub(crate) fn room_from(&self, region: Region) -> usize {
        self.bytes.len().saturating_sub(self.start(region))
    }

    /// Everything before the new set, and all the room behind it, to build it in.
    pub(crate) fn split_for_new_set(&mut self) -> (Regions<'_>, &mut [u8]) {
        let start = self.start(Region::NewSet);
        let (set, body, plan) = (self.range(Region::Set), self.range(Region::Body), self.range(Region::Plan));
        let (fixed, free) = self.bytes.split_at_mut_checked(start).unwrap_or_default();
        let piece = |range: Range<usize>| -> &[u8] { fixed.get(range).unwrap_or_default() };
        (Regions { set: piece(set), body: piece(body), plan: piece(plan) }, free)
    }
}

/// What a new set is built from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regions<'a> {
    pub(crate) set: &'a [u8],
    pub(crate) body: &'a [u8],
    pub(crate) plan: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placing_a_region_gives_up_what_lies_behind_it() {
        let mut bytes = [0; 10];
        let mut arena = Arena::new(&mut bytes);
        arena.place(Region::Root, 4).unwrap();
        arena.place(Region::Body, 5).unwrap();
        arena.region_mut(Region::Body).fill(7);
        assert_eq!(arena.range(Region::Body), 4..9);
        assert_eq!(arena.room_from(Region::Envelope), 1);
        assert_eq!(arena.place(Region::Envelope, 2), Err(TooSmall));
        assert_eq!(arena.region(Region::Body), [7; 5]);
        arena.place(Region::Set, 1).unwrap();
        assert_eq!(arena.region(Region::Body), []);
        assert_eq!(arena.place(Region::Body, usize::MAX), Err(TooSmall));
    }
}
