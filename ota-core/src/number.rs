//! Numbers with a meaning: ids, counts, offsets and lengths that cannot be mistaken for each other.

use crate::limits;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident[$length:literal]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Its length in bytes.
            pub const LENGTH: usize = $length;

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Reads it from lower-case hexadecimal digits, exactly as [`Display`](core::fmt::Display) writes it.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $length];
                crate::hex::decode(text.as_bytes(), &mut bytes).then_some(Self(bytes))
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                crate::hex::fmt(&self.0, f)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

number! {
    /// Version of a product's root: the next one is exactly one higher.
    RootVersion(u32)
}
number! {
    /// Generation of a role's keys: raised when a key may have been stolen, so that what it signed loses its hold.
    Generation(u32)
}
number! {
    /// Security epoch: the only floor against rollback. Raised after a confirmed boot, never lowered.
    SecurityEpoch(u32)
}
number! {
    /// Version of a package: orders releases for planning, and never forbids a way back within the epoch.
    PackageVersion(u64)
}
number! {
    /// Position of a file in the release's list; the first is 0.
    FileIndex(u16)
}
number! {
    /// Position of a unit in a block map; the first is 0.
    UnitIndex(u32)
}
number! {
    /// Number of a report within its offer, rising by one.
    ReportSequence(u32)
}
number! {
    /// How often a device has started; forks reveal clones.
    BootCounter(u32)
}
number! {
    /// Distance from the beginning of a file, in bytes.
    ByteOffset(u64)
}
number! {
    /// Length of a file or of a part of it, in bytes.
    ByteLength(u64)
}
number! {
    /// A campaign of the fleet.
    CampaignId(u64)
}

impl ByteOffset {
    /// The offset that is `length` further on, or `None` past the end of 64 bits.
    #[must_use]
    pub const fn checked_add(self, length: ByteLength) -> Option<Self> {
        match self.0.checked_add(length.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// How far `self` lies behind `start`, or `None` if it lies before it.
    #[must_use]
    pub const fn distance_from(self, start: Self) -> Option<ByteLength> {
        match self.0.checked_sub(start.0) {
            Some(distance) => Some(ByteLength(distance)),
            None => None,
        }
    }

    /// Whether `length` bytes from here end inside a file of `size`.
    #[must_use]
    pub const fn fits(self, length: ByteLength, size: ByteLength) -> bool {
        match self.0.checked_add(length.0) {
            Some(end) => end <= size.0,
            None => false,
        }
    }
}

impl FileIndex {
    /// Checks the position against the most files that a release can hold.
    #[must_use]
    pub fn new(position: u64) -> Option<Self> {
        let index = u16::try_from(position).ok()?;
        (usize::from(index) < limits::FILES_MAX).then_some(Self(index))
    }
}

identity! {
    /// Which public key: the first 8 bytes of the SHA-256 of its bytes.
    KeyId[8]
}
identity! {
    /// Which offer: the first 8 bytes of the SHA-256 of the signed assignment.
    OfferId[8]
}
identity! {
    /// Which release: the SHA-256 of its body. Approvals, assignments and grants name this, and signatures do not change it.
    ReleaseId[32]
}
identity! {
    /// The SHA-256 of some bytes.
    Sha256Digest[32]
}
identity! {
    /// 16 unpredictable bytes that a device gives with a check-in; the answer must repeat them.
    Nonce[16]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_1_and_37_offsets_never_wrap() {
        // RAUC CVE-2026-34155 and AWS OTA 37fa4f13: arithmetic near the end of an integer type.
        let size = ByteLength(u64::MAX);
        assert!(!ByteOffset(u64::MAX).fits(ByteLength(1), size));
        for size in [1_u64 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1] {
            assert!(ByteOffset(size - 1).fits(ByteLength(1), ByteLength(size)));
            assert!(!ByteOffset(size - 1).fits(ByteLength(2), ByteLength(size)));
            assert!(!ByteOffset(size).fits(ByteLength(1), ByteLength(size)));
        }
    }

    #[test]
    fn an_identity_reads_back_what_it_writes() {
        let id = KeyId([0, 1, 0xab, 0xff, 4, 5, 6, 7]);
        assert_eq!(format!("{id}"), "0001abff04050607");
        assert_eq!(KeyId::from_hex("0001abff04050607"), Some(id));
        for bad in ["", "0001ABff04050607", "0001abff0405060", "0001abff040506070", "0001abff0405060g"] {
            assert_eq!(KeyId::from_hex(bad), None, "{bad}");
        }
    }
}
