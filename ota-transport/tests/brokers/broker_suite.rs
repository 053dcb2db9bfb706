//! The suite of every broker, asked of the embedded one over its sockets.

use core::time::Duration;
use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::{self, BrokerClient, BrokerUnderTest, ClientHello, Kept};
use ota_core::fleet::Broker;
use ota_transport::broker::{BrokerConfig, EmbeddedBroker, ListenOn};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::link_suite::read_packet;
use crate::raw::{Connect, Version, packet, publish, text};

struct UnderTest(EmbeddedBroker);

/// Dropping it closes the socket without a goodbye.
struct Client {
    stream: BufReader<TcpStream>,
    /// Messages that arrived while something else was waited for.
    inbox: VecDeque<(String, Bytes)>,
}

impl Client {
    async fn send(&mut self, packet: &[u8]) {
        // A connection that is gone shows with the next read.
        let _ = self.stream.write_all(packet).await;
    }

    /// Reads a packet; a message goes into the inbox, anything else is given back.
    async fn packet(&mut self) -> Option<Option<(u8, Vec<u8>)>> {
        let (first, body) = read_packet(&mut self.stream).await?;
        if first & 0xf0 != 0x30 {
            return Some(Some((first, body)));
        }
        let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..topic_end].to_vec()).unwrap();
        self.inbox.push_back((topic, Bytes::copy_from_slice(&body[topic_end..])));
        Some(None)
    }
}

#[async_trait]
impl BrokerUnderTest for UnderTest {
    fn broker(&self) -> &dyn Broker {
        &self.0
    }

    async fn connect(&self, client: &ClientHello) -> Option<Box<dyn BrokerClient>> {
        let stream = TcpStream::connect(self.0.listeners()[0].address).await.ok()?;
        stream.set_nodelay(true).unwrap();
        let mut end = Client { stream: BufReader::new(stream), inbox: VecDeque::new() };
        let will = client.will.as_ref().map(|will| {
            (will.topic.as_str(), core::str::from_utf8(&will.payload).unwrap(), will.kept == Kept::Retained)
        });
        let user = client.credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        end.send(&Connect { user, will, ..Connect::new(&client.client_id) }.packet(Version::V3)).await;
        let (first, body) = end.packet().await??;
        assert_eq!(first, 0x20);
        (body[1] == 0).then(|| Box::new(end) as Box<dyn BrokerClient>)
    }
}

#[async_trait]
impl BrokerClient for Client {
    async fn subscribe(&mut self, filter: &str) -> bool {
        self.send(&packet(0x82, &[vec![0, 7], text(filter), vec![0]].concat())).await;
        loop {
            if let Some((first, body)) = self.packet().await.expect("a subscription is answered") {
                assert_eq!(first, 0x90);
                return body[2] != 0x80;
            }
        }
    }

    async fn publish(&mut self, topic: &str, payload: Bytes, kept: Kept) {
        self.send(&publish(topic, &payload, kept == Kept::Retained)).await;
    }

    async fn receive(&mut self) -> Option<(String, Bytes)> {
        while self.inbox.is_empty() {
            self.packet().await?;
        }
        self.inbox.pop_front()
    }

    async fn leave(mut self: Box<Self>) {
        self.send(&[0xe0, 0]).await;
        // The broker closes the connection, although this end does not.
        while self.packet().await.is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_broker_keeps_every_promise_of_a_broker() {
    let fresh = async |authorizer| {
        let listeners = vec![ListenOn { address: ([127, 0, 0, 1], 0).into(), tls: None }];
        let config = BrokerConfig { listeners, ..BrokerConfig::default() };
        UnderTest(EmbeddedBroker::start(config, authorizer).await.unwrap())
    };
    tokio::time::timeout(Duration::from_secs(120), conformance::broker(fresh)).await.unwrap();
}
