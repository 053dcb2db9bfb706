//! The broker as a backend: it authenticates and carries; who may do what is decided by our authorizer.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use async_trait::async_trait;

use super::{BoxError, MessageLink};
use crate::number::Sha256Digest;
use crate::text::DeviceIdBuf;

/// Who is at the other end of a connection, as far as TLS and the credentials prove it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identity {
    /// A device.
    Device(DeviceIdBuf),
    /// One of our own servers.
    Server,
}

/// What a client presents when it connects. Its client id proves nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The common name or subject alternative name of a client certificate that was verified, if there is one.
    pub certificate: Option<String>,
    /// The SHA-256 of that certificate in its DER form: two certificates with one name are told apart by it.
    pub fingerprint: Option<Sha256Digest>,
    /// The user name, if there is one.
    pub user: Option<String>,
    /// The password, if there is one.
    pub password: Option<Vec<u8>>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub peer: Option<SocketAddr>,
}

impl core::fmt::Debug for ConnectRequest {
    /// Leaves the password out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("certificate", &self.certificate)
            .field("fingerprint", &self.fingerprint)
            .field("user", &self.user)
            .field("client_id", &self.client_id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicAction {
    /// Publish to it, as a message or as a last will.
    Publish,
    /// Publish a retained message to it.
    Retain,
    /// Subscribe to this filter.
    Subscribe,
    /// Have a message on this topic delivered, whatever it subscribed to earlier.
    Receive,
}

/// Why a client was refused; logged, and told to the client as far as MQTT can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing proves who it is.
    #[error("no valid credentials")]
    Credentials,
    /// It calls itself by another device's name.
    #[error("the client id is not the identity that was proven")]
    ForeignClientId,
    /// Its user name is not that of its certificate.
    #[error("the user name is not the identity that was proven")]
    ForeignUser,
    /// Its credentials have been revoked.
    #[error("the credentials have been revoked")]
    Revoked,
    /// Its last will lies on a topic that it may not publish to.
    #[error("the last will lies on a foreign topic")]
    LastWill,
    /// It may not do this with this topic.
    #[error("the topic is not its own")]
    Topic,
    /// It is doing too much.
    #[error("over its limits")]
    Limits,
}

/// Decides who may do what. Deny by default: what is not allowed here is forbidden.
///
/// It need not look at client ids and last wills. A broker that asks it admits a device only under the client id that
/// is its device id, and a server only under one that is no device id, since whoever comes with the same client id
/// ends the other's session; and it asks for the topic of a last will as for a message.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// Who is connecting, or why it may not. May look credentials up; a broker waits a few seconds at most.
    ///
    /// # Errors
    /// [`Refusal`].
    async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal>;

    /// Whether whoever was let in may be there still. A broker asks once more when the client can be found by
    /// [`MessageLink::disconnect`], and disconnects it if not: whoever was revoked between [`connect`](Self::connect) and
    /// that moment was not there to be disconnected.
    ///
    /// # Errors
    /// [`Refusal`].
    async fn stands(&self, identity: &Identity) -> Result<(), Refusal>;

    /// Whether this identity may do this with this topic or filter. Asked for each message: answered from memory.
    ///
    /// # Errors
    /// [`Refusal`].
    fn topic(&self, identity: &Identity, action: TopicAction, topic: &str) -> Result<(), Refusal>;
}

/// One address that a broker listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address, with the port that was really taken.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

/// A running broker.
///
/// It asks its [`Authorizer`] about everything: who comes in, what is subscribed, published, left as a last will, and,
/// once more, each message when it is delivered. What is refused is lost, and the connection goes on, for it is the
/// device's only one. Nothing is retained. A client that comes again ends its earlier connection.
/// `conformance::broker` asks a broker for all of this.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Where it listens.
    fn listeners(&self) -> Vec<Listener>;

    /// The server's link through this broker.
    fn link(&self) -> Arc<dyn MessageLink>;

    /// Closes all connections, and returns when nothing of it runs any more.
    ///
    /// # Errors
    /// What hindered it.
    async fn shutdown(&self) -> Result<(), BoxError>;
}
