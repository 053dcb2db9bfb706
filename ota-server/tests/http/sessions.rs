//! Passwords, sessions and invitations, as a browser sends them and as somebody who means harm does.

use ota_server::http::Options;
use ota_server::http::body::RoleBody::{Administrator, Viewer};
use serde_json::{Value, json};

use crate::support::{Answer, DAY, World};

const PASSWORD: &str = "correct horse battery";

/// A world with an administrator's token and somebody who has a password.
fn world() -> (World, String) {
    let world = World::new(Options::default());
    let administrator = world.person("administrator", Administrator, None, DAY);
    world.person("ann", Viewer, None, DAY);
    accept(&world, &invitation(&world, &administrator, "ann"), PASSWORD).good();
    (world, administrator)
}

fn invitation(world: &World, administrator: &str, name: &str) -> String {
    let path = format!("/api/v1/people/{name}/invitation");
    let made = world.ask("post", &path, Some(administrator), &Value::Null).good().json();
    assert_eq!(made["link"], format!("/set-password?invitation={}", made["invitation"].as_str().unwrap()));
    made["invitation"].as_str().unwrap().to_owned()
}

fn accept(world: &World, invitation: &str, password: &str) -> Answer {
    let body = json!({ "invitation": invitation, "password": password });
    world.ask("post", "/api/v1/accept-invitation", None, &body)
}

fn try_password(world: &World, name: &str, password: &str) -> Answer {
    world.ask("post", "/api/v1/sign-in", None, &json!({ "name": name, "password": password }))
}

/// The cookie and the token against forgery of a new session.
fn sign_in(world: &World, name: &str) -> (String, String) {
    let answer = try_password(world, name, PASSWORD).good();
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax") && cookie.contains("; Path=/")
    );
    let pair = cookie.split(';').next().unwrap().to_owned();
    (pair, answer.json()["csrf"].as_str().unwrap().to_owned())
}

fn who(world: &World, cookie: &str) -> Answer {
    world.raw("get", "/api/v1/whoami", &[("cookie", cookie)], b"")
}

fn change(world: &World, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    let body = json!({ "present": "wrong", "password": PASSWORD }).to_string();
    world.raw("put", "/api/v1/password", &all, body.as_bytes())
}

#[test]
fn a_session_stands_for_its_person_until_it_is_ended() {
    let (world, _) = world();
    let (cookie, csrf) = sign_in(&world, "ann");
    let me = who(&world, &cookie).good().json();
    assert_eq!((&me["name"], &me["csrf"]), (&json!("ann"), &json!(csrf)));
    assert_eq!(me["roles"], json!(["viewer"]));
    world.raw("get", "/api/v1/products", &[("cookie", &cookie)], b"").good();
    world.raw("get", "/api/v1/people", &[("cookie", &cookie)], b"").problem(403);
    let (other, _) = sign_in(&world, "ann");
    let gone =
        world.raw("post", "/api/v1/sign-out", &[("cookie", &cookie), ("x-csrf-token", &csrf)], b"").good();
    assert!(gone.header("set-cookie").unwrap().starts_with("ota_session=; Path=/; Max-Age=0;"));
    who(&world, &cookie).problem(401);
    who(&world, &other).good();
}

#[test]
fn a_secret_of_one_kind_never_passes_for_another() {
    let (world, administrator) = world();
    let (cookie, _) = sign_in(&world, "ann");
    let session = cookie.split_once('=').unwrap().1;
    let invitation = invitation(&world, &administrator, "ann");
    for secret in [session, &invitation] {
        world.ask("get", "/api/v1/whoami", Some(secret), &Value::Null).problem(401);
    }
    for secret in [&administrator, &invitation] {
        who(&world, &format!("ota_session={secret}")).problem(401);
    }
    for secret in [&administrator, session] {
        accept(&world, secret, PASSWORD).problem(410);
    }
}

#[test]
fn what_a_browser_is_made_to_send_changes_nothing() {
    let (world, _) = world();
    let (cookie, csrf) = sign_in(&world, "ann");
    let (_, other) = sign_in(&world, "ann");
    let forged: [&[(&str, &str)]; 5] = [
        &[("cookie", &cookie)],
        &[("cookie", &cookie), ("x-csrf-token", "")],
        &[("cookie", &cookie), ("x-csrf-token", &other)],
        &[("cookie", &cookie), ("x-csrf-token", &csrf), ("sec-fetch-site", "cross-site")],
        &[("cookie", &cookie), ("x-csrf-token", &csrf), ("origin", "https://evil.example")],
    ];
    for forged in forged {
        assert_eq!(change(&world, forged).problem(403)["type"], "urn:ota:problem:forged", "{forged:?}");
    }
    // Nor can another site sign somebody in as somebody else.
    let body = json!({ "name": "ann", "password": PASSWORD }).to_string();
    let headers = [("content-type", "application/json"), ("origin", "https://evil.example")];
    world.raw("post", "/api/v1/sign-in", &headers, body.as_bytes()).problem(403);
    // With the token the request arrives, and fails for its own reason.
    let good = [("cookie", &*cookie), ("x-csrf-token", &*csrf), ("sec-fetch-site", "same-origin")];
    assert_eq!(change(&world, &good).problem(422)["detail"], "the present password is not right");
    // From a form it is in a field, and the form itself is not what this route takes.
    let form = format!("csrf={csrf}&x=1");
    let headers = [("cookie", &*cookie), ("content-type", "application/x-www-form-urlencoded")];
    world.raw("put", "/api/v1/password", &headers, form.as_bytes()).problem(415);
    world.raw("put", "/api/v1/password", &headers, b"x=1").problem(403);
}

