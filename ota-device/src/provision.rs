//! What the factory writes: who the device is, which root it trusts, what is installed.
//!
//! The image is one CBOR array, made once per device and kept where the firmware can read it:
//!
//! ```text
//! [1, product, device id, hardware revision, root body, epoch floor, device key or null,
//!  [[name, revision, SHA-256, target, slot (false A, true B), size], …], target of the firmware or null]
//! ```
//!
//! `docs/provisioning.md` describes it for other tools. [`provision`] turns it into what the engine expects in the storage. The record of trust is written last: a
//! factory that loses power leaves a device that says it was never provisioned, and begins again.

use ota_core::cbor::{
    DecodeError, DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer, from_slice, to_slice,
};
use ota_core::crypto::Sha256;
use ota_core::device::{Area, DeviceStorage, Log, Slot, StorageFault};
use ota_core::limits::{FILES_MAX, ROOT_BODY_BYTES_MAX};
use ota_core::list::{Item, List};
use ota_core::number::{BootCounter, ByteLength, ByteOffset, SecurityEpoch, Sha256Digest};
use ota_core::text::{DeviceId, FileName, HardwareRevision, InstallTarget, ProductId, Revision};
use ota_core::trust::{HashedBody, TrustError, TrustedRoot};

use crate::config::Identity;
use crate::limits::RECORD_BYTES_MAX;
use crate::math;
use crate::record::{Firmware, JournalRecord, SetRef, SetState, SetsRecord, TrustedRecord};
use crate::set::{Entry, Place, write_set};

/// Longest key of a device, in bytes.
pub const DEVICE_KEY_BYTES_MAX: usize = 64;
const VERSION: u64 = 1;

/// What the factory gives a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvisioningImage<'a> {
    /// Who it is.
    pub identity: Identity<'a>,
    /// The body of the product's root, usually version 1.
    pub root: &'a [u8],
    /// The lowest security epoch that a release may have.
    pub epoch_floor: SecurityEpoch,
    /// The device's own key, if it has one and this is where it is kept.
    pub key: Option<&'a [u8]>,
    /// What is installed, in rising order of names.
    pub files: List<'a, FactoryFile<'a>>,
    /// The install target that holds firmware.
    pub firmware: Option<InstallTarget<'a>>,
}

/// A file that the factory has installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactoryFile<'a> {
    /// Its name.
    pub name: FileName<'a>,
    /// Its revision.
    pub revision: Revision<'a>,
    /// The SHA-256 of its bytes.
    pub digest: Sha256Digest,
    /// Where it is.
    pub target: InstallTarget<'a>,
    /// In which of the two slots.
    pub slot: Slot,
    /// How long it is.
    pub size: ByteLength,
}

impl<'a> Item<'a> for FactoryFile<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(6)?;
        Ok(Self {
            name: FileName::decode(reader)?,
            revision: Revision::decode(reader)?,
            digest: Sha256Digest(reader.byte_array()?),
            target: InstallTarget::decode(reader)?,
            slot: if reader.bool()? { Slot::B } else { Slot::A },
            size: ByteLength(reader.u64()?),
        })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(6)?;
        self.name.encode(writer)?;
        self.revision.encode(writer)?;
        writer.bytes(&self.digest.0)?;
        self.target.encode(writer)?;
        writer.bool(self.slot == Slot::B)?;
        writer.u64(self.size.0)
    }
}

impl<'a> ProvisioningImage<'a> {
    /// Writes the image into the front of a buffer.
    ///
    /// # Errors
    /// [`EncodeError::BufferFull`] if it is too small.
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        to_slice(buffer, |out| {
            out.array(9)?;
            out.u64(VERSION)?;
            self.identity.product.encode(out)?;
            self.identity.device.encode(out)?;
            self.identity.hardware.encode(out)?;
            out.bytes(self.root)?;
            out.u64(u64::from(self.epoch_floor.0))?;
            match self.key {
                Some(key) => out.bytes(key)?,
                None => out.null()?,
            }
            self.files.encode(out)?;
            match self.firmware {
                Some(target) => target.encode(out),
                None => out.null(),
            }
        })
    }

    /// Reads an image.
    ///
    /// # Errors
    /// [`DecodeError`] with the offset of what is wrong.
    pub fn decode(image: &'a [u8]) -> Result<Self, DecodeError> {
        from_slice(image, Self::read)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(9)?;
        let offset = reader.position();
        if reader.u64()? != VERSION {
            return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset));
        }
        let identity = Identity {
            product: ProductId::decode(reader)?,
            device: DeviceId::decode(reader)?,
            hardware: HardwareRevision::decode(reader)?,
        };
        let root = reader.bytes(ROOT_BODY_BYTES_MAX)?;
        let epoch_floor = SecurityEpoch(reader.u32()?);
        let key = if reader.null()? { None } else { Some(reader.bytes(DEVICE_KEY_BYTES_MAX)?) };
        let files = List::decode(reader, FILES_MAX)?;
        let firmware = if reader.null()? { None } else { Some(InstallTarget::decode(reader)?) };
        Ok(Self { identity, root, epoch_floor, key, files, firmware })
    }
}

