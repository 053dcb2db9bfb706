//! A simulated NOR flash that is stricter than the real ones, and loses its power wherever a test wants.
//!
//! Model: an erase sets a block to ones, a write clears bits of whole write units, each at most once between
//! erases. A cut inside a write leaves the units before the torn one written, those behind it untouched, and the
//! torn one *unstable*: it reads as erased, as written, or as anything between, differently each time, until its
//! block is erased. A cut inside an erase leaves every unit of the block unstable. Misuse (a unit written twice)
//! panics, because no test may overlook it.
//!
//! One exception to "written once": a torn unit may be written again with the very same bytes, unless it shows that
//! it was touched. The same bits are then programmed again, and no other, so on real flash it ends up well written.
//! A design that must not depend on luck needs this, since a torn write can leave nothing to be seen.
//!
//! A clone is a snapshot that shares its blocks; the content hash is kept up to date, so that sweeps can fork
//! millions of snapshots and recognise equal ones.

use std::sync::Arc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// How unstable units read from the next restart on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Luck {
    /// As if the torn operation had left no trace: torn writes read as erased, torn erases as not begun.
    Untouched,
    /// As if it had been completed.
    Completed,
    /// Each bit either way, differently at each read, drawn from this seed.
    Random(u64),
}

/// Where in an operation the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutPoint {
    /// Before it did anything.
    Before,
    /// Inside: so many write units are done, the next one is torn, the others are untouched. At the last unit at
    /// the latest. An erase is torn as a whole.
    Torn(usize),
    /// After it was done, and before anyone heard of it.
    After,
}

/// A cut that a run could have met, with what it leaves.
#[derive(Debug, Clone)]
pub struct CutImage<F> {
    /// Which operation of the run, counted from 0.
    pub operation: u64,
    /// Where in it.
    pub point: CutPoint,
    /// The flash without power; [`SimFlash::restart`] it.
    pub flash: F,
}

/// A fault of the simulated flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimFlashFault {
    /// The access breaks the alignment or the bounds.
    Access(NorFlashErrorKind),
    /// The power is gone.
    NoPower,
    /// The fault that [`SimFlash::fail_at`] asked for.
    Injected,
}

impl NorFlashError for SimFlashFault {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Access(kind) => *kind,
            Self::NoPower | Self::Injected => NorFlashErrorKind::Other,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Erased,
    Written,
    /// The bytes are those that were to be written.
    TornWrite,
    /// The bytes are those from before the erase.
    TornErase,
}

impl Unit {
    const fn is_unstable(self) -> bool {
        matches!(self, Self::TornWrite | Self::TornErase)
    }
}

#[derive(Debug, Clone)]
struct Block {
    bytes: Box<[u8]>,
    units: Box<[Unit]>,
    /// How many of the units are unstable.
    unstable: usize,
}

/// A simulated NOR flash with write units of `WRITE` bytes and erase blocks of `ERASE` bytes.
///
/// Its operations are the writes and the erased blocks, counted from 0.
#[derive(Debug, Clone)]
pub struct SimFlash<const WRITE: usize, const ERASE: usize, const READ: usize = 1> {
    blocks: Vec<Arc<Block>>,
    hash: u128,
    operations: u64,
    cut: Option<(u64, CutPoint)>,
    fault: Option<(u64, CutPoint)>,
    powered: bool,
    luck: Luck,
    noise: u64,
    retraced: u64,
    erases: Vec<u32>,
    images: Option<Vec<CutImage<Self>>>,
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> SimFlash<WRITE, ERASE, READ> {
    /// An erased flash of `blocks` erase blocks.
    #[must_use]
    pub fn new(blocks: usize) -> Self {
        assert!(ERASE.is_multiple_of(WRITE) && WRITE.is_multiple_of(READ), "the sizes divide each other");
        let erased = Arc::new(Block {
            bytes: vec![0xFF; ERASE].into(),
            units: vec![Unit::Erased; ERASE / WRITE].into(),
            unstable: 0,
        });
        Self {
            blocks: vec![erased; blocks],
            hash: 0,
            operations: 0,
            cut: None,
            fault: None,
            powered: true,
            luck: Luck::Untouched,
            noise: 1,
            retraced: 0,
            erases: vec![0; blocks],
            images: None,
        }
    }

    /// How many writes and block erases were begun.
    #[must_use]
    pub const fn operations(&self) -> u64 {
        self.operations
    }

    /// Takes the power away at the operation with this number, until [`restart`](Self::restart).
    pub const fn cut_at(&mut self, operation: u64, point: CutPoint) {
        self.cut = Some((operation, point));
    }

    /// Lets the operation with this number fail, leaving what a cut there would leave; the power stays.
    pub const fn fail_at(&mut self, operation: u64, point: CutPoint) {
        self.fault = Some((operation, point));
    }

    /// Whether the power is gone. A sweep asserts this: otherwise its cut never happened.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        !self.powered
    }

