//! The suite of every message link, asked of the link inside the process.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::{DeviceEnd, LinkUnderTest, message_link};
use ota_core::fleet::{
    Authorizer, Broker, ConnectRequest, Dialect, Identity, MessageLink, Refusal, TopicAction,
};
use ota_core::text::{DeviceId, DeviceIdBuf};
use ota_transport::broker::{BrokerConfig, BrokerLimits, EmbeddedBroker, ListenOn};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::raw::{Connect, Version, packet, publish, text};

/// Everybody is who he says.
struct Trusting;

#[async_trait]
impl Authorizer for Trusting {
    async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal> {
        DeviceId::new(&request.client_id)
            .map(|id| Identity::Device(id.into()))
            .map_err(|_| Refusal::Credentials)
    }

    async fn stands(&self, _identity: &Identity) -> Result<(), Refusal> {
        Ok(())
    }

    fn topic(&self, _identity: &Identity, _action: TopicAction, _topic: &str) -> Result<(), Refusal> {
        Ok(())
    }
}

struct UnderTest {
    broker: EmbeddedBroker,
    link: Arc<dyn MessageLink>,
}

struct Device {
    id: DeviceIdBuf,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// The next packet, first byte and body, or `None` once the connection is gone.
pub(crate) async fn read_packet(reader: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let first = reader.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = reader.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

#[async_trait]
impl LinkUnderTest for UnderTest {
    fn link(&self) -> &dyn MessageLink {
        &*self.link
    }

    async fn connect(&self, device: &DeviceIdBuf) -> Box<dyn DeviceEnd> {
        let stream = TcpStream::connect(self.broker.listeners()[0].address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        let mut end = Device { id: device.clone(), reader: BufReader::new(reader), writer };
        let id = device.as_str();
        end.writer.write_all(&Connect::new(id).packet(Version::V3)).await.unwrap();
        assert_eq!(read_packet(&mut end.reader).await.unwrap(), (0x20, vec![0, 0]));
        for topic in [format!("ota/1/{id}/down"), format!("xi/ctrl/v1/{id}/cln")] {
            let subscribe = packet(0x82, &[vec![0, 7], text(&topic), vec![0]].concat());
            end.writer.write_all(&subscribe).await.unwrap();
            assert_eq!(read_packet(&mut end.reader).await.unwrap(), (0x90, vec![0, 7, 0]));
        }
        Box::new(end)
    }

    async fn close(&self) {
        self.broker.shutdown().await.unwrap();
    }
}

#[async_trait]
impl DeviceEnd for Device {
    async fn send(&mut self, dialect: Dialect, payload: Bytes) {
        let topic = match dialect {
            Dialect::Native => format!("ota/1/{}/up", self.id.as_str()),
            _ => format!("xi/ctrl/v1/{}/svc", self.id.as_str()),
        };
        self.writer.write_all(&publish(&topic, &payload, false)).await.unwrap();
    }

    async fn receive(&mut self) -> Option<(Dialect, Bytes)> {
        let (_, body) = read_packet(&mut self.reader).await?;
        let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let dialect = if body[2..].starts_with(b"ota/") { Dialect::Native } else { Dialect::Sft };
        Some((dialect, Bytes::copy_from_slice(&body[topic_end..])))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_inside_the_process_keeps_every_promise_of_a_link() {
    let fresh = async || {
        let listeners = vec![ListenOn { address: ([127, 0, 0, 1], 0).into(), tls: None }];
        let config = BrokerConfig { listeners, limits: BrokerLimits::default(), ..BrokerConfig::default() };
        let broker = EmbeddedBroker::start(config, Arc::new(Trusting)).await.unwrap();
        UnderTest { link: broker.link(), broker }
    };
    tokio::time::timeout(Duration::from_secs(120), message_link(fresh)).await.unwrap();
}
