//! `cargo xtask`: every command that builds, checks and measures this project.
//!
//! A subcommand is one file (or folder) and one line in [`COMMANDS`]; the help text is made from that table. No
//! command changes the machine, except that `test` and `fuzz` fetch the tools they need, and say so.

mod api;
mod bench;
mod deny;
mod feature_sets;
mod fence;
mod firmware;
mod fuzz;
mod machine;
mod no_std;
mod package;
mod project;
mod run;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use crate::project::Project;

/// What a command ends with; the text of a failure is meant for a person.
type Outcome = Result<(), String>;

/// One subcommand.
struct Command {
    name: &'static str,
    /// One line, shown by `cargo xtask --help`.
    summary: &'static str,
    /// The whole story, shown by `cargo xtask NAME --help`.
    help: &'static str,
    run: fn(&Project, lexopt::Parser) -> Outcome,
}

/// Every subcommand, in the order in which a newcomer needs them.
const COMMANDS: &[Command] = &[
    Command { name: "test", summary: "everything that must be green", help: test::HELP, run: test::command },
    Command {
        name: "tidy",
        summary: "what the sources and pages promise",
        help: tidy::HELP,
        run: tidy::command,
    },
    Command { name: "fence", summary: "who may depend on whom", help: fence::HELP, run: fence::command },
    Command {
        name: "no-std",
        summary: "linked without std and allocator",
        help: no_std::HELP,
        run: no_std::command,
    },
    Command { name: "fuzz", summary: "coverage-guided fuzzing", help: fuzz::HELP, run: fuzz::command },
    Command {
        name: "firmware",
        summary: "the device's half on a Cortex-M",
        help: firmware::HELP,
        run: firmware::command,
    },
    Command { name: "bench", summary: "the figures", help: bench::HELP, run: bench::command },
    Command { name: "soak", summary: "the long sweeps", help: soak::HELP, run: soak::command },
];

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // A command that has told everything already has nothing left to say.
            if !why.is_empty() {
                eprintln!("xtask: {why}");
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Outcome {
    let mut words = std::env::args().skip(1);
    let Some(name) = words.next() else {
        println!("{}", overview());
        return Ok(());
    };
    if name == "--help" || name == "-h" || name == "help" {
        println!("{}", overview());
        return Ok(());
    }
    let command = COMMANDS
        .iter()
        .find(|command| command.name == name)
        .ok_or_else(|| format!("no command is called `{name}`\n\n{}", overview()))?;
    let words: Vec<String> = words.collect();
    // What stands behind `--` belongs to the program that a command starts.
    let ours = words.iter().take_while(|word| *word != "--");
    if ours.clone().any(|word| word == "--help" || word == "-h") {
        println!("cargo xtask {}: {}\n\n{}", command.name, command.summary, command.help.trim_matches('\n'));
        return Ok(());
    }
    (command.run)(&Project::load()?, lexopt::Parser::from_args(words))
}

fn overview() -> String {
    let mut text = String::from("Every command that builds, checks and measures this project.\n\n");
    for command in COMMANDS {
        text.push_str(&format!("  cargo xtask {:<8} {}\n", command.name, command.summary));
    }
    text.push_str("\n`cargo xtask COMMAND --help` tells more.");
    text
}
