//! A message link to any MQTT broker, for servers: MQTT 3.1.1 or 5, plain or TLS, alone or sharing a subscription.
//!
//! The client below is `rumqttc`; this module removes its traps. It is polled in a task of its own, so that publishing
//! can never wait for itself. It connects again with growing pauses, and each connection begins with a new client, so
//! that nothing of a broken one lives on. Packets over the limit are not sent, and never make it connect for ever.
//! Everything travels at quality 0: what is lost is asked for again by the protocol, never by MQTT.
//!
//! While there is no connection, messages to devices are dropped and counted: nobody is there to hear them.

mod backoff;
mod config;
mod fresh;
mod neighbours;
mod standstill;
mod v4;
mod v5;

use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::fleet::{Dialect, LinkError, LinkEvent, MessageLink, Outbound, Share};
use ota_core::text::DeviceIdBuf;
use ota_core::wire::topic::{Direction, FromAllDevices, Protocol, Topic};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

pub use crate::credentials::Credentials;
use backoff::Backoff;
pub use config::{InvalidMqttConfig, MqttConfig, MqttVersion, Sharing};
use fresh::Fresh;
use neighbours::Neighbours;
use standstill::unless_it_stands_still;

/// Largest packet that is read before it is dropped, in bytes. The client below ends the connection at its limit, and
/// no device should be able to end the server's: brokers are told to refuse such packets, and this is for those
/// that were not.
const TOLERATED_PACKET_BYTES: usize = 16 * 1024 * 1024;
/// What MQTT adds to a payload, generously, beyond the topic: the fixed header, lengths and empty properties.
const PACKET_OVERHEAD_BYTES: usize = 16;

/// A link to a broker. Dropping it closes the connection.
#[derive(Debug)]
pub struct MqttLink {
    config: Arc<MqttConfig>,
    shared: Arc<Shared>,
    events: Mutex<mpsc::Receiver<Received>>,
    status: watch::Receiver<Status>,
    share: watch::Sender<Share>,
    task: JoinHandle<()>,
}

/// Whether the link can carry messages.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It is connecting, or waiting to try again; with the reason of the last failure, if there was one.
    Connecting(Option<String>),
    /// It is connected and the broker has accepted its subscriptions.
    Ready,
}

/// What has been counted since the link was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MqttStatistics {
    /// Messages handed to the broker's connection.
    pub sent: u64,
    /// Messages dropped because there was no connection.
    pub dropped_without_connection: u64,
    /// Messages dropped because the packet would have been over the limit.
    pub dropped_oversized: u64,
    /// Messages received from devices.
    pub received: u64,
    /// Messages on topics that are no device's, and messages over the limit.
    pub received_foreign: u64,
    /// Messages received and dropped because nobody took them for half a keep-alive.
    pub dropped_unread: u64,
    /// Messages of original devices that may have waited for too long to be answered.
    pub late: u64,
    /// Connections made.
    pub connections: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    dropped_without_connection: AtomicU64,
    dropped_oversized: AtomicU64,
    received: AtomicU64,
    received_foreign: AtomicU64,
    dropped_unread: AtomicU64,
    late: AtomicU64,
    connections: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug, Default)]
struct Shared {
    publisher: RwLock<Option<Publisher>>,
    counters: Counters,
}

