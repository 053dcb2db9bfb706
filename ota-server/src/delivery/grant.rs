//! Grants: the permission to fetch one release, which a device hands back with each request.
//!
//! ```text
//! key id 4 | expiry in seconds 4 | campaign 8 | release 32 | first 16 bytes of the MAC
//! MAC = HMAC-SHA-256("ota/v1/grant/" | the 48 bytes before it | offer id 8 | device id)
//! ```
//!
//! All parts but the last have fixed lengths, so no two grants have the same message. Every server that has the
//! keyring can check every grant; a grant of campaign 0 permits the roots of a product and carries the SHA-256 of
//! its id instead of a release's.

use ota_core::crypto::Authenticator;
use ota_core::crypto::soft::HmacSha256;
use ota_core::limits::{GRANT_BYTES_MAX, GRANT_LIFE_MS_MAX};
use ota_core::number::{CampaignId, OfferId};
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::RefuseCode;

const DOMAIN: &[u8] = b"ota/v1/grant/";
const HEAD_BYTES: usize = 48;
/// Length of a grant, in bytes.
pub const GRANT_BYTES: usize = HEAD_BYTES + 16;
const _: () = assert!(GRANT_BYTES <= GRANT_BYTES_MAX);

/// How long a grant lasts.
pub const GRANT_LIFE: Millis = Millis(GRANT_LIFE_MS_MAX);

/// What a grant permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// For which campaign; 0 for the roots of a product.
    pub campaign: CampaignId,
    /// The release, or the SHA-256 of the product's id.
    pub what: [u8; 32],
}

/// A key of the ring.
#[derive(Debug, Clone)]
pub struct RingKey {
    /// Its number.
    pub id: u32,
    /// The key.
    pub mac: HmacSha256,
    /// When it may be used from.
    pub from: Timestamp,
    /// Until when its grants are accepted.
    pub until: Timestamp,
}

/// The keys that make and check grants.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Vec<RingKey>);

impl Keyring {
    /// A ring of these keys.
    #[must_use]
    pub fn new(keys: Vec<RingKey>) -> Self {
        Self(keys)
    }

    /// The key that new grants are made with: the youngest that may be used and outlives them.
    fn current(&self, now: Timestamp) -> Option<&RingKey> {
        let lasts = now.plus(GRANT_LIFE);
        self.0.iter().filter(|key| key.from <= now && lasts <= key.until).max_by_key(|key| key.from)
    }

    /// Whether grants can be made now.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.current(now).is_some()
    }

    /// Whether a new key has to be made: the present one will not outlive the grants of the next `ahead`.
    #[must_use]
    pub fn needs_key(&self, ahead: Millis, now: Timestamp) -> bool {
        self.0.iter().all(|key| key.until < now.plus(ahead).plus(GRANT_LIFE))
    }

    /// The number of the next key.
    #[must_use]
    pub fn next_id(&self) -> u32 {
        self.0.iter().map(|key| key.id).max().unwrap_or(0).saturating_add(1)
    }

    /// A grant, or `None` if there is no key to make it with.
    #[must_use]
    pub fn grant(
        &self,
        device: &DeviceIdBuf,
        offer: OfferId,
        granted: &Granted,
        now: Timestamp,
    ) -> Option<[u8; GRANT_BYTES]> {
        let key = self.current(now)?;
        let expiry = u32::try_from(now.plus(GRANT_LIFE).as_seconds()).ok()?;
        let mut grant = [0; GRANT_BYTES];
        grant[..4].copy_from_slice(&key.id.to_be_bytes());
        grant[4..8].copy_from_slice(&expiry.to_be_bytes());
        grant[8..16].copy_from_slice(&granted.campaign.0.to_be_bytes());
        grant[16..HEAD_BYTES].copy_from_slice(&granted.what);
        let mac = mac(key, &grant[..HEAD_BYTES], device, offer)?;
        grant[HEAD_BYTES..].copy_from_slice(&mac[..16]);
        Some(grant)
    }

    /// Checks a grant.
    ///
    /// # Errors
    /// [`RefuseCode::BadGrant`] if it was not made by this server for this device and offer,
    /// [`RefuseCode::GrantExpired`] if it was, and its time has passed.
    pub fn check(
        &self,
        device: &DeviceIdBuf,
        offer: OfferId,
        grant: &[u8],
        now: Timestamp,
    ) -> Result<Granted, RefuseCode> {
        let grant: &[u8; GRANT_BYTES] = grant.try_into().map_err(|_| RefuseCode::BadGrant)?;
        let (head, code) = grant.split_at(HEAD_BYTES);
        let number =
            |from: usize| u32::from_be_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
        let key = self.0.iter().find(|key| key.id == number(0)).ok_or(RefuseCode::BadGrant)?;
        let expected = mac(key, head, device, offer).ok_or(RefuseCode::Internal)?;
        // Compared without a branch on the content, so that the time tells a forger nothing.
        let difference = expected.iter().zip(code).fold(0, |sum, (a, b)| sum | (a ^ b));
        if core::hint::black_box(difference) != 0 {
            return Err(RefuseCode::BadGrant);
        }
        if now.as_seconds() >= u64::from(number(4)) || now >= key.until {
            return Err(RefuseCode::GrantExpired);
        }
        let mut what = [0; 32];
        what.copy_from_slice(&head[16..]);
        let mut campaign = [0; 8];
        campaign.copy_from_slice(&head[8..16]);
        Ok(Granted { campaign: CampaignId(u64::from_be_bytes(campaign)), what })
    }
}

