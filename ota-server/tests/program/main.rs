//! The program `ota` as people and scripts use it: the real binary, a real server, a temporary folder.

mod broker;
mod bucket;
mod full;
mod kept;
#[path = "../../../ota-storage/tests/s3/moto.rs"]
#[allow(dead_code, unreachable_pub, reason = "other suites use the rest of it")]
mod moto;
mod oidc;
mod postgres;
#[path = "../../../ota-storage/tests/postgres/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "other suites use the rest of it")]
mod postgres_server;
mod support;
mod uploads;
mod webhooks;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use support::{Ota, Server};

#[test]
fn the_first_start_makes_an_administrator_and_the_second_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().expect("the first start tells a token");
    server.stop();
    let server = Server::start(folder.path());
    assert_eq!(server.token, None);
    let me = server.ota(&token).json(&["login"]);
    assert_eq!(me["name"], "administrator");
    let kept = folder.path().join("config/ota/login.toml");
    assert_eq!(std::fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    server.stop();
    // Whoever can start the server can let himself in again.
    let server = Server::start_with(folder.path(), &["--new-administrator-token"]);
    let fresh = server.token.clone().expect("a new token was asked for");
    assert_ne!(fresh, token);
    server.ota(&fresh).json(&["login"]);
    server.stop();
}

#[test]
fn secrets_are_nowhere_but_in_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    server.stop();
    for secret in ["assignment-key.pem", "audit-key.pem", "wrapping.key", "tls/ca.key", "tls/server.key"] {
        let mode = std::fs::metadata(folder.path().join("data").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let store = std::fs::read(folder.path().join("data/ota.redb")).unwrap();
    let secret = token.rsplit('_').next().unwrap();
    let raw: Vec<u8> = secret
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    for needle in [secret.as_bytes(), raw.as_slice()] {
        assert!(
            !store.windows(needle.len()).any(|window| window == needle),
            "the token's secret is in the store"
        );
    }
}

#[test]
fn two_servers_cannot_share_a_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let second =
        Ota::new(folder.path()).run(&["serve", "--data", server.data(), "--http-listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("is another server running on it?"), "{}", second.stderr);
    server.stop();
}

#[test]
fn wrong_use_has_its_own_exit_codes_and_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let ota = Ota::new(folder.path());
    let wrong = ota.run(&["serve", "--http-listen", "80"]);
    assert_eq!(wrong.code, 1);
    assert!(
        wrong.stderr.contains("`http.listen` is \"80\", from the flag --http-listen; allowed is"),
        "{}",
        wrong.stderr
    );
    let wrong = ota.run(&["serve", "--mqtt-ca", "nowhere.pem"]);
    assert_eq!(wrong.code, 1);
    let words =
        ["`mqtt.ca` is \"nowhere.pem\", from the flag --mqtt-ca; allowed is", "be read: No such file"];
    assert!(words.iter().all(|words| wrong.stderr.contains(words)), "{}", wrong.stderr);
    assert_eq!(ota.run(&["no-such-command"]).code, 2);
    let nobody = ota.run(&["--server", "http://127.0.0.1:9", "login"]);
    assert_eq!(nobody.code, 3);
    assert!(nobody.stderr.contains("ota serve"), "{}", nobody.stderr);
}

#[test]
fn a_server_whose_word_devices_do_not_believe_says_so_when_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.good(&["init", "pump", "--keys", "keys"]);
    let token = admin.good(&["person", "token", "administrator"]);
    assert_eq!(token.trim().matches("ota_").count(), 1);
    assert_eq!(token.lines().count(), 1, "what is put into a variable is the token alone");
    server.stop();
    let log = folder.path().join("log");
    let says =
        || std::fs::read_to_string(&log).unwrap().contains("does not name the key in assignment-key.pem");
    Server::start_logging(folder.path(), &log, &[]).stop();
    assert!(!says());
    // As somebody does who sets up another server without copying the key.
    std::fs::remove_file(folder.path().join("data/assignment-key.pem")).unwrap();
    Server::start_logging(folder.path(), &log, &[]).stop();
    assert!(says());
}

