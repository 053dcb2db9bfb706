//! The front door: every client comes in here, is counted, shows its certificate, and is then carried to rmqtt.
//!
//! What rmqtt keeps to itself is done here: the device's socket (no delay in either direction), TLS, the size and rate
//! of what is not parsed yet, and closing a connection at once. See `docs/decisions/embedded-broker.md`.

mod addresses;
mod meter;
mod pipe;
mod socket;

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use self::addresses::{AddressAllowance, Addresses, Visit};
use self::meter::{Allowance, Meter, Next};
use self::pipe::{PipeError, carry};
use self::socket::DeviceSocket;
use super::clients::{Client, Clients};
use super::config::BrokerLimits;
use super::tls::{CurrentTls, proven};

/// How long to wait before accepting again after it failed, which it does when file descriptors are used up.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long what was sent last may take to leave, once either end has closed.
const LINGER: Duration = Duration::from_secs(2);

pub(super) struct Door {
    /// Where rmqtt listens.
    inner: SocketAddr,
    clients: Arc<Clients>,
    slots: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    allowance: Allowance,
    handshake_timeout: Duration,
    sources: Sources,
}

/// What a connection holds while it lasts.
struct Place {
    _slot: OwnedSemaphorePermit,
    _visit: Visit,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the socket cannot be used: {0}")]
    Socket(#[source] io::Error),
    #[error("TLS failed: {0}")]
    Tls(#[source] io::Error),
    #[error("TLS took too long")]
    TlsTimeout,
    #[error("its certificate holds no clear name")]
    Nameless,
    #[error("the broker inside cannot be reached: {0}")]
    Inside(#[source] io::Error),
    #[error("{0}")]
    Cut(&'static str),
    #[error(transparent)]
    Pipe(#[from] PipeError),
    #[error("it was not let in")]
    NotAdmitted,
    #[error("no CONNECT in time")]
    Silent,
}

impl Door {
    pub(super) fn new(inner: SocketAddr, clients: Arc<Clients>, limits: &BrokerLimits) -> Arc<Self> {
        Arc::new(Self {
            inner,
            clients,
            slots: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            addresses: Addresses::new(AddressAllowance {
                connections: limits.connections_per_address,
                connects_per_second: limits.connects_per_second_per_address,
                burst: limits.connect_burst_per_address,
            }),
            allowance: Allowance {
                first_packet_bytes: limits.connect_packet_bytes,
                packet_bytes: limits.packet_bytes,
                packets_per_second: limits.packets_per_second,
                bytes_per_second: limits.bytes_per_second,
            },
            handshake_timeout: limits.handshake_timeout,
            sources: Sources::default(),
        })
    }

    /// Lets clients in until the task is aborted.
    pub(super) async fn listen(self: Arc<Self>, listener: TcpListener, tls: Option<Arc<CurrentTls>>) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(place) = self.place(peer) else { continue };
                    let door = Arc::clone(&self);
                    let tls = tls.as_ref().map(|tls| TlsAcceptor::from(tls.get()));
                    tokio::spawn(async move {
                        match door.serve(stream, peer, tls).await {
                            Ok(()) => tracing::debug!(%peer, "connection closed"),
                            Err((client, why)) => {
                                let client = client.as_ref().and_then(|client| client.admitted());
                                tracing::warn!(%peer, client, reason = %why, "connection ended");
                            }
                        }
                        drop(place);
                    });
                }
                Err(why) => {
                    tracing::error!(reason = %why, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Room for one more, or none: then the connection is closed without a word.
    fn place(&self, peer: SocketAddr) -> Option<Place> {
        let visit = match self.addresses.admit(peer.ip(), Instant::now()) {
            Ok(visit) => visit,
            Err(why) => {
                tracing::warn!(%peer, reason = %why, "connection refused");
                return None;
            }
        };
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => Some(Place { _slot: slot, _visit: visit }),
            Err(_) => {
                tracing::warn!(%peer, reason = "too many connections", "connection refused");
                None
            }
        }
    }

    async fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> Result<(), (Option<Arc<Client>>, Ended)> {
        let before = |why| (None, why);
        let socket = DeviceSocket::new(stream).map_err(|why| before(Ended::Socket(why)))?;
        let Some(tls) = tls else {
            return self.carry(socket, Client::new(peer, None)).await;
        };
        let stream = timeout(self.handshake_timeout, tls.accept(socket))
            .await
            .map_err(|_| before(Ended::TlsTimeout))?
            .map_err(|why| before(Ended::Tls(why)))?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let proven = match certificate {
            // A certificate was shown and is good, so it counts: without a name in it, nothing else does either.
            Some(certificate) => Some(proven(certificate).ok_or_else(|| before(Ended::Nameless))?),
            None => None,
        };
        self.carry(stream, Client::new(peer, proven)).await
    }

    /// Carries a client's bytes to rmqtt and back until either closes.
    async fn carry(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        client: Arc<Client>,
    ) -> Result<(), (Option<Arc<Client>>, Ended)> {
        let result = self.pipe(stream, &client).await;
        match result {
            Ok(()) if client.admitted().is_none() => Err((Some(client), Ended::NotAdmitted)),
            // That a device's connection breaks is daily business.
            Ok(()) | Err(Ended::Pipe(PipeError::Stream(_))) => Ok(()),
            Err(why) => Err((Some(client), why)),
        }
    }

    async fn pipe(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        client: &Arc<Client>,
    ) -> Result<(), Ended> {
        let socket = TcpSocket::new_v4().map_err(Ended::Inside)?;
        socket.bind(self.sources.next()).map_err(Ended::Inside)?;
        let source = socket.local_addr().map_err(Ended::Inside)?;
        // Left before the device sees the end of the connection: it may be back at once, and must not meet itself.
        let entered = self.clients.enter(source, Arc::clone(client));
        let mut inside = socket.connect(self.inner).await.map_err(Ended::Inside)?;
        inside.set_nodelay(true).map_err(Ended::Inside)?;

        let (mut from_device, mut to_device) = tokio::io::split(stream);
        let (mut from_inside, mut to_inside) = inside.split();
        let mut meter = Meter::new(self.allowance, Instant::now());
        let up = carry(&mut from_device, &mut to_inside, |part| meter.count(part, Instant::now()));
        let down = carry(&mut from_inside, &mut to_device, |_| Ok(Next::GoOn(Duration::ZERO)));
        tokio::pin!(up, down);
        tokio::select! {
            why = client.was_cut() => {
                drop(entered);
                Err(Ended::Cut(why))
            }
            // rmqtt waits for the first byte for ever.
            () = not_admitted_within(client, self.handshake_timeout) => Err(Ended::Silent),
            result = &mut down => {
                drop(entered);
                Ok(result?)
            }
            result = &mut up => {
                result?;
                drop(entered);
                // The device has closed or said goodbye: what rmqtt still says to it does not matter, but rmqtt has to see
                // the end.
                let _ = timeout(LINGER, down).await;
                Ok(())
            }
        }
    }
}

/// Returns when the time is over, unless the client was let in by then.
async fn not_admitted_within(client: &Client, time: Duration) {
    tokio::time::sleep(time).await;
    if client.admitted().is_some() {
        core::future::pending::<()>().await;
    }
}

/// Addresses to connect to rmqtt from. One address has less than 30,000 free ports, so on Linux, where all of
/// 127.0.0.0/8 is the loopback interface, they are taken in turn.
#[derive(Default)]
struct Sources(AtomicU32);

impl Sources {
    fn next(&self) -> SocketAddr {
        let turn = self.0.fetch_add(1, Ordering::Relaxed) % 8;
        let address = if cfg!(target_os = "linux") {
            Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + turn)
        } else {
            Ipv4Addr::LOCALHOST
        };
        SocketAddr::from((address, 0))
    }
}
