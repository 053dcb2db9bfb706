//! The same whole update over each carrier, version of MQTT and dialect: firmware, an application and a certificate, from
//! `ota init` to the last device that has confirmed.

use core::net::SocketAddr;
use std::fs;
use std::path::Path;

use ota_core::conformance::MemoryStorage;
use ota_core::device::Granularity;
use ota_core::fleet::records::{AttemptPhase, PersonRole};
use ota_core::number::ByteLength;
use ota_core::time::Millis;
use ota_server::program::DeviceCertificate;
use ota_sim::device::DEVICE;
use ota_sim::fleet_server::{FleetServer, person};
use ota_sim::wire::original::Original;
use ota_sim::wire::program::{AT_ONCE, Serving, client_config};
use ota_sim::wire::{Access, Mqtt};
use ota_sim::workshop::{SourceFile, Terms};
use ota_sim::world::{End, World};
use tokio::runtime::Runtime;

use crate::certificates::Authority;
use crate::fleet::{Living, LivingOriginal, PRODUCT, files, id, native, program};
use crate::mosquitto::Mosquitto;

/// What carries the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// The broker of the program, with TLS, certificates and passwords.
    Embedded,
    /// Mosquitto for everybody who comes.
    Plain,
    /// Mosquitto with TLS and passwords, and the ACL file of docs/mosquitto.
    Tls,
    /// Mosquitto as docs/mosquitto sets it up: mutual TLS and the ACL file.
    MutualTls,
}

/// Who is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// The native protocol, over this version.
    Native(Mqtt),
    /// The original one, which is MQTT 3.1.1.
    Sft,
}

use Carrier::{Embedded, MutualTls, Plain, Tls};
use Mqtt::{V3, V5};
use Speaks::{Native, Sft};

/// Carrier, what the server speaks with it, device. The memory link has a test of its own.
const CELLS: &[(Carrier, Mqtt, Speaks)] = &[
    (Embedded, V3, Native(V3)),
    (Embedded, V3, Native(V5)),
    (Embedded, V3, Sft),
    (Plain, V3, Native(V3)),
    (Plain, V3, Native(V5)),
    (Plain, V3, Sft),
    (Plain, V5, Native(V3)),
    (Plain, V5, Native(V5)),
    (Plain, V5, Sft),
    (Tls, V3, Native(V3)),
    (Tls, V3, Native(V5)),
    (Tls, V3, Sft),
    (Tls, V5, Native(V3)),
    (Tls, V5, Native(V5)),
    (Tls, V5, Sft),
    (MutualTls, V3, Native(V3)),
    (MutualTls, V3, Native(V5)),
    (MutualTls, V3, Sft),
    (MutualTls, V5, Native(V3)),
    (MutualTls, V5, Native(V5)),
    (MutualTls, V5, Sft),
];

#[test]
fn over_the_embedded_broker() {
    whole_update(Embedded, V3);
}

#[test]
fn over_plain_mosquitto_with_mqtt_3() {
    whole_update(Plain, V3);
}

#[test]
fn over_plain_mosquitto_with_mqtt_5() {
    whole_update(Plain, V5);
}

#[test]
fn over_mosquitto_with_tls_and_passwords_and_mqtt_3() {
    whole_update(Tls, V3);
}

#[test]
fn over_mosquitto_with_tls_and_passwords_and_mqtt_5() {
    whole_update(Tls, V5);
}

#[test]
fn over_mosquitto_with_mutual_tls_and_mqtt_3() {
    whole_update(MutualTls, V3);
}

#[test]
fn over_mosquitto_with_mutual_tls_and_mqtt_5() {
    whole_update(MutualTls, V5);
}

#[test]
fn over_the_memory_link() {
    let targets = ["firmware", "app", "data", "certificates"];
    let granularity = Granularity { write: 4, erase: 4096 };
    let storage = MemoryStorage::with_targets(granularity, &targets, ByteLength(2 << 20), 8);
    let server = FleetServer::new(DEVICE, 1);
    let mut world = World::joined(storage, server, &FleetServer::root_body(), 1, &files("1"));
    let campaign = world.server.roll_out(&Terms::default(), &files("2"));
    let confirmed = |world: &World<MemoryStorage, FleetServer>| {
        let FleetServer { server, runtime, .. } = &world.server;
        let operator = person("operator", PersonRole::Operator);
        let progress = runtime.block_on(server.progress(&operator, campaign)).unwrap();
        progress.now.iter().any(|line| line.phase == AttemptPhase::Confirmed && line.devices == 1)
    };
    let end = world.run_through(Millis(600_000), |world, _| confirmed(world));
    assert_eq!(end, End::Reached, "{:?}", world.events);
    assert!(world.has_installed(&files("2")));
}

