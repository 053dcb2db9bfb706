//! The conversation: a batch of events from the link becomes decisions, one commit, and answers.

use core::sync::atomic::Ordering;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ota_core::fleet::{Dialect, LinkError, LinkEvent, Outbound};
use ota_core::number::{CampaignId, Nonce};
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_core::wire::RefuseCode;

use super::Server;
use super::timely::{Heard, Moment};
use crate::conversation::{self, CheckIn, Report, Said, WantBlocks, native};
use crate::delivery::grant::Granted;
use crate::engine::decide::{self, Context, Decision, Known, Place};
use crate::engine::{self, Event};
use crate::rules::view::ProductView;

/// What the engine is asked about one device.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// It checks in.
    CheckIn(Box<CheckIn>, Dialect),
    /// The turn of one that waits with this check-in may have come.
    Turn(Box<CheckIn>, Dialect),
    /// It has checked in too long ago to be answered, and waits for nothing that it asked for before. The nonce stands for
    /// that check-in.
    BeganAnew(Nonce),
    /// It has asked for a chunk too long ago to be answered.
    AskedLate,
    /// It reports.
    Report(Report, Dialect),
    /// It wants its first block of an offer.
    Asked(WantBlocks, Granted, Dialect),
    /// A deadline may have passed.
    Overdue(CampaignId),
    /// Its attempt is taken back.
    Cancel(CampaignId),
}

/// How long devices wait when the store has failed: as long as it has been failing, between these.
const STORE_RETRY_MIN: Millis = Millis(2_000);
const STORE_RETRY_MAX: Millis = Millis(30_000);

/// How long what one of several servers says may be on its way to a device after it was committed, on a busy day: as long as
/// it may take to leave the server, and a second beyond.
const TOLD_LATE: Millis = Millis(4_000);

/// What a device hears that asks for more than its share at once, so that it does not hold the others up.
const fn too_much_at_once() -> Said {
    Said::Busy { retry_after: Millis(200) }
}

impl Server {
    /// Takes a batch of events, commits what follows from them once, and sends the answers.
    ///
    /// # Errors
    /// [`LinkError`] if the answers could not be sent; what was committed stays.
    pub async fn handle(&self, events: Vec<LinkEvent>) -> Result<(), LinkError> {
        let moment = self.moment();
        self.handle_heard(events.into_iter().map(|event| Heard { moment, event }).collect()).await
    }

    /// Does the same for events that have been waiting since they were heard.
    pub(super) async fn handle_heard(&self, heard: Vec<Heard>) -> Result<(), LinkError> {
        self.watch_clock();
        let (heard, moments) = self.still_to_answer(heard);
        let mut out = Vec::new();
        let mut kinds: Vec<Event<Kind>> = Vec::new();
        let mut requests: HashMap<DeviceIdBuf, u32> = HashMap::new();
        for Heard { moment, event } in heard {
            let heard = moment.at;
            let (dialect, device, payload) = match event {
                LinkEvent::Message { dialect, device, payload } => (dialect, device, payload),
                LinkEvent::Late { dialect: Dialect::Sft, device, payload } => {
                    kinds.extend(self.sft_heard_late(device, &payload, heard));
                    continue;
                }
                LinkEvent::Connected(device) => {
                    self.sft_connected(&device);
                    continue;
                }
                LinkEvent::Disconnected(device) => {
                    self.sft_disconnected(&device);
                    continue;
                }
                _ => continue,
            };
            if dialect == Dialect::Sft {
                kinds.extend(self.sft_hear(&device, &payload, heard, &mut out).await);
                continue;
            }
            match self.hear(dialect, &device, &payload) {
                Ok(conversation::Heard::CheckIn(said)) => match self.admit() {
                    Ok(()) => kinds.push(Event { device, heard, kind: Kind::CheckIn(said, dialect) }),
                    Err(retry_after) => self.say(&mut out, dialect, &device, &Said::Busy { retry_after }),
                },
                Ok(conversation::Heard::Report(said)) => {
                    kinds.push(Event { device, heard, kind: Kind::Report(said, dialect) })
                }
                Ok(conversation::Heard::WantBlocks(said)) => {
                    let count = requests.entry(device.clone()).or_insert(0);
                    *count += 1;
                    let is_too_much = *count > self.inner.config.requests_per_device_max;
                    match self.granted(&device, &said) {
                        Err(code) => self.refuse(&mut out, dialect, device, code, Some(said.offer)),
                        Ok(_) if is_too_much => {
                            self.say(&mut out, dialect, &device, &too_much_at_once());
                        }
                        Ok(granted) => {
                            if granted.campaign.0 == 0
                                || self.inner.begun.get(&(device.clone(), said.offer)).is_some()
                            {
                                self.serve(&mut out, dialect, &device, &said, &granted).await;
                            } else {
                                let kind = Kind::Asked(said, granted, dialect);
                                kinds.push(Event { device, heard, kind });
                            }
                        }
                    }
                }
                Err(code) => self.refuse(&mut out, dialect, device, code, None),
            }
        }
        self.decide(kinds, &mut out).await;
        self.answer(out, &moments).await
    }

