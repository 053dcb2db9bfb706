//! Messages of a device, as bytes.

use super::{
    EVIDENCE, Opened, Out, allowed, encoders, ensure, extensions, grant, is_on_the_wire, kind, no_extensions,
    nullable, offer_id, positions,
};
use crate::cbor::{DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, from_slice};
use crate::limits::{
    BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, CONTROL_MESSAGE_BYTES_MAX, GRANT_BYTES_MAX, INVENTORY_MAX,
    REQUEST_BYTES_MAX, WANT_BITMAP_BYTES_MAX,
};
use crate::list::{Item, List};
use crate::number::{
    BootCounter, ByteLength, ByteOffset, FileIndex, Generation, Nonce, ReportSequence, RootVersion,
    SecurityEpoch,
};
use crate::text::{Detail, HardwareRevision, ProductId};
use crate::trust::Generations;
use crate::wire::{
    AlgorithmSet, Capabilities, CheckIn, Evidence, InventoryItem, Outcome, Part, Phase, Report, ReportCode,
    TrustedSummary, Up, Want, WantBlocks,
};

encoders!(Up);

impl<'a> Up<'a> {
    /// Reads a message of a device. It borrows from `message`; nothing is copied.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong and where. [`DecodeErrorKind::UnknownType`] means a message of a newer
    /// protocol; `RefuseCode::from` makes the answer.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        from_slice(message, |reader| {
            let opened = Opened::read(reader)?;
            match opened.kind {
                kind::CHECK_IN => CheckIn::read(opened, reader).map(Self::CheckIn),
                kind::WANT_BLOCKS => WantBlocks::read(opened, reader).map(Self::WantBlocks),
                kind::REPORT => Report::read(opened, reader).map(Self::Report),
                _ => Err(opened.unknown_type(reader)),
            }
        })
    }

    const fn size_max(&self) -> usize {
        CONTROL_MESSAGE_BYTES_MAX
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        match self {
            Self::CheckIn(check_in) => check_in.write(out),
            Self::WantBlocks(want) => want.write(out),
            Self::Report(report) => report.write(out),
        }
    }
}

impl<'a> CheckIn<'a> {
    fn read(opened: Opened, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let extended = opened.has_extensions(positions::CHECK_IN, reader)?;
        let product = ProductId::decode(reader)?;
        let hardware = HardwareRevision::decode(reader)?;
        let inventory_at = reader.position();
        let inventory = List::decode(reader, INVENTORY_MAX)?;
        if !names_rise(&inventory) {
            return Err(reader.refuse(DecodeErrorKind::UnsortedKeys, inventory_at));
        }
        let trusted = TrustedSummary::read(reader)?;
        let capabilities = Capabilities::read(reader)?;
        let nonce = Nonce(reader.byte_array()?);
        let outcome = nullable(reader, Outcome::read)?;
        let evidence = Evidence::read_extension(reader, extended)?;
        Ok(Self { product, hardware, inventory, trusted, capabilities, nonce, outcome, evidence })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        ensure(self.inventory.len() <= INVENTORY_MAX && names_rise(&self.inventory))?;
        head(out, kind::CHECK_IN, positions::CHECK_IN, self.evidence.is_some())?;
        self.product.encode(out)?;
        self.hardware.encode(out)?;
        self.inventory.encode(out)?;
        self.trusted.write(out)?;
        self.capabilities.write(out)?;
        out.bytes(&self.nonce.0)?;
        match &self.outcome {
            Some(outcome) => outcome.write(out)?,
            None => out.null()?,
        }
        Evidence::write_extension(self.evidence.as_ref(), out)
    }
}

