//! Updates on real sockets: the real engine and devices of the original system, the real program `ota`, its own broker
//! and Debian's mosquitto. Nothing is pretended but the devices' flash.

#[allow(dead_code, reason = "the brokers' own tests need more of it")]
#[path = "../../../ota-transport/tests/brokers/certificates.rs"]
mod certificates;
mod fleet;
#[path = "../../../ota-transport/tests/support/mod.rs"]
mod mosquitto;

mod matrix;
mod original;
#[allow(dead_code, unreachable_pub, reason = "the store's own tests need more of it")]
#[path = "../../../ota-storage/tests/postgres/server.rs"]
mod postgres;
mod restarts;
mod serving;
mod several;
