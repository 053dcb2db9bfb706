//! Messages of the server, as bytes.

use super::up::read_part;
use super::{
    Opened, Out, bounded_bytes, encoders, ensure, grant, is_on_the_wire, kind, no_extensions, nullable,
    offer_id, positions,
};
use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, from_slice};
use crate::limits::{
    ASSIGNMENT_BYTES_MAX, BLOCK_BYTES_MAX, CONTROL_MESSAGE_BYTES_MAX, ENVELOPE_BYTES_MAX, GRANT_BYTES_MAX,
    MESSAGE_BYTES_MAX, RELEASE_BODY_BYTES_MAX, ROOT_BODY_BYTES_MAX,
};
use crate::list::Item;
use crate::number::{ByteLength, ByteOffset, ReportSequence, RootVersion};
use crate::text::Detail;
use crate::time::{Millis, Timestamp};
use crate::wire::{
    Block, Busy, Cancel, Down, Notify, Offer, Refuse, RefuseCode, ReleaseSizes, ReportAck, RootHint, UpToDate,
};

encoders!(Down);

impl<'a> Down<'a> {
    /// Reads a message of the server. It borrows from `message`; nothing is copied.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong and where.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        from_slice(message, Self::read)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let opened = Opened::read(reader)?;
        let positions = match opened.kind {
            kind::NOTIFY => positions::NOTIFY,
            kind::OFFER => positions::OFFER,
            kind::UP_TO_DATE => positions::UP_TO_DATE,
            kind::BLOCK => positions::BLOCK,
            kind::REPORT_ACK => positions::REPORT_ACK,
            kind::BUSY => positions::BUSY,
            kind::REFUSE => positions::REFUSE,
            kind::CANCEL => positions::CANCEL,
            _ => return Err(opened.unknown_type(reader)),
        };
        let extended = opened.has_extensions(positions, reader)?;
        let decoded = match opened.kind {
            kind::NOTIFY => Self::Notify(Notify),
            kind::OFFER => Self::Offer(Offer::read(reader)?),
            kind::UP_TO_DATE => Self::UpToDate(UpToDate::read(reader)?),
            kind::BLOCK => Self::Block(Block::read(reader)?),
            kind::REPORT_ACK => Self::ReportAck(ReportAck::read(reader)?),
            kind::BUSY => Self::Busy(Busy { retry_after: millis(reader)? }),
            kind::REFUSE => Self::Refuse(Refuse::read(reader)?),
            _ => Self::Cancel(Cancel { assignment: assignment(reader)? }),
        };
        no_extensions(reader, extended)?;
        Ok(decoded)
    }

    const fn size_max(&self) -> usize {
        match self {
            Self::Block(_) => MESSAGE_BYTES_MAX,
            _ => CONTROL_MESSAGE_BYTES_MAX,
        }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Notify(Notify) => head(out, kind::NOTIFY, positions::NOTIFY),
            Self::Offer(offer) => offer.write(out),
            Self::UpToDate(up_to_date) => up_to_date.write(out),
            Self::Block(block) => block.write(out),
            Self::ReportAck(ack) => ack.write(out),
            Self::Busy(busy) => {
                head(out, kind::BUSY, positions::BUSY)?;
                out.u64(busy.retry_after.0)
            }
            Self::Refuse(refuse) => refuse.write(out),
            Self::Cancel(cancel) => {
                head(out, kind::CANCEL, positions::CANCEL)?;
                bounded_bytes(out, cancel.assignment, ASSIGNMENT_BYTES_MAX)
            }
        }
    }
}

impl<'a> Offer<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            assignment: assignment(reader)?,
            release: ReleaseSizes::read(reader)?,
            roots: RootHint::read(reader)?,
            grant: reader.bytes(GRANT_BYTES_MAX)?,
            earliest: millis(reader)?,
            deadline: millis(reader)?,
            reason: Detail::decode(reader)?,
        })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        head(out, kind::OFFER, positions::OFFER)?;
        bounded_bytes(out, self.assignment, ASSIGNMENT_BYTES_MAX)?;
        self.release.write(out)?;
        self.roots.write(out)?;
        grant(out, self.grant)?;
        out.u64(self.earliest.0)?;
        out.u64(self.deadline.0)?;
        self.reason.encode(out)
    }
}

impl ReleaseSizes {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(2)?;
        let offset = reader.position();
        let sizes = Self { body: reader.u32()?, envelope: reader.u32()? };
        if sizes.are_allowed() { Ok(sizes) } else { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        ensure(self.are_allowed())?;
        out.array(2)?;
        out.u64(u64::from(self.body))?;
        out.u64(u64::from(self.envelope))
    }

