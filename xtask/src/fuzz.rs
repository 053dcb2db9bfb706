//! `cargo xtask fuzz`: every fuzz target, guided by coverage, for a given time.
//!
//! What is found beyond the committed corpora stays in the target folder until `--keep` adds the part of it that
//! reaches new code; `cargo xtask test` replays the committed corpora on stable.

use std::path::PathBuf;

use crate::Outcome;
use crate::machine::{self, CARGO_FUZZ, Permission};
use crate::project::{Project, metadata_of, targets_of};
use crate::run::{Run, spoken};

pub(crate) const HELP: &str = "
    cargo xtask fuzz [--seconds N] [--keep] [--no-install] [TARGET...]

Runs every target of fuzz/Cargo.toml (or those named) for N seconds each, 30 if not said otherwise, and ends
with a table of executions and coverage. An input that breaks a target is stored below fuzz/artifacts.

    --keep         add what reached new code to the committed corpus
    --no-install   never touch the machine

Needs a nightly toolchain (rustup toolchain install nightly), a C++ compiler, and cargo-fuzz, which is built
into the target folder.";

struct Fuzzed {
    target: String,
    executions: u64,
    coverage: u64,
    time: String,
    broken: bool,
}

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    let (mut seconds, mut keep, mut permission) = (30_u32, false, Permission::Install);
    let mut chosen = Vec::new();
    while let Some(arg) = args.next().map_err(|error| error.to_string())? {
        match arg {
            lexopt::Arg::Long("seconds") => {
                let value = args.value().map_err(|error| error.to_string())?;
                let value = value.to_string_lossy();
                seconds = value.parse().map_err(|_| format!("--seconds {value} is no number"))?;
            }
            lexopt::Arg::Long("keep") => keep = true,
            lexopt::Arg::Long("no-install") => permission = Permission::Look,
            lexopt::Arg::Value(name) => chosen.push(name.to_string_lossy().into_owned()),
            other => return Err(other.unexpected().to_string()),
        }
    }
    let targets = chosen_targets(project, &chosen)?;
    machine::debian(&["fuzz"], permission)?;
    if !project.cargo(["+nightly", "--version"]).quiet().run().is_ok_and(|ran| ran.success) {
        return Err("a nightly toolchain is missing: rustup toolchain install nightly".into());
    }
    let fuzzer = Fuzzer { project, program: machine::tool(project, &CARGO_FUZZ, permission)?, seconds };
    let mut all = Vec::new();
    for target in targets {
        let fuzzed = fuzzer.fuzz(&target)?;
        if keep && !fuzzed.broken {
            fuzzer.keep(&target)?;
        }
        all.push(fuzzed);
    }
    println!("\n{}", table(&all));
    match all.iter().filter(|fuzzed| fuzzed.broken).count() {
        0 => Ok(()),
        broken => {
            Err(format!("{broken} of {} targets broke; the inputs are below fuzz/artifacts", all.len()))
        }
    }
}

fn chosen_targets(project: &Project, chosen: &[String]) -> Result<Vec<String>, String> {
    let known = targets_of(&metadata_of(&project.root, &project.fuzz_manifest())?, "bin");
    let known: Vec<String> = known.into_iter().map(|target| target.name).collect();
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)) {
        return Err(format!("no target is called {unknown}; there are: {}", known.join(", ")));
    }
    Ok(if chosen.is_empty() { known } else { chosen.to_vec() })
}

struct Fuzzer<'a> {
    project: &'a Project,
    program: PathBuf,
    seconds: u32,
}

impl Fuzzer<'_> {
    /// `cargo fuzz run TARGET FOLDERS… -- FLAGS…`, libFuzzer's findings going to the first folder.
    fn run(&self, target: &str, folders: [PathBuf; 2], flags: &[String]) -> Result<Run, String> {
        for folder in &folders {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        let built = self.project.target.join("fuzz");
        // Through rustup, which hands the toolchain on to every cargo that is started below.
        let run = Run::new(&self.program, &self.project.root)
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .args(["run", "--fuzz-dir", "fuzz", "--features", "libfuzzer", "--target-dir"])
            .args([built.into_os_string(), target.into()])
            .args(folders)
            .args(["--"])
            .args(flags.iter().cloned());
        Ok(run)
    }

    fn found(&self, target: &str) -> PathBuf {
        self.project.target.join("fuzz-found").join(target)
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.project.root.join("fuzz/corpus").join(target)
    }

    fn fuzz(&self, target: &str) -> Result<Fuzzed, String> {
        println!("\n=== {target}");
        let flags = [format!("-max_total_time={}", self.seconds), "-print_final_stats=1".into()];
        let ran = self.run(target, [self.found(target), self.corpus(target)], &flags)?.run()?;
        Ok(Fuzzed {
            target: target.into(),
            executions: last_figure(&ran.text, "stat::number_of_executed_units:"),
            coverage: last_figure(&ran.text, " cov:"),
            time: spoken(ran.elapsed),
            broken: !ran.success,
        })
    }

    /// Adds to the corpus what reaches code that the corpus does not reach.
    fn keep(&self, target: &str) -> Outcome {
        let run = self.run(target, [self.corpus(target), self.found(target)], &["-merge=1".into()])?;
        run.must().map(drop)
    }
}

/// The number behind the last occurrence of some words.
fn last_figure(text: &str, words: &str) -> u64 {
    let behind = text.rsplit_once(words).map(|(_, behind)| behind.trim_start()).unwrap_or_default();
    let digits = behind.split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

fn table(all: &[Fuzzed]) -> String {
    let mut text = format!("{:<32}{:<8}{:>14}{:>10}  time\n", "target", "", "executions", "coverage");
    for Fuzzed { target, executions, coverage, time, broken } in all {
        let word = if *broken { "BROKE" } else { "held" };
        text.push_str(&format!("{target:<32}{word:<8}{executions:>14}{coverage:>10}  {time}\n"));
    }
    let sum: u64 = all.iter().map(|fuzzed| fuzzed.executions).sum();
    text.push_str(&format!("{} targets, {sum} executions", all.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_libfuzzer_prints() {
        let text = "#2 INITED cov: 5 ft: 6\n#9 DONE   cov: 123 ft: 200 corp: 7\nstat::number_of_executed_units: 4321\n";
        assert_eq!(last_figure(text, " cov:"), 123);
        assert_eq!(last_figure(text, "stat::number_of_executed_units:"), 4321);
        assert_eq!(last_figure("it did not build", " cov:"), 0);
    }
}
