//! Whose turn it is, computed and not stored: a device's rank in a campaign.
//!
//! A rank is a number below 2^32. Its upper 12 bits are the place of the device's bucket in the campaign's own
//! order of the 4,096 buckets, its lower 20 bits order the devices inside a bucket. So a ramp opens buckets one
//! behind the other, the devices of one bucket lie side by side in the index, and no two campaigns begin with the
//! same devices.

use ota_core::fleet::records::BUCKETS;
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;

use crate::digest::sha256;

/// All ranks lie below this.
pub const RANKS: u64 = 1 << 32;
/// How many ranks one bucket has.
pub const RANKS_PER_BUCKET: u64 = RANKS / BUCKETS as u64;

/// The order in which a campaign opens the buckets: a keyed permutation of 12 bits.
///
/// A Feistel network over two halves of 6 bits; with any round function it is a permutation (Luby and Rackoff,
/// "How to construct pseudorandom permutations", 1988). Ranks need spread, not secrecy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketOrder {
    keys: [u8; 8],
}

impl BucketOrder {
    /// The order of a campaign.
    #[must_use]
    pub fn of(campaign: CampaignId) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256(&[b"ota/v1/buckets/", &campaign.0.to_be_bytes()]);
        Self { keys: [a, b, c, d, e, f, g, h] }
    }

    /// Where in the order a bucket stands.
    #[must_use]
    pub fn place_of(&self, bucket: u16) -> u16 {
        let (mut left, mut right) = halves(bucket);
        for key in self.keys {
            (left, right) = (right, left ^ round(right, key));
        }
        join(left, right)
    }

    /// Which bucket stands at a place of the order.
    #[must_use]
    pub fn bucket_at(&self, place: u16) -> u16 {
        let (mut left, mut right) = halves(place);
        for key in self.keys.iter().rev() {
            (left, right) = (right ^ round(left, *key), left);
        }
        join(left, right)
    }

    /// The rank of a device with this bucket.
    #[must_use]
    pub fn rank(&self, campaign: CampaignId, device: &DeviceIdBuf, bucket: u16) -> u32 {
        let [a, b, c, ..] = sha256(&[b"ota/v1/rank/", &campaign.0.to_be_bytes(), device.as_str().as_bytes()]);
        u32::from(self.place_of(bucket)) << 20 | (u32::from_be_bytes([0, a, b, c]) >> 4)
    }
}

const fn halves(value: u16) -> (u8, u8) {
    let [high, low] = (value << 2).to_be_bytes();
    (high & 63, low >> 2)
}

fn join(left: u8, right: u8) -> u16 {
    u16::from(left) << 6 | u16::from(right)
}

/// Mixes 6 bits with a byte of key.
const fn round(half: u8, key: u8) -> u8 {
    let mixed = (half ^ key).wrapping_mul(0x9d).rotate_left(3) ^ key.wrapping_mul(0x5b);
    (mixed ^ mixed >> 5).wrapping_mul(0xb5) >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_campaign_has_an_order_of_all_buckets() {
        for campaign in 0..32 {
            let order = BucketOrder::of(CampaignId(campaign));
            let mut seen = vec![false; usize::from(BUCKETS)];
            for bucket in 0..BUCKETS {
                let place = order.place_of(bucket);
                assert!(place < BUCKETS);
                assert!(!core::mem::replace(&mut seen[usize::from(place)], true), "two buckets at {place}");
                assert_eq!(order.bucket_at(place), bucket);
            }
        }
    }

    #[test]
    fn ranks_spread_evenly_and_differ_between_campaigns() {
        let devices: Vec<DeviceIdBuf> =
            (0..20_000).map(|n| DeviceIdBuf::new(format!("device-{n}")).unwrap()).collect();
        let first_tenth = |campaign: u64| -> Vec<bool> {
            let campaign = CampaignId(campaign);
            let order = BucketOrder::of(campaign);
            let rank = |id| order.rank(campaign, id, ota_core::fleet::records::Device::bucket_of(id));
            devices.iter().map(|id| u64::from(rank(id)) < RANKS / 10).collect()
        };
        let (one, two) = (first_tenth(1), first_tenth(2));
        for tenth in [&one, &two] {
            let count = tenth.iter().filter(|is_in| **is_in).count();
            assert!((1_700..2_300).contains(&count), "{count} of 20000 in the first tenth");
        }
        let both = one.iter().zip(&two).filter(|(a, b)| **a && **b).count();
        assert!((120..300).contains(&both), "{both} of 20000 in both first tenths");
    }
}
