//! A record of any table: how it is stored, and where it is found.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::records::{
    Attempt, BlobRecord, Campaign, Device, Enrolment, FileCourse, GrantKey, Group, Interned, PrincipalRecord,
    Product, ReleaseRecord, RootRecord, Setting, Token,
};
use super::{IndexEntry, Key, Table};

/// The bytes of a record are not what this version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a stored record of table {0:?} cannot be read")]
pub struct RecordError(pub Table);

macro_rules! records {
    ($($table:ident($body:ty)),+ $(,)?) => {
        /// A record of any table.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Record {
            $(
                #[doc = concat!("A record of the table [`", stringify!($table), "`](Table::", stringify!($table), ").")]
                $table($body),
            )+
        }

        impl Record {
            /// The table it belongs to.
            #[must_use]
            pub const fn table(&self) -> Table {
                match self {
                    $(Self::$table(_) => Table::$table,)+
                }
            }

            /// Its stored form.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                // As much as the record of an ordinary device takes.
                let mut bytes = Vec::with_capacity(192);
                // Writing to a vector cannot fail.
                let Ok(()) = (match self {
                    $(Self::$table(body) => minicbor::encode(body, &mut bytes),)+
                }) else { return Vec::new() };
                bytes
            }

            /// Reads the stored form.
            ///
            /// # Errors
            /// [`RecordError`] if the bytes are not a record of this table.
            pub fn from_bytes(table: Table, bytes: &[u8]) -> Result<Self, RecordError> {
                match table {
                    $(Table::$table => minicbor::decode(bytes).map(Self::$table).map_err(|_| RecordError(table)),)+
                }
            }
        }
    };
}

records! {
    Product(Product),
    Device(Device),
    Release(ReleaseRecord),
    Root(RootRecord),
    Blob(BlobRecord),
    Campaign(Box<Campaign>),
    Attempt(Attempt),
    Interned(Interned),
    Group(Group),
    GrantKey(GrantKey),
    Principal(PrincipalRecord),
    Token(Token),
    Setting(Setting),
    Course(FileCourse),
    Enrolment(Enrolment),
}

impl Record {
    /// The places in indexes where it wants to be found under this key.
    #[must_use]
    pub fn places(&self, key: &Key) -> Vec<IndexEntry> {
        let mut places = Vec::new();
        match self {
            Self::Device(device) => device.places(key, &mut places),
            Self::Interned(name) => name.places(key, &mut places),
            Self::Release(release) => release.places(&mut places),
            Self::Campaign(campaign) => campaign.places(&mut places),
            Self::Attempt(attempt) => attempt.places(key, &mut places),
            Self::Token(token) => token.places(&mut places),
            Self::Enrolment(enrolment) => enrolment.places(&mut places),
            _ => {}
        }
        places
    }
}
