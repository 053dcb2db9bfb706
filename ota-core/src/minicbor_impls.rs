//! How our checked types stand in stored records: as the plain text, number or bytes that they hold, checked again when read.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::number;
use crate::text;
use crate::time::{Millis, Timestamp};

macro_rules! texts {
    ($($name:ident),+ $(,)?) => {$(
        impl<C> Encode<C> for text::$name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
                e.str(self.as_str())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for text::$name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let at = d.position();
                Self::new(d.str()?).map_err(|_| DecodeError::message("a text breaks its rules").at(at))
            }
        }
    )+};
}

macro_rules! numbers {
    ($($name:path),+ $(,)?) => {$(
        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), EncodeError<W::Error>> {
                self.0.encode(e, ctx)
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, DecodeError> {
                Decode::decode(d, ctx).map(Self)
            }
        }
    )+};
}

macro_rules! identities {
    ($($name:ident),+ $(,)?) => {$(
        impl<C> Encode<C> for number::$name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), EncodeError<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for number::$name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                let at = d.position();
                let bytes = d.bytes()?.try_into();
                bytes.map(Self).map_err(|_| DecodeError::message("an id has the wrong length").at(at))
            }
        }
    )+};
}

texts! {
    DeviceIdBuf, ProductIdBuf, PackageNameBuf, HardwareRevisionBuf, InstallTargetBuf, FileNameBuf, RevisionBuf,
    UrlBuf, DetailBuf,
}

numbers! {
    number::RootVersion, number::Generation, number::SecurityEpoch, number::PackageVersion, number::FileIndex,
    number::ReportSequence, number::BootCounter, number::ByteOffset, number::ByteLength, number::CampaignId,
    Timestamp, Millis,
}

identities! { KeyId, OfferId, ReleaseId, Sha256Digest, Nonce }
