//! Several servers on one store: they go by one clock, each reads anew what the others may have changed, and one of them
//! at a time does what is due for all.
//!
//! Little of this is needed for being right: whatever a server decides from an old view is refused by the store, and
//! what two do at once is committed once. It is needed for being in time, and for not doing everything several times.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use ota_core::fleet::records::Setting;
use ota_core::fleet::{
    Key, LeaseRequest, MessageLink, Query, Record, Share, StoreError, Stored, Table, Version,
};
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};

use super::Server;
use crate::engine::Changes;
use crate::engine::catalog::scan_all;

/// What is leased by the server that does what is due.
const TICK: &str = "tick";
/// For how long. A server that ends without a word holds the others up for so long.
const TICK_LEASE: Millis = Millis(5_000);
/// What everybody leases together, for the time that comes with it.
const TIME: &str = "time";
/// What is leased by the server that hears all devices, where the broker does not divide messages.
const TURN: &str = "turn";
/// For how long: longer than a server may go on that has got this answer from its store, and then none for a while.
const TURN_LEASE: Millis = Millis(10_000);
/// Where servers tell each other of devices whose credentials are no longer good.
const REVOKED: &str = "revoked devices";
/// How many of those are listed by name. Who was away for longer closes no connections, but serves them nothing either.
const REVOKED_LISTED_MAX: usize = 256;
/// What stands between an erased device and the time until which it is told of; no id contains it.
const UNTIL: char = '\t';

/// Notices that the whole process has stood still: it was stopped, or its machine was.
///
/// What has come in meanwhile is dropped. With several servers the same devices have gone on talking to others, and an old
/// word that is heard after newer ones is worse than none: a device that has just been updated would seem to be back at
/// what it had before. Whoever waits for an answer says it again.
pub(super) struct Pulse {
    since: Instant,
    /// When it last beat, and until when nothing is believed: in milliseconds.
    last: AtomicU64,
    deaf_until: AtomicU64,
}

/// How often it beats.
const BEAT: Duration = Duration::from_millis(500);
/// What is no longer a busy machine, in milliseconds; shorter than the lease for what is due.
const STANDSTILL_MS: u64 = 4_000;
/// How long it takes until what was on its way has come in, in milliseconds.
const DEAF_MS: u64 = 2_000;

impl Pulse {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), last: AtomicU64::new(0), deaf_until: AtomicU64::new(0) }
    }

    pub(super) async fn beat(self: Arc<Self>) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.look(self.now());
            self.last.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether what comes in now was said just now.
    pub(super) fn is_steady(&self) -> bool {
        self.look(self.now())
    }

    fn look(&self, now: u64) -> bool {
        if now.saturating_sub(self.last.load(Ordering::Relaxed)) > STANDSTILL_MS {
            self.deaf_until.store(now.saturating_add(DEAF_MS), Ordering::Relaxed);
        }
        now >= self.deaf_until.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How often it is looked whether the store answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it may be silent before the others get this server's share of the messages: a database that is only restarted
/// is back before, and devices are told meanwhile when to come back.
const SILENT_MAX: Duration = Duration::from_secs(3);

/// What a server has read of what others do.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// When.
    at: Timestamp,
    /// How many devices had been revoked.
    revoked: u64,
    /// The store has hinted since then that there is something new.
    is_old: bool,
}

/// The devices whose credentials were taken away, as servers tell each other.
struct Revoked {
    /// How many there ever were.
    count: u64,
    /// The last of them, oldest first.
    last: Vec<String>,
}

impl Revoked {
    fn read(text: &str) -> Self {
        let mut lines = text.lines();
        let count = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
        Self { count, last: lines.map(str::to_owned).collect() }
    }

    fn to_record(&self) -> Record {
        Record::Setting(Setting { value: self.to_text().into() })
    }

    fn to_text(&self) -> String {
        let mut text = self.count.to_string();
        for device in &self.last {
            text.push('\n');
            text.push_str(device);
        }
        text
    }

