//! `ota serve` on a database that servers share.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use crate::postgres_server::Postgres;
use crate::support::{Ota, Server};

/// How long anything may take to be as it should.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server says about itself: the whole answer.
pub(crate) fn readiness(server: &Server) -> String {
    let address = server.address.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: ota\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
pub(crate) fn wait_until_ready(server: &Server) {
    let started = Instant::now();
    loop {
        let said = readiness(server);
        if said.starts_with("HTTP/1.1 200 ") {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "not ready: {said}");
    }
}

fn start(folder: &Path, url: &str) -> Server {
    // One key for all servers.
    let key = std::env::temp_dir().join(format!("ota-wrapping-key-{}", std::process::id()));
    std::fs::write(&key, "5a".repeat(32)).unwrap();
    Server::start_with(folder, &["--store-postgres", url, "--store-wrapping-key-file", key.to_str().unwrap()])
}

#[test]
fn servers_share_a_database_and_outlive_its_restart() {
    let Some(mut postgres) = Postgres::start() else { return };
    let url = postgres.url("postgres");
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = start(folders[0].path(), &url);
    let token = first.token.clone().expect("the first start tells a token");
    assert!(!folders[0].path().join("data/ota.redb").exists(), "nothing is kept in a file");
    let second = start(folders[1].path(), &url);
    assert_eq!(second.token, None, "the fleet has its administrator already");

    first.ota(&token).good(&["person", "set", "ann", "--role", "viewer"]);
    let seen = |server: &Server| server.ota(&token).good(&["person", "list"]);
    assert!(seen(&second).contains("ann"), "what one wrote the other reads");

    postgres.kill();
    for server in [&first, &second] {
        let said = readiness(server);
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("the store cannot be reached"), "{said}");
        let refused = server.ota(&token).run(&["person", "list"]);
        assert_ne!(refused.code, 0, "nothing is made up while the database is away");
    }
    postgres.start_again();
    for server in [&first, &second] {
        wait_until_ready(server);
        assert!(seen(server).contains("ann"));
    }
    second.ota(&token).good(&["person", "set", "bob", "--role", "viewer"]);
    // One is gone without a word; the other goes on.
    drop(second);
    assert!(seen(&first).contains("bob"));
    let verified = first.ota(&token).good(&["audit", "verify"]);
    assert!(verified.contains("intact"), "{verified}");
    first.stop();
}

/// What a server complains about that cannot use its stores.
pub(crate) fn complaint(folder: &Path, more: &[&str]) -> String {
    let data = folder.join("data");
    let arguments = ["serve", "--data", data.to_str().unwrap(), "--http-listen", "127.0.0.1:0"];
    let outcome = Ota::new(folder).run(&[&arguments[..], &["--mqtt-broker", "none"], more].concat());
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("hush-hush"), "{}", outcome.stderr);
    outcome.stderr
}

#[test]
fn a_database_that_cannot_be_used_is_a_message_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    for (url, words) in [
        ("postgres://ota:hush-hush@127.0.0.1:1/fleet", "refused"),
        ("postgres://ota:hush-hush@127.0.0.1:port/fleet", "give store.postgres as"),
    ] {
        let said = complaint(folder.path(), &["--store-postgres", url]);
        assert!(said.contains("cannot use the database") && said.contains(words), "{said}");
    }
}

#[test]
fn what_is_wrong_with_a_database_is_told_with_what_to_do() {
    let Some(postgres) = Postgres::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let complaint =
        |url: &str, more: &[&str]| complaint(folder.path(), &[&["--store-postgres", url][..], more].concat());
    let said = complaint(&postgres.url("nowhere"), &[]);
    assert!(said.contains("database \"nowhere\" does not exist"), "{said}");

    let empty = postgres.database("wrong_empty");
    let said = complaint(&empty, &["--store-upgrade", "by-hand"]);
    assert!(said.contains("may not change it by itself") && said.contains("at-start"), "{said}");

    postgres.sql("wrong_empty", "CREATE ROLE guest LOGIN");
    let guest = empty.replace("user=ota", "user=guest");
    let said = complaint(&guest, &[]);
    assert!(said.contains("permission denied") && said.contains("what its user may do"), "{said}");

    let newer = postgres.database("wrong_newer");
    postgres.sql(
        "wrong_newer",
        "CREATE SCHEMA ota; CREATE TABLE ota.schema (number int, usable_from int); \
         INSERT INTO ota.schema VALUES (1000000, 999999)",
    );
    let said = complaint(&newer, &[]);
    assert!(said.contains("schema 1000000") && said.contains("999999"), "{said}");
}

#[test]
fn secrets_in_the_database_are_wrapped_and_another_key_is_refused() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("wrapped");
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, digit: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, digit.repeat(64)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (own, other) = (key("own", "a"), key("other", "b"));
    let more = ["--store-postgres", &url, "--store-wrapping-key-file"];
    Server::start_with(folder.path(), &[&more[..], &[&own]].concat()).stop();
    let said = complaint(folder.path(), &[&more[..], &[&other]].concat());
    assert!(said.contains("configure the key that wrapped it"), "{said}");
    let said = complaint(folder.path(), &more[..2]);
    assert!(said.contains("no key wraps them") && said.contains("openssl rand -hex 32"), "{said}");
    let plain = [&more[..2], &["--store-secrets", "plain"]].concat();
    let said = complaint(folder.path(), &plain);
    assert!(said.contains("configure the key that wrapped it"), "{said}");
    Server::start_with(folder.path(), &[&more[..], &[&own]].concat()).stop();
}

#[test]
fn a_fleet_moves_into_the_database_and_back() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.database("moving");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    server.ota(&token).good(&["person", "set", "ann", "--role", "viewer"]);
    server.stop();

    let data = folder.path().join("data");
    let copy = |to: &str, data: &Path| {
        let data = data.to_str().unwrap();
        Ota::new(folder.path()).run(&["store", "copy", "--to", to, "--data", data, "--postgres", &url])
    };
    let there = copy("postgres", &data);
    assert_eq!(there.code, 0, "{}", there.stderr);
    assert!(there.stdout.contains("2  Principal") && there.stdout.contains("the same in both"));
    let again = copy("postgres", &data);
    assert!(again.code != 0 && again.stderr.contains("is not empty"), "{}", again.stderr);

    // The secrets came along as they were: wrapped with the key of the folder.
    let key = data.join("wrapping.key");
    let shared = ["--store-postgres", &url, "--store-wrapping-key-file", key.to_str().unwrap()];
    let shared = Server::start_with(folder.path(), &shared);
    assert!(shared.ota(&token).good(&["person", "list"]).contains("ann"));
    shared.ota(&token).good(&["person", "set", "bob", "--role", "viewer"]);
    shared.stop();
    std::fs::rename(data.join("ota.redb"), data.join("old")).unwrap();
    let back = copy("file", &data);
    assert_eq!(back.code, 0, "{}", back.stderr);
    let server = Server::start(folder.path());
    assert_eq!(server.token, None);
    assert!(server.ota(&token).good(&["person", "list"]).contains("bob"));
    server.stop();
}