    /// Gives the power back; from now on unstable units read with this luck. Forgets cuts, faults and images asked for.
    pub fn restart(&mut self, luck: Luck) {
        self.powered = true;
        self.cut = None;
        self.fault = None;
        self.images = None;
        self.luck = luck;
        if let Luck::Random(seed) = luck {
            self.noise = seed | 1;
        }
    }

    /// From now on keeps, for every operation, what each cut in it would leave: torn at the first, the middle and the
    /// last unit, and after it. (Before it is after the one before.)
    pub fn collect_cuts(&mut self) {
        self.images = Some(Vec::new());
    }

    /// The cuts collected so far; collecting ends.
    #[must_use]
    pub fn take_cuts(&mut self) -> Vec<CutImage<Self>> {
        self.images.take().unwrap_or_default()
    }

    /// A hash of everything that a restarted device could ever read: the bytes, and which of them are unstable.
    #[must_use]
    pub const fn content_hash(&self) -> u128 {
        self.hash
    }

    /// How often each block was erased, in order.
    #[must_use]
    pub fn erases(&self) -> &[u32] {
        &self.erases
    }

    /// How many torn units were written again with the very same bytes.
    #[must_use]
    pub const fn retraced(&self) -> u64 {
        self.retraced
    }

    /// How many units read differently each time.
    #[must_use]
    pub fn unstable_units(&self) -> usize {
        self.blocks.iter().map(|block| block.unstable).sum()
    }

    fn begin(&mut self) -> Result<Option<(CutPoint, SimFlashFault)>, SimFlashFault> {
        if !self.powered {
            return Err(SimFlashFault::NoPower);
        }
        let operation = self.operations;
        self.operations += 1;
        match (self.cut, self.fault) {
            (Some((at, point)), _) if at == operation => {
                self.powered = false;
                Ok(Some((point, SimFlashFault::NoPower)))
            }
            (_, Some((at, point))) if at == operation => Ok(Some((point, SimFlashFault::Injected))),
            _ => Ok(None),
        }
    }

    /// Adds an image for each way in which the operation that was just begun could be cut.
    fn collect(&mut self, points: &[CutPoint], apply: impl Fn(&mut Self, CutPoint)) {
        let Some(mut images) = self.images.take() else { return };
        for &point in points {
            let mut flash = self.clone();
            flash.powered = false;
            flash.cut = None;
            flash.fault = None;
            apply(&mut flash, point);
            images.push(CutImage { operation: self.operations - 1, point, flash });
        }
        self.images = Some(images);
    }

    fn set(&mut self, block: usize, unit: usize, state: Unit, bytes: Option<&[u8]>) {
        let range = unit * WRITE..(unit + 1) * WRITE;
        let position = (block * ERASE / WRITE + unit) as u64;
        let target = Arc::make_mut(&mut self.blocks[block]);
        self.hash ^= hash_unit(position, target.units[unit], &target.bytes[range.clone()]);
        target.unstable += usize::from(state.is_unstable());
        target.unstable -= usize::from(target.units[unit].is_unstable());
        target.units[unit] = state;
        if let Some(bytes) = bytes {
            target.bytes[range.clone()].copy_from_slice(bytes);
        }
        self.hash ^= hash_unit(position, state, &target.bytes[range]);
    }

