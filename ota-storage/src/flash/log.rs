//! A log of records in a ring of segments, sound whatever torn words read as.
//!
//! The invariants, which `docs/flash-format.md` argues for one by one:
//! - Nothing is told to the caller before this session has claimed a mark and written down, in a cell of its own,
//!   which entry it takes for the newest. So a torn entry that once read as valid stays, and one that did not never
//!   comes back.
//! - A session writes only where no earlier one can have written, not even an attempt that left no trace. The only
//!   exception are marks, which are the same bytes whoever writes them.
//! - A segment is erased only while nothing in it, read in whatever way, can be taken for the log.

use embedded_storage::nor_flash::NorFlash;
use ota_core::device::{Log, StorageFault, StorageFaultKind};
use ota_core::limits::RECORDS_KEPT_MIN;

use super::cell::{self, Entry, HEAD_BYTES, Head, Kind, SEGMENT_MAX, parts};
use super::layout::{Geometry, LogRegion, SPARE_CELLS, SPARE_SESSIONS};
use super::narrow;

/// Where a log stands in this session; known once the session has been opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    /// The place of the segment in the ring.
    place: u16,
    /// The number of the segment.
    number: u32,
    /// Which session this is within the segment.
    session: u8,
    /// The position of the next cell to write.
    next: u16,
    /// The newest entry, and where its last cell lies.
    newest: Entry,
    tail: u16,
}

/// One log of a flash, for the length of one call.
pub(super) struct LogAccess<'a, F, const CELL: usize> {
    flash: &'a mut F,
    region: LogRegion,
    log: Log,
    stand: &'a mut Option<Stand>,
    geometry: Geometry,
}

/// What reading a segment once found.
struct Survey<const CELL: usize> {
    newest: Entry,
    /// The last cell of the newest entry, as it was read when it was found to be valid.
    tail: [u8; CELL],
    /// How far the cells reach that the last session is known to have written: the position behind the last valid
    /// one, and the session that wrote it.
    end: u16,
    session: u8,
}

impl<'a, F: NorFlash, const CELL: usize> LogAccess<'a, F, CELL> {
    pub(super) fn new(flash: &'a mut F, region: LogRegion, log: Log, stand: &'a mut Option<Stand>) -> Self {
        let geometry = Geometry::of(region.segment_bytes, narrow(F::WRITE_SIZE), narrow(CELL));
        Self { flash, region, log, stand, geometry }
    }

    /// Makes all segments empty. What they held is gone.
    pub(super) fn format(&mut self) -> Result<(), StorageFault> {
        *self.stand = None;
        (0..self.region.segments).try_for_each(|place| self.erase(place))
    }

