//! Which bytes a message's evidence covers, told from the very bytes that are sent and received.
//!
//! The code is an HMAC-SHA-256 under the device's own key over
//!
//! ```text
//! "ota/v1/evidence/" | device id | 0x00 | the message without the 32 bytes of the code itself
//! ```
//!
//! Boot counter, sequence, every position and every other extension stand in the message, so all of them are covered;
//! neither side ever encodes anything anew to check it. A device id holds no control character, so the zero ends it.

use core::ops::Range;

use super::codec::{EVIDENCE, Opened, kind, positions};
use crate::cbor::{DecodeError, EncodeError, Malformed, Reader};
use crate::crypto::{Authenticator, MAC_BYTES, MacError};
use crate::number::BootCounter;
use crate::text::DeviceId;
use crate::wire::{Evidence, Up};

const DOMAIN: &[u8] = b"ota/v1/evidence/";

/// Why a message was not written with evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The message cannot be written.
    #[error("the message cannot be written")]
    Encode(#[from] EncodeError),
    /// What holds the key gave no code.
    #[error("the key gave no code")]
    Mac(#[from] MacError),
}

/// The bytes that the evidence of one message covers, as pieces of that message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered<'a> {
    device: DeviceId<'a>,
    before: &'a [u8],
    mac: &'a [u8; MAC_BYTES],
    after: &'a [u8],
}

impl<'a> Covered<'a> {
    /// Finds what the evidence covers in a message that was received, or `None` if it carries no evidence.
    ///
    /// `device` is the identity that the transport authenticated, never something that the message says.
    ///
    /// # Errors
    /// [`DecodeError`] if the message cannot be read; call it after [`Up::decode`] and there is none.
    pub fn of(device: DeviceId<'a>, message: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(message);
        let range = mac_range(&mut reader).map_err(|malformed| reader.error(malformed))?;
        Ok(range.and_then(|range| Self::around(device, message, range)))
    }

    /// The pieces to be authenticated, in order. Feeding them one by one equals feeding them joined.
    #[must_use]
    pub const fn pieces(&self) -> [&'a [u8]; 5] {
        [DOMAIN, self.device.as_str().as_bytes(), &[0], self.before, self.after]
    }

    /// The code that the message carries.
    #[must_use]
    pub const fn mac(&self) -> &'a [u8; MAC_BYTES] {
        self.mac
    }

    /// Checks the code with the device's key, in constant time. Whether boot counter and sequence have risen since
    /// the last message is the caller's to check: a true code proves who spoke, not when.
    ///
    /// # Errors
    /// [`MacError`]; everything but `Ok` means that nothing was proven.
    pub fn verify(&self, key: &impl Authenticator) -> Result<(), MacError> {
        key.verify(&self.pieces(), self.mac)
    }

    fn around(device: DeviceId<'a>, message: &'a [u8], range: Range<usize>) -> Option<Self> {
        let before = message.get(..range.start)?;
        let mac = message.get(range.clone())?.try_into().ok()?;
        let after = message.get(range.end..)?;
        Some(Self { device, before, mac, after })
    }
}

impl Up<'_> {
    /// Writes the message with evidence under the device's own key.
    ///
    /// A check-in or a report gets this boot counter and sequence, whatever evidence it held before. A request for
    /// blocks carries none and is written as it is; its grant speaks for it.
    ///
    /// # Errors
    /// [`AttestError`]; the buffer then holds nothing that may be sent.
    pub fn encode_attested<'b>(
        &self,
        buffer: &'b mut [u8],
        device: DeviceId<'_>,
        boot: BootCounter,
        sequence: u32,
        key: &impl Authenticator,
    ) -> Result<&'b [u8], AttestError> {
        let blank = self.with_evidence(Evidence { boot, sequence, mac: [0; MAC_BYTES] });
        let length = blank.encode_to_slice(buffer)?.len();
        let written = buffer.get_mut(..length).unwrap_or_default();
        if let Ok(Some(range)) = mac_range(&mut Reader::new(written))
            && let Some(covered) = Covered::around(device, written, range.clone())
        {
            let code = key.authenticate(&covered.pieces())?;
            if let Some(place) = written.get_mut(range) {
                place.copy_from_slice(&code);
            }
        }
        Ok(written)
    }

    /// The same message with this evidence; a request for blocks stays as it is.
    #[must_use]
    pub const fn with_evidence(mut self, evidence: Evidence) -> Self {
        match &mut self {
            Self::CheckIn(check_in) => check_in.evidence = Some(evidence),
            Self::Report(report) => report.evidence = Some(evidence),
            Self::WantBlocks(_) => {}
        }
        self
    }
}

/// Where the code stands in an encoded message that carries one.
fn mac_range(reader: &mut Reader<'_>) -> Result<Option<Range<usize>>, Malformed> {
    let opened = Opened::read(reader)?;
    let positions = match opened.kind {
        kind::CHECK_IN => positions::CHECK_IN,
        kind::REPORT => positions::REPORT,
        _ => return Ok(None),
    };
    if !opened.has_extensions(positions, reader)? {
        return Ok(None);
    }
    // The type has been read with the head.
    for _ in 1..positions {
        reader.skip()?;
    }
    let mut entries = reader.map()?;
    while let Some(key) = entries.next_key(reader)? {
        if key == EVIDENCE {
            reader.tuple(3)?;
            reader.u32()?;
            reader.u32()?;
            reader.byte_array::<MAC_BYTES>()?;
            let end = reader.position();
            return Ok(Some(end.saturating_sub(MAC_BYTES)..end));
        }
        reader.skip()?;
    }
    Ok(None)
}
