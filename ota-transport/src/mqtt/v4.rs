//! One connection over MQTT 3.1.1. Same functions as its sibling for MQTT 5.

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS, SubscribeFilter,
    SubscribeReasonCode, TlsConfiguration, Transport,
};

use super::{Incoming, MqttConfig, Poller, Publisher, TOLERATED_PACKET_BYTES};

/// Prepares a connection; it is made when the poller is first polled.
pub(super) fn open(config: &MqttConfig) -> (Publisher, Poller) {
    let mut options = MqttOptions::new(&config.client_id, &config.host, config.port);
    options.set_keep_alive(config.keep_alive);
    options.set_clean_session(true);
    options.set_max_packet_size(TOLERATED_PACKET_BYTES, config.packet_bytes_max);
    if let Some(credentials) = &config.credentials {
        options.set_credentials(&credentials.user, &credentials.password);
    }
    if let Some(tls) = &config.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    let (client, mut events) = AsyncClient::new(options, config.queue_messages_max);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    (Publisher::V4(client), Poller::V4(Box::new(events)))
}

/// Asks for all filters at once; `false` when the request could not be queued.
pub(super) fn subscribe(client: &AsyncClient, filters: &[String]) -> bool {
    let filters = filters.iter().map(|path| SubscribeFilter::new(path.clone(), QoS::AtMostOnce));
    client.try_subscribe_many(filters).is_ok()
}

/// Takes all filters back; `false` when a request could not be queued.
pub(super) fn unsubscribe(client: &AsyncClient, filters: &[String]) -> bool {
    filters.iter().all(|filter| client.try_unsubscribe(filter.as_str()).is_ok())
}

/// Queues a message and waits while the queue is full; `false` when the connection is gone.
pub(super) async fn publish(client: &AsyncClient, topic: String, payload: Bytes) -> bool {
    client.publish_bytes(topic, QoS::AtMostOnce, false, payload).await.is_ok()
}

/// Queues a message where nobody may wait; `false` when there is no room for it.
pub(super) fn try_publish(client: &AsyncClient, topic: &str, payload: Bytes) -> bool {
    client.try_publish(topic, QoS::AtMostOnce, false, payload).is_ok()
}

/// Waits for the next event, which drives the connection; the error says why it ended.
pub(super) async fn next(events: &mut EventLoop) -> Result<Incoming, String> {
    let event = events.poll().await.map_err(|error| error.to_string())?;
    Ok(match event {
        Event::Incoming(Packet::ConnAck(_)) => Incoming::Connected,
        Event::Incoming(Packet::SubAck(answer)) => Incoming::Subscribed(
            answer.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))),
        ),
        Event::Incoming(Packet::Publish(message)) => {
            Incoming::Message { topic: message.topic.into(), payload: message.payload }
        }
        Event::Incoming(_) | Event::Outgoing(_) => Incoming::Other,
    })
}
