//! One connection over MQTT 5. Same functions as its sibling for MQTT 3.1.1.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};

use super::{Incoming, MqttConfig, Poller, Publisher};

/// Prepares a connection; it is made when the poller is first polled.
pub(super) fn open(config: &MqttConfig) -> (Publisher, Poller) {
    let mut options = MqttOptions::new(&config.client_id, &config.host, config.port);
    options.set_keep_alive(config.keep_alive);
    options.set_clean_start(true);
    // The broker is told, and keeps larger ones to itself.
    options.set_max_packet_size(Some(u32::try_from(config.packet_bytes_max).unwrap_or(u32::MAX)));
    // At quality 0 none is ever in flight, and the client would have room for 65,536: seven megabytes.
    options.set_outgoing_inflight_upper_limit(1);
    if let Some(credentials) = &config.credentials {
        options.set_credentials(&credentials.user, &credentials.password);
    }
    if let Some(tls) = &config.tls {
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls.clone())));
    }
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, events) = AsyncClient::new(options, config.queue_messages_max);
    (Publisher::V5(client), Poller::V5(Box::new(events)))
}

/// Asks for all filters at once; `false` when the request could not be queued.
pub(super) fn subscribe(client: &AsyncClient, filters: &[String]) -> bool {
    let filters = filters.iter().map(|path| Filter::new(path.clone(), QoS::AtMostOnce));
    client.try_subscribe_many(filters).is_ok()
}

/// Takes all filters back; `false` when a request could not be queued.
pub(super) fn unsubscribe(client: &AsyncClient, filters: &[String]) -> bool {
    filters.iter().all(|filter| client.try_unsubscribe(filter.as_str()).is_ok())
}

/// Queues a message and waits while the queue is full; `false` when the connection is gone.
pub(super) async fn publish(client: &AsyncClient, topic: String, payload: Bytes) -> bool {
    client.publish(topic, QoS::AtMostOnce, false, payload).await.is_ok()
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
            Incoming::Message { topic: message.topic, payload: message.payload }
        }
        Event::Incoming(Packet::Disconnect(goodbye)) => {
            return Err(format!("the broker said goodbye: {:?}", goodbye.reason_code));
        }
        Event::Incoming(_) | Event::Outgoing(_) => Incoming::Other,
    })
}