    /// Adds a device; one that was erased is told of until `forget_at` only.
    fn add(&mut self, device: &DeviceIdBuf, forget_at: Option<Timestamp>) {
        self.count = self.count.saturating_add(1);
        if self.last.len() >= REVOKED_LISTED_MAX {
            self.last.remove(0);
        }
        let until = forget_at.map(|at| format!("{UNTIL}{}", at.0)).unwrap_or_default();
        self.last.push(format!("{device}{until}"));
    }

    /// Empties the lines of devices that were to be told of until now; whether there were any. The lines themselves stay:
    /// servers count them from the end.
    fn forget(&mut self, now: Timestamp) -> bool {
        let mut has_forgotten = false;
        for line in &mut self.last {
            let until = line.split_once(UNTIL).and_then(|(_, until)| until.parse().ok());
            if until.is_some_and(|until| Timestamp(until) <= now) {
                *line = UNTIL.to_string();
                has_forgotten = true;
            }
        }
        has_forgotten
    }

    /// Those that came after so many, without what has been forgotten.
    fn since(&self, count: u64) -> impl Iterator<Item = &str> {
        let new = usize::try_from(self.count.saturating_sub(count)).unwrap_or(usize::MAX);
        let lines = self.last.get(self.last.len().saturating_sub(new)..).unwrap_or_default();
        lines.iter().map(|line| line.split(UNTIL).next().unwrap_or_default()).filter(|id| !id.is_empty())
    }
}

impl Server {
    /// Whether other servers may work on the same store.
    pub(super) fn has_neighbours(&self) -> bool {
        self.inner.config.refresh_every.0 > 0
    }

