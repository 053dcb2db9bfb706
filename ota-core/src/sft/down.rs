//! What the service says to an original device.

use super::entries::closed::Coded;
use super::{Entries, Entry, Fields, FileRevision, boolean, bytes, head, kind, number, text};
use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError};
use crate::limits::{SFT_CHUNK_BYTES_MAX, SFT_MESSAGE_BYTES_MAX, URL_BYTES_MAX};
use crate::number::Sha256Digest;
use crate::text::Url;
use crate::wire::codec::{Out, encoders, ensure};

/// A message to an original device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down<'a> {
    /// Files to fetch, in their order. At most one per connection while a download runs. `FILE_UPDATE_AVAILABLE`.
    UpdateAvailable(UpdateAvailable<'a>),
    /// The answer to one request, sent exactly once. `FILE_CHUNK`.
    Chunk(Chunk<'a>),
}

/// Files to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateAvailable<'a> {
    /// The files; if there is nothing to do, nothing is sent, so there is at least one.
    pub files: Entries<'a, Update<'a>>,
}

/// One file to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update<'a> {
    /// Its name and new revision.
    pub file: FileRevision<'a>,
    /// Its length in bytes; at least 1, because a file of no bytes cannot be delivered.
    pub size: u32,
    /// The SHA-256 of its bytes.
    pub fingerprint: Sha256Digest,
    /// Where else it can be fetched. Left away for delivery by chunks, because some clients stall on any link.
    pub link: Option<Link<'a>>,
}

/// Where else a file can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link<'a> {
    /// The address.
    pub url: Url<'a>,
    /// Whether chunks are possible too; without this a client that has no downloader waits for ever.
    pub chunks_too: bool,
}

/// A chunk of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The file.
    pub file: FileRevision<'a>,
    /// Where its first byte belongs.
    pub offset: u32,
    /// The bytes: at least 1, at most 65535, and none behind the end of the file.
    pub bytes: &'a [u8],
}

encoders!(Down);

impl<'a> Down<'a> {
    /// Reads a message to an original device, as leniently as such a device does.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong and where; a field that is missing is reported where its map begins.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        let (found, fields) = Fields::of_message(message)?;
        match found {
            kind::FILE_UPDATE_AVAILABLE => {
                let files = Entries::read(&fields)?;
                if files.is_empty() {
                    return Err(fields.out_of_range("list"));
                }
                Ok(Self::UpdateAvailable(UpdateAvailable { files }))
            }
            kind::FILE_CHUNK => Chunk::read(&fields).map(Self::Chunk),
            _ => {
                let offset = fields.out_of_range("msgtype").offset;
                Err(DecodeErrorKind::UnknownType.at(offset))
            }
        }
    }

    const fn size_max(&self) -> usize {
        SFT_MESSAGE_BYTES_MAX
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        match self {
            Self::UpdateAvailable(available) => {
                ensure(!available.files.is_empty())?;
                head(out, 1, kind::FILE_UPDATE_AVAILABLE)?;
                available.files.write(out)
            }
            Self::Chunk(chunk) => chunk.write(out),
        }
    }
}

impl<'a> Chunk<'a> {
    fn read(fields: &Fields<'a>) -> Result<Self, DecodeError> {
        let file = FileRevision::read_from(fields)?;
        let offset = fields.u32("O")?;
        // The length is there twice. Devices go by the bytes; a status other than 0 carries none that count.
        fields.u32("L")?;
        if fields.u32("S")? != 0 {
            return Err(fields.out_of_range("S"));
        }
        let chunk = Self { file, offset, bytes: fields.required("C", bytes)? };
        if chunk.length().is_none() {
            return Err(fields.out_of_range("C"));
        }
        Ok(chunk)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        let length = self.length().ok_or(EncodeError::TooLarge)?;
        head(out, 6, kind::FILE_CHUNK)?;
        self.file.write_into(out)?;
        number(out, "O", self.offset)?;
        number(out, "L", length)?;
        number(out, "S", 0)?;
        out.text("C")?;
        out.bytes(self.bytes)
    }

    /// How many bytes it carries, if a client can take them.
    fn length(&self) -> Option<u32> {
        let length = u32::try_from(self.bytes.len()).ok()?;
        self.offset.checked_add(length)?;
        (1..=SFT_CHUNK_BYTES_MAX).contains(&length).then_some(length)
    }
}

impl<'a> Entry<'a> for Update<'a> {}

#[expect(private_interfaces, reason = "closed: callers name the trait only through `Entry`")]
impl<'a> Coded<'a> for Update<'a> {
    fn read(fields: &Fields<'a>) -> Result<Self, DecodeError> {
        let file = FileRevision::read_from(fields)?;
        // The operation says what to do with the file; fetching it is the only one there is.
        if fields.u32("O")? != 0 {
            return Err(fields.out_of_range("O"));
        }
        let size = fields.u32("S")?;
        if size == 0 {
            return Err(fields.out_of_range("S"));
        }
        let fingerprint = fields
            .required("F", bytes)?
            .try_into()
            .map_err(|_| fields.out_of_range("F"))
            .map(Sha256Digest)?;
        let link = match fields.optional("L", text) {
            None => None,
            Some(url) if url.len() <= URL_BYTES_MAX => Some(Link {
                url: Url::new(url).map_err(|_| fields.out_of_range("L"))?,
                chunks_too: fields.optional("M", boolean).unwrap_or(false),
            }),
            Some(_) => return Err(fields.out_of_range("L")),
        };
        Ok(Self { file, size, fingerprint, link })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        ensure(self.size > 0)?;
        out.map(if self.link.is_some() { 7 } else { 5 })?;
        self.file.write_into(out)?;
        number(out, "O", 0)?;
        number(out, "S", self.size)?;
        out.text("F")?;
        out.bytes(&self.fingerprint.0)?;
        if let Some(link) = &self.link {
            out.text("L")?;
            out.text(link.url.as_str())?;
            out.text("M")?;
            out.bool(link.chunks_too)?;
        }
        Ok(())
    }
}
