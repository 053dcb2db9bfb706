//! One part on its way: asks for its blocks, takes those that come, checks units, and has cells written.
//!
//! A block is taken only if offer, part, offset and length are those of a request; a unit is written only after
//! the block map has vouched for it; and nothing here waits without a timer.

use core::ops::Range;

use ota_core::block_map::{UnitCheck, VerifiedBlockMap};
use ota_core::limits::{BLOCK_BYTES_MIN, REQUEST_BYTES_MAX};
use ota_core::number::{ByteOffset, FileIndex, UnitIndex};
use ota_core::time::Instant;
use ota_core::wire::{Block, Part, Phase, ReportCode};

use super::cells::Cells;
use super::window::{Arrival, BITMAP_BYTES, Window};
use crate::arena::Region;
use crate::config::Profile;
use crate::io::Misuse;
use crate::limits::{BAD_UNITS_MAX, EXTERNAL_SILENCE_MAX, PIECE_BYTES_MAX, TIMEOUTS_IN_A_ROW_MAX};
use crate::math;
use crate::ops::{Op, Place, Span};
use crate::policy::Allowed;
use crate::shared::{BlockRequest, Failure, NEVER, Sha256Of, Shared, Step, Stop, credentials};
use crate::statistics::Statistics;

/// Units of the active file that did not match, in a row, before copying is given up for a file.
const REUSE_MISSES_MAX: u8 = 32;

/// So many bytes are worth a request for themselves.
const BURST_BYTES: u32 = 16 * 1024;

/// Where the blocks go.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    /// Into memory.
    Memory(Region),
    /// Into an area, as they come.
    Area(Place),
    /// Into an area, unit by unit, checked.
    Units(UnitSink),
}

/// Where checked units go.
#[derive(Debug, Clone)]
pub(crate) struct UnitSink {
    pub(crate) place: Place,
    pub(crate) file: FileIndex,
    pub(crate) map: VerifiedBlockMap,
    /// The active file of the same target and its length: units that did not change are copied from there.
    pub(crate) reuse: Option<(Place, u64)>,
}

/// Who asks: the offer, or the hint to a newer root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Under {
    Offer,
    RootOffer,
}

/// Where a cell's bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Link,
    Active,
}

/// A cell that is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Job {
    slot: usize,
    cell: u64,
    source: Source,
}

enum Work<P: Profile> {
    None,
    /// The active file's bytes of the cell are being read.
    Copying(Job),
    /// The digest of a unit of the cell is being read.
    Digest(Job, UnitIndex),
    /// A unit of the cell is being hashed; `done` bytes of it have been.
    Checking {
        job: Job,
        unit: UnitIndex,
        check: UnitCheck<Sha256Of<P>>,
        done: u64,
    },
    /// The cell is being written.
    Writing(Job),
}

pub(crate) struct Transfer<P: Profile> {
    part: Part,
    under: Under,
    size: u64,
    block: u32,
    cell: u64,
    window: Window,
    cells: Cells,
    sink: Sink,
    work: Work<P>,
    bad_units: u8,
    /// When something last came, or was asked for after a silence.
    heard: Instant,
    /// Cells before this one have been compared with the active file.
    scouted: u64,
    misses: u8,
    /// The application delivers the bytes: nothing is asked for.
    external: bool,
}

/// Length of blocks and cells for a file whose map has units of `unit` bytes: the longest blocks of at most `block`
/// bytes so that one divides the other. `None` if the buffer has no room for a cell or the medium could not write
/// it: then the file is fetched without its map and checked as a whole.
pub(crate) fn cell_bytes(unit: u32, block: u32, buffer: usize, write: u32) -> Option<(u32, u32)> {
    let fits = |cell: u32| math::from_u32(cell) <= buffer && cell.checked_rem(write) == Some(0);
    if unit <= block {
        let block = unit.saturating_mul(block.checked_div(unit)?);
        return fits(block).then_some((block, block));
    }
    let fewest = unit.checked_add(block.checked_sub(1)?)?.checked_div(block)?;
    let most = unit.checked_div(BLOCK_BYTES_MIN)?;
    let pieces = (fewest..=most).find(|pieces| unit.checked_rem(*pieces) == Some(0))?;
    fits(unit).then_some((unit.checked_div(pieces)?, unit))
}

