//! What only shows from inside: the listener that rmqtt has for itself.

use async_trait::async_trait;
use ota_core::fleet::{ConnectRequest, Identity, Refusal, TopicAction};
use ota_core::text::DeviceIdBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// Would let anybody in.
struct AnybodyIsA;

#[async_trait]
impl Authorizer for AnybodyIsA {
    async fn connect(&self, _request: &ConnectRequest) -> Result<Identity, Refusal> {
        Ok(Identity::Device(DeviceIdBuf::new("a").unwrap()))
    }

    async fn stands(&self, _identity: &Identity) -> Result<(), Refusal> {
        Ok(())
    }

    fn topic(&self, _identity: &Identity, _action: TopicAction, _topic: &str) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Another program on the same machine finds the port easily. It has not come through the door.
#[tokio::test]
async fn nobody_gets_in_past_the_front_door() {
    let listeners = vec![ListenOn { address: ([127, 0, 0, 1], 0).into(), tls: None }];
    let config = BrokerConfig { listeners, ..BrokerConfig::default() };
    let parts = set_up(config, Arc::new(AnybodyIsA), Handle::current()).await.unwrap();
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
    for (address, answer) in [(parts.inside, 5), (parts.listeners[0].address, 0)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(connect).await.unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.unwrap();
        assert_eq!(connack, [0x20, 2, 0, answer]);
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = BrokerConfig { listeners: vec![ListenOn { address, tls: None }], ..BrokerConfig::default() };
    let failed = EmbeddedBroker::start(config, Arc::new(AnybodyIsA)).await.err().unwrap();
    assert_eq!(failed.to_string(), format!("cannot listen on {address}"));
}
