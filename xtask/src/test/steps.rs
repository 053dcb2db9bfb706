//! The steps, cheapest first, and the small ones in full.
//!
//! All members but xtask are built with all features in one resolution, so that clippy, tests and documentation share
//! what they build; xtask stays out of it, for its dependencies would otherwise be built a second time.

use core::time::Duration;

use super::counts::Counts;
use super::{Context, Step, Verdict};
use crate::run::Run;
use crate::{api, deny, feature_sets, fence, machine, no_std, package, tidy};

/// Every step of `cargo xtask test`. A new one is one line here and one function.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "lock", about: "Cargo.lock is up to date and everything it names is here", run: lock },
    Step {
        name: "tidy",
        about: "what the sources and pages promise",
        run: |all| tidy::check(all.project).into(),
    },
    Step { name: "fence", about: "who may depend on whom", run: |all| fence::check(all.project).into() },
    Step { name: "msrv", about: "the toolchain that we promise", run: package::minimum_rust },
    Step { name: "fmt", about: "the formatting", run: fmt },
    Step { name: "clippy", about: "all lints, for all targets with all features", run: clippy },
    Step {
        name: "features",
        about: "each set of features compiles without warning",
        run: feature_sets::step,
    },
    Step {
        name: "no-std",
        about: "linked without std and allocator",
        run: |all| no_std::check(all.project).into(),
    },
    Step { name: "xtask", about: "the tests of these commands themselves", run: xtask_tests },
    Step { name: "tests", about: "unit, integration and documentation tests", run: tests },
    Step { name: "api", about: "the HTTP API against its own description", run: api::step },
    Step { name: "corpora", about: "the corpora of all fuzz targets, replayed on stable", run: corpora },
    Step {
        name: "firmware",
        about: "size and two updates of a Cortex-M device in an emulator",
        run: crate::firmware::step,
    },
    Step { name: "doc", about: "the documentation, without a warning", run: doc },
    Step { name: "deny", about: "bans, licences and sources of dependencies", run: deny::step },
    Step { name: "advisories", about: "known vulnerabilities of dependencies", run: deny::advisories },
    Step {
        name: "package",
        about: "the published crates can be packaged",
        run: |all| package::check(all.project).into(),
    },
];

fn ran(run: Run) -> Verdict {
    run.must().map(drop).into()
}

/// A suite that hangs where nobody watches would take the summary with it.
const SUITE_TIME_MAX: Duration = Duration::from_secs(40 * 60);

/// Counts the tests of a run of `cargo test`.
fn counted(all: &Context<'_>, run: Run) -> Verdict {
    let line = run.line();
    let is_limited = all.in_ci && machine::on_path("timeout").is_some();
    let run = if is_limited { run.limited(SUITE_TIME_MAX) } else { run };
    match run.run() {
        Err(why) => Verdict::Failed(Counts::default(), why),
        Ok(ran) => {
            let counts = Counts::read(&ran.text);
            match ran.success {
                true if counts.passed == 0 => Verdict::Failed(counts, format!("`{line}` ran no test at all")),
                true => Verdict::Passed(counts),
                false => Verdict::Failed(counts, format!("`{line}` failed{}", failed_tests(&ran.text))),
            }
        }
    }
}

/// The names of failed tests, as the harness prints them.
fn failed_tests(output: &str) -> String {
    let mut names = String::new();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            names.push_str("\n  ");
            names.push_str(name);
        }
    }
    names
}

fn lock(all: &Context<'_>) -> Verdict {
    ran(all.project.cargo(["fetch", "--locked"]))
}

fn fmt(all: &Context<'_>) -> Verdict {
    let fuzz = all.project.fuzz_manifest();
    let workspace = all.project.cargo(["fmt", "--all", "--check"]).must().map(drop);
    let manifest = fuzz.to_string_lossy();
    let outside = all.project.cargo(["fmt", "--check", "--manifest-path", &manifest]).must().map(drop);
    workspace.and(outside).map_err(|why| format!("{why}\n  mend it with: cargo fmt --all")).into()
}

/// What all members but xtask are built with.
const WORKSPACE: [&str; 5] =
    ["--workspace", "--exclude=xtask", "--all-features", "--locked", "--no-fail-fast"];

fn workspace(words: &[&'static str], no_fail_fast: bool) -> Vec<&'static str> {
    let flags = if no_fail_fast { &WORKSPACE[..] } else { &WORKSPACE[..4] };
    [words, flags].concat()
}

fn clippy(all: &Context<'_>) -> Verdict {
    let deny = ["--", "-D", "warnings"];
    let members = [workspace(&["clippy", "--all-targets"], false).as_slice(), &deny].concat();
    let ourselves = [["clippy", "--all-targets", "-p", "xtask", "--locked"].as_slice(), &deny].concat();
    let first = all.project.cargo(members).must().map(drop);
    let second = all.project.cargo(ourselves).must().map(drop);
    first.and(second).into()
}

fn xtask_tests(all: &Context<'_>) -> Verdict {
    counted(all, all.project.cargo(["test", "-p", "xtask", "--locked"]))
}

fn tests(all: &Context<'_>) -> Verdict {
    counted(all, all.project.cargo(workspace(&["test"], true)))
}

fn corpora(all: &Context<'_>) -> Verdict {
    // The tests there also demand a program and a corpus of each target; a missing manifest fails like any other.
    let manifest = all.project.fuzz_manifest();
    let manifest = manifest.to_string_lossy();
    // The same target folder: what is built alike is shared.
    let run = all.project.cargo(["test", "--locked", "--no-fail-fast", "--manifest-path", &manifest]);
    counted(all, run.env("CARGO_TARGET_DIR", &all.project.target))
}

fn doc(all: &Context<'_>) -> Verdict {
    ran(all.project.cargo(workspace(&["doc", "--no-deps"], false)).env("RUSTDOCFLAGS", "-D warnings"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_names_are_unique() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..index].iter().all(|other| other.name != step.name), "{} twice", step.name);
        }
    }

    #[test]
    fn failed_tests_are_named() {
        let output = "test a::b ... ok\ntest a::c ... FAILED\ntest result: FAILED.";
        assert_eq!(failed_tests(output), "\n  a::c");
    }
}