    /// Appends a record of at least one byte.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), StorageFault> {
        let length = u16::try_from(record.len()).map_err(|_| StorageFaultKind::OutOfBounds)?;
        if length == 0 || length > self.region.record_bytes_max {
            return Err(StorageFaultKind::OutOfBounds.into());
        }
        let count = self.parts(length);
        let mut stand = self.stand()?;
        if !self.has_room(&stand, count) {
            stand = self.until_done(|log| log.switch(stand))?;
            *self.stand = Some(stand);
        }
        if !self.has_room(&stand, count) {
            return Err(StorageFaultKind::Full.into());
        }
        let sequence = stand.newest.sequence.checked_add(1).ok_or(StorageFaultKind::Full)?;
        let entry = Entry { kind: Kind::Record, sequence, start: stand.next, length };
        stand = self.until_done(|log| {
            for payload in record.chunks(payload_bytes(CELL)) {
                let mut cell = [0xFF; CELL];
                fill(&mut cell, payload);
                stand.tail = stand.next;
                log.write_cell(stand.place, stand.next, &mut cell, stand.head(entry))?;
                stand.next = stand.next.saturating_add(1);
            }
            stand.newest = entry;
            Ok(stand)
        })?;
        *self.stand = Some(stand);
        Ok(())
    }

    /// Reads a record into the front of `into`.
    pub(super) fn record(
        &mut self,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        let stand = self.stand()?;
        let Some(sequence) = stand.newest.sequence.checked_sub(newest_first).filter(|found| *found > 0)
        else {
            return Ok(None);
        };
        let found = match newest_first {
            0 => Some((stand.newest, stand.tail)),
            _ => self.find(stand.place, stand.number, sequence)?,
        };
        let Some((entry, tail)) = found else { return Ok(None) };
        let length = usize::from(entry.length);
        let mut rest = into.get_mut(..length).ok_or(StorageFaultKind::OutOfBounds)?;
        for part in 0..self.parts(entry.length) {
            let cell = self.part(stand.place, stand.number, entry, tail, part)?;
            let payload = cell.get(payload_start()..).unwrap_or_default();
            let (front, behind) = rest.split_at_mut(rest.len().min(payload.len()));
            front.iter_mut().zip(payload).for_each(|(target, byte)| *target = *byte);
            rest = behind;
        }
        Ok(Some(length))
    }

    /// Where the log stands; opens the session if this is its first call.
    fn stand(&mut self) -> Result<Stand, StorageFault> {
        if let Some(stand) = *self.stand {
            return Ok(stand);
        }
        let stand = self.mount()?;
        *self.stand = Some(stand);
        Ok(stand)
    }

    /// After a fault nobody knows what was written: the next call begins a new session.
    fn until_done<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<T, StorageFault>,
    ) -> Result<T, StorageFault> {
        let outcome = act(self);
        if outcome.is_err() {
            *self.stand = None;
        }
        outcome
    }

    fn mount(&mut self) -> Result<Stand, StorageFault> {
        // A log without any session is one that was never written to: it begins in the first segment.
        let (place, number) = self.newest_segment()?.unwrap_or((0, 1));
        let survey = self.survey(place, number)?;
        match self.open(place, number, &survey)? {
            Some(stand) if stand.newest.kind == Kind::Moved => {
                self.enter(place, number, stand.newest.sequence)
            }
            // So near to the end, the next cut could leave no room to say where the log goes on.
            Some(stand) if self.is_at_the_end(&stand) => self.switch(stand),
            Some(stand) => Ok(stand),
            None => {
                // More cuts within one switch than segments have spare sessions for: nothing can be written here
                // any more, so the segment does not change either, and the switch is repeated from it.
                self.carry(place, number, survey.newest.sequence)?;
                self.enter(place, number, survey.newest.sequence)
            }
        }
    }

    /// The segment with the highest number among those that a session was opened in, and its number.
    fn newest_segment(&mut self) -> Result<Option<(u16, u32)>, StorageFault> {
        let mut newest: Option<(u16, u32)> = None;
        for place in 0..self.region.segments {
            for position in 0..self.geometry.cells {
                let cell = self.read_cell(place, position)?;
                let Some(head) = cell::open(&cell, self.log, position, |head| head.session > 0) else {
                    continue;
                };
                if newest.is_none_or(|(_, number)| head.segment > number) {
                    newest = Some((place, head.segment));
                }
                break;
            }
        }
        Ok(newest)
    }

    /// Reads a whole segment; the last complete entry in it is the newest.
    fn survey(&mut self, place: u16, number: u32) -> Result<Survey<CELL>, StorageFault> {
        let mut survey = Survey { newest: Entry::NOTHING, tail: [0xFF; CELL], end: 0, session: 0 };
        for position in 0..self.geometry.cells {
            let cell = self.read_cell(place, position)?;
            let Some(head) = cell::open(&cell, self.log, position, |head| head.segment == number) else {
                continue;
            };
            survey.end = position.saturating_add(1);
            survey.session = head.session;
            if head.entry.ends_at(position, narrow(CELL)) {
                survey.newest = head.entry;
                survey.tail = cell;
            }
        }
        Ok(survey)
    }

    /// Opens a session in a segment: claims the next mark and writes the last cell of the newest entry once more, in
    /// a place where no earlier session can have written. `None` if there is no room for that.
    fn open(
        &mut self,
        place: u16,
        number: u32,
        survey: &Survey<CELL>,
    ) -> Result<Option<Stand>, StorageFault> {
        let used = self.marks_used(place)?;
        let Some(session) = u8::try_from(used).ok().and_then(|used| used.checked_add(1)) else {
            return Ok(None);
        };
        // Each session that left no valid cell has torn at most one, and where it began depends by at most one on
        // how a torn cell read: two cells further for each of them is further than all of them.
        let sessions = u16::from(session.saturating_sub(survey.session));
        let position = survey.end.saturating_add(sessions.saturating_mul(2)).saturating_sub(1);
        // One cell is left for saying where the log goes on, unless that is what is said here.
        let needed = if survey.newest.kind == Kind::Moved { 1 } else { 2 };
        if used >= self.geometry.marks || position.saturating_add(needed) > self.geometry.cells {
            return Ok(None);
        }
        self.write_mark(place, used)?;
        let mut cell = survey.tail;
        let head = Head { segment: number, session, entry: survey.newest };
        self.write_cell(place, position, &mut cell, head)?;
        let next = position.saturating_add(1);
        Ok(Some(Stand { place, number, session, next, newest: survey.newest, tail: position }))
    }

    /// Goes on in the next segment: carries the newest records there, says so here, and opens a session there.
    fn switch(&mut self, stand: Stand) -> Result<Stand, StorageFault> {
        let sequence = stand.newest.sequence;
        self.carry(stand.place, stand.number, sequence)?;
        let entry = Entry { kind: Kind::Moved, sequence, start: stand.next, length: 0 };
        self.write_cell(stand.place, stand.next, &mut [0xFF; CELL], stand.head(entry))?;
        self.enter(stand.place, stand.number, sequence)
    }

    /// Opens a session in the segment that follows, which holds what was carried there.
    fn enter(&mut self, from: u16, number: u32, newest: u32) -> Result<Stand, StorageFault> {
        let (place, next_number) = (self.following(from), following_number(number)?);
        let survey = self.survey(place, next_number)?;
        if let Some(stand) = self.open(place, next_number, &survey)?
            && stand.newest.sequence == newest
        {
            return Ok(stand);
        }
        // So many cuts that the new segment is used up before a single session came about in it.
        self.carry(from, number, newest)?;
        let survey = self.survey(place, next_number)?;
        self.open(place, next_number, &survey)?.ok_or_else(|| StorageFaultKind::Medium.into())
    }

    /// Erases the segment behind `from` and copies the newest records there. They are written by session 0, which
    /// nobody looks at before a session is opened there.
    fn carry(&mut self, from: u16, number: u32, newest: u32) -> Result<(), StorageFault> {
        let to = self.following(from);
        let to_number = following_number(number)?;
        self.erase(to)?;
        let mut next = 0_u16;
        let oldest = newest.saturating_sub(RECORDS_KEPT_MIN).saturating_add(1);
        for sequence in oldest.max(1)..=newest {
            let Some((entry, tail)) = self.find(from, number, sequence)? else { continue };
            let copy = Entry { start: next, ..entry };
            for part in 0..self.parts(entry.length) {
                let mut cell = self.part(from, number, entry, tail, part)?;
                let head = Head { segment: to_number, session: 0, entry: copy };
                self.write_cell(to, next, &mut cell, head)?;
                next = next.saturating_add(1);
            }
        }
        Ok(())
    }

    /// The record with this number, and where its last cell lies. A number that was given twice, because the first
    /// record with it was torn, counts for the later one.
    fn find(&mut self, place: u16, number: u32, sequence: u32) -> Result<Option<(Entry, u16)>, StorageFault> {
        let mut found = None;
        for position in 0..self.geometry.cells {
            let cell = self.read_cell(place, position)?;
            let wanted = |head: &Head| {
                let Entry { kind, sequence: found, .. } = head.entry;
                let ends = head.entry.ends_at(position, narrow(CELL));
                head.segment == number && found == sequence && kind == Kind::Record && ends
            };
            if let Some(head) = cell::open(&cell, self.log, position, wanted) {
                found = Some((head.entry, position));
            }
        }
        Ok(found)
    }

    /// One cell of a record. They were all finished before the last one was begun.
    fn part(
        &mut self,
        place: u16,
        number: u32,
        entry: Entry,
        tail: u16,
        part: u32,
    ) -> Result<[u8; CELL], StorageFault> {
        let is_last = part.saturating_add(1) >= self.parts(entry.length);
        let part = u16::try_from(part).map_err(|_| StorageFaultKind::Medium)?;
        let position = if is_last { tail } else { entry.start.saturating_add(part) };
        let cell = self.read_cell(place, position)?;
        let wanted = |head: &Head| head.segment == number && head.entry == entry;
        match cell::open(&cell, self.log, position, wanted) {
            Some(_) => Ok(cell),
            None => Err(StorageFaultKind::Medium.into()),
        }
    }

    fn has_room(&self, stand: &Stand, count: u32) -> bool {
        let end = u32::from(stand.next).saturating_add(count).saturating_add(u32::from(SPARE_CELLS));
        end <= u32::from(self.geometry.cells)
    }

    fn is_at_the_end(&self, stand: &Stand) -> bool {
        let spare_marks = self.geometry.marks.saturating_sub(u16::from(stand.session));
        !self.has_room(stand, 0) || spare_marks < SPARE_SESSIONS
    }

    fn following(&self, place: u16) -> u16 {
        let next = place.saturating_add(1);
        if next < self.region.segments { next } else { 0 }
    }

    fn parts(&self, length: u16) -> u32 {
        parts(length, narrow(CELL))
    }

    /// How many marks were claimed, or touched: the number of the last one that is not erased, counted from 1.
    fn marks_used(&mut self, place: u16) -> Result<u16, StorageFault> {
        let base = self.segment(place);
        let mut used = 0;
        let mut mark = 0_u16;
        let mut at = 0;
        while mark < self.geometry.marks {
            let mut chunk = [0xFF; CELL];
            medium(self.flash.read(base.saturating_add(at), &mut chunk))?;
            for bytes in chunk.chunks(F::WRITE_SIZE) {
                mark = mark.saturating_add(1);
                if mark <= self.geometry.marks && bytes.iter().any(|byte| *byte != 0xFF) {
                    used = mark;
                }
            }
            at = at.saturating_add(narrow(CELL));
        }
        Ok(used)
    }

    /// Claims a mark. All marks are zeros, so an attempt that left no trace is completed by the next one.
    fn write_mark(&mut self, place: u16, index: u16) -> Result<(), StorageFault> {
        let offset = narrow(F::WRITE_SIZE).saturating_mul(u32::from(index));
        let address = self.segment(place).saturating_add(offset);
        let zeros = [0; CELL];
        medium(self.flash.write(address, zeros.get(..F::WRITE_SIZE).unwrap_or_default()))
    }

    fn erase(&mut self, place: u16) -> Result<(), StorageFault> {
        let from = self.segment(place);
        medium(self.flash.erase(from, from.saturating_add(self.region.segment_bytes)))
    }

    fn read_cell(&mut self, place: u16, position: u16) -> Result<[u8; CELL], StorageFault> {
        let mut cell = [0; CELL];
        medium(self.flash.read(self.address(place, position), &mut cell))?;
        Ok(cell)
    }

    fn write_cell(
        &mut self,
        place: u16,
        position: u16,
        cell: &mut [u8; CELL],
        head: Head,
    ) -> Result<(), StorageFault> {
        cell::seal(cell, self.log, position, head);
        medium(self.flash.write(self.address(place, position), cell))
    }

    fn segment(&self, place: u16) -> u32 {
        self.region.offset.saturating_add(self.region.segment_bytes.saturating_mul(u32::from(place)))
    }

    fn address(&self, place: u16, position: u16) -> u32 {
        let within =
            self.geometry.first_cell.saturating_add(narrow(CELL).saturating_mul(u32::from(position)));
        self.segment(place).saturating_add(within)
    }
}

impl Stand {
    const fn head(&self, entry: Entry) -> Head {
        Head { segment: self.number, session: self.session, entry }
    }
}

fn following_number(number: u32) -> Result<u32, StorageFault> {
    match number.checked_add(1) {
        Some(next) if next <= SEGMENT_MAX => Ok(next),
        _ => Err(StorageFaultKind::Medium.into()),
    }
}

fn medium<T, E>(outcome: Result<T, E>) -> Result<T, StorageFault> {
    outcome.map_err(|_| StorageFaultKind::Medium.into())
}

const fn payload_start() -> usize {
    // 16: the head, as a length in memory.
    size_of::<[u32; 4]>()
}
const _: () = assert!(payload_start().is_multiple_of(4) && HEAD_BYTES == 16);

const fn payload_bytes(cell: usize) -> usize {
    cell.saturating_sub(payload_start())
}

fn fill(cell: &mut [u8], payload: &[u8]) {
    let target = cell.get_mut(payload_start()..).unwrap_or_default();
    target.iter_mut().zip(payload).for_each(|(target, byte)| *target = *byte);
}
