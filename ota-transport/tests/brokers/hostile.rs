//! Clients that are not who they say, or that do not even speak MQTT.

use ota_core::conformance::topics::{DEVICE, OTHER};

use crate::certificates::Authority;
use crate::raw::{Closed, Connect, Raw, packet, publish, text};
use crate::scene::{Scene, wait_for_log};

/// The broker still does its work: a device says something, and the server hears it.
fn is_up(scene: &Scene) {
    let mut server = scene.server();
    let mut device = scene.device("canary");
    device.publish("ota/1/canary/up", "alive").unwrap();
    device.settle().unwrap();
    assert_eq!(scene.seen(&mut server), [("ota/1/canary/up".to_owned(), b"alive".to_vec())]);
}

#[test]
fn without_a_valid_certificate_nobody_gets_in() {
    for scene in Scene::each("hostile-certificates") {
        let foreign = Authority::new("Fleet CA");
        for (certificate, reason) in [
            (None, "sent no certificates"),
            (Some(foreign.client(DEVICE)), "invalid peer certificate"),
            (Some(scene.authority.expired_client(DEVICE)), "invalid peer certificate: certificate expired"),
            // A certificate for servers proves no client.
            (Some(scene.authority.server()), "invalid peer certificate"),
        ] {
            let mut client = scene.open(certificate.as_ref());
            assert_eq!(client.connect(&Connect::new(DEVICE)), Err(Closed), "{reason}");
            if scene.is_embedded() {
                wait_for_log(&["connection ended", reason]);
            }
        }
        is_up(&scene);
    }
}

#[test]
fn certificates_count_the_same_with_tls_1_2_and_1_3() {
    for scene in Scene::each("hostile-versions") {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let open = |identity| {
                let config = scene.authority.client_config_speaking(&[version], identity);
                Raw::tls(scene.address(), &config).speaking(scene.version)
            };
            let own = scene.authority.client(DEVICE);
            assert_eq!(open(Some(&own)).connect(&Connect::new(DEVICE)), Ok(0), "{version:?}");
            assert_eq!(open(None).connect(&Connect::new(DEVICE)), Err(Closed), "{version:?}");
        }
    }
}

#[test]
fn a_stolen_client_id_gives_nothing_and_takes_nothing() {
    for scene in Scene::each("hostile-stolen-id") {
        let mut server = scene.server();
        let mut other = scene.device(OTHER);
        other.subscribe(&format!("ota/1/{OTHER}/down")).unwrap();
        for stolen in [
            Connect::new(OTHER),
            Connect { user: Some((OTHER, "")), ..Connect::new(OTHER) },
            Connect { user: Some((OTHER, "")), ..Connect::new(DEVICE) },
            Connect { keeps_session: true, ..Connect::new(OTHER) },
            Connect::new("ota/server"),
            Connect::new("#"),
            Connect::new("anything"),
            Connect::new(""),
        ] {
            let id = stolen.client_id;
            let mut thief = scene.open(Some(&scene.authority.client(DEVICE)));
            match thief.connect(&stolen) {
                // Mosquitto replaces what the client calls itself by the name in its certificate.
                Ok(0) => assert!(!scene.is_embedded(), "{id:?}"),
                Ok(_) | Err(Closed) => continue,
            }
            let _ = thief.subscribe(&format!("ota/1/{OTHER}/down"));
            let _ = thief.publish(&format!("ota/1/{OTHER}/up"), "forged");
            server.publish(&format!("ota/1/{OTHER}/down"), "secret").unwrap();
            assert_eq!(other.message().unwrap().1, b"secret", "{id:?}");
            if thief.settle().is_ok() {
                assert!(thief.inbox.is_empty(), "{id:?}");
            }
            let seen = scene.seen(&mut server);
            assert!(seen.iter().all(|(_, payload)| payload != b"forged"), "{id:?}");
        }
        // The session that was to be stolen is still there.
        other.settle().unwrap();
        if scene.is_embedded() {
            wait_for_log(&["client refused", OTHER, "the client id is not the identity that was proven"]);
            wait_for_log(&["client refused", OTHER, "the user name is not the identity that was proven"]);
        }
    }
}