impl<P: Profile> Transfer<P> {
    /// Begins to fetch a part of which the first `done` bytes, a multiple of the cell, are there.
    pub(crate) fn new(
        part: Part,
        under: Under,
        size: u64,
        (block, cell): (u32, u32),
        done: u64,
        sink: Sink,
        shared: &mut Shared<'_, P>,
    ) -> Self {
        shared.pace.begin_part(block);
        let blocks = math::pieces(size, u64::from(block));
        let first = if done >= size { blocks } else { done.checked_div(u64::from(block)).unwrap_or(0) };
        let cells = Cells::new(math::from_u32(cell), shared.blocks.len());
        Self {
            part,
            under,
            size,
            block,
            cell: u64::from(cell),
            window: Window::new(blocks, first),
            cells,
            sink,
            work: Work::None,
            bad_units: 0,
            heard: shared.now,
            scouted: done.checked_div(u64::from(cell)).unwrap_or(0),
            misses: 0,
            external: false,
        }
    }

    pub(crate) const fn block_bytes(&self) -> u32 {
        self.block
    }

    /// How many bytes from the beginning are durable.
    pub(crate) fn durable(&self) -> u64 {
        math::times(self.window.base(), u64::from(self.block)).min(self.size)
    }

    /// From now on the application delivers the bytes.
    pub(crate) fn deliver_externally(&mut self, now: Instant) {
        self.external = true;
        self.window.give_up_all();
        self.heard = now;
    }

    /// The host of the file is given up: blocks are asked for, from behind what is written. What else it sent and was
    /// not checked yet is thrown away with it.
    #[inline(never)]
    pub(crate) fn take_blocks(&mut self, shared: &mut Shared<'_, P>) {
        self.external = false;
        self.heard = shared.now;
        let at_work = self.job().map(|job| job.slot);
        for slot in 0..self.cells.count() {
            if let Some(cell) = self.cells.cell_in(slot).filter(|_| at_work != Some(slot)) {
                self.drop_cell(slot, cell);
            }
        }
        shared.tell(Phase::Downloading, ReportCode::ExternalDownload);
    }

    /// The application goes on after a pause, which was no silence.
    pub(crate) const fn resumed(&mut self, now: Instant) {
        if self.is_external() {
            self.heard = now;
        }
    }

    /// The cell that is worked on.
    const fn job(&self) -> Option<Job> {
        match &self.work {
            Work::None => None,
            Work::Copying(job) | Work::Digest(job, _) | Work::Checking { job, .. } | Work::Writing(job) => {
                Some(*job)
            }
        }
    }

    #[inline(never)]
    fn drop_cell(&mut self, slot: usize, cell: u64) {
        self.cells.release(slot);
        for block in self.blocks_of(cell) {
            self.window.drop_held(block);
        }
    }

    pub(crate) const fn is_external(&self) -> bool {
        P::EXTERNAL_DOWNLOADS && self.external
    }

    /// The link was gone, or another offer counts now: what was asked for will not come.
    pub(crate) fn ask_anew(&mut self, now: Instant) {
        self.window.give_up_all();
        self.heard = now;
    }

    /// Does the next small step.
    pub(crate) fn advance(&mut self, shared: &mut Shared<'_, P>) -> Step<()> {
        if !matches!(self.work, Work::None) {
            return self.go_on(shared);
        }
        if self.window.is_complete() {
            return Ok(());
        }
        if let Some(job) = self.full_cell() {
            return self.begin(job, shared);
        }
        if let Some(job) = self.scout(shared) {
            return self.copy(job, shared);
        }
        if !self.is_external() {
            return self.ask(shared);
        }
        if shared.moment.paused {
            return Err(shared.wait(NEVER));
        }
        let silent_until = self.heard.plus(EXTERNAL_SILENCE_MAX);
        if shared.now < silent_until {
            return Err(shared.wait(silent_until));
        }
        self.take_blocks(shared);
        Err(Stop::Again)
    }

    /// Where checked units go. Everything about units begins here, so that a product without block maps links none.
    const fn units(&self) -> Option<&UnitSink> {
        match &self.sink {
            Sink::Units(sink) if P::BLOCK_MAPS => Some(sink),
            _ => None,
        }
    }