    /// Whether this server is the one that does what is due for all.
    pub(super) async fn is_the_one(&self) -> Result<bool, StoreError> {
        if !self.has_neighbours() {
            return Ok(true);
        }
        let request =
            LeaseRequest { name: TICK.to_owned(), holder: self.inner.name.clone(), duration: TICK_LEASE };
        let is_the_one = self.inner.store.lease(&request).await?.is_some();
        let was_the_one = self.inner.is_the_one.swap(is_the_one, Ordering::Relaxed);
        if is_the_one && !was_the_one {
            // Whom the former one has told nobody knows; being told again does no harm.
            self.inner.notified.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Ok(is_the_one)
    }

    /// Begins to work beside others: by their clock, and with what they have told so far.
    pub(super) async fn meet_neighbours(&self) -> Result<(), StoreError> {
        if self.has_neighbours() {
            self.keep_time().await?;
            let (_, _, revoked) = self.revoked().await?;
            *self.read() = Read { at: self.now(), revoked: revoked.count, is_old: false };
        }
        Ok(())
    }

    /// Leaves this server's share of the messages to others that are well while the store does not answer it: the broker
    /// does not know, and would go on giving it messages that it can do little with. If nobody is well, it stays: devices
    /// are told to wait, and get what is in memory.
    ///
    /// Where the broker divides nothing, servers take turns instead, by a lease.
    pub(super) async fn keep_share(self) {
        if !self.has_neighbours() {
            self.inner.link.share(Share::Taken);
            return;
        }
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let in_turns = self.inner.link.is_taken_in_turns();
        let (mut answered, mut share) =
            (tokio::time::Instant::now(), if in_turns { Share::Left } else { Share::Taken });
        loop {
            looks.tick().await;
            let wanted = match tokio::time::timeout(SILENT_MAX, self.share_by_store()).await {
                Ok(Ok(wanted)) => {
                    answered = tokio::time::Instant::now();
                    wanted
                }
                Ok(Err(_)) | Err(_) if answered.elapsed() < SILENT_MAX => share,
                Ok(Err(_)) | Err(_) => Share::Left,
            };
            if wanted != share {
                share = wanted;
                tell(share, &*self.inner.link);
                self.inner.link.share(share);
            }
        }
    }

    /// The share that this server has by a store that answers.
    async fn share_by_store(&self) -> Result<Share, StoreError> {
        if !self.inner.link.is_taken_in_turns() {
            // Reading is enough: what keeps the store from being written keeps it from all servers.
            return self.load_one(&Key::Setting(REVOKED.into())).await.map(|_| Share::Taken);
        }
        let lease = self.inner.store.lease(&self.turn(TURN_LEASE)).await?;
        Ok(if lease.is_some() { Share::Taken } else { Share::Left })
    }

    /// Lets the next server take the messages, if it was this one's turn, without waiting until its lease has run out.
    pub(super) async fn give_turn(&self) {
        if self.has_neighbours() && self.inner.link.is_taken_in_turns() {
            self.inner.link.share(Share::Left);
            // Without an answer it runs out by itself.
            let given_back = self.turn(Millis(0));
            let _ = tokio::time::timeout(SILENT_MAX, self.inner.store.lease(&given_back)).await;
        }
    }

    fn turn(&self, duration: Millis) -> LeaseRequest {
        LeaseRequest { name: TURN.to_owned(), holder: self.inner.name.clone(), duration }
    }

    /// Looks sooner than by the clock whenever the store hints that there is something new.
    pub(super) async fn keep_hearing(self) {
        loop {
            self.inner.store.hint().await;
            self.read().is_old = true;
        }
    }

    /// Reads anew what other servers may have changed, every so often.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        if !self.has_neighbours() || !self.is_refresh_due() {
            return Ok(());
        }
        // What is hinted at from here on may be missed by what is read now.
        self.read().is_old = false;
        self.keep_time().await?;
        self.load_keyring().await?;
        let mut products = Vec::new();
        for (key, _) in scan_all(&self.inner.store, &Query::table(Table::Product)).await? {
            if let Key::Product(product) = key {
                products.push(product);
            }
        }
        let (key, version, revoked) = self.revoked().await?;
        if self.inner.catalog.read_anew(&products).await? {
            // What was begun under a plan or a release that is no longer there is asked about again.
            self.inner.begun.clear();
            self.inner.parts.clear();
            for product in &products {
                self.end_stopped(product).await?;
            }
        }
        let seen = self.read().revoked;
        if revoked.count != seen {
            self.inner.begun.clear();
            for device in revoked.since(seen) {
                if let Ok(device) = DeviceIdBuf::new(device) {
                    // A link that cannot close connections refuses the device's messages all the same.
                    let _ = self.inner.link.disconnect(&device).await;
                }
            }
        }
        {
            let mut read = self.read();
            (read.at, read.revoked) = (self.now(), revoked.count);
        }
        self.forget_erased(key, version, revoked).await
    }

    /// Adds the word to the other servers that a device's credentials are no longer good; of one that was erased they are
    /// told until `forget_at` only.
    pub(super) async fn tell_revoked(
        &self,
        changes: &mut Changes,
        device: &DeviceIdBuf,
        forget_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        if self.has_neighbours() {
            let (key, version, mut revoked) = self.revoked().await?;
            let before = (version != Version(0)).then(|| revoked.to_record());
            revoked.add(device, forget_at);
            changes.write(key, version, before, Some(revoked.to_record()));
        }
        Ok(())
    }

    /// Takes the ids of erased devices out of what servers tell each other, once all have heard of them.
    async fn forget_erased(
        &self,
        key: Key,
        version: Version,
        mut revoked: Revoked,
    ) -> Result<(), StoreError> {
        let before = revoked.to_record();
        if revoked.forget(self.now()) {
            let mut changes = Changes::default();
            changes.write(key, version, Some(before), Some(revoked.to_record()));
            // If another server was faster, the next look does it.
            self.inner.store.commit(vec![changes.into_unit()]).await?;
        }
        Ok(())
    }

    async fn revoked(&self) -> Result<(Key, Version, Revoked), StoreError> {
        let key = Key::Setting(REVOKED.into());
        Ok(match self.load_one(&key).await? {
            Some(Stored { version, record: Record::Setting(told) }) => {
                (key, version, Revoked::read(&told.value))
            }
            _ => (key, Version(0), Revoked { count: 0, last: Vec::new() }),
        })
    }

    /// Goes by the clock of the store, so that a server whose own is wrong does nothing too early or too late.
    async fn keep_time(&self) -> Result<(), StoreError> {
        let own = || self.inner.clock.now();
        let before = own();
        let request =
            LeaseRequest { name: TIME.to_owned(), holder: "everybody".to_owned(), duration: Millis(1_000) };
        let lease = self.inner.store.lease(&request).await?;
        if let Some(now) = lease.and_then(|lease| lease.now) {
            let meanwhile = before.plus(Millis(own().since(before).0 / 2));
            let ahead = now.0.cast_signed().saturating_sub(meanwhile.0.cast_signed());
            self.inner.ahead.store(ahead, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_refresh_due(&self) -> bool {
        let (now, last) = (self.now(), self.read().at);
        // A clock that was set back must not keep it waiting.
        self.read().is_old || now < last || now.since(last) >= self.inner.config.refresh_every
    }

    fn read(&self) -> MutexGuard<'_, Read> {
        self.inner.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line for whoever looks after a server that leaves its share of the messages to others.
#[cfg(feature = "http")]
fn tell(share: Share, link: &dyn MessageLink) {
    let in_turns = link.is_taken_in_turns();
    match share {
        Share::Taken if in_turns => tracing::info!("it is this server's turn: it hears all devices"),
        Share::Left if in_turns => tracing::info!("it is another server's turn: this one hears no device"),
        Share::Taken => tracing::info!("the store answers again: messages are taken again"),
        Share::Left => {
            tracing::warn!("the store does not answer: messages are left to the others, if it answers them")
        }
    }
}

/// Whoever embeds the server alone sees it at the store.
#[cfg(not(feature = "http"))]
const fn tell(_: Share, _: &dyn MessageLink) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_standstill_nothing_is_believed_for_a_while() {
        let pulse = Pulse::new();
        assert!(pulse.look(STANDSTILL_MS), "a busy machine");
        let resumed = 10 * STANDSTILL_MS;
        assert!(!pulse.look(resumed));
        pulse.last.store(resumed, Ordering::Relaxed);
        assert!(!pulse.look(resumed + DEAF_MS - 1));
        assert!(pulse.look(resumed + DEAF_MS));
    }

    #[test]
    fn the_last_of_many_revoked_devices_are_told_and_read_back() {
        let mut revoked = Revoked::read("");
        for number in 0..1000 {
            revoked.add(&DeviceIdBuf::new(format!("d{number}")).unwrap(), None);
        }
        let read = Revoked::read(&revoked.to_text());
        assert_eq!((read.count, read.last.len()), (1000, REVOKED_LISTED_MAX));
        assert_eq!(read.since(998).collect::<Vec<_>>(), ["d998", "d999"]);
        assert_eq!(read.since(1000).count(), 0);
        assert_eq!(read.since(3).count(), REVOKED_LISTED_MAX);
    }

    #[test]
    fn an_erased_device_is_told_of_for_a_while_and_then_forgotten() {
        let mut revoked = Revoked::read("");
        for (name, forget_at) in
            [("a", None), ("b", Some(Timestamp(50))), ("c", None), ("d", Some(Timestamp(40)))]
        {
            revoked.add(&DeviceIdBuf::new(name).unwrap(), forget_at);
        }
        let told = |revoked: &Revoked| revoked.since(0).map(str::to_owned).collect::<Vec<_>>();
        assert!(!revoked.forget(Timestamp(39)));
        assert_eq!(told(&Revoked::read(&revoked.to_text())), ["a", "b", "c", "d"]);
        assert!(revoked.forget(Timestamp(50)));
        let read = Revoked::read(&revoked.to_text());
        assert_eq!((read.count, told(&read)), (4, vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(read.since(2).collect::<Vec<_>>(), ["c"], "those that came later keep their places");
        assert!(!revoked.forget(Timestamp(99)));
    }
}
