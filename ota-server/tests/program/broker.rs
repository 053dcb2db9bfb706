//! The broker that comes with the server: who gets in with which certificate.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
#[cfg(unix)]
use std::process::Command;
use std::sync::Arc;

use ota_core::crypto::digest;
use ota_core::crypto::soft::SoftSha256;
use ota_core::fleet::records::{PersonRole, RoleGrant};
use ota_core::number::Sha256Digest;
use ota_core::text::ProductIdBuf;
use ota_server::program::{Devices, FirstToken, Installation, Layers, Running, Setting};
use ota_server::rules::permission::Principal;
use ota_server::{NewEnrolment, Proof};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Ota, Server};

/// What the broker answers to a CONNECT under this client id; nothing if it ends the connection.
fn connect(server: &Server, identity: Option<(&Path, &str)>, client_id: &str) -> Option<u8> {
    let address = server.broker.strip_prefix("mqtts://").unwrap();
    connect_to(address, Path::new(server.data()), identity, client_id)
}

fn connect_to(address: &str, data: &Path, identity: Option<(&Path, &str)>, client_id: &str) -> Option<u8> {
    send_connect(&mut opened(address, data, identity), client_id)
}

/// A connection that has not said anything yet.
fn opened(
    address: &str,
    data: &Path,
    identity: Option<(&Path, &str)>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    let authority = data.join("tls/ca.pem");
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((folder, name)) => {
            let chain = vec![CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    StreamOwned::new(tls, socket)
}

fn send_connect(stream: &mut (impl Read + Write), client_id: &str) -> Option<u8> {
    // MQTT 3.1.1, section 3.1: clean session, 60 s keep-alive, no user.
    let mut packet = vec![0x10, u8::try_from(12 + client_id.len()).unwrap()];
    packet.extend_from_slice(&[
        0,
        4,
        b'M',
        b'Q',
        b'T',
        b'T',
        4,
        2,
        0,
        60,
        0,
        u8::try_from(client_id.len()).unwrap(),
    ]);
    packet.extend_from_slice(client_id.as_bytes());
    stream.write_all(&packet).ok()?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok()?;
    assert_eq!(answer[..2], [0x20, 2], "a CONNACK");
    Some(answer[3])
}

#[test]
fn only_registered_devices_get_in_and_only_under_their_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.good(&["init", "pump", "--keys", "keys"]);
    admin.good(&["device", "add", "--product", "pump", "pump-1", "pump-2"]);
    for device in ["pump-1", "pump-3"] {
        // Into a folder that is not there yet.
        admin.good(&["device", "certificate", device, "--data", server.data(), "--out", "made"]);
    }
    let made = folder.path().join("made");
    let one = Some((made.as_path(), "pump-1"));
    assert_eq!(connect(&server, one, "pump-1"), Some(0));
    assert_ne!(connect(&server, one, "pump-2"), Some(0), "under another device's name");
    assert_ne!(connect(&server, None, "pump-1"), Some(0), "without a certificate");
    assert_ne!(connect(&server, Some((made.as_path(), "pump-3")), "pump-3"), Some(0), "not registered");
    admin.good(&["device", "revoke", "pump-1", "--reason", "stolen"]);
    assert_ne!(connect(&server, one, "pump-1"), Some(0), "revoked");
    admin.good(&["device", "release", "pump-1"]);
    assert_eq!(connect(&server, one, "pump-1"), Some(0));
    admin.good(&["device", "erase", "pump-1", "--reason", "its owner asked for it"]);
    assert_ne!(connect(&server, one, "pump-1"), Some(0), "erased");
    server.stop();
}

#[test]
fn a_certificate_is_good_for_the_device_that_it_was_registered_for_and_for_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.good(&["init", "pump", "--keys", "keys"]);
    let pumps = "pump-4,certificate=serial-7,site=oslo\npump-5\npump-9,certificate=Pump No. 9\n";
    std::fs::write(folder.path().join("pumps.csv"), pumps).unwrap();
    admin.good(&["device", "import", "--product", "pump", "pumps.csv"]);
    admin.good(&["device", "certificate", "serial-7", "pump-4", "pump-5", "--data", server.data()]);
    // What a factory calls a device in its certificate need not be a device's id.
    let odd = Installation::open(Path::new(server.data())).unwrap().device_certificate("Pump No. 9").unwrap();
    std::fs::write(folder.path().join("odd.pem"), odd.certificate).unwrap();
    std::fs::write(folder.path().join("odd.key"), odd.key).unwrap();
    let with = |name| Some((folder.path(), name));
    assert_eq!(connect(&server, with("odd"), "pump-9"), Some(0));
    assert_ne!(connect(&server, with("odd"), "pump-5"), Some(0), "registered for another device");
    assert_ne!(connect(&server, with("odd"), "pump-10"), Some(0), "no device is called that");
    assert_eq!(connect(&server, with("serial-7"), "pump-4"), Some(0));
    assert_ne!(connect(&server, with("pump-4"), "pump-4"), Some(0), "its id is not what was registered");
    assert_ne!(connect(&server, with("serial-7"), "pump-5"), Some(0), "registered for another device");
    assert_ne!(connect(&server, with("serial-7"), "serial-7"), Some(0), "no device is called that");
    assert_ne!(connect(&server, with("pump-5"), "pump-4"), Some(0), "another device's certificate");
    assert_eq!(connect(&server, with("pump-5"), "pump-5"), Some(0));
    server.stop();
}

