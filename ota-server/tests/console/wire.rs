//! A link inside the test: what devices say comes to the server in order, and each has a queue of answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::fleet::{Dialect, LinkError, LinkEvent, MessageLink, Outbound};
use ota_core::text::DeviceIdBuf;
use tokio::sync::mpsc;

/// The server's end. Clones are the same.
#[derive(Clone)]
pub(crate) struct Wire {
    say: mpsc::UnboundedSender<LinkEvent>,
    heard: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<LinkEvent>>>,
    devices: Arc<Mutex<HashMap<DeviceIdBuf, mpsc::UnboundedSender<Bytes>>>>,
}

/// A device's end.
pub(crate) struct Connection {
    id: DeviceIdBuf,
    say: mpsc::UnboundedSender<LinkEvent>,
    answers: mpsc::UnboundedReceiver<Bytes>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let (say, heard) = mpsc::unbounded_channel();
        Self { say, heard: Arc::new(tokio::sync::Mutex::new(heard)), devices: Arc::default() }
    }

    pub(crate) fn connect(&self, id: DeviceIdBuf) -> Connection {
        let (sender, answers) = mpsc::unbounded_channel();
        self.devices.lock().unwrap().insert(id.clone(), sender);
        self.say.send(LinkEvent::Connected(id.clone())).unwrap();
        Connection { id, say: self.say.clone(), answers }
    }
}

#[async_trait]
impl MessageLink for Wire {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        let mut events = Vec::new();
        self.heard.lock().await.recv_many(&mut events, limit.max(1)).await;
        Ok(events)
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        let devices = self.devices.lock().unwrap();
        for message in messages {
            if let Some(device) = devices.get(&message.device) {
                // A device that is gone does not get it, as on every link.
                let _ = device.send(message.payload);
            }
        }
        Ok(())
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        Ok(self.devices.lock().unwrap().remove(device).is_some())
    }
}

impl Connection {
    /// Says something to the server; `None` once that is gone.
    pub(crate) fn send(&self, payload: Bytes) -> Option<()> {
        let message = LinkEvent::Message { dialect: Dialect::Native, device: self.id.clone(), payload };
        self.say.send(message).ok()
    }

    /// Waits for an answer; `None` once the connection is gone.
    pub(crate) async fn receive(&mut self) -> Option<Bytes> {
        self.answers.recv().await
    }
}
