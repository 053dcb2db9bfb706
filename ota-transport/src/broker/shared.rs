//! Shared subscriptions, for servers that connect to this broker by MQTT and divide the devices' messages.

use core::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rmqtt::context::ServerContext;
use rmqtt::subscribe::SharedSubscription;
use rmqtt::types::{
    ClientId, Id, IsOnline, NodeId, SharedGroup, SubscriptionIdentifier, SubscriptionOptions, TopicName,
};

/// Members of a group take turns; who is offline is passed over while somebody is there.
#[derive(Default)]
pub(super) struct TakeTurns(AtomicUsize);

#[async_trait]
impl SharedSubscription for TakeTurns {
    fn is_supported(&self) -> bool {
        true
    }

    async fn choice(
        &self,
        context: &ServerContext,
        _group: &SharedGroup,
        _publisher: &Id,
        _topic: &TopicName,
        members: &[(
            NodeId,
            ClientId,
            SubscriptionOptions,
            Option<Vec<SubscriptionIdentifier>>,
            Option<IsOnline>,
        )],
    ) -> Option<(usize, IsOnline)> {
        let first = self.0.fetch_add(1, Ordering::Relaxed).checked_rem(members.len())?;
        let shared = context.extends.shared().await;
        for index in (first..members.len()).chain(0..first) {
            let status = shared.session_status(&members[index].1).await;
            if status.is_some_and(|status| status.online) {
                return Some((index, true));
            }
        }
        Some((first, false))
    }
}
