//! Starts the program and waits for what it prints.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// How the program is called in one folder, by one person.
pub(crate) struct Ota {
    folder: PathBuf,
    server: Option<String>,
    token: Option<String>,
}

pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ota {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), server: None, token: None }
    }

    /// Somebody who has signed in.
    pub(crate) fn signed_in(folder: &Path, server: &str, token: &str) -> Self {
        Self { server: Some(server.to_owned()), token: Some(token.to_owned()), ..Self::new(folder) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_by(&[], arguments)
    }

    fn command_by(&self, by: &[&str], arguments: &[&str]) -> Command {
        let words = [by, &[env!("CARGO_BIN_EXE_ota")], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&self.folder).env_clear();
        if !by.is_empty() {
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        }
        command.env("XDG_CONFIG_HOME", self.folder.join("config"));
        for (name, value) in [("OTA_SERVER", &self.server), ("OTA_TOKEN", &self.token)] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.run_with(arguments, "")
    }

    /// Starts it, and does not wait.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs it with this on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that does not read it may have ended by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Outcome {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it says when all is well.
    #[track_caller]
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.stderr);
        outcome.stdout
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let text = self.good(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
    }
}

/// A running `ota serve`.
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    data: String,
    pub(crate) address: String,
    /// Where devices connect.
    pub(crate) broker: String,
    pub(crate) token: Option<String>,
    /// The page where the first administrator sets a password.
    pub(crate) link: Option<String>,
}

impl Server {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts it so that what it logs is in a file.
    pub(crate) fn start_logging(folder: &Path, log: &Path, more: &[&str]) -> Self {
        let log = std::fs::File::create(log).unwrap();
        Self::start_saying(folder, &[], &[&["--log", "info"], more].concat(), log.into())
    }

    pub(crate) fn start_with(folder: &Path, more: &[&str]) -> Self {
        Self::start_by(folder, &[], more)
    }

    /// Starts it by a program that takes it and its arguments as its own last ones, and becomes it.
    pub(crate) fn start_by(folder: &Path, by: &[&str], more: &[&str]) -> Self {
        Self::start_saying(folder, by, &[&["--log", "warn"], more].concat(), Stdio::inherit())
    }

    fn start_saying(folder: &Path, by: &[&str], more: &[&str], log: Stdio) -> Self {
        let data = folder.join("data").to_str().unwrap().to_owned();
        let arguments =
            ["serve", "--data", &data, "--http-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"];
        let mut command = Ota::new(folder).command_by(by, &[&arguments, more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let (mut address, mut broker, mut token, mut link) = (None, None, None, None);
        loop {
            let line = lines.next().expect("the server ended before it said that it serves");
            match line.trim().split_once(' ') {
                Some(("API", rest)) => address = Some(rest.trim().to_owned()),
                Some(("devices", rest)) => broker = rest.trim().split(' ').next().map(str::to_owned),
                Some(("Ctrl-C", _)) => break,
                None if line.contains("/set-password?") => link = Some(line.trim().to_owned()),
                None if line.contains("ota_") => token = Some(line.trim().to_owned()),
                _ => {}
            }
        }
        let address = address.expect("it says where it listens");
        let broker = broker.expect("it says where devices connect");
        // Nobody reads on from here: a server whose starter has gone still has to end well.
        drop(lines);
        Self { child, folder: folder.to_owned(), data, address, broker, token, link }
    }

    /// The number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data(&self) -> &str {
        &self.data
    }

    /// The program as somebody calls it who has signed in there, or will.
    pub(crate) fn anybody(&self) -> Ota {
        Ota { folder: self.folder.clone(), server: Some(self.address.clone()), token: None }
    }

    pub(crate) fn ota(&self, token: &str) -> Ota {
        Ota { folder: self.folder.clone(), server: Some(self.address.clone()), token: Some(token.to_owned()) }
    }

    /// Tells it to end, and expects that it ends well.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After a test that failed; a server that was stopped is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