/// What the broker shows, on a connection that lasts.
fn shown(server: &Server) -> (CertificateDer<'static>, StreamOwned<ClientConnection, TcpStream>) {
    let address = server.broker.strip_prefix("mqtts://").unwrap();
    let one = Some((Path::new(server.data()), "pump-1"));
    let mut stream = opened(address, Path::new(server.data()), one);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    (stream.conn.peer_certificates().unwrap()[0].clone().into_owned(), stream)
}

#[cfg(unix)]
#[test]
fn a_certificate_is_renewed_while_the_broker_runs_and_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.good(&["init", "pump", "--keys", "keys"]);
    admin.good(&["device", "add", "--product", "pump", "pump-1"]);
    admin.good(&["device", "certificate", "pump-1", "--data", server.data(), "--out", server.data()]);
    let hang_up = || {
        let id = server.process().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    };
    let (first, mut stays) = shown(&server);
    let answer = send_connect(&mut stays, "pump-1");
    assert_eq!(answer, Some(0));
    // A certificate that cannot be used changes nothing.
    let file = Path::new(server.data()).join("tls/server.pem");
    std::fs::write(&file, "no certificate").unwrap();
    hang_up();
    assert_eq!(shown(&server).0, first);
    // For other names another one is made, in the same files.
    let installation = Installation::open(Path::new(server.data())).unwrap();
    installation.broker_identity(&["localhost".to_owned(), "broker.example".to_owned()]).unwrap();
    hang_up();
    while shown(&server).0 == first {
        std::thread::yield_now();
    }
    // MQTT 3.1.1, sections 3.12 and 3.13: it is answered on the old connection.
    stays.write_all(&[0xc0, 0]).unwrap();
    let mut answer = [0; 2];
    stays.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [0xd0, 0]);
    drop(stays);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_device_whose_certificate_was_announced_registers_itself_where_that_is_allowed() {
    for (enrolment, gets_in) in [("announced", true), ("refuse", false)] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut layers = Layers::default();
        let flags = [
            ("data", data.to_str().unwrap()),
            ("http.listen", "127.0.0.1:0"),
            ("mqtt.listen", "127.0.0.1:0"),
            ("mqtt.enrolment", enrolment),
        ];
        layers.flags(flags.map(|(key, value)| (Setting::by_key(key).unwrap(), value.to_owned())));
        let settings = layers.settings().unwrap();
        let running = Running::start(&settings, FirstToken::IfNobodyIsThere).await.unwrap();
        let api = format!("http://{}", running.address());
        let admin = Ota::signed_in(folder.path(), &api, running.administrator_token().unwrap());
        admin.good(&["init", "pump", "--keys", "keys"]);
        let names = ["pump-6", "pump-7", "pump-8"];
        admin.good(&[&["device", "certificate", "--data", data.to_str().unwrap()][..], &names].concat());
        let fingerprint = |name: &str| {
            let path = folder.path().join(format!("{name}.pem"));
            Sha256Digest(digest::<SoftSha256>(&CertificateDer::from_pem_file(path).unwrap()))
        };
        let grant = RoleGrant { role: PersonRole::Operator, products: None };
        let operator = Principal::new("operator", vec![grant]);
        let product = ProductIdBuf::new("pump").unwrap();
        let announced = [fingerprint("pump-6"), fingerprint("pump-8")];
        let proofs = announced.each_ref().map(Proof::Certificate);
        let enrolled = running.server().enrol(&operator, &product, &proofs, &NewEnrolment::default()).await;
        enrolled.unwrap();

        let Devices::Embedded(broker, ..) = running.devices() else { panic!("a broker is inside") };
        let address = ota_core::fleet::Broker::listeners(&**broker)[0].address.to_string();
        let come = |name: &str, client_id: &str| {
            connect_to(&address, &data, Some((folder.path(), name)), client_id) == Some(0)
        };
        assert_eq!(come("pump-6", "pump-6"), gets_in, "{enrolment}");
        assert_eq!(come("pump-6", "pump-6"), gets_in, "it is known again");
        assert!(!come("pump-7", "pump-7"), "a certificate that was not announced");
        assert!(!come("pump-8", "pump-6"), "under the name of another");
        let listed = admin.json(&["device", "list", "--product", "pump"]);
        assert_eq!(listed["items"].as_array().unwrap().len(), usize::from(gets_in), "{listed}");
        // Another certificate with the same name is another one.
        std::fs::remove_file(folder.path().join("pump-6.key")).unwrap();
        std::fs::remove_file(folder.path().join("pump-6.pem")).unwrap();
        admin.good(&["device", "certificate", "pump-6", "--data", data.to_str().unwrap()]);
        assert!(!come("pump-6", "pump-6"), "a new certificate that nobody has announced");
        running.stop().await.unwrap();
    }
}