    fn cell_length(&self, cell: u64) -> u64 {
        self.size.saturating_sub(self.cell_offset(cell)).min(self.cell)
    }

    fn cell_offset(&self, cell: u64) -> u64 {
        math::times(cell, self.cell)
    }

    fn blocks_of(&self, cell: u64) -> Range<u64> {
        let block = u64::from(self.block);
        let first = self.cell_offset(cell).checked_div(block).unwrap_or(0);
        first..first.saturating_add(math::pieces(self.cell_length(cell), block))
    }

    fn cell_of(&self, block: u64) -> u64 {
        math::times(block, u64::from(self.block)).checked_div(self.cell).unwrap_or(0)
    }

    /// Where the bytes of a held cell lie.
    fn span(&self, job: Job) -> Range<usize> {
        self.cells.range(job.slot, math::to_usize(self.cell_length(job.cell)))
    }

    /// A held cell whose blocks are all here.
    fn full_cell(&self) -> Option<Job> {
        self.cells
            .held()
            .find(|(_, cell)| self.blocks_of(*cell).all(|block| self.window.is_here(block)))
            .map(|(slot, cell)| Job { slot, cell, source: Source::Link })
    }

    fn begin(&mut self, job: Job, shared: &mut Shared<'_, P>) -> Step<()> {
        let Some(sink) = self.units() else { return self.write(job, shared) };
        let offset = ByteOffset(self.cell_offset(job.cell));
        let unit = sink.map.layout().unit_at(offset).ok_or(BAD_MAP)?;
        self.read_digest(job, unit, shared)
    }

    fn read_digest(&mut self, job: Job, unit: UnitIndex, shared: &mut Shared<'_, P>) -> Step<()> {
        let Some(sink) = self.units() else { return Err(BAD_MAP.into()) };
        let offset = sink.map.layout().digest_offset(unit).map_err(|_| BAD_MAP)?;
        let place = Place::BlockMap(sink.file);
        self.work = Work::Digest(job, unit);
        shared.ask(Op::Read { place, offset: offset.0, into: Span::Record(32) })
    }

    fn write(&mut self, job: Job, shared: &mut Shared<'_, P>) -> Step<()> {
        let place = match &self.sink {
            Sink::Area(place) => place.clone(),
            Sink::Units(sink) => sink.place.clone(),
            Sink::Memory(_) => return Err(BAD_MAP.into()),
        };
        self.work = Work::Writing(job);
        let from = Span::Blocks(self.span(job));
        shared.ask(Op::Write { place, offset: self.cell_offset(job.cell), from })
    }

    fn go_on(&mut self, shared: &mut Shared<'_, P>) -> Step<()> {
        match core::mem::replace(&mut self.work, Work::None) {
            Work::None => Err(Stop::Again),
            Work::Copying(_) | Work::Digest(..) | Work::Checking { .. } if !P::BLOCK_MAPS => {
                Err(BAD_MAP.into())
            }
            Work::Copying(job) => {
                shared.answered()?;
                self.begin(job, shared)
            }
            Work::Digest(job, unit) => {
                shared.answered()?;
                let Some(sink) = self.units() else { return Err(BAD_MAP.into()) };
                let digest = shared.outgoing.first_chunk::<32>().ok_or(BAD_MAP)?;
                let check = UnitCheck::begin(&sink.map, unit, digest).map_err(|_| BAD_MAP)?;
                self.work = Work::Checking { job, unit, check, done: 0 };
                Err(Stop::Again)
            }
            Work::Checking { job, unit, check, done } => self.check(job, unit, check, done, shared),
            Work::Writing(job) => {
                shared.answered()?;
                for block in self.blocks_of(job.cell) {
                    if job.source == Source::Active {
                        self.window.hold(block);
                    }
                    self.window.finish(block);
                }
                if job.source == Source::Active {
                    Statistics::count(&mut shared.statistics.units_reused);
                }
                self.cells.release(job.slot);
                Err(Stop::Again)
            }
        }
    }

