//! The broker that comes with the server: who gets in with which certificate.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::Server;

/// What the broker answers to a CONNECT under this client id; nothing if it ends the connection.
fn connect(server: &Server, identity: Option<(&Path, &str)>, client_id: &str) -> Option<u8> {
    let mut roots = RootCertStore::empty();
    let authority = Path::new(server.data()).join("tls/ca.pem");
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
    let socket = TcpStream::connect(server.broker.strip_prefix("mqtts://").unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, socket);
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
    server.stop();
}