/// DJI Romo 2026, Mosquitto CVE-2017-7650: a name that is a wildcard or holds a separator.
#[test]
fn incident_46_a_hostile_name_reaches_nobody() {
    for scene in Scene::each("hostile-names") {
        let mut server = scene.server();
        let mut other = scene.device(OTHER);
        other.subscribe(&format!("ota/1/{OTHER}/down")).unwrap();
        for name in ["+", "#", "device-b/down", "+/down", "device-b/up/x", "../device-b", "device-b\n", " "] {
            let mut hostile = scene.open(Some(&scene.authority.client(name)));
            if hostile.connect(&Connect::new(name)) != Ok(0) {
                continue;
            }
            // A space is a strange name, and nobody else's.
            assert!(!scene.is_embedded() || name == " ", "{name:?}");
            for filter in ["#", "ota/1/+/down", "ota/1/device-b/down", "ota/1/#"] {
                let _ = hostile.subscribe(filter);
            }
            let _ = hostile.publish(&format!("ota/1/{OTHER}/up"), "forged");
            server.publish(&format!("ota/1/{OTHER}/down"), "secret").unwrap();
            assert_eq!(other.message().unwrap().1, b"secret", "{name:?}");
            if hostile.settle().is_ok() {
                assert!(hostile.inbox.is_empty(), "{name:?} heard {:?}", hostile.inbox);
            }
            let seen = scene.seen(&mut server);
            assert!(seen.iter().all(|(_, payload)| payload != b"forged"), "{name:?}");
        }
        is_up(&scene);
    }
}

#[test]
fn incident_43_an_oversized_packet_ends_its_connection_and_nothing_else() {
    for scene in Scene::each("hostile-oversized") {
        let mut server = scene.server();
        let mut neighbour = scene.device(OTHER);
        let bomb = [0x30, 0xff, 0xff, 0xff, 0x7f];
        let large = publish(&format!("ota/1/{DEVICE}/up"), &vec![7; 200_000], false);
        for oversized in [&bomb[..], &large] {
            let mut device = scene.device(DEVICE);
            let _ = device.send(oversized);
            assert_eq!(device.settle(), Err(Closed));
            // The limit holds before anybody knows who it is as well.
            let mut stranger = scene.open(Some(&scene.authority.client(DEVICE)));
            let sent = stranger.send(&[&[0x10], &oversized[1..]].concat());
            assert!(sent.and_then(|()| stranger.read_packet()).is_err());
        }
        neighbour.settle().unwrap();
        assert_eq!(scene.seen(&mut server), []);
        if scene.is_embedded() {
            wait_for_log(&[DEVICE, "a packet of 268435455 bytes is over the limit"]);
        }
        is_up(&scene);
    }
}

#[test]
fn what_is_no_mqtt_ends_and_the_broker_goes_on() {
    for scene in Scene::each("hostile-garbage") {
        let connect = Connect::new(DEVICE).packet(scene.version);
        let nested = packet(0x10, &[text("MQTT"), vec![4, 0xff, 0, 60]].concat());
        for garbage in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            vec![0; 100],
            vec![0xff; 100],
            [connect.clone(), connect.clone()].concat(),
            [connect, vec![0xf0, 0]].concat(),
            packet(0x10, &[0xff; 20]),
            nested,
        ] {
            // Without TLS, and inside it.
            let mut plain = Raw::tcp(scene.address());
            let _ = plain.send(&garbage);
            drop(plain);
            let mut client = scene.open(Some(&scene.authority.client(DEVICE)));
            let _ = client.send(&garbage);
            while client.read_packet().is_ok() {}
        }
        is_up(&scene);
    }
}
