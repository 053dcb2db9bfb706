//! The server's link over a real broker, in both versions of MQTT: every trap of the client below, sprung and survived.
#![cfg(all(feature = "mqtt", feature = "session"))]

mod support;

use core::time::Duration;
use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use ota_core::fleet::{Dialect, LinkEvent, MessageLink, Outbound, Share};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Instant;
use ota_transport::mqtt::{MqttConfig, MqttLink, MqttVersion, Sharing, Status};
use ota_transport::session::{Event, Quality, Session, SessionConfig};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use support::Mosquitto;

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3_1_1, MqttVersion::V5];

/// A device with a blocking client; it is always driven on a thread where blocking is allowed.
struct Device {
    id: DeviceIdBuf,
    session: Session,
    stream: TcpStream,
}

impl Device {
    /// Connects and subscribes to both of its topics.
    fn connect(broker: &Mosquitto, id: &str) -> Self {
        let stream = broker.connect();
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut config = SessionConfig::new(id);
        config.packet_bytes_max = 4 << 20;
        config.outgoing_bytes_max = 4 << 20;
        let session = Session::new(config, Instant(0)).unwrap();
        let mut device = Self { id: id.parse().unwrap(), session, stream };
        assert!(matches!(device.next(), Event::Connected { .. }));
        for filter in [format!("ota/1/{id}/down"), format!("xi/ctrl/v1/{id}/cln")] {
            let asked = device.session.subscribe(&filter, Quality::AtMostOnce).unwrap();
            assert_eq!(device.next(), Event::Subscribed(asked));
        }
        device
    }

    fn next(&mut self) -> Event {
        (0..4000)
            .find_map(|_| self.session.poll(&mut self.stream, Instant(0)).unwrap())
            .expect("an event within 20 s")
    }

    /// Publishes and returns once the broker has it.
    fn publish(&mut self, topic: &str, payload: &[u8]) {
        let id = self.session.publish(topic, payload, Quality::AtLeastOnce).unwrap();
        assert_eq!(self.next(), Event::Acknowledged(id));
    }
}

fn link(broker: &Mosquitto, version: MqttVersion, change: impl FnOnce(&mut MqttConfig)) -> Arc<MqttLink> {
    let mut config = MqttConfig::new("127.0.0.1", broker.port(), format!("ota/server-{version:?}"));
    config.version = version;
    change(&mut config);
    Arc::new(MqttLink::start(config).unwrap())
}

fn message(dialect: Dialect, device: &str, payload: &[u8]) -> LinkEvent {
    LinkEvent::Message { dialect, device: device.parse().unwrap(), payload: Bytes::copy_from_slice(payload) }
}

fn to(dialect: Dialect, device: &DeviceIdBuf, payload: impl Into<Bytes>) -> Outbound {
    Outbound { dialect, device: device.clone(), payload: payload.into() }
}

