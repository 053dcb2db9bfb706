//! What the program keeps: secrets that a copy of the store does not give away, signed ends of the audit chain, a store
//! that gives room back, and copies of it that another start goes on from.

use ota_server::Checkpoint;
use ota_server::program::{PublicKey, read_signer};

use crate::support::{Ota, Server};

#[test]
fn a_store_opens_only_with_the_key_that_wrapped_its_secrets_and_an_old_key_gives_way_to_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, digit: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{}\n", digit.repeat(64))).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (first, second) = (write("first.key", "1"), write("second.key", "2"));
    Server::start_with(folder.path(), &["--store-wrapping-key-file", &first]).stop();
    let data = folder.path().join("data");
    assert!(!data.join("wrapping.key").exists(), "a key from elsewhere is enough");

    let serve = |more: &[&str]| {
        let fixed = ["serve", "--data", data.to_str().unwrap(), "--http-listen", "127.0.0.1:0"];
        let fixed = [&fixed[..], &["--mqtt-listen", "127.0.0.1:0"]].concat();
        Ota::new(folder.path()).run(&[&fixed, more].concat())
    };
    let refused = serve(&["--store-wrapping-key-file", &second]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(refused.stderr.contains("store.former_wrapping_key_files"), "{}", refused.stderr);
    let broken = write("broken.key", "x");
    let refused = serve(&["--store-wrapping-key-file", &broken]);
    assert!(refused.code == 1 && refused.stderr.contains("64 hexadecimal digits"), "{}", refused.stderr);
    let missing = serve(&["--store-wrapping-key-file", "no-such-file"]);
    assert!(missing.code == 1 && missing.stderr.contains("store.wrapping_key_file"), "{}", missing.stderr);

    let both = ["--store-wrapping-key-file", &second, "--store-former-wrapping-key-files", &first];
    Server::start_with(folder.path(), &both).stop();
}

#[test]
fn the_end_of_the_audit_chain_is_signed_and_kept_outside_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("elsewhere");
    let more = ["--audit-checkpoint-file", kept.to_str().unwrap()];
    let server = Server::start_with(folder.path(), &more);
    let admin = server.ota(server.token.as_deref().unwrap());
    // The first tick signs what the first start has done.
    let text = loop {
        match std::fs::read_to_string(&kept) {
            Ok(text) if text.ends_with('\n') => break text,
            _ => admin.json(&["audit", "verify"]),
        };
    };
    let signer = read_signer(&folder.path().join("data/audit-key.pem")).unwrap();
    let checkpoint: Checkpoint = text.lines().last().unwrap().parse().unwrap();
    assert!(checkpoint.is_signed_by(&[PublicKey::of(&*signer).key()]));
    let (entries, line) = (checkpoint.sequence.to_string(), checkpoint.to_string());
    let head = line.split(' ').nth(3).unwrap();
    assert_eq!(admin.run(&["audit", "verify", "--entries", &entries, "--head", head]).code, 0);
    let other = "0".repeat(64);
    let broken = admin.run(&["audit", "verify", "--entries", &entries, "--head", &other]);
    assert!(broken.code == 1 && broken.stderr.contains("broken"), "{}", broken.stderr);
    server.stop();
}

#[test]
fn a_copy_of_a_running_store_is_a_store_that_another_start_goes_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    let admin = server.ota(&token);
    admin.good(&["init", "pump", "--keys", "keys"]);
    admin.good(&["device", "add", "--product", "pump", "pump-1"]);
    let path = admin.json(&["store", "backup", "monday"])["path"].as_str().unwrap().to_owned();
    let again = admin.run(&["store", "backup", "monday"]);
    assert!(again.code == 1 && again.stderr.contains("is not taken yet"), "{}", again.stderr);
    assert_eq!(admin.run(&["store", "backup", "../monday"]).code, 1);
    // What comes behind it is not in it, and the server has gone on all the time.
    admin.good(&["device", "add", "--product", "pump", "pump-2"]);
    let compacted = admin.json(&["store", "compact"]);
    assert!(compacted["after_bytes"].as_u64().unwrap() <= compacted["before_bytes"].as_u64().unwrap());
    admin.good(&["device", "add", "--product", "pump", "pump-3"]);
    assert_eq!(admin.json(&["store", "sweep"])["stopped"], 0);
    let count = |ota: &Ota| {
        let list = ota.json(&["device", "list", "--product", "pump"]);
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(count(&admin), 3);
    server.stop();
    let server = Server::start(folder.path());
    assert_eq!(count(&server.ota(&token)), 3, "the compact file is the one that the next start opens");
    server.stop();

    // The machine is lost; what is left are the copy, the files and the keys.
    std::fs::rename(&path, folder.path().join("data/ota.redb")).unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(&token);
    assert_eq!(count(&admin), 1);
    assert_eq!(admin.json(&["audit", "verify"])["intact"], true);
    let text = admin.good(&["audit", "show"]);
    assert!(text.contains("store.back-up"), "it tells that it is a copy, and of when: {text}");
    admin.good(&["device", "add", "--product", "pump", "pump-2"]);
    server.stop();
}
