//! Areas of bytes and logs of records: all that an update needs to keep on a device.

use crate::number::{ByteLength, ByteOffset, FileIndex};
use crate::text::InstallTarget;

/// Where bytes rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area<'a> {
    /// One of the two places of an install target. Old and new bytes of a target always lie in different slots.
    Slot(InstallTarget<'a>, Slot),
    /// The body of the release that is being fetched.
    ReleaseBody,
    /// Its envelope.
    ReleaseEnvelope,
    /// The block map of a file of that release.
    BlockMap(FileIndex),
    /// The body of a root: the trusted one lies in one slot, a new one is staged in the other.
    Root(Slot),
    /// The envelope of the root that is being fetched.
    RootEnvelope,
    /// The list of files that belong together. The set that the device can fall back to lies in one slot, a new
    /// one is written to the other; a record names the slot and the digest of its bytes.
    SetBody(Slot),
}

/// Which of two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A log of records. The engine owns what they mean; a backend sees bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Log {
    /// Trusted state: root, epoch, generations, time. Never cleared, not even by a factory reset.
    Trusted,
    /// Which files belong together, and which set of them is on trial or confirmed.
    Sets,
    /// How far the download has come.
    Journal,
}

/// Bytes in areas and records in logs, durable and honest about it.
///
/// Methods are synchronous: a driver that must not block runs them in pieces, since the engine asks for
/// at most one block at a time. Whatever happens, a method returns: it never panics and never waits for ever.
///
/// A backend is shared by nobody else; two engines on one storage are a misuse.
pub trait DeviceStorage {
    /// How many bytes an area can hold, and whether it exists at all.
    ///
    /// `None` means that this device has no such area, for example an unknown install target. Costs no access
    /// to the medium.
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength>;

    /// Makes an area ready for bytes up to `size`: its first `keep` bytes stay as they are, what was behind them is
    /// gone, also if this fails. `keep` is at most `size` and a multiple of [`Granularity::erase`].
    ///
    /// A backend may put off the erasing until a write needs the room, so that no single call blocks for long. That
    /// an area is prepared is remembered only until the device restarts: the engine then prepares it again and
    /// keeps what its journal vouches for. A power cut leaves the bytes behind `keep` as anything.
    ///
    /// # Errors
    /// [`StorageFaultKind::Full`] if `size` is over the capacity, before anything is erased;
    /// [`StorageFaultKind::OutOfBounds`] for a `keep` that breaks its rule; [`StorageFaultKind::NoSuchArea`];
    /// [`StorageFaultKind::Medium`], after which the area is not prepared.
    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault>;

    /// Writes bytes into a prepared area behind what was kept, each byte at most once after
    /// [`prepare`](Self::prepare).
    ///
    /// The engine writes in pieces that begin at multiples of [`Granularity::write`]
    /// and are a multiple of it long, but for the last piece of an area; in any order. They are durable when this
    /// returns. A power cut leaves the bytes of this piece, and no others, as anything; the next read may even
    /// give different bytes each time.
    ///
    /// # Errors
    /// [`StorageFaultKind::OutOfBounds`] outside of what was prepared since the device started, in what was kept, and
    /// for a piece that does not fit the granularity; [`StorageFaultKind::NoSuchArea`];
    /// [`StorageFaultKind::Medium`], after which the piece reads as anything and the area has to be prepared again.
    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault>;

    /// Reads exactly `into.len()` bytes from an area; bytes never written read as anything.
    ///
    /// # Errors
    /// [`StorageFaultKind::OutOfBounds`] past the capacity or the end of what is kept;
    /// [`StorageFaultKind::NoSuchArea`]; [`StorageFaultKind::Medium`].
    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault>;

    /// Appends a record to a log: wholly there or not there at all, whenever the power goes, and durable when this
    /// returns. A record has 1 to [`RECORD_BYTES_MAX`](crate::limits::RECORD_BYTES_MAX) bytes.
    ///
    /// A log keeps at least the newest [`RECORDS_KEPT_MIN`](crate::limits::RECORDS_KEPT_MIN) records and may drop
    /// older ones to make room. A torn record is never given back, and what was appended before it always is.
    ///
    /// # Errors
    /// [`StorageFaultKind::OutOfBounds`] for an empty or too long record; [`StorageFaultKind::Medium`], after
    /// which the record is there or not, and the older ones are.
    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault>;

    /// Reads one record of a log into the front of `into`: `newest_first` 0 is the newest, 1 the one before it.
    /// Returns its length, or `None` when the log holds no such record.
    ///
    /// # Errors
    /// [`StorageFaultKind::OutOfBounds`] if `into` is too short; [`StorageFaultKind::Medium`].
    fn record(&mut self, log: Log, newest_first: u32, into: &mut [u8])
    -> Result<Option<usize>, StorageFault>;

    /// Where pieces may begin and end. Costs no access to the medium and never changes.
    fn granularity(&self) -> Granularity {
        Granularity::BYTES
    }
}

/// Where pieces may begin and end, in bytes; both are powers of two, and `write` divides `erase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Granularity {
    /// What [`DeviceStorage::write`] writes begins at and is a multiple of this; 1 where it does not matter.
    pub write: u32,
    /// What [`DeviceStorage::prepare`] keeps is a multiple of this; 1 where it does not matter.
    pub erase: u32,
}

impl Granularity {
    /// A medium that can change every byte by itself, such as a file.
    pub const BYTES: Self = Self { write: 1, erase: 1 };
}

/// A fault of the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{kind}")]
pub struct StorageFault {
    /// What to do about it.
    pub kind: StorageFaultKind,
}

/// What kind of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StorageFaultKind {
    /// The device has no such area.
    #[error("there is no such area")]
    NoSuchArea,
    /// It does not fit.
    #[error("the storage is full")]
    Full,
    /// The access lies outside what is there.
    #[error("the access lies outside the area")]
    OutOfBounds,
    /// The medium failed; trying again may help.
    #[error("the medium failed")]
    Medium,
}

impl From<StorageFaultKind> for StorageFault {
    fn from(kind: StorageFaultKind) -> Self {
        Self { kind }
    }
}
