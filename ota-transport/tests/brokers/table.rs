//! The table of what a device may do with which topic, asked of running brokers.

use ota_core::conformance::topics::{self, Case, DEVICE, OTHER};
use ota_core::fleet::{TopicAction, TopicRules};
use ota_core::text::DeviceId;
use ota_core::wire::topic::TopicPrefix;

use crate::raw::{Closed, Connect, Raw};
use crate::scene::{SERVER, Scene, wait_for_log};

fn cases(action: TopicAction) -> Vec<Case> {
    topics::cases().into_iter().filter(|case| case.action == action).collect()
}

fn has(seen: &[(String, Vec<u8>)], payload: &str) -> bool {
    seen.iter().any(|(_, found)| found == payload.as_bytes())
}

#[test]
fn the_shipped_acl_file_is_what_the_rules_say() {
    let shipped = include_str!("../../../docs/mosquitto/devices.acl");
    assert_eq!(shipped, TopicRules::new(TopicPrefix::DEFAULT).mosquitto_acl(&[SERVER]));
}

#[test]
fn a_device_publishes_on_its_own_topics_only_and_nothing_is_retained() {
    for scene in Scene::each("table-publish") {
        let mut server = scene.server();
        let mut other = scene.device(OTHER);
        for filter in [format!("ota/1/{OTHER}/down"), format!("app/{OTHER}/in/x")] {
            other.subscribe(&filter).unwrap();
        }
        let mut device = scene.device(DEVICE);
        let actions = [TopicAction::Publish, TopicAction::Retain];
        for case in actions.into_iter().flat_map(cases) {
            let payload = format!("{:?} {}", case.action, case.topic);
            let retain = case.action == TopicAction::Retain;
            let sent = device.publish_with(&case.topic, &payload, retain, &[]);
            // A broker may close the connection of who breaks its rules, instead of ignoring it.
            if sent.and_then(|()| device.settle()).is_err() {
                assert!(!case.allowed, "{case:?}");
                device = scene.device(DEVICE);
            }
            assert_eq!(has(&scene.seen(&mut server), &payload), case.allowed, "{case:?}");
            if !case.allowed && scene.is_embedded() {
                wait_for_log(&["message refused", DEVICE, &case.topic, "the topic is not its own"]);
            }
        }
        other.settle().unwrap();
        assert!(other.inbox.is_empty(), "{:?}", other.inbox);
        // Whoever comes later finds nothing that was left for it.
        let mut late = scene.device(OTHER);
        late.subscribe(&format!("ota/1/{OTHER}/down")).unwrap();
        late.settle().unwrap();
        assert!(late.inbox.is_empty(), "{:?}", late.inbox);
    }
}

#[test]
fn a_device_hears_its_own_topics_only_whatever_it_subscribes() {
    for scene in Scene::each("table-subscribe") {
        let mut server = scene.server();
        let rules = topics::rules();
        let probes = [DEVICE, OTHER].map(|id| {
            [
                format!("ota/1/{id}/down"),
                format!("ota/1/{id}/up"),
                format!("xi/ctrl/v1/{id}/cln"),
                format!("xi/ctrl/v1/{id}/svc"),
                format!("app/{id}/in/x"),
                format!("app/{id}/out/x"),
            ]
        });
        for case in cases(TopicAction::Subscribe) {
            let mut device = scene.device(DEVICE);
            if device.subscribe(&case.topic).is_err() {
                assert!(!case.allowed, "{case:?}");
                device = scene.device(DEVICE);
            }
            device.subscribe(&format!("app/{DEVICE}/in/marker")).unwrap();
            for probe in probes.iter().flatten() {
                server.publish(probe, "probe").unwrap();
            }
            server.publish(&format!("app/{DEVICE}/in/marker"), "marker").unwrap();
            let heard = device.until("marker").unwrap();
            for (topic, _) in &heard {
                let device = DeviceId::new(DEVICE).unwrap();
                assert!(rules.allow(device, TopicAction::Receive, topic), "{case:?} heard {topic}");
            }
            // Mosquitto takes any subscription, and delivers of it what is the device's own.
            assert!(!case.allowed || !heard.is_empty(), "{case:?}");
            assert!(case.allowed || heard.is_empty() || !scene.is_embedded(), "{case:?}");
            if !case.allowed && scene.is_embedded() {
                let filter = case.topic.splitn(3, '/').last().unwrap_or_default();
                wait_for_log(&["subscription refused", DEVICE, filter, "the topic is not its own"]);
            }
            scene.seen(&mut server);
        }
    }
}

/// rmqtt publishes last wills without asking.
#[test]
fn a_last_will_reaches_no_further_than_a_message() {
    for scene in Scene::each("table-will") {
        let mut server = scene.server();
        let actions = [TopicAction::Publish, TopicAction::Retain];
        for case in actions.into_iter().flat_map(cases) {
            let payload = format!("{:?} {}", case.action, case.topic);
            let retain = case.action == TopicAction::Retain;
            let mut device = scene.open(Some(&scene.authority.client(DEVICE)));
            let will = Some((case.topic.as_str(), payload.as_str(), retain));
            let answer = device.connect(&Connect { will, ..Connect::new(DEVICE) });
            drop(device);
            if scene.is_embedded() {
                let no = scene.version.refused(retain);
                assert_eq!(answer, Ok(if case.allowed { 0 } else { no }), "{case:?}");
            }
            // Another device dies after it: when that will has arrived, the first would have.
            let witness = format!("witness of {payload}");
            die_with_will(&scene, "witness", "ota/1/witness/up", &witness);
            let mut seen = server.until(&witness).unwrap();
            if case.allowed && !has(&seen, &payload) {
                seen = server.until(&payload).unwrap();
                seen.push((case.topic.clone(), payload.clone().into()));
            }
            seen.extend(scene.seen(&mut server));
            assert_eq!(has(&seen, &payload), case.allowed, "{case:?}");
        }
        if scene.is_embedded() {
            wait_for_log(&["client refused", DEVICE, "the last will lies on a foreign topic"]);
        }
    }
}

fn die_with_will(scene: &Scene, id: &str, topic: &str, payload: &str) {
    let mut device: Raw = scene.open(Some(&scene.authority.client(id)));
    let will = Some((topic, payload, false));
    let answer: Result<u8, Closed> = device.connect(&Connect { will, ..Connect::new(id) });
    assert_eq!(answer, Ok(0));
}
