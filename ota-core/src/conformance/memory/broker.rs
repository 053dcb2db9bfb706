//! A broker in a map: the shortest code that keeps the promises of [`Broker`], on any executor.
//!
//! Nothing is done while the lock is held but moving messages: the authorizer is foreign code and is asked outside.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::super::broker::{BrokerClient, Kept, LastWill};
use crate::fleet::{
    Authorizer, BoxError, Broker, ConnectRequest, Identity, LinkError, LinkEvent, Listener, MessageLink,
    Outbound, Refusal, TopicAction, TopicRules, filter_matches,
};
use crate::text::{DeviceId, DeviceIdBuf};

/// A [`Broker`] without sockets: clients [`connect`](Self::connect) by a call. Nothing is ever full.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    inside: Arc<Inside>,
}

struct Inside {
    authorizer: Arc<dyn Authorizer>,
    /// Which topics the link hears and speaks on; what is allowed, the authorizer says.
    rules: TopicRules,
    state: Mutex<State>,
    events: Mailbox<LinkEvent>,
}

impl core::fmt::Debug for Inside {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Inside").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    is_shut_down: bool,
    /// By client id.
    sessions: BTreeMap<String, Arc<Session>>,
}

struct Session {
    identity: Identity,
    filters: Mutex<Vec<String>>,
    messages: Mailbox<(String, Bytes)>,
    will: Mutex<Option<LastWill>>,
}

/// Messages that somebody waits for, until it is closed.
struct Mailbox<T>(Mutex<Contents<T>>);

struct Contents<T> {
    waiting: VecDeque<T>,
    is_closed: bool,
    readers: Vec<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Mutex::new(Contents { waiting: VecDeque::new(), is_closed: false, readers: Vec::new() }))
    }
}

impl<T> Mailbox<T> {
    /// Puts something in, unless it is closed.
    fn put(&self, item: T) {
        let mut contents = lock(&self.0);
        if !contents.is_closed {
            contents.waiting.push_back(item);
        }
        wake(contents);
    }

    /// Nothing goes in any more. What is there can still be taken if it is `kept`.
    fn close(&self, kept: bool) {
        let mut contents = lock(&self.0);
        contents.is_closed = true;
        if !kept {
            contents.waiting.clear();
        }
        wake(contents);
    }