    /// A release that could not be fetched whole must not be offered.
    fn are_allowed(&self) -> bool {
        self.body > 0
            && fits(self.body, RELEASE_BODY_BYTES_MAX)
            && self.envelope > 0
            && fits(self.envelope, ENVELOPE_BYTES_MAX)
    }
}

impl RootHint {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(3)?;
        let newest = RootVersion(reader.u32()?);
        let offset = reader.position();
        let hint = Self { newest, next_body: reader.u32()?, next_envelope: reader.u32()? };
        if hint.is_allowed() { Ok(hint) } else { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        ensure(self.is_allowed())?;
        out.array(3)?;
        out.u64(u64::from(self.newest.0))?;
        out.u64(u64::from(self.next_body))?;
        out.u64(u64::from(self.next_envelope))
    }

    /// There is a next root with body and envelope, or there is none.
    fn is_allowed(&self) -> bool {
        (self.next_body > 0) == (self.next_envelope > 0)
            && fits(self.next_body, ROOT_BODY_BYTES_MAX)
            && fits(self.next_envelope, ENVELOPE_BYTES_MAX)
    }
}

impl<'a> UpToDate<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            assignment: assignment(reader)?,
            roots: RootHint::read(reader)?,
            grant: reader.bytes(GRANT_BYTES_MAX)?,
            next_check_in: millis(reader)?,
            turn: nullable(reader, |reader| reader.u64().map(Timestamp))?,
        })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        head(out, kind::UP_TO_DATE, positions::UP_TO_DATE)?;
        bounded_bytes(out, self.assignment, ASSIGNMENT_BYTES_MAX)?;
        self.roots.write(out)?;
        grant(out, self.grant)?;
        out.u64(self.next_check_in.0)?;
        match self.turn {
            Some(turn) => out.u64(turn.0),
            None => out.null(),
        }
    }
}

impl<'a> Block<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let offer = reader.byte_array()?;
        let part = read_part(reader)?;
        let offset_at = reader.position();
        let offset = ByteOffset(reader.u64()?);
        let bytes_at = reader.position();
        let bytes = reader.bytes(usize::MAX)?;
        let Some(length) = block_length(bytes) else {
            let kind = if bytes.is_empty() { DecodeErrorKind::OutOfRange } else { DecodeErrorKind::TooLarge };
            return Err(reader.refuse(kind, bytes_at));
        };
        if !offset.fits(length, part.size_max()) {
            return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset_at));
        }
        Ok(Self { offer, part, offset, bytes })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        let length = block_length(self.bytes).ok_or(EncodeError::TooLarge)?;
        ensure(self.offset.fits(length, self.part.size_max()) && is_on_the_wire(self.part))?;
        head(out, kind::BLOCK, positions::BLOCK)?;
        out.bytes(&self.offer)?;
        out.u64(self.part.number())?;
        out.u64(self.offset.0)?;
        out.bytes(self.bytes)
    }
}

impl ReportAck {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { offer: offer_id(reader)?, sequence: ReportSequence(reader.u32()?) })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        head(out, kind::REPORT_ACK, positions::REPORT_ACK)?;
        out.bytes(&self.offer.0)?;
        out.u64(u64::from(self.sequence.0))
    }
}

impl Refuse {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { code: RefuseCode::from_number(reader.u16()?), offer: nullable(reader, offer_id)? })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        head(out, kind::REFUSE, positions::REFUSE)?;
        out.u64(u64::from(self.code.number()))?;
        match self.offer {
            Some(offer) => out.bytes(&offer.0),
            None => out.null(),
        }
    }
}

fn head(out: &mut Out<'_>, kind: u64, positions: usize) -> Result<(), EncodeError> {
    out.array(positions)?;
    out.u64(kind)
}

fn assignment<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    reader.bytes(ASSIGNMENT_BYTES_MAX)
}

fn millis(reader: &mut Reader<'_>) -> Result<Millis, Malformed> {
    reader.u64().map(Millis)
}

/// The length of a block that may be sent.
fn block_length(bytes: &[u8]) -> Option<ByteLength> {
    let length = u32::try_from(bytes.len()).ok()?;
    (1..=BLOCK_BYTES_MAX).contains(&length).then_some(ByteLength(u64::from(length)))
}

fn fits(bytes: u32, limit: usize) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| bytes <= limit)
}
