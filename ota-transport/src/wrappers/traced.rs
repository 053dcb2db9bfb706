//! A link that tells what passes.

use async_trait::async_trait;
use ota_core::fleet::{LinkError, LinkEvent, MessageLink, Outbound, Share};
use ota_core::text::DeviceIdBuf;

/// Tells of each message and each connection by `tracing`, as traces: who, in which protocol, how many bytes. What is in
/// the messages it keeps to itself: grants are among it.
#[derive(Debug)]
pub struct TracedLink<L> {
    inner: L,
}

impl<L> TracedLink<L> {
    /// Tells what passes this link from now on.
    #[must_use]
    pub const fn new(inner: L) -> Self {
        Self { inner }
    }
}

fn failed<T>(result: Result<T, LinkError>) -> Result<T, LinkError> {
    result.inspect_err(|why| tracing::trace!(reason = %why.source, "link failed"))
}

#[async_trait]
impl<L: MessageLink> MessageLink for TracedLink<L> {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        let events = failed(self.inner.receive(limit).await)?;
        for event in &events {
            match event {
                LinkEvent::Message { dialect, device, payload } => {
                    tracing::trace!(device = device.as_str(), ?dialect, bytes = payload.len(), "received");
                }
                LinkEvent::Late { dialect, device, payload } => {
                    tracing::trace!(
                        device = device.as_str(),
                        ?dialect,
                        bytes = payload.len(),
                        "received late"
                    );
                }
                LinkEvent::Connected(device) => {
                    tracing::trace!(device = device.as_str(), "connected");
                }
                LinkEvent::Disconnected(device) => {
                    tracing::trace!(device = device.as_str(), "disconnected");
                }
                other => tracing::trace!(event = ?other, "received"),
            }
        }
        Ok(events)
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        for Outbound { dialect, device, payload } in &messages {
            tracing::trace!(device = device.as_str(), ?dialect, bytes = payload.len(), "sent");
        }
        failed(self.inner.send(messages).await)
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        let could = failed(self.inner.disconnect(device).await)?;
        tracing::trace!(device = device.as_str(), could, "disconnect");
        Ok(could)
    }

    fn connection(&self) -> u64 {
        self.inner.connection()
    }

    fn is_taken_in_turns(&self) -> bool {
        self.inner.is_taken_in_turns()
    }

    fn share(&self, share: Share) {
        tracing::trace!(?share, "share");
        self.inner.share(share);
    }
}
