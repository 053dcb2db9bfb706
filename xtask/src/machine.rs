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
    // libFuzzer is C++ and is built from source.
    Need { suite: "fuzz", program: "c++", package: "g++" },
    // The single-threaded session is tried against a real broker.
    Need { suite: "tests", program: "mosquitto", package: "mosquitto" },
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

/// Makes sure that the Debian packages of these suites are there; the error says exactly what to install.
pub(crate) fn debian(suites: &[&str], permission: Permission) -> Result<(), String> {
    let missing: Vec<&Need> =
        NEEDS.iter().filter(|need| suites.contains(&need.suite) && on_path(need.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let wanted = missing.iter().map(|need| format!("  {} for the suite `{}`\n", need.package, need.suite));
    let advice = format!(
        "these Debian packages are missing:\n{}install them with: apt-get install {}",
        wanted.collect::<String>(),
        packages.join(" ")
    );
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
    fn programs_are_found_on_the_path() {
        assert!(on_path("cargo").is_some());
        assert!(on_path("a-program-that-nobody-has").is_none());
    }
}
