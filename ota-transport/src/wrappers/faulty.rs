//! A link that loses, duplicates and delays messages, as a seed decides. Messages that are delayed differently
//! overtake each other; connections coming and going are told without fault, because brokers do that reliably.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ota_core::fleet::{LinkError, LinkEvent, MessageLink, Outbound, Share};
use ota_core::text::DeviceIdBuf;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// So many messages to devices are under way with a delay at once; senders wait while there are more.
const DELAYED_MAX: usize = 4096;

/// How often messages meet which fault. Shares are in thousandths of the messages of each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkFaults {
    /// Lost without a word.
    pub lost_permille: u16,
    /// Delivered twice.
    pub duplicated_permille: u16,
    /// Delivered late.
    pub delayed_permille: u16,
    /// The longest delay, in milliseconds.
    pub delay_ms_max: u64,
}

/// Which faults have happened so far: a test that needs them should see that they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InjectedFaults {
    /// Messages lost.
    pub lost: u64,
    /// Messages delivered twice.
    pub duplicated: u64,
    /// Messages delivered late.
    pub delayed: u64,
}

/// A link with faults. It needs tokio's clock, which tests may pause.
pub struct FaultyLink<L> {
    inner: Arc<L>,
    faults: LinkFaults,
    state: Mutex<State>,
    delayed: Arc<Semaphore>,
}

struct State {
    random: fastrand::Rng,
    injected: InjectedFaults,
    /// Events that wait for their moment; the number keeps those of the same moment in order.
    waiting: BTreeMap<(Instant, u64), LinkEvent>,
    next: u64,
    /// The inner link has ended; what waits is still told.
    is_closed: bool,
}

/// What becomes of one message: the delay of each copy that arrives.
type Fate = [Option<Duration>; 2];

impl<L> FaultyLink<L> {
    /// Puts faults between this link and its user. The same seed gives the same faults for the same messages.
    #[must_use]
    pub fn new(inner: L, faults: LinkFaults, seed: u64) -> Self {
        let state = State {
            random: fastrand::Rng::with_seed(seed),
            injected: InjectedFaults::default(),
            waiting: BTreeMap::new(),
            next: 0,
            is_closed: false,
        };
        let delayed = Arc::new(Semaphore::new(DELAYED_MAX));
        Self { inner: Arc::new(inner), faults, state: Mutex::new(state), delayed }
    }

    /// Which faults have happened so far.
    #[must_use]
    pub fn injected(&self) -> InjectedFaults {
        self.state().injected
    }

    /// The link without faults.
    #[must_use]
    pub fn inner(&self) -> &L {
        &self.inner
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fate(&mut self, faults: &LinkFaults) -> Fate {
        if self.meets(faults.lost_permille) {
            self.injected.lost += 1;
            return [None, None];
        }
        let first = self.delay(faults);
        if !self.meets(faults.duplicated_permille) {
            return [Some(first), None];
        }
        self.injected.duplicated += 1;
        [Some(first), Some(self.delay(faults))]
    }

    fn meets(&mut self, permille: u16) -> bool {
        // Drawn even if it cannot happen, so that one kind of fault does not move the others.
        self.random.u16(..1000) < permille
    }

    fn delay(&mut self, faults: &LinkFaults) -> Duration {
        let delay = self.random.u64(..=faults.delay_ms_max);
        if self.meets(faults.delayed_permille) && delay > 0 {
            self.injected.delayed += 1;
            return Duration::from_millis(delay);
        }
        Duration::ZERO
    }

    fn wait(&mut self, event: LinkEvent, until: Instant) {
        self.waiting.insert((until, self.next), event);
        self.next += 1;
    }

    /// Takes in what the inner link told.
    fn take_in(&mut self, events: Vec<LinkEvent>, faults: &LinkFaults, now: Instant) {
        self.is_closed |= events.is_empty();
        for event in events {
            let fate = match &event {
                LinkEvent::Message { .. } => self.fate(faults),
                _ => [Some(Duration::ZERO), None],
            };
            for delay in fate.into_iter().flatten() {
                self.wait(event.clone(), now + delay);
            }
        }
    }

    /// Gives out what is due.
    fn due(&mut self, limit: usize, now: Instant) -> Vec<LinkEvent> {
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(entry) = self.waiting.first_entry()
            && entry.key().0 <= now
        {
            due.push(entry.remove());
        }
        due
    }
}

#[async_trait]
impl<L: MessageLink> MessageLink for FaultyLink<L> {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        let limit = limit.max(1);
        loop {
            let (next, is_closed) = {
                let mut state = self.state();
                let due = state.due(limit, Instant::now());
                if !due.is_empty() {
                    return Ok(due);
                }
                (state.waiting.keys().next().map(|(until, _)| *until), state.is_closed)
            };
            match (next, is_closed) {
                (None, true) => return Ok(Vec::new()),
                (Some(until), true) => tokio::time::sleep_until(until).await,
                // What the inner link told is kept before anything else is waited for: dropping this loses nothing.
                (None, false) => {
                    let events = self.inner.receive(limit).await?;
                    self.state().take_in(events, &self.faults, Instant::now());
                }
                (Some(until), false) => {
                    if let Ok(events) = tokio::time::timeout_at(until, self.inner.receive(limit)).await {
                        self.state().take_in(events?, &self.faults, Instant::now());
                    }
                }
            }
        }
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        let mut at_once = Vec::new();
        let mut later = Vec::new();
        {
            let mut state = self.state();
            for message in messages {
                for delay in state.fate(&self.faults).into_iter().flatten() {
                    match delay {
                        Duration::ZERO => at_once.push(message.clone()),
                        delay => later.push((delay, message.clone())),
                    }
                }
            }
        }
        for (delay, message) in later {
            // The semaphore is never closed.
            let room = Arc::clone(&self.delayed).acquire_owned().await;
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                // A link that fails loses messages: that is what this one does.
                let _ = inner.send(vec![message]).await;
                drop(room);
            });
        }
        self.inner.send(at_once).await
    }

    fn connection(&self) -> u64 {
        self.inner.connection()
    }

    fn is_taken_in_turns(&self) -> bool {
        self.inner.is_taken_in_turns()
    }

    fn share(&self, share: Share) {
        self.inner.share(share);
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        self.inner.disconnect(device).await
    }
}
