//! What a signature over a file covers: exactly which bytes are signed.
//!
//! They are made in this one place for those who sign and those who verify, and texts go in exactly as the release
//! has them: no suffix is stripped, no case is folded.

use crate::cbor::{EncodeError, Sink, Writer, to_slice};
use crate::limits::FILE_STATEMENT_BYTES_MAX;
use crate::list::Item;
use crate::number::{FileIndex, Sha256Digest};
use crate::text::{PackageName, ProductId};
use crate::trust::{File, Release};

/// First element of what is signed.
pub const DOMAIN: &str = "ota/v1/file";

/// One file of a release, with what gives it its identity. Comes only out of a release, so that product, package,
/// position and file belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSubject<'a> {
    product: ProductId<'a>,
    package: PackageName<'a>,
    index: FileIndex,
    file: File<'a>,
}

impl<'a> FileSubject<'a> {
    /// The file at this position of the release, or `None` past its end.
    #[must_use]
    pub fn of(release: &Release<'a>, index: FileIndex) -> Option<Self> {
        let file = release.files.get(usize::from(index.0))?;
        Some(Self { product: release.product, package: release.package, index, file })
    }

    /// The product that the release is for.
    #[must_use]
    pub const fn product(&self) -> ProductId<'a> {
        self.product
    }

    /// The package that the release is a version of.
    #[must_use]
    pub const fn package(&self) -> PackageName<'a> {
        self.package
    }

    /// The file's position in the release.
    #[must_use]
    pub const fn index(&self) -> FileIndex {
        self.index
    }

    /// What the release says about the file.
    #[must_use]
    pub const fn file(&self) -> &File<'a> {
        &self.file
    }

    /// Writes what a signature covers into the front of the buffer, and returns it: a deterministically encoded
    /// CBOR array of seven elements.
    ///
    /// | element | type |
    /// |---|---|
    /// | the domain string [`DOMAIN`] | text |
    /// | product | text |
    /// | package | text |
    /// | file name | text |
    /// | revision | text |
    /// | size in bytes | unsigned integer |
    /// | SHA-256 of the file's bytes | byte string of 32 bytes |
    ///
    /// The domain keeps the signature from meaning anything elsewhere. Product, package, name and revision keep it
    /// from vouching for the same bytes in another place.
    ///
    /// # Errors
    /// [`EncodeError::BufferFull`] if the buffer is shorter; [`FILE_STATEMENT_BYTES_MAX`] always suffices.
    pub fn statement<'b>(
        &self,
        sha256: &Sha256Digest,
        buffer: &'b mut [u8; FILE_STATEMENT_BYTES_MAX],
    ) -> Result<&'b [u8], EncodeError> {
        to_slice(buffer, |writer| self.write_statement(sha256, writer))
    }

    fn write_statement<S: Sink + ?Sized>(
        &self,
        sha256: &Sha256Digest,
        writer: &mut Writer<'_, S>,
    ) -> Result<(), EncodeError> {
        writer.array(7)?;
        writer.text(DOMAIN)?;
        self.product.encode(writer)?;
        self.package.encode(writer)?;
        self.file.name.encode(writer)?;
        self.file.revision.encode(writer)?;
        writer.u64(self.file.size.0)?;
        writer.bytes(&sha256.0)
    }
}
