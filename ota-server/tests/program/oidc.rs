//! An identity provider vouches for people, and the real program asks it for its keys.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ota_core::crypto::sign::{Ed25519Signer, Signer as _};
use serde_json::{Value, json};

use crate::support::Server;

/// A provider that publishes its keys; where.
fn provider(keys: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = BufReader::new(connection.unwrap());
            let mut line = String::new();
            while connection.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let text = keys.to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
            connection.get_mut().write_all((head + &text).as_bytes()).unwrap();
        }
    });
    format!("http://{address}/keys")
}

fn token(signer: &Ed25519Signer, name: &str) -> String {
    let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let expires = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 300;
    let claims = json!({ "iss": "https://id.example", "aud": "ota", "sub": name, "exp": expires });
    let signed = format!("{}.{}", part(json!({ "alg": "EdDSA", "kid": "k1" })), part(claims));
    let signature = signer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", Base64UrlUnpadded::encode_string(&signature))
}

#[test]
fn whoever_the_provider_vouches_for_may_do_what_is_recorded_here() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Ed25519Signer::from_seed(&[5; 32]);
    let x = Base64UrlUnpadded::encode_string(signer.public_key());
    let url = provider(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] }));
    let settings = ["--oidc-issuer", "https://id.example", "--oidc-audience", "ota", "--oidc-keys", &url];
    // Without leave the server does not go to an address of this machine, and nobody gets in.
    let server = Server::start_with(folder.path(), &settings);
    let refused = server.ota(&token(&signer, "paula")).run(&["person", "list"]);
    assert!(refused.code == 1 && refused.stderr.contains("cannot be told now"), "{}", refused.stderr);
    let admin = server.token.clone().unwrap();
    server.ota(&admin).good(&["person", "set", "paula", "--role", "administrator"]);
    server.stop();

    let server =
        Server::start_with(folder.path(), &[&settings[..], &["--calls-inside-networks", "allow"]].concat());
    let paula = token(&signer, "paula");
    assert_eq!(server.ota(&paula).json(&["person", "list"])["items"].as_array().unwrap().len(), 2);
    let other = Ed25519Signer::from_seed(&[6; 32]);
    for nobody in
        [token(&signer, "quentin"), token(&signer, "a b"), token(&other, "paula"), "x.y.z".to_owned()]
    {
        let refused = server.ota(&nobody).run(&["person", "list"]);
        assert!(refused.code == 1 && refused.stderr.contains("sign in"), "{}", refused.stderr);
    }
    // Whoever is disabled here is nobody, whatever the provider says.
    server.ota(&admin).good(&["person", "set", "paula", "--role", "administrator", "--disabled"]);
    assert_eq!(server.ota(&paula).run(&["person", "list"]).code, 1);
    server.stop();
}
