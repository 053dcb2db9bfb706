//! The server's link, inside the process: what devices say goes from rmqtt's hooks into a bounded queue, and what the
//! server says goes straight into the device's session.
//!
//! Before that, whoever [answers at once](ota_core::fleet::AnswerAtOnce) is asked, in the task of the device's session:
//! such an answer wakes no other task.
//!
//! A server that does not receive holds its devices back. A device that does not read holds the server back for a moment,
//! and then loses messages until it reads again, which is counted: nobody can stop the server for the others.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::fleet::{AnswerAtOnce, Dialect, LinkError, LinkEvent, MessageLink, Outbound, TopicRules};
use ota_core::text::DeviceIdBuf;
use rmqtt::codec::types::Publish as Packet;
use rmqtt::context::ServerContext;
use rmqtt::session::Session;
use rmqtt::types::{ConnectInfo, From, Id, Message, Publish, QoS, TopicName, Tx};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::clients::Client;
use crate::memory::queue::Queue;

/// How long the server waits for a device that reads too slowly.
const ROOM_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a session that is ended may take to say that it heard.
const KICK_TIMEOUT: Duration = Duration::from_secs(5);
/// What a packet has around topic and payload at most: first byte, length, topic length, packet id, empty properties.
const PACKET_OVERHEAD_BYTES: usize = 10;

pub(super) struct InProcessLink {
    rules: TopicRules,
    events: Queue<LinkEvent>,
    present: Mutex<HashMap<DeviceIdBuf, Arc<Present>>>,
    queue_max: Queued,
    at_once: RwLock<Option<Arc<dyn AnswerAtOnce>>>,
    /// What the link's own messages say they come from.
    from: From,
    /// Messages to devices that were there and did not get them.
    dropped: AtomicU64,
    runtime: Handle,
}

/// A device that is connected.
pub(super) struct Present {
    context: ServerContext,
    session: Session,
    tx: Tx,
    client: Arc<Client>,
    native: TopicName,
    sft: TopicName,
    /// The largest packet that it takes.
    packet_bytes_max: usize,
    /// What waits for it, as far as it comes from the link.
    queued: Mutex<Queued>,
    /// Something of it left, or the device is gone.
    room: Notify,
    /// It let the server wait in vain, and has not caught up since.
    is_deaf: AtomicBool,
    is_gone: AtomicBool,
}