#[test]
fn a_package_goes_from_files_to_a_running_campaign_from_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    let made = admin.json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    assert_eq!(made["root_version"], 1);
    std::fs::write(folder.path().join("devices.csv"), "# the lab\npump-1,site=berlin\npump-2\n").unwrap();
    admin.good(&["device", "import", "--product", "pump", "devices.csv"]);
    admin.good(&["device", "add", "--product", "pump", "pump-3", "--tag", "lab"]);
    let list = admin.json(&["device", "list", "--product", "pump"]);
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    admin.good(&["group", "set", "--product", "pump", "the lab", "tag = lab"]);
    assert!(admin.good(&["group", "list", "--product", "pump"]).contains("tag = lab"));
    let list = admin.json(&["device", "list", "--product", "pump", "--group", "the lab"]);
    assert_eq!(list["items"][0]["id"], "pump-3");
    let enrolled =
        admin.json(&["enrolment", "token", "--product", "pump", "--uses", "5", "--tag", "batch=7"]);
    assert!(enrolled["token"].as_str().unwrap().starts_with("enrol_"), "{enrolled}");
    std::fs::write(folder.path().join("batch.txt"), "AB".repeat(32)).unwrap();
    admin.good(&["enrolment", "certificates", "--product", "pump", "batch.txt"]);
    let list = admin.json(&["enrolment", "list", "--product", "pump"]);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let id = list["items"][0]["id"].as_str().unwrap();
    admin.good(&["enrolment", "remove", "--product", "pump", id]);

    std::fs::write(folder.path().join("app.bin"), vec![7; 5000]).unwrap();
    let description = "package = \"main\"\nhardware = [\"rev-b\"]\n\n[[file]]\nname = \"app.bin\"\nrevision = \"1.0\"\n\
                       target = \"app\"\npath = \"app.bin\"\n";
    std::fs::write(folder.path().join("package.toml"), description).unwrap();
    let built = admin.json(&["package", "build", "package.toml"]);
    assert_eq!(built[0]["size"], 5000);
    let release = admin.json(&["package", "upload", "--product", "pump", "package.toml"])["id"]
        .as_str()
        .unwrap()
        .to_owned();

    // Somebody who holds the key elsewhere: bytes out, signature in.
    let public = admin.json(&["key", "show", "keys/release-key.pem"])["public"].as_str().unwrap().to_owned();
    admin.good(&["package", "sign", &release, "--public", &public, "--export", "to-sign"]);
    let signer = ota_server::program::read_signer(&folder.path().join("keys/release-key.pem")).unwrap();
    let signature = signer.sign(&std::fs::read(folder.path().join("to-sign")).unwrap()).unwrap();
    std::fs::write(folder.path().join("signature"), [0; 64]).unwrap();
    assert_eq!(
        admin.run(&["package", "sign", &release, "--public", &public, "--import", "signature"]).code,
        1
    );
    std::fs::write(folder.path().join("signature"), signature).unwrap();
    let signed = admin.json(&["package", "sign", &release, "--public", &public, "--import", "signature"]);
    assert_eq!(signed["status"], "signed");

    std::fs::write(
        folder.path().join("plan.toml"),
        "[[stages]]\nuntil = \"100%\"\npace = { linear = { over = \"2h\" } }\n",
    )
    .unwrap();
    let create = [
        "campaign",
        "create",
        "--product",
        "pump",
        "--release",
        &release,
        "--title",
        "first",
        "--plan",
        "plan.toml",
    ];
    let campaign = admin.json(&create)["id"].to_string();
    let early = admin.run(&["campaign", "start", &campaign]);
    assert!(early.code == 1 && early.stderr.contains("0 of 1 approvals"), "{}", early.stderr);
    let own = admin.run(&["campaign", "approve", &campaign]);
    assert!(own.code == 1 && own.stderr.contains("has no role"), "{}", own.stderr);

    admin.good(&["person", "set", "paula", "--role", "approver"]);
    let token = admin.json(&["person", "token", "paula"])["token"].as_str().unwrap().to_owned();
    let paula = server.ota(&token);
    paula.good(&["campaign", "approve", &campaign]);
    admin.good(&["campaign", "start", &campaign]);
    assert_eq!(admin.json(&["campaign", "show", &campaign])["state"], "rolling");
    let nothing = admin.run(&["campaign", "retry", &campaign, "--reason", "mended"]);
    assert!(nothing.code == 1 && nothing.stderr.contains("no device has failed"), "{}", nothing.stderr);
    let why = admin.json(&["device", "why-not", "pump-1"]);
    assert!(why[0]["text"].as_str().is_some_and(|text| !text.is_empty()), "{why}");

    // Fewer devices a minute are nobody else's business, more of them are.
    let limits = |rate: u32| {
        let text = format!("[limits]\ndevices_per_minute = {rate}\n");
        std::fs::write(folder.path().join("limits.toml"), text).unwrap();
        let change =
            ["campaign", "change", "limits", &campaign, "--plan", "limits.toml", "--reason", "the site"];
        admin.json(&change)["state"].clone()
    };
    assert_eq!(limits(10), "made");
    assert_eq!(limits(100), "waits_for_consent");
    assert!(admin.good(&["campaign", "show", &campaign]).contains("wants other limits: the site"));
    assert_eq!(admin.run(&["campaign", "change", "consent", &campaign]).code, 1, "it is their own");
    let consented = paula.json(&["campaign", "change", "consent", &campaign]);
    assert_eq!(consented["state"], "made");
    assert_eq!(limits(1000), "waits_for_consent");
    admin.good(&["campaign", "change", "drop", &campaign]);
    let nothing = paula.run(&["campaign", "change", "consent", &campaign]);
    assert!(nothing.code == 1 && nothing.stderr.contains("no change"), "{}", nothing.stderr);
    assert_eq!(admin.json(&["campaign", "show", &campaign])["plan"]["limits"]["devices_per_minute"], 100);
    let early = admin.run(&["campaign", "change", "skip-soak", &campaign, "--reason", "we know it"]);
    assert!(early.code == 1 && early.stderr.contains("soak"), "no gate has passed yet: {}", early.stderr);
    assert_eq!(admin.json(&["campaign", "failures", &campaign])["items"], serde_json::json!([]));
    admin.good(&["campaign", "pause", &campaign, "--reason", "lunch"]);
    assert_eq!(admin.run(&["campaign", "watch", &campaign]).code, 4);
    assert_eq!(paula.json(&["audit", "verify"])["intact"], Value::Bool(true));
    // What people read has no JSON in it.
    let text = admin.good(&["campaign", "list", "--product", "pump"]);
    assert!(text.contains("CAMPAIGN") && text.contains("paused"), "{text}");
    server.stop();
}

