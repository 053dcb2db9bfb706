//! Clients that take too much: connections, rate, memory.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::TcpStream;

use ota_core::conformance::topics::DEVICE;
use ota_core::fleet::{Broker, Dialect, LinkEvent, Outbound};
use ota_core::text::DeviceIdBuf;
use ota_transport::broker::BrokerLimits;

use crate::raw::{Connect, Raw};
use crate::scene::{Scene, Subject, wait_for_log};

#[test]
fn a_flood_of_connections_is_turned_away_and_the_others_are_served() {
    let scene = Scene::embedded_with(BrokerLimits {
        connections: 40,
        connections_per_address: 30,
        ..BrokerLimits::default()
    });
    let mut before = scene.device("before");
    let flood: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(scene.address()).unwrap()).collect();
    wait_for_log(&["connection refused", "its address has too many connections"]);
    before.settle().unwrap();
    // From another address there is still room.
    let elsewhere = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    elsewhere.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    elsewhere.connect(&scene.address().into()).unwrap();
    let config = scene.authority.client_config(Some(&scene.authority.client("elsewhere")));
    let mut other = Raw::tls_over(elsewhere.into(), &config);
    assert_eq!(other.connect(&Connect::new("elsewhere")), Ok(0));
    drop(flood);
    // And once the flood is over, for everybody.
    while scene.open(Some(&scene.authority.client("after"))).connect(&Connect::new("after")) != Ok(0) {}
    before.settle().unwrap();
}

#[test]
fn who_connects_and_says_nothing_has_to_go() {
    let limits = BrokerLimits { handshake_timeout: Duration::from_millis(200), ..BrokerLimits::default() };
    let scene = Scene::embedded_with(limits);
    let mut silent = Raw::tcp(scene.address());
    assert!(silent.read_packet().is_err());
    wait_for_log(&["connection ended", "TLS took too long"]);
    // TLS alone is not enough either.
    let mut silent = scene.open(Some(&scene.authority.client("silent")));
    let _ = silent.stream.flush();
    while silent.read_packet().is_ok() {}
    wait_for_log(&["connection ended", "no CONNECT in time"]);
}

#[test]
fn a_device_over_its_rate_is_read_more_slowly_and_loses_nothing() {
    let limits = BrokerLimits { packets_per_second: 100, ..BrokerLimits::default() };
    let scene = Scene::embedded_with(limits);
    let mut server = scene.server();
    let started = std::time::Instant::now();
    let mut device = scene.device(DEVICE);
    for number in 0..200 {
        device.publish("ota/1/device-a/up", &number.to_string()).unwrap();
    }
    // What was read at once is passed on at once; the next waits until all of it is paid.
    device.settle().unwrap();
    device.settle().unwrap();
    assert!(started.elapsed() > Duration::from_millis(900), "{:?}", started.elapsed());
    let seen: Vec<String> =
        scene.seen(&mut server).into_iter().map(|(_, payload)| String::from_utf8(payload).unwrap()).collect();
    assert_eq!(seen, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// The server is slow: its devices are held back, and nothing is lost or reordered.
#[test]
fn a_server_that_does_not_receive_holds_its_devices_back() {
    let scene = Scene::embedded_with(BrokerLimits { events: 2, ..BrokerLimits::default() });
    let Subject::Embedded { broker, runtime, .. } = &scene.subject else { unreachable!() };
    let mut device = scene.device(DEVICE);
    for number in 0..500_u32 {
        device.publish("ota/1/device-a/up", &number.to_string()).unwrap();
    }
    let link = broker.link();
    let mut next = 0_u32;
    while next < 500 {
        for event in runtime.block_on(link.receive(7)).unwrap() {
            if let LinkEvent::Message { payload, .. } = event {
                assert_eq!(payload, next.to_string());
                next += 1;
            }
        }
    }
    device.settle().unwrap();
}

#[test]
fn a_device_that_does_not_read_costs_a_bounded_amount_of_memory() {
    let limits = BrokerLimits { queued_bytes: 64 * 1024, ..BrokerLimits::default() };
    let scene = Scene::embedded_with(limits);
    let Subject::Embedded { broker, runtime, .. } = &scene.subject else { unreachable!() };
    let mut deaf = scene.device(DEVICE);
    deaf.subscribe("ota/1/device-a/down").unwrap();
    let link = broker.link();
    let message = |payload: Vec<u8>| Outbound {
        dialect: Dialect::Native,
        device: DeviceIdBuf::new(DEVICE).unwrap(),
        payload: payload.into(),
    };
    // More than all buffers of the kernel on the way take.
    let mut sent = 0;
    while broker.messages_dropped() == 0 {
        runtime.block_on(link.send(vec![message(vec![1; 16 * 1024]); 16])).unwrap();
        sent += 16;
        assert!(sent < 100_000, "nothing was dropped");
    }
    // What was not dropped arrives once it reads, and then there is room again.
    let delivered = sent - broker.messages_dropped();
    for _ in 0..delivered {
        assert_eq!(deaf.message().unwrap().1.len(), 16 * 1024);
    }
    deaf.settle().unwrap();
    runtime.block_on(link.send(vec![message(b"again".to_vec())])).unwrap();
    assert_eq!(deaf.message().unwrap().1, b"again");
}
