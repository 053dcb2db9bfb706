//! Every route as everybody: deny by default, and a role in one product never helps in another.

use ota_core::time::Millis;
use ota_server::http::body::RoleBody::{
    self, Administrator, Approver, Developer, KeyHolder, Operator, Viewer,
};
use ota_server::http::{Options, PUBLIC_ROUTES, ROUTES};
use serde_json::{Value, json};

use crate::support::{DAY, People, World, draft, product, release};

const ALL: &[RoleBody] = &RoleBody::ALL;

/// Who may do what a route does: roles, and whether a role in the product alone is enough.
struct Rule {
    route: (&'static str, &'static str),
    roles: &'static [RoleBody],
    scope: Scope,
    body: Value,
}

#[derive(Clone, Copy, PartialEq)]
enum Scope {
    /// Whoever has a good token, whatever their roles.
    Anybody,
    /// The role must hold for the product.
    Product,
    /// The role must hold for the installation.
    Installation,
}

fn rules(release: &str) -> Vec<Rule> {
    use Scope::{Anybody, Installation, Product};
    let why = || json!({ "reason": "a test" });
    let campaign = || json!({ "title": "t", "release": release, "target": "everyone" });
    let rule = |method, path, roles, scope, body| Rule { route: (method, path), roles, scope, body };
    let null = || Value::Null;
    vec![
        rule("get", "/api/v1/whoami", ALL, Anybody, null()),
        rule("get", "/api/v1/installation", ALL, Anybody, null()),
        rule("get", "/metrics", ALL, Installation, null()),
        rule("get", "/api/v1/audit/export", &[Approver, Administrator], Installation, null()),
        rule("get", "/api/v1/people/{name}", &[Administrator], Installation, null()),
        rule("get", "/api/v1/products/{product}/fleet/events", ALL, Product, null()),
        rule("get", "/api/v1/products/{product}/course", ALL, Product, null()),
        rule("get", "/api/v1/products/{product}/devices/export", ALL, Product, null()),
        rule("get", "/api/v1/campaigns/{campaign}/events", ALL, Product, null()),
        rule("get", "/api/v1/audit", &[Approver, Administrator], Installation, null()),
        rule("get", "/api/v1/audit/verified", &[Approver, Administrator], Installation, null()),
        rule(
            "post",
            "/api/v1/audit/verified",
            &[Approver, Administrator],
            Installation,
            json!({ "checkpoints": [], "keys": [] }),
        ),
        rule("get", "/api/v1/products/{product}/groups", ALL, Product, null()),
        rule("get", "/api/v1/products/{product}/groups/{group}", ALL, Product, null()),
        rule(
            "put",
            "/api/v1/products/{product}/groups/{group}",
            &[Operator],
            Product,
            json!({ "expression": "tag = a" }),
        ),
        rule("delete", "/api/v1/products/{product}/groups/{group}", &[Operator], Product, null()),
        rule("get", "/api/v1/products/{product}/enrolments", &[Operator], Product, null()),
        rule(
            "post",
            "/api/v1/products/{product}/enrolments",
            &[Operator],
            Product,
            json!({ "proof": { "token": { "uses": 1 } } }),
        ),
        rule("delete", "/api/v1/products/{product}/enrolments/{enrolment}", &[Operator], Product, null()),
        rule("post", "/api/v1/sweep-files", &[Administrator], Installation, null()),
        rule("post", "/api/v1/store/compact", &[Administrator], Installation, null()),
        rule("post", "/api/v1/store/backups", &[Administrator], Installation, json!({ "name": "monday" })),
        rule("get", "/api/v1/store/recounted", &[Administrator], Installation, null()),
        rule("get", "/api/v1/people", &[Administrator], Installation, null()),
        // Without a session there is nothing to end, and without the present password nothing to change.
        rule("post", "/api/v1/sign-out", ALL, Anybody, null()),
        rule("put", "/api/v1/password", ALL, Anybody, json!({ "present": "x", "password": "y" })),
        rule("post", "/api/v1/people/{name}/invitation", &[Administrator], Installation, null()),
        rule("delete", "/api/v1/people/{name}/sessions", &[Administrator], Installation, null()),
        rule("get", "/api/v1/people/{name}/tokens", &[Administrator], Installation, null()),
        rule("put", "/api/v1/people/{name}", &[Administrator], Installation, json!({ "roles": ["viewer"] })),
        rule("post", "/api/v1/people/{name}/tokens", &[Administrator], Installation, json!({})),
        rule("delete", "/api/v1/tokens/{name}", &[Administrator], Installation, null()),
        rule("get", "/api/v1/products", ALL, Anybody, null()),
        rule("post", "/api/v1/products", &[Administrator], Product, json!({ "id": "p" })),
        rule("get", "/api/v1/products/{product}", ALL, Product, null()),
        rule("get", "/api/v1/products/{product}/fleet", ALL, Product, null()),
        rule("get", "/api/v1/products/{product}/root", ALL, Product, null()),
        rule("post", "/api/v1/products/{product}/roots", &[KeyHolder], Product, json!({ "body": "00" })),
        rule("get", "/api/v1/products/{product}/devices", ALL, Product, null()),
        rule(
            "post",
            "/api/v1/products/{product}/devices",
            &[Operator],
            Product,
            json!({ "devices": [{ "id": "new" }] }),
        ),
        rule("post", "/api/v1/products/{product}/files", &[Developer], Product, json!({})),
        rule("post", "/api/v1/products/{product}/uploads", &[Developer], Product, null()),
        // Whose upload it is decides, and here it is nobody's.
        rule("get", "/api/v1/uploads/{upload}", ALL, Anybody, null()),
        rule("patch", "/api/v1/uploads/{upload}", ALL, Anybody, json!({})),
        rule("delete", "/api/v1/uploads/{upload}", ALL, Anybody, null()),
        rule("get", "/api/v1/products/{product}/releases", ALL, Product, null()),
        rule(
            "post",
            "/api/v1/products/{product}/releases",
            &[Developer],
            Product,
            json!({ "package": "x", "hardware": [], "files": [], "expires": "2200-01-01T00:00:00Z" }),
        ),
        rule("get", "/api/v1/products/{product}/campaigns", ALL, Product, null()),
        rule("post", "/api/v1/products/{product}/campaigns", &[Operator], Product, campaign()),
        rule("post", "/api/v1/products/{product}/dry-run", ALL, Product, campaign()),
        rule("get", "/api/v1/devices/{device}", ALL, Product, null()),
        rule("get", "/api/v1/devices/{device}/why-not", ALL, Product, null()),
        rule("get", "/api/v1/devices/{device}/tags", ALL, Product, null()),
        rule("put", "/api/v1/devices/{device}/tags", &[Operator], Product, json!({ "tags": [] })),
        rule("post", "/api/v1/devices/{device}/revoke", &[Operator, Administrator], Product, why()),
        rule("post", "/api/v1/devices/{device}/quarantine", &[Operator], Product, why()),
        rule("post", "/api/v1/devices/{device}/release", &[Operator], Product, null()),
        rule("put", "/api/v1/devices/{device}/pin", &[Operator], Product, why()),
        rule("delete", "/api/v1/devices/{device}/pin", &[Operator], Product, null()),
        rule("post", "/api/v1/campaigns/{campaign}/retry", &[Operator], Product, why()),
        rule("post", "/api/v1/campaigns/{campaign}/devices/{device}/retry", &[Operator], Product, why()),
        rule("get", "/api/v1/releases/{release}", ALL, Product, null()),
        rule("get", "/api/v1/releases/{release}/body", ALL, Product, null()),
        rule("post", "/api/v1/releases/{draft}/fix", &[Developer], Product, json!({})),
        rule("post", "/api/v1/releases/{release}/signatures", &[KeyHolder], Product, json!({})),
        rule("get", "/api/v1/campaigns/{campaign}", ALL, Product, null()),
        rule("put", "/api/v1/campaigns/{campaign}", &[Operator], Product, campaign()),
        rule("get", "/api/v1/campaigns/{campaign}/failures", ALL, Product, null()),
        rule(
            "post",
            "/api/v1/campaigns/{campaign}/approve",
            &[Approver],
            Product,
            json!({ "content_hash": "00".repeat(32) }),
        ),
        rule(
            "post",
            "/api/v1/campaigns/{campaign}/amendment",
            &[Operator],
            Product,
            json!({ "change": "soak", "reason": "a test" }),
        ),
        rule("delete", "/api/v1/campaigns/{campaign}/amendment", &[Operator], Product, null()),
        rule(
            "post",
            "/api/v1/campaigns/{campaign}/amendment/consent",
            &[Approver],
            Product,
            json!({ "content_hash": "00".repeat(32) }),
        ),
        rule("post", "/api/v1/campaigns/{campaign}/prepare", &[Operator], Product, null()),
        rule("post", "/api/v1/campaigns/{campaign}/start", &[Operator], Product, null()),
        rule("post", "/api/v1/campaigns/{campaign}/promote", &[Operator, Approver], Product, null()),
        rule("post", "/api/v1/campaigns/{campaign}/pause", &[Operator], Product, why()),
        rule("post", "/api/v1/campaigns/{campaign}/resume", &[Operator], Product, null()),
        rule("post", "/api/v1/campaigns/{campaign}/stop", &[Operator], Product, why()),
        rule("post", "/api/v1/stop-everything", &[Operator, Approver, Administrator], Installation, why()),
        rule("post", "/api/v1/releases/{release}/withdraw", &[Operator, Approver], Product, why()),
        // At the end, since the device is no longer there.
        rule("post", "/api/v1/devices/{device}/erase", &[Administrator], Product, why()),
    ]
}

