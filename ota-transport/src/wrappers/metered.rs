//! A link that counts what passes.

use core::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ota_core::fleet::{LinkError, LinkEvent, MessageLink, Outbound, Share};
use ota_core::text::DeviceIdBuf;

/// Counts messages and their bytes in both directions.
#[derive(Debug)]
pub struct MeteredLink<L> {
    inner: L,
    received: Counter,
    sent: Counter,
    errors: AtomicU64,
}

#[derive(Debug, Default)]
struct Counter {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What has passed a [`MeteredLink`] so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkCounts {
    /// Messages from devices.
    pub messages_received: u64,
    /// Their payloads, in bytes.
    pub bytes_received: u64,
    /// Messages to devices that the inner link took.
    pub messages_sent: u64,
    /// Their payloads, in bytes.
    pub bytes_sent: u64,
    /// Calls that failed.
    pub errors: u64,
}

impl<L> MeteredLink<L> {
    /// Counts what passes this link from now on.
    #[must_use]
    pub fn new(inner: L) -> Self {
        Self { inner, received: Counter::default(), sent: Counter::default(), errors: AtomicU64::new(0) }
    }

    /// What has passed so far.
    #[must_use]
    pub fn counts(&self) -> LinkCounts {
        LinkCounts {
            messages_received: self.received.messages.load(Ordering::Relaxed),
            bytes_received: self.received.bytes.load(Ordering::Relaxed),
            messages_sent: self.sent.messages.load(Ordering::Relaxed),
            bytes_sent: self.sent.bytes.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }

    fn noted<T>(&self, result: Result<T, LinkError>) -> Result<T, LinkError> {
        if result.is_err() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

#[async_trait]
impl<L: MessageLink> MessageLink for MeteredLink<L> {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        let events = self.noted(self.inner.receive(limit).await)?;
        for event in &events {
            if let LinkEvent::Message { payload, .. } | LinkEvent::Late { payload, .. } = event {
                self.received.add(payload.len());
            }
        }
        Ok(events)
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        let lengths: Vec<usize> = messages.iter().map(|message| message.payload.len()).collect();
        self.noted(self.inner.send(messages).await)?;
        lengths.into_iter().for_each(|bytes| self.sent.add(bytes));
        Ok(())
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
        self.noted(self.inner.disconnect(device).await)
    }
}
