//! Random bodies for every route that takes one: made of the API's own description, good ones and bad ones. Whatever comes,
//! no answer is a failure of the server, and what was refused has changed nothing.

use core::fmt::Write as _;

use ota_server::http::{Options, PUBLIC_ROUTES, ROUTES, openapi};
use ota_server::rules::permission::Principal;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{DAY, People, World, draft, product, release};

/// Bodies for each route; passwords are slow to check by design.
const BODIES: u32 = 40;
const BODIES_WITH_PASSWORDS: u32 = 3;
/// How deep what is made up goes.
const DEPTH_MAX: u32 = 6;

/// Texts that are good somewhere, and texts that are good nowhere.
const TEXTS: &[&str] = &[
    "p",
    "p-device",
    "everyone",
    "1",
    "0s",
    "1h",
    "90d",
    "50%",
    "100%",
    "0.0001%",
    "2200-01-01T00:00:00Z",
    "tag = site=berlin",
    "tag =",
    "not (not (id = a))",
    "app.bin",
    "rev-b",
    "08:00",
    "Europe/Berlin",
    "",
    " ",
    "\0",
    "a\nb",
    "../../etc/passwd",
    "=1+1",
    "<script>",
    "\u{202e}",
    "sha2-256:00",
    "ed25519:00",
    "1970-01-01T00:00:00Z",
    "9999999999999999999d",
    "-1",
    "1e400",
];

/// Choices, drawn from one number: the same number, the same body.
struct Draw(u64);

impl Draw {
    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn text(&mut self) -> Value {
        match self.below(12) {
            0 => json!("00".repeat(32)),
            1 => json!("x".repeat(self.below(3000))),
            _ => json!(TEXTS[self.below(TEXTS.len())]),
        }
    }

    fn number(&mut self) -> Value {
        let numbers = [json!(0), json!(1), json!(2), json!(-1), json!(256), json!(u32::MAX), json!(u64::MAX)];
        match self.below(numbers.len() + 2) {
            0 => json!(1.5),
            1 => json!(self.next()),
            other => numbers[other - 2].clone(),
        }
    }

    /// Something of any shape.
    fn anything(&mut self, depth: u32) -> Value {
        match self.below(if depth < DEPTH_MAX { 7 } else { 5 }) {
            0 => Value::Null,
            1 => json!(self.one_in(2)),
            2 | 3 => self.text(),
            4 => self.number(),
            5 => (0..self.below(4)).map(|_| self.anything(depth + 1)).collect(),
            _ => json!({ TEXTS[self.below(TEXTS.len())]: self.anything(depth + 1) }),
        }
    }

    /// Something that fits a schema, nearly.
    fn value(&mut self, schema: &Value, depth: u32) -> Value {
        if self.one_in(25) || depth > DEPTH_MAX {
            return self.anything(depth);
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let referred = openapi().pointer(reference.trim_start_matches('#')).unwrap();
            return self.value(referred, depth + 1);
        }
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        for several in ["enum", "oneOf", "anyOf", "allOf"] {
            if let Some(list) = schema[several].as_array() {
                let one = &list[self.below(list.len())];
                return if several == "enum" { one.clone() } else { self.value(one, depth + 1) };
            }
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => vec!["string"],
        };
        match kinds[self.below(kinds.len())] {
            "object" => self.object(schema, depth),
            "array" => {
                let count = if self.one_in(40) { 1500 } else { self.below(4) };
                (0..count).map(|_| self.value(&schema["items"], depth + 1)).collect()
            }
            "integer" | "number" => self.number(),
            "boolean" => json!(self.one_in(2)),
            "null" => Value::Null,
            _ => self.text(),
        }
    }

    fn object(&mut self, schema: &Value, depth: u32) -> Value {
        let mut object = serde_json::Map::new();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = required.iter().any(|one| one == name);
            if (is_required && !self.one_in(30)) || self.one_in(2) {
                object.insert(name.clone(), self.value(property, depth + 1));
            }
        }
        if self.one_in(20) {
            object.insert("more".to_owned(), self.anything(depth));
        }
        Value::Object(object)
    }
}

/// Everything that a path can name, and a person who may do everything.
struct Names {
    token: String,
    release: String,
    draft: String,
    campaign: String,
}