#[test]
fn every_route_lets_in_whom_it_should_and_nobody_else() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    product(&world, &people, "q");
    let release = release(&world, &people, "p", "1", b"one");
    let draft = draft(&world, &people, "p", "2", b"two");
    let input = json!({ "title": "t", "release": release, "target": { "snapshot": "tag = site=berlin" } });
    let made =
        world.ask("post", "/api/v1/products/p/campaigns", Some(&people.operator), &input).good().json();
    let campaign = made["id"].to_string();

    let rules = rules(&release);
    let known = |route: &(&'static str, &'static str)| (route.0, route.1.replace("{draft}", "{release}"));
    let mut listed: Vec<_> = rules.iter().map(|rule| known(&rule.route)).collect();
    let mut routes: Vec<_> = ROUTES.iter().map(known).collect();
    listed.sort_unstable();
    routes.sort_unstable();
    assert_eq!(listed, routes, "each route needs a rule here");

    let path = |rule: &Rule| {
        let mut path = rule.route.1.replace("{product}", "p").replace("{device}", "p-device");
        path =
            path.replace("{release}", &release).replace("{draft}", &draft).replace("{campaign}", &campaign);
        if path.ends_with("why-not") {
            path.push_str(&format!("?campaign={campaign}"));
        }
        path.replace("{name}", "somebody")
            .replace("{group}", "north")
            .replace("{enrolment}", &"00".repeat(32))
            .replace("{upload}", &"00".repeat(16))
    };
    let mut callers = Vec::new();
    for role in RoleBody::ALL {
        for (scope, home) in [("everywhere", None), ("in-p", Some("p")), ("in-q", Some("q"))] {
            let name = format!("{role:?}-{scope}");
            callers.push((role, home, world.person(&name, role, home, DAY)));
        }
    }
    let is_let_in = |rule: &Rule, role: RoleBody, home: Option<&str>| match rule.scope {
        Scope::Anybody => true,
        Scope::Product => rule.roles.contains(&role) && home != Some("q"),
        Scope::Installation => rule.roles.contains(&role) && home.is_none(),
    };

    let nobody = world.person("nobody", Viewer, Some("q"), Millis(0));
    for rule in &rules {
        let (method, path) = (rule.route.0, path(rule));
        for token in [None, Some("ota_0123456789abcdef_00"), Some(nobody.as_str())] {
            world.ask(method, &path, token, &rule.body).problem(401);
        }
    }
    // First those who are kept out, so that nothing has changed yet when they knock.
    for lets_in in [false, true] {
        for rule in &rules {
            let (method, path) = (rule.route.0, path(rule));
            for (role, home, token) in &callers {
                if is_let_in(rule, *role, *home) != lets_in {
                    continue;
                }
                let answer = world.ask(method, &path, Some(token), &rule.body);
                let text = String::from_utf8_lossy(&answer.bytes).into_owned();
                let found = format!("{method} {path} as {role:?} of {home:?}: {} {text}", answer.status);
                if lets_in {
                    assert!(answer.status != 401 && answer.status != 403 && answer.status < 500, "{found}");
                } else {
                    assert_eq!(answer.status, 403, "{found}");
                    assert!(
                        answer.problem(403)["detail"].as_str().unwrap().contains("has no role"),
                        "{found}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_anybody_can_call_is_three_routes_that_take_a_proof() {
    let paths: Vec<&str> = PUBLIC_ROUTES.iter().map(|(_, path)| *path).collect();
    assert_eq!(paths, ["/api/v1/sign-in", "/api/v1/own-tokens", "/api/v1/accept-invitation"]);
}

#[test]
fn lists_show_only_what_the_caller_may_see() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    product(&world, &people, "p");
    product(&world, &people, "q");
    let viewer = world.person("viewer-of-q", Viewer, Some("q"), DAY);
    let list = world.ask("get", "/api/v1/products", Some(&viewer), &Value::Null).good().json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["id"], "q");
}

#[test]
fn a_disabled_person_and_a_removed_token_get_nothing() {
    let world = World::new(Options::default());
    let people = People::of(&world);
    let token = world.person("somebody", Administrator, None, DAY);
    world.ask("get", "/api/v1/people", Some(&token), &Value::Null).good();
    let disabled = json!({ "roles": ["administrator"], "disabled": true });
    world.ask("put", "/api/v1/people/somebody", Some(&people.administrator), &disabled).good();
    world.ask("get", "/api/v1/people", Some(&token), &Value::Null).problem(403);
    let name = token.split('_').nth(1).unwrap();
    world.ask("delete", &format!("/api/v1/tokens/{name}"), Some(&people.administrator), &Value::Null).good();
    world.ask("get", "/api/v1/whoami", Some(&token), &Value::Null).problem(401);
}