fn mac(key: &RingKey, head: &[u8], device: &DeviceIdBuf, offer: OfferId) -> Option<[u8; 32]> {
    key.mac.authenticate(&[DOMAIN, head, &offer.0, device.as_str().as_bytes()]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn ring() -> Keyring {
        let key = |id, from, until| RingKey { id, mac: HmacSha256::new(&[7; 32]), from, until };
        Keyring::new(vec![
            key(1, Timestamp(0), NOW.plus(Millis(60_000))),
            key(2, Timestamp(1), NOW.plus(Millis(86_400_000))),
            key(3, NOW.plus(Millis(1)), NOW.plus(Millis(186_400_000))),
        ])
    }

    fn device(name: &str) -> DeviceIdBuf {
        DeviceIdBuf::new(name).unwrap()
    }

    const GRANTED: Granted = Granted { campaign: CampaignId(9), what: [5; 32] };

    #[test]
    fn a_grant_holds_for_its_device_and_offer_and_no_other() {
        let grant = ring().grant(&device("a"), OfferId([1; 8]), &GRANTED, NOW).unwrap();
        assert_eq!(ring().check(&device("a"), OfferId([1; 8]), &grant, NOW), Ok(GRANTED));
        assert_eq!(ring().check(&device("b"), OfferId([1; 8]), &grant, NOW), Err(RefuseCode::BadGrant));
        assert_eq!(ring().check(&device("a"), OfferId([2; 8]), &grant, NOW), Err(RefuseCode::BadGrant));
    }

    #[test]
    fn every_changed_bit_makes_it_bad() {
        let grant = ring().grant(&device("a"), OfferId([1; 8]), &GRANTED, NOW).unwrap();
        for bit in 0..GRANT_BYTES * 8 {
            let mut forged = grant;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                ring().check(&device("a"), OfferId([1; 8]), &forged, NOW),
                Err(RefuseCode::BadGrant),
                "{bit}"
            );
        }
        assert_eq!(ring().check(&device("a"), OfferId([1; 8]), &grant[..63], NOW), Err(RefuseCode::BadGrant));
        assert_eq!(ring().check(&device("a"), OfferId([1; 8]), &[], NOW), Err(RefuseCode::BadGrant));
    }

    #[test]
    fn an_expired_one_is_told_apart_from_a_forged_one() {
        let grant = ring().grant(&device("a"), OfferId([1; 8]), &GRANTED, NOW).unwrap();
        let late = NOW.plus(GRANT_LIFE);
        assert_eq!(ring().check(&device("a"), OfferId([1; 8]), &grant, late), Err(RefuseCode::GrantExpired));
        assert_eq!(ring().check(&device("b"), OfferId([1; 8]), &grant, late), Err(RefuseCode::BadGrant));
    }

    #[test]
    fn a_key_is_neither_used_before_its_time_nor_shortly_before_its_end() {
        let grant = ring().grant(&device("a"), OfferId([1; 8]), &GRANTED, NOW).unwrap();
        assert_eq!(grant[..4], [0, 0, 0, 2]);
        assert!(Keyring::default().grant(&device("a"), OfferId([1; 8]), &GRANTED, NOW).is_none());
        assert!(!ring().needs_key(Millis(86_400_000), NOW));
        assert!(ring().needs_key(Millis(186_400_000), NOW));
    }
}