/// A password as machines make them.
const PASSWORD: &str = "Zk2vXw8s1Qn5Tb7Lr4Yd";

/// What is needed to reach a carrier.
struct Reach {
    /// Flags of the server.
    flags: Vec<String>,
    broker: Option<(Mosquitto, Authority)>,
}

fn whole_update(carrier: Carrier, server_mqtt: Mqtt) {
    let folder = tempfile::tempdir().unwrap();
    let cells: Vec<Speaks> = CELLS
        .iter()
        .filter(|(at, speaks, _)| (*at, *speaks) == (carrier, server_mqtt))
        .map(|(_, _, device)| *device)
        .collect();
    let Some(reach) = reach(carrier, server_mqtt, folder.path(), &cells) else { return };
    let flags: Vec<&str> = reach.flags.iter().map(String::as_str).collect();
    let mut server = Serving::start(program(), folder.path(), &flags);
    let shell = server.shell();
    let root = shell.make_product(PRODUCT);
    // Whoever was given a password shows that, and no certificate.
    let line = |speaks: &Speaks| match speaks {
        Native(_) => name(*speaks).to_owned(),
        Sft => format!("{},password={PASSWORD}", name(*speaks)),
    };
    let lines: Vec<String> = cells.iter().map(line).collect();
    shell.register(PRODUCT, &lines);
    let release = shell.release(PRODUCT, "main", &files("2"));
    let campaign = shell.campaign(PRODUCT, &release, AT_ONCE);

    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let mut living = Living::new();
    let mut original = None;
    for speaks in cells.iter().copied() {
        let access = access(&reach, carrier, &server, speaks);
        match speaks {
            Native(_) => living.begin(native(&root, name(speaks), &files("1")), access),
            Sft => original = Some(LivingOriginal::begin(sft_device(&access))),
        }
    }
    shell.wait_for_confirmed(&campaign, cells.len() as u64);
    for device in runtime.block_on(living.end()) {
        assert!(device.has_installed(&files("2")), "{}: {:?}", device.id, device.events);
        let confirmations = device.events.iter().filter(|event| *event == "Confirmed").count();
        assert_eq!(confirmations, 1, "{}: {:?}", device.id, device.events);
    }
    let original = original.unwrap().end();
    assert!(has(&original, &files("2")), "{:?}", original.lists);
    assert_eq!(original.lists.len(), 1, "{:?}", original.lists);
    drop(entered);
    server.signal("TERM");
    assert!(server.ended_well(), "{}", server.log());
}

fn has(device: &Original, files: &[SourceFile]) -> bool {
    files.iter().all(|file| {
        device
            .files
            .get(&file.name)
            .is_some_and(|held| held.revision == file.revision && held.bytes == file.bytes)
    })
}

const fn name(speaks: Speaks) -> &'static str {
    match speaks {
        Native(V3) => "native-3",
        Native(V5) => "native-5",
        Sft => "original",
    }
}

fn sft_device(access: &Access) -> Original {
    let password = access.password.as_deref().unwrap_or(PASSWORD);
    let mut device =
        Original::new(name(Sft), password, access.broker, &["firmware.bin", "app.bin", "ca.pem"]);
    device.tls.clone_from(&access.tls);
    device
}

/// How a device reaches its broker.
fn access(reach: &Reach, carrier: Carrier, server: &Serving, speaks: Speaks) -> Access {
    let mqtt = match speaks {
        Native(mqtt) => mqtt,
        Sft => V3,
    };
    let address = match &reach.broker {
        Some((broker, _)) => broker.address(),
        None => server.broker.unwrap(),
    };
    let plain = Access { mqtt, ..Access::plain(address) };
    match (carrier, &reach.broker) {
        (Plain, _) => plain,
        (Embedded, _) if speaks == Sft => {
            Access { tls: Some(server.tls()), password: Some(PASSWORD.to_owned()), ..plain }
        }
        (Embedded, _) => Access { tls: Some(server.device_tls(&id(name(speaks)))), ..plain },
        (Tls, Some((_, authority))) => Access {
            tls: Some(client_config(&authority.pem, None)),
            password: Some(PASSWORD.to_owned()),
            ..plain
        },
        (MutualTls, Some((_, authority))) => {
            let issued = authority.client(name(speaks));
            let own = DeviceCertificate { certificate: issued.certificate_pem, key: issued.key_pem };
            Access { tls: Some(client_config(&authority.pem, Some(&own))), ..plain }
        }
        (Tls | MutualTls, None) => unreachable!("mosquitto has an authority"),
    }
}