impl Shared {
    fn publisher(&self) -> Option<Publisher> {
        self.publisher.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_publisher(&self, publisher: Option<Publisher>) {
        *self.publisher.write().unwrap_or_else(PoisonError::into_inner) = publisher;
    }
}

/// The sending half of one connection.
#[derive(Debug, Clone)]
enum Publisher {
    V4(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

impl Publisher {
    /// Queues a message and waits while the queue is full; `false` when the connection is gone.
    async fn publish(&self, topic: String, payload: Bytes) -> bool {
        match self {
            Self::V4(client) => v4::publish(client, topic, payload).await,
            Self::V5(client) => v5::publish(client, topic, payload).await,
        }
    }

    /// Queues a message if there is room; `false` if there is none.
    fn try_publish(&self, topic: &str, payload: Bytes) -> bool {
        match self {
            Self::V4(client) => v4::try_publish(client, topic, payload),
            Self::V5(client) => v5::try_publish(client, topic, payload),
        }
    }

    /// Asks for what matches the filters, or to be spared it; `false` when that could not be queued.
    fn ask(&self, share: Share, filters: &[String]) -> bool {
        match (self, share) {
            (Self::V4(client), Share::Taken) => v4::subscribe(client, filters),
            (Self::V4(client), Share::Left) => v4::unsubscribe(client, filters),
            (Self::V5(client), Share::Taken) => v5::subscribe(client, filters),
            (Self::V5(client), Share::Left) => v5::unsubscribe(client, filters),
        }
    }
}

/// The receiving half of one connection. It connects when it is first polled.
enum Poller {
    V4(Box<rumqttc::EventLoop>),
    V5(Box<rumqttc::v5::EventLoop>),
}

/// A message of a device.
#[derive(Debug)]
struct Received {
    /// The number of the connection that it came by.
    connection: u64,
    /// It was forwarded by the broker after this moment.
    since: Instant,
    dialect: Dialect,
    device: DeviceIdBuf,
    payload: Bytes,
}

/// What a connection has to tell.
enum Incoming {
    Connected,
    /// Whether all subscriptions were granted.
    Subscribed(bool),
    Message {
        topic: Bytes,
        payload: Bytes,
    },
    Other,
}

impl Poller {
    async fn next(&mut self) -> Result<Incoming, String> {
        match self {
            Self::V4(events) => v4::next(events).await,
            Self::V5(events) => v5::next(events).await,
        }
    }
}

impl MqttLink {
    /// Begins to connect in a task of its own, and returns at once; [`ready`](Self::ready) waits for the broker.
    ///
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`InvalidMqttConfig`] names the setting that cannot work.
    pub fn start(config: MqttConfig) -> Result<Self, InvalidMqttConfig> {
        config.check()?;
        let config = Arc::new(config);
        let shared = Arc::new(Shared::default());
        let (event_sender, events) = mpsc::channel(config.queue_messages_max);
        let (status_sender, status) = watch::channel(Status::Connecting(None));
        let (share, wanted_share) = watch::channel(match config.sharing {
            Sharing::InTurns => Share::Left,
            Sharing::Alone | Sharing::Group(_) => Share::Taken,
        });
        let worker = Worker {
            config: Arc::clone(&config),
            shared: Arc::clone(&shared),
            events: event_sender,
            status: status_sender,
            share: wanted_share,
            neighbours: Neighbours::new(),
        };
        let task = tokio::spawn(worker.run());
        Ok(Self { config, shared, events: Mutex::new(events), status, share, task })
    }

    /// Waits until the broker has accepted the connection and all subscriptions.
    ///
    /// # Errors
    /// [`LinkError`] if the link is closed before that.
    pub async fn ready(&self) -> Result<(), LinkError> {
        let mut status = self.status.clone();
        // The task that tells the status ends with the link.
        status.wait_for(|status| *status == Status::Ready).await.map(drop).map_err(|_| closed())
    }

    /// Watches whether the link can carry messages, and why not.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn statistics(&self) -> MqttStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        MqttStatistics {
            sent: read(&counters.sent),
            dropped_without_connection: read(&counters.dropped_without_connection),
            dropped_oversized: read(&counters.dropped_oversized),
            received: read(&counters.received),
            received_foreign: read(&counters.received_foreign),
            dropped_unread: read(&counters.dropped_unread),
            late: read(&counters.late),
            connections: read(&counters.connections),
        }
    }

    /// Whether a message may have waited for so long that its device has said something else to another server.
    fn is_too_old(&self, message: &Received) -> bool {
        self.config.has_neighbours() && message.since.elapsed() > self.config.waiting_max
    }

    /// Closes the connection; what was received can still be taken.
    pub fn close(&self) {
        self.task.abort();
        self.shared.set_publisher(None);
    }
}

impl Drop for MqttLink {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> LinkError {
    LinkError { source: "the link is closed".into() }
}

#[async_trait]
impl MessageLink for MqttLink {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        let mut events = self.events.lock().await;
        let mut received = Vec::new();
        // Taking many is safe to cancel: nothing is taken before something is returned.
        events.recv_many(&mut received, limit.max(1)).await;
        let connection = self.connection();
        let event = |message: Received| {
            // A device of the original protocol that has connected anew crashes at what it was told before.
            let is_late = message.dialect == Dialect::Sft
                && (message.connection != connection || self.is_too_old(&message));
            let Received { dialect, device, payload, .. } = message;
            if !is_late {
                return LinkEvent::Message { dialect, device, payload };
            }
            count(&self.shared.counters.late);
            LinkEvent::Late { dialect, device, payload }
        };
        Ok(received.into_iter().map(event).collect())
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        if self.task.is_finished() {
            return Err(closed());
        }
        let counters = &self.shared.counters;
        for Outbound { dialect, device, payload } in messages {
            let Some(protocol) = self.config.protocol(dialect) else {
                count(&counters.dropped_without_connection);
                continue;
            };
            let topic = Topic { protocol, device: device.borrow(), direction: Direction::Down }.to_string();
            if topic.len() + payload.len() + PACKET_OVERHEAD_BYTES > self.config.packet_bytes_max {
                count(&counters.dropped_oversized);
                tracing::warn!(%device, bytes = payload.len(), "a message over the packet limit was not sent");
                continue;
            }
            let sent = match self.shared.publisher() {
                Some(publisher) => publisher.publish(topic, payload).await,
                None => false,
            };
            count(if sent { &counters.sent } else { &counters.dropped_without_connection });
        }
        Ok(())
    }

