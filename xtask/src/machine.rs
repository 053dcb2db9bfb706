//! What the suites need from the machine: Debian packages and cargo tools, each in one table.
//!
//! Nothing is installed behind a person's back: Debian packages only as root or with passwordless sudo, cargo tools
//! only into the target folder, and with `--no-install` nothing at all.

use std::path::PathBuf;

use crate::project::Project;
use crate::run::Run;

/// A Debian package that a suite needs.
struct Need {
    /// The step of `cargo xtask test`, or the command, that uses it.
    suite: &'static str,
    /// A program that is there once the package is installed.
    program: &'static str,
    /// What to install.
    package: &'static str,
}

/// Which suite needs which Debian package. A new one is one line.
const NEEDS: &[Need] = &[
    // Links and sessions are tried against a broker that we did not write.
    Need { suite: "tests", program: "mosquitto", package: "mosquitto" },
    // The store in Postgres is tried against a real one. Debian keeps its programs off the path, this one excepted.
    Need { suite: "tests", program: "pg_ctlcluster", package: "postgresql" },
    // The pages are tried in a real browser.
    Need { suite: "tests", program: "chromium", package: "chromium" },
    Need { suite: "tests", program: "chromedriver", package: "chromium-driver" },
    // libFuzzer is C++ and is built from source.
    Need { suite: "fuzz", program: "c++", package: "g++" },
];

/// A program from the package registry that is built from source, pinned so that every machine runs the same one.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Bans, licences, sources and advisories.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
/// Drives the coverage-guided fuzz targets.
pub(crate) const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// Whether a command may change anything outside the checkout, or build tools.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Fetch and install what is missing.
    Install,
    /// Never touch the machine.
    Look,
}

/// What these suites lack, and how to get it; `None` if that is nothing.
pub(crate) fn missing(suites: &[&str]) -> Option<String> {
    let missing = packages(NEEDS, suites, |program| on_path(program).is_some());
    if missing.is_empty() {
        return None;
    }
    Some(format!("not installed: {0} (apt-get install {0})", missing.join(" ")))
}

/// The packages whose program is not there.
fn packages(needs: &[Need], suites: &[&str], has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let needed = needs.iter().filter(|need| suites.contains(&need.suite) && !has(need.program));
    needed.map(|need| need.package).collect()
}

/// Makes sure that the Debian packages of these suites are there; the error says exactly what to install.
pub(crate) fn debian(suites: &[&str], permission: Permission) -> Result<(), String> {
    let Some(advice) = missing(suites) else { return Ok(()) };
    let packages = packages(NEEDS, suites, |program| on_path(program).is_some());
    if permission == Permission::Look || on_path("apt-get").is_none() {
        return Err(advice);
    }
    let prefix: &[&str] = match (user_is_root(), sudo_asks_nothing()) {
        (true, _) => &[],
        (false, true) => &["sudo", "-n"],
        (false, false) => return Err(advice),
    };
    let apt = |args: &[&str]| {
        let words = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y"], args].concat();
        Run::new(words[0], ".").args(words[1..].iter().copied()).must()
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], packages.as_slice()].concat())?;
    Ok(())
}

/// Finds a tool, or builds it into the target folder.
pub(crate) fn tool(project: &Project, tool: &Tool, permission: Permission) -> Result<PathBuf, String> {
    let Tool { name, version } = tool;
    // One folder per version: a newer pin never meets an older program.
    let home = project.target.join("xtask-tools").join(format!("{name}-{version}"));
    let ours = home.join("bin").join(name);
    if ours.is_file() {
        return Ok(ours);
    }
    if let Some(theirs) = on_path(name) {
        return Ok(theirs);
    }
    let install = format!("cargo install --locked {name}@{version}");
    if permission == Permission::Look {
        return Err(format!("{name} is missing; install it with: {install}"));
    }
    println!("{name} is missing: building it into {}", home.display());
    let building = project.target.join("xtask-tools/building");
    // Without optimisation it builds in half the time, and it runs for a second or two.
    Run::new("cargo", &project.root)
        .args(["install", "--quiet", "--locked", "--debug", "--root"])
        .args([home])
        .args([format!("{name}@{version}")])
        .env("CARGO_TARGET_DIR", &building)
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .must()?;
    // The intermediate files are large and never used again.
    let _ = std::fs::remove_dir_all(building);
    Ok(ours)
}

/// Where a program lies on the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian puts servers where only root looks for programs.
    let system = ["/usr/sbin".into(), "/usr/local/sbin".into()];
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn user_is_root() -> bool {
    let asked = Run::new("id", ".").args(["-u"]).quiet().run();
    asked.is_ok_and(|ran| ran.stdout.trim() == "0")
}

fn sudo_asks_nothing() -> bool {
    on_path("sudo").is_some()
        && Run::new("sudo", ".").args(["-n", "true"]).quiet().run().is_ok_and(|ran| ran.success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_without_needs_is_satisfied_anywhere() {
        assert_eq!(debian(&["no such suite"], Permission::Look), Ok(()));
    }

    #[test]
    fn only_what_a_chosen_suite_lacks_is_asked_for() {
        let need = |suite, program, package| Need { suite, program, package };
        let needs = [need("a", "x", "lib-x"), need("a", "y", "lib-y"), need("b", "z", "lib-z")];
        assert_eq!(packages(&needs, &["a"], |program| program == "x"), ["lib-y"]);
        assert_eq!(packages(&needs, &["a", "b"], |_| false), ["lib-x", "lib-y", "lib-z"]);
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("cargo").is_some());
        assert!(on_path("a-program-that-nobody-has").is_none());
    }
}