/// How much waits for a device, or may.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Queued {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl Present {
    pub(super) async fn new(
        context: &ServerContext,
        device: &DeviceIdBuf,
        session: Session,
        tx: Tx,
        client: Arc<Client>,
        rules: &TopicRules,
    ) -> Self {
        let packet_bytes_max = match session.connect_info().await.as_deref() {
            Ok(ConnectInfo::V5(_, connect)) => connect.max_packet_size.map(|size| size.get()),
            _ => None,
        };
        Self {
            context: context.clone(),
            session,
            tx,
            client,
            native: rules.heard(Dialect::Native, device.borrow()).into(),
            sft: rules.heard(Dialect::Sft, device.borrow()).into(),
            packet_bytes_max: packet_bytes_max
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(usize::MAX),
            queued: Mutex::default(),
            room: Notify::new(),
            is_deaf: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        }
    }

    fn queued(&self) -> MutexGuard<'_, Queued> {
        // Nothing panics while it is held.
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a message in if there is room for it. There always is while nothing waits.
    fn enqueue(&self, bytes: usize, max: Queued) -> bool {
        let mut queued = self.queued();
        let fits = queued.messages < max.messages && queued.bytes.saturating_add(bytes) <= max.bytes;
        if fits || queued.messages == 0 {
            queued.messages += 1;
            queued.bytes += bytes;
            return true;
        }
        false
    }

    /// Whether so little waits that the answers to any one message have room.
    fn has_ample_room(&self, max: Queued) -> bool {
        let queued = self.queued();
        queued.messages == 0 || (queued.messages < max.messages / 2 && queued.bytes < max.bytes / 2)
    }

    /// Counts a message in, whatever waits.
    fn enqueue_over(&self, bytes: usize) {
        let mut queued = self.queued();
        queued.messages += 1;
        queued.bytes += bytes;
    }

    fn dequeue(&self, bytes: usize, max: Queued) {
        let mut queued = self.queued();
        // A message of an earlier connection may be counted out here: never below nothing.
        queued.messages = queued.messages.saturating_sub(1);
        queued.bytes = queued.bytes.saturating_sub(bytes);
        if queued.messages <= max.messages / 2 && queued.bytes <= max.bytes / 2 {
            self.is_deaf.store(false, Ordering::Relaxed);
        }
        drop(queued);
        self.room.notify_waiters();
    }

    fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Waits until a message fits and counts it in; says whether it did.
    async fn enqueue_in_time(&self, bytes: usize, max: Queued, runtime: &Handle) -> bool {
        let fits = async {
            loop {
                // The notification is asked for before looking, so that room that appears in between is not missed.
                let room = self.room.notified();
                if self.is_gone.load(Ordering::Relaxed) {
                    return false;
                }
                if self.enqueue(bytes, max) {
                    return true;
                }
                room.await;
            }
        };
        if self.is_deaf.load(Ordering::Relaxed) {
            return self.enqueue(bytes, max);
        }
        let in_time = {
            // Whoever sends may run elsewhere, without a clock.
            let _context = runtime.enter();
            timeout(ROOM_TIMEOUT, fits)
        };
        in_time.await.unwrap_or_else(|_| {
            self.is_deaf.store(true, Ordering::Relaxed);
            false
        })
    }

    /// Ends the session, with all that was to be kept of it. It has ended when this has.
    async fn end_session(&self, from: Id) {
        let (heard, hears) = oneshot::channel();
        let kick = Message::Kick(heard, from, true, true);
        if self.tx.unbounded_send(kick).is_ok() {
            let _ = timeout(KICK_TIMEOUT, hears).await;
        }
        // One that was to outlive its connection, and has noticed the connection's end first, is left for whoever comes next.
        let id = &self.session.id;
        let mut entry = self.context.extends.shared().await.entry(id.clone());
        if let Err(reason) = entry.remove_with(id).await {
            tracing::warn!(client = &*id.client_id, %reason, "what was kept of a session could not be removed");
        }
    }

    /// Whether a message fits into a packet that the device takes.
    pub(super) fn takes(&self, topic: &str, payload: &[u8]) -> bool {
        topic.len().saturating_add(payload.len()).saturating_add(PACKET_OVERHEAD_BYTES)
            <= self.packet_bytes_max
    }

    fn topic(&self, dialect: Dialect) -> &TopicName {
        match dialect {
            Dialect::Native => &self.native,
            _ => &self.sft,
        }
    }

    async fn is_subscribed(&self, topic: &TopicName) -> bool {
        // Its own topic is all that a device may subscribe of it, so the filter is the topic itself.
        match self.session.subscriptions().await {
            Ok(subscriptions) => subscriptions.read().await.contains_key(topic),
            Err(_) => false,
        }
    }
}

impl InProcessLink {
    pub(super) fn new(rules: TopicRules, events: usize, queue_max: Queued, id: Id, runtime: Handle) -> Self {
        Self {
            rules,
            events: Queue::new(events.max(1)),
            present: Mutex::default(),
            queue_max,
            at_once: RwLock::new(None),
            from: From::from_system(id),
            dropped: AtomicU64::new(0),
            runtime,
        }
    }

    pub(super) const fn rules(&self) -> &TopicRules {
        &self.rules
    }

    /// Messages to connected devices that were dropped: not subscribed, too much waiting, or too large for the device.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A device is there. An earlier connection of it is over with this, whenever rmqtt notices.
    pub(super) fn connected(&self, device: DeviceIdBuf, present: Present) {
        let mut all = self.present();
        if let Some(earlier) = all.insert(device.clone(), Arc::new(present)) {
            earlier.leave();
            // Only a closed link refuses these.
            let _ = self.events.put_over(LinkEvent::Disconnected(device.clone()));
        }
        let _ = self.events.put_over(LinkEvent::Connected(device));
    }

    /// A session is over: the device is gone, unless it has a newer one.
    pub(super) fn disconnected(&self, device: &DeviceIdBuf, session: &Id) {
        let mut all = self.present();
        if all.get(device).is_some_and(|present| present.session.id == *session) {
            all.remove(device).inspect(|present| present.leave());
            let _ = self.events.put_over(LinkEvent::Disconnected(device.clone()));
        }
    }

