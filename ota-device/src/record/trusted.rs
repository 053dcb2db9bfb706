//! Log `Trusted`: what is trusted, where its root lies, how often the device has started.

use ota_core::cbor::{DecodeError, EncodeError, Malformed, Reader, from_slice, to_slice};
use ota_core::device::Slot;
use ota_core::number::{BootCounter, Generation, RootVersion, SecurityEpoch};
use ota_core::time::Timestamp;
use ota_core::trust::{Generations, TrustedState};

use super::{VERSION, digest, read_slot, version, write_slot};

/// One record: `[1, root version, root in slot B, root digest, root length, epoch, [generations], last time, boots]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrustedRecord {
    pub(crate) state: TrustedState,
    /// Where the root's body lies.
    pub(crate) root_slot: Slot,
    /// How long it is.
    pub(crate) root_bytes: u32,
    /// How often the device has started; counted only where evidence needs it.
    pub(crate) boots: BootCounter,
}

impl TrustedRecord {
    pub(crate) fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], EncodeError> {
        to_slice(buffer, |out| {
            out.array(9)?;
            out.u64(VERSION)?;
            out.u64(u64::from(self.state.root.0))?;
            write_slot(out, self.root_slot)?;
            out.bytes(&self.state.root_digest.0)?;
            out.u64(u64::from(self.root_bytes))?;
            out.u64(u64::from(self.state.epoch.0))?;
            out.array(self.state.generations.0.len())?;
            for generation in self.state.generations.0 {
                out.u64(u64::from(generation.0))?;
            }
            out.u64(self.state.last_time.0)?;
            out.u64(u64::from(self.boots.0))
        })
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Self, DecodeError> {
        from_slice(record, Self::read)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.tuple(9)?;
        version(reader)?;
        let root = RootVersion(reader.u32()?);
        let root_slot = read_slot(reader)?;
        let root_digest = digest(reader)?;
        let root_bytes = reader.u32()?;
        let epoch = SecurityEpoch(reader.u32()?);
        reader.tuple(4)?;
        let mut generations = Generations::default();
        for generation in &mut generations.0 {
            *generation = Generation(reader.u32()?);
        }
        let last_time = Timestamp(reader.u64()?);
        let boots = BootCounter(reader.u32()?);
        let state = TrustedState { root, root_digest, epoch, generations, last_time };
        Ok(Self { state, root_slot, root_bytes, boots })
    }
}
