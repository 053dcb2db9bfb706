//! Envelopes: COSE (RFC 9052), exactly the part of it that signed metadata uses, read strictly.
//!
//! Root and release travel as `COSE_Sign` (tag 98) over `[size, SHA-256]` of a body that travels apart, an
//! assignment as `COSE_Sign1` (tag 18) with its body inside. Algorithm and key id stand in the protected header and
//! nowhere else, so nothing that a signature does not cover has a meaning.

use crate::cbor::{DecodeErrorKind, EncodeError, Malformed, Reader, Sink, Writer, from_slice, to_slice};
use crate::crypto::{SIGNATURE_BYTES, SignatureAlgorithm, SignatureVerifier};
use crate::limits::{ASSIGNMENT_BYTES_MAX, ENVELOPE_BYTES_MAX, SIGNATURES_MAX};
use crate::list::{Item, List};
use crate::number::{KeyId, Sha256Digest};
use crate::text::ProductId;
use crate::trust::{HashedBody, Key, Role, TrustError};

/// Tag of a `COSE_Sign` message.
pub(super) const TAG_SIGN: u64 = 98;
/// Tag of a `COSE_Sign1` message.
pub(super) const TAG_SIGN1: u64 = 18;
/// Labels of the protected header (RFC 9052, section 3.1).
const LABEL_ALGORITHM: u64 = 1;
const LABEL_KEY_ID: u64 = 4;
/// Length of the protected header, the longest that is read: two labels, a small integer and a key id.
const PROTECTED_BYTES_MAX: usize = 13;
/// Longest payload of a `COSE_Sign`: a 64-bit size and a digest.
const PAYLOAD_BYTES_MAX: usize = 44;

/// Room for what a signature covers. An assignment's own envelope brings at least 86 bytes around the payload, what
/// is signed at most 113: context 11, header 14, associated data 84, and the heads of array and payload.
pub(super) const SIGNED_BYTES_MAX: usize = ASSIGNMENT_BYTES_MAX + 32;

const _: () = {
    // Every signature that may be there fits: three heads, the header and 64 bytes each.
    let largest = 8 + PAYLOAD_BYTES_MAX + SIGNATURES_MAX * (5 + PROTECTED_BYTES_MAX + SIGNATURE_BYTES);
    assert!(largest <= ENVELOPE_BYTES_MAX);
};

/// One signature and its protected header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature<'a> {
    /// The protected header as it was received: these bytes are what the signature covers.
    header: &'a [u8],
    /// What the header says.
    pub(super) protected: Protected,
    /// The signature itself.
    pub(super) signature: &'a [u8; SIGNATURE_BYTES],
}

/// What a protected header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Protected {
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) key: KeyId,
}

/// An envelope, read but not believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope<'a> {
    pub(super) payload: &'a [u8],
    signatures: Signatures<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Signatures<'a> {
    One(Signature<'a>),
    Many(List<'a, Signature<'a>>),
}

/// Which of the two structures a signature covers (RFC 9052, section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Sign,
    Sign1,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a root or a release and demands that it speaks of exactly this body.
    pub(super) fn over_body(bytes: &'a [u8], body: &HashedBody<'_>) -> Result<Self, TrustError> {
        let envelope = Self::read_sign(bytes)?;
        let (size, digest) = from_slice(envelope.payload, read_payload).map_err(TrustError::Envelope)?;
        if u64::try_from(body.bytes().len()) == Ok(size) && digest == body.digest() {
            Ok(envelope)
        } else {
            Err(TrustError::OtherBody)
        }
    }

    fn read_sign(bytes: &'a [u8]) -> Result<Self, TrustError> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(TrustError::TooLarge);
        }
        let envelope = from_slice(bytes, read_sign).map_err(TrustError::Envelope)?;
        if envelope.repeats_a_key() { Err(TrustError::DuplicateSignature) } else { Ok(envelope) }
    }

    /// Reads a signed assignment; its payload is the body.
    pub(super) fn with_body(bytes: &'a [u8]) -> Result<Self, TrustError> {
        if bytes.len() > ASSIGNMENT_BYTES_MAX {
            return Err(TrustError::TooLarge);
        }
        from_slice(bytes, read_sign1).map_err(TrustError::Envelope)
    }

    pub(super) fn signature(&self, index: usize) -> Option<Signature<'a>> {
        match &self.signatures {
            Signatures::One(signature) => (index == 0).then_some(*signature),
            Signatures::Many(list) => list.get(index),
        }
    }

    const fn form(&self) -> Form {
        match self.signatures {
            Signatures::One(_) => Form::Sign1,
            Signatures::Many(_) => Form::Sign,
        }
    }

    /// At most [`SIGNATURES_MAX`] signatures, so comparing all pairs is cheap.
    fn repeats_a_key(&self) -> bool {
        let Signatures::Many(list) = &self.signatures else { return false };
        list.iter().enumerate().any(|(index, one)| {
            list.iter().skip(index.saturating_add(1)).any(|other| other.protected.key == one.protected.key)
        })
    }

    /// Checks one signature. Every role's signatures go through here and nowhere else.
    pub(super) fn verify(
        &self,
        signature: &Signature<'_>,
        key: &Key<'_>,
        role: Role,
        product: ProductId<'_>,
        verifier: &impl SignatureVerifier,
    ) -> Result<(), TrustError> {
        let mut buffer = [0; SIGNED_BYTES_MAX];
        let signed = to_slice(&mut buffer, |writer| {
            write_signed(writer, self.form(), signature.header, role, product, self.payload)
        })
        .map_err(|_| TrustError::TooLarge)?;
        verifier
            .verify(key.algorithm, key.public, signed, signature.signature)
            .map_err(|_| TrustError::BadSignature { key: signature.protected.key })
    }
}