impl<'a> WantBlocks<'a> {
    fn read(opened: Opened, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let extended = opened.has_extensions(positions::WANT_BLOCKS, reader)?;
        let offer = offer_id(reader)?;
        let grant = reader.bytes(GRANT_BYTES_MAX)?;
        let part = read_part(reader)?;
        let offset_at = reader.position();
        let offset = ByteOffset(reader.u64()?);
        let block_bytes = allowed(reader, Reader::u32, block_bytes_allowed)?;
        let want_at = reader.position();
        let want = Want::read(reader)?;
        no_extensions(reader, extended)?;
        let request = Self { offer, grant, part, offset, block_bytes, want };
        if !request.asks_within_limit() {
            return Err(reader.refuse(DecodeErrorKind::TooLarge, want_at));
        }
        if !request.begins_inside_the_part() {
            return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset_at));
        }
        Ok(request)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        ensure(
            block_bytes_allowed(self.block_bytes)
                && self.want.is_canonical()
                && self.asks_within_limit()
                && self.begins_inside_the_part()
                && is_on_the_wire(self.part),
        )?;
        head(out, kind::WANT_BLOCKS, positions::WANT_BLOCKS, false)?;
        out.bytes(&self.offer.0)?;
        grant(out, self.grant)?;
        out.u64(self.part.number())?;
        out.u64(self.offset.0)?;
        out.u64(u64::from(self.block_bytes))?;
        match self.want {
            Want::Count(count) => out.u64(u64::from(count)),
            Want::Bitmap(bitmap) => out.bytes(bitmap),
        }
    }

    /// Whether the blocks together stay within what one request may ask for.
    fn asks_within_limit(&self) -> bool {
        let bytes = u64::from(self.want.blocks()).checked_mul(u64::from(self.block_bytes));
        bytes.is_some_and(|bytes| bytes <= u64::from(REQUEST_BYTES_MAX))
    }

    /// Whether the last wanted block begins where the largest part of its kind still has bytes.
    ///
    /// The size of this part is the server's to know; here only arithmetic is kept from wrapping.
    fn begins_inside_the_part(&self) -> bool {
        let behind_the_first = u64::from(self.want.span()).saturating_sub(1);
        behind_the_first
            .checked_mul(u64::from(self.block_bytes))
            .and_then(|distance| self.offset.checked_add(ByteLength(distance)))
            .is_some_and(|last| last.0 < self.part.size_max().0)
    }
}

impl<'a> Want<'a> {
    /// How many blocks are wanted.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        match self {
            Self::Count(count) => u32::from(*count),
            Self::Bitmap(bitmap) => bitmap.iter().fold(0, |sum, byte| sum.saturating_add(byte.count_ones())),
        }
    }

    /// How many blocks lie between the first possible and the last wanted one, both included.
    #[must_use]
    pub fn span(&self) -> u32 {
        match self {
            Self::Count(count) => u32::from(*count),
            Self::Bitmap(bitmap) => {
                let bits = u32::try_from(bitmap.len()).unwrap_or(u32::MAX).saturating_mul(8);
                bits.saturating_sub(bitmap.last().map_or(0, |last| last.leading_zeros()))
            }
        }
    }

    /// The positions of the wanted blocks, lowest first; the block at the request's offset is 0.
    pub fn positions(&self) -> impl Iterator<Item = u32> + use<'a> {
        let want = *self;
        (0..want.span()).filter(move |position| match want {
            Self::Count(_) => true,
            Self::Bitmap(bitmap) => usize::try_from(position / 8)
                .ok()
                .and_then(|index| bitmap.get(index))
                .is_some_and(|byte| byte >> (position % 8) & 1 == 1),
        })
    }

    /// Whether something is wanted, and said in the one way it can be said.
    fn is_canonical(&self) -> bool {
        match self {
            Self::Count(count) => *count > 0,
            Self::Bitmap(bitmap) => {
                bitmap.len() <= WANT_BITMAP_BYTES_MAX && bitmap.last().is_some_and(|last| *last != 0)
            }
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let offset = reader.position();
        let want = if reader.is_bytes() {
            Self::Bitmap(reader.bytes(WANT_BITMAP_BYTES_MAX)?)
        } else {
            Self::Count(reader.u16()?)
        };
        if want.is_canonical() { Ok(want) } else { Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)) }
    }
}

impl<'a> Report<'a> {
    fn read(opened: Opened, reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let extended = opened.has_extensions(positions::REPORT, reader)?;
        Ok(Self {
            offer: offer_id(reader)?,
            sequence: ReportSequence(reader.u32()?),
            file: nullable(reader, read_file_index)?,
            phase: read_phase(reader)?,
            code: ReportCode::from_number(reader.u16()?),
            done: ByteLength(reader.u64()?),
            detail: Detail::decode(reader)?,
            evidence: Evidence::read_extension(reader, extended)?,
        })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        head(out, kind::REPORT, positions::REPORT, self.evidence.is_some())?;
        out.bytes(&self.offer.0)?;
        out.u64(u64::from(self.sequence.0))?;
        match self.file {
            Some(file) => {
                ensure(FileIndex::new(u64::from(file.0)).is_some())?;
                out.u64(u64::from(file.0))?;
            }
            None => out.null()?,
        }
        out.u64(u64::from(self.phase.number()))?;
        out.u64(u64::from(self.code.number()))?;
        out.u64(self.done.0)?;
        self.detail.encode(out)?;
        Evidence::write_extension(self.evidence.as_ref(), out)
    }
}

