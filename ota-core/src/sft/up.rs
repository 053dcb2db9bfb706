//! What an original device says.

use super::entries::closed::Coded;
use super::{Entries, Entry, Fields, boolean, head, integer, kind, number, text};
use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError};
use crate::limits::{SFT_CHUNK_BYTES_MAX, SFT_MESSAGE_BYTES_MAX, SFT_NAME_AND_REVISION_BYTES_MAX};
use crate::wire::codec::{Out, encoders, ensure};

/// A message of an original device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up<'a> {
    /// What is installed; sent after each connect. `FILE_INFO`.
    FileInfo(FileInfo<'a>),
    /// Asks for the next chunk and waits for it, for ever. `FILE_GET_CHUNK`.
    GetChunk(GetChunk<'a>),
    /// How a file fares. `FILE_STATUS`.
    Status(Status<'a>),
}

/// A file name and a revision as the device writes them: any text without NUL, below 1000 bytes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileRevision<'a> {
    name: &'a str,
    revision: &'a str,
}

impl<'a> FileRevision<'a> {
    /// Checks both; `None` if they are too long together, the name is empty, or one holds a NUL, where a client
    /// written in C would end it.
    #[must_use]
    pub fn new(name: &'a str, revision: &'a str) -> Option<Self> {
        let length = name.len().checked_add(revision.len())?;
        let is_allowed = !name.is_empty()
            && length <= SFT_NAME_AND_REVISION_BYTES_MAX
            && !name.contains('\0')
            && !revision.contains('\0');
        is_allowed.then_some(Self { name, revision })
    }

    /// The name; not yet one that anything may be stored under.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// The revision; possibly empty.
    #[must_use]
    pub const fn revision(&self) -> &'a str {
        self.revision
    }

    pub(super) fn read_from(fields: &Fields<'a>) -> Result<Self, DecodeError> {
        let (name, revision) = (fields.required("N", text)?, fields.required("R", text)?);
        Self::new(name, revision).ok_or_else(|| fields.out_of_range("N"))
    }

    pub(super) fn write_into(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        out.text("N")?;
        out.text(self.name)?;
        out.text("R")?;
        out.text(self.revision)
    }
}

/// What is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo<'a> {
    /// The files.
    pub files: Entries<'a, FileRevision<'a>>,
    /// Whether the device accepts links to files that are hosted elsewhere.
    pub takes_links: bool,
}

/// Asks for the next chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetChunk<'a> {
    /// Of which file.
    pub file: FileRevision<'a>,
    /// Where the chunk begins.
    pub offset: u32,
    /// How many bytes the device would like; at least 1.
    pub length: u32,
}

impl GetChunk<'_> {
    /// How many bytes the answer must have, for a file of `size` bytes: what was asked for, but no more than there
    /// is and than the client's length field holds. `None` if the request begins behind the end.
    #[must_use]
    pub fn chunk_bytes(&self, size: u32) -> Option<u32> {
        let remaining = size.checked_sub(self.offset).filter(|remaining| *remaining > 0)?;
        Some(self.length.min(SFT_CHUNK_BYTES_MAX).min(remaining)).filter(|length| *length > 0)
    }
}

/// How a file fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// Which file.
    pub file: FileRevision<'a>,
    /// How far it has come.
    pub phase: Phase,
    /// Whether something went wrong there.
    pub code: StatusCode,
}

/// How far a file has come. 0 and 1 are the service's own and never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// A link is being followed.
    Downloading,
    /// All bytes have arrived.
    Downloaded,
    /// Firmware: the package is complete and the device is about to restart.
    Processing,
    /// An ordinary file is in its place.
    Finished,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 4] = [Self::Downloading, Self::Downloaded, Self::Processing, Self::Finished];

    /// Its number in messages.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Downloading => 2,
            Self::Downloaded => 3,
            Self::Processing => 4,
            Self::Finished => 5,
        }
    }

    /// The phase with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.number() == number)
    }
}

/// How a phase ended: 0 is good, negative numbers are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(pub i32);

impl StatusCode {
    /// Nothing went wrong.
    pub const OK: Self = Self(0);
    /// A chunk came that was not asked for.
    pub const UNEXPECTED_CHUNK: Self = Self(-1);
    /// The device could not open the file.
    pub const OPEN: Self = Self(-2);
    /// The device could not write the file.
    pub const WRITE: Self = Self(-3);
    /// The device could not close the file.
    pub const CLOSE: Self = Self(-4);
    /// The fingerprint does not match.
    pub const CHECKSUM: Self = Self(-5);
    /// The application did not take the link.
    pub const LINK_REJECTED: Self = Self(-6);
    /// The download from the link failed.
    pub const LINK_FAILED: Self = Self(-7);
    /// The link led to a file of another name.
    pub const LINK_UNEXPECTED_NAME: Self = Self(-8);
}

encoders!(Up);

impl<'a> Up<'a> {
    /// Reads a message of an original device.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong and where; a field that is missing is reported where its map begins.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        let (found, fields) = Fields::of_message(message)?;
        match found {
            kind::FILE_INFO => Ok(Self::FileInfo(FileInfo {
                files: Entries::read(&fields)?,
                takes_links: fields.optional("L", boolean).unwrap_or(false),
            })),
            kind::FILE_GET_CHUNK => {
                let file = FileRevision::read_from(&fields)?;
                let (offset, length) = (fields.u32("O")?, fields.u32("L")?);
                if length == 0 {
                    return Err(fields.out_of_range("L"));
                }
                Ok(Self::GetChunk(GetChunk { file, offset, length }))
            }
            kind::FILE_STATUS => {
                let file = FileRevision::read_from(&fields)?;
                let phase = Phase::from_number(fields.u32("P")?).ok_or_else(|| fields.out_of_range("P"))?;
                let code =
                    i32::try_from(fields.required("S", integer)?).map_err(|_| fields.out_of_range("S"))?;
                Ok(Self::Status(Status { file, phase, code: StatusCode(code) }))
            }
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
            Self::FileInfo(info) => {
                head(out, 2, kind::FILE_INFO)?;
                info.files.write(out)?;
                out.text("L")?;
                out.bool(info.takes_links)
            }
            Self::GetChunk(request) => {
                ensure(request.length > 0)?;
                head(out, 4, kind::FILE_GET_CHUNK)?;
                request.file.write_into(out)?;
                number(out, "O", request.offset)?;
                number(out, "L", request.length)
            }
            Self::Status(status) => {
                head(out, 4, kind::FILE_STATUS)?;
                status.file.write_into(out)?;
                number(out, "P", status.phase.number())?;
                out.text("S")?;
                out.i64(i64::from(status.code.0))
            }
        }
    }
}

impl<'a> Entry<'a> for FileRevision<'a> {}

#[expect(private_interfaces, reason = "closed: callers name the trait only through `Entry`")]
impl<'a> Coded<'a> for FileRevision<'a> {
    fn read(fields: &Fields<'a>) -> Result<Self, DecodeError> {
        Self::read_from(fields)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        out.map(2)?;
        self.write_into(out)
    }
}
