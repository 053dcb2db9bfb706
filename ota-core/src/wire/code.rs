//! What phases, reports and refusals are called on the wire: numbered, append-only, made in one place.
//!
//! Codes are told apart by number and never reused. A number that this version has no name for is kept as it came,
//! so that a newer peer's codes can be shown, counted and acknowledged by an older one.

use crate::cbor::{DecodeError, DecodeErrorKind};

/// Defines an enum of numbered codes with both conversions, so that a number is written once.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$code_doc:meta])* $code:ident = $number:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$code_doc])* $code,)+
            /// A code of a newer peer that this version has no name for.
            Unknown(UnknownCode),
        }

        impl $name {
            /// Every code that this version has a name for, lowest number first.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$code => $number,)+
                    Self::Unknown(UnknownCode(number)) => number,
                }
            }

            /// The code with this number; every number is one.
            #[must_use]
            pub const fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$code,)+
                    other => Self::Unknown(UnknownCode(other)),
                }
            }
        }
    };
}

/// A number without a name. Only `from_number` makes one, so a code has one form and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnknownCode(u16);

/// How far an offer has come on a device. A phase decides what happens next, so an unknown one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Phase {
    /// The device knows of it.
    Offered = 1,
    /// Bytes are arriving.
    Downloading = 2,
    /// All bytes are there.
    Downloaded = 3,
    /// All files have been checked against their integrity strings.
    Verified = 4,
    /// The commit record is written; a boot is awaited.
    Installed = 5,
    /// The new files have proven themselves.
    Confirmed = 6,
    /// It ended without being installed.
    Failed = 7,
    /// The old files are back.
    RolledBack = 8,
    /// The application does not want it.
    Rejected = 9,
    /// The application wants it later.
    Deferred = 10,
}

impl Phase {
    /// All phases, lowest number first.
    pub const ALL: [Self; 10] = [
        Self::Offered,
        Self::Downloading,
        Self::Downloaded,
        Self::Verified,
        Self::Installed,
        Self::Confirmed,
        Self::Failed,
        Self::RolledBack,
        Self::Rejected,
        Self::Deferred,
    ];

    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Offered => 1,
            Self::Downloading => 2,
            Self::Downloaded => 3,
            Self::Verified => 4,
            Self::Installed => 5,
            Self::Confirmed => 6,
            Self::Failed => 7,
            Self::RolledBack => 8,
            Self::Rejected => 9,
            Self::Deferred => 10,
        }
    }

    /// The phase with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| u64::from(phase.number()) == number)
    }
}

codes! {
    /// Why a phase was reached or an attempt ended: numbered, append-only, each saying what the operator can do.
    ReportCode {
        /// Nothing went wrong.
        Ok = 0,
        /// The signed metadata could not be read. Make the release anew.
        Malformed = 1,
        /// Too few valid signatures. Sign with the keys that the product's root lists.
        Signature = 2,
        /// The root, the release or the assignment is past its expiry. Issue a new one.
        Expired = 3,
        /// It is for another product. Correct the campaign's target.
        WrongProduct = 4,
        /// It does not list this hardware revision. Correct the target or list the revision.
        WrongHardware = 5,
        /// Its security epoch is below the device's. Build it with the current epoch.
        RolledBackEpoch = 6,
        /// A requirement is not met. Install the stepping stone first.
        RequirementNotMet = 7,
        /// A file has no integrity string that this device can check and the product accepts. Add one.
        NoIntegrity = 8,
        /// A file's bytes do not match its integrity string. Check the host of the file.
        IntegrityMismatch = 9,
        /// The metadata or the files are larger than the device can hold. Split the release.
        TooLarge = 10,
        /// The storage failed. Look at the device.
        Storage = 11,
        /// No answer within the deadline. Check connection and server.
        Timeout = 12,
        /// The self-test after the boot failed. Look at the release.
        SelfTestFailed = 13,
        /// Nobody confirmed the new files in time. Look at the release.
        ConfirmTimeout = 14,
        /// The bootloader did not start the new firmware, or went back to the old one.
        BootReverted = 15,
        /// The device could not check in with its new certificate or network settings and went back.
        ConnectivityLost = 16,
        /// The application refused it.
        ApplicationRejected = 17,
        /// The application put it off.
        ApplicationDeferred = 18,
        /// The server took it back.
        Cancelled = 19,
        /// The application gave it up.
        Aborted = 20,
        /// The answer was not for this device or this check-in.
        NotFresh = 21,
        /// A root does not follow the one before it.
        RootChain = 22,
        /// A file hosted elsewhere could not be fetched from there; blocks were used instead, or will be.
        ExternalDownload = 23,
        /// An install target of the release is not known to this device. Correct the release.
        UnknownTarget = 24,
        /// The server refused to serve it.
        Refused = 25,
        /// A root made with a development key, which this build does not accept.
        DevelopmentKey = 26,
        /// The device cannot raise its security epoch that far, found out before anything was installed. Look at the
        /// device: a counter in fuses may be used up.
        EpochExhausted = 27,
        /// The firmware that runs is in no set of files that the device knows: new files could be written over what is in
        /// use. Put known firmware back, let the boot control name the slot that runs, or provision the device anew.
        UnknownFirmware = 28,
    }
}

codes! {
    /// Why a message was refused: numbered, append-only.
    RefuseCode {
        /// The message could not be read.
        Malformed = 1,
        /// The type of the message is not known.
        UnknownType = 2,
        /// The device is not known. Register it.
        UnknownDevice = 3,
        /// The device is of another product than it says.
        WrongProduct = 4,
        /// The device's credentials have been revoked.
        Revoked = 5,
        /// The grant is not valid for this device, offer and release. Check in.
        BadGrant = 6,
        /// The grant has expired. Check in and go on.
        GrantExpired = 7,
        /// The offer is no longer open. Check in.
        StaleOffer = 8,
        /// The request lies outside the part.
        OutOfRange = 9,
        /// The message or what it asks for is over the limits.
        TooLarge = 10,
        /// The part is not there.
        NoSuchPart = 11,
        /// The report cannot be true.
        ImpossibleReport = 12,
        /// The evidence is missing or false.
        BadEvidence = 13,
        /// The server failed; try again later.
        Internal = 14,
    }
}

impl From<DecodeError> for RefuseCode {
    /// What the peer hears about a message that could not be read.
    fn from(error: DecodeError) -> Self {
        match error.kind {
            DecodeErrorKind::UnknownType => Self::UnknownType,
            DecodeErrorKind::TooLarge => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_one_code_and_back() {
        for number in 0..=u16::MAX {
            assert_eq!(ReportCode::from_number(number).number(), number);
            assert_eq!(RefuseCode::from_number(number).number(), number);
        }
        assert!(ReportCode::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert!(RefuseCode::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert!(!ReportCode::ALL.iter().any(|code| matches!(code, ReportCode::Unknown(_))));
    }

    #[test]
    fn every_phase_reads_back_from_its_number() {
        for number in 0..=u64::from(u8::MAX) {
            let phase = Phase::from_number(number);
            assert_eq!(phase.is_some(), (1..=10).contains(&number), "{number}");
            assert!(phase.is_none_or(|phase| u64::from(phase.number()) == number));
        }
    }
}
