//! Budgets: how much may flow now, and how long to wait when that is used up. Time is an argument.
//!
//! Several servers share the limits of a campaign by its *turnstile*: a record that every admission writes, in the same
//! unit as the offer. What a server knows of the places that are taken was read after it had read the turnstile; nobody
//! else has admitted anybody since, if the unit is committed, and whoever left meanwhile only made room. So no limit is
//! exceeded at any moment, whichever server stops, starts or stalls, and nothing has to expire.

use std::collections::HashMap;

use ota_core::fleet::Version;
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

    /// A flow as another server left it. What cannot be read is empty at this moment.
    #[must_use]
    pub fn restored(amount: u64, period: Millis, text: &str, now: Timestamp) -> Self {
        let full = u128::from(amount) * u128::from(period.0);
        let read = text
            .split_once(' ')
            .and_then(|(level, filled)| Some((level.parse::<u128>().ok()?, filled.parse::<u64>().ok()?)));
        let (level, filled) = read.unwrap_or((0, now.0));
        Self { amount, period, level: level.min(full), filled: Timestamp(filled) }
    }

    /// What [`restored`](Self::restored) reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{} {}", self.level, self.filled.0)
    }
}

/// The state of a campaign's turnstile, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turnstile {
    /// Its version; 0 if nobody has gone through it yet.
    pub version: Version,
    /// What is left of the rate, as [`Flow::to_text`] writes it; nothing if nobody has gone through it yet.
    pub offers: Option<Box<str>>,
}

/// What the store knows of a campaign's limits.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The turnstile, read before the places; `None` for the only server.
    pub turnstile: Option<Turnstile>,
    /// The devices that take a place, and their sites.
    pub places: Vec<(DeviceIdBuf, Box<str>)>,
}

/// How long a server goes by the places that it has read, if others admit and discharge devices, too.
const BELIEVED: Millis = Millis(1_000);
/// How long bytes that were withdrawn from a shared bandwidth may be used.
const CREDIT_LIFE: Millis = Millis(250);

const MINUTE: Millis = Millis(60_000);
const SECOND: Millis = Millis(1_000);
/// How long a device waits for a place of those who download at once, at least and at most.
const PLACE_RETRY_MIN: Millis = Millis(1_000);
const PLACE_RETRY_MAX: Millis = Millis(30_000);
/// How far apart those who wait are told to come back, so that few come soon and many do not come at once.
const PLACE_RETRY_STEP: Millis = Millis(100);

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
    /// The turnstile as the store has it, and when that was read.
    turnstile: Option<(Turnstile, Timestamp)>,
    /// When the last of those who found no place was told to come back.
    retry_at: Timestamp,
    /// Bytes that were withdrawn from the shared bandwidth, and until when they may be used.
    credit: (u64, Timestamp),
}

/// What the limits of all campaigns have left, on this server.
#[derive(Debug, Clone, Default)]
pub struct Budgets {
    campaigns: HashMap<CampaignId, Left>,
}

impl Budgets {
    /// Makes the limits of a campaign known, with what the store knows of them.
    pub fn know(&mut self, campaign: CampaignId, limits: &Limits, found: Found, now: Timestamp) {
        let former = self.campaigns.remove(&campaign).filter(|left| left.limits == *limits);
        let flow = |amount: u64, period| (amount > 0).then(|| Flow::new(amount, period, now));
        let offers = u64::from(limits.devices_per_minute);
        let mut left = former.unwrap_or_else(|| Left {
            limits: *limits,
            offers: flow(offers, MINUTE),
            bytes: flow(limits.bytes_per_second, SECOND),
            places: HashMap::new(),
            sites: HashMap::new(),
            is_sure: true,
            turnstile: None,
            retry_at: now,
            credit: (0, now),
        });
        left.is_sure = true;
        left.places.clear();
        left.sites.clear();
        for (device, site) in found.places {
            left.place(device, site);
        }
        if let (Some(flow), Some(text)) =
            (&mut left.offers, found.turnstile.as_ref().and_then(|it| it.offers.as_ref()))
        {
            *flow = Flow::restored(offers, MINUTE, text, now);
        }
        left.turnstile = found.turnstile.map(|turnstile| (turnstile, now));
        self.campaigns.insert(campaign, left);
    }

