//! What comes in wrong: each answer names what is wrong, and nothing has changed.

use ota_server::http::Options;
use serde_json::{Value, json};

use crate::support::{People, World, product};

fn world() -> (World, People) {
    let world = World::new(Options { file_bytes_max: 1000, ..Options::default() });
    let people = People::of(&world);
    product(&world, &people, "p");
    (world, people)
}

#[test]
fn an_unknown_field_is_refused_and_named() {
    let (world, people) = world();
    let input = json!({ "id": "x", "aprovals_min": 2 });
    let problem = world.ask("post", "/api/v1/products", Some(&people.administrator), &input).problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("aprovals_min"), "{problem}");
    world.ask("get", "/api/v1/products/x", Some(&people.administrator), &Value::Null).problem(404);
}

#[test]
fn ids_are_checked_before_anything_else() {
    let (world, people) = world();
    for path in [
        "/api/v1/products/a%20b",
        "/api/v1/devices/a%2Fb",
        "/api/v1/devices/%23",
        "/api/v1/releases/12",
        "/api/v1/campaigns/-1",
        "/api/v1/devices/p-device/why-not?campaign=x",
        "/api/v1/products/p/devices?limits=5",
        "/api/v1/products/p/devices?after=zz",
        "/api/v1/products/p/devices?after=00",
    ] {
        world.ask("get", path, Some(&people.operator), &Value::Null).problem(422);
    }
}

#[test]
fn what_is_not_json_is_told_apart() {
    let (world, people) = world();
    let token = Some(people.administrator.as_str());
    world.send("post", "/api/v1/products", token, "text/plain", b"{}").problem(415);
    let problem = world.send("post", "/api/v1/products", token, "application/json", b"{\"id\":").problem(422);
    assert!(problem["detail"].as_str().unwrap().contains("line 1"), "{problem}");
    // However much too long: whoever sends it comes to read why.
    for too_many in [1, 5_000_000] {
        let large = vec![b' '; ota_server::http::JSON_BYTES_MAX + too_many];
        world.send("post", "/api/v1/products", token, "application/json", &large).problem(413);
    }
}

#[test]
fn what_is_not_there_is_a_problem_document_too() {
    let (world, people) = world();
    world.ask("get", "/api/v1/nothing", Some(&people.operator), &Value::Null).problem(404);
    world.ask("get", "/api/v1/nothing", None, &Value::Null).problem(401);
    world.ask("delete", "/api/v1/products", Some(&people.operator), &Value::Null).problem(405);
}

#[test]
fn a_file_over_the_limit_leaves_nothing_behind() {
    let (world, people) = world();
    let (path, token) = ("/api/v1/products/p/files", Some(people.developer.as_str()));
    world.send("post", path, token, "application/octet-stream", &[7; 1001]).problem(413);
    world.send("post", &format!("{path}?unit=300"), token, "application/octet-stream", &[7; 10]).problem(422);
    let files = walk(&world.folder.path().join("files"));
    assert!(files.is_empty(), "{files:?}");
    world.send("post", path, token, "application/octet-stream", &[7; 1000]).good();
    // The content and its block map.
    assert_eq!(walk(&world.folder.path().join("files")).len(), 2);
}

pub(crate) fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_request_id_comes_back_if_it_is_a_tame_one() {
    let (world, _) = world();
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let id = |given: &str| {
        let answer =
            agent.get(format!("http://{}/health/live", world.address)).header("x-request-id", given).call();
        answer.unwrap().headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("abc-1"), "abc-1");
    assert_eq!(id("a b").len(), 16);
    assert_ne!(id("<script>"), id("<script>"));
}

#[test]
fn health_needs_no_token_and_tells_why_it_is_not_ready() {
    let ready: std::sync::Arc<ota_server::http::ReadyCheck> =
        std::sync::Arc::new(|| Err("no broker".to_owned()));
    let world = World::new(Options { ready, ..Options::default() });
    world.ask("get", "/health/live", None, &Value::Null).good();
    let problem = world.ask("get", "/health/ready", None, &Value::Null).problem(503);
    assert_eq!(problem["detail"], "no broker");
}
