//! What the records say. Plain data: every rule about them lives in `ota-server`.
//!
//! Each is stored as a CBOR map with numbered keys. Numbers are never used twice and new fields are optional, so
//! servers of neighbouring versions can share a store.

mod device;
mod product;
mod small;

pub use device::{BUCKETS, Device, DeviceStatus, Installed};
pub use product::{Product, RootRecord};
pub use small::{BlobRecord, GrantKey, Interned, Setting};
