//! A device's one MQTT connection, in either version of MQTT: opened, lost, and opened again.

use core::time::Duration;

use bytes::Bytes;
use ota_core::time::Instant;
use ota_transport::session::{self, Quality, Session, SessionConfig};
use rumqttc::v5;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
// sleeps: a device waits for its own deadlines, as in the field, and for its broker at the same time.
use tokio::time::sleep_until;

use super::{Access, Clock, Mqtt, Stream};

/// Pause before a broken connection is opened again. Short, for nobody in a test has time; real devices wait longer
/// and longer.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages that wait in either direction with MQTT 5.
const QUEUE: usize = 1024;

/// A device's connection to its broker.
#[derive(Debug)]
pub struct Connection {
    access: Access,
    client_id: String,
    filter: String,
    clock: Clock,
    state: State,
    /// How often the broker has accepted the device and its subscription.
    pub connections: u32,
}

#[derive(Debug)]
enum State {
    /// Opened at this time.
    Closed(tokio::time::Instant),
    V3 {
        stream: Stream,
        session: Box<Session>,
    },
    V5 {
        client: v5::AsyncClient,
        events: mpsc::Receiver<Result<Notice, String>>,
        _task: Poller,
    },
}

/// Ends with its connection.
#[derive(Debug)]
struct Poller(JoinHandle<()>);

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a device must know of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Messages can be sent, and the subscription is granted.
    Up,
    /// They cannot any more, or could not be this time either; with the reason.
    Down(String),
    /// A message came on the topic that was subscribed to.
    Message(Bytes),
}

impl Connection {
    /// A connection that is opened by the first [`next`](Self::next), and subscribes to this filter.
    #[must_use]
    pub fn new(access: Access, client_id: &str, filter: String, clock: Clock) -> Self {
        let state = State::Closed(tokio::time::Instant::now());
        Self { access, client_id: client_id.to_owned(), filter, clock, state, connections: 0 }
    }

    /// Sends a message at quality 0; without a connection, or without room, it is lost.
    pub fn send(&mut self, topic: &str, payload: &[u8]) {
        match &mut self.state {
            State::Closed(_) => {}
            State::V3 { session, .. } => drop(session.publish(topic, payload, Quality::AtMostOnce)),
            State::V5 { client, .. } => {
                drop(client.try_publish(topic, QoS::AtMostOnce, false, Bytes::copy_from_slice(payload)));
            }
        }
    }

    /// Closes the connection without a word; it is opened again by the next [`next`](Self::next).
    pub fn cut(&mut self) {
        self.state = State::Closed(tokio::time::Instant::now());
    }

    /// Moves what can be moved, and returns what comes first: a notice, or `None` at this time.
    pub async fn next(&mut self, until: Instant) -> Option<Notice> {
        let until = self.clock.at(until);
        loop {
            match self.step(until).await {
                Ok(Step::Over) => return None,
                Ok(Step::More) => {}
                Ok(Step::Notice(notice)) => {
                    self.connections += u32::from(notice == Notice::Up);
                    return Some(notice);
                }
                Err(why) => {
                    self.state = State::Closed(tokio::time::Instant::now() + PAUSE);
                    return Some(Notice::Down(why));
                }
            }
        }
    }