/// Starts what carries the messages, unless that is the server itself.
fn reach(carrier: Carrier, mqtt: Mqtt, folder: &Path, cells: &[Speaks]) -> Option<Reach> {
    if carrier == Embedded {
        let flags = ["--mqtt-clients", "certificates-and-passwords"].map(str::to_owned).to_vec();
        return Some(Reach { flags, broker: None });
    }
    let authority = Authority::new("Fleet CA");
    let is_v5 = if mqtt == V5 { 5 } else { 3 };
    let broker = Mosquitto::start_with(&format!("matrix-{carrier:?}-{is_v5}"), |folder, port| {
        configuration(carrier, &authority, folder, ([127, 0, 0, 1], port).into(), cells)
    })?;
    let mut flags = vec!["--mqtt-broker".to_owned(), format!("localhost:{}", broker.port())];
    flags.extend(["--mqtt-version".to_owned(), if mqtt == V5 { "5" } else { "3.1.1" }.to_owned()]);
    if carrier != Plain {
        flags.extend(file(folder, "--mqtt-ca", "broker-ca.pem", &authority.pem));
    }
    if carrier == Tls {
        flags.extend(["--mqtt-user".to_owned(), "ota/server".to_owned()]);
        flags.extend(file(folder, "--mqtt-password-file", "password", &format!("{PASSWORD}\n")));
    }
    if carrier == MutualTls {
        let own = authority.client("ota/server");
        flags.extend(file(folder, "--mqtt-certificate", "own.pem", &own.certificate_pem));
        flags.extend(file(folder, "--mqtt-key", "own.key", &own.key_pem));
    }
    Some(Reach { flags, broker: Some((broker, authority)) })
}

/// A flag of the server with a file, which is written.
fn file(folder: &Path, flag: &str, name: &str, text: &str) -> [String; 2] {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    [flag.to_owned(), path.to_str().unwrap().to_owned()]
}

/// The configuration of a mosquitto, and the files that it names.
fn configuration(
    carrier: Carrier,
    authority: &Authority,
    folder: &Path,
    address: SocketAddr,
    cells: &[Speaks],
) -> String {
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let own = authority.server();
    write("clients-ca.pem", &authority.pem);
    write("server.pem", &own.certificate_pem);
    write("server.key", &own.key_pem);
    write("devices.acl", include_str!("../../../docs/mosquitto/devices.acl"));
    let folder = folder.to_str().unwrap();
    let listener = format!("listener {} 127.0.0.1", address.port());
    let common = "log_dest stderr\nset_tcp_nodelay true\npersistence false\n";
    match carrier {
        Embedded => unreachable!("it is no mosquitto"),
        Plain => format!("{listener}\n{common}allow_anonymous true\n"),
        Tls => {
            passwords(folder, cells);
            format!(
                "{listener}\n{common}certfile {folder}/server.pem\nkeyfile {folder}/server.key\n\
                 allow_anonymous false\npassword_file {folder}/passwords\nacl_file {folder}/devices.acl\n"
            )
        }
        MutualTls => {
            let shipped = include_str!("../../../docs/mosquitto/mosquitto.conf");
            let ours = shipped.replace("/etc/mosquitto/ota", folder).replace("listener 8883", &listener);
            format!("{ours}\nlog_dest stderr\n")
        }
    }
}

/// As an operator makes it.
fn passwords(folder: &str, cells: &[Speaks]) {
    let path = format!("{folder}/passwords");
    let users = cells.iter().map(|speaks| name(*speaks)).chain(["ota/server"]);
    let lines: String = users.map(|user| format!("{user}:{PASSWORD}\n")).collect();
    fs::write(&path, lines).unwrap();
    let hashed = std::process::Command::new("mosquitto_passwd").args(["-U", &path]).status().unwrap();
    assert!(hashed.success());
}