#[test]
fn people_and_lists_are_kept_from_a_shell() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.json(&["init", "pump", "--keys", "keys"]);
    admin.good(&["device", "add", "--product", "pump", "pump-1", "pump-2", "--tag", "=1+1"]);
    admin.good(&["person", "set", "dora", "--role", "developer", "--product", "pump"]);
    let link = admin.good(&["person", "invite", "dora"]);
    let link = link.lines().next().unwrap();
    let invitation = link.strip_prefix(&format!("{}/set-password?invitation=", server.address)).unwrap();
    let client = ota_server::program::Client::new(&server.address, None, None).unwrap();
    let accept = serde_json::json!({ "invitation": invitation, "password": "correct horse battery" });
    client.tell(ureq::http::Method::POST, "/api/v1/accept-invitation", &accept).unwrap();
    let sign_in = serde_json::json!({ "name": "dora", "password": "correct horse battery" });
    let _: Value = client.post("/api/v1/sign-in", &sign_in).unwrap();
    admin.json(&["person", "token", "dora"]);
    let kinds = || {
        let list = admin.json(&["person", "tokens", "dora"]);
        let kind = |token: &Value| token["kind"].as_str().unwrap().to_owned();
        let mut kinds: Vec<_> = list["items"].as_array().unwrap().iter().map(kind).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(), ["api", "session"]);
    assert_eq!(admin.json(&["person", "end-sessions", "dora"])["ended"], 1);
    assert_eq!(kinds(), ["api"]);

    assert_eq!(admin.json(&["product", "list"])["items"][0]["devices"], 2);
    assert!(admin.good(&["product", "show", "pump"]).contains("root        version 1"));
    assert_eq!(admin.json(&["product", "fleet", "pump"])["items"], serde_json::json!([]));
    admin.good(&["device", "export", "--product", "pump", "--out", "devices.csv"]);
    let exported = std::fs::read_to_string(folder.path().join("devices.csv")).unwrap();
    assert!(exported.starts_with("id,") && exported.lines().count() == 3, "{exported}");
    assert!(exported.contains("'=1+1"), "no formula: {exported}");
    let wrong = admin.run(&["device", "export", "--product", "none", "--out", "none.csv"]);
    assert_eq!(wrong.code, 1);
    assert!(!folder.path().join("none.csv").exists() && !folder.path().join("none.part").exists());
    let audit = admin.good(&["audit", "export", "--format", "ndjson"]);
    let entries: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.iter().any(|entry| entry["action"] == "person.invite"), "{audit}");
    server.stop();
}