    async fn step(&mut self, until: tokio::time::Instant) -> Result<Step, String> {
        match &mut self.state {
            State::Closed(at) if *at > until => {
                sleep_until(until).await;
                Ok(Step::Over)
            }
            State::Closed(at) => {
                sleep_until(*at).await;
                self.open().await?;
                Ok(Step::More)
            }
            State::V3 { stream, session } => {
                let now = self.clock.now();
                let event = session.poll(stream, now).map_err(|why| chain(&why))?;
                match event {
                    None => {
                        let wake = until.min(self.clock.at(session.wake_at()));
                        if wake <= tokio::time::Instant::now() {
                            // A timer's tick is long against what the engine does before it lets others have a turn.
                            tokio::task::yield_now().await;
                            return Ok(if wake == until { Step::Over } else { Step::More });
                        }
                        tokio::select! {
                            biased;
                            ready = stream.ready(session.wants_write()) => {
                                ready.map_err(|why| why.to_string())?;
                                Ok(Step::More)
                            }
                            () = sleep_until(wake) => {
                                Ok(if wake == until { Step::Over } else { Step::More })
                            }
                        }
                    }
                    Some(session::Event::Connected { .. }) => {
                        let asked = session.subscribe(&self.filter, Quality::AtLeastOnce);
                        asked.map(|_| Step::More).map_err(|why| chain(&why))
                    }
                    Some(session::Event::Subscribed(_)) => Ok(Step::Notice(Notice::Up)),
                    Some(session::Event::SubscriptionRefused(_)) => Err("subscription refused".into()),
                    Some(session::Event::Message { payload, .. }) => {
                        Ok(Step::Notice(Notice::Message(payload)))
                    }
                    Some(_) => Ok(Step::More),
                }
            }
            State::V5 { events, .. } => tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(Ok(notice)) => Ok(Step::Notice(notice)),
                    Some(Err(why)) => Err(why),
                    None => Err("the client ended".into()),
                },
                () = sleep_until(until) => Ok(Step::Over),
            },
        }
    }

    async fn open(&mut self) -> Result<(), String> {
        match self.access.mqtt {
            Mqtt::V3 => {
                let tcp = TcpStream::connect(self.access.broker).await.map_err(|why| why.to_string())?;
                tcp.set_nodelay(true).map_err(|why| why.to_string())?;
                let stream = Stream::new(tcp, self.access.tls.as_ref()).map_err(|why| why.to_string())?;
                let config = SessionConfig {
                    credentials: self
                        .access
                        .password
                        .clone()
                        .map(|password| session::Credentials { user: self.client_id.clone(), password }),
                    keep_alive: self.access.keep_alive,
                    connect_timeout: self.access.keep_alive,
                    ..SessionConfig::new(self.client_id.as_str())
                };
                let session = Session::new(config, self.clock.now()).map_err(|why| chain(&why))?;
                self.state = State::V3 { stream, session: Box::new(session) };
            }
            Mqtt::V5 => self.state = self.open_v5(),
        }
        Ok(())
    }

    fn open_v5(&self) -> State {
        // TLS checks the broker's certificate against this name.
        let host = if self.access.tls.is_some() {
            "localhost".to_owned()
        } else {
            self.access.broker.ip().to_string()
        };
        let mut options = v5::MqttOptions::new(&self.client_id, host, self.access.broker.port());
        options.set_keep_alive(Duration::from_millis(self.access.keep_alive.0).max(Duration::from_secs(5)));
        options.set_clean_start(true);
        options.set_max_packet_size(Some(256 * 1024));
        // The client has room for so many at once: 65,536, unless it is told, which take seven megabytes.
        options.set_outgoing_inflight_upper_limit(16);
        if let Some(password) = &self.access.password {
            options.set_credentials(&self.client_id, password);
        }
        if let Some(tls) = &self.access.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
        }
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        let (client, loops) = v5::AsyncClient::new(options, QUEUE);
        let (sender, events) = mpsc::channel(QUEUE);
        let task = Poller(tokio::spawn(poll(loops, client.clone(), self.filter.clone(), sender)));
        State::V5 { client, events, _task: task }
    }
}

/// Polls a client of MQTT 5 until its connection ends.
async fn poll(
    mut events: v5::EventLoop,
    client: v5::AsyncClient,
    filter: String,
    sender: mpsc::Sender<Result<Notice, String>>,
) {
    use rumqttc::v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
    loop {
        let notice = match events.poll().await {
            Ok(v5::Event::Incoming(Packet::ConnAck(_))) => {
                drop(client.try_subscribe(filter.clone(), QoS::AtLeastOnce));
                continue;
            }
            Ok(v5::Event::Incoming(Packet::SubAck(answer))) => {
                let is_granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
                if answer.return_codes.iter().all(is_granted) {
                    Ok(Notice::Up)
                } else {
                    Err("subscription refused".to_owned())
                }
            }
            Ok(v5::Event::Incoming(Packet::Publish(message))) => Ok(Notice::Message(message.payload)),
            Ok(v5::Event::Incoming(Packet::Disconnect(goodbye))) => {
                Err(format!("the broker said goodbye: {:?}", goodbye.reason_code))
            }
            Ok(_) => continue,
            Err(why) => Err(chain(&why)),
        };
        let is_over = notice.is_err();
        if sender.send(notice).await.is_err() || is_over {
            return;
        }
    }
}

enum Step {
    /// There may be more to do.
    More,
    /// The time is over.
    Over,
    Notice(Notice),
}

/// The error and what is behind it.
fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
