//! Where rmqtt asks: who may come in, who may do what with which topic, and what the link has to hear of it.
//!
//! rmqtt allows what no hook denies, so there is a hook for each question, and no answer but ours. It publishes last
//! wills without asking: theirs are judged when the client connects and replaced by nothing if the answer has changed
//! since. A subscription is judged when it is made, and each message once more when it is delivered.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use ota_core::fleet::{Authorizer, ConnectRequest, Identity, Refusal, TopicAction};
use ota_core::text::DeviceId;
use rmqtt::codec::v5::SubscribeAckReason;
use rmqtt::context::ServerContext;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType, Type};
use rmqtt::session::Session;
use rmqtt::types::{
    AuthResult, ConnectInfo, From, FromType, Id, LastWill, Publish, PublishAclResult, Subscribe,
    SubscribeAclResult,
};
use tokio::time::timeout;

use super::clients::Clients;
use super::link::{InProcessLink, Present};

/// The client id that nobody has: what is sent to it goes nowhere.
const NOBODY: &str = "";
/// How long a session whose connection is gone may take to end, and how often it is looked for.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);
const ENDING_LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub(super) struct Hooks {
    pub(super) context: ServerContext,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) clients: Arc<Clients>,
    pub(super) link: Arc<InProcessLink>,
    pub(super) connect_timeout: Duration,
}

impl Hooks {
    /// Takes every question that decides something.
    pub(super) async fn register(self) {
        let register = self.context.extends.hook_mgr().register();
        for question in [
            Type::ClientAuthenticate,
            Type::ClientConnected,
            Type::ClientDisconnected,
            Type::ClientSubscribeCheckAcl,
            Type::MessagePublish,
            Type::MessagePublishCheckAcl,
            Type::MessageExpiryCheck,
            Type::MessageDelivered,
            Type::MessageDropped,
        ] {
            register.add(question, Box::new(self.clone())).await;
        }
        register.start().await;
    }

    async fn authenticate(&self, connect: &ConnectInfo) -> AuthResult {
        let Some(client) = self.clients.find(connect.ipaddress()) else {
            let source = connect.ipaddress().map(|source| source.to_string());
            tracing::warn!(source, reason = "it did not come through the front door", "client refused");
            return AuthResult::NotAuthorized;
        };
        let request = ConnectRequest {
            certificate: client.certificate.as_ref().map(|proven| proven.name.clone()),
            fingerprint: client.certificate.as_ref().map(|proven| proven.fingerprint),
            user: connect.username().map(ToString::to_string),
            password: connect.password().map(|password| password.to_vec()),
            client_id: connect.client_id().to_string(),
            peer: Some(client.peer),
        };
        let asked = timeout(self.connect_timeout, self.authorizer.connect(&request));
        let answer = match asked.await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::Limits),
        };
        match answer.and_then(|identity| self.admit(identity, connect)) {
            Ok(()) => {
                self.earlier_session_ended(connect.client_id()).await;
                client.admit(connect.client_id());
                AuthResult::Allow(false, None)
            }
            Err(why) => {
                tracing::warn!(
                    peer = %client.peer,
                    client = request.client_id,
                    certificate = request.certificate,
                    user = request.user,
                    reason = %why,
                    "client refused"
                );
                match why {
                    Refusal::Credentials => AuthResult::BadUsernameOrPassword,
                    _ => AuthResult::NotAuthorized,
                }
            }
        }
    }

    /// What must be true of whoever comes in, whatever the authorizer looked at.
    fn admit(&self, identity: Identity, connect: &ConnectInfo) -> Result<(), Refusal> {
        if identity_of(connect.client_id()) != identity {
            return Err(Refusal::ForeignClientId);
        }
        if let Some(will) = connect.last_will() {
            let topic = match &will {
                LastWill::V3(will) => &will.topic,
                LastWill::V5(will) => &will.topic,
            };
            let action = if will.retain() { TopicAction::Retain } else { TopicAction::Publish };
            self.authorizer.topic(&identity, action, topic).map_err(|_| Refusal::LastWill)?;
        }
        Ok(())
    }

    /// Waits for an earlier session of the client that is on its way out.
    ///
    /// rmqtt is about to ask that session to make room. One that is just ending by itself does not answer any more, and
    /// the client, which only was quick to come back, would be told that the broker is not available.
    async fn earlier_session_ended(&self, client_id: &str) {
        let started = Instant::now();
        while started.elapsed() < ENDING_TIMEOUT {
            let id = Id::new(self.context.node.id(), 0, None, None, client_id.into(), None);
            let Some(session) = self.context.extends.shared().await.entry(id).session() else { return };
            if self.clients.find(session.id.remote_addr).is_some()
                || !ends_with_its_connection(&session).await
            {
                return;
            }
            tokio::time::sleep(ENDING_LOOK_AGAIN_AFTER).await;
        }
    }

    async fn connected(&self, session: &Session) {
        let Identity::Device(device) = identity_of(&session.id.client_id) else { return };
        let tx = self.context.extends.shared().await.entry(session.id.clone()).tx();
        let (Some(client), Some(tx)) = (self.clients.find(session.id.remote_addr), tx) else { return };
        let present =
            Present::new(&self.context, &device, session.clone(), tx, Arc::clone(&client), self.link.rules())
                .await;
        self.link.connected(device.clone(), present);
        // Somebody may have revoked it between the question and now, and found nobody to disconnect.
        let identity = Identity::Device(device);
        match timeout(self.connect_timeout, self.authorizer.stands(&identity)).await {
            Ok(Ok(())) => {}
            Ok(Err(Refusal::Revoked)) => client.cut("its credentials have been revoked"),
            Ok(Err(_)) | Err(_) => client.cut("it could not be made sure that it may stay"),
        }
    }

    fn subscribe(&self, session: &Session, subscribe: &Subscribe) -> SubscribeAclResult {
        let identity = identity_of(&session.id.client_id);
        let filter = &subscribe.topic_filter;
        match self.authorizer.topic(&identity, TopicAction::Subscribe, filter) {
            Ok(()) => SubscribeAclResult::new_success(subscribe.opts.qos(), None),
            Err(why) => {
                self.refused(session, "subscription refused", filter, why);
                SubscribeAclResult::new_failure(SubscribeAckReason::NotAuthorized)
            }
        }
    }

    async fn publish(&self, session: &Session, publish: &Publish) -> Result<(), Refusal> {
        let identity = identity_of(&session.id.client_id);
        let action = if publish.retain { TopicAction::Retain } else { TopicAction::Publish };
        self.authorizer
            .topic(&identity, action, &publish.topic)
            .inspect_err(|why| self.refused(session, "message refused", &publish.topic, *why))?;
        if let Identity::Device(device) = identity
            && let Some((dialect, named)) = self.link.rules().said(&publish.topic)
            && named == device.borrow()
        {
            self.link.said(dialect, device, publish.payload.clone()).await;
        }
        Ok(())
    }

    /// Whether a message may be delivered now, whatever was allowed when it was subscribed.
    fn deliverable(&self, session: &Session, from: &From, publish: &Publish) -> bool {
        let identity = identity_of(&session.id.client_id);
        if let Err(why) = self.authorizer.topic(&identity, TopicAction::Receive, &publish.topic) {
            self.refused(session, "delivery refused", &publish.topic, why);
            return false;
        }
        // Larger than the client takes: it would have to close the connection, and again after each reconnect.
        match identity {
            Identity::Device(device) if !from.is_system() => {
                self.link.find(&device).is_none_or(|present| present.takes(&publish.topic, &publish.payload))
            }
            _ => true,
        }
    }

    fn refused(&self, session: &Session, what: &'static str, topic: &str, why: Refusal) {
        let peer = self.clients.find(session.id.remote_addr).map(|client| client.peer.to_string());
        tracing::warn!(peer, client = &*session.id.client_id, topic, reason = %why, "{what}");
    }
}

