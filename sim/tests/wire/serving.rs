//! The program as an operator sees it: ends, signals, readiness, certificates renewed, devices revoked.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use ota_core::time;
use ota_sim::wire::program::{AT_ONCE, PATIENCE, Serving, free_port};
use ota_sim::wire::{Access, Mqtt};
use ota_transport::session::{Session, SessionConfig};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::runtime::Runtime;

use crate::certificates::Authority;
use crate::fleet::{Living, PRODUCT, eager, id, large, native, program};
use crate::mosquitto::Mosquitto;

/// What the server answers to a GET: status and body.
fn ask(server: &Serving, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Waits until it says that it is ready, or is not.
fn wait_for_readiness(server: &Serving, status: u16) -> String {
    let started = Instant::now();
    loop {
        let (found, body) = ask(server, "/health/ready");
        if found == status {
            return body;
        }
        assert!(started.elapsed() < PATIENCE, "{found}: {body}");
    }
}

#[test]
fn both_signals_end_it_well_in_mid_rollout_and_soon() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Serving::start(program(), folder.path(), &[]);
        let shell = server.shell();
        let root = shell.make_product(PRODUCT);
        shell.register(PRODUCT, &["device-1".to_owned()]);
        let release = shell.release(PRODUCT, "main", &large("2", 400_000));
        let campaign = shell.campaign(PRODUCT, &release, AT_ONCE);
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let mut living = Living::new();
        let mut device = native(&root, "device-1", &large("1", 5_000));
        device.policy.bytes_per_second_max = Some(150_000);
        let tls = Some(server.device_tls(&id("device-1")));
        living.begin(device, Access { tls, ..Access::plain(server.broker.unwrap()) });
        runtime.block_on(living.all(|seen| seen.done > 20_000));
        server.signal(signal);
        let asked = Instant::now();
        assert!(server.ended_well(), "{}", server.log());
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        server.start_again();
        server.shell().wait_for_confirmed(&campaign, 1);
        runtime.block_on(living.end());
        drop(entered);
    }
}

#[test]
fn it_lives_without_its_broker_and_is_ready_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut broker) = Mosquitto::start("wire-ready", "") else { return };
    broker.kill();
    let address = broker.address().to_string();
    let server = Serving::start(program(), folder.path(), &["--mqtt-broker", &address]);
    let body = wait_for_readiness(&server, 503);
    assert!(body.contains(&address), "{body}");
    assert_eq!(ask(&server, "/health/live").0, 200);
    broker.start_again();
    wait_for_readiness(&server, 200);
    broker.kill();
    wait_for_readiness(&server, 503);
    assert_eq!(ask(&server, "/health/live").0, 200);
    broker.start_again();
    wait_for_readiness(&server, 200);
}

/// The names in the certificate that the broker shows to somebody who calls it so.
fn shows(address: SocketAddr, called: &str, authority: &str) -> Result<Vec<u8>, String> {
    let config = ota_sim::wire::program::client_config(authority, None);
    let name = ServerName::try_from(called.to_owned()).unwrap();
    let tls = ClientConnection::new(config, name).unwrap();
    let mut stream = StreamOwned::new(tls, TcpStream::connect(address).unwrap());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).map_err(|why| why.to_string())?;
    }
    Ok(stream.conn.peer_certificates().unwrap()[0].to_vec())
}

#[test]
fn the_broker_is_called_what_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--mqtt-names", "broker.example, 127.0.0.1"];
    let server = Serving::start(program(), folder.path(), &flags);
    let authority = std::fs::read_to_string(server.data().join("tls/ca.pem")).unwrap();
    let address = server.broker.unwrap();
    shows(address, "broker.example", &authority).unwrap();
    shows(address, "127.0.0.1", &authority).unwrap();
    let refused = shows(address, "localhost", &authority).unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[test]