    /// A device says something. What is not answered at once waits to be received, and the device waits with it while the
    /// server has too much to receive.
    pub(super) async fn said(&self, dialect: Dialect, device: DeviceIdBuf, payload: Bytes) {
        if self.is_answered(dialect, &device, &payload).await {
            return;
        }
        let _ = self.events.put(LinkEvent::Message { dialect, device, payload }).await;
    }

    /// Answers a message at once, if somebody can and the device has room for it.
    async fn is_answered(&self, dialect: Dialect, device: &DeviceIdBuf, payload: &Bytes) -> bool {
        let at_once = self.at_once.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(at_once), Some(present)) = (at_once, self.find(device)) else { return false };
        let topic = present.topic(dialect);
        if !present.has_ample_room(self.queue_max) || !present.is_subscribed(topic).await {
            return false;
        }
        let Some(answers) = at_once.answer(dialect, device, payload) else { return false };
        let now_ms = rmqtt::utils::timestamp_millis();
        for payload in answers {
            if present.takes(topic, &payload) {
                present.enqueue_over(payload.len());
                self.forward(&present, topic, payload, now_ms);
            } else {
                self.drop_one(device, payload.len(), "it takes only smaller packets");
            }
        }
        true
    }

    pub(super) fn find(&self, device: &DeviceIdBuf) -> Option<Arc<Present>> {
        self.present().get(device).map(Arc::clone)
    }

    /// A message of the link left the queue of a device, delivered or not.
    pub(super) fn left(&self, device: &DeviceIdBuf, from: &From, bytes: usize) {
        if from.is_system()
            && let Some(present) = self.find(device)
        {
            present.dequeue(bytes, self.queue_max);
        }
    }

    pub(super) fn close(&self) {
        self.present().drain().for_each(|(_, present)| present.leave());
        self.events.close();
    }

    async fn send_one(&self, message: Outbound, now_ms: i64) {
        let Some(present) = self.find(&message.device) else { return };
        let topic = present.topic(message.dialect);
        let size = message.payload.len();
        let why = if !present.is_subscribed(topic).await {
            "it is not subscribed"
        } else if !present.takes(topic, &message.payload) {
            "it takes only smaller packets"
        } else if !present.enqueue_in_time(size, self.queue_max, &self.runtime).await {
            "too much waits for it"
        } else {
            self.forward(&present, topic, message.payload, now_ms);
            return;
        };
        self.drop_one(&message.device, size, why);
    }

    /// Hands a message that was counted in to the device's session.
    fn forward(&self, present: &Present, topic: &TopicName, payload: Bytes, now_ms: i64) {
        let packet = Packet {
            dup: false,
            retain: false,
            qos: QoS::AtMostOnce,
            topic: topic.clone(),
            packet_id: None,
            payload,
            properties: None,
        };
        let publish = Publish::new(Box::new(packet), None, None, Some(now_ms));
        // A session that has just ended drops it, as if the device had not been there.
        let _ = present.tx.unbounded_send(Message::Forward(self.from.clone(), publish));
    }

    fn drop_one(&self, device: &DeviceIdBuf, bytes: usize, why: &'static str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(device = device.as_str(), bytes, reason = why, "message dropped");
    }

    fn present(&self) -> MutexGuard<'_, HashMap<DeviceIdBuf, Arc<Present>>> {
        // Nothing panics while it is held.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MessageLink for InProcessLink {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        Ok(self.events.take(limit.max(1)).await)
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        let now_ms = rmqtt::utils::timestamp_millis();
        for message in messages {
            self.send_one(message, now_ms).await;
        }
        Ok(())
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        let Some(present) = self.find(device) else { return Ok(false) };
        present.client.cut("disconnected by the server");
        // The socket is closed; what rmqtt keeps of the session goes as well, and only of this one.
        let from = self.from.id.clone();
        let ending = self.runtime.spawn(async move { present.end_session(from).await });
        ending.await.map(|()| true).map_err(|why| LinkError { source: why.into() })
    }

    fn answer_at_once(&self, answers: Arc<dyn AnswerAtOnce>) {
        *self.at_once.write().unwrap_or_else(PoisonError::into_inner) = Some(answers);
    }
}
