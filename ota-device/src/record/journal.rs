//! Log `Journal`: how far the download has come, or how the last attempt ended.

use ota_core::cbor::{DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, from_slice, to_slice};
use ota_core::number::{ByteLength, FileIndex, OfferId, ReleaseId};
use ota_core::wire::{Phase, ReportCode};

use super::{VERSION, coded, offer, release, version};

/// One record: `[1, 0, release, body length, envelope length, file, bytes done]`, `[1, 1, offer, phase, code]` or
/// `[1, 2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JournalRecord {
    /// Release body and envelope are stored, files before `file` are complete, `done` bytes of it are durable.
    Fetching { release: ReleaseId, body_bytes: u32, envelope_bytes: u32, file: FileIndex, done: ByteLength },
    /// The last attempt ended before anything was committed.
    Ended { offer: OfferId, phase: Phase, code: ReportCode },
    /// Nothing is known: after a factory reset.
    Nothing,
}

impl JournalRecord {
    pub(crate) fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        to_slice(buffer, |out| match self {
            Self::Fetching { release, body_bytes, envelope_bytes, file, done } => {
                out.array(7)?;
                out.u64(VERSION)?;
                out.u64(0)?;
                out.bytes(&release.0)?;
                out.u64(u64::from(*body_bytes))?;
                out.u64(u64::from(*envelope_bytes))?;
                out.u64(u64::from(file.0))?;
                out.u64(done.0)
            }
            Self::Ended { offer, phase, code } => {
                out.array(5)?;
                out.u64(VERSION)?;
                out.u64(1)?;
                out.bytes(&offer.0)?;
                out.u64(u64::from(phase.number()))?;
                out.u64(u64::from(code.number()))
            }
            Self::Nothing => {
                out.array(2)?;
                out.u64(VERSION)?;
                out.u64(2)
            }
        })
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        from_slice(record, Self::read)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.array(7)?;
        version(reader)?;
        let offset = reader.position();
        Ok(match (reader.u64()?, count) {
            (0, 7) => Self::Fetching {
                release: release(reader)?,
                body_bytes: reader.u32()?,
                envelope_bytes: reader.u32()?,
                file: coded(reader, FileIndex::new)?,
                done: ByteLength(reader.u64()?),
            },
            (1, 5) => Self::Ended {
                offer: offer(reader)?,
                phase: coded(reader, Phase::from_number)?,
                code: ReportCode::from_number(reader.u16()?),
            },
            (2, 2) => Self::Nothing,
            _ => return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)),
        })
    }
}
