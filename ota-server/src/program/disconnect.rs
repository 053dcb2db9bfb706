//! Closing connections of devices at a broker elsewhere, over the interface that it has for that: MQTT has no word for it.
//!
//! What is asked is asked again while it fails, for some seconds and not for ever: a device whose connection stays gets
//! nothing but refusals, from every server.

use core::fmt::Write as _;
use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::fleet::{LinkError, LinkEvent, MessageLink, Outbound, Share};
use ota_core::text::DeviceIdBuf;
use ota_transport::mqtt::MqttLink;
use serde_json::json;
use tokio::sync::Semaphore;
use ureq::Agent;
use ureq::http::{StatusCode, header};

use super::Failure;
use super::outbound::{self, Inside};
use super::settings::{DEVICE, DisconnectMethod, DisconnectSettings};
use crate::http::chain;

/// Most devices whose connections are being closed; what comes beyond is not.
const PENDING_MAX: usize = 1024;
/// Most requests at once.
const AT_ONCE: usize = 4;
/// How often it is tried, and the first pause in between; each further one is twice as long.
const TRIES_MAX: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// A link to a broker that is asked to close connections.
pub struct DisconnectingLink {
    inner: Arc<MqttLink>,
    request: Arc<Request>,
    pending: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
}

/// What the broker is asked.
struct Request {
    agent: Agent,
    method: DisconnectMethod,
    url: String,
    authorization: Option<String>,
}

impl DisconnectingLink {
    /// Reads what the broker wants to be shown.
    ///
    /// # Errors
    /// [`Failure`] if that cannot be read.
    pub(super) fn new(inner: Arc<MqttLink>, settings: &DisconnectSettings) -> Result<Self, Failure> {
        let authorization = settings.authorization_file.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            let text = text.map(|text| text.trim().to_owned());
            let wrong = |why| Failure::caused("cannot read mqtt.disconnect_authorization_file", &why, "");
            text.map_err(wrong)
        });
        let request = Request {
            // Whoever sets the server up has said where the broker is: mostly beside it.
            agent: outbound::agent(Inside::Allow),
            method: settings.method,
            url: settings.url.clone(),
            authorization: authorization.transpose()?,
        };
        Ok(Self {
            inner,
            request: Arc::new(request),
            pending: Arc::new(Semaphore::new(PENDING_MAX)),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }
}

#[async_trait]
impl MessageLink for DisconnectingLink {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        self.inner.receive(limit).await
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        self.inner.send(messages).await
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
        let Ok(pending) = Arc::clone(&self.pending).try_acquire_owned() else {
            tracing::warn!(%device, "too many connections are being closed: this one stays");
            return Ok(false);
        };
        let (request, at_once, device) =
            (Arc::clone(&self.request), Arc::clone(&self.at_once), device.clone());
        tokio::spawn(async move {
            let _turn = at_once.acquire_owned().await;
            close(request, device).await;
            drop(pending);
        });
        Ok(true)
    }
}

/// Asks until the broker has done it, or too often.
async fn close(request: Arc<Request>, device: DeviceIdBuf) {
    let mut pause = PAUSE_FIRST;
    for attempt in 1..=TRIES_MAX {
        let asked = tokio::task::spawn_blocking({
            let (request, device) = (Arc::clone(&request), device.clone());
            move || request.send(&device)
        });
        match asked.await {
            Ok(Ok(())) => {
                tracing::info!(%device, "the broker has closed the connection");
                return;
            }
            Ok(Err(why)) => tracing::warn!(%device, why, attempt, "the broker has not closed the connection"),
            Err(_) => return,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

impl Request {
    fn send(&self, device: &DeviceIdBuf) -> Result<(), String> {
        let url = self.url.replace(DEVICE, &escaped(device));
        let answer = match self.method {
            DisconnectMethod::Delete => self.authorized(self.agent.delete(url)).call(),
            DisconnectMethod::Post => self
                .authorized(self.agent.post(url))
                .header(header::CONTENT_TYPE, "application/json")
                .send(json!({ "device": device.as_str() }).to_string()),
        };
        match answer.map_err(|why| chain(&why))?.status() {
            // A device that is not there has no connection.
            status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            status => Err(format!("it answers {status}")),
        }
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(value) => request.header(header::AUTHORIZATION, value),
            None => request,
        }
    }
}

/// An id as a part of a path (RFC 3986): what is not unreserved is written as its bytes.
fn escaped(device: &DeviceIdBuf) -> String {
    let mut path = String::new();
    for byte in device.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        let escaped = |id: &str| escaped(&DeviceIdBuf::new(id).unwrap());
        assert_eq!(escaped("lamp-1"), "lamp-1");
        assert_eq!(escaped("a?b&c=d%2F .."), "a%3Fb%26c%3Dd%252F%20..");
        assert_eq!(escaped("gerät:7"), "ger%C3%A4t%3A7");
    }
}
