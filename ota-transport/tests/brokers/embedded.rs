//! What only the embedded broker does: its link inside the process, revocation at once, passwords.

use std::sync::Arc;

use async_trait::async_trait;
use ota_core::conformance::topics::{self, DEVICE, OTHER};
use ota_core::fleet::{Broker, Dialect, LinkEvent, MessageLink, Outbound, Refusal};
use ota_core::text::DeviceIdBuf;
use ota_transport::broker::{BrokerConfig, DeviceAuthorizer, EmbeddedBroker, ListenOn, Passwords};
use tokio::runtime::Runtime;

use crate::raw::{Closed, Connect, Raw, packet, text};
use crate::scene::{Scene, Subject, wait_for_log};

fn id(id: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(id).unwrap()
}

fn message(dialect: Dialect, device: &str, payload: &'static [u8]) -> LinkEvent {
    LinkEvent::Message { dialect, device: id(device), payload: payload.into() }
}

/// The link of a scene, and what drives it.
struct Link<'a> {
    link: Arc<dyn MessageLink>,
    broker: &'a EmbeddedBroker,
    authorizer: &'a DeviceAuthorizer,
    runtime: &'a Runtime,
}

impl<'a> Link<'a> {
    fn of(scene: &'a Scene) -> Self {
        let Subject::Embedded { broker, authorizer, runtime } = &scene.subject else { unreachable!() };
        Self { link: broker.link(), broker, authorizer, runtime }
    }

    fn next(&self) -> LinkEvent {
        self.runtime.block_on(self.link.receive(1)).unwrap().pop().expect("the link is closed")
    }

    fn send(&self, dialect: Dialect, device: &str, payload: &'static [u8]) {
        let message = Outbound { dialect, device: id(device), payload: payload.into() };
        self.runtime.block_on(self.link.send(vec![message])).unwrap();
    }

    fn disconnect(&self, device: &str) -> bool {
        self.runtime.block_on(self.link.disconnect(&id(device))).unwrap()
    }
}

#[test]
fn the_link_hears_devices_under_their_proven_identity_and_reaches_them() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    let mut device = scene.device(DEVICE);
    assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));
    device.publish(&format!("ota/1/{OTHER}/up"), "forged").unwrap();
    device.publish(&format!("app/{DEVICE}/out/x"), "not for the server").unwrap();
    device.publish(&format!("ota/1/{DEVICE}/up"), "native").unwrap();
    device.publish(&format!("xi/ctrl/v1/{DEVICE}/svc"), "sft").unwrap();
    assert_eq!(link.next(), message(Dialect::Native, DEVICE, b"native"));
    assert_eq!(link.next(), message(Dialect::Sft, DEVICE, b"sft"));

    // It has not subscribed, is not asked about the other protocol, and another device is not there at all.
    link.send(Dialect::Native, DEVICE, b"too early");
    link.send(Dialect::Native, OTHER, b"not there");
    assert_eq!(link.broker.messages_dropped(), 1);
    device.subscribe(&format!("ota/1/{DEVICE}/down")).unwrap();
    link.send(Dialect::Sft, DEVICE, b"wrong protocol");
    link.send(Dialect::Native, DEVICE, b"hello");
    assert_eq!(device.message().unwrap(), (format!("ota/1/{DEVICE}/down"), b"hello".to_vec()));
    assert_eq!(link.broker.messages_dropped(), 2);
    drop(device);
    assert_eq!(link.next(), LinkEvent::Disconnected(id(DEVICE)));
}

#[test]
fn a_server_over_mqtt_is_believed_as_a_server_and_not_as_a_device() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    let mut server = scene.server();
    server.publish(&format!("ota/1/{DEVICE}/up"), "not said by the device").unwrap();
    server.settle().unwrap();
    let mut device = scene.device(DEVICE);
    assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));
    device.publish(&format!("ota/1/{DEVICE}/up"), "said").unwrap();
    assert_eq!(link.next(), message(Dialect::Native, DEVICE, b"said"));
}