    fn program(&mut self, address: usize, bytes: &[u8], point: Option<CutPoint>) {
        let count = bytes.len() / WRITE;
        let (done, torn) = match point {
            None | Some(CutPoint::After) => (count, None),
            Some(CutPoint::Before) => return,
            Some(CutPoint::Torn(done)) => {
                let done = done.min(count.saturating_sub(1));
                (done, Some(done))
            }
        };
        for (number, piece) in bytes.chunks(WRITE).enumerate() {
            let unit = address / WRITE + number;
            let (block, unit) = (unit / (ERASE / WRITE), unit % (ERASE / WRITE));
            if number < done {
                self.set(block, unit, Unit::Written, Some(piece));
            } else if torn == Some(number) {
                self.set(block, unit, Unit::TornWrite, Some(piece));
            }
        }
    }

    fn check_written_once(&mut self, address: usize, bytes: &[u8]) {
        for (number, piece) in bytes.chunks(WRITE).enumerate() {
            let unit = address / WRITE + number;
            let block = &self.blocks[unit / (ERASE / WRITE)];
            let within = unit % (ERASE / WRITE);
            let same = &block.bytes[within * WRITE..(within + 1) * WRITE] == piece;
            match block.units[within] {
                Unit::Erased => {}
                Unit::TornWrite if same && self.luck != Luck::Completed => self.retraced += 1,
                state => panic!("the unit at {} is written again before an erase: {state:?}", unit * WRITE),
            }
        }
    }

    fn wipe(&mut self, block: usize, point: Option<CutPoint>) {
        for unit in 0..ERASE / WRITE {
            match point {
                Some(CutPoint::Before) => return,
                Some(CutPoint::Torn(_)) => self.tear_erase(block, unit),
                None | Some(CutPoint::After) => self.set(block, unit, Unit::Erased, Some(&[0xFF; WRITE])),
            }
        }
    }

    fn tear_erase(&mut self, block: usize, unit: usize) {
        self.set(block, unit, Unit::TornErase, None);
    }

    fn accessible(&self, offset: u32, length: usize, granule: usize) -> Result<usize, SimFlashFault> {
        if !self.powered {
            return Err(SimFlashFault::NoPower);
        }
        let offset = offset as usize;
        if !offset.is_multiple_of(granule) || !length.is_multiple_of(granule) {
            return Err(SimFlashFault::Access(NorFlashErrorKind::NotAligned));
        }
        if offset + length > self.blocks.len() * ERASE {
            return Err(SimFlashFault::Access(NorFlashErrorKind::OutOfBounds));
        }
        Ok(offset)
    }

    fn unstable(&mut self, state: Unit, byte: u8) -> u8 {
        if !state.is_unstable() {
            return byte;
        }
        self.noise = self.noise.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        let noise = (self.noise >> 40) as u8;
        match (state, self.luck) {
            (Unit::TornWrite, Luck::Untouched) | (Unit::TornErase, Luck::Completed) => 0xFF,
            (Unit::TornWrite, Luck::Completed) | (Unit::TornErase, Luck::Untouched) => byte,
            // A write only clears bits; an erase may also clear them all before it sets them.
            (Unit::TornWrite, Luck::Random(_)) => byte | noise,
            (Unit::TornErase, Luck::Random(_)) => noise,
            (Unit::Erased | Unit::Written, _) => byte,
        }
    }
}

/// Zero for an erased unit, so that an erased flash of any size has the hash 0.
fn hash_unit(position: u64, state: Unit, bytes: &[u8]) -> u128 {
    if state == Unit::Erased {
        return 0;
    }
    let mut low = position.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ state as u64;
    let mut high = position.wrapping_add(0x2545_F491_4F6C_DD1D) ^ ((state as u64) << 32);
    for piece in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..piece.len()].copy_from_slice(piece);
        let word = u64::from_le_bytes(word);
        low = mix(low ^ word, 0xA076_1D64_78BD_642F);
        high = mix(high ^ word, 0xE703_7ED1_A0B4_28DB);
    }
    u128::from(mix(high, 0x8EBC_6AF0_9C88_C6E3)) << 64 | u128::from(mix(low, 0x5895_36A9_5C65_B5A7))
}

