//! `cargo xtask test`: everything that must be green, in one table of steps.
//!
//! A failing step never stops the later ones. The last line, `N passed, M failed, K skipped`, counts tests where a
//! step runs tests, and the step itself where it is one check.

mod counts;
mod steps;
mod summary;

use std::time::Instant;

use crate::Outcome;
use crate::machine::{self, Permission};
use crate::project::Project;
use crate::run::spoken;
use counts::Counts;
use steps::STEPS;
use summary::Row;

pub(crate) const HELP: &str = "
    cargo xtask test [--no-install] [--list] [STEP...]

Runs all steps, or those named, and ends with a table and the line `N passed, M failed, K skipped`.
The status is not 0 if anything failed.

    --no-install   never touch the machine: what is missing is named, and its steps are skipped
    --list         show the steps

What the suites need is fetched first: cargo tools are built into the target folder, Debian packages are
installed as root or with passwordless sudo; otherwise the exact command is printed and the run fails.

A step that cannot run says so loudly. With CI=true in the environment that is a failure.";

/// What a step is given.
pub(crate) struct Context<'a> {
    pub(crate) project: &'a Project,
    pub(crate) permission: Permission,
    /// Nobody watches, and nothing may be left out.
    pub(crate) in_ci: bool,
}

/// One part of the suite.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// One line for `--list`.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Context<'_>) -> Verdict,
}

/// What came out of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Everything was as it should be.
    Passed(Counts),
    /// Something was not; the text is for a person.
    Failed(Counts, String),
    /// It could not run, and should have. A failure on a CI machine.
    Skipped(String),
    /// There is nothing for it to do yet, or the world does not allow it: shown, and never a failure.
    Excused(String),
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(()) => Self::Passed(Counts::ONE_CHECK),
            Err(why) => Self::Failed(Counts::default(), why),
        }
    }
}

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    let mut permission = Permission::Install;
    let mut chosen: Vec<&Step> = Vec::new();
    while let Some(arg) = args.next().map_err(|error| error.to_string())? {
        match arg {
            lexopt::Arg::Long("no-install") => permission = Permission::Look,
            lexopt::Arg::Long("list") => return list(),
            lexopt::Arg::Value(name) => {
                let known = STEPS.iter().find(|step| name == step.name);
                chosen.push(known.ok_or_else(|| format!("no step is called {name:?}; see --list"))?);
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    if chosen.is_empty() {
        chosen = STEPS.iter().collect();
    }
    let names: Vec<&str> = chosen.iter().map(|step| step.name).collect();
    // With permission, a machine that cannot be completed is an error at once; without, the steps tell.
    if permission == Permission::Install {
        machine::debian(&names, permission)?;
    }
    let in_ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let started = Instant::now();
    let context = Context { project, permission, in_ci };
    let rows: Vec<Row> = chosen.into_iter().map(|step| row(step, &context)).collect();
    summary::print(&rows, started.elapsed())
}

fn list() -> Outcome {
    for step in STEPS {
        println!("{:<10} {}", step.name, step.about);
    }
    Ok(())
}

fn row(step: &Step, context: &Context<'_>) -> Row {
    println!("\n=== {}: {}", step.name, step.about);
    let started = Instant::now();
    let verdict = (step.run)(context);
    let mut row = Row::new(step.name, verdict, started.elapsed(), context.in_ci);
    // Tests that lack a program pass by themselves, unheard: libtest keeps to itself what a passing test says.
    if let Some(missing) = machine::missing(&[step.name]) {
        row.left_out(&missing, context.in_ci);
    }
    println!("=== {}: {} in {}", step.name, row.word(), spoken(row.elapsed));
    row
}
