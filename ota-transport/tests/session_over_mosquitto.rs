//! The single-threaded session against a real broker.
#![cfg(feature = "session")]

mod support;

use core::time::Duration;
use std::net::TcpStream;

use ota_core::time::{Instant, Millis};
use ota_transport::session::{Event, Quality, Session, SessionConfig, SessionError, Will};

use support::Mosquitto;

/// A session, its stream and its clock. The stream waits at most a moment, so that a test neither spins nor hangs.
struct Client {
    session: Session,
    stream: TcpStream,
    started: std::time::Instant,
}

impl Client {
    fn new(broker: &Mosquitto, config: SessionConfig) -> Self {
        let stream = broker.connect();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let session = Session::new(config, Instant(0)).unwrap();
        Self { session, stream, started: std::time::Instant::now() }
    }

    fn next(&mut self) -> Result<Event, SessionError> {
        loop {
            let now = Instant(u64::try_from(self.started.elapsed().as_millis()).unwrap());
            assert!(now < Instant(20_000), "nothing happened for 20 s");
            if let Some(event) = self.session.poll(&mut self.stream, now)? {
                return Ok(event);
            }
        }
    }

    fn connected(broker: &Mosquitto, name: &str) -> Self {
        let mut client = Self::new(broker, SessionConfig::new(name));
        assert_eq!(client.next().unwrap(), Event::Connected { session_present: false });
        client
    }

    fn subscribed(mut self, filter: &str) -> Self {
        let id = self.session.subscribe(filter, Quality::AtLeastOnce).unwrap();
        assert_eq!(self.next().unwrap(), Event::Subscribed(id));
        self
    }
}

#[test]
fn messages_of_all_sizes_cross_a_real_broker_in_order() {
    let Some(broker) = Mosquitto::start("session-sizes", "") else { return };
    let mut receiver = Client::connected(&broker, "receiver").subscribed("t/+");
    let mut sender = Client::connected(&broker, "sender");
    for size in [0_usize, 1, 127, 128, 16_383, 16_384, 70_000, 200_000] {
        let payload: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let id = sender.session.publish("t/x", &payload, Quality::AtLeastOnce).unwrap();
        assert_eq!(sender.next().unwrap(), Event::Acknowledged(id), "{size}");
        assert_eq!(
            receiver.next().unwrap(),
            Event::Message { topic: "t/x".into(), payload: payload.into() },
            "{size}"
        );
    }
}

#[test]
fn a_packet_over_the_limit_is_skipped_and_the_next_one_arrives() {
    let Some(broker) = Mosquitto::start("session-oversized", "") else { return };
    let mut config = SessionConfig::new("receiver");
    config.packet_bytes_max = 1000;
    let mut receiver = Client::new(&broker, config);
    assert!(matches!(receiver.next().unwrap(), Event::Connected { .. }));
    let mut receiver = receiver.subscribed("t");
    let mut sender = Client::connected(&broker, "sender");
    for payload in [&[1; 5000][..], &[2; 10]] {
        let id = sender.session.publish("t", payload, Quality::AtLeastOnce).unwrap();
        assert_eq!(sender.next().unwrap(), Event::Acknowledged(id));
    }
    assert!(matches!(receiver.next().unwrap(), Event::Oversized { .. }));
    assert_eq!(receiver.next().unwrap(), Event::Message { topic: "t".into(), payload: vec![2; 10].into() });
}

#[test]
fn the_last_will_is_published_when_the_device_vanishes_and_not_when_it_says_goodbye() {
    let Some(broker) = Mosquitto::start("session-will", "") else { return };
    let mut watcher = Client::connected(&broker, "watcher").subscribed("wills/#");
    for says_goodbye in [true, false] {
        let mut config = SessionConfig::new("device");
        let topic = format!("wills/{says_goodbye}");
        config.will = Some(Will { topic, payload: b"gone".to_vec() });
        let mut device = Client::new(&broker, config);
        assert!(matches!(device.next().unwrap(), Event::Connected { .. }));
        if says_goodbye {
            device.session.disconnect().unwrap();
            assert!(matches!(device.next(), Err(SessionError::Closed | SessionError::Stream(_))));
        }
    }
    // The only will that arrives is that of the device that vanished.
    let event = watcher.next().unwrap();
    assert_eq!(event, Event::Message { topic: "wills/false".into(), payload: b"gone".to_vec().into() });
}

#[test]
fn a_quiet_session_outlives_its_keep_alive() {
    let Some(broker) = Mosquitto::start("session-quiet", "") else { return };
    let mut config = SessionConfig::new("quiet");
    config.keep_alive = Millis(1000);
    let mut quiet = Client::new(&broker, config);
    assert!(matches!(quiet.next().unwrap(), Event::Connected { .. }));
    let mut quiet = quiet.subscribed("t");
    // A real broker drops a client that is silent for one and a half times its keep-alive.
    while quiet.started.elapsed() < Duration::from_millis(3500) {
        let now = Instant(u64::try_from(quiet.started.elapsed().as_millis()).unwrap());
        assert_eq!(quiet.session.poll(&mut quiet.stream, now).unwrap(), None);
    }
    let id = quiet.session.publish("t", b"still here", Quality::AtLeastOnce).unwrap();
    let events = [quiet.next().unwrap(), quiet.next().unwrap()];
    assert!(events.contains(&Event::Acknowledged(id)), "{events:?}");
}