    /// Hashes the next piece of a unit; behind its last unit the cell is written.
    fn check(
        &mut self,
        job: Job,
        unit: UnitIndex,
        mut check: UnitCheck<Sha256Of<P>>,
        done: u64,
        shared: &mut Shared<'_, P>,
    ) -> Step<()> {
        let Some(sink) = self.units() else { return Err(BAD_MAP.into()) };
        let layout = *sink.map.layout();
        let length = u64::from(layout.length(unit).map_err(|_| BAD_MAP)?);
        let unit_at = layout.offset(unit).map_err(|_| BAD_MAP)?.0;
        let piece = length.saturating_sub(done).min(math::to_u64(PIECE_BYTES_MAX));
        if !shared.turn.may_hash(math::to_usize(piece)) {
            self.work = Work::Checking { job, unit, check, done };
            return Err(Stop::Yield);
        }
        let into_cell = unit_at.saturating_sub(self.cell_offset(job.cell)).saturating_add(done);
        let start = self.span(job).start.saturating_add(math::to_usize(into_cell));
        let range = start..start.saturating_add(math::to_usize(piece));
        let bytes = shared.blocks.get(range).ok_or(BAD_MAP)?;
        check.update(bytes).map_err(|_| BAD_MAP)?;
        let done = done.saturating_add(piece);
        if done < length {
            self.work = Work::Checking { job, unit, check, done };
            return Err(Stop::Again);
        }
        if check.finish().is_err() {
            return self.refuse(job, shared);
        }
        self.misses = 0;
        let next = UnitIndex(unit.0.saturating_add(1));
        let end = self.cell_offset(job.cell).saturating_add(self.cell_length(job.cell));
        if layout.offset(next).is_ok_and(|offset| offset.0 < end) {
            return self.read_digest(job, next, shared);
        }
        self.write(job, shared)
    }

    /// A cell with a bad unit is thrown away: copied ones are fetched, fetched ones are fetched again.
    fn refuse(&mut self, job: Job, shared: &mut Shared<'_, P>) -> Step<()> {
        if job.source == Source::Active {
            self.cells.release(job.slot);
            self.misses = self.misses.saturating_add(1);
            return Err(Stop::Yield);
        }
        self.drop_cell(job.slot, job.cell);
        Statistics::count(&mut shared.statistics.units_bad);
        if self.is_external() {
            self.take_blocks(shared);
            return Err(Stop::Yield);
        }
        self.bad_units = self.bad_units.saturating_add(1);
        if self.bad_units >= BAD_UNITS_MAX {
            return Err(Failure::Attempt(ReportCode::IntegrityMismatch).into());
        }
        Err(Stop::Yield)
    }

    /// The next cell that may lie in the active file and has not been looked at.
    fn scout(&mut self, shared: &Shared<'_, P>) -> Option<Job> {
        let sink = self.units()?;
        let (_, size) = sink.reuse.as_ref()?;
        if self.misses >= REUSE_MISSES_MAX || shared.moment.paused {
            return None;
        }
        let cell = self.scouted.max(self.cell_of(self.window.base()));
        let end = self.cell_offset(cell).saturating_add(self.cell_length(cell));
        if cell >= self.last_cell() || end > *size || self.cell_length(cell) == 0 {
            return None;
        }
        let is_untouched = self.blocks_of(cell).all(|block| self.window.is_missing(block));
        let slot = if is_untouched { self.cells.slot_for(cell)? } else { return None };
        self.scouted = cell.saturating_add(1);
        Some(Job { slot, cell, source: Source::Active })
    }

    fn copy(&mut self, job: Job, shared: &mut Shared<'_, P>) -> Step<()> {
        let Some(UnitSink { reuse: Some((place, _)), .. }) = self.units() else {
            return Err(BAD_MAP.into());
        };
        let place = place.clone();
        let into = Span::Blocks(self.span(job));
        self.work = Work::Copying(job);
        shared.ask(Op::Read { place, offset: self.cell_offset(job.cell), into })
    }

    /// The first cell that has no place in the buffer yet.
    fn last_cell(&self) -> u64 {
        self.cell_of(self.window.base()).saturating_add(math::to_u64(self.cells.count()))
    }

    /// Blocks from this one on must not be asked for yet.
    fn limit(&self) -> u64 {
        let Some(sink) = self.units() else { return u64::MAX };
        let mut cells = self.last_cell();
        if let Some((_, size)) = &sink.reuse
            && self.misses < REUSE_MISSES_MAX
            && self.cell_offset(self.scouted.saturating_add(1)) <= *size
        {
            cells = cells.min(self.scouted);
        }
        math::pieces(self.cell_offset(cells), u64::from(self.block))
    }

