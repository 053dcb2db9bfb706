//! Lists, exports, live views and figures.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ota_server::http::Options;
use ota_server::http::body::RoleBody;
use serde_json::{Value, json};

use crate::support::{DAY, People, World, product, release};

fn world_with_devices() -> (World, People) {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let devices: Vec<Value> =
        (0..25).map(|n| json!({ "id": format!("d{n:02}"), "tags": [format!("site={}", n % 2)] })).collect();
    let body = json!({ "devices": devices });
    let made = world.ask("post", "/api/v1/products/p/devices", Some(&people.operator), &body).good().json();
    assert_eq!(made["registered"], 25);
    (world, people)
}

fn get(world: &World, people: &People, path: &str) -> crate::support::Answer {
    world.ask("get", path, Some(&people.operator), &Value::Null)
}

#[test]
fn a_filtered_list_comes_page_by_page_and_is_whole() {
    let (world, people) = world_with_devices();
    let (mut after, mut found) = (String::new(), Vec::new());
    loop {
        let path = format!("/api/v1/products/p/devices?filter=not%20tag%20%3D%20site%3D0&limit=5{after}");
        let page = get(&world, &people, &path).good().json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 5);
        found.extend(items.iter().map(|device| device["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    found.sort_unstable();
    let mut wanted: Vec<String> = (0..25).filter(|n| n % 2 == 1).map(|n| format!("d{n:02}")).collect();
    wanted.push("p-device".to_owned());
    assert_eq!(found, wanted);
    get(&world, &people, "/api/v1/products/p/devices?filter=nonsense").problem(422);
    get(&world, &people, "/api/v1/products/p/devices?filter=id%20%3D%20x&tag=y").problem(422);
    get(&world, &people, "/api/v1/products/p/devices?limit=1001").problem(422);
}

#[test]
fn campaigns_come_newest_first_and_by_state() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let release = release(&world, &people, "p", "1", b"one");
    for title in ["a", "b", "c"] {
        let content = json!({ "title": title, "release": release, "target": "everyone" });
        world.ask("post", "/api/v1/products/p/campaigns", Some(&people.operator), &content).good();
    }
    let titles = |path: &str| {
        let page = get(&world, &people, path).good().json();
        let titles: Vec<String> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["title"].as_str().unwrap().to_owned())
            .collect();
        (titles, page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = titles("/api/v1/products/p/campaigns?limit=2");
    assert_eq!(first, ["c", "b"]);
    let (rest, end) = titles(&format!("/api/v1/products/p/campaigns?limit=2&after={}", next.unwrap()));
    assert_eq!((rest, end), (vec!["a".to_owned()], None));
    assert_eq!(titles("/api/v1/products/p/campaigns?state=draft").0.len(), 3);
    assert_eq!(titles("/api/v1/products/p/campaigns?state=rolling").0.len(), 0);
    get(&world, &people, "/api/v1/products/p/campaigns?after=99").problem(422);
    assert_eq!(
        get(&world, &people, "/api/v1/products/p/releases?status=signed").good().json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        get(&world, &people, "/api/v1/products/p/releases?package=other").good().json()["items"],
        json!([])
    );
}

#[test]
fn an_export_has_every_device_and_formulas_are_inert() {
    let (world, people) = world_with_devices();
    let tags = json!({ "tags": ["=1+1"] });
    world.ask("put", "/api/v1/devices/d00/tags", Some(&people.operator), &tags).good();
    let csv = get(&world, &people, "/api/v1/products/p/devices/export?format=csv").good();
    assert!(csv.kind.starts_with("text/csv"), "{}", csv.kind);
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"devices-p.csv\""));
    let text = String::from_utf8(csv.bytes).unwrap();
    assert_eq!(text.lines().next(), Some("id,status,heard,tags,campaign"));
    assert_eq!(text.lines().count(), 27);
    assert!(
        !text.lines().any(|line| line.split(',').any(|cell| cell.starts_with(['=', '+', '@']))),
        "{text}"
    );
    let lines = get(&world, &people, "/api/v1/products/p/devices/export?format=ndjson&tag=site%3D1").good();
    let lines = String::from_utf8(lines.bytes).unwrap();
    assert_eq!(lines.lines().count(), 12);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["status"] == "active"));
    let audit =
        world.ask("get", "/api/v1/audit/export?format=ndjson", Some(&people.administrator), &Value::Null);
    let audit = String::from_utf8(audit.good().bytes).unwrap();
    assert!(audit.lines().last().unwrap().contains("\"subject\":\"d00\""), "{audit}");
    get(&world, &people, "/api/v1/products/p/devices/export?format=xls").problem(422);
}

