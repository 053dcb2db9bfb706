//! The device's one connection: MQTT over TLS, with the device's own certificate, made again after it broke.
//!
//! Certificates are read anew each time, from the files that are active at that moment: that is how a new certificate
//! is put to the test.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ota_core::time::Instant;
use ota_transport::session::{Event, Quality, Session, SessionConfig, SessionError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// First and longest pause before a connection that broke is made again.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// How long the broker may take to accept the connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where the files of the device's identity lie.
#[derive(Debug, Clone)]
pub(crate) struct IdentityFiles {
    /// The authorities that the broker's certificate may come from.
    pub(crate) authority: PathBuf,
    /// The device's certificate.
    pub(crate) certificate: PathBuf,
    /// Its private key, which never leaves the device.
    pub(crate) key: PathBuf,
}

/// The connection to the broker.
pub(crate) struct Connection {
    broker: SocketAddr,
    files: IdentityFiles,
    client_id: String,
    filter: String,
    state: State,
    pause: Duration,
}

enum State {
    /// Nothing is done before this time.
    Pausing(Duration),
    Open {
        stream: Box<StreamOwned<ClientConnection, TcpStream>>,
        session: Box<Session>,
        is_ready: bool,
    },
}

/// What the device must know about.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Messages can be sent, and the subscription is granted.
    Up,
    /// Messages cannot be sent any more, or could not be sent this time either.
    Down(Failure),
    /// A message from the server came.
    Message(Bytes),
    /// Something was done that concerns nobody else; there may be more to do.
    Progress,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no socket: {0}")]
    Socket(#[from] io::Error),
    #[error("{path}: {source}", path = .path.display())]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("{}", with_source(.0))]
    Session(#[from] SessionError),
    #[error("the broker refused the subscription")]
    Subscription,
}

impl Connection {
    /// A connection that the first [`step`](Self::step) makes, and that then subscribes to this topic.
    pub(crate) fn new(broker: SocketAddr, files: IdentityFiles, client_id: &str, filter: String) -> Self {
        let state = State::Pausing(Duration::ZERO);
        Self { broker, files, client_id: client_id.to_owned(), filter, state, pause: PAUSE_FIRST }
    }

    /// Sends a message if there is a connection. What does not get through is asked for again.
    pub(crate) fn publish(&mut self, topic: &str, message: &[u8]) {
        if let State::Open { session, is_ready: true, .. } = &mut self.state {
            drop(session.publish(topic, message, Quality::AtMostOnce));
        }
    }

    /// Lets go of the connection without a goodbye, and makes it again at once, with the files that are active then.
    pub(crate) fn drop_now(&mut self, now: Duration) {
        self.state = State::Pausing(now);
        self.pause = PAUSE_FIRST;
    }

    /// Moves bytes without waiting; `None` when there is nothing to do right now.
    pub(crate) fn step(&mut self, now: Duration) -> Option<Notice> {
        let done = match &self.state {
            State::Pausing(until) if *until > now => return None,
            State::Pausing(_) => self.open(now).map(|()| Some(Notice::Progress)),
            State::Open { .. } => self.next(now),
        };
        done.unwrap_or_else(|failure| {
            self.state = State::Pausing(now + self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
            Some(Notice::Down(failure))
        })
    }

    /// Waits until there is something to do, or until this time.
    pub(crate) fn wait(&self, until: Duration, now: Duration) {
        let (until, fds) = match &self.state {
            State::Pausing(end) => (until.min(*end), None),
            State::Open { stream, session, .. } => {
                let mut flags = PollFlags::IN;
                flags.set(PollFlags::OUT, session.wants_write() || stream.conn.wants_write());
                let wake = Duration::from_millis(session.wake_at().0);
                (until.min(wake), Some(PollFd::new(&stream.sock, flags)))
            }
        };
        // A time that does not fit ends the wait early, which is harmless: the loop looks again.
        if let Ok(span) = Timespec::try_from(until.saturating_sub(now)) {
            let _ = poll(&mut Vec::from_iter(fds), Some(&span));
        }
    }

    fn open(&mut self, now: Duration) -> Result<(), Failure> {
        let name = ServerName::IpAddress(self.broker.ip().into());
        let tls = ClientConnection::new(Arc::new(self.files.config()?), name)?;
        let socket = TcpStream::connect_timeout(&self.broker, CONNECT_WITHIN)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let session = Session::new(SessionConfig::new(self.client_id.as_str()), milliseconds(now))?;
        self.state = State::Open {
            stream: Box::new(StreamOwned::new(tls, socket)),
            session: Box::new(session),
            is_ready: false,
        };
        Ok(())
    }

    fn next(&mut self, now: Duration) -> Result<Option<Notice>, Failure> {
        let State::Open { stream, session, is_ready } = &mut self.state else { return Ok(None) };
        match session.poll(&mut **stream, milliseconds(now))? {
            Some(Event::Connected { .. }) => {
                session.subscribe(&self.filter, Quality::AtMostOnce)?;
            }
            Some(Event::Subscribed(_)) => {
                *is_ready = true;
                self.pause = PAUSE_FIRST;
                return Ok(Some(Notice::Up));
            }
            Some(Event::SubscriptionRefused(_)) => return Err(Failure::Subscription),
            Some(Event::Message { payload, .. }) => return Ok(Some(Notice::Message(payload))),
            Some(_) => {}
            None => return Ok(None),
        }
        Ok(Some(Notice::Progress))
    }
}

impl IdentityFiles {
    fn config(&self) -> Result<ClientConfig, Failure> {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&self.authority)? {
            roots.add(authority)?;
        }
        let chain = certificates(&self.certificate)?;
        let failed = |source| Failure::Pem { path: self.key.clone(), source };
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(failed)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.with_root_certificates(roots).with_client_auth_cert(chain, key)?)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let failed = |source| Failure::Pem { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// The time as the engine and the session count it.
pub(crate) fn milliseconds(now: Duration) -> Instant {
    Instant(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// The error and what is behind it, for a person.
fn with_source(error: &SessionError) -> String {
    match core::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
