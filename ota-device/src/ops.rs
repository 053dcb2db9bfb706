//! What a phase wants done, without borrowing anything: ranges of the engine's buffers instead of slices.
//!
//! A phase wants one operation at a time and is called again only when that has been answered. The borrows that
//! [`Output`](crate::Output) hands out are made here and nowhere else.

use core::ops::Range;

use ota_core::device::{Area, Log, Slot};
use ota_core::number::{ByteLength, ByteOffset, FileIndex};
use ota_core::text::InstallTarget;

use crate::arena::Arena;
use crate::io::{BootOp, StorageOp};
use crate::limits::RECORD_BYTES_MAX;

/// The largest number of bytes of a text that [`TextRange`] can point at is bounded by the name limits, so it is
/// found by its place in the metadata buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextRange(Range<usize>);

impl TextRange {
    /// Where a text lies in the metadata buffer, if it does.
    pub(crate) fn of(text: &str, buffer: &[u8]) -> Option<Self> {
        let start = text.as_ptr().addr().checked_sub(buffer.as_ptr().addr())?;
        let range = start..start.checked_add(text.len())?;
        (buffer.get(range.clone()) == Some(text.as_bytes())).then_some(Self(range))
    }
}

/// An [`Area`] without a borrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Slot(TextRange, Slot),
    ReleaseBody,
    ReleaseEnvelope,
    BlockMap(FileIndex),
    Root(Slot),
    SetBody(Slot),
}

impl Place {
    fn resolve<'a>(&self, metadata: &'a [u8]) -> Option<Area<'a>> {
        Some(match self {
            Self::Slot(text, slot) => {
                let text = core::str::from_utf8(metadata.get(text.0.clone())?).ok()?;
                Area::Slot(InstallTarget::new(text).ok()?, *slot)
            }
            plain => return plain.resolve_plain(),
        })
    }

    /// The areas that need no text, and so no borrow.
    const fn resolve_plain(&self) -> Option<Area<'static>> {
        Some(match self {
            Self::Slot(..) => return None,
            Self::ReleaseBody => Area::ReleaseBody,
            Self::ReleaseEnvelope => Area::ReleaseEnvelope,
            Self::BlockMap(index) => Area::BlockMap(*index),
            Self::Root(slot) => Area::Root(*slot),
            Self::SetBody(slot) => Area::SetBody(*slot),
        })
    }
}

/// A piece of one of the buffers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Span {
    /// Of the metadata buffer.
    Metadata(Range<usize>),
    /// Of the block buffer.
    Blocks(Range<usize>),
    /// The front of the record buffer.
    Record(usize),
}

impl Span {
    fn len(&self) -> usize {
        match self {
            Self::Metadata(range) | Self::Blocks(range) => range.len(),
            Self::Record(length) => *length,
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Granularity,
    Capacity(Place),
    Prepare {
        place: Place,
        size: u64,
        keep: u64,
    },
    Write {
        place: Place,
        offset: u64,
        from: Span,
    },
    Read {
        place: Place,
        offset: u64,
        into: Span,
    },
    /// Appends what lies in the front of the record buffer.
    Append {
        log: Log,
        length: usize,
    },
    /// Reads the newest record into the record buffer.
    Newest(Log),
    Boot(BootOp),
}

/// The buffers that operations work on.
pub(crate) struct OpBuffers<'x, 'b> {
    pub(crate) arena: &'x mut Arena<'b>,
    pub(crate) blocks: &'x mut [u8],
    pub(crate) record: &'x mut [u8],
}

impl Op {
    /// How many bytes it reads or writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Write { from: span, .. } | Self::Read { into: span, .. } => span.len(),
            Self::Append { length, .. } => *length,
            Self::Newest(_) => RECORD_BYTES_MAX,
            Self::Granularity | Self::Capacity(_) | Self::Prepare { .. } | Self::Boot(_) => 0,
        }
    }

    /// The operation with its borrows, or `None` if its ranges make no sense: a broken invariant of ours, which the
    /// caller treats as a fault of the storage.
    pub(crate) fn resolve<'x>(&self, buffers: OpBuffers<'x, '_>) -> Option<StorageOp<'x>> {
        let OpBuffers { arena, blocks, record } = buffers;
        Some(match self {
            Self::Granularity => StorageOp::Granularity,
            Self::Capacity(place) => StorageOp::Capacity(place.resolve(arena.all())?),
            Self::Prepare { place, size, keep } => StorageOp::Prepare {
                area: place.resolve(arena.all())?,
                size: ByteLength(*size),
                keep: ByteLength(*keep),
            },
            Self::Write { place, offset, from } => {
                let metadata: &[u8] = arena.all();
                let bytes: &[u8] = match from {
                    Span::Metadata(range) => metadata.get(range.clone())?,
                    Span::Blocks(range) => blocks.get(range.clone())?,
                    Span::Record(length) => record.get(..*length)?,
                };
                StorageOp::Write { area: place.resolve(metadata)?, offset: ByteOffset(*offset), bytes }
            }
            Self::Read { place, offset, into } => {
                let offset = ByteOffset(*offset);
                match into {
                    Span::Metadata(range) => StorageOp::Read {
                        area: place.resolve_plain()?,
                        offset,
                        into: arena.all_mut().get_mut(range.clone())?,
                    },
                    Span::Blocks(range) => StorageOp::Read {
                        area: place.resolve(arena.all())?,
                        offset,
                        into: blocks.get_mut(range.clone())?,
                    },
                    Span::Record(length) => StorageOp::Read {
                        area: place.resolve(arena.all())?,
                        offset,
                        into: record.get_mut(..*length)?,
                    },
                }
            }
            Self::Append { log, length } => StorageOp::Append { log: *log, record: record.get(..*length)? },
            Self::Newest(log) => StorageOp::Record { log: *log, newest_first: 0, into: record },
            Self::Boot(_) => return None,
        })
    }
}
