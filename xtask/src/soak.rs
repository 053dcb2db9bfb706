//! `cargo xtask soak`: the long sweeps, too long for `cargo xtask test`.
//!
//! A suite is a program of a member whose name starts with `soak-`; there is no list to forget. It describes itself
//! in the first line of its source, prints counted figures, prints its seed first, and ends with a status other than
//! 0 when anything was found.

use crate::Outcome;
use crate::project::{Project, Target, first_doc_line};

pub(crate) const HELP: &str = "
    cargo xtask soak                    show the suites
    cargo xtask soak NAME [-- ARG...]   run one, optimised, with its own arguments
    cargo xtask soak all                run all, with what each does by itself

The suite NAME is the program soak-NAME.";

const PREFIX: &str = "soak-";

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    let suites: Vec<Target> =
        project.targets("bin").into_iter().filter(|target| target.name.starts_with(PREFIX)).collect();
    let chosen = match args.next().map_err(|error| error.to_string())? {
        None => {
            list(&suites);
            return Ok(());
        }
        Some(lexopt::Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(other) => return Err(other.unexpected().to_string()),
    };
    let rest = args.raw_args().map_err(|error| error.to_string())?;
    let rest: Vec<_> = rest.skip_while(|word| word == "--").collect();
    let matching = suites.iter().filter(|suite| chosen == "all" || suite.name[PREFIX.len()..] == chosen);
    let matching: Vec<&Target> = matching.collect();
    if matching.is_empty() {
        list(&suites);
        return Err(format!("no suite is called {chosen}"));
    }
    let mut failed = Vec::new();
    for suite in matching {
        println!("=== {}: {}", suite.name, first_doc_line(&suite.source));
        let words = ["run", "--release", "--locked", "--package", &suite.package, "--bin", &suite.name];
        let run = project.cargo(words).args(["--all-features", "--"]).args(rest.iter().cloned());
        failed.extend(run.must().err());
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn list(suites: &[Target]) {
    if suites.is_empty() {
        println!("there is no long-running suite yet");
    }
    for suite in suites {
        println!("{:<16} {}", &suite.name[PREFIX.len()..], first_doc_line(&suite.source));
    }
}
