//! Groups, enrolments and checkpoints over HTTP.

use ota_core::fleet::AuditHash;
use ota_core::number::Sha256Digest;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Timestamp;
use ota_server::http::Options;
use ota_server::program::PublicKey;
use ota_server::{Checkpoint, Proof};
use serde_json::{Value, json};

use crate::support::{People, World, key, product};

fn world() -> (World, People) {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    (world, people)
}

#[test]
fn a_group_is_made_used_in_a_list_and_removed() {
    let (world, people) = world();
    let ask = |method: &str, path: &str, body: &Value| world.ask(method, path, Some(&people.operator), body);
    let devices = json!({ "devices": [{ "id": "a", "tags": ["site=rome"] }, { "id": "b" }] });
    ask("post", "/api/v1/products/p/devices", &devices).good();
    let group = "/api/v1/products/p/groups/the%20south%2Fall";
    ask("put", group, &json!({ "expression": "tag = site=rome" })).good();
    let list = ask("get", "/api/v1/products/p/groups", &Value::Null).good().json();
    assert_eq!(list["items"], json!([{ "name": "the south/all", "expression": "tag = site=rome" }]));
    let path = "/api/v1/products/p/devices?group=the%20south%2Fall";
    let found = ask("get", path, &Value::Null).good().json();
    assert_eq!((found["items"].as_array().unwrap().len(), &found["items"][0]["id"]), (1, &json!("a")));
    // Wrong ones change nothing.
    let problem = ask("put", group, &json!({ "expression": "tag site" })).problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("at byte 4"), "{problem}");
    ask("put", "/api/v1/products/p/groups/a%0ab", &json!({ "expression": "tag = a" })).problem(422);
    ask("get", &format!("{path}&tag=x"), &Value::Null).problem(422);
    assert_eq!(ask("get", "/api/v1/products/p/groups", &Value::Null).good().json(), list);
    ask("delete", group, &Value::Null).good();
    ask("get", path, &Value::Null).problem(404);
}

#[test]
fn devices_register_themselves_with_a_token_or_a_certificate_until_it_is_used_up() {
    let (world, people) = world();
    let path = "/api/v1/products/p/enrolments";
    let ask = |method: &str, path: &str, body: &Value| world.ask(method, path, Some(&people.operator), body);
    let digest = Sha256Digest([7; 32]);
    let certificates = json!({ "proof": { "certificates": [digest.to_string(), digest.to_string()] } });
    assert_eq!(ask("post", path, &certificates).good().json(), json!({ "enrolled": 1 }));
    ask("post", path, &certificates).problem(409);
    let wanted = json!({ "proof": { "token": { "uses": 1 } }, "tags": ["batch=7"], "expires_in": "30d" });
    let token = ask("post", path, &wanted).good().json()["token"].as_str().unwrap().to_owned();
    let list = ask("get", path, &Value::Null).good();
    assert!(!String::from_utf8_lossy(&list.bytes).contains(&token), "the token is in a list");
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 2);

    let enrol = |id: &str, proof: Proof<'_>| {
        let id = DeviceIdBuf::new(id).unwrap();
        world.block_on(world.server.register_itself(&id, proof)).is_ok()
    };
    assert!(!enrol("x", Proof::Token(b"enrol_00")));
    assert!(enrol("one", Proof::Token(token.as_bytes())));
    assert!(!enrol("two", Proof::Token(token.as_bytes())));
    assert!(enrol("three", Proof::Certificate(&digest)));
    let device = ask("get", "/api/v1/devices/one", &Value::Null).good().json();
    assert_eq!(device["tags"], json!(["batch=7"]));

    for wrong in [
        json!({ "proof": { "certificates": [] } }),
        json!({ "proof": { "certificates": ["00"] } }),
        json!({ "proof": { "token": { "uses": 0 } } }),
        json!({ "proof": { "token": { "uses": 2 } }, "device": "a" }),
        json!({ "proof": { "token": { "uses": 1 } }, "device": "a#b" }),
        json!({ "proof": { "token": { "uses": 1 } }, "expires_in": "0s" }),
        json!({ "proof": { "token": { "uses": 1 } }, "tags": ["a b"] }),
    ] {
        ask("post", path, &wrong).problem(422);
    }
    let id = list.json()["items"][0]["id"].as_str().unwrap().to_owned();
    ask("delete", &format!("{path}/{id}"), &Value::Null).good();
    assert_eq!(ask("get", path, &Value::Null).good().json()["items"].as_array().unwrap().len(), 1);
}

#[test]
fn the_audit_chain_is_held_to_checkpoints_and_a_cut_off_end_shows() {
    let (world, people) = world();
    let path = "/api/v1/audit/verified";
    let ask = |body: &Value| world.ask("post", path, Some(&people.approver), body);
    let view = world.ask("get", path, Some(&people.approver), &Value::Null).good().json();
    let (entries, head) = (view["entries"].as_u64().unwrap(), view["head"].as_str().unwrap());
    let head = AuditHash(Sha256Digest::from_hex(head).unwrap().0);
    let (signer, public) = (key(9), PublicKey::of(&key(9)).to_string());
    let line = |sequence, head| Checkpoint::sign(sequence, head, Timestamp(1), &signer).unwrap().to_string();
    let body = |line: String| json!({ "checkpoints": [line], "keys": [public] });
    assert_eq!(ask(&body(line(entries, head))).good().json()["intact"], true);
    // What the checkpoint saw is not there any more, or is something else.
    for (sequence, hash) in [(entries + 1, head), (entries, AuditHash([1; 32]))] {
        let view = ask(&body(line(sequence, hash))).good().json();
        assert_eq!((&view["intact"], view["entries"].as_u64()), (&json!(false), Some(sequence)));
    }
    // A line that nobody has signed whom the caller trusts proves nothing, and says so.
    let other = PublicKey::of(&key(10)).to_string();
    ask(&json!({ "checkpoints": [line(entries, head)], "keys": [other] })).problem(422);
    let problem = ask(&json!({ "checkpoints": ["x"], "keys": [public] })).problem(422);
    assert!(problem["detail"].as_str().unwrap().starts_with("checkpoints[0]: "), "{problem}");
    ask(&json!({ "checkpoints": [], "keys": ["rsa:00"] })).problem(422);
}