fn certificates_are_renewed_while_it_runs_and_nobody_is_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Fleet CA");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let first = authority.server();
    let certificate = write("broker.pem", &first.certificate_pem);
    let key = write("broker.key", &first.key_pem);
    let ca = write("devices-ca.pem", &authority.pem);
    let flags = ["--mqtt-certificate", &certificate, "--mqtt-key", &key, "--mqtt-ca", &ca];
    let server = Serving::start(program(), folder.path(), &flags);
    let root = server.shell().make_product(PRODUCT);
    server.shell().register(PRODUCT, &["device-1".to_owned()]);
    let address = server.broker.unwrap();
    let before = shows(address, "localhost", &authority.pem).unwrap();

    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let mut living = Living::new();
    let tls = Some(authority.client_config(Some(&authority.client("device-1"))));
    living.begin(native(&root, "device-1", &large("1", 5_000)), Access { tls, ..Access::plain(address) });
    runtime.block_on(living.all(|seen| seen.connections == 1));

    // A certificate without its key is no reason to stop, and none to show it.
    let second = authority.server();
    write("broker.pem", &second.certificate_pem);
    server.signal("HUP");
    server.wait_for_log(&["the broker goes on with its old certificate"]);
    assert_eq!(shows(address, "localhost", &authority.pem).unwrap(), before);
    write("broker.key", &second.key_pem);
    server.signal("HUP");
    server.wait_for_log(&["the broker shows its new certificate"]);
    assert_ne!(shows(address, "localhost", &authority.pem).unwrap(), before);
    let devices = runtime.block_on(living.end());
    assert_eq!((devices[0].connections, devices[0].lost.len()), (1, 0), "{:?}", devices[0].lost);
    drop(entered);
}

#[test]
fn a_revoked_device_is_disconnected_at_once_and_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Serving::start(program(), folder.path(), &[]);
    let root = server.shell().make_product(PRODUCT);
    let names = ["device-1", "device-2"];
    server.shell().register(PRODUCT, &names.map(str::to_owned));
    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let (mut revoked, mut neighbour) = (Living::new(), Living::new());
    for (living, name, mqtt) in [(&mut revoked, names[0], Mqtt::V5), (&mut neighbour, names[1], Mqtt::V3)] {
        let tls = Some(server.device_tls(&id(name)));
        let access = Access { tls, mqtt, ..Access::plain(server.broker.unwrap()) };
        living.begin(native(&root, name, &large("1", 5_000)), access);
        runtime.block_on(living.all(|seen| seen.connections == 1));
    }
    server.shell().good(&["device", "revoke", names[0], "--reason", "stolen"]);
    // Once it is disconnected, and again when it comes back.
    runtime.block_on(revoked.all(|seen| seen.lost >= 3));
    server.wait_for_log(&["client refused", names[0], "the credentials have been revoked"]);
    server.shell().good(&["device", "release", names[0]]);
    runtime.block_on(revoked.all(|seen| seen.connections == 2));
    let devices = runtime.block_on(neighbour.end());
    assert_eq!((devices[0].connections, devices[0].lost.len()), (1, 0), "{:?}", devices[0].lost);
    runtime.block_on(revoked.end());
    drop(entered);
}

/// What a broker offers that closes connections when it is asked over HTTP, put in front of one that does not: it connects
/// under the name of the device, which is what ends the device's own connection. It fails the first time. What it was asked.
fn closes_connections(broker: SocketAddr) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        for (number, connection) in listener.incoming().enumerate() {
            let mut connection = BufReader::new(connection.unwrap());
            let head = connection.by_ref().lines().map(Result::unwrap);
            let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
            let device = head[0].split(['/', ' ']).nth(3).unwrap().to_owned();
            let answer = if number == 0 {
                "503 Service Unavailable"
            } else {
                let mut stream = TcpStream::connect(broker).unwrap();
                let config = SessionConfig::new(device.as_str());
                let mut session = Session::new(config, time::Instant(0)).unwrap();
                while session.poll(&mut stream, time::Instant(0)).unwrap().is_none() {}
                "204 No Content"
            };
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.get_mut().write_all(answer.as_bytes()).unwrap();
            if sender.send(head.join("\n")).is_err() {
                return;
            }
        }
    });
    (port, asked)
}

