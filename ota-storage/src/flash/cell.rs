//! One cell of a log: what is written at once, and what is torn at once.
//!
//! A cell that decodes was begun on purpose by us, for this log, this segment and this position; whether it was
//! finished is for the log to decide. Layout in `docs/flash-format.md`.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use ota_core::device::Log;

/// Bytes in front of the payload of a cell.
pub(super) const HEAD_BYTES: u32 = 16;
/// The shortest cell: as much payload as head.
pub(super) const BYTES_MIN: u32 = 32;

const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
const MOVED: u16 = 0x4000;
const RESERVED: u16 = 0x8000;
const LENGTH: u16 = 0x3FFF;
/// Segment numbers have 24 bits: more than any flash can be erased.
pub(super) const SEGMENT_MAX: u32 = 0x00FF_FFFF;

/// What a cell says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the segment: rises with every switch.
    pub(super) segment: u32,
    /// The session that wrote it: 0 for what was carried into the segment, from 1 on for what was added to it.
    pub(super) session: u8,
    /// The entry that it is part of.
    pub(super) entry: Entry,
}

/// An entry of a log, as each of its cells describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// The first record has 1; 0 stands for a log without records.
    pub(super) sequence: u32,
    /// Position of its first cell.
    pub(super) start: u16,
    /// Length of the record in bytes.
    pub(super) length: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record.
    Record,
    /// The log goes on in the next segment of the ring.
    Moved,
}

impl Entry {
    /// A log without records.
    pub(super) const NOTHING: Self = Self { kind: Kind::Record, sequence: 0, start: 0, length: 0 };

    /// Whether the cell at `position` completes the entry: its last one, or a later copy of that.
    pub(super) fn ends_at(self, position: u16, cell: u32) -> bool {
        let parts = parts(self.length, cell);
        u32::from(position) >= u32::from(self.start).saturating_add(parts).saturating_sub(1)
    }
}

/// How many cells a record of this length takes.
pub(super) const fn parts(length: u16, cell: u32) -> u32 {
    let [low, high] = length.to_le_bytes();
    let length = u32::from_le_bytes([low, high, 0, 0]);
    match length.div_ceil(match cell.saturating_sub(HEAD_BYTES) {
        0 => 1,
        payload => payload,
    }) {
        0 => 1,
        parts => parts,
    }
}

/// Puts the head, with its check, in front of the payload that is in the cell already.
pub(super) fn seal(cell: &mut [u8], log: Log, position: u16, head: Head) {
    let kind = match head.entry.kind {
        Kind::Record => 0,
        Kind::Moved => MOVED,
    };
    let segment = (head.segment << 8) | u32::from(head.session);
    put(cell, 4, segment.to_le_bytes());
    put(cell, 8, head.entry.sequence.to_le_bytes());
    put(cell, 12, head.entry.start.to_le_bytes());
    put(cell, 14, ((head.entry.length & LENGTH) | kind).to_le_bytes());
    let check = check(cell, log, position);
    put(cell, 0, check.to_le_bytes());
}

/// Reads the head of a cell, if all of the cell is as it was sealed for this log and position, and if its head is
/// `wanted`. Asking that first saves the check of most cells.
pub(super) fn open(cell: &[u8], log: Log, position: u16, wanted: impl FnOnce(&Head) -> bool) -> Option<Head> {
    let segment = u32::from_le_bytes(take(cell, 4)?);
    let [session, ..] = segment.to_le_bytes();
    let kind = u16::from_le_bytes(take(cell, 14)?);
    let head = Head {
        segment: segment >> 8,
        session,
        entry: Entry {
            kind: if kind & MOVED == 0 { Kind::Record } else { Kind::Moved },
            sequence: u32::from_le_bytes(take(cell, 8)?),
            start: u16::from_le_bytes(take(cell, 12)?),
            length: kind & LENGTH,
        },
    };
    // An erased cell ends here, since the reserved bit is set.
    if kind & RESERVED != 0
        || !wanted(&head)
        || u32::from_le_bytes(take(cell, 0)?) != check(cell, log, position)
    {
        return None;
    }
    Some(head)
}

/// The check covers the place as well, so that no cell is taken for one of another log or position.
fn check(cell: &[u8], log: Log, position: u16) -> u32 {
    let log = match log {
        Log::Trusted => 0_u8,
        Log::Sets => 1,
        Log::Journal => 2,
    };
    let [low, high] = position.to_le_bytes();
    let mut digest = CRC.digest();
    digest.update(&[log, low, high]);
    digest.update(cell.get(4..).unwrap_or_default());
    digest.finalize()
}

fn put<const N: usize>(cell: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(target) = cell.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *target = bytes;
    }
}

fn take<const N: usize>(cell: &[u8], at: usize) -> Option<[u8; N]> {
    cell.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        segment: 0x0012_3456,
        session: 7,
        entry: Entry { kind: Kind::Moved, sequence: 0x0102_0304, start: 9, length: 1024 },
    };

    #[test]
    fn a_cell_has_the_documented_bytes() {
        let mut cell = [0xFF; 32];
        cell[16..].copy_from_slice(b"0123456789abcdef");
        seal(&mut cell, Log::Journal, 0x0203, HEAD);
        assert_eq!(cell[4..16], [7, 0x56, 0x34, 0x12, 4, 3, 2, 1, 9, 0, 0, 0x44]);
        assert_eq!(&cell[16..], b"0123456789abcdef");
        assert_eq!(open(&cell, Log::Journal, 0x0203, |_| true), Some(HEAD));
    }

    #[test]
    fn a_cell_is_good_for_one_place_only() {
        let mut cell = [0xFF; 32];
        seal(&mut cell, Log::Sets, 3, HEAD);
        assert_eq!(open(&cell, Log::Sets, 4, |_| true), None);
        assert_eq!(open(&cell, Log::Journal, 3, |_| true), None);
        for bit in 0..cell.len() * 8 {
            let mut wrong = cell;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&wrong, Log::Sets, 3, |_| true), None, "bit {bit}");
        }
    }

    #[test]
    fn an_erased_cell_says_nothing() {
        for length in [32, 64, 256] {
            for position in 0..2000 {
                assert_eq!(open(&[0xFF; 256][..length], Log::Trusted, position, |_| true), None);
                assert_eq!(open(&[0; 256][..length], Log::Trusted, position, |_| true), None);
            }
        }
    }
}