    /// Waits for items and takes at most `limit`; none once it is closed and empty.
    async fn take(&self, limit: usize) -> Vec<T> {
        poll_fn(|context| {
            let mut contents = lock(&self.0);
            let count = contents.waiting.len().min(limit);
            if count > 0 || contents.is_closed || limit == 0 {
                return Poll::Ready(contents.waiting.drain(..count).collect());
            }
            contents.readers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Wakes outside of the lock.
fn wake<T>(mut contents: MutexGuard<'_, Contents<T>>) {
    let readers = core::mem::take(&mut contents.readers);
    drop(contents);
    readers.into_iter().for_each(Waker::wake);
}

impl MemoryBroker {
    /// A broker that asks this authorizer, with a link on the topics of these rules.
    #[must_use]
    pub fn new(authorizer: Arc<dyn Authorizer>, rules: TopicRules) -> Self {
        let inside = Inside { authorizer, rules, state: Mutex::default(), events: Mailbox::default() };
        Self { inside: Arc::new(inside) }
    }

    /// Connects a client.
    ///
    /// # Errors
    /// The [`Refusal`], or that the broker was shut down.
    pub async fn connect(
        &self,
        request: &ConnectRequest,
        will: Option<LastWill>,
    ) -> Result<MemoryClient, BoxError> {
        let identity = self.inside.authorizer.connect(request).await?;
        let named = DeviceId::new(&request.client_id).map(|id| Identity::Device(id.into()));
        if named.unwrap_or(Identity::Server) != identity {
            return Err(Refusal::ForeignClientId.into());
        }
        if let Some(will) = &will {
            let asked = self.inside.authorizer.topic(&identity, action(will.kept), &will.topic);
            asked.map_err(|_| Refusal::LastWill)?;
        }
        let session = Arc::new(Session {
            identity: identity.clone(),
            filters: Mutex::default(),
            messages: Mailbox::default(),
            will: Mutex::new(will),
        });
        let client_id = request.client_id.clone();
        let earlier = lock(&self.inside.state).sessions.get(&client_id).cloned();
        if let Some(earlier) = earlier {
            self.inside.end(&client_id, &earlier);
        }
        {
            let mut state = lock(&self.inside.state);
            if state.is_shut_down {
                return Err("the broker was shut down".into());
            }
            state.sessions.insert(client_id.clone(), Arc::clone(&session));
            if let Identity::Device(device) = &identity {
                self.inside.events.put(LinkEvent::Connected(device.clone()));
            }
        }
        let client = MemoryClient { inside: Arc::clone(&self.inside), client_id, session };
        self.inside.authorizer.stands(&identity).await?;
        Ok(client)
    }
}

const fn action(kept: Kept) -> TopicAction {
    match kept {
        Kept::No => TopicAction::Publish,
        Kept::Retained => TopicAction::Retain,
    }
}

impl Inside {
    fn allows(&self, identity: &Identity, action: TopicAction, topic: &str) -> bool {
        self.authorizer.topic(identity, action, topic).is_ok()
    }

    /// Routes a message, if its sender may publish it. Nothing is retained.
    fn publish(&self, from: &Identity, topic: &str, payload: &Bytes, kept: Kept) {
        if !self.allows(from, action(kept), topic) {
            return;
        }
        if let Identity::Device(device) = from
            && let Some((dialect, named)) = self.rules.said(topic)
            && named == device.borrow()
        {
            let (device, payload) = (device.clone(), payload.clone());
            self.events.put(LinkEvent::Message { dialect, device, payload });
        }
        let sessions: Vec<_> = lock(&self.state).sessions.values().cloned().collect();
        let mut groups_served = Vec::new();
        for session in sessions {
            let filters = lock(&session.filters).clone();
            if filters.iter().any(|filter| takes(filter, topic, &mut groups_served)) {
                self.deliver(&session, topic, payload);
            }
        }
    }

    /// Delivers, if the session may hear the topic now, whatever it subscribed to earlier.
    fn deliver(&self, session: &Session, topic: &str, payload: &Bytes) {
        if self.allows(&session.identity, TopicAction::Receive, topic) {
            session.messages.put((topic.to_string(), payload.clone()));
        }
    }

    /// Ends a session that still is the client's, and publishes the last will that is left in it.
    fn end(&self, client_id: &str, session: &Arc<Session>) {
        let mut state = lock(&self.state);
        if !state.sessions.get(client_id).is_some_and(|current| Arc::ptr_eq(current, session)) {
            return;
        }
        state.sessions.remove(client_id);
        if let Identity::Device(device) = &session.identity {
            self.events.put(LinkEvent::Disconnected(device.clone()));
        }
        drop(state);
        session.messages.close(false);
        if let Some(LastWill { topic, payload, kept }) = lock(&session.will).take() {
            self.publish(&session.identity, &topic, &payload, kept);
        }
    }

    fn session_of(&self, device: &DeviceIdBuf) -> Option<Arc<Session>> {
        lock(&self.state).sessions.get(device.as_str()).cloned()
    }
}

/// Whether a subscription takes a message; one of each group that shares does.
fn takes(filter: &str, topic: &str, groups_served: &mut Vec<String>) -> bool {
    match filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')) {
        Some((_, shared)) if filter_matches(shared, topic) => {
            let is_first = !groups_served.iter().any(|served| served == filter);
            groups_served.push(filter.to_string());
            is_first
        }
        Some(_) => false,
        None => filter_matches(filter, topic),
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    fn listeners(&self) -> Vec<Listener> {
        Vec::new()
    }

    fn link(&self) -> Arc<dyn MessageLink> {
        Arc::new(MemoryBrokerLink { inside: Arc::clone(&self.inside) })
    }

    async fn shutdown(&self) -> Result<(), BoxError> {
        let mut state = lock(&self.inside.state);
        state.is_shut_down = true;
        let sessions: Vec<_> =
            state.sessions.iter().map(|(id, session)| (id.clone(), Arc::clone(session))).collect();
        drop(state);
        for (client_id, session) in sessions {
            self.inside.end(&client_id, &session);
        }
        self.inside.events.close(true);
        Ok(())
    }
}

struct MemoryBrokerLink {
    inside: Arc<Inside>,
}

#[async_trait]
impl MessageLink for MemoryBrokerLink {
    async fn receive(&self, limit: usize) -> Result<Vec<LinkEvent>, LinkError> {
        Ok(self.inside.events.take(limit).await)
    }

    async fn send(&self, messages: Vec<Outbound>) -> Result<(), LinkError> {
        for Outbound { dialect, device, payload } in messages {
            let Some(session) = self.inside.session_of(&device) else { continue };
            let topic = self.inside.rules.heard(dialect, device.borrow());
            let is_subscribed =
                lock(&session.filters).iter().any(|filter| takes(filter, &topic, &mut Vec::new()));
            if is_subscribed {
                self.inside.deliver(&session, &topic, &payload);
            }
        }
        Ok(())
    }

    async fn disconnect(&self, device: &DeviceIdBuf) -> Result<bool, LinkError> {
        let Some(session) = self.inside.session_of(device) else { return Ok(false) };
        self.inside.end(device.as_str(), &session);
        Ok(true)
    }
}

/// A client of a [`MemoryBroker`]. Dropping it is a death: the last will is published.
pub struct MemoryClient {
    inside: Arc<Inside>,
    client_id: String,
    session: Arc<Session>,
}

impl core::fmt::Debug for MemoryClient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("MemoryClient").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[async_trait]
impl BrokerClient for MemoryClient {
    async fn subscribe(&mut self, filter: &str) -> bool {
        let is_allowed = self.inside.allows(&self.session.identity, TopicAction::Subscribe, filter);
        if is_allowed {
            lock(&self.session.filters).push(filter.to_string());
        }
        is_allowed
    }

    async fn publish(&mut self, topic: &str, payload: Bytes, kept: Kept) {
        // Who was disconnected has no connection to say it on.
        let is_connected = !lock(&self.session.messages.0).is_closed;
        if is_connected {
            self.inside.publish(&self.session.identity, topic, &payload, kept);
        }
    }

    async fn receive(&mut self) -> Option<(String, Bytes)> {
        self.session.messages.take(1).await.pop()
    }

    async fn leave(self: Box<Self>) {
        lock(&self.session.will).take();
    }
}

impl Drop for MemoryClient {
    fn drop(&mut self) {
        self.inside.end(&self.client_id, &self.session);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::broker::{BrokerUnderTest, ClientHello};
    use super::super::super::futures::block_on;
    use super::super::super::topics;
    use super::*;
    use crate::conformance::{DeviceEnd, LinkUnderTest};
    use crate::fleet::Dialect;

    #[async_trait]
    impl BrokerUnderTest for MemoryBroker {
        fn broker(&self) -> &dyn Broker {
            self
        }

        async fn connect(&self, client: &ClientHello) -> Option<Box<dyn BrokerClient>> {
            let request = request(&client.client_id, client.credentials.as_ref());
            let client = Self::connect(self, &request, client.will.clone()).await.ok()?;
            Some(Box::new(client))
        }
    }

    fn request(client_id: &str, credentials: Option<&(String, String)>) -> ConnectRequest {
        ConnectRequest {
            certificate: None,
            fingerprint: None,
            user: credentials.map(|(user, _)| user.clone()),
            password: credentials.map(|(_, password)| password.as_bytes().to_vec()),
            client_id: client_id.to_string(),
            peer: None,
        }
    }

    #[test]
    fn the_reference_conforms() {
        block_on(crate::conformance::broker(async |authorizer| {
            MemoryBroker::new(authorizer, topics::rules())
        }));
    }

    #[test]
    fn a_group_that_shares_gets_each_message_once() {
        let mut served = Vec::new();
        assert!(takes("$share/ota/ota/1/+/up", "ota/1/a/up", &mut served));
        assert!(!takes("$share/ota/ota/1/+/up", "ota/1/a/up", &mut served));
        assert!(takes("$share/log/ota/1/+/up", "ota/1/a/up", &mut served));
        assert!(!takes("$share/ota/ota/1/+/down", "ota/1/a/up", &mut Vec::new()));
        assert!(!takes("#", "$SYS/uptime", &mut Vec::new()));
    }

    /// Everybody is who he says, and may do everything.
    struct Trusting;

    #[async_trait]
    impl Authorizer for Trusting {
        async fn connect(&self, request: &ConnectRequest) -> Result<Identity, Refusal> {
            let device = DeviceId::new(&request.client_id).map_err(|_| Refusal::Credentials)?;
            Ok(Identity::Device(device.into()))
        }

        async fn stands(&self, _: &Identity) -> Result<(), Refusal> {
            Ok(())
        }

        fn topic(&self, _: &Identity, _: TopicAction, _: &str) -> Result<(), Refusal> {
            Ok(())
        }
    }

    struct Linked {
        broker: MemoryBroker,
        link: Arc<dyn MessageLink>,
    }

    #[async_trait]
    impl LinkUnderTest for Linked {
        fn link(&self) -> &dyn MessageLink {
            &*self.link
        }

        async fn connect(&self, device: &DeviceIdBuf) -> Box<dyn DeviceEnd> {
            let request = request(device.as_str(), None);
            let mut client = MemoryBroker::connect(&self.broker, &request, None).await.unwrap();
            for dialect in [Dialect::Native, Dialect::Sft] {
                client.subscribe(&topics::rules().heard(dialect, device.borrow())).await;
            }
            Box::new(client)
        }

        async fn close(&self) {
            self.broker.shutdown().await.unwrap();
        }
    }

    #[async_trait]
    impl DeviceEnd for MemoryClient {
        async fn send(&mut self, dialect: Dialect, payload: Bytes) {
            let topic = match dialect {
                Dialect::Native => alloc::format!("ota/1/{}/up", self.client_id),
                Dialect::Sft => alloc::format!("xi/ctrl/v1/{}/svc", self.client_id),
            };
            self.publish(&topic, payload, Kept::No).await;
        }

        async fn receive(&mut self) -> Option<(Dialect, Bytes)> {
            let (topic, payload) = BrokerClient::receive(self).await?;
            Some((if topic.starts_with("xi/") { Dialect::Sft } else { Dialect::Native }, payload))
        }
    }

    #[test]
    fn its_link_keeps_every_promise_of_a_link() {
        block_on(crate::conformance::message_link(async || {
            let broker = MemoryBroker::new(Arc::new(Trusting), topics::rules());
            Linked { link: broker.link(), broker }
        }));
    }
}
