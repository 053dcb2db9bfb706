//! Log `Sets`: which files belong together, and which set of them is kept, on trial or on its way out.

use ota_core::cbor::{
    DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer, from_slice, to_slice,
};
use ota_core::device::Slot;
use ota_core::number::{OfferId, ReleaseId, ReportSequence, SecurityEpoch, Sha256Digest};
use ota_core::wire::{Phase, ReportCode};

use super::{VERSION, coded, digest, offer, optional, read_slot, release, version, write_slot};

/// One record: `[1, state, kept set, other set or null, attempt or null]`.
///
/// One record says which set is kept, which other one there is and what is going on, so one append changes all of
/// it at once: that append is the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetsRecord {
    pub(crate) state: SetState,
    /// The set that has proven itself, or came from the factory.
    pub(crate) kept: SetRef,
    /// The new one while there is one; otherwise the one before, until its files are overwritten.
    pub(crate) other: Option<SetRef>,
    /// The attempt that led here.
    pub(crate) attempt: Option<Attempt>,
}

/// What is going on with the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetState {
    /// Nothing. The last attempt, if it got as far as a commit, ended like this.
    Settled(Option<Outcome>),
    /// The other set is committed; nobody has been asked to start it yet.
    Committed,
    /// The other set is on trial, and the device has started this often since.
    Trial { starts: u8 },
    /// The other set has failed for this reason; the firmware that belongs to the kept one may not run yet.
    Reverting(ReportCode),
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) phase: Phase,
    pub(crate) code: ReportCode,
}

/// Where the list of a set lies, what its bytes must be, and which firmware it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetRef {
    pub(crate) slot: Slot,
    pub(crate) bytes: u32,
    pub(crate) digest: Sha256Digest,
    pub(crate) firmware: Option<Firmware>,
}

/// The firmware of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Firmware {
    pub(crate) digest: Sha256Digest,
    pub(crate) slot: Slot,
}

impl SetRef {
    /// Whether the set belongs to the firmware that runs. A set without firmware, or a device that cannot tell what
    /// runs, leaves nothing to mismatch.
    pub(crate) fn belongs_to(&self, running: Option<Sha256Digest>) -> bool {
        match (self.firmware, running) {
            (Some(own), Some(running)) => own.digest == running,
            _ => true,
        }
    }
}

/// What is remembered about an attempt once it has changed the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) release: ReleaseId,
    pub(crate) offer: OfferId,
    /// The number of the next report about it.
    pub(crate) sequence: ReportSequence,
    /// The security epoch that a confirmed boot raises the device to.
    pub(crate) epoch: SecurityEpoch,
}

impl SetsRecord {
    pub(crate) fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        to_slice(buffer, |out| {
            out.array(5)?;
            out.u64(VERSION)?;
            write_state(out, self.state)?;
            write_set(out, &self.kept)?;
            match &self.other {
                Some(other) => write_set(out, other)?,
                None => out.null()?,
            }
            match &self.attempt {
                Some(attempt) => write_attempt(out, attempt),
                None => out.null(),
            }
        })
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        from_slice(record, Self::read)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(5)?;
        version(reader)?;
        Ok(Self {
            state: read_state(reader)?,
            kept: read_set(reader)?,
            other: optional(reader, read_set)?,
            attempt: optional(reader, read_attempt)?,
        })
    }
}

fn write_state<S: Sink + ?Sized>(out: &mut Writer<'_, S>, state: SetState) -> Result<(), EncodeError> {
    match state {
        SetState::Settled(None) => {
            out.array(1)?;
            out.u64(0)
        }
        SetState::Settled(Some(outcome)) => {
            out.array(3)?;
            out.u64(0)?;
            out.u64(u64::from(outcome.phase.number()))?;
            out.u64(u64::from(outcome.code.number()))
        }
        SetState::Committed => {
            out.array(1)?;
            out.u64(1)
        }
        SetState::Trial { starts } => {
            out.array(2)?;
            out.u64(2)?;
            out.u64(u64::from(starts))
        }
        SetState::Reverting(code) => {
            out.array(2)?;
            out.u64(3)?;
            out.u64(u64::from(code.number()))
        }
    }
}

fn read_state(reader: &mut Reader<'_>) -> Result<SetState, Malformed> {
    let offset = reader.position();
    let count = reader.array(3)?;
    Ok(match (reader.u64()?, count) {
        (0, 1) => SetState::Settled(None),
        (0, 3) => SetState::Settled(Some(Outcome {
            phase: coded(reader, Phase::from_number)?,
            code: ReportCode::from_number(reader.u16()?),
        })),
        (1, 1) => SetState::Committed,
        (2, 2) => SetState::Trial { starts: coded(reader, |number| u8::try_from(number).ok())? },
        (3, 2) => SetState::Reverting(ReportCode::from_number(reader.u16()?)),
        _ => return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)),
    })
}

fn write_set<S: Sink + ?Sized>(out: &mut Writer<'_, S>, set: &SetRef) -> Result<(), EncodeError> {
    out.array(4)?;
    write_slot(out, set.slot)?;
    out.u64(u64::from(set.bytes))?;
    out.bytes(&set.digest.0)?;
    match &set.firmware {
        Some(firmware) => {
            out.array(2)?;
            out.bytes(&firmware.digest.0)?;
            write_slot(out, firmware.slot)
        }
        None => out.null(),
    }
}

fn read_set(reader: &mut Reader<'_>) -> Result<SetRef, Malformed> {
    reader.tuple(4)?;
    Ok(SetRef {
        slot: read_slot(reader)?,
        bytes: reader.u32()?,
        digest: digest(reader)?,
        firmware: optional(reader, |reader| {
            reader.tuple(2)?;
            Ok(Firmware { digest: digest(reader)?, slot: read_slot(reader)? })
        })?,
    })
}

fn write_attempt<S: Sink + ?Sized>(out: &mut Writer<'_, S>, attempt: &Attempt) -> Result<(), EncodeError> {
    out.array(4)?;
    out.bytes(&attempt.release.0)?;
    out.bytes(&attempt.offer.0)?;
    out.u64(u64::from(attempt.sequence.0))?;
    out.u64(u64::from(attempt.epoch.0))
}

fn read_attempt(reader: &mut Reader<'_>) -> Result<Attempt, Malformed> {
    reader.tuple(4)?;
    Ok(Attempt {
        release: release(reader)?,
        offer: offer(reader)?,
        sequence: ReportSequence(reader.u32()?),
        epoch: SecurityEpoch(reader.u32()?),
    })
}
