//! The people: each works with the program `ota` and a token of their own, as in a shell.
//!
//! Every command is printed before it runs, so that whoever watches can do the same by hand.

use std::path::PathBuf;
use std::process::Stdio;

use ota_server::program::Client;
use serde_json::Value;

use crate::Failure;
use crate::server::{Server, ota};

/// Somebody who works with the server.
pub(crate) struct Person {
    name: &'static str,
    server: String,
    token: String,
    folder: PathBuf,
}

impl Person {
    /// Somebody with this token, who works in this folder.
    pub(crate) fn new(name: &'static str, server: &Server, token: String, folder: PathBuf) -> Self {
        Self { name, server: server.api.clone(), token, folder }
    }

    /// Runs a command, prints it, and gives what it answers.
    ///
    /// # Errors
    /// [`Failure`] with what the command said.
    pub(crate) fn run(&self, line: &str) -> Result<Value, Failure> {
        println!("  {:<7} $ ota {line}", self.name);
        self.run_silently(line)
    }

    /// Runs a command without a word, for commands that were shown already.
    ///
    /// # Errors
    /// [`Failure`] with what the command said.
    pub(crate) fn run_silently(&self, line: &str) -> Result<Value, Failure> {
        let mut arguments: Vec<&str> = line.split(' ').collect();
        arguments.push("--json");
        let failed = |why: String| Failure::new(format!("{}: `ota {line}` failed: {why}", self.name));
        let output = ota(&arguments)?
            .current_dir(&self.folder)
            .env("OTA_SERVER", &self.server)
            .env("OTA_TOKEN", &self.token)
            .env("XDG_CONFIG_HOME", &self.folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|why| failed(why.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    /// What this person's programs speak to the server with.
    ///
    /// # Errors
    /// [`Failure`] if the address is none.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(&self.server, Some(&self.token), None)?)
    }
}
