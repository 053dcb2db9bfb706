//! SFT devices at the server: their sessions, and what is delayed for them because they cannot be told to wait.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{MutexGuard, PoisonError};

use bytes::Bytes;
use ota_core::fleet::records::AttemptPhase;
use ota_core::fleet::{Dialect, Key, LinkEvent, Outbound, Record, Stored};
use ota_core::number::{CampaignId, Nonce, OfferId};
use ota_core::sft::Up;
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::RefuseCode;

use super::conversation::Kind;
use super::{CommandError, Server};
use crate::conversation::sft::{Hearing, Session, Step, WantChunk};
use crate::conversation::{Said, Want, WantBlocks};
use crate::delivery::grant::Granted;
use crate::engine::Event;
use crate::engine::decide::{dialect_number, offered_files};
use crate::rules::attempt::is_open;

/// Sessions of SFT devices, at most so many, and when each wants to be looked at again.
#[derive(Default)]
pub(super) struct Sessions {
    sessions: HashMap<DeviceIdBuf, Session>,
    timers: BTreeSet<(Timestamp, DeviceIdBuf)>,
    /// How many events of a device wait to be decided. What it asks for meanwhile waits behind them.
    undecided: HashMap<DeviceIdBuf, u32>,
    /// The link's connection by which the devices were heard.
    connection: u64,
    /// When it was last looked at what is due.
    looked: Option<Timestamp>,
}

/// Most sessions in memory. What is pushed out is restored from the device's attempt when it speaks.
const SESSIONS_MAX: usize = 1 << 20;

impl Sessions {
    fn of(&mut self, device: &DeviceIdBuf) -> &mut Session {
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(device) {
            let victim = self.sessions.keys().next().cloned();
            victim.map(|victim| self.sessions.remove(&victim));
        }
        self.sessions.entry(device.clone()).or_default()
    }

    fn at(&mut self, time: Timestamp, device: &DeviceIdBuf) {
        if self.timers.len() < SESSIONS_MAX {
            self.timers.insert((time, device.clone()));
        }
    }

    /// What devices wait for is void: they may have begun anew, and nobody knows which.
    fn owe_nothing(&mut self) {
        self.sessions.values_mut().for_each(Session::owe_nothing);
    }

    fn due(&mut self, now: Timestamp) -> Vec<DeviceIdBuf> {
        let mut due = Vec::new();
        while let Some((at, device)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, device));
                break;
            }
            due.push(device);
        }
        due
    }
}

/// The device of an event that may change its session, or depends on it.
pub(super) fn device_of(event: &LinkEvent) -> Option<&DeviceIdBuf> {
    match event {
        LinkEvent::Connected(device)
        | LinkEvent::Disconnected(device)
        | LinkEvent::Message { dialect: Dialect::Sft, device, .. } => Some(device),
        _ => None,
    }
}