#[test]
fn a_product_whose_making_was_interrupted_is_made_by_the_same_command() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.as_deref().unwrap();
    let admin = server.ota(token);
    // Interrupted before the root: there is a product, and perhaps a key.
    let client = ota_server::program::Client::new(&server.address, Some(token), None).unwrap();
    let _: Value = client.post("/api/v1/products", &serde_json::json!({ "id": "half" })).unwrap();
    std::fs::create_dir_all(folder.path().join("keys")).unwrap();
    admin.good(&["key", "generate", "keys/release-key.pem"]);
    assert_eq!(admin.json(&["init", "half", "--keys", "keys"])["root_version"], 1);
    // Interrupted behind it: the root that the server has is the one that devices get.
    let root = folder.path().join("keys/root.cbor");
    let body = std::fs::read(&root).unwrap();
    std::fs::remove_file(&root).unwrap();
    assert_eq!(admin.json(&["init", "half", "--keys", "keys"])["root_version"], 1);
    assert_eq!(std::fs::read(&root).unwrap(), body);
    // Somebody else's product is nobody's to take over.
    let other = admin.run(&["init", "half", "--keys", "other"]);
    assert!(other.code == 1 && other.stderr.contains("with a root of other keys"), "{}", other.stderr);
    assert!(!folder.path().join("other").exists(), "no keys are made for nothing");
    server.stop();
}