#[async_trait]
impl Handler for Hooks {
    async fn hook(&self, parameter: &Parameter, before: Option<HookResult>) -> ReturnType {
        let answer = match parameter {
            Parameter::ClientAuthenticate(connect) => {
                HookResult::AuthResult(self.authenticate(connect).await)
            }
            Parameter::ClientSubscribeCheckAcl(session, subscribe) => {
                HookResult::SubscribeAclResult(self.subscribe(session, subscribe))
            }
            Parameter::MessagePublishCheckAcl(session, publish) => {
                HookResult::PublishAclResult(match self.publish(session, publish).await {
                    Ok(()) => PublishAclResult::allow(),
                    // The message is lost and the connection goes on: it is the device's only one.
                    Err(why) => PublishAclResult::rejected(false, Some(why.to_string().into())),
                })
            }
            Parameter::MessagePublish(Some(session), from, will)
                if matches!(from.typ(), FromType::LastWill) =>
            {
                match self.publish(session, will).await {
                    Ok(()) => return (true, before),
                    Err(_) => HookResult::Publish(nothing((*will).clone())),
                }
            }
            Parameter::MessageExpiryCheck(session, from, publish) => {
                if self.deliverable(session, from, publish) {
                    return (true, before);
                }
                HookResult::MessageExpiry
            }
            Parameter::MessageDelivered(session, from, publish) => {
                self.left(&session.id.client_id, from, publish);
                return (true, before);
            }
            Parameter::MessageDropped(Some(to), from, publish, _) => {
                self.left(&to.client_id, from, publish);
                return (true, before);
            }
            Parameter::ClientConnected(session) => {
                self.connected(session).await;
                return (true, before);
            }
            Parameter::ClientDisconnected(session, reason) => {
                if let Identity::Device(device) = identity_of(&session.id.client_id) {
                    tracing::debug!(device = device.as_str(), %reason, "device disconnected");
                    self.link.disconnected(&device, &session.id);
                }
                return (true, before);
            }
            _ => return (true, before),
        };
        (false, Some(answer))
    }
}

impl Hooks {
    fn left(&self, client_id: &str, from: &From, publish: &Publish) {
        if let Identity::Device(device) = identity_of(client_id) {
            self.link.left(&device, from, publish.payload.len());
        }
    }
}

/// Whose session this is. A device is only ever admitted under its own id, and a server never under a device's.
fn identity_of(client_id: &str) -> Identity {
    match DeviceId::new(client_id) {
        Ok(device) => Identity::Device(device.into()),
        Err(_) => Identity::Server,
    }
}

/// Whether the session is over when its connection is; otherwise it stays, and answers.
async fn ends_with_its_connection(session: &Session) -> bool {
    match session.connect_info().await.as_deref() {
        Ok(ConnectInfo::V3(_, connect)) => connect.clean_session,
        Ok(ConnectInfo::V5(_, connect)) => connect.session_expiry_interval_secs == 0,
        Err(_) => false,
    }
}

/// What is published instead of a last will that is not allowed any longer: nothing, to nobody.
fn nothing(will: Publish) -> Publish {
    let mut nothing = will.target_clientid(NOBODY.into());
    nothing.inner.retain = false;
    nothing.inner.payload = bytes::Bytes::new();
    nothing
}