    /// Gives up what did not come in time, and asks for what the window has room for.
    fn ask(&mut self, shared: &mut Shared<'_, P>) -> Step<()> {
        let mut wake = NEVER;
        if self.window.in_flight() > 0 {
            wake = self.heard.plus(shared.pace.timeout());
            if shared.now >= wake {
                self.time_out(shared);
                wake = NEVER;
            }
        }
        let allowed = match (shared.may_fetch(), self.part) {
            (Allowed::Now, Part::File(_)) => shared.allows(shared.policy.download),
            (allowed, _) => allowed,
        };
        match allowed {
            Allowed::Now => {}
            Allowed::At(at) => return Err(shared.wait(wake.min(at))),
            Allowed::WhenTold => return Err(shared.wait(wake)),
        }
        let limit = self.limit();
        let window = shared.pace.window(shared.policy.window_max);
        let free = window.saturating_sub(self.window.in_flight());
        // A quarter of the window saves messages; more than a burst at once would not fit the queues on the way.
        let burst = u16::try_from(BURST_BYTES.checked_div(self.block).unwrap_or(0)).unwrap_or(u16::MAX);
        let worth = (window / 4).min(burst).max(1);
        let is_worth_a_message = free >= worth || self.window.in_flight() == 0 || self.window.has_gaps(limit);
        if free == 0 || !is_worth_a_message || !self.window.has_work(limit) {
            return Err(shared.wait(wake));
        }
        let in_one_request = REQUEST_BYTES_MAX.checked_div(self.block).unwrap_or(1).max(1);
        // At a limited rate a request asks for a second's worth, so that bytes come evenly.
        let in_a_second = shared.policy.bytes_per_second_max.unwrap_or(u32::MAX).checked_div(self.block);
        let in_one_request = in_one_request.min(in_a_second.unwrap_or(1).max(1));
        let most = free.min(u16::try_from(in_one_request).unwrap_or(u16::MAX));
        let bytes = math::times(u64::from(most), u64::from(self.block));
        if let Err(at) = shared.tokens.take(bytes, shared.policy.bytes_per_second_max, shared.now) {
            return Err(shared.wait(wake.min(at)));
        }
        self.send_request(most, limit, wake, shared)
    }

    fn send_request(&mut self, most: u16, limit: u64, wake: Instant, shared: &mut Shared<'_, P>) -> Step<()> {
        if credentials(self.under, &shared.offer, &shared.root_offer).is_none() {
            return Err(shared.wait(wake));
        }
        let was_silent = self.window.in_flight() == 0;
        let mut bitmap = [0; BITMAP_BYTES];
        let Some(asked) = self.window.ask(most, limit, 256, &mut bitmap) else {
            return Err(shared.wait(wake));
        };
        if was_silent {
            self.heard = shared.now;
        }
        shared.pace.sent(asked.sequence, asked.repeats > 0, shared.now);
        let again = u32::from(asked.repeats);
        shared.statistics.blocks_again = shared.statistics.blocks_again.saturating_add(again);
        shared.request = Some(BlockRequest {
            under: self.under,
            part: self.part,
            offset: math::times(asked.first, u64::from(self.block)),
            block_bytes: self.block,
            count: asked.is_contiguous().then_some(asked.blocks),
            bitmap,
        });
        Err(Stop::Again)
    }

    fn time_out(&mut self, shared: &mut Shared<'_, P>) {
        self.window.give_up_all();
        self.heard = shared.now;
        Statistics::count(&mut shared.statistics.timeouts);
        shared.pace.timed_out();
        if shared.pace.timeouts_in_a_row() >= TIMEOUTS_IN_A_ROW_MAX {
            // Perhaps the offer or the grant is no longer good: an answer to a check-in tells.
            shared.session.check_in(shared.now);
        }
    }