#[test]
fn a_second_connection_of_a_device_ends_the_first_and_is_told_in_order() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    let mut first = scene.device(DEVICE);
    let mut second = scene.device(DEVICE);
    assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));
    assert_eq!(link.next(), LinkEvent::Disconnected(id(DEVICE)));
    assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));
    assert_eq!(first.settle(), Err(Closed));
    // The end of the first says nothing about the second.
    second.subscribe(&format!("ota/1/{DEVICE}/down")).unwrap();
    link.send(Dialect::Native, DEVICE, b"still there");
    assert_eq!(second.message().unwrap().1, b"still there");
    second.publish(&format!("ota/1/{DEVICE}/up"), "here").unwrap();
    assert_eq!(link.next(), message(Dialect::Native, DEVICE, b"here"));
}

#[test]
fn a_device_is_disconnected_at_once_and_comes_back() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    assert!(!link.disconnect(DEVICE));
    let mut device = scene.device(DEVICE);
    assert!(link.disconnect(DEVICE));
    assert_eq!(device.settle(), Err(Closed));
    wait_for_log(&["connection ended", DEVICE, "disconnected by the server"]);
    assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));
    assert_eq!(link.next(), LinkEvent::Disconnected(id(DEVICE)));
    scene.device(DEVICE).settle().unwrap();
}

/// rmqtt asks an earlier session to make room, and one that is just ending does not answer.
#[test]
fn a_device_that_is_quick_to_come_back_is_let_in() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    let config = scene.authority.client_config(Some(&scene.authority.client(DEVICE)));
    for round in 0..150 {
        let mut device = Raw::tls(scene.address(), &config);
        assert_eq!(device.connect(&Connect::new(DEVICE)), Ok(0), "round {round}");
        // Disconnected by the server, gone without a word, or still there.
        match round % 3 {
            0 => assert!(link.disconnect(DEVICE)),
            1 => drop(device),
            _ => {}
        }
    }
}

/// Mosquitto CVE-2021-34434 and CVE-2018-12546: subscriptions and messages outlived the rights they were made with.
#[test]
fn incident_46_a_revoked_device_says_and_hears_nothing_from_then_on() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    let mut server = scene.server();
    let mut device = scene.open(Some(&scene.authority.client(DEVICE)));
    let topic = format!("ota/1/{DEVICE}/up");
    let will = Some((topic.as_str(), "last words", false));
    assert_eq!(device.connect(&Connect { will, keeps_session: true, ..Connect::new(DEVICE) }), Ok(0));
    device.subscribe(&format!("ota/1/{DEVICE}/down")).unwrap();
    device.subscribe(&format!("app/{DEVICE}/in/x")).unwrap();
    assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));

    link.authorizer.revoke(id(DEVICE));
    // It is still connected, but for nothing.
    device.publish(&topic, "too late").unwrap();
    link.send(Dialect::Native, DEVICE, b"secret");
    server.publish(&format!("app/{DEVICE}/in/x"), "secret").unwrap();
    server.settle().unwrap();
    device.settle().unwrap();
    assert!(device.inbox.is_empty(), "{:?}", device.inbox);

    assert!(link.disconnect(DEVICE));
    assert_eq!(device.settle(), Err(Closed));
    let mut again = scene.open(Some(&scene.authority.client(DEVICE)));
    assert_eq!(again.connect(&Connect::new(DEVICE)), Ok(5));
    assert_eq!(link.next(), LinkEvent::Disconnected(id(DEVICE)));
    wait_for_log(&["client refused", DEVICE, "the credentials have been revoked"]);

    // Neither message nor last will got through, and a session that was to be kept is gone.
    link.authorizer.reinstate(&id(DEVICE));
    let mut device = scene.open(Some(&scene.authority.client(DEVICE)));
    assert_eq!(device.connect(&Connect { keeps_session: true, ..Connect::new(DEVICE) }), Ok(0));
    assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));
    link.send(Dialect::Native, DEVICE, b"nobody subscribed");
    device.settle().unwrap();
    assert!(device.inbox.is_empty(), "{:?}", device.inbox);
    let seen = scene.seen(&mut server);
    let spoken = |(topic, _): &&(String, Vec<u8>)| topic.starts_with("ota/1/") && topic.ends_with("/up");
    assert_eq!(seen.iter().find(spoken), None);
}