    /// Whether these limits of a campaign are known, and what is known of its places is not too old to go by.
    #[must_use]
    pub fn knows(&self, campaign: CampaignId, limits: &Limits, now: Timestamp) -> bool {
        self.campaigns.get(&campaign).is_some_and(|left| {
            let is_fresh = |(_, read): &(Turnstile, Timestamp)| now.since(*read) < BELIEVED && now >= *read;
            left.is_sure && left.limits == *limits && left.turnstile.as_ref().is_none_or(is_fresh)
        })
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

    /// Admits a device to download, or says how long it should wait: also if the campaign's limits are not known.
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
        let Some(left) = self.campaigns.get_mut(&campaign) else { return Err(PLACE_RETRY_MIN) };
        // What others have taken from a device in the meantime, only the store knows.
        if left.turnstile.is_none() && left.places.contains_key(device) {
            return Ok(());
        }
        let Limits { downloads_max, downloads_per_site_max, .. } = left.limits;
        let taken = u32::try_from(left.places.len()).unwrap_or(u32::MAX);
        if downloads_max > 0 && taken >= downloads_max {
            return Err(left.place_retry(now));
        }
        let at_site = left.sites.get(site).copied().unwrap_or(0);
        if downloads_per_site_max > 0 && !site.is_empty() && at_site >= downloads_per_site_max {
            return Err(left.place_retry(now));
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

    /// The turnstile of a campaign as the store has it, and as it is once everybody has gone through whom this server has
    /// admitted since; `None` if the server is the only one, or the campaign has no such limits.
    #[must_use]
    pub fn turnstile(&self, campaign: CampaignId) -> Option<(Turnstile, Turnstile)> {
        let left = self.campaigns.get(&campaign)?;
        let (before, _) = left.turnstile.as_ref()?;
        let offers = Some(left.offers.as_ref().map(Flow::to_text).unwrap_or_default().into());
        let after = Turnstile { version: Version(before.version.0.saturating_add(1)), offers };
        Some((before.clone(), after))
    }

    /// This has been committed as the state of a campaign's turnstile.
    pub fn passed(&mut self, campaign: CampaignId, state: Turnstile) {
        if let Some((turnstile, _)) =
            self.campaigns.get_mut(&campaign).and_then(|left| left.turnstile.as_mut())
        {
            *turnstile = state;
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

    /// Takes bytes from what was withdrawn from a shared bandwidth; says how many bytes a second that is, if it is not
    /// enough.
    ///
    /// # Errors
    /// The bandwidth, to withdraw from.
    pub fn use_credit(&mut self, campaign: CampaignId, bytes: u64, now: Timestamp) -> Result<(), u64> {
        let Some(left) = self.campaigns.get_mut(&campaign) else { return Ok(()) };
        if left.limits.bytes_per_second == 0 {
            return Ok(());
        }
        let (credit, until) = &mut left.credit;
        if *credit < bytes || now > *until {
            return Err(left.limits.bytes_per_second);
        }
        *credit -= bytes;
        Ok(())
    }

    /// Adds what was withdrawn from a shared bandwidth at this time.
    pub fn add_credit(&mut self, campaign: CampaignId, bytes: u64, now: Timestamp) {
        if let Some(left) = self.campaigns.get_mut(&campaign) {
            let (credit, until) = left.credit;
            let rest = if now > until { 0 } else { credit };
            left.credit = (rest.saturating_add(bytes), now.plus(CREDIT_LIFE));
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

    /// When a device for which there is no place should come back.
    fn place_retry(&mut self, now: Timestamp) -> Millis {
        let (first, last) = (now.plus(PLACE_RETRY_MIN), now.plus(PLACE_RETRY_MAX));
        self.retry_at = self.retry_at.plus(PLACE_RETRY_STEP).clamp(first, last);
        self.retry_at.since(now)
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
        budgets.know(CAMPAIGN, &limits, Found::default(), Timestamp(0));
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

    /// A store of one campaign as several servers see it: the places taken, and the turnstile.
    #[derive(Default)]
    struct Shared {
        places: std::collections::BTreeMap<DeviceIdBuf, Box<str>>,
        turnstile: Turnstile,
    }

    impl Shared {
        fn found(&self) -> Found {
            let turnstile = self.turnstile.clone();
            let places = self.places.iter().map(|(device, site)| (device.clone(), site.clone())).collect();
            Found { turnstile: Some(turnstile), places }
        }

        /// Commits what a server has admitted, or refuses it because somebody else was faster: how many it was.
        fn commit(&mut self, budgets: &mut Budgets, admitted: &[(DeviceIdBuf, String)]) -> u64 {
            let (before, after) = budgets.turnstile(CAMPAIGN).unwrap();
            if before != self.turnstile {
                admitted.iter().for_each(|(device, _)| budgets.revoke(CAMPAIGN, device));
                budgets.doubt();
                return 0;
            }
            self.turnstile = after.clone();
            budgets.passed(CAMPAIGN, after);
            self.places.extend(admitted.iter().map(|(device, site)| (device.clone(), site.as_str().into())));
            admitted.len() as u64
        }
    }

    proptest! {
        #[test]
        fn servers_that_know_nothing_of_each_other_never_exceed_a_limit_together(
            steps in proptest::collection::vec((0..3_usize, 0..30_u32, 0..4_u8, 0..400_u64), 1..300)
        ) {
            let limits = Limits {
                downloads_max: 7, downloads_per_site_max: 3, devices_per_minute: 20, ..Limits::default()
            };
            let mut store = Shared::default();
            let mut servers = vec![Budgets::default(); 3];
            let (mut now, mut admitted) = (Timestamp(1_000_000), 0_u64);
            let began = now;
            for (server, number, what, later) in steps {
                now = now.plus(Millis(later));
                let budgets = &mut servers[server];
                if what == 0 {
                    // One that leaves says so to any server; the others are not told.
                    store.places.remove(&device(number));
                    budgets.leave(CAMPAIGN, &device(number));
                } else {
                    if !budgets.knows(CAMPAIGN, &limits, now) {
                        budgets.know(CAMPAIGN, &limits, store.found(), now);
                    }
                    // A few that came together.
                    let together: Vec<_> = (number..number + u32::from(what))
                        .map(|number| (device(number), format!("s{}", number % 3)))
                        .filter(|(device, _)| !store.places.contains_key(device))
                        .filter(|(device, site)| budgets.admit(CAMPAIGN, device, site, now).is_ok())
                        .collect();
                    admitted += store.commit(budgets, &together);
                }
                prop_assert!(store.places.len() <= 7);
                for at in 0..3 {
                    let at = format!("s{at}");
                    prop_assert!(store.places.values().filter(|site| ***site == *at).count() <= 3);
                }
                prop_assert!(admitted <= 20 + 20 * now.since(began).0 / 60_000);
            }
        }
    }

    #[test]
    fn a_campaign_whose_limits_are_not_known_admits_nobody() {
        assert!(Budgets::default().admit(CAMPAIGN, &device(1), "", Timestamp(0)).is_err());
    }

    #[test]
    fn those_who_find_no_place_come_back_soon_if_they_are_few_and_spread_if_they_are_many() {
        let mut budgets = with(Limits { downloads_max: 1, ..Limits::default() });
        budgets.admit(CAMPAIGN, &device(0), "", Timestamp(0)).unwrap();
        let mut wait = |number| budgets.admit(CAMPAIGN, &device(number), "", Timestamp(0)).unwrap_err();
        assert_eq!([wait(1), wait(2)], [Millis(1_000), Millis(1_100)]);
        let waits: Vec<Millis> = (3..1_000).map(wait).collect();
        assert!(waits.is_sorted() && waits.last() == Some(&PLACE_RETRY_MAX));
    }
}