    fn connection(&self) -> u64 {
        self.shared.counters.connections.load(Ordering::Relaxed)
    }

    fn is_taken_in_turns(&self) -> bool {
        self.config.sharing == Sharing::InTurns
    }

    fn share(&self, share: Share) {
        // Alone it has nobody to leave them to.
        if self.config.has_neighbours() {
            self.share.send_if_modified(|wanted| core::mem::replace(wanted, share) != share);
        }
    }

    async fn disconnect(&self, _device: &DeviceIdBuf) -> Result<bool, LinkError> {
        // MQTT has no word for it: only a broker's own interface can close a foreign connection.
        Ok(false)
    }
}

/// The task that owns the connection.
struct Worker {
    config: Arc<MqttConfig>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Received>,
    status: watch::Sender<Status>,
    share: watch::Receiver<Share>,
    neighbours: Neighbours,
}

impl Worker {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.client_id.as_bytes());
        loop {
            let has_neighbours = self.config.has_neighbours();
            let connection = self.connection(&mut backoff);
            let reason = match has_neighbours {
                false => connection.await,
                true => unless_it_stands_still(connection).await.unwrap_or_else(|since| {
                    format!("this process stood still for {since:?}, and the others of its group went on")
                }),
            };
            self.shared.set_publisher(None);
            if self.events.is_closed() {
                return;
            }
            let pause = backoff.next_pause();
            tracing::warn!(broker = %self.config.address(), %reason, ?pause, "the connection to the broker broke");
            self.status.send_replace(Status::Connecting(Some(reason)));
            tokio::time::sleep(pause).await;
        }
    }

    /// Lives for one connection and returns why it ended.
    async fn connection(&mut self, backoff: &mut Backoff) -> String {
        let (publisher, mut poller) = match self.config.version {
            MqttVersion::V3_1_1 => v4::open(&self.config),
            MqttVersion::V5 => v5::open(&self.config),
        };
        let filters = self.config.filters();
        let nothing = self.config.nothing();
        let words = self.config.words();
        let mut is_connected = false;
        let mut has = Share::Taken;
        let mut fresh = Fresh::new(Instant::now());
        let mut questions = tokio::time::interval(fresh::ASK_EVERY);
        questions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let incoming = {
                // Reading goes on where it was: half a packet may have been read when the share changes.
                let mut next = pin!(poller.next());
                loop {
                    tokio::select! {
                        incoming = &mut next => break incoming,
                        // The next question takes it up.
                        Ok(()) = self.share.changed() => questions.reset_immediately(),
                        _ = questions.tick(), if is_connected && self.config.has_neighbours() => {
                            // Without room it is asked the next time.
                            if fresh.is_answered() && publisher.ask(Share::Taken, &nothing) {
                                fresh.asked_for_nothing(Instant::now());
                            }
                            let share = self.share_now(&publisher, words.as_deref());
                            if share != has {
                                if !publisher.ask(share, &filters) {
                                    return format!("there was no room to say that the share is {share:?}");
                                }
                                if share == Share::Taken {
                                    fresh.asked_for_messages();
                                }
                                tracing::info!(?share, "the share of the messages has changed");
                                has = share;
                            }
                        }
                    }
                }
            };
            match incoming {
                Err(reason) => return reason,
                Ok(Incoming::Connected) => {
                    is_connected = true;
                    // Nothing was asked for yet, so nothing can have waited.
                    fresh = Fresh::new(Instant::now());
                    count(&self.shared.counters.connections);
                    has = self.share_by_neighbours(Instant::now());
                    match has {
                        // The queue of a new client is empty, so this never fails for want of room.
                        Share::Taken if publisher.ask(Share::Taken, &filters) => fresh.asked_for_messages(),
                        Share::Taken => return "cannot subscribe".to_owned(),
                        Share::Left => self.begin(&publisher, backoff),
                    }
                }
                Ok(Incoming::Subscribed(is_granted)) => match (fresh.answered(), is_granted) {
                    // Whether nothing is granted or not: it was a question, and this is its answer.
                    (false, _) => {}
                    (true, true) => self.begin(&publisher, backoff),
                    (true, false) => {
                        return format!("the broker refused a subscription of {}", filters.join(", "));
                    }
                },
                Ok(Incoming::Message { topic, payload })
                    if words.as_ref().is_some_and(|words| words.as_bytes() == topic) =>
                {
                    self.neighbours.hear(&payload, Instant::now());
                }
                Ok(Incoming::Message { topic, payload }) => {
                    self.deliver(&topic, payload, fresh.since()).await;
                }
                Ok(Incoming::Other) => {}
            }
        }
    }

    /// Says to the neighbours how this server is, and finds out which share it has as they are.
    fn share_now(&mut self, publisher: &Publisher, words: Option<&str>) -> Share {
        let (wanted, now) = (*self.share.borrow(), Instant::now());
        if let (Some(topic), Some(word)) = (words, self.neighbours.word(wanted, now)) {
            // What there is no room for is as good as lost on its way.
            let _ = publisher.try_publish(topic, word);
        }
        self.share_by_neighbours(now)
    }

    /// The share that is wanted, or the one that there is because no neighbour is well. Who takes turns has none without its turn.
    fn share_by_neighbours(&mut self, now: Instant) -> Share {
        let wanted = *self.share.borrow_and_update();
        if self.config.group().is_some() { self.neighbours.share(wanted, now) } else { wanted }
    }

    /// From now on messages travel.
    fn begin(&self, publisher: &Publisher, backoff: &mut Backoff) {
        self.shared.set_publisher(Some(publisher.clone()));
        if self.status.send_replace(Status::Ready) != Status::Ready {
            tracing::info!(broker = %self.config.address(), "connected to the broker");
        }
        backoff.reset();
    }

    async fn deliver(&self, topic: &Bytes, payload: Bytes, since: Instant) {
        let counters = &self.shared.counters;
        let sender = core::str::from_utf8(topic).ok().and_then(|topic| self.config.sender(topic));
        let Some((dialect, device)) = sender.filter(|_| payload.len() <= self.config.packet_bytes_max) else {
            count(&counters.received_foreign);
            return;
        };
        // Waiting keeps the broker waiting, which is the right pressure; but pings must go out in time.
        let patience: Duration = self.config.keep_alive / 2;
        match tokio::time::timeout(patience, self.events.reserve()).await {
            // Counted first, so that whoever has the message finds it counted.
            Ok(Ok(place)) => {
                count(&counters.received);
                let connection = counters.connections.load(Ordering::Relaxed);
                place.send(Received { connection, since, dialect, device, payload });
            }
            Ok(Err(_)) | Err(_) => count(&counters.dropped_unread),
        }
    }
}