impl Names {
    fn new(world: &World) -> Self {
        let people = People::of(world);
        product(world, &people, "p");
        let release = release(world, &people, "p", "1", b"one");
        let draft = draft(world, &people, "p", "2", b"two");
        let content = json!({ "title": "t", "release": release, "target": "everyone" });
        let made = world.ask("post", "/api/v1/products/p/campaigns", Some(&people.operator), &content);
        let campaign = made.good().json()["id"].to_string();
        let roles = ["viewer", "developer", "operator", "approver", "key_holder", "administrator"];
        let path = "/api/v1/people/all";
        world.ask("put", path, Some(&people.administrator), &json!({ "roles": roles })).good();
        let path = "/api/v1/people/all/tokens";
        let token = world.ask("post", path, Some(&people.administrator), &json!({})).good().json();
        // Whoever is changed by what is made up is somebody else.
        world.person("somebody", ota_server::http::body::RoleBody::Viewer, None, DAY);
        Self { token: token["token"].as_str().unwrap().to_owned(), release, draft, campaign }
    }

    fn path(&self, draw: &mut Draw, path: &str) -> String {
        let digest = "00".repeat(32);
        let releases = [self.release.as_str(), &self.draft, &digest];
        let mut path = path.to_owned();
        for (place, good) in [
            ("{product}", "p"),
            ("{device}", "p-device"),
            ("{campaign}", &self.campaign),
            ("{release}", releases[draw.below(3)]),
            ("{name}", "somebody"),
            ("{group}", "north"),
            ("{enrolment}", &digest),
        ] {
            if path.contains(place) {
                let odd = draw.text();
                let text = if draw.one_in(15) { odd.as_str().unwrap() } else { good };
                path = path.replace(place, &escaped(text));
            }
        }
        path
    }
}

/// One segment of a path; an empty one would be another path.
fn escaped(text: &str) -> String {
    let mut path = String::new();
    for byte in text.bytes() {
        write!(path, "%{byte:02x}").unwrap();
    }
    if path.is_empty() { "%20".to_owned() } else { path }
}

fn schema_of(method: &str, path: &str) -> Option<&'static Value> {
    openapi()["paths"][path][method].pointer("/requestBody/content/application~1json/schema")
}

fn entries(world: &World, machine: &Principal) -> u64 {
    world.block_on(world.server.audit_page(machine, None, 1)).unwrap().last
}

#[test]
fn no_body_makes_the_server_fail_and_what_is_refused_has_changed_nothing() {
    let world = World::new(Options::default());
    let names = Names::new(&world);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(BODIES) };
    let mut done = 0;
    for (routes, bodies) in [(ROUTES, BODIES), (PUBLIC_ROUTES, BODIES_WITH_PASSWORDS)] {
        let takes_json = |route: &&(&'static str, &'static str)| schema_of(route.0, route.1).is_some();
        for (method, route) in routes.iter().filter(takes_json) {
            // Its passwords are checked like those of the public ones; everything else about it is tried there.
            let bodies = if route.ends_with("/password") { BODIES_WITH_PASSWORDS } else { bodies };
            let mut runner =
                proptest::test_runner::TestRunner::new(ProptestConfig { cases: bodies, ..config.clone() });
            let outcome = runner.run(&any::<u64>(), |seed| {
                let mut draw = Draw(seed);
                let path = names.path(&mut draw, route);
                let body = draw.value(schema_of(method, route).unwrap(), 0);
                let before = entries(&world, &world.machine);
                let text = serde_json::to_vec(&body).unwrap();
                let answer = world.send(method, &path, Some(&names.token), "application/json", &text);
                let said = String::from_utf8_lossy(&answer.bytes).into_owned();
                prop_assert!(answer.status < 500, "{method} {path} {body}: {} {said}", answer.status);
                if answer.status >= 400 {
                    let after = entries(&world, &world.machine);
                    prop_assert_eq!(
                        before,
                        after,
                        "{} {} {}: {} {}",
                        method,
                        path,
                        body,
                        answer.status,
                        said
                    );
                    prop_assert_eq!(&answer.kind, "application/problem+json");
                }
                Ok(())
            });
            outcome.unwrap_or_else(|why| panic!("{why}"));
            done += 1;
        }
    }
    assert!(done > 25, "{done} routes take JSON");
    let recount = world.block_on(world.server.recount(&world.machine)).unwrap();
    assert_eq!(recount.differences, []);
}
