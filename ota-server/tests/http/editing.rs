//! Two people who edit the same thing, and requests that come twice.

use ota_server::http::Options;
use serde_json::{Value, json};

use crate::support::{Answer, People, World, product, release};

fn send(world: &World, method: &str, path: &str, token: &str, more: &[(&str, &str)], body: &Value) -> Answer {
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("authorization", &*authorization), ("content-type", "application/json")];
    headers.extend_from_slice(more);
    world.raw(method, path, &headers, body.to_string().as_bytes())
}

#[test]
fn of_two_editors_the_second_is_told_instead_of_undoing_the_first() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let release = release(&world, &people, "p", "1", b"one");
    let content = |title: &str| json!({ "title": title, "release": release, "target": "everyone" });
    let draft = content("first");
    let made =
        world.ask("post", "/api/v1/products/p/campaigns", Some(&people.operator), &draft).good().json();
    let path = format!("/api/v1/campaigns/{}", made["id"]);
    let read = || world.ask("get", &path, Some(&people.operator), &Value::Null).good();
    let tag = read().header("etag").unwrap().to_owned();
    let edit = |title, tag: &str| {
        send(&world, "put", &path, &people.operator, &[("if-match", tag)], &content(title))
    };
    edit("by ann", &tag).good();
    assert_eq!(edit("by bob", &tag).problem(412)["type"], "urn:ota:problem:changed");
    assert_eq!(read().json()["title"], "by ann");
    let tag = read().header("etag").unwrap().to_owned();
    edit("by bob", &tag).good();
    edit("by force", "*").good();
    for wrong in ["7", "W/\"7\"", "\"x\"", ""] {
        edit("x", wrong).problem(422);
    }
}

#[test]
fn groups_and_tags_are_not_changed_back_by_whoever_has_not_seen_the_change() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let group = "/api/v1/products/p/groups/lab";
    let expression = |text: &str| json!({ "expression": text });
    // A version of 0 is one that is not there yet.
    send(&world, "put", group, &people.operator, &[("if-match", "\"0\"")], &expression("tag = a")).good();
    let tags = |text: &str| json!({ "tags": [text] });
    let cases = [
        (group, [expression("tag = b"), expression("tag = c")]),
        ("/api/v1/devices/p-device/tags", [tags("by-ann"), tags("by-bob")]),
    ];
    for (path, [ann, bob]) in cases {
        let read = || world.ask("get", path, Some(&people.operator), &Value::Null).good();
        let tag = read().header("etag").unwrap().to_owned();
        let edit =
            |tag: &str, body: &Value| send(&world, "put", path, &people.operator, &[("if-match", tag)], body);
        edit(&tag, &ann).good();
        let seen = read().json();
        assert_eq!(edit(&tag, &bob).problem(412)["type"], "urn:ota:problem:changed", "{path}");
        assert_eq!(read().json(), seen, "{path}");
        edit(read().header("etag").unwrap(), &bob).good();
        assert_ne!(read().json(), seen, "{path}");
    }
    send(&world, "put", group, &people.operator, &[("if-match", "\"0\"")], &expression("tag = a"))
        .problem(412);
    world.ask("get", "/api/v1/products/p/groups/none", Some(&people.operator), &Value::Null).problem(404);
}

#[test]
fn editors_who_come_at_the_same_moment_do_not_both_win() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    let path = "/api/v1/people/developer";
    let tag = world.ask("get", path, Some(&people.administrator), &Value::Null).good();
    let tag = tag.header("etag").unwrap().to_owned();
    let won = std::thread::scope(|scope| {
        let edit = |number: usize| {
            let body = json!({ "title": number.to_string(), "roles": ["developer"] });
            let (world, people, tag) = (&world, &people, &tag);
            scope.spawn(move || {
                send(world, "put", path, &people.administrator, &[("if-match", tag)], &body).status
            })
        };
        let editors: Vec<_> = (0..8).map(edit).collect();
        editors.into_iter().map(|editor| editor.join().unwrap()).filter(|status| *status == 204).count()
    });
    assert_eq!(won, 1);
}

#[test]
fn a_request_that_comes_twice_is_done_once() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let release = release(&world, &people, "p", "1", b"one");
    let content = json!({ "title": "t", "release": release, "target": "everyone" });
    let draft = |key: &str, token: &str, content: &Value| {
        send(&world, "post", "/api/v1/products/p/campaigns", token, &[("idempotency-key", key)], content)
    };
    let (first, again) = (draft("a", &people.operator, &content), draft("a", &people.operator, &content));
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.bytes, again.bytes);
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        (None, Some("true"))
    );
    // Another key is another campaign; the same key for something else is a mistake; keys of others are theirs.
    assert_ne!(draft("b", &people.operator, &content).good().bytes, first.bytes);
    let other = json!({ "title": "other", "release": release, "target": "everyone" });
    assert_eq!(draft("a", &people.operator, &other).problem(422)["type"], "urn:ota:problem:idempotency-key");
    draft("a", &people.approver, &content).problem(403);
    draft("", &people.operator, &content).problem(422);
    // What failed may be tried again.
    let wrong = json!({ "title": "t", "release": "00".repeat(32), "target": "everyone" });
    draft("c", &people.operator, &wrong).problem(404);
    draft("c", &people.operator, &content).good();
    let list = world.ask("get", "/api/v1/products/p/campaigns", Some(&people.operator), &Value::Null).good();
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 3);
}

#[test]
fn an_answer_with_a_secret_is_told_once_and_kept_nowhere() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let token = json!({ "proof": { "token": { "uses": 1 } } });
    for (path, body, secret) in [
        ("/api/v1/people/developer/tokens", &json!({}), "token"),
        ("/api/v1/people/developer/invitation", &Value::Null, "invitation"),
        ("/api/v1/products/p/enrolments", &token, "token"),
    ] {
        let by = if path.ends_with("enrolments") { &people.operator } else { &people.administrator };
        let ask = || send(&world, "post", path, by, &[("idempotency-key", path)], body);
        let first = ask().good().json();
        assert!(first[secret].as_str().is_some_and(|secret| secret.len() > 32), "{first}");
        // It was done once, and the second asker is told so without the secret.
        assert_eq!(ask().problem(409)["type"], "urn:ota:problem:told-once", "{path}");
    }
    let ask = |path, by| world.ask("get", path, Some(by), &Value::Null).good().json();
    let enrolments = ask("/api/v1/products/p/enrolments", &people.operator);
    assert_eq!(enrolments["items"].as_array().unwrap().len(), 1);
}

#[test]
fn requests_that_come_at_once_with_one_key_are_done_once() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    let release = release(&world, &people, "p", "1", b"one");
    let content = json!({ "title": "t", "release": release, "target": "everyone" });
    let answers: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let (world, people, content) = (&world, &people, &content);
        let one = || {
            scope.spawn(move || {
                let path = "/api/v1/products/p/campaigns";
                send(world, "post", path, &people.operator, &[("idempotency-key", "k")], content).good().bytes
            })
        };
        let all: Vec<_> = (0..8).map(|_| one()).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}