/// The two halves of a product, folded: mixes all bits (as wyhash does).
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ b.rotate_left(29)) * u128::from(b);
    (product >> 64) as u64 ^ product as u64 ^ a.rotate_left(31)
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ErrorType for SimFlash<WRITE, ERASE, READ> {
    type Error = SimFlashFault;
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> ReadNorFlash
    for SimFlash<WRITE, ERASE, READ>
{
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), SimFlashFault> {
        let offset = self.accessible(offset, bytes.len(), READ)?;
        let mut done = 0;
        while done < bytes.len() {
            let (number, within) = ((offset + done) / ERASE, (offset + done) % ERASE);
            let length = (ERASE - within).min(bytes.len() - done);
            let target = &mut bytes[done..done + length];
            target.copy_from_slice(&self.blocks[number].bytes[within..within + length]);
            if self.blocks[number].unstable > 0 {
                for (at, byte) in (within..).zip(target) {
                    *byte = self.unstable(self.blocks[number].units[at / WRITE], *byte);
                }
            }
            done += length;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.blocks.len() * ERASE
    }
}

impl<const WRITE: usize, const ERASE: usize, const READ: usize> NorFlash for SimFlash<WRITE, ERASE, READ> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), SimFlashFault> {
        let length = to.checked_sub(from).ok_or(SimFlashFault::Access(NorFlashErrorKind::OutOfBounds))?;
        let start = self.accessible(from, length as usize, ERASE)?;
        for block in start / ERASE..(start + length as usize) / ERASE {
            let cut = self.begin()?;
            self.collect(&[CutPoint::Torn(0), CutPoint::After], |flash, point| {
                flash.wipe(block, Some(point))
            });
            self.erases[block] += 1;
            self.wipe(block, cut.map(|(point, _)| point));
            if let Some((_, fault)) = cut {
                return Err(fault);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SimFlashFault> {
        let address = self.accessible(offset, bytes.len(), WRITE)?;
        let cut = self.begin()?;
        self.check_written_once(address, bytes);
        let last = (bytes.len() / WRITE).saturating_sub(1);
        let points = [CutPoint::Torn(0), CutPoint::Torn(last / 2), CutPoint::Torn(last), CutPoint::After];
        let points = match last {
            0 => &points[2..],
            1 => &points[1..],
            _ => &points,
        };
        self.collect(points, |flash, point| flash.program(address, bytes, Some(point)));
        self.program(address, bytes, cut.map(|(point, _)| point));
        match cut {
            Some((_, fault)) => Err(fault),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Flash = SimFlash<4, 1024>;

    fn read(flash: &mut Flash, offset: u32) -> [u8; 8] {
        let mut bytes = [0; 8];
        flash.read(offset, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn equal_contents_have_equal_hashes_however_they_came_about() {
        let mut one = Flash::new(2);
        let mut other = Flash::new(2);
        assert_eq!(one.content_hash(), 0);
        one.write(0, &[1; 8]).unwrap();
        assert_ne!(one.content_hash(), 0);
        other.write(4, &[1; 4]).unwrap();
        assert_ne!(one.content_hash(), other.content_hash());
        other.write(0, &[1; 4]).unwrap();
        assert_eq!(one.content_hash(), other.content_hash());
        one.erase(0, 1024).unwrap();
        assert_eq!(one.content_hash(), 0);
    }

    #[test]
    fn a_clone_is_a_snapshot() {
        let mut flash = Flash::new(2);
        let snapshot = flash.clone();
        flash.write(0, &[1; 8]).unwrap();
        assert_eq!(read(&mut snapshot.clone(), 0), [0xFF; 8]);
        assert!(Arc::ptr_eq(&flash.blocks[1], &snapshot.blocks[1]));
        assert!(!Arc::ptr_eq(&flash.blocks[0], &snapshot.blocks[0]));
    }

    #[test]
    fn a_torn_write_reads_with_the_luck_it_is_given() {
        let mut flash = Flash::new(1);
        flash.cut_at(0, CutPoint::Torn(1));
        assert_eq!(flash.write(0, &[0; 12]), Err(SimFlashFault::NoPower));
        assert!(flash.is_cut());
        assert_eq!(flash.read(0, &mut [0]), Err(SimFlashFault::NoPower));
        flash.restart(Luck::Untouched);
        assert_eq!(read(&mut flash, 0), [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        flash.restart(Luck::Completed);
        assert_eq!(read(&mut flash, 0), [0; 8]);
        assert_eq!(read(&mut flash, 4), [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        flash.restart(Luck::Random(7));
        assert_ne!(read(&mut flash, 4), read(&mut flash, 4));
        assert_eq!(flash.unstable_units(), 1);
    }

    #[test]
    fn a_torn_erase_needs_another_erase() {
        let mut flash = Flash::new(1);
        flash.write(0, &[3; 8]).unwrap();
        flash.cut_at(1, CutPoint::Torn(0));
        flash.erase(0, 1024).unwrap_err();
        flash.restart(Luck::Untouched);
        assert_eq!(read(&mut flash, 0), [3; 8]);
        flash.restart(Luck::Completed);
        assert_eq!(read(&mut flash, 0), [0xFF; 8]);
        flash.erase(0, 1024).unwrap();
        assert_eq!(flash.unstable_units(), 0);
        flash.write(0, &[4; 8]).unwrap();
        assert_eq!(flash.erases(), [2]);
    }

    #[test]
    #[should_panic(expected = "written again")]
    fn a_unit_written_twice_is_found() {
        let mut flash = Flash::new(1);
        flash.write(4, &[3; 4]).unwrap();
        let _ = flash.write(0, &[3; 8]);
    }

    #[test]
    #[should_panic(expected = "TornWrite")]
    fn a_torn_unit_written_with_other_bytes_is_found() {
        let mut flash = Flash::new(1);
        flash.cut_at(0, CutPoint::Torn(0));
        flash.write(0, &[3; 4]).unwrap_err();
        flash.restart(Luck::Untouched);
        let _ = flash.write(0, &[2; 4]);
    }

    #[test]
    fn a_torn_unit_may_be_written_again_with_the_same_bytes() {
        let mut flash = Flash::new(1);
        flash.cut_at(0, CutPoint::Torn(0));
        flash.write(0, &[3; 4]).unwrap_err();
        flash.restart(Luck::Untouched);
        flash.write(0, &[3; 4]).unwrap();
        assert_eq!((flash.retraced(), flash.unstable_units()), (1, 0));
    }

    #[test]
    #[should_panic(expected = "TornErase")]
    fn a_write_after_a_torn_erase_is_found() {
        let mut flash = Flash::new(1);
        flash.cut_at(0, CutPoint::Torn(0));
        flash.erase(0, 1024).unwrap_err();
        flash.restart(Luck::Completed);
        let _ = flash.write(0, &[2; 4]);
    }

    #[test]
    fn every_cut_of_a_run_can_be_collected() {
        let mut flash = Flash::new(1);
        flash.collect_cuts();
        flash.write(0, &[1; 12]).unwrap();
        flash.write(12, &[1; 4]).unwrap();
        flash.erase(0, 1024).unwrap();
        let cuts = flash.take_cuts();
        let points: Vec<_> = cuts.iter().map(|cut| (cut.operation, cut.point)).collect();
        let torn = CutPoint::Torn;
        let expected = [
            (0, torn(0)),
            (0, torn(1)),
            (0, torn(2)),
            (0, CutPoint::After),
            (1, torn(0)),
            (1, CutPoint::After),
            (2, torn(0)),
            (2, CutPoint::After),
        ];
        assert_eq!(points, expected);
        assert!(cuts.iter().all(|cut| cut.flash.is_cut()));
        assert_eq!(cuts[7].flash.content_hash(), 0);
    }

    #[test]
    fn alignment_and_bounds_are_enforced() {
        let mut flash = Flash::new(1);
        let kind = |result: Result<(), SimFlashFault>| result.unwrap_err().kind();
        assert_eq!(kind(flash.write(2, &[0; 4])), NorFlashErrorKind::NotAligned);
        assert_eq!(kind(flash.write(0, &[0; 3])), NorFlashErrorKind::NotAligned);
        assert_eq!(kind(flash.write(1024, &[0; 4])), NorFlashErrorKind::OutOfBounds);
        assert_eq!(kind(flash.erase(0, 512)), NorFlashErrorKind::NotAligned);
        assert_eq!(kind(flash.erase(1024, 0)), NorFlashErrorKind::OutOfBounds);
    }
}
