//! The body of an assignment: the server's signed word to one device, good for one check-in.

use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer, from_slice};
use crate::list::Item;
use crate::number::{Nonce, ReleaseId};
use crate::text::DeviceId;
use crate::time::Timestamp;

/// What an assignment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The device it is for.
    pub device: DeviceId<'a>,
    /// The nonce of the check-in it answers. A cancellation repeats the nonce of the offer that it takes back.
    pub nonce: Nonce,
    /// The server's time: the only clock that many devices have.
    pub issued: Timestamp,
    /// When it stops being good.
    pub expires: Timestamp,
    /// What the device is to do.
    pub action: Action,
}

/// What an assignment asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// There is nothing to do.
    None,
    /// Install this release.
    Install(ReleaseId),
    /// Give up this release: it was withdrawn, or the campaign was stopped.
    Cancel(ReleaseId),
}

/// Keys of the body's map.
mod key {
    pub(super) const DEVICE: u64 = 0;
    pub(super) const NONCE: u64 = 1;
    pub(super) const ISSUED: u64 = 2;
    pub(super) const EXPIRES: u64 = 3;
    pub(super) const ACTION: u64 = 4;
}

const ACTION_NONE: u64 = 0;
const ACTION_INSTALL: u64 = 1;
const ACTION_CANCEL: u64 = 2;

impl<'a> Assignment<'a> {
    /// Reads a body strictly. What it says means nothing until its signature has been checked.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of what is wrong.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        from_slice(body, Self::read)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut entries = reader.map()?;
        let (mut device, mut nonce, mut issued, mut expires, mut action) = (None, None, None, None, None);
        while let Some(key) = entries.next_key(reader)? {
            match key {
                key::DEVICE => device = Some(DeviceId::decode(reader)?),
                key::NONCE => nonce = Some(Nonce(reader.byte_array()?)),
                key::ISSUED => issued = Some(Timestamp(reader.u64()?)),
                key::EXPIRES => expires = Some(Timestamp(reader.u64()?)),
                key::ACTION => action = Some(Action::decode(reader)?),
                other => entries.skip_optional(other, reader)?,
            }
        }
        match (device, nonce, issued, expires, action) {
            (Some(device), Some(nonce), Some(issued), Some(expires), Some(action)) => {
                Ok(Self { device, nonce, issued, expires, action })
            }
            _ => Err(reader.refuse(DecodeErrorKind::MissingKey, 0)),
        }
    }

    /// Writes the body.
    ///
    /// # Errors
    /// [`EncodeError`] if the sink is full.
    pub fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.map(5)?;
        writer.u64(key::DEVICE)?;
        self.device.encode(writer)?;
        writer.u64(key::NONCE)?;
        writer.bytes(&self.nonce.0)?;
        writer.u64(key::ISSUED)?;
        writer.u64(self.issued.0)?;
        writer.u64(key::EXPIRES)?;
        writer.u64(self.expires.0)?;
        writer.u64(key::ACTION)?;
        self.action.encode(writer)
    }
}

impl Action {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let offset = reader.position();
        let count = reader.array(2)?;
        match (reader.u64()?, count) {
            (ACTION_NONE, 1) => Ok(Self::None),
            (ACTION_INSTALL, 2) => Ok(Self::Install(ReleaseId(reader.byte_array()?))),
            (ACTION_CANCEL, 2) => Ok(Self::Cancel(ReleaseId(reader.byte_array()?))),
            _ => Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)),
        }
    }

    fn encode<S: Sink + ?Sized>(self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        let (number, release) = match self {
            Self::None => {
                writer.array(1)?;
                return writer.u64(ACTION_NONE);
            }
            Self::Install(release) => (ACTION_INSTALL, release),
            Self::Cancel(release) => (ACTION_CANCEL, release),
        };
        writer.array(2)?;
        writer.u64(number)?;
        writer.bytes(&release.0)
    }
}
