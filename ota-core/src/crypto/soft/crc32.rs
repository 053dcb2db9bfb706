//! CRC-32 (ISO-HDLC: the one of Ethernet, zip and gzip) in three sizes; the type decides which table is linked.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::crypto::Hasher;
use crate::integrity::{Algorithm, FileHasher};

macro_rules! crc32 {
    ($(#[$doc:meta])* $name:ident, $table:ident, $lanes:literal) => {
        static $table: Crc<u32, Table<$lanes>> = Crc::<u32, Table<$lanes>>::new(&CRC_32_ISO_HDLC);

        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(crc::Digest<'static, u32, Table<$lanes>>);

        impl Hasher for $name {
            type Digest = [u8; 4];

            fn new() -> Self {
                Self($table.digest())
            }

            #[inline]
            fn update(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }

            /// The most significant byte first, as the digits are written.
            fn finish(self) -> [u8; 4] {
                self.0.finalize().to_be_bytes()
            }
        }

        impl FileHasher for $name {
            const ALGORITHM: Algorithm = Algorithm::Crc32;
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

crc32! {
    /// CRC-32 with a table of 1 KiB, a byte at a time: the choice for firmware.
    SoftCrc32, TABLE, 1
}
crc32! {
    /// CRC-32 with a table of 16 KiB, sixteen bytes at a time: the choice for hosts.
    SoftCrc32Fast, FAST_TABLE, 16
}
crc32! {
    /// CRC-32 without a table, a bit at a time: where a kilobyte of flash matters more than time.
    SoftCrc32Tiny, NO_TABLE, 0
}
