//! The main job on one machine: a fleet is brought from its keys to its last device, and everything is checked.
//!
//! A real `ota serve` runs in a process of its own. People work with the program `ota`, each with a token of their own.
//! Devices run the real update engine, each on a folder and a TLS connection of its own; some of them are in trouble on
//! purpose. At the end every file on every device is compared byte for byte, and so is what the server believes.

mod device;
mod fleet;
mod operator;
mod options;
mod product;
mod server;
mod story;
mod verdict;
mod view;

use core::fmt;
use std::path::Path;
use std::process::ExitCode;

use options::{AtTheEnd, HELP, Options};

fn main() -> ExitCode {
    if let Some(code) = server::as_ota() {
        return code;
    }
    let options = match Options::read(lexopt::Parser::from_env()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\ncargo demo -- --help tells more");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nerror: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why the demonstration has failed, in a sentence for whoever watches.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    pub(crate) fn file(path: &Path, why: &dyn fmt::Display) -> Self {
        Self(format!("{}: {why}", path.display()))
    }
}

impl From<ota_server::program::Failure> for Failure {
    fn from(failure: ota_server::program::Failure) -> Self {
        Self(failure.to_string())
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let folder = match &options.folder {
        Some(folder) => {
            let is_empty = |folder: &Path| folder.read_dir().map_or(true, |mut names| names.next().is_none());
            if !is_empty(folder) {
                return Err(Failure::new(format!(
                    "{} is not empty: give a new folder with --folder",
                    folder.display()
                )));
            }
            std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
            folder.canonicalize().map_err(|error| Failure::file(folder, &error))?
        }
        None => {
            let folder = tempfile::Builder::new().prefix("ota-demo-").tempdir();
            let folder = folder.map_err(|why| Failure::new(format!("no temporary folder: {why}")))?;
            folder.keep()
        }
    };
    let outcome = story::tell(options, &folder);
    // What went wrong can be looked at; what a person named is that person's to remove.
    match (&outcome, options.at_the_end, &options.folder) {
        (Ok(()), AtTheEnd::CleanUp, None) => {
            std::fs::remove_dir_all(&folder).map_err(|error| Failure::file(&folder, &error))?;
        }
        _ => println!("\neverything lies in {}", folder.display()),
    }
    outcome
}