/// Within the time that a broken test may take.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it happens within 30 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_cross_in_both_directions() {
    let Some(broker) = Mosquitto::start("link-both", "") else { return };
    for version in VERSIONS {
        let link = link(&broker, version, |_| {});
        soon(link.ready()).await.unwrap();
        let mut device = Device::connect(&broker, "gerät:7");
        for (dialect, up, down) in [
            (Dialect::Native, "ota/1/gerät:7/up", "ota/1/gerät:7/down"),
            (Dialect::Sft, "xi/ctrl/v1/gerät:7/svc", "xi/ctrl/v1/gerät:7/cln"),
        ] {
            for size in [0, 1, 1000, 65_560, 120_000] {
                let payload = vec![7; size];
                device.publish(up, &payload);
                assert_eq!(soon(link.receive(10)).await.unwrap(), [message(dialect, "gerät:7", &payload)]);
                if size > 0 {
                    soon(link.send(vec![to(dialect, &device.id, payload.clone())])).await.unwrap();
                    assert_eq!(device.next(), Event::Message { topic: down.into(), payload: payload.into() });
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_device_topic_is_counted_and_dropped() {
    let Some(broker) = Mosquitto::start("link-foreign", "") else { return };
    for version in VERSIONS {
        let link = link(&broker, version, |config| config.serves_sft = false);
        soon(link.ready()).await.unwrap();
        let mut device = Device::connect(&broker, "d");
        // The broker's filter lets this through, but no device can be called so.
        let too_long = format!("ota/1/{}/up", "x".repeat(65));
        device.publish("xi/ctrl/v1/d/svc", b"not served here");
        device.publish(&too_long, b"no device id");
        device.publish("ota/1/d/up", b"served");
        assert_eq!(soon(link.receive(10)).await.unwrap(), [message(Dialect::Native, "d", b"served")]);
        let statistics = link.statistics();
        assert_eq!((statistics.received, statistics.received_foreign), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_over_the_limit_ends_no_connection_in_either_direction() {
    let Some(broker) = Mosquitto::start("link-oversized", "") else { return };
    for version in VERSIONS {
        let link = link(&broker, version, |_| {});
        soon(link.ready()).await.unwrap();
        let mut device = Device::connect(&broker, "d");
        let oversized = vec![1; 1 << 20];
        device.publish("ota/1/d/up", &oversized);
        device.publish("ota/1/d/up", b"next");
        assert_eq!(soon(link.receive(10)).await.unwrap(), [message(Dialect::Native, "d", b"next")]);
        let messages =
            vec![to(Dialect::Native, &device.id, oversized), to(Dialect::Native, &device.id, "next")];
        soon(link.send(messages)).await.unwrap();
        assert_eq!(
            device.next(),
            Event::Message { topic: "ota/1/d/down".into(), payload: Bytes::from_static(b"next") }
        );
        let statistics = link.statistics();
        assert_eq!((statistics.dropped_oversized, statistics.connections), (1, 1), "{statistics:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_is_found_and_subscribed_to_again() {
    let Some(mut broker) = Mosquitto::start("link-restart", "") else { return };
    for version in VERSIONS {
        let link = link(&broker, version, |_| {});
        soon(link.ready()).await.unwrap();
        let mut status = link.status();
        broker.kill();
        let broken = soon(status.wait_for(|status| *status != Status::Ready)).await.unwrap().clone();
        assert!(matches!(broken, Status::Connecting(Some(_))), "{broken:?}");
        let nobody: DeviceIdBuf = "d".parse().unwrap();
        soon(link.send(vec![to(Dialect::Native, &nobody, "nobody hears this")])).await.unwrap();
        assert_eq!(link.statistics().dropped_without_connection, 1);
        broker.start_again();
        soon(link.ready()).await.unwrap();
        Device::connect(&broker, "d").publish("ota/1/d/up", b"back");
        assert_eq!(soon(link.receive(10)).await.unwrap(), [message(Dialect::Native, "d", b"back")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_a_group_divide_the_messages() {
    let Some(broker) = Mosquitto::start("link-group", "") else { return };
    for version in VERSIONS {
        let name = |number: u8| format!("server-{version:?}-{number}");
        let links = [1, 2].map(|number| {
            link(&broker, version, |config| {
                config.sharing = Sharing::Group("ota".into());
                config.client_id = name(number);
            })
        });
        for link in &links {
            soon(link.ready()).await.unwrap();
        }
        let mut device = Device::connect(&broker, "d");
        for number in 0..100_u8 {
            device.publish("ota/1/d/up", &[number]);
        }
        let mut heard = Vec::new();
        while heard.len() < 100 {
            let events = tokio::select! {
                events = soon(links[0].receive(100)) => events,
                events = soon(links[1].receive(100)) => events,
            };
            for event in events.unwrap() {
                let LinkEvent::Message { payload, .. } = event else { panic!("{event:?}") };
                heard.push(payload[0]);
            }
        }
        heard.sort_unstable();
        assert_eq!(heard, (0..100).collect::<Vec<_>>());
        for link in &links {
            assert!(link.statistics().received > 0, "one server heard nothing: {:?}", link.statistics());
        }
    }
}

/// Waits until so many messages in a row have been heard by one server of a group that it is the only one.
async fn only_heard_by(broker: &Mosquitto, one: &MqttLink, other: &MqttLink) {
    let mut device = Device::connect(broker, "d");
    let mut again = tokio::time::interval(Duration::from_millis(5));
    let mut in_a_row = 0;
    soon(async {
        while in_a_row < 20 {
            tokio::select! {
                heard = one.receive(1) => in_a_row += heard.unwrap().len(),
                heard = other.receive(1) => in_a_row = heard.unwrap().len().saturating_sub(1),
                _ = again.tick() => device.publish("ota/1/d/up", b"?"),
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leaves_its_share_gets_nothing_until_it_takes_it_again() {
    let Some(mut broker) = Mosquitto::start("link-share", "") else { return };
    for version in VERSIONS {
        let [leaving, staying] = [1, 2].map(|number| {
            link(&broker, version, |config| {
                config.sharing = Sharing::Group("ota".into());
                config.client_id = format!("server-{version:?}-{number}");
            })
        });
        for link in [&leaving, &staying] {
            soon(link.ready()).await.unwrap();
        }
        leaving.share(Share::Left);
        only_heard_by(&broker, &staying, &leaving).await;
        assert_eq!(*leaving.status().borrow(), Status::Ready, "it is still there for what it has to say");
        staying.share(Share::Left);
        leaving.share(Share::Taken);
        only_heard_by(&broker, &leaving, &staying).await;
        staying.share(Share::Taken);
        leaving.share(Share::Left);
        only_heard_by(&broker, &staying, &leaving).await;
        let connections = leaving.statistics().connections;
        broker.kill();
        broker.start_again();
        let mut status = leaving.status();
        soon(async {
            while leaving.statistics().connections == connections
                || *status.borrow_and_update() != Status::Ready
            {
                status.changed().await.unwrap();
            }
        })
        .await;
        soon(staying.ready()).await.unwrap();
        only_heard_by(&broker, &staying, &leaving).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_take_turns_hear_everything_in_theirs_and_nothing_otherwise() {
    let Some(mut broker) = Mosquitto::start("link-turns", "") else { return };
    for version in VERSIONS {
        let [one, other] = [1, 2].map(|number| {
            link(&broker, version, |config| {
                config.sharing = Sharing::InTurns;
                config.client_id = format!("server-{version:?}-{number}");
            })
        });
        for link in [&one, &other] {
            assert!(link.is_taken_in_turns());
            soon(link.ready()).await.unwrap();
        }
        one.share(Share::Taken);
        only_heard_by(&broker, &one, &other).await;
        // It is alone in this, but nobody stays who has lost its turn.
        one.share(Share::Left);
        other.share(Share::Taken);
        only_heard_by(&broker, &other, &one).await;
        assert_eq!(*one.status().borrow(), Status::Ready, "it is still there for what it has to say");
        broker.kill();
        broker.start_again();
        for link in [&one, &other] {
            let mut status = link.status();
            soon(async {
                while link.statistics().connections < 2 || *status.borrow_and_update() != Status::Ready {
                    status.changed().await.unwrap();
                }
            })
            .await;
        }
        only_heard_by(&broker, &other, &one).await;
    }
}

/// Lets a device say something again and again until each of the servers has heard it.
async fn heard_by_each(broker: &Mosquitto, links: &[&MqttLink]) {
    let mut device = Device::connect(broker, "d");
    let mut again = tokio::time::interval(Duration::from_millis(20));
    for link in links {
        soon(async {
            loop {
                tokio::select! {
                    heard = link.receive(1) => break assert_eq!(heard.unwrap().len(), 1),
                    _ = again.tick() => device.publish("ota/1/d/up", b"?"),
                }
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_would_all_leave_their_share_stay_until_one_of_them_is_well() {
    let Some(broker) = Mosquitto::start("link-stay", "") else { return };
    for version in VERSIONS {
        let [one, other] = [1, 2].map(|number| {
            link(&broker, version, |config| {
                config.sharing = Sharing::Group("ota".into());
                config.client_id = format!("server-{version:?}-{number}");
            })
        });
        for link in [&one, &other] {
            soon(link.ready()).await.unwrap();
        }
        one.share(Share::Left);
        only_heard_by(&broker, &other, &one).await;
        other.share(Share::Left);
        // Nobody is well: both hear what devices say, each its part.
        heard_by_each(&broker, &[&one, &other]).await;
        other.share(Share::Taken);
        only_heard_by(&broker, &other, &one).await;
        // Who is gone without a word is not believed to be well for long.
        other.close();
        heard_by_each(&broker, &[&one]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_original_device_said_long_ago_is_late_where_another_server_may_have_heard_it_since() {
    let Some(broker) = Mosquitto::start("link-old", "") else { return };
    for version in VERSIONS {
        let grouped = |name: &str, waiting_max: Duration| {
            link(&broker, version, |config| {
                config.sharing = Sharing::Group(name.to_owned());
                config.client_id = format!("{name}-{version:?}");
                config.waiting_max = waiting_max;
            })
        };
        let (strict, patient) =
            (grouped("strict", Duration::ZERO), grouped("patient", Duration::from_secs(1)));
        soon(strict.ready()).await.unwrap();
        soon(patient.ready()).await.unwrap();
        let mut device = Device::connect(&broker, "d");
        // Each group hears all of it.
        device.publish("xi/ctrl/v1/d/svc", b"old");
        device.publish("ota/1/d/up", b"as old");
        let mut heard = Vec::new();
        soon(async {
            while heard.len() < 2 {
                heard.extend(strict.receive(10).await.unwrap());
            }
        })
        .await;
        let device_id = DeviceIdBuf::new("d").unwrap();
        let late =
            LinkEvent::Late { dialect: Dialect::Sft, device: device_id, payload: (&b"old"[..]).into() };
        assert_eq!(heard, [late, message(Dialect::Native, "d", b"as old")]);
        assert_eq!(strict.statistics().late, 1);
        // The connection becomes older than a message may be; what comes by it does not.
        let begun = std::time::Instant::now();
        let mut heard_late = 0;
        soon(async {
            while heard_late == 0 {
                device.publish("xi/ctrl/v1/d/svc", b"new");
                device.publish("ota/1/d/up", b"new");
                let heard = patient.receive(100).await.unwrap();
                let is_original =
                    |event: &&LinkEvent| matches!(event, LinkEvent::Message { dialect: Dialect::Sft, .. });
                let originals = heard.iter().filter(is_original).count();
                heard_late += if begun.elapsed() > Duration::from_secs(2) { originals } else { 0 };
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_senders_wait_and_never_lock_up() {
    let Some(broker) = Mosquitto::start("link-queue", "max_queued_messages 0") else { return };
    for version in VERSIONS {
        let link = link(&broker, version, |config| config.queue_messages_max = 2);
        soon(link.ready()).await.unwrap();
        let mut device = Device::connect(&broker, "d");
        let senders: Vec<_> = (0..4_u8)
            .map(|sender| {
                let (link, device) = (Arc::clone(&link), device.id.clone());
                tokio::spawn(async move {
                    for number in 0..50_u8 {
                        let message = to(Dialect::Native, &device, vec![sender, number]);
                        link.send(vec![message]).await.unwrap();
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        for _ in 0..200 {
            let Event::Message { payload, .. } = device.next() else { panic!("only messages are expected") };
            let (sender, number) = (usize::from(payload[0]), payload[1]);
            assert_eq!(number, next[sender], "messages of one sender stay in order");
            next[sender] += 1;
        }
        for sender in senders {
            soon(sender).await.unwrap();
        }
        assert_eq!(link.statistics().sent, 200);
    }
}

#[tokio::test]
async fn a_refused_subscription_is_told_with_its_reason() {
    // Brokers differ in whether they tell; this one says no to the first of two filters.
    for (version, answer) in [
        (MqttVersion::V3_1_1, &[0x20, 2, 0, 0, 0x90, 4, 0, 1, 0x80, 0][..]),
        (MqttVersion::V5, &[0x20, 3, 0, 0, 0, 0x90, 5, 0, 1, 0, 0x87, 0][..]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = MqttConfig::new("127.0.0.1", listener.local_addr().unwrap().port(), "server");
        config.version = version;
        let link = MqttLink::start(config).unwrap();
        let mut status = link.status();
        let (mut stream, _) = soon(listener.accept()).await.unwrap();
        stream.write_all(answer).await.unwrap();
        let told = soon(status.wait_for(|status| *status != Status::Connecting(None))).await.unwrap().clone();
        let Status::Connecting(Some(reason)) = told else { panic!("{told:?}") };
        assert!(reason.contains("refused") && reason.contains("ota/1/+/up"), "{reason}");
    }
}

#[tokio::test]
async fn a_closed_link_says_so() {
    let link = MqttLink::start(MqttConfig::new("127.0.0.1", 9, "server")).unwrap();
    link.close();
    assert!(soon(link.ready()).await.is_err());
    assert!(soon(link.receive(1)).await.unwrap().is_empty());
    let device: DeviceIdBuf = "d".parse().unwrap();
    assert!(soon(link.send(vec![to(Dialect::Native, &device, "")])).await.is_err());
}

#[test]
fn a_setting_that_cannot_work_is_named() {
    let sound = MqttConfig::new("broker", 1883, "server");
    type Change = fn(&mut MqttConfig);
    let changes: [(&str, Change); 8] = [
        ("host", |config| config.host.clear()),
        ("client_id", |config| config.client_id = "a\0b".into()),
        ("keep_alive", |config| config.keep_alive = Duration::from_millis(10)),
        ("native_prefix", |config| config.native_prefix = Some("a/#".into())),
        ("serves_sft", |config| (config.native_prefix, config.serves_sft) = (None, false)),
        ("sharing", |config| config.sharing = Sharing::Group("a+".into())),
        ("packet_bytes_max", |config| config.packet_bytes_max = 10_240),
        ("queue_messages_max", |config| config.queue_messages_max = 0),
    ];
    for (setting, change) in changes {
        let mut config = sound.clone();
        change(&mut config);
        let error = MqttLink::start(config).unwrap_err();
        assert_eq!(error.setting, setting);
    }
}
