//! Budgets: how much may flow now, and how long to wait when that is used up. Time is an argument.

use std::collections::HashMap;

use ota_core::fleet::records::Limits;
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};

/// Something that flows at a rate: a bucket that fills evenly and is drawn from.
///
/// It holds at most one period's worth, so that no longer span of time ever sees more than rate x span + one period.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// How much flows in `period`.
    amount: u64,
    period: Millis,
    /// What is there, in units of 1 / period of a millisecond's flow, so that nothing is lost to rounding.
    level: u128,
    filled: Timestamp,
}

impl Flow {
    /// So much in each period; full at first.
    #[must_use]
    pub fn new(amount: u64, period: Millis, now: Timestamp) -> Self {
        Self { amount, period, level: u128::from(amount) * u128::from(period.0), filled: now }
    }

    fn fill(&mut self, now: Timestamp) {
        let full = u128::from(self.amount) * u128::from(self.period.0);
        let more = u128::from(self.amount) * u128::from(now.since(self.filled).0);
        self.level = (self.level + more).min(full);
        self.filled = self.filled.max(now);
    }

    /// Takes so much, or says how long to wait for it. More than a period's worth is given when the bucket is full.
    ///
    /// # Errors
    /// The time until there is enough.
    pub fn take(&mut self, amount: u64, now: Timestamp) -> Result<(), Millis> {
        self.fill(now);
        let wanted = u128::from(amount.min(self.amount)) * u128::from(self.period.0);
        if self.level >= wanted {
            self.level -= wanted;
            return Ok(());
        }
        let missing = (wanted - self.level).div_ceil(u128::from(self.amount.max(1)));
        Err(Millis(u64::try_from(missing).unwrap_or(u64::MAX).max(1)))
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, amount: u64) {
        let full = u128::from(self.amount) * u128::from(self.period.0);
        self.level = (self.level + u128::from(amount) * u128::from(self.period.0)).min(full);
    }
}

/// How long a device waits for a place of those who download at once.
const PLACE_RETRY: Millis = Millis(30_000);

/// What the limits of one campaign have left.
#[derive(Debug, Clone)]
struct Left {
    limits: Limits,
    offers: Option<Flow>,
    bytes: Option<Flow>,
    /// Who takes a place, and in which site.
    places: HashMap<DeviceIdBuf, Box<str>>,
    /// How many places each site takes.
    sites: HashMap<Box<str>, u32>,
    /// Whether the places are surely those that the store knows.
    is_sure: bool,
}

/// What the limits of all campaigns have left, on this server.
#[derive(Debug, Clone, Default)]
pub struct Budgets {
    campaigns: HashMap<CampaignId, Left>,
}

impl Budgets {
    /// Makes sure that a campaign's limits are known, and are the present ones.
    ///
    /// `places` are the devices that take one already, as the store knows them; asked for once.
    pub fn know(
        &mut self,
        campaign: CampaignId,
        limits: &Limits,
        places: impl FnOnce() -> Vec<(DeviceIdBuf, Box<str>)>,
        now: Timestamp,
    ) {
        let mut former = None;
        if let Some(left) = self.campaigns.get_mut(&campaign) {
            if left.limits == *limits && left.is_sure {
                return;
            }
            if left.limits == *limits {
                left.places.clear();
                left.sites.clear();
                left.is_sure = true;
                for (device, site) in places() {
                    left.place(device, site);
                }
                return;
            }
            former = left.is_sure.then(|| left.places.drain().collect());
        }
        let flow = |amount: u64, period| (amount > 0).then(|| Flow::new(amount, period, now));
        let mut left = Left {
            limits: *limits,
            offers: flow(u64::from(limits.devices_per_minute), Millis(60_000)),
            bytes: flow(limits.bytes_per_second, Millis(1000)),
            places: HashMap::new(),
            sites: HashMap::new(),
            is_sure: true,
        };
        for (device, site) in former.unwrap_or_else(places) {
            left.place(device, site);
        }
        self.campaigns.insert(campaign, left);
    }

    /// Whether a campaign's limits and places are known.
    #[must_use]
    pub fn knows(&self, campaign: CampaignId) -> bool {
        self.campaigns.get(&campaign).is_some_and(|left| left.is_sure)
    }

    /// A commit failed, and nobody knows whether it happened: places are asked for again before the next admission.
    pub fn doubt(&mut self) {
        for left in self.campaigns.values_mut() {
            left.is_sure = false;
        }
    }

    /// Forgets a campaign that has ended.
    pub fn forget(&mut self, campaign: CampaignId) {
        self.campaigns.remove(&campaign);
    }

    /// Admits a device to download, or says how long it should wait.
    ///
    /// A device that has a place keeps it, and costs nothing.
    ///
    /// # Errors
    /// The time to wait.
    pub fn admit(
        &mut self,
        campaign: CampaignId,
        device: &DeviceIdBuf,
        site: &str,
        now: Timestamp,
    ) -> Result<(), Millis> {
        let Some(left) = self.campaigns.get_mut(&campaign) else { return Ok(()) };
        if left.places.contains_key(device) {
            return Ok(());
        }
        let Limits { downloads_max, downloads_per_site_max, .. } = left.limits;
        let taken = u32::try_from(left.places.len()).unwrap_or(u32::MAX);
        if downloads_max > 0 && taken >= downloads_max {
            return Err(PLACE_RETRY);
        }
        let at_site = left.sites.get(site).copied().unwrap_or(0);
        if downloads_per_site_max > 0 && !site.is_empty() && at_site >= downloads_per_site_max {
            return Err(PLACE_RETRY);
        }
        if let Some(offers) = &mut left.offers {
            offers.take(1, now)?;
        }
        if left.counts_places() {
            left.place(device.clone(), site.into());
        }
        Ok(())
    }