#[test]
fn a_broker_elsewhere_is_asked_to_close_the_connection_of_a_revoked_device_until_it_has_done_so() {
    let Some(broker) = Mosquitto::start("wire-revoked", "") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (port, asked) = closes_connections(broker.address());
    let authorization = folder.path().join("authorization");
    std::fs::write(&authorization, "Basic a2V5OnNlY3JldA==\n").unwrap();
    let (address, request) =
        (broker.address().to_string(), format!("DELETE http://127.0.0.1:{port}/clients/{{device}}"));
    let flags = ["--mqtt-broker", &address, "--mqtt-disconnect", &request];
    let file = ["--mqtt-disconnect-authorization-file", authorization.to_str().unwrap()];
    let server = Serving::start(program(), folder.path(), &[&flags[..], &file].concat());
    let root = server.shell().make_product(PRODUCT);
    let names = ["device-1", "device-2"];
    server.shell().register(PRODUCT, &names.map(str::to_owned));
    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let (mut revoked, mut neighbour) = (Living::new(), Living::new());
    for (living, name) in [(&mut revoked, names[0]), (&mut neighbour, names[1])] {
        living.begin(native(&root, name, &large("1", 5_000)), Access::plain(broker.address()));
        runtime.block_on(living.all(|seen| seen.connections == 1));
    }
    server.shell().good(&["device", "revoke", names[0], "--reason", "stolen"]);
    runtime.block_on(revoked.all(|seen| seen.lost >= 1));
    for _ in 0..2 {
        let head = asked.recv_timeout(PATIENCE).unwrap();
        assert!(head.starts_with("DELETE /clients/device-1 HTTP/1.1\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("authorization: basic a2v5onnly3jlda=="), "{head}");
    }
    server.wait_for_log(&["the broker has closed the connection", names[0]]);
    let devices = runtime.block_on(neighbour.end());
    assert_eq!((devices[0].connections, devices[0].lost.len()), (1, 0), "{:?}", devices[0].lost);
    runtime.block_on(revoked.end());
    drop(entered);
}

/// The drill for the worst day: somebody has had the server's key and a release key in their hands. A root key that lay
/// elsewhere is enough to lock them out, and no device is touched.
#[test]
fn a_stolen_server_and_a_stolen_release_key_are_replaced_by_the_next_root() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Serving::start(program(), folder.path(), &["--devices-check-in", "1s"]);
    let shell = server.shell();
    let root = shell.make_product(PRODUCT);
    shell.register(PRODUCT, &["device-1".to_owned()]);
    let runtime = Runtime::new().unwrap();
    let entered = runtime.enter();
    let mut living = Living::new();
    let tls = Some(server.device_tls(&id("device-1")));
    let access = Access { tls, ..Access::plain(server.broker.unwrap()) };
    let mut device = native(&root, "device-1", &large("1", 5_000));
    device.policy = eager();
    living.begin(device, access);
    let release = shell.release(PRODUCT, "main", &large("2", 50_000));
    shell.wait_for_confirmed(&shell.campaign(PRODUCT, &release, AT_ONCE), 1);

    // New keys for both, signed by the holder of the root key, who needs no server for it.
    let made = |name: &str| shell.field(&["key", "generate", name], "public");
    let (new_release, new_assignment) = (made("new-release.pem"), made("new-assignment.pem"));
    let now = shell.json(&["root", "show", "--product", PRODUCT]);
    let key_of = |role: usize| now["roles"][role]["keys"][0]["id"].as_str().unwrap().to_owned();
    let (old_release, old_assignment) = (key_of(1), key_of(2));
    let (add_release, add_assignment) =
        (format!("release={new_release}"), format!("assignment={new_assignment}"));
    let next = ["root", "next", "--product", PRODUCT, "--out", "root-2.json", "--add", &add_release];
    let more = ["--add", &add_assignment, "--remove", &old_release, "--remove", &old_assignment];
    shell.good(&[&next[..], &more, &["--stolen", "assignment", "--stolen", "release"]].concat());
    let unsigned = shell.run(&["root", "bring", "root-2.json"]);
    assert_eq!(unsigned.code, 1, "nobody has signed it");
    shell.good(&["root", "sign", "root-2.json", "--key", "keys/root-key.pem", "--yes"]);
    let twice = shell.run(&["root", "sign", "root-2.json", "--key", "keys/root-key.pem", "--yes"]);
    assert!(twice.code == 1 && twice.stderr.contains("has signed already"), "{}", twice.stderr);
    shell.good(&["root", "bring", "root-2.json"]);
    server.signal("TERM");
    assert!(server.ended_well(), "{}", server.log());
    std::fs::rename(folder.path().join("new-assignment.pem"), server.data().join("assignment-key.pem"))
        .unwrap();
    server.start_again();

    // What the thief has signs nothing any more.
    let shell = server.shell();
    let stolen = shell.field(&["package", "upload", "--product", PRODUCT, "package.toml"], "id");
    let refused = shell.run(&["package", "sign", &stolen, "--key", "keys/release-key.pem", "--yes"]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    std::fs::rename(folder.path().join("new-release.pem"), folder.path().join("keys/release-key.pem"))
        .unwrap();
    let newest = large("3", 50_000);
    let release = shell.release(PRODUCT, "main", &newest);
    shell.wait_for_confirmed(&shell.campaign(PRODUCT, &release, AT_ONCE), 1);
    let devices = runtime.block_on(living.end());
    assert!(devices[0].has_installed(&newest), "{:?}", devices[0].events);
    drop(entered);
}

#[test]
fn what_is_wrong_with_the_broker_is_said_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(folder.path().join("no.pem"), "no certificate\n").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = free_port().to_string();
    let no = path("no.pem");
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--mqtt-broker", "broker"],
            &["`mqtt.broker`", "\"broker\"", "allowed is embedded, none, or the host"],
        ),
        (&["--mqtt-broker", &free, "--mqtt-version", "4"], &["`mqtt.version`", "\"4\"", "3.1.1 or 5"]),
        (&["--mqtt-broker", &free, "--mqtt-ca", &no], &["mqtt.ca", "no certificate"]),
        (&["--mqtt-broker", &free, "--mqtt-key", &no], &["`mqtt.certificate`", "a PEM file"]),
        (
            &["--mqtt-broker", &free, "--mqtt-certificate", &no, "--mqtt-key", &no],
            &["without TLS", "mqtt.ca"],
        ),
        (&["--mqtt-certificate", &no, "--mqtt-key", &no], &["no.pem", "mqtt.certificate"]),
        (&["--mqtt-ca", &no], &["client authorities", "mqtt.ca"]),
        (&["--mqtt-listen", &taken], &["cannot listen on", &taken, "--mqtt-listen"]),
        (&["--mqtt-names", "two words"], &["`mqtt.names`", "\"two words\"", "host names and addresses"]),
        (&["--mqtt-publish", "app/out"], &["`mqtt.publish`", "\"app/out\"", "topics with {device} in them"]),
        (&["--mqtt-subscribe", "ota/#"], &["`mqtt.subscribe`", "\"ota/#\"", "topics as for mqtt.publish"]),
        (&["--mqtt-connections-max", "0"], &["`mqtt.connections_max`", "\"0\"", "a number from 1"]),
        (&["--mqtt-prefix", "ota/#"], &["`mqtt.prefix`", "\"ota/#\"", "levels without wildcards"]),
    ];
    let shell = ota_sim::wire::program::Shell::new(program(), folder.path());
    for (flags, words) in cases {
        let own = ["serve", "--data", "data", "--http-listen", "127.0.0.1:0"];
        let mut arguments = [&own[..], flags].concat();
        if !flags.iter().any(|flag| matches!(*flag, "--mqtt-broker" | "--mqtt-listen")) {
            arguments.extend(["--mqtt-listen", "127.0.0.1:0"]);
        }
        let outcome = shell.run(&arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{flags:?}: {}", outcome.stderr);
        for word in *words {
            assert!(outcome.stderr.contains(word), "{flags:?}: {word} in {}", outcome.stderr);
        }
    }
}