#[test]
fn nothing_is_kept_of_a_session_that_the_server_has_ended_however_soon_its_device_is_back() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    for round in 0..20 {
        let mut device = scene.open(Some(&scene.authority.client(DEVICE)));
        assert_eq!(device.connect(&Connect { keeps_session: true, ..Connect::new(DEVICE) }), Ok(0));
        assert_eq!(link.next(), LinkEvent::Connected(id(DEVICE)));
        link.send(Dialect::Native, DEVICE, b"nobody subscribed");
        device.settle().unwrap();
        assert!(device.inbox.is_empty(), "round {round}: {:?}", device.inbox);
        device.subscribe(&format!("ota/1/{DEVICE}/down")).unwrap();
        assert!(link.disconnect(DEVICE));
        assert_eq!(link.next(), LinkEvent::Disconnected(id(DEVICE)));
    }
}

/// rumqtt 924: a message over the client's limit came again with each connection, for ever.
#[test]
fn incident_43_no_packet_is_sent_that_a_device_does_not_take() {
    let scene = Scene::embedded();
    let link = Link::of(&scene);
    let mut server = scene.server();
    let mut device = scene.open(Some(&scene.authority.client(DEVICE)));
    // MQTT 5, and no packets over 100 bytes.
    let properties = [0x27, 0, 0, 0, 100];
    let connect = [text("MQTT"), vec![5, 2, 0, 60, 5], properties.to_vec(), text(DEVICE)].concat();
    device.send(&packet(0x10, &connect)).unwrap();
    let (kind, body) = device.read_packet().unwrap();
    assert_eq!((kind, body[1]), (0x20, 0));
    for filter in [format!("ota/1/{DEVICE}/down"), format!("app/{DEVICE}/in/x")] {
        device.send(&packet(0x82, &[vec![0, 7, 0], text(&filter), vec![0]].concat())).unwrap();
        assert_eq!(device.read_packet().unwrap().0, 0x90);
    }
    link.send(Dialect::Native, DEVICE, &[1; 200]);
    server.publish(&format!("app/{DEVICE}/in/x"), &"x".repeat(200)).unwrap();
    server.settle().unwrap();
    link.send(Dialect::Native, DEVICE, b"small");
    let (kind, body) = device.read_packet().unwrap();
    assert_eq!(kind, 0x30);
    assert!(body.ends_with(b"small"));
    assert_eq!(link.broker.messages_dropped(), 1);
}

struct OnePassword;

#[async_trait]
impl Passwords for OnePassword {
    async fn verify(&self, user: &str, password: &[u8]) -> Result<(), Refusal> {
        if (user, password) == (DEVICE, b"right") { Ok(()) } else { Err(Refusal::Credentials) }
    }
}

/// Devices of the original system: user name, client id and device id are the same.
#[test]
fn a_password_proves_one_identity_and_no_other() {
    let runtime = Runtime::new().unwrap();
    let authorizer = DeviceAuthorizer::new(topics::rules()).with_passwords(Arc::new(OnePassword));
    let listeners = vec![ListenOn { address: ([127, 0, 0, 1], 0).into(), tls: None }];
    let config = BrokerConfig { listeners, threads: Some(1), ..BrokerConfig::default() };
    let broker = runtime.block_on(EmbeddedBroker::start(config, Arc::new(authorizer))).unwrap();
    let address = broker.listeners()[0].address;
    for (client_id, user, answer) in [
        (DEVICE, Some((DEVICE, "right")), 0),
        (DEVICE, Some((DEVICE, "wrong")), 4),
        (DEVICE, Some((OTHER, "right")), 4),
        (OTHER, Some((DEVICE, "right")), 5),
        (DEVICE, None, 4),
        ("", None, 4),
    ] {
        let connect = Connect { user, ..Connect::new(client_id) };
        assert_eq!(Raw::tcp(address).connect(&connect), Ok(answer), "{client_id} {user:?}");
    }

    // When it is shut down, everybody is disconnected and the address is free.
    let mut device = Raw::tcp(address);
    assert_eq!(device.connect(&Connect { user: Some((DEVICE, "right")), ..Connect::new(DEVICE) }), Ok(0));
    runtime.block_on(broker.shutdown()).unwrap();
    assert_eq!(device.settle(), Err(Closed));
    let link = broker.link();
    while !runtime.block_on(link.receive(100)).unwrap().is_empty() {}
    std::net::TcpListener::bind(address).unwrap();
}
