//! A link inside one process: both ends are objects, queues are bounded, nothing is lost by the link itself.
//!
//! It behaves as a broker does: a second connection of a device ends the first, what is sent to a device that is not
//! there is dropped, and a server that does not receive holds its devices back.

pub(crate) mod queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::fleet::{Dialect, LinkError, LinkEvent, MessageLink, Outbound};
use ota_core::text::DeviceIdBuf;

use self::queue::Queue;

/// The server's end; devices come from [`connect`](Self::connect). Clones are the same link.
#[derive(Clone)]
pub struct MemoryLink {
    shared: Arc<Shared>,
}

struct Shared {
    events: Queue<LinkEvent>,
    inbox_capacity: usize,
    devices: Mutex<Devices>,
}

#[derive(Default)]
struct Devices {
    connections: u64,
    connected: HashMap<DeviceIdBuf, Connection>,
    closed: bool,
}

struct Connection {
    /// Tells it from earlier and later ones of the same device.
    number: u64,
    inbox: Arc<Queue<(Dialect, Bytes)>>,
}

/// How much waits in a [`MemoryLink`] before its senders have to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLinkLimits {
    /// Messages and connections that the server has not received yet.
    pub events: usize,
    /// Messages that one device has not received yet.
    pub inbox: usize,
}

impl Default for MemoryLinkLimits {
    fn default() -> Self {
        Self { events: 1024, inbox: 128 }
    }
}

/// A device's end. Dropping it disconnects.
pub struct MemoryDevice {
    id: DeviceIdBuf,
    number: u64,
    inbox: Arc<Queue<(Dialect, Bytes)>>,
    shared: Arc<Shared>,
}

/// The connection is gone: closed by the server, or taken over by a newer one of the same device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is gone")]
pub struct Disconnected;

impl MemoryLink {
    /// A link without devices.
    #[must_use]
    pub fn new(limits: MemoryLinkLimits) -> Self {
        let events = Queue::new(limits.events.max(1));
        let inbox_capacity = limits.inbox.max(1);
        Self { shared: Arc::new(Shared { events, inbox_capacity, devices: Mutex::default() }) }
    }

    /// Connects a device, ending an earlier connection of it. Waits while the server has too much to receive.
    ///
    /// # Errors
    /// [`Disconnected`] once the link is closed.
    pub async fn connect(&self, device: DeviceIdBuf) -> Result<MemoryDevice, Disconnected> {
        let inbox = Arc::new(Queue::new(self.shared.inbox_capacity));
        let number = {
            let mut devices = self.shared.devices();
            if devices.closed {
                return Err(Disconnected);
            }
            devices.connections += 1;
            let number = devices.connections;
            let connection = Connection { number, inbox: Arc::clone(&inbox) };
            if let Some(earlier) = devices.connected.insert(device.clone(), connection) {
                earlier.inbox.close();
                // Only a closed link refuses this.
                let _ = self.shared.events.put_over(LinkEvent::Disconnected(device.clone()));
            }
            number
        };
        let connected = MemoryDevice { id: device.clone(), number, inbox, shared: Arc::clone(&self.shared) };
        self.shared.events.put(LinkEvent::Connected(device)).await.map_err(|_| Disconnected)?;
        Ok(connected)
    }

    /// Ends the link: devices are disconnected, and the server receives what is still there, then nothing.
    pub fn close(&self) {
        let mut devices = self.shared.devices();
        devices.closed = true;
        for (device, connection) in devices.connected.drain() {
            connection.inbox.close();
            let _ = self.shared.events.put_over(LinkEvent::Disconnected(device));
        }
        self.shared.events.close();
    }
}

impl Shared {
    fn devices(&self) -> MutexGuard<'_, Devices> {
        // Nothing panics while it is held.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection of a device (any, or only this one) and says whether there was one.
    fn disconnect(&self, device: &DeviceIdBuf, number: Option<u64>) -> bool {
        let mut devices = self.devices();
        let found =
            devices.connected.get(device).is_some_and(|it| number.is_none_or(|wanted| wanted == it.number));
        if found && let Some(connection) = devices.connected.remove(device) {
            connection.inbox.close();
            let _ = self.events.put_over(LinkEvent::Disconnected(device.clone()));
        }
        found
    }
}

#[async_trait]
impl MessageLink for MemoryLink {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        Ok(self.shared.events.take(limit.max(1)).await)
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        for message in messages {
            let inbox = self.shared.devices().connected.get(&message.device).map(|it| Arc::clone(&it.inbox));
            if let Some(inbox) = inbox {
                // A device that goes away meanwhile does not get it, as on every link.
                let _ = inbox.put((message.dialect, message.payload)).await;
            }
        }
        Ok(())
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        Ok(self.shared.disconnect(device, None))
    }
}

impl MemoryDevice {
    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> &DeviceIdBuf {
        &self.id
    }

    /// Says something to the server, as soon as there is room. Dropping the future sends it or does not.
    ///
    /// # Errors
    /// [`Disconnected`]; it was not sent.
    pub async fn send(&self, dialect: Dialect, payload: Bytes) -> Result<(), Disconnected> {
        let is_current =
            self.shared.devices().connected.get(&self.id).is_some_and(|it| it.number == self.number);
        if !is_current {
            return Err(Disconnected);
        }
        let message = LinkEvent::Message { dialect, device: self.id.clone(), payload };
        self.shared.events.put(message).await.map_err(|_| Disconnected)
    }

    /// Waits for a message; `None` once the connection is gone and everything was received. Dropping the future
    /// loses nothing.
    pub async fn receive(&self) -> Option<(Dialect, Bytes)> {
        self.inbox.take(1).await.pop()
    }
}

impl Drop for MemoryDevice {
    fn drop(&mut self) {
        self.shared.disconnect(&self.id, Some(self.number));
    }
}
