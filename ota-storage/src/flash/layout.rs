//! The partition table: which bytes of a flash hold what. Checked whole before anything is touched.

use ota_core::device::{Area, Log, Slot};
use ota_core::limits::RECORD_BYTES_MAX;
use ota_core::text::InstallTarget;

use super::cell::{self, parts};

/// Logs of a device.
pub(super) const LOGS: usize = 3;
/// Sessions that can begin in a segment after a record no longer fits it: so many power cuts within one and the same
/// switch to the next segment are survived whatever torn words read as.
pub(super) const SPARE_SESSIONS: u16 = 3;
/// Cells that appended records leave free: two for each of those sessions, and one to say where the log goes on.
pub(super) const SPARE_CELLS: u16 = SPARE_SESSIONS * 2 + 1;
/// Cells beside five of the longest records that a segment needs: the spare ones and those that a session takes.
const EXTRA_CELLS: u32 = 9;
const _: () = assert!(EXTRA_CELLS == 9 && SPARE_CELLS == 7);

/// Which bytes of a flash hold what; usually a constant of the firmware.
///
/// Whatever lies in no region is never touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashLayout<const AREAS: usize> {
    /// Regions for bytes.
    pub areas: [AreaRegion; AREAS],
    /// The log of trusted state.
    pub trusted: LogRegion,
    /// The log of sets.
    pub sets: LogRegion,
    /// The log of the download.
    pub journal: LogRegion,
}

/// The place of one area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AreaRegion {
    /// What lies there.
    pub holds: Holds,
    /// Where it begins, in bytes: a multiple of the erase size.
    pub offset: u32,
    /// Its length in bytes: a multiple of the erase size. All of it can be used.
    pub bytes: u32,
}

/// What a region holds: an [`Area`] that can be written down as a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// One of the two places of the install target with this name.
    Slot(&'static str, Slot),
    /// The body of the release that is being fetched.
    ReleaseBody,
    /// Its envelope.
    ReleaseEnvelope,
    /// The block map of the file at this position in the release.
    BlockMap(u16),
    /// The body of a root.
    Root(Slot),
    /// The envelope of the root that is being fetched.
    RootEnvelope,
    /// The list of files that belong together.
    SetBody(Slot),
}

/// The place of one log: a ring of segments.
///
/// A segment is as many bytes as the longest records need: see [`segment_bytes_min`]. Two segments are enough;
/// more of them spread the wear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRegion {
    /// Where the first segment begins, in bytes: a multiple of the erase size.
    pub offset: u32,
    /// The length of a segment in bytes: a multiple of the erase size.
    pub segment_bytes: u32,
    /// How many segments follow each other: at least two.
    pub segments: u16,
    /// The longest record that it has to take, in bytes; longer ones are refused. The trait asks for
    /// [`RECORD_BYTES_MAX`]; an engine that documents a lower bound lets small devices save segments.
    pub record_bytes_max: u16,
}

/// Why a layout does not fit the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The sizes of the flash do not fit the format.
    #[error("the write, read or erase size of the flash does not divide or is not divided by a cell")]
    Geometry,
    /// A region does not begin or end at an erase block, is empty, or lies outside of the flash.
    #[error("the region at {offset} is not made of whole erase blocks of the flash")]
    Bounds {
        /// Where the region begins, in bytes.
        offset: u32,
    },
    /// Two regions share bytes.
    #[error("two regions share the byte at {offset}")]
    Overlap {
        /// The first byte of the later one.
        offset: u32,
    },
    /// Two regions hold the same area, or a name is none.
    #[error("the area at {offset} has no valid name or is there twice")]
    Name {
        /// Where the region begins, in bytes.
        offset: u32,
    },
    /// A log has fewer than two segments, or they are too short for its records.
    #[error("the log at {offset} needs two segments of more bytes")]
    Log {
        /// Where the log begins, in bytes.
        offset: u32,
    },
}

/// The shortest segment of a log that takes records of up to `record_bytes_max` bytes, in bytes: for a flash with
/// these write and erase sizes and the default cell.
#[must_use]
pub const fn segment_bytes_min(record_bytes_max: u16, write_size: u32, erase_size: u32) -> u32 {
    segment_bytes_min_of(record_bytes_max, write_size, erase_size, super::CELL_BYTES)
}

/// The same for cells of another size.
#[must_use]
pub const fn segment_bytes_min_of(record_bytes_max: u16, write_size: u32, erase_size: u32, cell: u32) -> u32 {
    let mut bytes = erase_size;
    while !Geometry::of(bytes, write_size, cell).takes(record_bytes_max) {
        match bytes.checked_add(erase_size) {
            Some(more) => bytes = more,
            None => return u32::MAX,
        }
    }
    bytes
}

/// How a segment is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Marks at its beginning, one write unit each.
    pub(super) marks: u16,
    /// Where the first cell begins, in bytes from the beginning of the segment.
    pub(super) first_cell: u32,
    /// How many cells there are.
    pub(super) cells: u16,
    /// Length of a cell in bytes.
    cell: u32,
}