#[test]
fn the_next_root_needs_as_many_holders_as_the_old_and_the_new_one_want() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.good(&["init", "pump", "--keys", "keys"]);
    let second = admin.json(&["key", "generate", "second.pem"])["public"].as_str().unwrap().to_owned();
    let add = format!("root={second}");
    let next = ["root", "next", "--product", "pump", "--out", "root-2.json", "--add", &add];
    let impossible = admin.run(&[&next[..], &["--threshold", "root=3"]].concat());
    assert!(
        impossible.code == 1 && impossible.stderr.contains("the root cannot be made"),
        "{}",
        impossible.stderr
    );
    let unknown = admin.run(&[&next[..], &["--remove", "0011223344556677"]].concat());
    assert!(
        unknown.code == 1 && unknown.stderr.contains("has no key 0011223344556677"),
        "{}",
        unknown.stderr
    );
    assert!(!folder.path().join("root-2.json").exists(), "what was refused leaves nothing");
    admin.good(&[&next[..], &["--threshold", "root=2"]].concat());
    let again = admin.run(&next);
    assert!(again.code == 1 && again.stderr.contains("--out"), "{}", again.stderr);

    // Nobody is asked by a holder who signs: there is no server in sight.
    let holder = Ota::new(folder.path());
    let asked = holder.run_with(&["root", "sign", "root-2.json", "--key", "keys/root-key.pem"], "no\n");
    assert!(asked.code == 1 && asked.stderr.contains("root 2 of pump"), "{}", asked.stderr);
    holder.good(&["root", "sign", "root-2.json", "--key", "keys/root-key.pem", "--yes"]);
    let early = admin.run(&["root", "bring", "root-2.json"]);
    assert_eq!(early.code, 1, "the new root wants two");
    holder.good(&["root", "sign", "root-2.json", "--key", "second.pem", "--yes"]);
    let text = std::fs::read_to_string(folder.path().join("root-2.json")).unwrap();
    let at = text.rfind("\"signature\": \"").unwrap() + 14;
    let other = if text[at..].starts_with('0') { "1" } else { "0" };
    let changed = [&text[..at], other, &text[at + 1..]].concat();
    std::fs::write(folder.path().join("changed.json"), changed).unwrap();
    let refused = admin.run(&["root", "bring", "changed.json"]);
    assert!(refused.code == 1 && refused.stderr.contains("does not count"), "{}", refused.stderr);
    assert_eq!(admin.json(&["root", "bring", "root-2.json"])["id"], 2);
    let shown = admin.json(&["root", "show", "--product", "pump"]);
    assert_eq!((&shown["version"], &shown["roles"][0]["threshold"]), (&2.into(), &2.into()));
    assert_eq!(shown, admin.json(&["root", "show", "--file", "root-2.json"]));
    server.stop();
}

#[test]
fn a_kept_token_is_never_sent_to_another_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    server.ota(server.token.as_deref().unwrap()).json(&["login"]);
    // The same server under another name is another server as far as anybody can tell.
    let other = format!("http://localhost:{}", server.address.rsplit(':').next().unwrap());
    let answer = Ota::new(folder.path()).run(&["--server", &other, "login"]);
    assert!(answer.code == 1 && answer.stderr.contains("neither a token nor a session"), "{}", answer.stderr);
    assert_eq!(Ota::new(folder.path()).json(&["login"])["name"], "administrator");
    server.stop();
}

#[test]
fn people_sign_in_with_the_password_that_a_link_let_them_set() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let link = server.link.clone().expect("the first start tells a link");
    let invitation = link.strip_prefix(&format!("{}/set-password?invitation=", server.address)).unwrap();
    let body = serde_json::json!({ "invitation": invitation, "password": "correct horse battery" });
    let post = || {
        let url = format!("{}/api/v1/accept-invitation", server.address);
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request = agent.post(url).header("content-type", "application/json");
        request.send(body.to_string().as_bytes()).unwrap().status().as_u16()
    };
    assert_eq!((post(), post()), (200, 410));
    let anybody = server.anybody();
    let wrong = anybody.run_with(&["login", "--name", "administrator"], "wrong\n");
    assert!(
        wrong.code == 1 && wrong.stderr.contains("the name or the password is wrong"),
        "{}",
        wrong.stderr
    );
    let right = anybody.run_with(&["login", "--name", "administrator"], "correct horse battery\n");
    assert_eq!(right.code, 0, "{}", right.stderr);
    // The token that was kept is enough from now on, and the password is nowhere.
    assert_eq!(anybody.json(&["login"])["name"], "administrator");
    let kept = std::fs::read_to_string(folder.path().join("config/ota/login.toml")).unwrap();
    assert!(kept.contains("ota_") && !kept.contains("horse"), "{kept}");
    server.stop();
}

