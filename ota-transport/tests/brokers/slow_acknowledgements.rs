//! A device of the original system: it waits for each chunk, and writes header and payload of a packet separately,
//! with Nagle's algorithm on.

use core::time::Duration;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use ota_core::conformance::topics::DEVICE;
use ota_core::fleet::{Broker, Dialect, LinkEvent, Outbound};
use ota_transport::broker::{BrokerConfig, DeviceAuthorizer, EmbeddedBroker, ListenOn, Passwords};

use crate::raw::{Connect, Raw, text};

const CHUNK_BYTES: usize = 1024;
const CHUNKS: usize = 1024;

struct AnyPassword;

#[async_trait::async_trait]
impl Passwords for AnyPassword {
    async fn verify(&self, _user: &str, _password: &[u8]) -> Result<(), ota_core::fleet::Refusal> {
        Ok(())
    }
}

/// A delayed acknowledgement for each request would take 40 ms, and 41 s together. The figure is the benchmark's
/// business; here it only has to be plain that there was none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_writes_in_two_parts_does_not_wait_for_delayed_acknowledgements() {
    let rules = ota_core::conformance::topics::rules();
    let authorizer = DeviceAuthorizer::new(rules).with_passwords(std::sync::Arc::new(AnyPassword));
    let listeners = vec![ListenOn { address: ([127, 0, 0, 1], 0).into(), tls: None }];
    let config = BrokerConfig { listeners, ..BrokerConfig::default() };
    let broker = EmbeddedBroker::start(config, std::sync::Arc::new(authorizer)).await.unwrap();
    let address = broker.listeners()[0].address;

    let device = tokio::task::spawn_blocking(move || {
        let stream = TcpStream::connect(address).unwrap();
        let mut parts = stream.try_clone().unwrap();
        let mut device = Raw::over(stream);
        let user = Some((DEVICE, "any"));
        assert_eq!(device.connect(&Connect { user, ..Connect::new(DEVICE) }), Ok(0));
        device.subscribe(&format!("xi/ctrl/v1/{DEVICE}/cln")).unwrap();
        let started = Instant::now();
        let mut received = 0;
        for chunk in 0..CHUNKS {
            let topic = text(&format!("xi/ctrl/v1/{DEVICE}/svc"));
            let payload = u32::try_from(chunk).unwrap().to_be_bytes();
            let header = [0x30, u8::try_from(topic.len() + payload.len()).unwrap()];
            parts.write_all(&[&header[..], &topic].concat()).unwrap();
            parts.write_all(&payload).unwrap();
            let (_, bytes) = device.message().unwrap();
            assert_eq!(bytes, vec![u8::try_from(chunk % 251).unwrap(); CHUNK_BYTES]);
            received += bytes.len();
        }
        (received, started.elapsed())
    });
    let link = broker.link();
    let mut answered = 0;
    while answered < CHUNKS {
        for event in link.receive(16).await.unwrap() {
            if let LinkEvent::Message { dialect: Dialect::Sft, device, payload } = event {
                let chunk = u32::from_be_bytes(payload[..].try_into().unwrap());
                let payload = vec![u8::try_from(chunk % 251).unwrap(); CHUNK_BYTES].into();
                link.send(vec![Outbound { dialect: Dialect::Sft, device, payload }]).await.unwrap();
                answered += 1;
            }
        }
    }
    let (received, took) = device.await.unwrap();
    assert_eq!(received, CHUNKS * CHUNK_BYTES);
    eprintln!("1 MiB in 1 KiB chunks, one at a time, written in two parts: {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
