//! Who is at the other end of each connection, from the first byte on.
//!
//! The front door proves who somebody is, and rmqtt behind it only sees a connection from the loopback interface. The
//! address of that connection is the key: the door enters it here before it connects, and nobody who is not entered
//! gets in.

use core::net::SocketAddr;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ota_core::number::Sha256Digest;
use tokio::sync::Notify;

/// One connection.
pub(super) struct Client {
    /// Where it really comes from.
    pub(super) peer: SocketAddr,
    /// Its verified certificate.
    pub(super) certificate: Option<Proven>,
    /// The name under which it was let in, for the log.
    admitted: OnceLock<String>,
    cut: Notify,
    cut_why: OnceLock<&'static str>,
}

/// What a verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proven {
    /// The name in it.
    pub(super) name: String,
    /// The SHA-256 of all of it.
    pub(super) fingerprint: Sha256Digest,
}

impl Client {
    pub(super) fn new(peer: SocketAddr, certificate: Option<Proven>) -> Arc<Self> {
        Arc::new(Self {
            peer,
            certificate,
            admitted: OnceLock::new(),
            cut: Notify::new(),
            cut_why: OnceLock::new(),
        })
    }

    /// Closes the connection at once, whatever is going on in it.
    pub(super) fn cut(&self, why: &'static str) {
        // The first reason stands.
        let _ = self.cut_why.set(why);
        self.cut.notify_one();
    }

    /// Waits until it is [`cut`](Self::cut), and says why.
    pub(super) async fn was_cut(&self) -> &'static str {
        self.cut.notified().await;
        self.cut_why.get().copied().unwrap_or("closed")
    }

    pub(super) fn admit(&self, name: &str) {
        let _ = self.admitted.set(name.to_owned());
    }

    /// The name under which it was let in, if it was.
    pub(super) fn admitted(&self) -> Option<&str> {
        self.admitted.get().map(String::as_str)
    }
}

/// All connections, by the address that rmqtt sees.
#[derive(Default)]
pub(super) struct Clients {
    by_source: Mutex<HashMap<SocketAddr, Arc<Client>>>,
}

/// A connection's entry, until it is dropped.
pub(super) struct Entered {
    source: SocketAddr,
    clients: Arc<Clients>,
}

impl Clients {
    pub(super) fn enter(self: &Arc<Self>, source: SocketAddr, client: Arc<Client>) -> Entered {
        self.lock().insert(source, client);
        Entered { source, clients: Arc::clone(self) }
    }

    pub(super) fn find(&self, source: Option<SocketAddr>) -> Option<Arc<Client>> {
        self.lock().get(&source?).map(Arc::clone)
    }

    pub(super) fn cut_all(&self, why: &'static str) {
        self.lock().values().for_each(|client| client.cut(why));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Client>>> {
        // Nothing panics while it is held.
        self.by_source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.source);
    }
}
