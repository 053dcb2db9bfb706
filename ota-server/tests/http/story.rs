//! From nothing to a running campaign over HTTP, and what the rules refuse on the way.

use ota_server::http::Options;
use serde_json::{Value, json};

use crate::support::{People, World, draft, product, release};

#[test]
fn a_campaign_needs_a_signed_release_and_a_second_person() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let get = |path: &str, token: &str| world.ask("get", path, Some(token), &Value::Null).good().json();
    let post = |path: &str, token: &str, body: &Value| world.ask("post", path, Some(token), body);

    let unsigned = draft(&world, &people, "p", "1.0", b"unsigned");
    let campaigns = "/api/v1/products/p/campaigns";
    let of = |release: &str| json!({ "title": "first", "release": release, "target": "everyone" });
    let problem = post(campaigns, &people.operator, &of(&unsigned)).problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("not signed"), "{problem}");

    let signed = release(&world, &people, "p", "1.1", b"signed");
    let shown = get(&format!("/api/v1/releases/{signed}"), &people.developer);
    assert_eq!((shown["status"].as_str(), shown["files"][0]["size"].as_u64()), (Some("signed"), Some(6)));

    let id = post(campaigns, &people.operator, &of(&signed)).good().json()["id"].to_string();
    let path = |verb: &str| format!("/api/v1/campaigns/{id}{verb}");
    let problem = post(&path("/start"), &people.operator, &Value::Null).problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("0 of 1 approvals"), "{problem}");

    let hash = get(&path(""), &people.approver)["content_hash"].clone();
    let edited = json!({ "title": "first", "release": signed, "target": { "filter": "tag = site=berlin" } });
    world.ask("put", &path(""), Some(&people.operator), &edited).good();
    // What was looked at is no longer what is there.
    post(&path("/approve"), &people.approver, &json!({ "content_hash": hash })).problem(409);
    let hash = get(&path(""), &people.approver)["content_hash"].clone();
    post(&path("/approve"), &people.approver, &json!({ "content_hash": hash })).good();
    let because = json!({ "reason": "mended" });
    let problem = post(&path("/retry"), &people.operator, &because).problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("cannot be tried again"), "{problem}");
    post(&path("/start"), &people.operator, &Value::Null).good();

    let running = get(&path(""), &people.operator);
    assert_eq!(running["state"], "rolling", "{running}");
    let problem = post(&path("/retry"), &people.operator, &because).problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("no device has failed"), "{problem}");
    assert_eq!(running["retry"], json!({ "devices": 0, "refused": problem["detail"] }));
    let why = get(&format!("/api/v1/devices/p-device/why-not?campaign={id}"), &people.operator);
    assert!(why["text"].as_str().is_some_and(|text| !text.is_empty()), "{why}");

    post(&path("/pause"), &people.operator, &json!({ "reason": "lunch" })).good();
    let paused = get(&path(""), &people.operator);
    assert_eq!(paused["state"], "paused");
    assert!(paused["reason"].as_str().unwrap().contains("lunch"));
    post(&path("/resume"), &people.operator, &Value::Null).good();
    post(&path("/stop"), &people.operator, &json!({ "reason": "enough" })).good();

    let verified = get("/api/v1/audit/verified", &people.approver);
    assert_eq!(verified["intact"], true);
    let known = format!(
        "/api/v1/audit/verified?entries={}&head={}",
        verified["entries"],
        verified["head"].as_str().unwrap()
    );
    assert_eq!(get(&known, &people.approver)["intact"], true);
    let audit = get("/api/v1/audit?limit=1000", &people.approver);
    let did = |who: &str, what: &str| {
        audit["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["principal"] == who && entry["action"] == what)
    };
    for (who, what) in [
        ("administrator", "product.create"),
        ("holder", "release.sign"),
        ("operator", "campaign.edit"),
        ("approver", "campaign.approve"),
        ("operator", "campaign.stop"),
    ] {
        assert!(did(who, what), "{who} {what}: {audit}");
    }
}

#[test]
fn devices_come_page_by_page_and_none_twice() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let devices: Vec<Value> = (0..25).map(|n| json!({ "id": format!("d{n:02}"), "tags": ["lab"] })).collect();
    let path = "/api/v1/products/p/devices";
    world.ask("post", path, Some(&people.operator), &json!({ "devices": devices })).good();
    // All of them or none: one is there already.
    let again = json!({ "devices": [{ "id": "fresh" }, { "id": "d03" }] });
    world.ask("post", path, Some(&people.operator), &again).problem(409);
    for (filter, expected) in [("", 26), ("&tag=lab", 25)] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let url = format!("{path}?limit=10{filter}{after}");
            let page = world.ask("get", &url, Some(&people.operator), &Value::Null).good().json();
            seen.extend(page["items"].as_array().unwrap().iter().map(|device| device["id"].to_string()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), count), (expected, expected));
    }
}
