//! Moving metadata between memory and storage, and hashing it, in pieces that hold nobody up.

use ota_core::trust::{BodyHasher, BodyReceipt, PausedHash};

use crate::arena::Region;
use crate::config::Profile;
use crate::limits::PIECE_BYTES_MAX;
use crate::math;
use crate::ops::{Op, Place, Span};
use crate::shared::{Sha256Of, Shared, Step, Stop};

/// Hashes a region.
pub(crate) struct HashRegion<P: Profile> {
    region: Region,
    paused: Option<PausedHash<Sha256Of<P>>>,
}

impl<P: Profile> HashRegion<P> {
    pub(crate) const fn new(region: Region) -> Self {
        Self { region, paused: None }
    }

    /// Hashes the next piece.
    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<BodyReceipt> {
        // The last of several pieces may be shorter; it counts like the others, which costs a turn at most.
        let piece = shared.arena.region(self.region).len().min(PIECE_BYTES_MAX);
        if !shared.turn.may_hash(piece) {
            return Err(Stop::Yield);
        }
        let bytes = shared.arena.region(self.region);
        let mut hasher = match self.paused.take() {
            Some(paused) => paused.resume(bytes)?,
            None => BodyHasher::new(bytes),
        };
        if hasher.step(PIECE_BYTES_MAX) {
            return Ok(hasher.finish().detach());
        }
        self.paused = Some(hasher.pause());
        Err(Stop::Again)
    }
}

/// Reads an area into a region, then hashes it.
pub(crate) struct Load<P: Profile> {
    place: Place,
    region: Region,
    length: usize,
    read: usize,
    is_asked: bool,
    hash: HashRegion<P>,
}

impl<P: Profile> Load<P> {
    pub(crate) const fn new(place: Place, region: Region, length: u32) -> Self {
        let length = math::from_u32_const(length);
        Self { place, region, length, read: 0, is_asked: false, hash: HashRegion::new(region) }
    }

    pub(crate) fn step(&mut self, shared: &mut Shared<'_, P>) -> Step<BodyReceipt> {
        if self.is_asked {
            self.is_asked = false;
            shared.answered()?;
            self.read = self.read.saturating_add(self.piece());
        } else if self.read == 0 {
            shared.arena.place(self.region, self.length)?;
        }
        if self.read >= self.length {
            return self.hash.step(shared);
        }
        let start = shared.arena.range(self.region).start.saturating_add(self.read);
        let into = Span::Metadata(start..start.saturating_add(self.piece()));
        self.is_asked = true;
        let offset = math::to_u64(self.read);
        shared.ask(Op::Read { place: self.place.clone(), offset, into })
    }

    fn piece(&self) -> usize {
        self.length.saturating_sub(self.read).min(PIECE_BYTES_MAX)
    }
}

/// Writes a region into an area.
pub(crate) struct Save {
    place: Place,
    region: Region,
    written: usize,
    state: Saving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saving {
    Begin,
    Preparing,
    Writing,
}

impl Save {
    pub(crate) const fn new(place: Place, region: Region) -> Self {
        Self { place, region, written: 0, state: Saving::Begin }
    }

    pub(crate) fn step<P: Profile>(&mut self, shared: &mut Shared<'_, P>) -> Step<()> {
        let range = shared.arena.range(self.region);
        let length = range.len();
        let piece = |written: usize| length.saturating_sub(written).min(PIECE_BYTES_MAX);
        match self.state {
            Saving::Begin => {
                self.state = Saving::Preparing;
                let size = math::to_u64(length);
                return shared.ask(Op::Prepare { place: self.place.clone(), size, keep: 0 });
            }
            Saving::Preparing => {
                shared.answered()?;
                self.state = Saving::Writing;
            }
            Saving::Writing => {
                shared.answered()?;
                self.written = self.written.saturating_add(piece(self.written));
            }
        }
        if self.written >= length {
            return Ok(());
        }
        let start = range.start.saturating_add(self.written);
        let from = Span::Metadata(start..start.saturating_add(piece(self.written)));
        shared.ask(Op::Write { place: self.place.clone(), offset: math::to_u64(self.written), from })
    }
}

/// Reads a record and gives its length, if there is one.
pub(crate) fn record_length<P: Profile>(shared: &mut Shared<'_, P>) -> Step<Option<usize>> {
    match shared.answered()? {
        crate::io::StorageAnswer::Record(length) => Ok(length),
        _ => Err(crate::shared::CORRUPT.into()),
    }
}

/// What a finished [`Load`] must be: exactly these bytes.
pub(crate) fn demand<P: Profile>(
    load: &mut Load<P>,
    digest: ota_core::number::Sha256Digest,
    shared: &mut Shared<'_, P>,
) -> Step<Option<BodyReceipt>> {
    let receipt = load.step(shared)?;
    Ok((receipt.digest() == digest).then_some(receipt))
}
