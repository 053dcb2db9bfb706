//! The steps `package` and `msrv`: what users get from the registry, and the Rust that it needs.

use crate::Outcome;
use crate::project::{PUBLISHED, Project};
use crate::run::Run;
use crate::test::{Context, Verdict};

/// Packages the published crates, from the files as they lie there.
///
/// Each is unpacked and compiled again with its default features, which are none: that is cheap, and it finds a file
/// that is included from outside the package's own folder.
pub(crate) fn check(project: &Project) -> Outcome {
    for name in PUBLISHED {
        let package = project.package(name).ok_or_else(|| format!("{name} is no member any more"))?;
        for field in ["description", "license"] {
            if package[field].as_str().is_none_or(str::is_empty) {
                return Err(format!("{name} states no {field}"));
            }
        }
        if package["publish"].is_array() {
            return Err(format!("{name} cannot be published"));
        }
    }
    let names = PUBLISHED.iter().flat_map(|name| ["-p", name]);
    let words = ["package", "--quiet", "--locked", "--offline", "--allow-dirty"].into_iter().chain(names);
    project.cargo(words).must().map(drop)
}

/// The promise is kept by this very run if its toolchain is the promised one; otherwise that one checks all members.
pub(crate) fn minimum_rust(all: &Context<'_>) -> Verdict {
    let promised = match all.project.rust_version() {
        Ok(version) => version,
        Err(why) => return Err(why).into(),
    };
    let running = match Run::new("rustc", &all.project.root).args(["--version"]).must() {
        Ok(ran) => ran.stdout,
        Err(why) => return Err(why).into(),
    };
    if is_release(&running, promised) {
        println!("every step of this run is made by the promised Rust {promised}");
        return Ok(()).into();
    }
    let toolchain = format!("+{promised}");
    if !all.project.cargo([toolchain.as_str(), "--version"]).quiet().run().is_ok_and(|ran| ran.success) {
        return Verdict::Skipped(format!(
            "Rust {promised} is not installed: rustup toolchain install {promised}"
        ));
    }
    let words = [toolchain.as_str(), "check", "--workspace", "--all-features", "--locked"];
    let target = all.project.target.join("msrv");
    all.project.cargo(words).env("CARGO_TARGET_DIR", target).must().map(drop).into()
}

/// Whether `rustc --version` tells of this release, whatever its patch number.
fn is_release(told: &str, promised: &str) -> bool {
    let version = told.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = version.split('.');
    let [major, minor] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
    let stable = parts.next().is_some_and(|patch| patch.chars().all(|char| char.is_ascii_digit()));
    stable && promised.split('.').take(2).eq([major, minor])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_promised_release_keeps_the_promise() {
        assert!(is_release("rustc 1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(is_release("rustc 1.95.1 (aaaaaaaaa 2026-05-14)", "1.95.0"));
        assert!(!is_release("rustc 1.96.0 (aaaaaaaaa 2026-05-14)", "1.95"));
        assert!(!is_release("rustc 1.95.0-nightly (aaaaaaaaa 2026-02-14)", "1.95"));
    }
}