#[test]
fn an_invitation_is_good_once_and_a_new_one_ends_it() {
    let (world, administrator) = world();
    let (first, second) =
        (invitation(&world, &administrator, "ann"), invitation(&world, &administrator, "ann"));
    accept(&world, &first, "another long password").problem(410);
    assert_eq!(
        accept(&world, &second, "short").problem(422)["detail"],
        "a password has at least 12 characters"
    );
    accept(&world, &second, "another long password").good();
    accept(&world, &second, "yet another password").problem(410);
    try_password(&world, "ann", PASSWORD).problem(401);
    try_password(&world, "ann", "another long password").good();
}

#[test]
fn a_new_password_ends_the_sessions_of_the_old_one() {
    let (world, administrator) = world();
    let (cookie, csrf) = sign_in(&world, "ann");
    let (other, _) = sign_in(&world, "ann");
    let body = json!({ "present": PASSWORD, "password": "another long password" }).to_string();
    let headers = [("cookie", &*cookie), ("x-csrf-token", &*csrf), ("content-type", "application/json")];
    world.raw("put", "/api/v1/password", &headers, body.as_bytes()).good();
    who(&world, &cookie).problem(401);
    who(&world, &other).problem(401);
    // Roles can be changed without the password being lost.
    let roles = json!({ "roles": ["operator"] });
    world.ask("put", "/api/v1/people/ann", Some(&administrator), &roles).good();
    try_password(&world, "ann", "another long password").good();
}

#[test]
fn sessions_are_listed_and_ended_by_their_person_and_by_administrators_only() {
    let (world, administrator) = world();
    let (cookie, csrf) = sign_in(&world, "ann");
    let list = world.raw("get", "/api/v1/people/ann/tokens", &[("cookie", &cookie)], b"").good().json();
    let kinds: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert!(
        kinds.contains(&"session") && kinds.contains(&"api") && !kinds.contains(&"invitation"),
        "{kinds:?}"
    );
    assert!(!list.to_string().contains(cookie.rsplit('_').next().unwrap()));
    world.raw("get", "/api/v1/people/administrator/tokens", &[("cookie", &cookie)], b"").problem(403);
    let headers = [("cookie", &*cookie), ("x-csrf-token", &*csrf)];
    let name = administrator.split('_').nth(1).unwrap();
    world.raw("delete", &format!("/api/v1/tokens/{name}"), &headers, b"").problem(403);
    let ended = world.ask("delete", "/api/v1/people/ann/sessions", Some(&administrator), &Value::Null).good();
    assert_eq!(ended.json()["ended"], 1);
    who(&world, &cookie).problem(401);
}

#[test]
fn a_disabled_person_loses_session_and_sign_in() {
    let (world, administrator) = world();
    let (cookie, _) = sign_in(&world, "ann");
    let disabled = json!({ "roles": ["viewer"], "disabled": true });
    world.ask("put", "/api/v1/people/ann", Some(&administrator), &disabled).good();
    who(&world, &cookie).problem(401);
    try_password(&world, "ann", PASSWORD).problem(401);
}

#[test]
fn guessing_is_slowed_down() {
    let (world, _) = world();
    let mut answers = (0..20).map(|_| try_password(&world, "ann", "wrong"));
    let mut tries = 0;
    let slowed = answers.find(|answer| {
        tries += 1;
        answer.status != 401
    });
    let slowed = slowed.unwrap();
    assert!(tries > 8, "slowed down after {tries}");
    assert!(slowed.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    slowed.problem(429);
    // Unknown names are answered like wrong passwords.
    assert_eq!(
        try_password(&world, "nobody", "wrong").problem(401)["type"],
        "urn:ota:problem:wrong-password"
    );
    try_password(&world, "", "wrong").problem(401);
    try_password(&world, "a b", "wrong").problem(401);
}

#[test]
fn a_token_made_by_password_is_limited_as_asked() {
    let (world, administrator) = world();
    let roles = json!({ "roles": ["operator", "viewer"] });
    world.ask("put", "/api/v1/people/ann", Some(&administrator), &roles).good();
    let own = |token: Value| {
        let body = json!({ "name": "ann", "password": PASSWORD, "token": token });
        world.ask("post", "/api/v1/own-tokens", None, &body)
    };
    let token =
        own(json!({ "title": "ci", "roles": ["viewer", "administrator"], "products": ["p"] })).good().json();
    let token = token["token"].as_str().unwrap();
    let me = world.ask("get", "/api/v1/whoami", Some(token), &Value::Null).good().json();
    assert_eq!(me["roles"], json!(["viewer@p"]));
    // A limited token does not look after its owner.
    world.ask("get", "/api/v1/people/ann/tokens", Some(token), &Value::Null).problem(403);
    own(json!({ "expires_in": "0s" })).problem(422);
    own(json!({ "title": "a\nb" })).problem(422);
}

#[test]
fn answers_keep_browsers_strict() {
    let (world, _) = world();
    let answer = world.raw("get", "/api/v1/whoami", &[], b"");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
}
