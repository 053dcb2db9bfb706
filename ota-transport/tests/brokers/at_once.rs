//! What is answered where messages arrive, before the server receives them.

use std::sync::Arc;

use bytes::Bytes;
use ota_core::conformance::topics::DEVICE;
use ota_core::fleet::{AnswerAtOnce, Broker, Dialect, LinkEvent, MessageLink};
use ota_core::text::DeviceIdBuf;
use ota_transport::broker::BrokerLimits;
use tokio::runtime::Runtime;

use crate::raw::Raw;
use crate::scene::{Scene, Subject};

/// Answers `ask` twice, with these many bytes, and nothing else.
struct Twice(usize);

impl AnswerAtOnce for Twice {
    fn answer(&self, dialect: Dialect, device: &DeviceIdBuf, payload: &Bytes) -> Option<Vec<Bytes>> {
        let is_asked = (dialect, device.as_str()) == (Dialect::Native, DEVICE) && *payload == "ask";
        is_asked.then(|| [1, 2].map(|number| vec![number; self.0].into()).to_vec())
    }
}

struct AtOnce<'a> {
    link: Arc<dyn MessageLink>,
    runtime: &'a Runtime,
    device: Raw,
}

impl<'a> AtOnce<'a> {
    fn of(scene: &'a Scene, bytes: usize) -> Self {
        let Subject::Embedded { broker, runtime, .. } = &scene.subject else { unreachable!() };
        let link = broker.link();
        link.answer_at_once(Arc::new(Twice(bytes)));
        let device = scene.device(DEVICE);
        let at_once = Self { link, runtime, device };
        assert!(matches!(at_once.received(), LinkEvent::Connected(_)));
        at_once
    }

    fn ask(&mut self) {
        self.device.publish(&format!("ota/1/{DEVICE}/up"), "ask").unwrap();
    }

    fn received(&self) -> LinkEvent {
        self.runtime.block_on(self.link.receive(1)).unwrap().pop().expect("the link is closed")
    }

    fn said(payload: &'static str) -> LinkEvent {
        let device = DeviceIdBuf::new(DEVICE).unwrap();
        LinkEvent::Message { dialect: Dialect::Native, device, payload: payload.into() }
    }
}

#[test]
fn what_is_answered_at_once_is_not_received_and_all_else_is() {
    let scene = Scene::embedded();
    let mut at_once = AtOnce::of(&scene, 100);
    // Nobody would hear the answers: that is for the server to see.
    at_once.ask();
    assert_eq!(at_once.received(), AtOnce::said("ask"));
    at_once.device.subscribe(&format!("ota/1/{DEVICE}/down")).unwrap();
    for _ in 0..100 {
        at_once.ask();
        for number in [1, 2] {
            assert_eq!(at_once.device.message().unwrap().1, vec![number; 100]);
        }
    }
    at_once.device.publish(&format!("ota/1/{DEVICE}/up"), "other").unwrap();
    assert_eq!(at_once.received(), AtOnce::said("other"));
}

#[test]
fn a_device_that_asks_and_does_not_read_costs_a_bounded_amount_of_memory() {
    let scene = Scene::embedded_with(BrokerLimits { queued_bytes: 64 * 1024, ..BrokerLimits::default() });
    let mut at_once = AtOnce::of(&scene, 16 * 1024);
    at_once.device.subscribe(&format!("ota/1/{DEVICE}/down")).unwrap();
    // More than all buffers of the kernel on the way take; what has no room any more is received.
    let link = Arc::clone(&at_once.link);
    let receives = at_once.runtime.spawn(async move { link.receive(1).await.unwrap() });
    let mut asked = 0_usize;
    while !receives.is_finished() {
        at_once.ask();
        asked += 1;
        assert!(asked < 50_000, "everything was answered");
    }
    assert_eq!(at_once.runtime.block_on(receives).unwrap(), [AtOnce::said("ask")]);
    // Once it reads, the answers are there, whole and in order.
    for number in [1, 2].repeat(8) {
        assert_eq!(at_once.device.message().unwrap().1, vec![number; 16 * 1024]);
    }
}