/// Why a device was not provisioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// It was provisioned before: what it trusts is never replaced.
    #[error("the device is provisioned already")]
    Already,
    /// The root is not acceptable.
    #[error("the root")]
    Root(#[source] TrustError),
    /// The image does not fit the scratch buffer, or its files are not in rising order of their names.
    #[error("the list of files cannot be written")]
    Files,
    /// The storage failed.
    #[error("the storage")]
    Storage(#[from] StorageFault),
}

/// Writes into an empty storage what the engine expects there. The files themselves are written by the factory.
///
/// A power cut leaves an unprovisioned device; calling it again finishes the work.
///
/// # Errors
/// [`ProvisionError`] says why nothing was changed, or that the storage failed half-way.
pub fn provision<H: Sha256, S: DeviceStorage + ?Sized>(
    image: &ProvisioningImage<'_>,
    storage: &mut S,
    scratch: &mut [u8],
) -> Result<(), ProvisionError> {
    let record = &mut [0; RECORD_BYTES_MAX];
    if storage.record(Log::Trusted, 0, record)?.is_some() {
        return Err(ProvisionError::Already);
    }
    let (_, state) =
        TrustedRoot::provision::<H>(image.root, image.epoch_floor).map_err(ProvisionError::Root)?;
    write_area(Area::Root(Slot::A), image.root, storage)?;

    let names_rise =
        image.files.iter().zip(image.files.iter().skip(1)).all(|(one, next)| one.name < next.name);
    let entries = image.files.iter().map(|file| Entry {
        file: file.name,
        revision: file.revision,
        digest: file.digest,
        place: Place { target: file.target, slot: file.slot, size: file.size },
    });
    let body = write_set(scratch, image.files.len(), entries).map_err(|_| ProvisionError::Files)?;
    if !names_rise {
        return Err(ProvisionError::Files);
    }
    write_area(Area::SetBody(Slot::A), body, storage)?;
    let firmware = image.files.iter().find(|file| Some(file.target) == image.firmware);
    let sets = SetsRecord {
        state: SetState::Settled(None),
        kept: SetRef {
            slot: Slot::A,
            bytes: math::to_u32(body.len()),
            digest: HashedBody::hash::<H>(body).digest(),
            firmware: firmware.map(|file| Firmware { digest: file.digest, slot: file.slot }),
        },
        other: None,
        attempt: None,
    };
    let sets = sets.encode(record).map_err(|_| ProvisionError::Files)?;
    storage.append(Log::Sets, sets)?;

    let trusted = TrustedRecord {
        state,
        root_slot: Slot::A,
        root_bytes: math::to_u32(image.root.len()),
        boots: BootCounter(0),
    };
    let trusted = trusted.encode(record).map_err(|_| ProvisionError::Files)?;
    Ok(storage.append(Log::Trusted, trusted)?)
}

/// Forgets what the device was downloading. Trusted state and the active set stay: a device that was reset can be
/// no easier to roll back than one that was not.
///
/// # Errors
/// [`StorageFault`] if that was not written; nothing has changed then.
pub fn factory_reset<S: DeviceStorage + ?Sized>(storage: &mut S) -> Result<(), StorageFault> {
    let record = &mut [0; RECORD_BYTES_MAX];
    if storage.record(Log::Journal, 0, record)?.is_none() {
        return Ok(());
    }
    match JournalRecord::Nothing.encode(record) {
        Ok(record) => storage.append(Log::Journal, record),
        Err(_) => Ok(()),
    }
}

fn write_area<S: DeviceStorage + ?Sized>(
    area: Area<'_>,
    bytes: &[u8],
    storage: &mut S,
) -> Result<(), StorageFault> {
    storage.prepare(area, ByteLength(math::to_u64(bytes.len())), ByteLength(0))?;
    storage.write(area, ByteOffset(0), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The image of a device as it was first shipped. It is read for ever.
    const GOLDEN: &str = "8901647075 6d70 6670756d702d37 65 7265762d62 43 010203 02 44 09090909 81 86 \
        6666772e62696e 63312e30 5820 1111111111111111111111111111111111111111111111111111111111111111 \
        686669726d77617265 f5 1a0001d4c0 686669726d77617265";

    fn golden() -> Vec<u8> {
        let digits: Vec<u8> = GOLDEN.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn the_image_as_it_was_first_shipped_is_read_and_written() {
        let target = InstallTarget::new("firmware").unwrap();
        let files = [FactoryFile {
            name: FileName::new("fw.bin").unwrap(),
            revision: Revision::new("1.0").unwrap(),
            digest: Sha256Digest([0x11; 32]),
            target,
            slot: Slot::B,
            size: ByteLength(120_000),
        }];
        let image = ProvisioningImage {
            identity: Identity {
                product: ProductId::new("pump").unwrap(),
                device: DeviceId::new("pump-7").unwrap(),
                hardware: HardwareRevision::new("rev-b").unwrap(),
            },
            root: &[1, 2, 3],
            epoch_floor: SecurityEpoch(2),
            key: Some(&[9; 4]),
            files: List::from_slice(&files),
            firmware: Some(target),
        };
        let golden = golden();
        assert_eq!(image.encode(&mut [0; 256]), Ok(&golden[..]));
        assert_eq!(ProvisioningImage::decode(&golden), Ok(image));
    }

    #[test]
    fn an_image_that_is_cut_prolonged_or_of_another_version_is_refused() {
        let golden = golden();
        for end in 0..golden.len() {
            assert!(ProvisioningImage::decode(&golden[..end]).is_err(), "cut at {end}");
        }
        let longer = [&golden[..], &[0]].concat();
        assert_eq!(
            ProvisioningImage::decode(&longer).unwrap_err(),
            DecodeErrorKind::TrailingBytes.at(golden.len())
        );
        let mut other = golden;
        other[1] = 2;
        assert_eq!(ProvisioningImage::decode(&other).unwrap_err(), DecodeErrorKind::OutOfRange.at(1));
    }
}