impl TrustedSummary {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(3)?;
        let root = RootVersion(reader.u32()?);
        let epoch = SecurityEpoch(reader.u32()?);
        let mut generations = Generations::default();
        reader.tuple(generations.0.len())?;
        for generation in &mut generations.0 {
            *generation = Generation(reader.u32()?);
        }
        Ok(Self { root, epoch, generations })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        out.array(3)?;
        out.u64(u64::from(self.root.0))?;
        out.u64(u64::from(self.epoch.0))?;
        out.array(self.generations.0.len())?;
        self.generations.0.iter().try_for_each(|generation| out.u64(u64::from(generation.0)))
    }
}

impl Capabilities {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(6)?;
        Ok(Self {
            block_bytes_max: allowed(reader, Reader::u32, block_bytes_allowed)?,
            window_max: allowed(reader, Reader::u16, |window| window > 0)?,
            metadata_bytes_max: reader.u32()?,
            algorithms: AlgorithmSet(reader.u32()?),
            encodings: reader.u32()?,
            downloads_urls: reader.bool()?,
        })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        ensure(block_bytes_allowed(self.block_bytes_max) && self.window_max > 0)?;
        out.array(6)?;
        out.u64(u64::from(self.block_bytes_max))?;
        out.u64(u64::from(self.window_max))?;
        out.u64(u64::from(self.metadata_bytes_max))?;
        out.u64(u64::from(self.algorithms.0))?;
        out.u64(u64::from(self.encodings))?;
        out.bool(self.downloads_urls)
    }
}

impl<'a> Outcome<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(4)?;
        Ok(Self {
            offer: offer_id(reader)?,
            phase: read_phase(reader)?,
            code: ReportCode::from_number(reader.u16()?),
            detail: Detail::decode(reader)?,
        })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), EncodeError> {
        out.array(4)?;
        out.bytes(&self.offer.0)?;
        out.u64(u64::from(self.phase.number()))?;
        out.u64(u64::from(self.code.number()))?;
        self.detail.encode(out)
    }
}

impl Evidence {
    fn read_extension(reader: &mut Reader<'_>, extended: bool) -> Result<Option<Self>, Malformed> {
        let mut evidence = None;
        extensions(reader, extended, |key, reader| {
            if key != EVIDENCE {
                return Ok(false);
            }
            reader.tuple(3)?;
            evidence = Some(Self {
                boot: BootCounter(reader.u32()?),
                sequence: reader.u32()?,
                mac: reader.byte_array()?,
            });
            Ok(true)
        })?;
        Ok(evidence)
    }

    fn write_extension(evidence: Option<&Self>, out: &mut Out<'_>) -> Result<(), EncodeError> {
        let Some(evidence) = evidence else { return Ok(()) };
        out.map(1)?;
        out.u64(EVIDENCE)?;
        out.array(3)?;
        out.u64(u64::from(evidence.boot.0))?;
        out.u64(u64::from(evidence.sequence))?;
        out.bytes(&evidence.mac)
    }
}

fn head(out: &mut Out<'_>, kind: u64, positions: usize, extended: bool) -> Result<(), EncodeError> {
    out.array(positions.saturating_add(usize::from(extended)))?;
    out.u64(kind)
}

/// Whether the names of an inventory rise. Comparing neighbours costs a hostile list no more than an honest one.
fn names_rise(inventory: &List<'_, InventoryItem<'_>>) -> bool {
    inventory.iter().zip(inventory.iter().skip(1)).all(|(one, next)| one.file < next.file)
}

const fn block_bytes_allowed(bytes: u32) -> bool {
    bytes >= BLOCK_BYTES_MIN && bytes <= BLOCK_BYTES_MAX
}

/// Reads the number of a part.
pub(super) fn read_part(reader: &mut Reader<'_>) -> Result<Part, Malformed> {
    let offset = reader.position();
    Part::from_number(reader.u64()?).ok_or_else(|| reader.refuse(DecodeErrorKind::OutOfRange, offset))
}

fn read_file_index(reader: &mut Reader<'_>) -> Result<FileIndex, Malformed> {
    let offset = reader.position();
    FileIndex::new(reader.u64()?).ok_or_else(|| reader.refuse(DecodeErrorKind::OutOfRange, offset))
}

fn read_phase(reader: &mut Reader<'_>) -> Result<Phase, Malformed> {
    let offset = reader.position();
    Phase::from_number(reader.u64()?).ok_or_else(|| reader.refuse(DecodeErrorKind::OutOfRange, offset))
}
