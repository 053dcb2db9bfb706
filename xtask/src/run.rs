//! Starting other programs: echoed, timed, shown while they run, and captured.
//!
//! Everything that a command starts goes through [`Run`], so that a person can repeat by hand what was printed. The
//! environment that cargo sets for this very program is taken away again, or build scripts would see other variables
//! than under a plain `cargo test` and build everything twice.

use core::time::Duration;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A program with its arguments, not yet started.
pub(crate) struct Run {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(&'static str, OsString)>,
    dir: PathBuf,
    quiet: bool,
}

/// What a program left behind.
pub(crate) struct Ran {
    /// Whether it ended with status 0.
    pub(crate) success: bool,
    /// Both streams, each line in the order of its arrival, without colours.
    pub(crate) text: String,
    /// Standard output alone, for output that is read by us.
    pub(crate) stdout: String,
    /// Wall time.
    pub(crate) elapsed: Duration,
}

impl Run {
    /// A program found on the path, started in `dir`.
    pub(crate) fn new(program: impl Into<OsString>, dir: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new(), envs: Vec::new(), dir: dir.into(), quiet: false }
    }

    /// Further arguments.
    pub(crate) fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One further argument.
    pub(crate) fn arg(self, arg: impl Into<OsString>) -> Self {
        self.args([arg.into()])
    }

    /// One variable of its environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.envs.push((name, value.into()));
        self
    }

    /// Neither echoed nor shown: for questions that we ask, such as `cargo metadata`.
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Ends it, with all that it started, after this time. For machines that nobody watches: it makes a process
    /// group of its own, which a terminal's interrupt does not reach.
    pub(crate) fn limited(mut self, time: Duration) -> Self {
        let program = core::mem::replace(&mut self.program, "timeout".into());
        let limit = format!("{}s", time.as_secs_f64());
        self.args.splice(0..0, ["--kill-after=30s".into(), limit.into(), program]);
        self
    }

    /// The line that a person would type.
    pub(crate) fn line(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.envs {
            line.push_str(&format!("{name}={} ", quoted(&value.to_string_lossy())));
        }
        line.push_str(&quoted(&self.program.to_string_lossy()));
        for arg in &self.args {
            line.push(' ');
            line.push_str(&quoted(&arg.to_string_lossy()));
        }
        line
    }

    /// Runs it to its end. An error means that it could not be started at all.
    pub(crate) fn run(self) -> Result<Ran, String> {
        let line = self.line();
        if !self.quiet {
            println!("$ {line}");
        }
        let started = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if is_ours(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().map_err(|error| format!("cannot start `{line}`: {error}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (sender, lines) = std::sync::mpsc::channel();
        let (stdout, text) = std::thread::scope(|scope| {
            let to_text = sender.clone();
            scope.spawn(move || tee(err, to_text, Stream::Error, self.quiet));
            scope.spawn(move || tee(out, sender, Stream::Output, self.quiet));
            let (mut stdout, mut text) = (String::new(), String::new());
            for (stream, line) in lines {
                text.push_str(&line);
                if stream == Stream::Output {
                    stdout.push_str(&line);
                }
            }
            (stdout, text)
        });
        let status = child.wait().map_err(|error| format!("lost `{line}`: {error}"))?;
        Ok(Ran { success: status.success(), text, stdout, elapsed: started.elapsed() })
    }

    /// Runs it, and makes an error of any status other than 0.
    pub(crate) fn must(self) -> Result<Ran, String> {
        let (line, quiet) = (self.line(), self.quiet);
        let ran = self.run()?;
        match ran.success {
            true => Ok(ran),
            // What was quiet has to be heard now.
            false if quiet => Err(format!("`{line}` failed:\n{}", ran.text.trim_end())),
            false => Err(format!("`{line}` failed")),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

fn tee(from: Option<impl Read>, to: std::sync::mpsc::Sender<(Stream, String)>, stream: Stream, quiet: bool) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    // A program that ends while it writes ends the loop too; what it wrote before counts.
    while matches!(from.read_until(b'\n', &mut bytes), Ok(read) if read > 0) {
        if !quiet {
            // When nobody listens any more (a closed pipe), the work still goes on.
            let _ = match stream {
                Stream::Output => std::io::stdout().write_all(&bytes),
                Stream::Error => std::io::stderr().write_all(&bytes),
            };
        }
        let line = without_colours(&String::from_utf8_lossy(&bytes));
        if to.send((stream, line)).is_err() {
            return;
        }
        bytes.clear();
    }
}

/// Removes terminal escapes such as `ESC [ 1 m`.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            for escaped in chars.by_ref() {
                if escaped.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(char);
        }
    }
    plain
}

/// Variables that `cargo run` sets for us and that nothing we start should see.
fn is_ours(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_EXE_")
        || matches!(name, "CARGO" | "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "CARGO_CRATE_NAME")
        || matches!(name, "CARGO_PRIMARY_PACKAGE" | "OUT_DIR")
}

fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./=,:+@%^".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `1.2 s`, `3 min 04 s`: as a person says it.
pub(crate) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_line_can_be_pasted_into_a_shell() {
        let run = Run::new("cargo", ".").env("RUSTDOCFLAGS", "-D warnings").args(["doc", "it's"]);
        assert_eq!(run.line(), r"RUSTDOCFLAGS='-D warnings' cargo doc 'it'\''s'");
    }

    #[test]
    fn both_streams_are_captured_and_standard_output_alone_too() {
        let ran = Run::new("sh", ".").args(["-c", "echo out; echo err >&2; exit 3"]).quiet().run().unwrap();
        assert!(!ran.success);
        assert_eq!(ran.stdout, "out\n");
        assert!(ran.text.contains("out\n") && ran.text.contains("err\n"));
    }

    #[test]
    fn what_hangs_is_ended() {
        let hanging = Run::new("sh", ".").args(["-c", "sleep 60 & wait"]).quiet();
        let ran = hanging.limited(Duration::from_millis(100)).run().unwrap();
        assert!(!ran.success);
        assert!(ran.elapsed < Duration::from_secs(30));
    }

    #[test]
    fn colours_are_not_part_of_the_text() {
        assert_eq!(without_colours("\u{1b}[1m\u{1b}[32mok\u{1b}[0m 7"), "ok 7");
    }

    #[test]
    fn times_are_spoken() {
        assert_eq!(spoken(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(spoken(Duration::from_secs(184)), "3 min 04 s");
    }
}
