//! The suite of [`MessageLink`]: every sentence of the trait is a case, on a link without faults.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;

use super::futures::{join, poll_once};
use crate::fleet::{Dialect, LinkEvent, MessageLink, Outbound};
use crate::text::DeviceIdBuf;

/// A link with both of its ends at hand.
#[async_trait]
pub trait LinkUnderTest: Send + Sync {
    /// The server's end.
    fn link(&self) -> &dyn MessageLink;

    /// Connects a device, and returns when what is sent to it from now on will reach it.
    async fn connect(&self, device: &DeviceIdBuf) -> Box<dyn DeviceEnd>;

    /// Closes the link.
    async fn close(&self);
}

/// A device's end of a link.
#[async_trait]
pub trait DeviceEnd: Send {
    /// Says something; waits while there is no room for it.
    async fn send(&mut self, dialect: Dialect, payload: Bytes);

    /// Waits for something; `None` once the connection is gone.
    async fn receive(&mut self) -> Option<(Dialect, Bytes)>;
}

/// Asks a link for everything that [`MessageLink`] promises. `fresh` makes a link without faults each time.
///
/// # Panics
/// At the first broken promise. A message that does not arrive is waited for without end: give the test a time limit.
pub async fn message_link<L: LinkUnderTest>(fresh: impl AsyncFn() -> L) {
    macro_rules! ask {
        ($($case:ident)+) => { $($case(&fresh().await).await;)+ };
    }
    ask! {
        a_message_arrives_with_its_device_and_dialect
        messages_of_a_device_keep_their_order
        a_batch_is_no_larger_than_was_asked_for
        a_dropped_receive_loses_nothing
        answers_reach_their_devices_in_order
        a_message_to_nobody_is_dropped
        more_messages_than_there_is_room_for_arrive
        more_answers_than_there_is_room_for_arrive
        a_disconnected_device_is_told
        a_closed_link_has_nothing_more_to_tell
    }
}

/// So many that no queue of a link under test holds them all.
const MANY: u32 = 5000;

fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