impl Geometry {
    /// Divides a segment so that marks and cells run out together: each session takes one mark and two cells.
    pub(super) const fn of(segment_bytes: u32, write: u32, cell: u32) -> Self {
        let per_session = cell.saturating_mul(2).saturating_add(write);
        let marks = match segment_bytes.checked_div(per_session) {
            Some(marks) if marks < 255 => marks,
            Some(_) => 255,
            None => 0,
        };
        let first_cell =
            marks.saturating_mul(write).div_ceil(if cell == 0 { 1 } else { cell }).saturating_mul(cell);
        let cells = match segment_bytes.saturating_sub(first_cell).checked_div(cell) {
            Some(cells) if cells < 0x4000 => cells,
            Some(_) => 0x3FFF,
            None => 0,
        };
        Self { marks: low_half(marks), first_cell, cells: low_half(cells), cell }
    }

    /// Whether five of the longest records fit: four that are carried along and a new one.
    const fn takes(self, record_bytes_max: u16) -> bool {
        let records = parts(record_bytes_max, self.cell).saturating_mul(5);
        let bytes = self.cells.to_le_bytes();
        let cells = u32::from_le_bytes([bytes[0], bytes[1], 0, 0]);
        self.marks > SPARE_SESSIONS && cells >= records.saturating_add(EXTRA_CELLS)
    }
}

/// The lower half of a number that fits it.
const fn low_half(number: u32) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

impl<const AREAS: usize> FlashLayout<AREAS> {
    pub(super) const fn log(&self, log: Log) -> &LogRegion {
        match log {
            Log::Trusted => &self.trusted,
            Log::Sets => &self.sets,
            Log::Journal => &self.journal,
        }
    }

    pub(super) fn find(&self, area: Area<'_>) -> Option<(usize, &AreaRegion)> {
        self.areas.iter().enumerate().find(|(_, region)| region.holds.is(area))
    }

    /// Checks everything that the rest of the module relies on.
    pub(super) fn check(
        &self,
        write: u32,
        read: u32,
        erase: u32,
        cell: u32,
        flash: u32,
    ) -> Result<(), LayoutError> {
        let divides = |small: u32, large: u32| small > 0 && large.is_multiple_of(small);
        let sizes =
            write.is_power_of_two() && divides(write, cell) && divides(read, cell) && divides(cell, erase);
        if !sizes || !erase.is_power_of_two() || cell < cell::BYTES_MIN {
            return Err(LayoutError::Geometry);
        }
        let logs = [&self.trusted, &self.sets, &self.journal];
        for log in logs {
            let offset = log.offset;
            let long_enough = Geometry::of(log.segment_bytes, write, cell).takes(log.record_bytes_max);
            let allowed = (1..=RECORD_BYTES_MAX).contains(&usize::from(log.record_bytes_max));
            if log.segments < 2 || !divides(erase, log.segment_bytes) || !long_enough || !allowed {
                return Err(LayoutError::Log { offset });
            }
        }
        for (index, region) in self.areas.iter().enumerate() {
            let offset = region.offset;
            let named = !matches!(region.holds, Holds::Slot(name, _) if InstallTarget::new(name).is_err());
            if !named || self.areas.iter().skip(index).skip(1).any(|other| other.holds == region.holds) {
                return Err(LayoutError::Name { offset });
            }
        }
        let spans = || {
            let areas = self.areas.iter().map(|region| (region.offset, u64::from(region.bytes)));
            let logs = logs.into_iter().map(|log| {
                (log.offset, u64::from(log.segment_bytes).saturating_mul(u64::from(log.segments)))
            });
            areas.chain(logs).map(|(offset, bytes)| (offset, u64::from(offset).saturating_add(bytes)))
        };
        for (index, (offset, end)) in spans().enumerate() {
            let whole = offset.is_multiple_of(erase) && end.is_multiple_of(u64::from(erase));
            if !whole || end <= u64::from(offset) || end > u64::from(flash) {
                return Err(LayoutError::Bounds { offset });
            }
            for (other, other_end) in spans().skip(index).skip(1) {
                if u64::from(other) < end && u64::from(offset) < other_end {
                    return Err(LayoutError::Overlap { offset: other.max(offset) });
                }
            }
        }
        Ok(())
    }
}

impl Holds {
    fn is(self, area: Area<'_>) -> bool {
        match (self, area) {
            (Self::Slot(name, slot), Area::Slot(target, other)) => name == target.as_str() && slot == other,
            (Self::BlockMap(file), Area::BlockMap(index)) => file == index.0,
            (Self::Root(slot), Area::Root(other)) | (Self::SetBody(slot), Area::SetBody(other)) => {
                slot == other
            }
            (Self::ReleaseBody, Area::ReleaseBody)
            | (Self::ReleaseEnvelope, Area::ReleaseEnvelope)
            | (Self::RootEnvelope, Area::RootEnvelope) => true,
            _ => false,
        }
    }
}
