//! What only MQTT 5 knows: aliases of topics, topics for responses, wills that wait, sessions that stay.

use ota_core::conformance::topics::{DEVICE, OTHER};
use ota_core::fleet::Broker as _;
use ota_core::text::DeviceIdBuf;

use crate::raw::{Closed, Connect, Raw, Version, packet, text};
use crate::scene::{Scene, Subject, wait_for_log};

/// Both brokers, spoken to in MQTT 5.
fn scenes(name: &str) -> impl Iterator<Item = Scene> {
    Scene::each(name).into_iter().filter(|scene| scene.version == Version::V5)
}

fn up(device: &str) -> String {
    format!("ota/1/{device}/up")
}

fn down(device: &str) -> String {
    format!("ota/1/{device}/down")
}

/// A property that holds a text.
fn property(number: u8, value: &str) -> Vec<u8> {
    [&[number][..], &text(value)].concat()
}

const RESPONSE_TOPIC: u8 = 0x08;

/// Somebody else's topic, whom nothing may reach.
struct Victim {
    end: Raw,
}

impl Victim {
    fn of(scene: &Scene) -> Self {
        let mut end = scene.device(OTHER);
        end.subscribe(&down(OTHER)).unwrap();
        Self { end }
    }

    fn has_heard_nothing(&mut self) {
        self.end.settle().unwrap();
        assert!(self.end.inbox.is_empty(), "{:?}", self.end.inbox);
    }
}

fn forged(scene: &Scene, server: &mut Raw) -> bool {
    scene.seen(server).iter().any(|(_, payload)| payload.starts_with(b"forged"))
}

#[test]
fn an_alias_is_no_way_around_the_topic_that_it_stands_for() {
    for scene in scenes("v5-alias") {
        let mut server = scene.server();
        let mut victim = Victim::of(&scene);
        let alias = |number: u16| [&[0x23][..], &number.to_be_bytes()].concat();
        for topic in [up(OTHER), down(OTHER), "ota/1/device-b/#".to_owned()] {
            let mut device = scene.device(DEVICE);
            // What was refused under its name is refused under its number as well, and again.
            let _ = device.publish_with(&topic, "forged by name", false, &alias(1));
            let _ = device.publish_with("", "forged by number", false, &alias(1));
            let _ = device.publish_with("", "forged by number", false, &alias(1));
            let _ = device.settle();
            assert!(!forged(&scene, &mut server), "{topic}");
        }
        // A number of another device's session means nothing in this one.
        let mut other = scene.device("witness");
        other.publish_with(&up("witness"), "witnessed", false, &alias(2)).unwrap();
        other.settle().unwrap();
        assert_eq!(scene.seen(&mut server).len(), 1);
        for number in [0, 2, 3, u16::MAX] {
            let mut device = scene.device(DEVICE);
            let _ = device.publish_with("", "forged by number", false, &alias(number));
            let _ = device.settle();
            assert!(!forged(&scene, &mut server), "{number}");
        }
        // Its own topic may have a number.
        let mut device = scene.device(DEVICE);
        device.publish_with(&up(DEVICE), "first", false, &alias(1)).unwrap();
        device.publish_with("", "second", false, &alias(1)).unwrap();
        device.settle().unwrap();
        let own = scene.seen(&mut server);
        // The embedded broker takes no numbers, and says so when a client connects: what has no name has no right.
        let both = [(up(DEVICE), b"first".to_vec()), (up(DEVICE), b"second".to_vec())];
        assert_eq!(own, both[..if scene.is_embedded() { 1 } else { 2 }]);
        victim.has_heard_nothing();
        other.settle().unwrap();
    }
}

#[test]
fn a_topic_for_responses_is_a_word_and_no_right() {
    for scene in scenes("v5-response") {
        let mut server = scene.server();
        let mut victim = Victim::of(&scene);
        for topic in [down(OTHER), up(OTHER), down(DEVICE), "#".to_owned(), "$SYS/x".to_owned()] {
            let mut device = scene.device(DEVICE);
            let own = up(DEVICE);
            let _ = device.publish_with(&own, "asked", false, &property(RESPONSE_TOPIC, &topic));
            let _ = device.settle();
            let asked = |(_, payload): &&(String, Vec<u8>)| payload == b"asked";
            let seen = scene.seen(&mut server);
            assert!(seen.iter().filter(asked).all(|(topic, _)| *topic == own), "{topic}: {seen:?}");
            // Having named it, it may not hear it either.
            if device.settle().is_ok() && topic != down(DEVICE) {
                let answer = device.subscribe(&topic);
                // Mosquitto takes any subscription, and delivers of it what is the device's own.
                assert!(
                    !scene.is_embedded() || matches!(answer, Ok(0x80..) | Err(Closed)),
                    "{topic}: {answer:?}"
                );
                server.publish(&down(OTHER), "secret").unwrap();
                assert_eq!(victim.end.message().unwrap().1, b"secret");
                server.settle().unwrap();
                if device.settle().is_ok() {
                    assert!(device.inbox.is_empty(), "{topic}: {:?}", device.inbox);
                }
            }
        }
        victim.has_heard_nothing();
    }
}