fn numbered(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn outbound(device: &str, payload: Bytes) -> Outbound {
    Outbound { dialect: Dialect::Native, device: id(device), payload }
}

/// The next so many messages, connections left out.
async fn messages(link: &dyn MessageLink, count: usize, limit: usize) -> Vec<(Dialect, DeviceIdBuf, Bytes)> {
    let mut found = Vec::new();
    while found.len() < count {
        let events = link.receive(limit).await.unwrap();
        assert!(!events.is_empty(), "an open link has at least one event to tell");
        assert!(events.len() <= limit, "a batch is no larger than was asked for");
        found.extend(events.into_iter().filter_map(message));
    }
    found
}

fn message(event: LinkEvent) -> Option<(Dialect, DeviceIdBuf, Bytes)> {
    match event {
        LinkEvent::Message { dialect, device, payload } | LinkEvent::Late { dialect, device, payload } => {
            Some((dialect, device, payload))
        }
        LinkEvent::Connected(_) | LinkEvent::Disconnected(_) => None,
    }
}

async fn a_message_arrives_with_its_device_and_dialect(under_test: &impl LinkUnderTest) {
    let (mut a, mut b) = (under_test.connect(&id("a")).await, under_test.connect(&id("b")).await);
    a.send(Dialect::Native, Bytes::from_static(b"from a")).await;
    let first = messages(under_test.link(), 1, 10).await;
    assert_eq!(first, vec![(Dialect::Native, id("a"), Bytes::from_static(b"from a"))]);
    b.send(Dialect::Sft, Bytes::new()).await;
    let second = messages(under_test.link(), 1, 10).await;
    assert_eq!(second, vec![(Dialect::Sft, id("b"), Bytes::new())], "an empty message is a message");
}

async fn messages_of_a_device_keep_their_order(under_test: &impl LinkUnderTest) {
    let mut device = under_test.connect(&id("a")).await;
    for number in 0..100 {
        device.send(Dialect::Native, numbered(number)).await;
    }
    let found = messages(under_test.link(), 100, 7).await;
    assert!(
        found.iter().map(|(_, _, payload)| payload).eq((0..100).map(numbered).collect::<Vec<_>>().iter())
    );
}

async fn a_batch_is_no_larger_than_was_asked_for(under_test: &impl LinkUnderTest) {
    let mut device = under_test.connect(&id("a")).await;
    for number in 0..10 {
        device.send(Dialect::Native, numbered(number)).await;
    }
    // `messages` looks at the size of each batch.
    assert_eq!(messages(under_test.link(), 10, 1).await.len(), 10);
}

async fn a_dropped_receive_loses_nothing(under_test: &impl LinkUnderTest) {
    let mut device = under_test.connect(&id("a")).await;
    let mut found = Vec::new();
    for number in 0..50 {
        device.send(Dialect::Native, numbered(number)).await;
        // Sometimes there is something, sometimes there is not; either way the future is dropped.
        let mut receive = under_test.link().receive(3);
        found.extend(events_if_ready(receive.as_mut()).into_iter().filter_map(message));
    }
    let left = 50 - found.len();
    found.extend(messages(under_test.link(), left, 3).await);
    let found: Vec<Bytes> = found.into_iter().map(|(_, _, payload)| payload).collect();
    assert_eq!(
        found,
        (0..50).map(numbered).collect::<Vec<_>>(),
        "a dropped receive neither loses nor repeats"
    );
}

type Receive<'r> = dyn Future<Output = Result<Vec<LinkEvent>, crate::fleet::LinkError>> + Send + 'r;

fn events_if_ready(receive: Pin<&mut Receive<'_>>) -> Vec<LinkEvent> {
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    match receive.poll(&mut context) {
        core::task::Poll::Ready(events) => events.unwrap(),
        core::task::Poll::Pending => vec![],
    }
}

async fn answers_reach_their_devices_in_order(under_test: &impl LinkUnderTest) {
    let (mut a, mut b) = (under_test.connect(&id("a")).await, under_test.connect(&id("b")).await);
    let batch = (0..20).flat_map(|number| ["a", "b"].map(|name| outbound(name, numbered(number))));
    under_test.link().send(batch.collect()).await.unwrap();
    for number in 0..20 {
        for device in [&mut a, &mut b] {
            assert_eq!(device.receive().await, Some((Dialect::Native, numbered(number))));
        }
    }
}

async fn a_message_to_nobody_is_dropped(under_test: &impl LinkUnderTest) {
    let mut a = under_test.connect(&id("a")).await;
    let messages = ["nobody", "a"].map(|name| outbound(name, Bytes::from_static(b"x")));
    under_test.link().send(messages.into()).await.unwrap();
    assert_eq!(a.receive().await, Some((Dialect::Native, Bytes::from_static(b"x"))), "the others get theirs");
    under_test.link().send(vec![]).await.unwrap();
}

async fn more_messages_than_there_is_room_for_arrive(under_test: &impl LinkUnderTest) {
    let mut device = under_test.connect(&id("a")).await;
    let sender = async {
        for number in 0..MANY {
            device.send(Dialect::Native, numbered(number)).await;
        }
        Vec::new()
    };
    let receiver = messages(under_test.link(), usize::try_from(MANY).unwrap(), 64);
    let both: [Pin<Box<dyn Future<Output = Vec<_>> + '_>>; 2] = [Box::pin(sender), Box::pin(receiver)];
    let found = join(both).await.pop().unwrap();
    let found: Vec<Bytes> = found.into_iter().map(|(_, _, payload)| payload).collect();
    assert_eq!(found, (0..MANY).map(numbered).collect::<Vec<_>>(), "senders wait while there is no room");
}

async fn more_answers_than_there_is_room_for_arrive(under_test: &impl LinkUnderTest) {
    let mut device = under_test.connect(&id("a")).await;
    let sender = async {
        let batch = (0..MANY).map(|number| outbound("a", numbered(number))).collect();
        under_test.link().send(batch).await.unwrap();
    };
    let receiver = async {
        for number in 0..MANY {
            assert_eq!(device.receive().await, Some((Dialect::Native, numbered(number))));
        }
    };
    let both: [Pin<Box<dyn Future<Output = ()> + '_>>; 2] = [Box::pin(sender), Box::pin(receiver)];
    join(both).await;
}

async fn a_disconnected_device_is_told(under_test: &impl LinkUnderTest) {
    let (mut a, mut b) = (under_test.connect(&id("a")).await, under_test.connect(&id("b")).await);
    assert!(!under_test.link().disconnect(&id("nobody")).await.unwrap(), "there is nobody to disconnect");
    if under_test.link().disconnect(&id("a")).await.unwrap() {
        assert_eq!(a.receive().await, None, "a disconnected device has no connection any more");
        let mut again = under_test.connect(&id("a")).await;
        again.send(Dialect::Native, Bytes::from_static(b"back")).await;
        let found = messages(under_test.link(), 1, 10).await;
        assert_eq!(
            found,
            vec![(Dialect::Native, id("a"), Bytes::from_static(b"back"))],
            "it may connect again"
        );
    }
    under_test.link().send(vec![outbound("b", Bytes::from_static(b"x"))]).await.unwrap();
    assert_eq!(
        b.receive().await,
        Some((Dialect::Native, Bytes::from_static(b"x"))),
        "others are not touched"
    );
}

async fn a_closed_link_has_nothing_more_to_tell(under_test: &impl LinkUnderTest) {
    let device = id("a");
    let _end = under_test.connect(&device).await;
    // Somebody waits already when the link is closed.
    let mut waiting = under_test.link().receive(100);
    poll_once(waiting.as_mut());
    drop(waiting);
    under_test.close().await;
    let mut told = 0;
    loop {
        let events = under_test.link().receive(100).await.unwrap();
        if events.is_empty() {
            break;
        }
        told += events.len();
        assert!(told < 10, "a closed link comes to an end");
    }
    assert_eq!(under_test.link().receive(1).await.unwrap(), vec![], "and stays there");
    // Whether a closed link refuses messages or drops them is its own affair, but it does not hold the sender.
    let _ = under_test.link().send(vec![outbound("a", Bytes::new()); 10]).await;
}
