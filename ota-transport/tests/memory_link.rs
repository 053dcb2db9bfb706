//! The memory link and the wrappers keep the promises of the trait, and injected faults happen.
#![cfg(all(feature = "memory", feature = "wrappers"))]

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ota_core::conformance::{DeviceEnd, LinkUnderTest, message_link};
use ota_core::fleet::{Dialect, LinkError, LinkEvent, MessageLink, Outbound};
use ota_core::text::DeviceIdBuf;
use ota_transport::memory::{MemoryDevice, MemoryLink, MemoryLinkLimits};
use ota_transport::wrappers::{FaultyLink, InjectedFaults, LinkFaults, MeteredLink, TracedLink};

/// A memory link, behind a wrapper or not.
struct UnderTest<L> {
    memory: MemoryLink,
    link: L,
}

struct End(MemoryDevice);

#[async_trait]
impl<L: MessageLink> LinkUnderTest for UnderTest<L> {
    fn link(&self) -> &dyn MessageLink {
        &self.link
    }

    async fn connect(&self, device: &DeviceIdBuf) -> Box<dyn DeviceEnd> {
        Box::new(End(self.memory.connect(device.clone()).await.unwrap()))
    }

    async fn close(&self) {
        self.memory.close();
    }
}

#[async_trait]
impl DeviceEnd for End {
    async fn send(&mut self, dialect: Dialect, payload: Bytes) {
        self.0.send(dialect, payload).await.unwrap();
    }

    async fn receive(&mut self) -> Option<(Dialect, Bytes)> {
        self.0.receive().await
    }
}

fn wrapped<L: MessageLink>(wrap: impl FnOnce(MemoryLink) -> L) -> UnderTest<L> {
    let memory = MemoryLink::new(MemoryLinkLimits::default());
    UnderTest { link: wrap(memory.clone()), memory }
}