#[test]
fn a_campaign_in_a_file_is_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let ota = Ota::new(folder.path());
    let release = "00".repeat(32);
    let good = format!(
        "product = \"pump\"\ntitle = \"t\"\nrelease = \"{release}\"\ntarget = \"everyone\"\n\n[[plan.stages]]\nuntil = \"10%\"\n\
         pace = {{ linear = {{ over = \"1d\" }} }}\n\n[[plan.stages]]\nuntil = \"100%\"\n"
    );
    std::fs::write(folder.path().join("good.toml"), &good).unwrap();
    let shown = ota.json(&["campaign", "plan", "check", "good.toml"]);
    assert_eq!(shown["plan"]["stages"][0]["until"], "10%");
    // What is shown is a file that means the same.
    let text = ota.good(&["campaign", "plan", "check", "good.toml"]);
    std::fs::write(folder.path().join("again.toml"), text).unwrap();
    assert_eq!(ota.json(&["campaign", "plan", "check", "again.toml"]), shown);
    for (wrong, named) in [
        (good.replace("10%", "110%"), "until"),
        (good.replace("title", "titel"), "titel"),
        (good.replace(&release, "00"), "release"),
        (good.replace("pump", "pump/1"), "pump/1"),
    ] {
        std::fs::write(folder.path().join("wrong.toml"), wrong).unwrap();
        let outcome = ota.run(&["campaign", "plan", "check", "wrong.toml"]);
        assert!(outcome.code == 1 && outcome.stderr.contains("wrong.toml"), "{named}: {}", outcome.stderr);
    }
}

#[test]
fn shells_can_complete_commands_and_help_tells_the_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let ota = Ota::new(folder.path());
    for shell in ["bash", "zsh", "fish"] {
        assert!(ota.good(&["completion", shell]).contains("stop-everything"), "{shell}");
    }
    assert!(ota.good(&["--help"]).contains("3  the server cannot be reached"));
}

#[test]
fn each_decision_is_one_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let server = Server::start_logging(folder.path(), &log, &[]);
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    admin.good(&["device", "add", "--product", "pump", "pump-1"]);
    admin.good(&["device", "revoke", "pump-1", "--reason", "a \"stolen\" one"]);
    server.stop();
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("device.revoke")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    for part in
        ["INFO", "decided", "subject=\"pump-1\"", "product=\"pump\"", "by=\"administrator\"", "stolen"]
    {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
}

#[test]
fn the_unit_of_systemd_is_good_and_leaves_little_open() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/systemd/ota.service");
    let text = std::fs::read_to_string(unit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/ota ")).unwrap();
    // Its arguments are those of this program: what is missing is only the file of settings.
    let line = line.replace("/etc/ota/", "missing/").replace("/var/lib/ota", "data");
    let outcome = Ota::new(folder.path()).run(&line.split(' ').collect::<Vec<_>>());
    assert!(outcome.code == 1 && outcome.stderr.contains("missing/ota.toml"), "{}", outcome.stderr);

    let here = folder.path().join("ota.service");
    std::fs::write(&here, text.replace("/usr/local/bin/ota", env!("CARGO_BIN_EXE_ota"))).unwrap();
    for arguments in [&["verify", "--man=no"][..], &["security", "--offline=true", "--threshold=20"]] {
        let checked = Command::new("systemd-analyze").args(arguments).arg(&here).output();
        let Ok(checked) = checked else {
            eprintln!("SKIPPED: systemd-analyze is missing here");
            return;
        };
        assert!(checked.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[test]
fn somebody_who_stops_reading_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ota"));
    let command = command.args(["key", "generate", "key.pem", "--json"]).current_dir(folder.path());
    let output = command.stdout(write).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
