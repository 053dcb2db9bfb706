//! Counters: what overviews are made of, changed in the commit of what they count.

use alloc::vec::Vec;
use core::str;

use crate::number::CampaignId;
use crate::text::ProductIdBuf;

/// Which counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CounterKey {
    /// Devices of a product.
    Devices {
        /// The product.
        product: ProductIdBuf,
    },
    /// Devices of a product that have this revision of this file; the numbers are interned names, 0 is "unknown".
    Installed {
        /// The product.
        product: ProductIdBuf,
        /// The file's name.
        file: u32,
        /// Its revision.
        revision: u32,
    },
    /// Devices of a product that were last heard in this hour since 1970.
    Heard {
        /// The product.
        product: ProductIdBuf,
        /// The hour.
        hour: u32,
    },
    /// Attempts of a campaign, by where they stand.
    Attempts {
        /// The campaign.
        campaign: CampaignId,
        /// The stage in which the device's turn came; 0 is the trial group.
        stage: u16,
        /// The phase.
        phase: u8,
        /// The cause of a failure, or 0.
        cause: u16,
    },
}

impl CounterKey {
    /// Bytes that sort as the keys do. The first says which kind it is.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.prefix().to_bytes();
        match self {
            Self::Devices { product } => bytes.extend_from_slice(product.as_str().as_bytes()),
            Self::Installed { file, revision, .. } => {
                bytes.extend_from_slice(&file.to_be_bytes());
                bytes.extend_from_slice(&revision.to_be_bytes());
            }
            Self::Heard { hour, .. } => bytes.extend_from_slice(&hour.to_be_bytes()),
            Self::Attempts { stage, phase, cause, .. } => {
                bytes.extend_from_slice(&stage.to_be_bytes());
                bytes.push(*phase);
                bytes.extend_from_slice(&cause.to_be_bytes());
            }
        }
        bytes
    }

    /// The key that [`to_bytes`](Self::to_bytes) made these bytes of, or `None` if it made them of none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match *kind {
            DEVICES => Self::Devices { product: product(rest)? },
            INSTALLED => {
                let (product, rest) = product_and_rest(rest)?;
                let (file, revision) = rest.split_first_chunk()?;
                Self::Installed {
                    product,
                    file: u32::from_be_bytes(*file),
                    revision: u32::from_be_bytes(revision.try_into().ok()?),
                }
            }
            HEARD => {
                let (product, hour) = product_and_rest(rest)?;
                Self::Heard { product, hour: u32::from_be_bytes(hour.try_into().ok()?) }
            }
            ATTEMPTS => {
                let (campaign, rest) = rest.split_first_chunk()?;
                let (stage, rest) = rest.split_first_chunk()?;
                let (phase, cause) = rest.split_first()?;
                Self::Attempts {
                    campaign: CampaignId(u64::from_be_bytes(*campaign)),
                    stage: u16::from_be_bytes(*stage),
                    phase: *phase,
                    cause: u16::from_be_bytes(cause.try_into().ok()?),
                }
            }
            _ => return None,
        })
    }

    /// The group it belongs to.
    #[must_use]
    pub fn prefix(&self) -> CounterPrefix {
        match self {
            Self::Devices { .. } => CounterPrefix::Devices,
            Self::Installed { product, .. } => CounterPrefix::Installed(product.clone()),
            Self::Heard { product, .. } => CounterPrefix::Heard(product.clone()),
            Self::Attempts { campaign, .. } => CounterPrefix::Attempts(*campaign),
        }
    }
}

/// A group of counters that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CounterPrefix {
    /// The devices of each product.
    Devices,
    /// The installed revisions of a product.
    Installed(ProductIdBuf),
    /// The last-heard histogram of a product.
    Heard(ProductIdBuf),
    /// The attempts of a campaign.
    Attempts(CampaignId),
}

impl CounterPrefix {
    /// Whether the counter belongs to the group.
    #[must_use]
    pub fn covers(&self, key: &CounterKey) -> bool {
        *self == key.prefix()
    }

    /// What the bytes of every counter of the group begin with, and those of no other.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // A kind, a product and the numbers of a counter.
        let mut bytes = Vec::with_capacity(80);
        match self {
            Self::Devices => bytes.push(DEVICES),
            Self::Installed(product) => push_product(&mut bytes, INSTALLED, product),
            Self::Heard(product) => push_product(&mut bytes, HEARD, product),
            Self::Attempts(campaign) => {
                bytes.push(ATTEMPTS);
                bytes.extend_from_slice(&campaign.0.to_be_bytes());
            }
        }
        bytes
    }
}

/// The kinds as they are stored.
const DEVICES: u8 = 1;
const INSTALLED: u8 = 2;
const HEARD: u8 = 3;
const ATTEMPTS: u8 = 4;

fn push_product(bytes: &mut Vec<u8>, kind: u8, product: &ProductIdBuf) {
    bytes.push(kind);
    bytes.extend_from_slice(product.as_str().as_bytes());
    // No product contains a zero byte, so that none is the beginning of another.
    bytes.push(0);
}

fn product(bytes: &[u8]) -> Option<ProductIdBuf> {
    ProductIdBuf::new(str::from_utf8(bytes).ok()?).ok()
}

fn product_and_rest(bytes: &[u8]) -> Option<(ProductIdBuf, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (name, rest) = bytes.split_at_checked(end)?;
    Some((product(name)?, rest.get(1..)?))
}

/// A change of a counter. Changes of one commit to the same key become one.
///
/// A counter stays at the ends of 64 bits, which no fleet reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterChange {
    /// Which one.
    pub key: CounterKey,
    /// By how much.
    pub by: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_read_back_and_sort_as_their_keys() {
        let product = |name: &str| ProductIdBuf::new(name).unwrap();
        let attempts = |campaign, stage, phase, cause| CounterKey::Attempts {
            campaign: CampaignId(campaign),
            stage,
            phase,
            cause,
        };
        let mut keys = vec![
            CounterKey::Devices { product: product("b") },
            CounterKey::Devices { product: product("a") },
            CounterKey::Installed { product: product("a-"), file: 1, revision: 0 },
            CounterKey::Installed { product: product("a"), file: 2, revision: 300 },
            CounterKey::Installed { product: product("a"), file: 2, revision: 5 },
            CounterKey::Heard { product: product("a"), hour: 480_000 },
            attempts(1, 2, 3, 4),
            attempts(1, 0, 9, 0),
        ];
        keys.sort();
        assert!(keys.is_sorted_by_key(CounterKey::to_bytes));
        for key in keys {
            assert_eq!(CounterKey::from_bytes(&key.to_bytes()), Some(key.clone()));
            assert!(key.prefix().covers(&key) && key.to_bytes().starts_with(&key.prefix().to_bytes()));
        }
    }

    #[test]
    fn bytes_of_no_counter_are_refused() {
        for bytes in [&b""[..], &[9], &[1], &[2, b'a'], &[2, b'a', 0, 1], &[3, b'a', 0, 1, 2, 3], &[4, 0, 0]]
        {
            assert_eq!(CounterKey::from_bytes(bytes), None, "{bytes:?}");
        }
    }
}
