//! Webhooks as the service that receives them sees them: signed, in order, and again if they were not taken.

use core::time::Duration;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use base64ct::{Base64, Encoding as _};
use ota_core::crypto::Authenticator as _;
use ota_core::crypto::soft::HmacSha256;
use serde_json::Value;

use crate::support::{Ota, Server};

/// How long a webhook may take to come: far more than it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// One delivery as it came.
struct Delivery {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

/// Receives deliveries; the first is not taken. The port, and what comes.
fn receiver() -> (u16, Receiver<Delivery>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, deliveries) = channel();
    std::thread::spawn(move || receive(&listener, &sender));
    (port, deliveries)
}

fn receive(listener: &TcpListener, sender: &Sender<Delivery>) {
    for (number, connection) in listener.incoming().enumerate() {
        let mut connection = BufReader::new(connection.unwrap());
        let mut delivery = Delivery {
            id: String::new(),
            timestamp: String::new(),
            signature: String::new(),
            body: String::new(),
        };
        let mut length = 0;
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else {
                if line.trim_end().is_empty() {
                    break;
                }
                continue;
            };
            let value = value.trim().to_owned();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "webhook-id" => delivery.id = value,
                "webhook-timestamp" => delivery.timestamp = value,
                "webhook-signature" => delivery.signature = value,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        connection.read_exact(&mut body).unwrap();
        delivery.body = String::from_utf8(body).unwrap();
        let status = if number == 0 { "503 Not Now" } else { "204 No Content" };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        connection.into_inner().write_all(answer.as_bytes()).unwrap();
        if sender.send(delivery).is_err() {
            return;
        }
    }
}

/// Writes the file of a campaign with a signed release.
fn campaign_file(admin: &Ota, folder: &Path) {
    admin.json(&["init", "pump", "--keys", "keys"]);
    std::fs::write(folder.join("app.bin"), vec![7; 500]).unwrap();
    let description = "package = \"main\"\nhardware = [\"rev-b\"]\n\n[[file]]\nname = \"app.bin\"\nrevision = \"1.0\"\n\
                       target = \"app\"\npath = \"app.bin\"\n";
    std::fs::write(folder.join("package.toml"), description).unwrap();
    let uploaded = admin.json(&["package", "upload", "--product", "pump", "package.toml"]);
    let release = uploaded["id"].as_str().unwrap();
    let signed = admin.run_with(&["package", "sign", release, "--key", "keys/release-key.pem"], "yes\n");
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    let plan = format!("product = \"pump\"\ntitle = \"t\"\nrelease = \"{release}\"\ntarget = \"everyone\"\n");
    std::fs::write(folder.join("campaign.toml"), plan).unwrap();
}

#[test]
fn what_becomes_of_campaigns_is_told_in_order_and_signed_until_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let key = [7; 32];
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("whsec_{}\n", Base64::encode_string(&key))).unwrap();
    let (port, deliveries) = receiver();
    let url = format!("http://127.0.0.1:{port}/hook");
    let secret = secret.to_str().unwrap();
    let flags = ["--webhook-url", &url, "--webhook-secret-file", secret, "--calls-inside-networks", "allow"];
    let server = Server::start_with(folder.path(), &flags);
    let admin = server.ota(server.token.as_deref().unwrap());
    campaign_file(&admin, folder.path());
    let dry = admin.json(&["campaign", "plan", "dry-run", "campaign.toml"]);
    assert_eq!(dry["fleet"], 0);
    let campaign = admin.json(&["campaign", "plan", "apply", "campaign.toml"])["id"].to_string();
    admin.good(&["campaign", "plan", "apply", "campaign.toml", "--campaign", &campaign]);
    admin.good(&["campaign", "stop", &campaign, "--reason", "a test"]);

    let mut told = Vec::new();
    let mut ids = Vec::new();
    while told.last().is_none_or(|last| last != "campaign.stop") {
        let delivery = deliveries.recv_timeout(PATIENCE).unwrap();
        let signed = format!("{}.{}.{}", delivery.id, delivery.timestamp, delivery.body);
        let mac = HmacSha256::new(&key).authenticate(&[signed.as_bytes()]).unwrap();
        assert_eq!(delivery.signature, format!("v1,{}", Base64::encode_string(&mac)));
        let body: Value = serde_json::from_str(&delivery.body).unwrap();
        assert_eq!(body["data"]["subject"], campaign.as_str());
        told.push(body["type"].as_str().unwrap().to_owned());
        ids.push(delivery.id);
    }
    // The first was not taken and came again, under the same id so that a receiver can tell.
    assert_eq!(told, ["campaign.draft", "campaign.draft", "campaign.edit", "campaign.stop"]);
    assert_eq!(ids[0], ids[1]);
    server.stop();
}

#[test]
fn a_webhook_inside_is_not_called_unless_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("whsec_{}\n", Base64::encode_string(&[7; 32]))).unwrap();
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", inside.local_addr().unwrap());
    let log = folder.path().join("log");
    let flags = ["--webhook-url", &url, "--webhook-secret-file", secret.to_str().unwrap()];
    let server = Server::start_logging(folder.path(), &log, &flags);
    let admin = server.ota(server.token.as_deref().unwrap());
    campaign_file(&admin, folder.path());
    admin.json(&["campaign", "plan", "apply", "campaign.toml"]);
    while !std::fs::read_to_string(&log).unwrap().contains("inside a network") {
        std::thread::yield_now();
    }
    server.stop();
    inside.set_nonblocking(true).unwrap();
    assert_eq!(inside.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it was called");
}

#[test]
fn a_webhook_without_its_secret_is_no_start() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("whsec_{}\n", Base64::encode_string(&[7; 32]))).unwrap();
    let outcome = Ota::new(folder.path()).run(&[
        "serve",
        "--webhook-url",
        "http://127.0.0.1:1/",
        "--webhook-secret-file",
        folder.path().join("no-such-file").to_str().unwrap(),
    ]);
    assert!(outcome.code == 1 && outcome.stderr.contains("webhook.secret_file"), "{}", outcome.stderr);
}