#[tokio::test]
async fn the_memory_link_conforms() {
    message_link(async || wrapped(|memory| memory)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrappers_without_faults_conform() {
    message_link(async || {
        wrapped(|memory| {
            let inner = TracedLink::new(MeteredLink::new(memory));
            FaultyLink::new(inner, LinkFaults::default(), 1)
        })
    })
    .await;
}

fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

const MESSAGES: u32 = 1000;

/// Which numbers arrived how often, in both directions, and in which order those of the device came.
async fn carried(
    faults: LinkFaults,
    seed: u64,
) -> (BTreeMap<u32, u32>, BTreeMap<u32, u32>, Vec<u32>, InjectedFaults) {
    let limits = MemoryLinkLimits { events: 10_000, inbox: 10_000 };
    let memory = MemoryLink::new(limits);
    let link = FaultyLink::new(memory.clone(), faults, seed);
    let device = memory.connect(id("a")).await.unwrap();
    for number in 0..MESSAGES {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        device.send(Dialect::Native, payload.clone()).await.unwrap();
        link.send(vec![Outbound { dialect: Dialect::Native, device: id("a"), payload }]).await.unwrap();
    }
    let number = |payload: &Bytes| u32::from_be_bytes(payload[..].try_into().unwrap());
    let (mut up, mut down, mut order) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let silence = core::time::Duration::from_millis(faults.delay_ms_max + 1);
    // The clock is paused: it moves only when everybody waits for it.
    while let Ok(Ok(events)) = tokio::time::timeout(silence, link.receive(10)).await {
        for event in events {
            if let LinkEvent::Message { payload, .. } = event {
                *up.entry(number(&payload)).or_default() += 1;
                order.push(number(&payload));
            }
        }
    }
    while let Ok(Some((_, payload))) = tokio::time::timeout(silence, device.receive()).await {
        *down.entry(number(&payload)).or_default() += 1;
    }
    (up, down, order, link.injected())
}

#[tokio::test(start_paused = true)]
async fn injected_faults_happen_and_are_counted() {
    let faults =
        LinkFaults { lost_permille: 100, duplicated_permille: 100, delayed_permille: 300, delay_ms_max: 500 };
    let (up, down, order, injected) = carried(faults, 7).await;
    let lost = u64::from(2 * MESSAGES) - (up.len() + down.len()) as u64;
    assert_eq!(lost, injected.lost);
    let twice = up.values().chain(down.values()).filter(|count| **count == 2).count() as u64;
    assert_eq!(twice, injected.duplicated);
    assert!(injected.lost > 100 && injected.duplicated > 100 && injected.delayed > 300, "{injected:?}");
    assert!(!order.is_sorted(), "delayed messages are overtaken");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    let faults =
        LinkFaults { lost_permille: 200, duplicated_permille: 50, delayed_permille: 500, delay_ms_max: 100 };
    assert_eq!(carried(faults, 3).await, carried(faults, 3).await);
    assert_ne!(carried(faults, 3).await.0, carried(faults, 4).await.0);
}

#[tokio::test]
async fn a_metered_link_counts_both_directions() {
    let memory = MemoryLink::new(MemoryLinkLimits::default());
    let link = MeteredLink::new(memory.clone());
    let device = memory.connect(id("a")).await.unwrap();
    device.send(Dialect::Native, Bytes::from_static(b"12345")).await.unwrap();
    link.receive(10).await.unwrap();
    let message = |payload| Outbound { dialect: Dialect::Native, device: id("a"), payload };
    link.send(vec![message(Bytes::from_static(b"123")), message(Bytes::new())]).await.unwrap();
    let counts = link.counts();
    assert_eq!((counts.messages_received, counts.bytes_received), (1, 5));
    assert_eq!((counts.messages_sent, counts.bytes_sent, counts.errors), (2, 3, 0));
}

#[tokio::test]
async fn a_second_connection_of_a_device_ends_the_first() {
    let link = MemoryLink::new(MemoryLinkLimits::default());
    let first = link.connect(id("a")).await.unwrap();
    let second = link.connect(id("a")).await.unwrap();
    assert_eq!(first.receive().await, None);
    assert!(first.send(Dialect::Native, Bytes::new()).await.is_err());
    drop(first);
    second.send(Dialect::Native, Bytes::new()).await.unwrap();
    drop(second);
    let events = link.receive(10).await.unwrap();
    let (connected, gone) = (LinkEvent::Connected(id("a")), LinkEvent::Disconnected(id("a")));
    let message = LinkEvent::Message { dialect: Dialect::Native, device: id("a"), payload: Bytes::new() };
    assert_eq!(events, [connected.clone(), gone.clone(), connected, message, gone]);
}

/// What was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_traced_link_tells_of_each_message_and_nothing_of_what_is_in_it() {
    let told = Told::default();
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let link = wrapped(TracedLink::new);
    let device = link.memory.connect(id("a")).await.unwrap();
    // For this thread, which nothing here leaves.
    let _guard = tracing::subscriber::set_default(subscriber);
    device.send(Dialect::Native, Bytes::from_static(b"secret")).await.unwrap();
    while link.link.receive(10).await.unwrap().iter().all(|event| matches!(event, LinkEvent::Connected(_))) {}
    let answer = Outbound { dialect: Dialect::Sft, device: id("a"), payload: Bytes::from_static(b"hidden") };
    link.link.send(vec![answer]).await.unwrap();
    assert!(link.link.disconnect(&id("a")).await.unwrap());
    link.link.receive(10).await.unwrap();
    let told = String::from_utf8(told.0.lock().unwrap().clone()).unwrap();
    let lines = [
        ["TRACE", "connected", "device=\"a\"", ""],
        ["TRACE", "received", "dialect=Native", "bytes=6"],
        ["TRACE", "sent", "dialect=Sft", "bytes=6"],
        ["TRACE", "disconnect", "device=\"a\"", "could=true"],
        ["TRACE", "disconnected", "device=\"a\"", ""],
    ];
    for words in lines {
        assert!(told.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?} in {told}");
    }
    assert!(!told.contains("secret") && !told.contains("hidden"));
}

/// A link whose connection was lost so often.
struct Numbered(u64);

#[async_trait]
impl MessageLink for Numbered {
    async fn receive(&self, _: usize) -> Result<Vec<LinkEvent>, LinkError> {
        Ok(Vec::new())
    }

    async fn send(&self, _: Vec<Outbound>) -> Result<(), LinkError> {
        Ok(())
    }

    async fn disconnect(&self, _: &DeviceIdBuf) -> Result<bool, LinkError> {
        Ok(false)
    }

    fn connection(&self) -> u64 {
        self.0
    }
}

#[test]
fn a_wrapped_link_still_tells_one_connection_from_the_next() {
    let inner = TracedLink::new(MeteredLink::new(Numbered(7)));
    assert_eq!(FaultyLink::new(inner, LinkFaults::default(), 1).connection(), 7);
}