    /// Takes a block if it was asked for; returns whether anything changed.
    pub(crate) fn on_block(&mut self, block: &Block<'_>, shared: &mut Shared<'_, P>) -> bool {
        let is_ours = credentials(self.under, &shared.offer, &shared.root_offer)
            .is_some_and(|(offer, _)| offer.0.starts_with(&block.offer))
            && block.part == self.part;
        let Some(index) = self.index_of(block.offset.0, block.bytes.len()).filter(|_| is_ours) else {
            Statistics::count(&mut shared.statistics.blocks_stray);
            return false;
        };
        let arrival = self.window.judge(index);
        match arrival {
            Arrival::Duplicate => Statistics::count(&mut shared.statistics.blocks_duplicate),
            Arrival::Stray => Statistics::count(&mut shared.statistics.blocks_stray),
            Arrival::Wanted(_) | Arrival::Late => {}
        }
        let (Arrival::Wanted(_) | Arrival::Late) = arrival else { return false };
        if !self.store(index, block.bytes, shared) {
            Statistics::count(&mut shared.statistics.messages_busy);
            return false;
        }
        match arrival {
            Arrival::Wanted(sequence) => {
                self.window.take(index, sequence);
                shared.pace.arrived(
                    sequence,
                    self.window.next_sequence(),
                    shared.policy.window_max,
                    shared.now,
                );
            }
            _ => self.window.hold(index),
        }
        if matches!(self.sink, Sink::Memory(_)) {
            self.window.finish(index);
        }
        for _ in 0..self.window.give_up_overtaken() {
            shared.pace.lost();
        }
        self.heard = shared.now;
        Statistics::count(&mut shared.statistics.blocks_taken);
        true
    }

    /// Takes bytes that the application fetched itself. Bytes that are here already change nothing.
    ///
    /// # Errors
    /// [`Misuse::OutOfRange`] for anything but a whole block, [`Misuse::NoRoom`] while the buffer is full.
    pub(crate) fn on_external(
        &mut self,
        offset: u64,
        bytes: &[u8],
        shared: &mut Shared<'_, P>,
    ) -> Result<(), Misuse> {
        let index = self.index_of(offset, bytes.len()).ok_or(Misuse::OutOfRange)?;
        self.heard = shared.now;
        if self.window.is_here(index) {
            return Ok(());
        }
        // Behind the limit cells are still to be compared with the active file, and one is right now.
        let is_compared = self.job().is_some_and(|job| job.cell == self.cell_of(index));
        let has_room = self.window.is_missing(index) && index < self.limit() && !is_compared;
        if !has_room || !self.store(index, bytes, shared) {
            return Err(Misuse::NoRoom);
        }
        self.window.hold(index);
        Ok(())
    }

    /// The block that begins at `offset` and is `length` bytes long, if there is one.
    fn index_of(&self, offset: u64, length: usize) -> Option<u64> {
        let block = u64::from(self.block);
        let expected = self.size.checked_sub(offset)?.min(block);
        let is_block =
            offset.checked_rem(block) == Some(0) && expected > 0 && math::to_u64(length) == expected;
        if is_block { offset.checked_div(block) } else { None }
    }

    /// Copies a block to where it waits; `false` if there is no room for it now.
    fn store(&mut self, index: u64, bytes: &[u8], shared: &mut Shared<'_, P>) -> bool {
        let offset = math::times(index, u64::from(self.block));
        let place = match &self.sink {
            Sink::Memory(region) => {
                let start = math::to_usize(offset);
                shared.arena.region_mut(*region).get_mut(start..start.saturating_add(bytes.len()))
            }
            Sink::Area(_) | Sink::Units(_) => {
                let cell = self.cell_of(index);
                let Some(slot) = self.cells.slot_for(cell) else { return false };
                let into_cell = math::to_usize(offset.saturating_sub(self.cell_offset(cell)));
                let start = self.cells.range(slot, 0).start.saturating_add(into_cell);
                shared.blocks.get_mut(start..start.saturating_add(bytes.len()))
            }
        };
        match place {
            Some(place) => {
                place.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }

    /// Fetches what fills a region of the memory: for metadata.
    pub(crate) fn into_memory(part: Part, under: Under, region: Region, shared: &mut Shared<'_, P>) -> Self {
        let size = math::to_u64(shared.arena.region(region).len());
        let block = shared.policy.block_bytes;
        Self::new(part, under, size, (block, block), 0, Sink::Memory(region), shared)
    }
}

/// A range or a map that makes no sense although it was checked.
const BAD_MAP: Failure = Failure::Attempt(ReportCode::Malformed);
