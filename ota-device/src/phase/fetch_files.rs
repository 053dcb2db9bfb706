//! Fetching the files one after the other, in the order of the release, into the slots that are not in use.
//!
//! The journal follows what is durable, at least every unit or 1/256 of a file. What it vouches for is kept after a
//! restart, rounded down to what the medium can erase by itself; everything behind it is fetched again.

use ota_core::block_map::{BlockMapCheck, UnitLayout, VerifiedBlockMap};
use ota_core::device::Log;
use ota_core::limits::{BLOCK_BYTES_MIN, UNIT_BYTES_DEFAULT};
use ota_core::number::{ByteLength, FileIndex};
use ota_core::trust::BlockMapRef;
use ota_core::wire::{Part, Phase as Reached, ReportCode};

use super::plan::{Planned, bytes_before, file, file_count, planned, staging_place};
use super::{To, attempt_news};
use crate::arena::Region;
use crate::config::Profile;
use crate::download::{Sink, Transfer, Under, UnitSink, cell_bytes};
use crate::io::StorageAnswer;
use crate::limits::{FILE_TRIES_MAX, JOURNAL_RECORDS_PER_FILE_MAX, PIECE_BYTES_MAX};
use crate::math;
use crate::ops::{Op, Place, Span, TextRange};
use crate::record::JournalRecord;
use crate::shared::{CORRUPT, Failure, Happened, News, Sha256Of, Shared, Step, Stop};

pub(crate) struct FetchFiles<P: Profile> {
    index: FileIndex,
    /// How far the journal says that this file has come.
    done: u64,
    journaled: u64,
    /// Whether a record of it is being written.
    is_journaling: bool,
    /// Whether the block map may have been staged before a restart.
    map_may_be_there: bool,
    map_tries: u8,
    /// How often files were fetched anew because their bytes were wrong.
    tries: u8,
    scope: Scope,
    at: At<P>,
}

/// Which files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All from here on.
    FromHere,
    /// This one: the others are there already.
    OnlyThis,
}

enum At<P: Profile> {
    Next,
    MapCapacity,
    PrepareMap,
    Map(Transfer<P>),
    HashMap { check: BlockMapCheck<Sha256Of<P>>, read: u64, asked: u64 },
    Prepare(Option<VerifiedBlockMap>),
    File(Transfer<P>),
    Finished,
}

impl<P: Profile> FetchFiles<P> {
    /// Begins with the first file, or where the journal says.
    pub(crate) fn new(resume: Option<(FileIndex, ByteLength)>) -> Self {
        let (index, done) = resume.unwrap_or((FileIndex(0), ByteLength(0)));
        Self {
            index,
            done: done.0,
            journaled: done.0,
            is_journaling: false,
            map_may_be_there: resume.is_some(),
            map_tries: 0,
            tries: 0,
            scope: Scope::FromHere,
            at: At::Next,
        }
    }

    /// Fetches one file anew whose bytes were wrong.
    pub(crate) const fn again(index: FileIndex, tries: u8) -> Self {
        Self {
            index,
            done: 0,
            journaled: 0,
            is_journaling: false,
            map_may_be_there: true,
            map_tries: 0,
            tries,
            scope: Scope::OnlyThis,
            at: At::Next,
        }
    }

    /// The transfer that blocks go to.
    pub(crate) const fn transfer(&mut self) -> Option<&mut Transfer<P>> {
        match &mut self.at {
            At::Map(transfer) | At::File(transfer) => Some(transfer),
            _ => None,
        }
    }

