//! The embedded broker: MQTT 3.1.1 and 5 for a fleet, inside the server's process.
//!
//! It is [`rmqtt`] behind a front door of our own. The door terminates TLS, reads the identity from the certificate,
//! limits what comes in, and keeps the devices' sockets free of delays; rmqtt keeps sessions and routes messages; each of
//! its questions is answered by the [`Authorizer`]. The server takes part through a link inside the process, without
//! any MQTT in between.
//!
//! Deny by default. A device is admitted under its own id only, publishes on its own topics, reads its own, and nothing
//! is retained: a retained message is refused, last wills included.
//!
//! What it refuses to do: retained messages, clusters, WebSockets. Several servers connect to a broker of their own, or
//! to this one by MQTT under a server's name.
//!
//! ```no_run
//! use std::sync::Arc;
//! use ota_core::fleet::{Broker, TopicRules};
//! use ota_core::wire::topic::TopicPrefix;
//! use ota_transport::broker::{BrokerConfig, DeviceAuthorizer, EmbeddedBroker, ListenOn};
//!
//! # async fn run(tls: Arc<rustls::ServerConfig>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let authorizer = DeviceAuthorizer::new(TopicRules::new(TopicPrefix::DEFAULT));
//! let listeners = vec![ListenOn { address: ([0, 0, 0, 0], 8883).into(), tls: Some(tls) }];
//! let config = BrokerConfig { listeners, ..BrokerConfig::default() };
//! let broker = EmbeddedBroker::start(config, Arc::new(authorizer)).await?;
//! let link = broker.link();
//! for event in link.receive(100).await? {
//!     println!("{event:?}");
//! }
//! broker.shutdown().await?;
//! # Ok(())
//! # }
//! ```

mod authorizer;
mod clients;
mod config;
mod door;
mod hooks;
mod link;
mod shared;
mod tls;

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ota_core::fleet::{Authorizer, BoxError, Broker, Listener, MessageLink, TopicRules};
use rmqtt::context::ServerContext;
use rmqtt::net::Builder;
use rmqtt::router::DefaultRouter;
use rmqtt::server::MqttServer;
use rmqtt::shared::DefaultShared;
use rmqtt::types::Id;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::runtime::{self, Handle, Runtime};

pub use self::authorizer::{DeviceAuthorizer, NoPasswords, Passwords, ServerNameError};
pub use self::config::{BrokerConfig, BrokerLimits, ListenOn};
pub use self::tls::{Authorities, ClientCertificates, TlsError, TlsMaterial, server_config};

use self::clients::Clients;
use self::door::Door;
use self::hooks::Hooks;
use self::link::{InProcessLink, Queued};
use self::shared::TakeTurns;
use self::tls::CurrentTls;

/// Names the only listener that rmqtt has.
const INNER_LISTENER: u16 = 1;
/// What the link's messages say they come from. It is no device id.
const LINK_CLIENT_ID: &str = "ota/link";
/// How long devices have to go when the broker is shut down.
const GOODBYE: Duration = Duration::from_secs(3);
/// File descriptors that the process needs for everything else.
const DESCRIPTORS_SPARE: usize = 64;
/// The device's socket, and both ends of the connection to rmqtt.
const DESCRIPTORS_PER_CONNECTION: usize = 3;

/// The broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It has no threads to run on.
    #[error("cannot start the broker's threads")]
    Threads(#[source] io::Error),
    /// rmqtt cannot be set up.
    #[error("cannot start the broker inside: {0}")]
    Inside(String),
}

/// A running broker. It has threads of its own; dropping it ends it without a goodbye.
pub struct EmbeddedBroker {
    listeners: Vec<Listener>,
    tls: Vec<Option<Arc<CurrentTls>>>,
    link: Arc<InProcessLink>,
    clients: Arc<Clients>,
    context: ServerContext,
    runtime: Mutex<Option<Runtime>>,
}

impl EmbeddedBroker {
    /// Starts listening.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: BrokerConfig, authorizer: Arc<dyn Authorizer>) -> Result<Self, StartError> {
        // rmqtt starts tasks that it never ends: a runtime of its own is how nothing of it runs any more.
        let mut threads = runtime::Builder::new_multi_thread();
        if let Some(count) = config.threads {
            threads.worker_threads(count.max(1));
        }
        let runtime = threads.thread_name("ota-broker").enable_all().build().map_err(StartError::Threads)?;
        let setting_up = runtime.spawn(set_up(config, authorizer, runtime.handle().clone()));
        match setting_up.await {
            Ok(Ok(parts)) => {
                let Parts { listeners, tls, link, clients, context, inside } = parts;
                tracing::debug!(%inside, ?listeners, "the broker has started");
                Ok(Self { listeners, tls, link, clients, context, runtime: Mutex::new(Some(runtime)) })
            }
            Ok(Err(why)) => {
                runtime.shutdown_background();
                Err(why)
            }
            Err(why) => {
                runtime.shutdown_background();
                Err(StartError::Inside(why.to_string()))
            }
        }
    }

    /// Shows another certificate, and believes other authorities, from the next connection on: for certificates that
    /// are renewed while the broker runs. Connections that are there stay as they are. Listeners without TLS stay
    /// without.
    pub fn renew_tls(&self, tls: &Arc<ServerConfig>) {
        self.tls.iter().flatten().for_each(|current| current.set(Arc::clone(tls)));
    }

    /// Messages from the server to connected devices that were dropped, since the start: the device was not subscribed,
    /// had too much waiting, or takes only smaller packets.
    #[must_use]
    pub fn messages_dropped(&self) -> u64 {
        self.link.dropped()
    }
}