/// Writes the bytes that a signature covers: `Sig_structure` of RFC 9052, section 4.4, with
/// `ota/v1/<role>/<product>` as associated data, so that no signature is ever good for another role or product.
pub(super) fn write_signed<S: Sink + ?Sized>(
    writer: &mut Writer<'_, S>,
    form: Form,
    header: &[u8],
    role: Role,
    product: ProductId<'_>,
    payload: &[u8],
) -> Result<(), EncodeError> {
    match form {
        Form::Sign => {
            writer.array(5)?;
            writer.text("Signature")?;
            writer.bytes(&[])?;
        }
        Form::Sign1 => {
            writer.array(4)?;
            writer.text("Signature1")?;
        }
    }
    writer.bytes(header)?;
    const PREFIX: &[u8] = b"ota/v1/";
    let (role, product) = (role.name().as_bytes(), product.as_str().as_bytes());
    let length = PREFIX.len().saturating_add(role.len()).saturating_add(product.len()).saturating_add(1);
    writer.bytes_head(length)?;
    for part in [PREFIX, role, b"/", product] {
        writer.raw(part)?;
    }
    writer.bytes(payload)
}

/// Writes the payload of a root's or release's envelope.
#[cfg(feature = "sign")]
pub(super) fn write_payload<S: Sink + ?Sized>(
    writer: &mut Writer<'_, S>,
    size: u64,
    digest: &Sha256Digest,
) -> Result<(), EncodeError> {
    writer.array(2)?;
    writer.u64(size)?;
    writer.bytes(&digest.0)
}

fn read_payload(reader: &mut Reader<'_>) -> Result<(u64, Sha256Digest), Malformed> {
    reader.tuple(2)?;
    let size = reader.u64()?;
    // Exactly 32 bytes: a shortened digest is refused by its length.
    Ok((size, Sha256Digest(reader.byte_array()?)))
}

fn read_sign<'a>(reader: &mut Reader<'a>) -> Result<Envelope<'a>, Malformed> {
    reader.tag(TAG_SIGN)?;
    reader.tuple(4)?;
    // The protected header of the body is empty; RFC 9052 has it written as an empty byte string.
    reader.bytes(0)?;
    read_empty_map(reader)?;
    let payload = reader.bytes(PAYLOAD_BYTES_MAX)?;
    let offset = reader.position();
    let signatures = List::decode(reader, SIGNATURES_MAX)?;
    if signatures.is_empty() {
        return Err(reader.refuse(DecodeErrorKind::OutOfRange, offset));
    }
    Ok(Envelope { payload, signatures: Signatures::Many(signatures) })
}

fn read_sign1<'a>(reader: &mut Reader<'a>) -> Result<Envelope<'a>, Malformed> {
    reader.tag(TAG_SIGN1)?;
    reader.tuple(4)?;
    let (header, protected) = read_header(reader)?;
    read_empty_map(reader)?;
    let payload = reader.bytes(ASSIGNMENT_BYTES_MAX)?;
    let signature = read_signature(reader)?;
    Ok(Envelope { payload, signatures: Signatures::One(Signature { header, protected, signature }) })
}

fn read_empty_map(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    let offset = reader.position();
    // An unprotected header would be changed by whoever likes, so there is none.
    match reader.map()?.next_key(reader)? {
        None => Ok(()),
        Some(_) => Err(reader.refuse(DecodeErrorKind::OutOfRange, offset)),
    }
}

fn read_signature<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; SIGNATURE_BYTES], Malformed> {
    let offset = reader.position();
    reader.bytes(SIGNATURE_BYTES)?.try_into().map_err(|_| reader.refuse(DecodeErrorKind::OutOfRange, offset))
}

fn read_header<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], Protected), Malformed> {
    let offset = reader.position();
    let header = reader.bytes(PROTECTED_BYTES_MAX)?;
    let protected = from_slice(header, Protected::read).map_err(|error| reader.refuse(error.kind, offset))?;
    Ok((header, protected))
}

impl Protected {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut entries = reader.map()?;
        let (mut algorithm, mut key) = (None, None);
        while let Some(label) = entries.next_key(reader)? {
            let offset = reader.position();
            match label {
                LABEL_ALGORITHM => {
                    let number = reader.i64()?;
                    algorithm = Some(
                        SignatureAlgorithm::from_cose(number)
                            .ok_or_else(|| reader.refuse(DecodeErrorKind::OutOfRange, offset))?,
                    );
                }
                LABEL_KEY_ID => key = Some(KeyId(reader.byte_array()?)),
                _ => return Err(reader.refuse(DecodeErrorKind::UnknownCriticalKey, offset)),
            }
        }
        match (algorithm, key) {
            (Some(algorithm), Some(key)) => Ok(Self { algorithm, key }),
            _ => Err(reader.refuse(DecodeErrorKind::MissingKey, 0)),
        }
    }

    /// Writes the header; a signature covers these bytes.
    #[cfg(feature = "sign")]
    pub(super) fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.map(2)?;
        writer.u64(LABEL_ALGORITHM)?;
        writer.i64(self.algorithm.cose())?;
        writer.u64(LABEL_KEY_ID)?;
        writer.bytes(&self.key.0)
    }
}

impl<'a> Item<'a> for Signature<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.tuple(3)?;
        let (header, protected) = read_header(reader)?;
        read_empty_map(reader)?;
        Ok(Self { header, protected, signature: read_signature(reader)? })
    }

    fn encode<S: Sink + ?Sized>(&self, writer: &mut Writer<'_, S>) -> Result<(), EncodeError> {
        writer.array(3)?;
        writer.bytes(self.header)?;
        writer.map(0)?;
        writer.bytes(self.signature)
    }
}