    #[inline(never)]
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if let Some(next) = self.news(shared) {
            return Ok(next);
        }
        match &mut self.at {
            At::Next => self.next(shared),
            At::MapCapacity | At::PrepareMap | At::Map(_) | At::HashMap { .. } if !P::BLOCK_MAPS => {
                Err(CORRUPT.into())
            }
            At::MapCapacity => {
                let size = self.map_reference(shared)?.ok_or(CORRUPT)?.size;
                match shared.answered()? {
                    StorageAnswer::Capacity(Some(capacity)) if capacity >= size => {}
                    // Without room for the map the file is checked as a whole.
                    _ => return self.prepare(None, shared),
                }
                if self.map_may_be_there { self.begin_hash(shared) } else { self.prepare_map(shared) }
            }
            At::PrepareMap => {
                shared.answered()?;
                self.fetch_map(shared)
            }
            At::Map(transfer) => {
                transfer.advance(shared)?;
                self.begin_hash(shared)
            }
            At::HashMap { .. } => self.hash_map(shared),
            At::Prepare(map) => {
                shared.answered()?;
                let map = *map;
                self.begin_file(map, shared)
            }
            At::File(_) => self.fetch(shared),
            At::Finished => {
                shared.answered()?;
                if self.scope == Scope::OnlyThis {
                    return Ok(To::CheckFiles(self.index, self.tries));
                }
                self.index = FileIndex(self.index.0.saturating_add(1));
                self.done = 0;
                self.map_may_be_there = false;
                self.map_tries = 0;
                self.at = At::Next;
                Err(Stop::Again)
            }
        }
    }

    /// A fresh offer of the same release only brings a new permission; anything else ends or replaces the attempt.
    fn news(&mut self, shared: &mut Shared<'_, P>) -> Option<To> {
        let is_install = matches!(shared.news, Some(News::Install));
        let next = attempt_news(shared);
        if next.is_none()
            && is_install
            && let Some(transfer) = self.transfer()
        {
            transfer.ask_anew(shared.now);
        }
        next
    }

    /// The next file that is to be fetched.
    fn next(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        if usize::from(self.index.0) >= file_count(shared) {
            shared.done = shared.total;
            shared.happened(Happened::Downloaded);
            shared.tell(Reached::Downloaded, ReportCode::Ok);
            return Ok(To::CheckFiles(FileIndex(0), self.tries));
        }
        let plan = planned(shared.arena.region(Region::Plan), self.index);
        if plan != Planned::Fetch {
            self.index = FileIndex(self.index.0.saturating_add(1));
            (self.done, self.map_may_be_there) = (0, false);
            return Err(Stop::Again);
        }
        shared.done = bytes_before(shared, self.index)?;
        if P::BLOCK_MAPS && self.map_reference(shared)?.is_some() {
            self.at = At::MapCapacity;
            return shared.ask(Op::Capacity(Place::BlockMap(self.index)));
        }
        self.prepare(None, shared)
    }

    /// The file's block map, if it has one that this device's buffers can work with.
    fn map_reference(&self, shared: &Shared<'_, P>) -> Result<Option<BlockMapRef>, Failure> {
        let file = file(shared, self.index)?;
        let Some(map) = file.block_map else { return Ok(None) };
        UnitLayout::of(&map, file.size).map_err(|_| Failure::Attempt(ReportCode::Malformed))?;
        Ok(geometry(map.unit, shared).map(|_| map))
    }

    fn prepare_map(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let size = self.map_reference(shared)?.ok_or(CORRUPT)?.size.0;
        self.at = At::PrepareMap;
        shared.ask(Op::Prepare { place: Place::BlockMap(self.index), size, keep: 0 })
    }

    #[inline(never)]
    fn fetch_map(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let size = self.map_reference(shared)?.ok_or(CORRUPT)?.size.0;
        let part = Part::BlockMap(self.index);
        let block = raw_block(shared)?;
        let sink = Sink::Area(Place::BlockMap(self.index));
        let transfer = Transfer::new(part, Under::Offer, size, (block, block), 0, sink, shared);
        self.at = At::Map(transfer);
        Err(Stop::Again)
    }

    fn begin_hash(&mut self, shared: &Shared<'_, P>) -> Step<To> {
        let file = file(shared, self.index)?;
        let map = file.block_map.ok_or(CORRUPT)?;
        let check =
            BlockMapCheck::begin(&map, file.size).map_err(|_| Failure::Attempt(ReportCode::Malformed))?;
        self.at = At::HashMap { check, read: 0, asked: 0 };
        Err(Stop::Again)
    }

    /// Hashes what lies in the storage, so that a map is never trusted because of who wrote it.
    fn hash_map(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let size = file(shared, self.index)?.block_map.ok_or(CORRUPT)?.size.0;
        let At::HashMap { check, read, asked } = &mut self.at else { return Err(CORRUPT.into()) };
        if *asked > 0 {
            if !shared.turn.may_hash(math::to_usize(*asked)) {
                return Err(Stop::Yield);
            }
            shared.answered()?;
            let piece = shared.blocks.get(..math::to_usize(*asked)).ok_or(CORRUPT)?;
            check.update(piece).map_err(|_| CORRUPT)?;
            *read = read.saturating_add(*asked);
            *asked = 0;
            return Err(Stop::Again);
        }
        if *read < size {
            let most = shared.blocks.len().min(PIECE_BYTES_MAX);
            let piece = math::clamp_to_usize(size.saturating_sub(*read), most);
            *asked = math::to_u64(piece);
            let op =
                Op::Read { place: Place::BlockMap(self.index), offset: *read, into: Span::Blocks(0..piece) };
            return shared.ask(op);
        }
        match check.clone().finish() {
            Ok(map) => self.prepare(Some(map), shared),
            Err(_) => {
                let was_fetched = !self.map_may_be_there;
                self.map_may_be_there = false;
                self.map_tries = self.map_tries.saturating_add(u8::from(was_fetched));
                if self.map_tries >= FILE_TRIES_MAX {
                    return Err(Failure::Attempt(ReportCode::IntegrityMismatch).into());
                }
                self.prepare_map(shared)
            }
        }
    }

    /// Makes the slot ready behind what the journal vouches for.
    fn prepare(&mut self, map: Option<VerifiedBlockMap>, shared: &mut Shared<'_, P>) -> Step<To> {
        let (_, cell) = self.geometry(map, shared)?;
        let file = file(shared, self.index)?;
        let size = file.size.0;
        let erase = u64::from(shared.granularity.erase);
        // What is kept must end where a cell ends and where the medium can begin to erase.
        let step = math::common_multiple(u64::from(cell), erase).unwrap_or(u64::MAX);
        let is_whole = self.done >= size && size > 0;
        let keep = math::round_down(self.done.min(size), step);
        let place = staging_place(shared, &file)?;
        self.done = if is_whole { size } else { keep };
        self.journaled = self.done;
        if is_whole {
            return self.finish_file(shared);
        }
        self.at = At::Prepare(map);
        shared.ask(Op::Prepare { place, size, keep })
    }

    fn geometry(&self, map: Option<VerifiedBlockMap>, shared: &Shared<'_, P>) -> Result<(u32, u32), Failure> {
        match map {
            Some(map) if P::BLOCK_MAPS => geometry(map.layout().unit_bytes(), shared).ok_or(CORRUPT),
            _ => raw_block(shared).map(|block| (block, block)),
        }
    }

    #[inline(never)]
    fn begin_file(&mut self, map: Option<VerifiedBlockMap>, shared: &mut Shared<'_, P>) -> Step<To> {
        let geometry = self.geometry(map, shared)?;
        let file = file(shared, self.index)?;
        let place = staging_place(shared, &file)?;
        let (size, has_url) = (file.size.0, !file.urls.is_empty());
        let reuse = shared.active().at(file.target).and_then(|entry| {
            let text = TextRange::of(file.target.as_str(), shared.arena.all())?;
            Some((Place::Slot(text, entry.place.slot), entry.place.size.0))
        });
        let sink = match map {
            Some(map) if P::BLOCK_MAPS => Sink::Units(UnitSink { place, file: self.index, map, reuse }),
            _ => Sink::Area(place),
        };
        let part = Part::File(self.index);
        let mut transfer = Transfer::new(part, Under::Offer, size, geometry, self.done, sink, shared);
        if has_url && shared.fetches_externally() && self.tries == 0 {
            transfer.deliver_externally(shared.now);
            shared.happened(Happened::FetchExternally {
                file: self.index,
                offset: self.done,
                block_bytes: transfer.block_bytes(),
            });
        }
        self.at = At::File(transfer);
        Err(Stop::Again)
    }

    fn fetch(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let At::File(transfer) = &mut self.at else { return Err(CORRUPT.into()) };
        if core::mem::take(&mut self.is_journaling) {
            shared.answered()?;
            return Err(Stop::Again);
        }
        let before = transfer.durable();
        let step = transfer.advance(shared);
        if let Err(Stop::Failed(failure)) = step {
            return Err(failure.into());
        }
        let durable = transfer.durable();
        shared.done = shared.done.saturating_add(durable.saturating_sub(before));
        if let Some(offer) = &shared.offer {
            let (id, done) = (offer.id, ByteLength(shared.done));
            let every = shared.policy.progress_interval;
            shared.reporter.tell_progress(id, self.index, done, every, shared.now);
        }
        match step {
            Ok(()) => {
                self.done = durable;
                self.finish_file(shared)
            }
            // Only when no operation is wanted can one be added.
            Err(Stop::Again) if shared.op.is_none() && self.is_worth_a_record(durable, shared)? => {
                self.is_journaling = true;
                self.journaled = durable;
                self.write_journal(self.index, durable, shared)
            }
            Err(stop) => Err(stop),
        }
    }

    fn is_worth_a_record(&self, durable: u64, shared: &Shared<'_, P>) -> Result<bool, Failure> {
        let progress = durable.saturating_sub(self.journaled);
        if progress < u64::from(UNIT_BYTES_DEFAULT) {
            return Ok(false);
        }
        let size = file(shared, self.index)?.size.0;
        Ok(progress >= size.checked_div(JOURNAL_RECORDS_PER_FILE_MAX).unwrap_or(0))
    }

    fn finish_file(&mut self, shared: &mut Shared<'_, P>) -> Step<To> {
        let next = FileIndex(self.index.0.saturating_add(1));
        self.at = At::Finished;
        match FileIndex::new(u64::from(next.0)) {
            Some(next) => self.write_journal(next, 0, shared),
            // The journal has no number for the file behind the last possible one.
            None => self.write_journal(self.index, self.done, shared),
        }
    }

    fn write_journal(&self, file: FileIndex, done: u64, shared: &mut Shared<'_, P>) -> Step<To> {
        let offer = shared.offer.as_ref().ok_or(CORRUPT)?;
        let record = JournalRecord::Fetching {
            release: offer.release,
            body_bytes: offer.sizes.body,
            envelope_bytes: offer.sizes.envelope,
            file,
            done: ByteLength(done),
        };
        let length = record.encode(shared.outgoing)?.len();
        shared.append(Log::Journal, length)
    }
}

/// Block and cell for units of this length.
fn geometry<P: Profile>(unit: u32, shared: &Shared<'_, P>) -> Option<(u32, u32)> {
    cell_bytes(unit, shared.policy.block_bytes, shared.blocks.len(), shared.granularity.write)
}

/// The length of blocks that are written as they come.
fn raw_block<P: Profile>(shared: &Shared<'_, P>) -> Result<u32, Failure> {
    let most = math::to_u32(shared.blocks.len()).min(shared.policy.block_bytes);
    let block = math::round_down(u64::from(most), u64::from(shared.granularity.write));
    match u32::try_from(block) {
        Ok(block) if block >= BLOCK_BYTES_MIN => Ok(block),
        _ => Err(Failure::Attempt(ReportCode::TooLarge)),
    }
}
