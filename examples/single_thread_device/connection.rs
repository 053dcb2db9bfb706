//! The one connection to the broker: opened without waiting, kept, and opened again with growing pauses.
//!
//! Nothing in here blocks but [`Connection::wait`], which ends as soon as there is something to do.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::TcpStream;

use bytes::Bytes;
use ota_core::time::Instant;
use ota_transport::session::{Event, PacketId, Quality, Session, SessionConfig, SessionError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};

/// First and longest pause before a broken connection is opened again.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The one connection to the broker.
#[derive(Debug)]
pub(crate) struct Connection {
    broker: SocketAddr,
    client_id: String,
    filters: Vec<(String, Quality)>,
    state: State,
    pause: Duration,
    figures: Figures,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    /// How often the broker has accepted the device.
    pub(crate) connections: u32,
    /// How often it has granted a subscription.
    pub(crate) subscriptions: u32,
}

#[derive(Debug)]
enum State {
    /// Nothing is done before this time.
    Pausing(Duration),
    Open {
        stream: TcpStream,
        session: Box<Session>,
        /// Subscriptions that the broker has not granted yet.
        asked: Vec<PacketId>,
        is_ready: bool,
    },
}

/// What the loop must know about.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Messages can be sent, and all subscriptions are granted.
    Up,
    /// Messages cannot be sent any more, or could not be sent this time either.
    Down(Failure),
    /// A message came.
    Message { topic: String, payload: Bytes },
    /// Something was done that concerns nobody else; there may be more to do.
    Progress,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no socket: {0}")]
    Socket(#[from] io::Error),
    #[error("{}", with_source(.0))]
    Session(#[from] SessionError),
    #[error("the broker refused a subscription")]
    Subscription,
}

impl Connection {
    /// A connection that is opened by the first [`step`](Self::step), and then subscribes to these topics.
    pub(crate) fn new(broker: SocketAddr, client_id: &str, filters: Vec<(String, Quality)>) -> Self {
        let state = State::Pausing(Duration::ZERO);
        let client_id = client_id.to_owned();
        Self { broker, client_id, filters, state, pause: PAUSE_FIRST, figures: Figures::default() }
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The session, while messages can be sent.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Open { session, is_ready: true, .. } => Some(session),
            _ => None,
        }
    }

    /// Moves bytes without waiting; `None` when there is nothing to do right now.
    pub(crate) fn step(&mut self, now: Duration) -> Option<Notice> {
        let done = match &self.state {
            State::Pausing(until) if *until > now => return None,
            State::Pausing(_) => self.open(now).map(|()| Some(Notice::Progress)),
            State::Open { .. } => self.next(now),
        };
        done.unwrap_or_else(|failure| {
            self.state = State::Pausing(now + self.next_pause());
            Some(Notice::Down(failure))
        })
    }

    /// Waits until the stream has something to do, or until this time.
    pub(crate) fn wait(&self, until: Duration, now: Duration) {
        let (until, fds) = match &self.state {
            State::Pausing(end) => (until.min(*end), None),
            State::Open { stream, session, .. } => {
                let mut flags = PollFlags::IN;
                flags.set(PollFlags::OUT, session.wants_write());
                let wake = Duration::from_millis(session.wake_at().0);
                (until.min(wake), Some(PollFd::new(stream, flags)))
            }
        };
        // A signal or a time that does not fit ends the wait early, which is harmless: the loop looks again.
        if let Ok(span) = Timespec::try_from(until.saturating_sub(now)) {
            let _ = poll(&mut Vec::from_iter(fds), Some(&span));
        }
    }

    /// Says goodbye and moves what is still to be moved; nothing more can be sent afterwards.
    pub(crate) fn close(&mut self, now: impl Fn() -> Duration) {
        let give_up = now() + Duration::from_secs(1);
        if self.session().is_some_and(|session| session.disconnect().is_err()) {
            return;
        }
        while self.session().is_some() && now() < give_up {
            if self.step(now()).is_none() {
                self.wait(give_up, now());
            }
        }
    }

    fn open(&mut self, now: Duration) -> Result<(), Failure> {
        let session = Session::new(SessionConfig::new(self.client_id.as_str()), milliseconds(now))?;
        let stream = begin_to_connect(self.broker)?;
        self.state = State::Open { stream, session: Box::new(session), asked: Vec::new(), is_ready: false };
        Ok(())
    }

    fn next(&mut self, now: Duration) -> Result<Option<Notice>, Failure> {
        let State::Open { stream, session, asked, is_ready } = &mut self.state else { return Ok(None) };
        let Some(event) = session.poll(stream, milliseconds(now))? else { return Ok(None) };
        match event {
            Event::Connected { .. } => {
                self.figures.connections += 1;
                for (filter, quality) in &self.filters {
                    asked.push(session.subscribe(filter, *quality)?);
                }
            }
            Event::Subscribed(id) => {
                self.figures.subscriptions += 1;
                asked.retain(|asked| *asked != id);
                if asked.is_empty() && !*is_ready {
                    *is_ready = true;
                    self.pause = PAUSE_FIRST;
                    return Ok(Some(Notice::Up));
                }
            }
            Event::SubscriptionRefused(_) => return Err(Failure::Subscription),
            Event::Message { topic, payload } => return Ok(Some(Notice::Message { topic, payload })),
            _ => {}
        }
        Ok(Some(Notice::Progress))
    }

    /// Twice as long each time, and different for each device: a broker that comes back is not met by all at once.
    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        let mut byte = [0];
        // Without randomness the pause is the longest one.
        let share = getrandom::fill(&mut byte).map_or(255, |()| u32::from(byte[0]));
        pause / 2 + pause * share / 510
    }
}

/// The engine's and the session's clock.
pub(crate) fn milliseconds(now: Duration) -> Instant {
    Instant(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Opens a connection without waiting for the broker: until it is there, the stream just takes no bytes, and the
/// session has a time-out for that.
fn begin_to_connect(broker: SocketAddr) -> io::Result<TcpStream> {
    let family = if broker.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match connect(&socket, &broker) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let stream = TcpStream::from(socket);
    // Telemetry is small and must not wait for company.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The error and what is behind it, for a person.
fn with_source(error: &SessionError) -> String {
    match core::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