#[test]
fn a_will_that_waits_reaches_no_further_than_one_that_does_not() {
    for scene in scenes("v5-will-delay") {
        let mut server = scene.server();
        let mut victim = Victim::of(&scene);
        let delay = [&[0x18][..], &1_u32.to_be_bytes()].concat();
        let will_properties = [delay.clone(), property(RESPONSE_TOPIC, &down(OTHER))].concat();
        let stays = [&[0x11][..], &3600_u32.to_be_bytes()].concat();
        for topic in [up(OTHER), down(OTHER), down(DEVICE)] {
            for retain in [false, true] {
                let mut device = scene.open(Some(&scene.authority.client(DEVICE)));
                let connect = Connect {
                    will: Some((&topic, "forged will", retain)),
                    properties: &stays,
                    will_properties: &will_properties,
                    ..Connect::new(DEVICE)
                };
                let answer = device.connect(&connect);
                assert!(!scene.is_embedded() || answer == Ok(scene.version.refused(retain)), "{topic}");
            }
        }
        // A witness dies later, with a will that waits as long: when it is heard, the others would have been.
        let mut witness = scene.open(Some(&scene.authority.client("witness")));
        let own = up("witness");
        let connect = Connect {
            will: Some((&own, "last words", false)),
            properties: &stays,
            will_properties: &delay,
            ..Connect::new("witness")
        };
        assert_eq!(witness.connect(&connect), Ok(0));
        drop(witness);
        let seen = server.until("last words").unwrap();
        assert!(seen.iter().all(|(_, payload)| payload != b"forged will"), "{seen:?}");
        victim.has_heard_nothing();
    }
}

#[test]
fn the_will_of_a_device_that_is_revoked_while_it_waits_is_not_read_out() {
    let scene = Scene::embedded().speaking(Version::V5);
    let Subject::Embedded { broker, authorizer, runtime } = &scene.subject else { unreachable!() };
    let mut server = scene.server();
    let delay = [&[0x18][..], &1_u32.to_be_bytes()].concat();
    let stays = [&[0x11][..], &3600_u32.to_be_bytes()].concat();
    for (id, words) in [(DEVICE, "words of the revoked"), ("witness", "last words")] {
        let mut device = scene.open(Some(&scene.authority.client(id)));
        let own = up(id);
        let connect = Connect {
            will: Some((&own, words, false)),
            properties: &stays,
            will_properties: &delay,
            ..Connect::new(id)
        };
        assert_eq!(device.connect(&connect), Ok(0));
        drop(device);
        if id == DEVICE {
            let id = DeviceIdBuf::new(DEVICE).unwrap();
            authorizer.revoke(id.clone());
            runtime.block_on(broker.link().disconnect(&id)).unwrap();
        }
    }
    let seen = server.until("last words").unwrap();
    assert_eq!(seen.iter().find(|(_, payload)| payload == b"words of the revoked"), None);
}

#[test]
fn a_session_that_stays_is_found_by_nobody_else() {
    for scene in scenes("v5-session") {
        let mut server = scene.server();
        let stays = [&[0x11][..], &u32::MAX.to_be_bytes()].concat();
        let mut owner = scene.open(Some(&scene.authority.client(OTHER)));
        let connect = Connect { properties: &stays, ..Connect::new(OTHER) };
        assert_eq!(owner.connect(&connect), Ok(0));
        owner.subscribe(&down(OTHER)).unwrap();
        drop(owner);
        for client_id in [OTHER, ""] {
            let mut thief = scene.open(Some(&scene.authority.client(DEVICE)));
            let steal = Connect { keeps_session: true, properties: &stays, ..Connect::new(client_id) };
            if thief.connect(&steal) != Ok(0) {
                continue;
            }
            // Mosquitto calls it by the name in its certificate, whatever it says.
            assert!(!scene.is_embedded(), "{client_id:?}");
            server.publish(&down(OTHER), "secret").unwrap();
            server.settle().unwrap();
            if thief.settle().is_ok() {
                assert!(thief.inbox.is_empty(), "{client_id:?} heard {:?}", thief.inbox);
            }
        }
        if scene.is_embedded() {
            wait_for_log(&["client refused", OTHER, "the client id is not the identity that was proven"]);
        }
    }
}

#[test]
fn packets_that_mqtt_5_forbids_end_their_connection_and_nothing_else() {
    for scene in scenes("v5-malformed") {
        let mut server = scene.server();
        let mut neighbour = scene.device(OTHER);
        let topic = text(&up(DEVICE));
        // Properties that are longer than the packet; one twice that may come once; unknown ones; AUTH out of the blue; a
        // subscription without a filter; a filter with an identifier of 0; reserved options.
        for malformed in [
            packet(0x30, &[topic.clone(), vec![0xff, 0xff, 0x7f]].concat()),
            packet(0x30, &[topic.clone(), vec![6, 0x23, 0, 1, 0x23, 0, 1]].concat()),
            packet(0x30, &[topic.clone(), vec![2, 0x7f, 0]].concat()),
            packet(0xf0, &[0x18, 0]),
            packet(0x82, &[0, 7, 0]),
            packet(0x82, &[vec![0, 7, 2, 0x0b, 0], text(&down(DEVICE)), vec![1]].concat()),
            packet(0x82, &[vec![0, 7, 0], text(&down(DEVICE)), vec![0xff]].concat()),
        ] {
            let mut device = scene.device(DEVICE);
            let _ = device.send(&malformed);
            let _ = device.settle();
            neighbour.settle().unwrap();
        }
        // A method of authentication that nobody knows proves nothing.
        let mut stranger = scene.open(Some(&scene.authority.client(DEVICE)));
        let method = property(0x15, "trust-me");
        let answer = stranger.connect(&Connect { properties: &method, ..Connect::new(OTHER) });
        assert!(matches!(answer, Ok(1..) | Err(Closed)) || !scene.is_embedded(), "{answer:?}");
        neighbour.settle().unwrap();
        assert!(!forged(&scene, &mut server));
        scene.device(DEVICE).settle().unwrap();
    }
}