impl MqttConfig {
    fn protocol(&self, dialect: Dialect) -> Option<Protocol<'_>> {
        match dialect {
            Dialect::Native => self.native_prefix().map(Protocol::Native),
            Dialect::Sft if self.serves_sft => Some(Protocol::Sft),
            _ => None,
        }
    }

    /// Whose topic it is, and in which protocol.
    fn sender(&self, topic: &str) -> Option<(Dialect, DeviceIdBuf)> {
        [Dialect::Native, Dialect::Sft].into_iter().find_map(|dialect| {
            let topic = Topic::parse(self.protocol(dialect)?, topic).ok()?;
            (topic.direction == Direction::Up).then(|| (dialect, topic.device.into()))
        })
    }

    /// What the server may subscribe to and no device publishes: asking for it means nothing, and is answered. What servers
    /// tell each other comes this way.
    fn nothing(&self) -> Vec<String> {
        let protocols = [Dialect::Native, Dialect::Sft].into_iter();
        let first = protocols.filter_map(|dialect| self.protocol(dialect)).next();
        first.map(|protocol| format!("{}/nothing", FromAllDevices(protocol))).into_iter().collect()
    }

    /// Where the servers of a group tell each other how they are.
    fn words(&self) -> Option<String> {
        let group = self.group()?;
        self.nothing().first().map(|nothing| nothing.replacen('+', group, 1))
    }

    /// What the server subscribes to.
    fn filters(&self) -> Vec<String> {
        [Dialect::Native, Dialect::Sft]
            .into_iter()
            .filter_map(|dialect| self.protocol(dialect))
            .map(|protocol| match self.group() {
                Some(group) => format!("$share/{group}/{}", FromAllDevices(protocol)),
                None => FromAllDevices(protocol).to_string(),
            })
            .collect()
    }
}