#[test]
fn a_live_view_begins_with_how_things_stand() {
    let (world, people) = world_with_devices();
    let event = get(&world, &people, "/api/v1/products/p/fleet/events").good();
    let event = String::from_utf8(event.bytes).unwrap();
    let data = event.strip_prefix("event: state\ndata: ").unwrap();
    let state: Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(state, get(&world, &people, "/api/v1/products/p/fleet").good().json());
    get(&world, &people, "/api/v1/campaigns/7/events").problem(404);
}

#[test]
fn a_live_view_ends_as_soon_as_it_was_asked_to() {
    let (world, people) = world_with_devices();
    let path = "/api/v1/products/p/fleet/events";
    let mut stream = TcpStream::connect(world.address).unwrap();
    let head = format!(
        "GET {path}?seconds=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        people.operator
    );
    stream.write_all(head.as_bytes()).unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    // A piece of no length is the end of a body that did not break off (RFC 9112, section 7.1).
    while !answer.ends_with(b"\r\n0\r\n\r\n") {
        let read = stream.read(&mut piece).unwrap();
        assert_ne!(read, 0, "it broke off: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    assert!(String::from_utf8(answer).unwrap().contains("event: state\ndata: "));
    for wrong in ["seconds=0", "seconds=901", "seconds=x", "minutes=1"] {
        get(&world, &people, &format!("{path}?{wrong}")).problem(422);
    }
}

/// What comes until an event has come, or the stream has ended.
fn next_event(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    // Events and the comments between them come in pieces of their own; one of no length ends them.
    let is_over = |text: &str| text == "0\r\n\r\n" || text.ends_with("\r\n0\r\n\r\n");
    let is_event = |text: &str| text.contains("event: state\n") && text.ends_with("\n\n\r\n");
    while !is_over(&text) && !is_event(&text) {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it broke off: {text}");
        text.push(char::from(byte[0]));
    }
    text
}

#[test]
fn a_live_view_shows_nothing_more_to_whoever_may_not_look_any_more() {
    let (world, people) = world_with_devices();
    let release = release(&world, &people, "p", "1", b"one");
    let content = |title: &str| json!({ "title": title, "release": release, "target": "everyone" });
    let made =
        world.ask("post", "/api/v1/products/p/campaigns", Some(&people.operator), &content("a")).good();
    let path = format!("/api/v1/campaigns/{}", made.json()["id"]);
    let watch = |token: &str| {
        let mut stream = TcpStream::connect(world.address).unwrap();
        let head = format!("GET {path}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        assert!(next_event(&mut stream).contains("event: state\n"));
        stream
    };
    let names = ["leaving", "moving", "staying"];
    let tokens = names.map(|name| world.person(name, RoleBody::Viewer, None, DAY));
    let mut streams = tokens.each_ref().map(|token| watch(token));
    let admin =
        |method: &str, path: &str, body: &Value| world.ask(method, path, Some(&people.administrator), body);
    let leaving = tokens[0].split('_').nth(1).unwrap();
    admin("delete", &format!("/api/v1/tokens/{leaving}"), &Value::Null).good();
    admin("put", "/api/v1/people/moving", &json!({ "roles": ["viewer"], "products": ["other"] })).good();
    world.ask("put", &path, Some(&people.operator), &content("b")).good();
    let next = streams.each_mut().map(|stream| next_event(stream).contains("event: state\n"));
    assert_eq!(next, [false, false, true]);
}

#[test]
fn figures_count_requests_by_their_route_and_not_by_their_path() {
    let (world, people) = world_with_devices();
    for device in ["d01", "d02", "none"] {
        get(&world, &people, &format!("/api/v1/devices/{device}"));
    }
    get(&world, &people, "/nowhere/at/all");
    let text = String::from_utf8(get(&world, &people, "/metrics").good().bytes).unwrap();
    for line in [
        "ota_http_request_seconds_count{route=\"/api/v1/devices/{device}\",method=\"GET\",status=\"200\"} 2",
        "ota_http_request_seconds_count{route=\"/api/v1/devices/{device}\",method=\"GET\",status=\"404\"} 1",
        "ota_http_request_seconds_count{route=\"none\",method=\"GET\",status=\"404\"} 1",
        "ota_devices{product=\"p\"} 26",
        "ota_live_viewers 0",
        "ota_ready 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("nowhere"));
}

#[test]
fn a_course_ends_with_how_the_fleet_stands() {
    let (world, people) = world_with_devices();
    let course = get(&world, &people, "/api/v1/products/p/course").good().json();
    let last = course["devices"].as_array().unwrap().last().cloned().unwrap_or_default();
    assert_eq!(last["devices"], 26, "{course}");
}