impl Server {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        let mut sessions = self.inner.sft.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = self.inner.link.connection();
        if sessions.connection != connection {
            sessions.connection = connection;
            // The devices' own connections may have broken with the link's.
            sessions.owe_nothing();
        }
        sessions
    }

    /// A device of the link has connected: whatever it was told before, it has forgotten.
    pub(super) fn sft_connected(&self, device: &DeviceIdBuf) {
        let mut sessions = self.sessions();
        if sessions.sessions.contains_key(device) || sessions.sessions.len() < SESSIONS_MAX {
            *sessions.of(device) = Session::connected();
        }
    }

    /// A device of the link is gone.
    pub(super) fn sft_disconnected(&self, device: &DeviceIdBuf) {
        self.sessions().sessions.remove(device);
    }

    /// An event waits to be decided from now on.
    pub(super) fn sft_waits(&self, event: &LinkEvent) {
        if let Some(device) = device_of(event) {
            *self.sessions().undecided.entry(device.clone()).or_insert(0) += 1;
        }
    }

    /// An event of each of these devices has been decided, and what follows from it was said.
    pub(super) fn sft_decided(&self, devices: Vec<DeviceIdBuf>) {
        let mut sessions = self.sessions();
        for device in devices {
            if let Entry::Occupied(mut waiting) = sessions.undecided.entry(device) {
                *waiting.get_mut() -= 1;
                if *waiting.get() == 0 {
                    waiting.remove();
                }
            }
        }
    }

    /// A request for a chunk about which nothing is left to be decided: the session owes it from now on, by the budget of
    /// this campaign.
    ///
    /// Nothing that the device said before may still be waiting, so that what it says keeps its order. Where other servers
    /// hear it, too, the store knows what they did, and is asked.
    pub(super) fn sft_under_way(&self, event: &LinkEvent) -> Option<(DeviceIdBuf, CampaignId)> {
        let LinkEvent::Message { dialect: Dialect::Sft, device, payload } = event else { return None };
        let Ok(wanted @ Up::GetChunk(_)) = Up::decode(payload) else { return None };
        if self.has_neighbours() {
            return None;
        }
        let now = self.now();
        let mut sessions = self.sessions();
        if sessions.undecided.contains_key(device) {
            return None;
        }
        let session = sessions.sessions.get_mut(device)?;
        let campaign = self.inner.begun.get(&(device.clone(), session.offer_id()?))?;
        // Only a check-in has a nonce. What is dropped here is heard once more, and counted, where all else is heard.
        let step = session.hear(&wanted, Nonce([0; 16]), Hearing::Alone, now);
        matches!(step, Step::Chunk(_)).then(|| (device.clone(), campaign))
    }

    /// What a message of an SFT device asks the engine, if anything.
    pub(super) async fn sft_hear(
        &self,
        device: &DeviceIdBuf,
        payload: &Bytes,
        heard: Timestamp,
        out: &mut Vec<Outbound>,
    ) -> Option<Event<Kind>> {
        let Ok(message) = Up::decode(payload) else {
            // The protocol knows no refusal: what cannot be read is counted and dropped.
            self.inner.refusals.count(RefuseCode::Malformed);
            return None;
        };
        let mut nonce = [0; 16];
        self.inner.entropy.fill(&mut nonce);
        let hearing = if self.has_neighbours() { Hearing::Shared } else { Hearing::Alone };
        let mut step = self.sessions().of(device).hear(&message, Nonce(nonce), hearing, heard);
        if step == Step::Lost {
            let Some(session) = self.sft_restored(device, &message).await else {
                if !matches!(message, Up::Status(_)) {
                    // It asks for something that nobody offered it: it has to begin anew.
                    let _ = self.inner.link.disconnect(device).await;
                }
                return None;
            };
            let mut sessions = self.sessions();
            let known = sessions.of(device);
            if known.is_fetching() && known.offer_id() == session.offer_id() {
                // It is no later than what this server was asked for under this very offer: a copy.
                step = Step::Dropped;
            } else {
                *known = session;
                step = known.hear(&message, Nonce(nonce), Hearing::Restored, heard);
            }
        }
        if hearing == Hearing::Shared
            && let Step::Chunk(wanted) = &step
            && self.inner.begun.get(&(device.clone(), wanted.offer)).is_none()
            && let Some(session) = self.sft_restored(device, &message).await
        {
            // Another server may have begun anew with the device: the attempt knows the latest offer.
            let mut sessions = self.sessions();
            let known = sessions.of(device);
            if known.offer_id() != session.offer_id() {
                *known = session;
                step = known.hear(&message, Nonce(nonce), Hearing::Restored, heard);
            }
        }
        let kind = match step {
            Step::CheckIn(said) => Kind::CheckIn(said, Dialect::Sft),
            Step::Report(said) => Kind::Report(said, Dialect::Sft),
            Step::Chunk(wanted) => {
                let known = self.inner.begun.get(&(device.clone(), wanted.offer));
                if let Some(campaign) = known {
                    self.sft_serve(out, device, campaign).await;
                    return None;
                }
                let said = WantBlocks {
                    offer: wanted.offer,
                    grant: Bytes::new(),
                    part: ota_core::wire::Part::File(ota_core::number::FileIndex(wanted.index)),
                    offset: wanted.offset,
                    block_bytes: u32::try_from(wanted.length).unwrap_or(u32::MAX),
                    want: Want::Count(1),
                };
                // The campaign is that of the device's attempt, which the engine looks up.
                let granted = Granted { campaign: CampaignId(u64::MAX), what: wanted.release.0 };
                Kind::Asked(said, granted, Dialect::Sft)
            }
            Step::Close => {
                let _ = self.inner.link.disconnect(device).await;
                return None;
            }
            Step::Dropped => {
                self.inner.refusals.count(RefuseCode::OutOfRange);
                return None;
            }
            Step::Nothing | Step::Lost => return None,
        };
        Some(Event { device: device.clone(), heard, kind })
    }

    /// What follows from a message that is too old to be answered: after a check-in, nothing is owed to its device any more, and
    /// whoever asks for a chunk has got its offer.
    pub(super) fn sft_heard_late(
        &self,
        device: DeviceIdBuf,
        payload: &Bytes,
        heard: Timestamp,
    ) -> Option<Event<Kind>> {
        match Up::decode(payload).ok()? {
            Up::FileInfo(_) => {}
            Up::GetChunk(_) => return Some(Event { device, heard, kind: Kind::AskedLate }),
            Up::Status(_) => return None,
        }
        if let Some(session) = self.sessions().sessions.get_mut(&device) {
            session.owe_nothing();
        }
        let mut nonce = [0; 16];
        self.inner.entropy.fill(&mut nonce);
        Some(Event { device, heard, kind: Kind::BeganAnew(Nonce(nonce)) })
    }

    /// The session of a device that goes on with what another server, or this one before its restart, has begun.
    async fn sft_restored(&self, id: &DeviceIdBuf, message: &Up<'_>) -> Option<Session> {
        let stored = self.load_one(&Key::Device(id.clone())).await.ok()??;
        let Stored { record: Record::Device(device), .. } = stored else { return None };
        let stored = self.load_one(&Key::Attempt(device.attempt?, id.clone())).await.ok()??;
        let Stored { record: Record::Attempt(attempt), .. } = stored else { return None };
        let is_expected = match message {
            Up::Status(_) => is_open(attempt.phase),
            _ => matches!(attempt.phase, AttemptPhase::Offered | AttemptPhase::Downloading),
        };
        let is_at_it = is_expected && attempt.dialect == dialect_number(Dialect::Sft);
        let view = self.inner.catalog.product(&device.product).await.ok()??;
        let release = view.release(&attempt.release)?;
        let files = offered_files(release, &device);
        let offer = attempt.offer.filter(|_| is_at_it)?;
        Some(Session::restored(offer, release.id, files, self.now()))
    }

    /// Says something to an SFT device, as far as its protocol has words for it.
    pub(super) fn sft_say(&self, out: &mut Vec<Outbound>, device: &DeviceIdBuf, said: &Said) {
        let now = self.now();
        let mut sessions = self.sessions();
        let payload = match said {
            Said::Offer(offer) => sessions.of(device).offer(offer, now).ok().flatten(),
            // Nothing is said; the permission is kept, and the check-in decided again when the turn comes.
            Said::UpToDate(answer) => {
                if let Some(turn) = answer.turn {
                    sessions.at(turn, device);
                }
                None
            }
            Said::Busy { retry_after } => {
                sessions.at(now.plus(*retry_after), device);
                None
            }
            _ => None,
        };
        out.extend(payload.map(|payload| Outbound {
            dialect: Dialect::Sft,
            device: device.clone(),
            payload,
        }));
    }

    /// Sends the chunk that a device waits for, now or as soon as the bandwidth allows it.
    pub(super) async fn sft_serve(
        &self,
        out: &mut Vec<Outbound>,
        device: &DeviceIdBuf,
        campaign: CampaignId,
    ) {
        let owed = self.sessions().sessions.get(device).and_then(Session::owed);
        let Some(wanted) = owed else { return };
        match self.sft_chunk(&wanted, campaign).await {
            Ok(bytes) => {
                let message = self.sessions().of(device).chunk(&wanted, &bytes);
                let message = message.ok().flatten();
                out.extend(message.map(|payload| Outbound {
                    dialect: Dialect::Sft,
                    device: device.clone(),
                    payload,
                }));
            }
            Err(Some(wait)) => {
                let at = self.now().plus(wait);
                self.sessions().at(at, device);
            }
            // It cannot be served, and waits for ever unless it is made to begin anew.
            Err(None) => {
                let _ = self.inner.link.disconnect(device).await;
            }
        }
    }

    async fn sft_chunk(&self, wanted: &WantChunk, campaign: CampaignId) -> Result<Bytes, Option<Millis>> {
        let granted = Granted { campaign, what: wanted.release.0 };
        let parts = self.parts(&granted).await.map_err(|_| Some(Millis(1_000)))?.ok_or(None)?;
        let part = ota_core::wire::Part::File(ota_core::number::FileIndex(wanted.index));
        let source = parts.source(part).ok_or(None)?;
        self.take_bytes(campaign, wanted.length).await.map_err(Some)?;
        match self.inner.shelf.read(&source, wanted.offset, wanted.length).await {
            Ok(bytes) => Ok(bytes),
            Err(error) => match self.not_here(&parts, &source, &error) {
                Ok(_) => Err(Some(Millis(1_000))),
                Err(RefuseCode::NoSuchPart) => Err(None),
                Err(_) => Err(Some(Millis(1_000))),
            },
        }
    }

    /// Looks at sessions whose time has come: check-ins that wait for their turn, chunks that wait for bandwidth.
    pub(super) async fn sft_due(&self) {
        let (mut out, since) = (Vec::new(), self.moment());
        let now = since.at;
        let due = {
            let mut sessions = self.sessions();
            let looked = sessions.looked.replace(now);
            if looked.is_some_and(|looked| self.was_away_since(looked)) {
                sessions.owe_nothing();
            }
            sessions.due(now)
        };
        let mut events = Vec::new();
        for device in due {
            let (waiting, owed) = {
                let mut sessions = self.sessions();
                let session = sessions.of(&device);
                (session.waiting(), session.owed())
            };
            if let Some((said, heard)) = waiting {
                events.push(Event { device, heard, kind: Kind::Turn(said, Dialect::Sft) });
            } else if let Some(owed) = owed {
                match self.sft_still_at(&device, owed.offer).await {
                    Ok(Some(campaign)) => self.sft_serve(&mut out, &device, campaign).await,
                    Ok(None) => self.sft_disconnected(&device),
                    Err(_) => self.sessions().at(now.plus(Millis(1_000)), &device),
                }
            }
        }
        self.decide(events, &mut out).await;
        // Who hangs is corrected by its next connection.
        let _ = self.send_due(out, since).await;
    }

    /// The campaign of a device that waits for a chunk of this offer; `None` if it waits no more, because it has begun anew
    /// with another server.
    async fn sft_still_at(
        &self,
        id: &DeviceIdBuf,
        offer: OfferId,
    ) -> Result<Option<CampaignId>, CommandError> {
        let (device, _) = self.device_record(id).await?;
        let Some(campaign) = device.attempt else { return Ok(None) };
        let stored = self.load_one(&Key::Attempt(campaign, id.clone())).await?;
        let is_at_it = match stored {
            Some(Stored { record: Record::Attempt(attempt), .. }) => {
                attempt.offer == Some(offer) && is_open(attempt.phase) && device.waits_with.is_none()
            }
            _ => false,
        };
        Ok(is_at_it.then_some(campaign))
    }

    /// A connected device's turn has come: the check-in that it is waiting with is decided again.
    pub(super) fn sft_turn(&self, device: &DeviceIdBuf) -> Option<Event<Kind>> {
        let (said, heard) = self.sessions().sessions.get(device)?.waiting()?;
        Some(Event { device: device.clone(), heard, kind: Kind::Turn(said, Dialect::Sft) })
    }

    /// A device that takes too long, or whose offer was taken back, is made to begin anew.
    pub(super) async fn sft_recover(&self, device: &DeviceIdBuf) {
        let is_fetching = self.sessions().sessions.get(device).is_some_and(Session::is_fetching);
        if is_fetching {
            self.sessions().sessions.remove(device);
            let _ = self.inner.link.disconnect(device).await;
        }
    }
}
