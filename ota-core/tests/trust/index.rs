//! The threat model names tests; each of them is there, and each mistake that is tested here is named there.

use std::path::{Path, PathBuf};

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where the tests lie that the page names by the first part of their names.
const SUITES: &[(&str, &str)] = &[
    ("brokers", "../ota-transport/tests/brokers"),
    ("cbor", "src/cbor"),
    ("fleet", "../ota-server/tests/fleet"),
    ("integrity", "tests/integrity"),
    ("sim", "../sim/tests"),
    ("trust", "tests/trust"),
    ("wire", "src/wire"),
];

#[test]
fn the_threat_model_names_tests_that_exist() {
    let page = read(&folder().join("../docs/threat-model.md"));
    // Every second part lies between backticks.
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|code| code.contains("::")).collect();
    assert!(named.len() > 60, "{} names", named.len());
    for name in named {
        let mut parts = name.split("::");
        let (suite, file) = (parts.next().unwrap(), parts.next().unwrap());
        let (_, suite) = SUITES.iter().find(|(known, _)| *known == suite).expect(name);
        let source = read(&folder().join(format!("{suite}/{file}.rs")));
        if let Some(function) = parts.next() {
            assert!(source.contains(&format!("fn {function}(")), "{name}");
        }
    }
}

#[test]
fn the_threat_model_names_every_mistake_that_is_tested() {
    let page = read(&folder().join("../docs/threat-model.md"));
    let source = read(&folder().join("tests/trust/mistakes.rs"));
    for function in source.split("#[test]\nfn ").skip(1).map(|rest| rest.split('(').next().unwrap()) {
        assert!(page.contains(&format!("`trust::mistakes::{function}`")), "{function}");
    }
}
