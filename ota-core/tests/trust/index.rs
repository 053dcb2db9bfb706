//! The threat model names tests of this suite; each of them is there, and each attack here is named there.

use std::path::{Path, PathBuf};

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let page = read(&folder().join("../docs/threat-model.md"));
    // Every second part lies between backticks.
    let named: Vec<&str> =
        page.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("trust::")).collect();
    assert!(named.len() > 40, "{} names", named.len());
    for name in named {
        let (module, function) = name.split_once("::").unwrap();
        let source = read(&folder().join(format!("tests/trust/{module}.rs")));
        assert!(source.contains(&format!("fn {function}(")), "{name}");
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
