//! The fence is known to refuse: made-up metadata with one wrong arrow at a time.

use super::*;

/// Packages with their dependencies: `from: to kind optional`.
fn packages(extra: &[(&str, &str, Option<&str>, bool)]) -> Vec<Value> {
    let names = ["ota-core", "ota-device", "ota-server", "ota-storage", "ota-transport", "ota-sim", "xtask"];
    let drawn = [
        ("ota-device", "ota-core", None, false),
        ("ota-storage", "ota-core", None, false),
        ("ota-transport", "ota-core", None, false),
        ("ota-server", "ota-core", None, false),
        ("ota-server", "ota-storage", None, true),
        ("ota-sim", "ota-device", None, false),
        ("ota-sim", "ota-server", None, false),
        ("ota-core", "subtle", None, false),
    ];
    let package = |name: &&str| {
        let arrows = drawn.iter().chain(extra).filter(|arrow| arrow.0 == *name);
        let dependencies: Vec<Value> = arrows
            .map(|(_, to, kind, optional)| {
                let path = if *to == "subtle" { None } else { Some("somewhere") };
                serde_json::json!({"name": to, "kind": kind, "optional": optional, "path": path})
            })
            .collect();
        serde_json::json!({"name": name, "dependencies": dependencies})
    };
    names.iter().map(package).collect()
}

#[track_caller]
fn refuses(from: &str, to: &str, kind: Option<&str>, optional: bool) {
    let refused = refused_arrows(&packages(&[(from, to, kind, optional)]));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].starts_with(&format!("{from} -> {to} ")), "{refused:?}");
}

#[test]
fn the_drawn_arrows_pass() {
    assert_eq!(refused_arrows(&packages(&[])), Vec::<String>::new());
}

#[test]
fn core_knows_nobody() {
    refuses("ota-core", "ota-device", None, false);
    refuses("ota-core", "ota-storage", Some("dev"), false);
}

#[test]
fn the_libraries_beside_core_do_not_know_each_other() {
    refuses("ota-device", "ota-storage", None, false);
    refuses("ota-storage", "ota-transport", None, true);
    refuses("ota-transport", "ota-device", Some("dev"), false);
}

#[test]
fn the_server_never_knows_the_device() {
    refuses("ota-server", "ota-device", None, true);
    refuses("ota-server", "ota-device", Some("dev"), false);
}

#[test]
fn the_server_takes_backends_as_options_only() {
    refuses("ota-server", "ota-transport", None, false);
    refuses("ota-server", "ota-storage", Some("dev"), false);
    assert!(refused_arrows(&packages(&[("ota-server", "ota-transport", None, true)])).is_empty());
}

#[test]
fn no_library_knows_the_simulator_not_even_in_its_tests() {
    for library in PUBLISHED {
        refuses(library, "ota-sim", Some("dev"), false);
    }
}

#[test]
fn nobody_knows_the_commands_or_what_lies_outside_the_workspace() {
    refuses("ota-sim", "xtask", None, false);
    refuses("ota-sim", "ota-fuzz", Some("dev"), false);
    refuses("ota-core", "ota-fuzz", Some("build"), false);
}

#[test]
fn a_published_crate_cannot_disappear() {
    let mut packages = packages(&[]);
    packages.retain(|package| package["name"] != "ota-transport");
    assert_eq!(refused_arrows(&packages).len(), 1);
}

#[test]
fn a_crate_that_nobody_vouched_for_is_refused_on_devices() {
    let crates = ["ota-core", "sha2", "serde_json"].map(str::to_owned).into();
    let refused = strangers("ota-device", &crates);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("serde_json"));
}

#[test]
fn core_cannot_lose_a_device_feature_unnoticed() {
    let lost = serde_json::json!({"name": "ota-core", "features": {"sha2": []}});
    assert!(known_features(&lost, &DEVICE_FEATURES).is_err());
}
