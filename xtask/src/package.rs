//! The steps `package` and `msrv`: what users get from the registry, and the Rust that it needs.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs};

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
    let home = home_of_its_own(project)?;
    project.cargo(words).env("CARGO_HOME", home).must().map(drop)
}

/// A home for cargo that shares everything with the usual one except unpacked sources.
///
/// To compile a crate that needs another one of these, cargo unpacks the other one into its home, in a folder named
/// after this project's path, and takes a folder that it finds there for the right one: the next run would compile
/// against the sources of the first.
fn home_of_its_own(project: &Project) -> Result<PathBuf, String> {
    let broken =
        |error: std::io::Error| format!("no home for cargo in {}: {error}", project.target.display());
    let home = project.target.join("package-home");
    if home.exists() {
        fs::remove_dir_all(&home).map_err(broken)?;
    }
    let usual = usual_home()?;
    link_all_but("registry", &usual, &home).map_err(broken)?;
    link_all_but("src", &usual.join("registry"), &home.join("registry")).map_err(broken)?;
    Ok(home)
}

/// Where cargo keeps what it fetches: <https://doc.rust-lang.org/cargo/guide/cargo-home.html>.
fn usual_home() -> Result<PathBuf, String> {
    let named = env::var_os("CARGO_HOME").map(PathBuf::from);
    named
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
        .ok_or_else(|| "cargo has no home: set CARGO_HOME".into())
}

/// A new folder `to` with a link to each entry of `from`, that one left out.
fn link_all_but(left_out: &str, from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_name() != left_out {
            symlink(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
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
    fn a_home_of_its_own_shares_all_but_what_is_left_out() {
        let folder = env::temp_dir().join(format!("xtask-package-{}", std::process::id()));
        fs::create_dir_all(folder.join("from/src")).unwrap();
        fs::create_dir_all(folder.join("from/cache")).unwrap();
        fs::write(folder.join("from/cache/crate"), "bytes").unwrap();
        link_all_but("src", &folder.join("from"), &folder.join("to")).unwrap();
        let (linked, absent) = (folder.join("to/cache/crate"), folder.join("to/src"));
        let found = (fs::read_to_string(linked).unwrap(), absent.exists());
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(found, ("bytes".to_owned(), false));
    }

    #[test]
    fn only_the_promised_release_keeps_the_promise() {
        assert!(is_release("rustc 1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(is_release("rustc 1.95.1 (aaaaaaaaa 2026-05-14)", "1.95.0"));
        assert!(!is_release("rustc 1.96.0 (aaaaaaaaa 2026-05-14)", "1.95"));
        assert!(!is_release("rustc 1.95.0-nightly (aaaaaaaaa 2026-02-14)", "1.95"));
    }
}