    /// Takes an admission back that came to nothing.
    pub fn revoke(&mut self, campaign: CampaignId, device: &DeviceIdBuf) {
        if let Some(left) = self.campaigns.get_mut(&campaign) {
            left.leave(device);
            if let Some(offers) = &mut left.offers {
                offers.give_back(1);
            }
        }
    }

    /// A device no longer downloads.
    pub fn leave(&mut self, campaign: CampaignId, device: &DeviceIdBuf) {
        if let Some(left) = self.campaigns.get_mut(&campaign) {
            left.leave(device);
        }
    }

    /// A device downloads although nobody asked: it was silent and has come back.
    pub fn came_back(&mut self, campaign: CampaignId, device: &DeviceIdBuf, site: &str) {
        if let Some(left) = self.campaigns.get_mut(&campaign).filter(|left| left.counts_places()) {
            left.place(device.clone(), site.into());
        }
    }

    /// Takes bytes from a campaign's bandwidth.
    ///
    /// # Errors
    /// The time to wait.
    pub fn take_bytes(&mut self, campaign: CampaignId, bytes: u64, now: Timestamp) -> Result<(), Millis> {
        match self.campaigns.get_mut(&campaign).and_then(|left| left.bytes.as_mut()) {
            Some(flow) => flow.take(bytes, now),
            None => Ok(()),
        }
    }

    /// How many devices take a place in a campaign.
    #[must_use]
    pub fn places(&self, campaign: CampaignId) -> usize {
        self.campaigns.get(&campaign).map_or(0, |left| left.places.len())
    }
}

impl Left {
    const fn counts_places(&self) -> bool {
        self.limits.downloads_max > 0 || self.limits.downloads_per_site_max > 0
    }

    fn place(&mut self, device: DeviceIdBuf, site: Box<str>) {
        if let Some(former) = self.places.insert(device, site.clone()) {
            self.empty(&former);
        }
        if !site.is_empty() {
            *self.sites.entry(site).or_insert(0) += 1;
        }
    }

    fn leave(&mut self, device: &DeviceIdBuf) {
        if let Some(site) = self.places.remove(device) {
            self.empty(&site);
        }
    }

    fn empty(&mut self, site: &str) {
        if let Some(count) = self.sites.get_mut(site) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sites.remove(site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAMPAIGN: CampaignId = CampaignId(1);

    fn device(number: u32) -> DeviceIdBuf {
        DeviceIdBuf::new(format!("d{number}")).unwrap()
    }

    fn with(limits: Limits) -> Budgets {
        let mut budgets = Budgets::default();
        budgets.know(CAMPAIGN, &limits, Vec::new, Timestamp(0));
        budgets
    }

    #[test]
    fn a_flow_says_how_long_to_wait_and_keeps_its_word() {
        let mut flow = Flow::new(60, Millis(60_000), Timestamp(0));
        for _ in 0..60 {
            flow.take(1, Timestamp(0)).unwrap();
        }
        let wait = flow.take(1, Timestamp(0)).unwrap_err();
        assert_eq!(wait, Millis(1000));
        assert!(flow.take(1, Timestamp(999)).is_err());
        assert!(flow.take(1, Timestamp(1000)).is_ok());
    }

    proptest! {
        #[test]
        fn a_flow_never_gives_more_than_its_rate(
            amount in 1..1000_u64, period in 1..10_000_u64, steps in proptest::collection::vec((0..500_u64, 0..50_u64), 1..200)
        ) {
            let mut flow = Flow::new(amount, Millis(period), Timestamp(0));
            let (mut now, mut given) = (0, 0);
            for (later, wanted) in steps {
                now += later;
                if flow.take(wanted.min(amount), Timestamp(now)).is_ok() {
                    given += wanted.min(amount);
                }
                prop_assert!(u128::from(given) <= u128::from(amount) + u128::from(amount) * u128::from(now) / u128::from(period));
            }
        }

        #[test]
        fn places_and_sites_are_never_exceeded(
            moves in proptest::collection::vec((0..30_u32, any::<bool>()), 1..300)
        ) {
            let mut budgets = with(Limits { downloads_max: 10, downloads_per_site_max: 4, ..Limits::default() });
            let mut inside = std::collections::HashSet::new();
            for (number, enters) in moves {
                let site = format!("s{}", number % 3);
                if enters {
                    if budgets.admit(CAMPAIGN, &device(number), &site, Timestamp(0)).is_ok() {
                        inside.insert(number);
                    }
                } else {
                    budgets.leave(CAMPAIGN, &device(number));
                    inside.remove(&number);
                }
                prop_assert!(inside.len() <= 10);
                prop_assert_eq!(budgets.places(CAMPAIGN), inside.len());
                for at in 0..3 {
                    prop_assert!(inside.iter().filter(|number| **number % 3 == at).count() <= 4);
                }
            }
        }
    }

    #[test]
    fn who_has_a_place_keeps_it_without_a_further_offer() {
        let mut budgets = with(Limits { downloads_max: 1, devices_per_minute: 1, ..Limits::default() });
        for _ in 0..5 {
            budgets.admit(CAMPAIGN, &device(1), "", Timestamp(0)).unwrap();
        }
        assert!(budgets.admit(CAMPAIGN, &device(2), "", Timestamp(0)).is_err());
        budgets.revoke(CAMPAIGN, &device(1));
        assert!(
            budgets.admit(CAMPAIGN, &device(2), "", Timestamp(0)).is_ok(),
            "what came to nothing costs nothing"
        );
    }
}