struct Parts {
    listeners: Vec<Listener>,
    tls: Vec<Option<Arc<CurrentTls>>>,
    link: Arc<InProcessLink>,
    clients: Arc<Clients>,
    context: ServerContext,
    inside: SocketAddr,
}

async fn set_up(
    config: BrokerConfig,
    authorizer: Arc<dyn Authorizer>,
    runtime: Handle,
) -> Result<Parts, StartError> {
    let mut limits = config.limits.clone();
    limits.connections = limits.connections.min(connections_possible());
    if limits.connections < config.limits.connections {
        tracing::warn!(
            connections = limits.connections,
            wanted = config.limits.connections,
            "fewer connections than configured: the process may open too few files"
        );
    }

    // The busy check answers bursts of connects with refusals; the door has limits that are known beforehand.
    let context = ServerContext::new().busy_check_enable(false).build().await;
    *context.extends.shared_subscription_mut().await = Box::new(TakeTurns::default());
    let clients = Arc::new(Clients::default());
    let id = Id::new(context.node.id(), INNER_LISTENER, None, None, LINK_CLIENT_ID.into(), None);
    let rules = TopicRules::new(config.prefix.borrow());
    let queue_max = Queued { messages: limits.queued_messages.max(1), bytes: limits.queued_bytes };
    let link = Arc::new(InProcessLink::new(rules, limits.events, queue_max, id, runtime));
    let hooks = Hooks {
        context: context.clone(),
        authorizer,
        clients: Arc::clone(&clients),
        link: Arc::clone(&link),
        connect_timeout: limits.handshake_timeout,
    };
    hooks.register().await;

    let inner = listen_inside(&limits).map_err(|why| StartError::Inside(why.to_string()))?;
    let inside = inner.local_addr().map_err(|why| StartError::Inside(why.to_string()))?;
    let server = MqttServer::new(context.clone()).listener_by_id(inner, INNER_LISTENER).build();
    tokio::spawn(server.run());

    let door = Door::new(inside, Arc::clone(&clients), &limits);
    let (mut listeners, mut all_tls) = (Vec::new(), Vec::new());
    for wanted in config.listeners {
        let failed = |source| StartError::Listen { address: wanted.address, source };
        let listener = TcpListener::bind(wanted.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        listeners.push(Listener { address, tls: wanted.tls.is_some() });
        let tls = wanted.tls.map(|tls| Arc::new(CurrentTls::new(tls)));
        tokio::spawn(Arc::clone(&door).listen(listener, tls.clone()));
        all_tls.push(tls);
    }
    Ok(Parts { listeners, tls: all_tls, link, clients, context, inside })
}

/// rmqtt's own listener, on the loopback interface and a free port, for the door alone.
fn listen_inside(limits: &BrokerLimits) -> rmqtt::net::Result<rmqtt::net::Listener> {
    Builder::new()
        .name("inside")
        .laddr((Ipv4Addr::LOCALHOST, 0).into())
        .backlog(4096)
        .nodelay(true)
        .allow_anonymous(false)
        .max_connections(limits.connections)
        .max_handshaking_limit(limits.connections)
        .max_packet_size(limits.packet_bytes)
        .handshake_timeout(limits.handshake_timeout)
        .send_timeout(limits.send_timeout)
        .max_inflight(limits.in_flight)
        // The link keeps to the limit itself; what others send to the client has as much room.
        .max_mqueue_len(limits.queued_messages.saturating_mul(2))
        .max_clientid_len(256)
        .max_topic_levels(limits.topic_levels)
        .max_subscriptions(limits.subscriptions)
        .session_expiry_interval(limits.session_expiry)
        .max_session_expiry_interval(limits.session_expiry)
        .bind()?
        .tcp()
}

/// How many connections the process has file descriptors for, where that can be told.
fn connections_possible() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    soft.map_or(usize::MAX, |soft| soft.saturating_sub(DESCRIPTORS_SPARE) / DESCRIPTORS_PER_CONNECTION)
}

#[async_trait]
impl Broker for EmbeddedBroker {
    fn listeners(&self) -> Vec<Listener> {
        self.listeners.clone()
    }

    fn link(&self) -> Arc<dyn MessageLink> {
        Arc::clone(&self.link) as Arc<dyn MessageLink>
    }

    async fn shutdown(&self) -> Result<(), BoxError> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(runtime) = runtime else { return Ok(()) };
        self.clients.cut_all("the broker is shut down");
        let clients = Arc::clone(&self.clients);
        let context = self.context.clone();
        let goodbye = runtime.spawn(async move {
            while !clients.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // rmqtt's parts hold on to each other; this lets go of them.
            *context.extends.shared_mut().await = Box::new(DefaultShared::new(None));
            *context.extends.router_mut().await = Box::new(DefaultRouter::new(None));
        });
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        self.link.close();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(GOODBYE)).await?;
        Ok(())
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            self.link.close();
            // A runtime must not be waited for where tasks run.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
