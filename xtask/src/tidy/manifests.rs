//! What every member's `Cargo.toml` keeps to: the workspace's lints, and for libraries no default features.

use std::path::Path;

use serde_json::Value;

use crate::project::{PUBLISHED, Project, read};

/// Everything that is untidy in the members' manifests.
pub(crate) fn check(project: &Project) -> Result<Vec<String>, String> {
    let mut untidy = Vec::new();
    for package in project.packages() {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        untidy.extend(breaches(package, &read(Path::new(manifest))?));
    }
    Ok(untidy)
}

/// Cargo's metadata tell about features, only the text tells about lints.
fn breaches(package: &Value, manifest: &str) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let mut breaches = Vec::new();
    let lints = manifest.split("[lints]").nth(1).unwrap_or_default();
    if lints.trim_start().lines().next() != Some("workspace = true") {
        breaches.push(format!("{name}/Cargo.toml: does not take the workspace's lints"));
    }
    let has_defaults = package["features"]["default"].as_array().is_some_and(|features| !features.is_empty());
    if PUBLISHED.contains(&name) && has_defaults {
        breaches.push(format!("{name}/Cargo.toml: a library has no default features"));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[package]\n\n[lints]\nworkspace = true\n\n[dependencies]\n";

    fn package(name: &str, default: &[&str]) -> Value {
        serde_json::json!({"name": name, "features": {"default": default}})
    }

    #[test]
    fn a_member_without_the_lints_is_refused() {
        assert_eq!(breaches(&package("xtask", &[]), LINTS), Vec::<String>::new());
        assert_eq!(breaches(&package("xtask", &[]), "[package]\n").len(), 1);
    }

    #[test]
    fn a_library_with_default_features_is_refused() {
        assert_eq!(breaches(&package("ota-core", &["std"]), LINTS).len(), 1);
        assert_eq!(breaches(&package("ota-sim", &["std"]), LINTS).len(), 0);
    }
}