    /// Serves the blocks that devices ask for in the middle of a download, and gives back all else, in its order: that is
    /// for [`handle`](Self::handle), and then for [`sft_decided`](Self::sft_decided).
    ///
    /// Devices take turns: whoever asks for much at once is served in several rounds, and what is answered leaves after
    /// each of them.
    pub(super) async fn serve_under_way(&self, events: Vec<LinkEvent>, since: Moment) -> Vec<LinkEvent> {
        let (mut waiting, mut owed, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for event in events {
            if let Some(request) = self.request_under_way(&event) {
                waiting.push(request);
            } else if let Some(chunk) = self.sft_under_way(&event) {
                owed.push(chunk);
            } else {
                self.sft_waits(&event);
                rest.push(event);
            }
        }
        let mut out = Vec::new();
        for (device, campaign) in owed {
            self.sft_serve(&mut out, &device, campaign).await;
        }
        let _ = self.send_due(out, since).await;
        while !waiting.is_empty() {
            let (mut out, mut later) = (Vec::new(), Vec::new());
            let mut requests: HashMap<DeviceIdBuf, u32> = HashMap::new();
            for (device, said, granted) in waiting {
                let count = requests.entry(device.clone()).or_insert(0);
                *count += 1;
                if *count > self.inner.config.requests_per_device_max.max(1) {
                    later.push((device, said, granted));
                } else {
                    self.serve(&mut out, Dialect::Native, &device, &said, &granted).await;
                }
            }
            // What was lost is asked for again.
            let _ = self.inner.link.send(out).await;
            waiting = later;
        }
        rest
    }

    /// A request for blocks about which nothing is left to be decided.
    fn request_under_way(&self, event: &LinkEvent) -> Option<(DeviceIdBuf, WantBlocks, Granted)> {
        let LinkEvent::Message { dialect: Dialect::Native, device, payload } = event else { return None };
        let Ok(conversation::Heard::WantBlocks(said)) = self.hear(Dialect::Native, device, payload) else {
            return None;
        };
        let is_under_way = self.inner.begun.get(&(device.clone(), said.offer)).is_some();
        let granted = self.granted(device, &said).ok()?;
        (is_under_way || granted.campaign.0 == 0).then(|| (device.clone(), said, granted))
    }

    /// Takes a check-in now, or says when.
    fn admit(&self) -> Result<(), Millis> {
        let mut chance = [0; 2];
        self.inner.entropy.fill(&mut chance);
        self.inner.admission.admit(self.now(), u16::from_be_bytes(chance))
    }

    fn hear(
        &self,
        dialect: Dialect,
        device: &DeviceIdBuf,
        payload: &Bytes,
    ) -> Result<conversation::Heard, RefuseCode> {
        match dialect {
            Dialect::Native => native::hear(device, payload),
            _ => Err(RefuseCode::UnknownType),
        }
    }

    /// Decides events in rounds in which every device comes once, each round one commit.
    pub(super) async fn decide(&self, mut kinds: Vec<Event<Kind>>, out: &mut Vec<Outbound>) {
        while !kinds.is_empty() {
            let mut devices = HashSet::new();
            let (round, later): (Vec<_>, Vec<_>) =
                kinds.into_iter().partition(|event| devices.insert(event.device.clone()));
            kinds = later;
            self.decide_round(round, out).await;
        }
    }

    async fn decide_round(&self, events: Vec<Event<Kind>>, out: &mut Vec<Outbound>) {
        // Ticks may have stayed away for longer than a key lives: whoever comes before the next one gets an offer, too.
        if self.renew_keyring().await.is_err() {
            return self.decisions_failed(&events, out);
        }
        let keyring = self.keyring();
        let (now, config) = (self.now(), &self.inner.config);
        let decide = |event: &Event<Kind>, known: Option<&Known>| {
            let mut budgets = self.budgets();
            let mut context = Context {
                now,
                heard: event.heard,
                told_late: if self.has_neighbours() { TOLD_LATE } else { Millis(0) },
                budgets: &mut budgets,
                keyring: &keyring,
                signer: &*self.inner.signer,
                secrets: &*self.inner.secrets,
                next_check_in: config.next_check_in,
                assignment_life: config.assignment_life,
            };
            let device = &event.device;
            match &event.kind {
                Kind::CheckIn(said, dialect) => decide::check_in(&mut context, device, known, said, *dialect),
                Kind::Turn(said, dialect) => decide::turn(&mut context, device, known, said, *dialect),
                Kind::BeganAnew(nonce) => decide::began_anew(&mut context, device, known, *nonce),
                Kind::AskedLate => decide::asked_late(&mut context, device, known),
                Kind::Report(said, dialect) => decide::report(&mut context, device, known, said, *dialect),
                Kind::Asked(said, _, dialect) => {
                    decide::asked(&mut context, device, known, said.offer, *dialect)
                }
                Kind::Overdue(campaign) => decide::overdue(&mut context, device, known, *campaign),
                Kind::Cancel(campaign) => decide::cancel(&mut context, device, known, *campaign),
            }
        };
        let undo = |decision: &Decision| {
            if let Some((campaign, device)) = &decision.admitted {
                self.budgets().revoke(*campaign, device);
            }
            // Whoever was faster may have gone through the turnstile.
            if self.has_neighbours() {
                self.budgets().doubt();
            }
        };
        match engine::run(&self.inner.store, &self.inner.catalog, &events, self, decide, undo).await {
            Ok(decisions) => {
                self.inner.failing_since.store(0, Ordering::Relaxed);
                for (event, decision) in events.into_iter().zip(decisions) {
                    match decision {
                        Some(decision) => self.after_commit(event, decision, out).await,
                        // It lost every race: somebody else is changing this very device or its campaign.
                        None => self.store_failed(&[event], out),
                    }
                }
            }
            Err(_) => self.decisions_failed(&events, out),
        }
    }

    /// The store did not take a batch, or not so that anybody knows it.
    fn decisions_failed(&self, events: &[Event<Kind>], out: &mut Vec<Outbound>) {
        self.budgets().doubt();
        let since = &self.inner.failing_since;
        // Who was first has said it already.
        let _ = since.compare_exchange(0, self.now().0, Ordering::Relaxed, Ordering::Relaxed);
        self.store_failed(events, out);
    }

    /// What is durable takes effect, and is said.
    async fn after_commit(&self, event: Event<Kind>, decision: Decision, out: &mut Vec<Outbound>) {
        {
            let mut budgets = self.budgets();
            for (campaign, device, place) in &decision.places {
                match place {
                    Place::Taken(site) => budgets.came_back(*campaign, device, site),
                    Place::Left => budgets.leave(*campaign, device),
                }
            }
        }
        if let Some(code) = decision.refused {
            self.inner.refusals.count(code);
        }
        let dialect = match &event.kind {
            Kind::CheckIn(_, dialect)
            | Kind::Turn(_, dialect)
            | Kind::Report(_, dialect)
            | Kind::Asked(_, _, dialect) => *dialect,
            Kind::BeganAnew(_) | Kind::AskedLate | Kind::Overdue(_) | Kind::Cancel(_) => Dialect::Native,
        };
        if decision.is_stale {
            self.sft_disconnected(&event.device);
        }
        for said in &decision.said {
            self.say(out, dialect, &event.device, said);
        }
        let is_taken_from_it = match &event.kind {
            Kind::Overdue(_) | Kind::Cancel(_) => !decision.places.is_empty(),
            Kind::Asked(..) => dialect == Dialect::Sft && decision.refused.is_some(),
            Kind::CheckIn(..) | Kind::Turn(..) | Kind::BeganAnew(_) | Kind::AskedLate | Kind::Report(..) => {
                false
            }
        };
        if is_taken_from_it {
            self.sft_recover(&event.device).await;
        }
        if let (Kind::Asked(said, granted, dialect), Some(campaign)) = (&event.kind, decision.asked_for) {
            self.inner.begun.insert((event.device.clone(), said.offer), campaign);
            if *dialect == Dialect::Sft {
                self.sft_serve(out, &event.device, campaign).await;
            } else {
                self.serve(out, *dialect, &event.device, said, granted).await;
            }
        }
    }

    /// Nothing was acknowledged: devices are told to come back, and will say it again.
    fn store_failed(&self, events: &[Event<Kind>], out: &mut Vec<Outbound>) {
        let failing = match self.inner.failing_since.load(Ordering::Relaxed) {
            0 => Millis(0),
            since => self.now().since(Timestamp(since)),
        };
        let retry_after = failing.clamp(STORE_RETRY_MIN, STORE_RETRY_MAX);
        for event in events {
            if let Kind::CheckIn(_, dialect) | Kind::Turn(_, dialect) | Kind::Asked(_, _, dialect) =
                &event.kind
            {
                self.say(out, *dialect, &event.device, &Said::Busy { retry_after });
            }
        }
    }

    pub(super) fn refuse(
        &self,
        out: &mut Vec<Outbound>,
        dialect: Dialect,
        device: DeviceIdBuf,
        code: RefuseCode,
        offer: Option<ota_core::number::OfferId>,
    ) {
        self.inner.refusals.count(code);
        self.say(out, dialect, &device, &Said::Refuse { code, offer });
    }

    pub(super) fn say(&self, out: &mut Vec<Outbound>, dialect: Dialect, device: &DeviceIdBuf, said: &Said) {
        let payload = match dialect {
            Dialect::Native => native::say(said).ok(),
            Dialect::Sft => return self.sft_say(out, device, said),
            _ => None,
        };
        out.extend(payload.map(|payload| Outbound { dialect, device: device.clone(), payload }));
    }

    /// The product's view, for those who serve blocks.
    pub(super) fn view_by_roots(&self, what: &[u8; 32]) -> Option<Arc<ProductView>> {
        self.inner.catalog.known().into_iter().find(|view| decide::roots_of(&view.id) == *what)
    }
}
