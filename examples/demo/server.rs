//! The server, started as a user starts it: `ota serve` in a process of its own, with a data folder and free ports.
//!
//! The program `ota` is in here too: this program runs itself under that name, so that one cargo command builds
//! everything. [`as_ota`] is where that run begins.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;
use core::time::Duration;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix;

use crate::Failure;

/// The first argument with which this program is the program `ota`.
const OTA: &str = "ota";
/// How long the server may take to end.
const END_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked at while it goes on.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A running `ota serve`.
pub(crate) struct Server {
    child: Child,
    /// Where its API listens.
    pub(crate) api: String,
    /// Where devices connect.
    pub(crate) broker: SocketAddr,
    /// The administrator's token.
    pub(crate) token: String,
    /// Its data.
    pub(crate) data: PathBuf,
    /// What it logs.
    pub(crate) log: PathBuf,
}

/// If this program was started as the program `ota`: runs it.
///
/// A server ends with the process that started it, however that one ends: its standard input closes then.
pub(crate) fn as_ota() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    arguments.next_if(|first| first == OTA)?;
    let arguments: Vec<OsString> = core::iter::once(OsString::from(OTA)).chain(arguments).collect();
    if arguments.get(1).is_some_and(|command| command == "serve") {
        std::thread::spawn(|| {
            let mut nothing = Vec::new();
            let _ = std::io::stdin().read_to_end(&mut nothing);
            let _ = kill_process(rustix::process::getpid(), Signal::TERM);
        });
    }
    Some(ota_server::program::main_with(arguments))
}

/// The program `ota` with these arguments.
///
/// # Errors
/// [`Failure`] if the system does not know where this program lies.
pub(crate) fn ota(arguments: &[&str]) -> Result<Command, Failure> {
    let program =
        std::env::current_exe().map_err(|why| Failure::new(format!("cannot find this program: {why}")))?;
    let mut command = Command::new(program);
    command.arg(OTA).args(arguments);
    // Settings of whoever runs the demonstration are none of its business.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("OTA_")) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

impl Server {
    /// The arguments that it is started with.
    pub(crate) fn arguments(data: &Path) -> Vec<String> {
        let data = data.display().to_string();
        [
            "serve",
            "--data",
            &data,
            "--http-listen",
            "127.0.0.1:0",
            "--mqtt-listen",
            "127.0.0.1:0",
            "--log",
            "warn",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Starts it below this folder, and waits until it serves.
    ///
    /// # Errors
    /// [`Failure`] with what it logged, if it does not come to that.
    pub(crate) fn start(folder: &Path) -> Result<Self, Failure> {
        raise_open_files();
        let (data, log) = (folder.join("server"), folder.join("server.log"));
        let arguments = Self::arguments(&data);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let logged = File::create(&log).map_err(|error| Failure::file(&log, &error))?;
        let mut child = ota(&arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(logged)
            .spawn()
            .map_err(|why| Failure::new(format!("cannot start the server: {why}")))?;
        let (mut api, mut broker, mut token) = (None, None, None);
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
            let line = line.unwrap_or_default();
            let line = line.trim();
            match line.split_once(' ') {
                Some(("API", rest)) => api = Some(rest.trim().to_owned()),
                Some(("devices", rest)) => {
                    let address =
                        rest.trim().strip_prefix("mqtts://").and_then(|rest| rest.split(' ').next());
                    broker = address.and_then(|address| address.parse().ok());
                }
                Some(("Ctrl-C", _)) => break,
                None if line.starts_with("ota_") => token = Some(line.to_owned()),
                _ => {}
            }
        }
        match (api, broker, token) {
            (Some(api), Some(broker), Some(token)) => Ok(Self { child, api, broker, token, data, log }),
            _ => {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                Err(Failure::new(format!("the server did not start:\n{said}")))
            }
        }
    }

    /// Ends it as a service manager would, and waits for that.
    ///
    /// # Errors
    /// [`Failure`] if it does not end, or not well.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        let failed = |why: String| Failure::new(format!("the server did not end well: {why}"));
        // Ctrl-C in a terminal goes to the server as well: it may have ended by now.
        if self.has_ended()?.is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, Signal::TERM).map_err(|why| failed(why.to_string()))?;
        }
        let began = std::time::Instant::now();
        while began.elapsed() < END_WITHIN {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(failed(status.to_string())),
                Ok(None) => std::thread::sleep(Duration::from_millis(20)),
                Err(why) => return Err(failed(why.to_string())),
            }
        }
        Err(failed(format!("it still runs after {} s", END_WITHIN.as_secs())))
    }

    fn has_ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child.try_wait().map_err(|why| Failure::new(format!("the server cannot be watched: {why}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The signals that ask this process to end: Ctrl-C, and what a service manager sends.
pub(crate) struct EndSignals {
    runtime: Runtime,
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl EndSignals {
    /// Listens from now on; until then they end the process as they always do.
    ///
    /// # Errors
    /// [`Failure`] if the system does not allow it.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let failed = |why: std::io::Error| Failure::new(format!("cannot listen for signals: {why}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let entered = runtime.enter();
        let interrupt = unix::signal(unix::SignalKind::interrupt()).map_err(failed)?;
        let terminate = unix::signal(unix::SignalKind::terminate()).map_err(failed)?;
        drop(entered);
        Ok(Self { runtime, interrupt, terminate })
    }

    /// Waits for one of them, or for the server to end by itself.
    ///
    /// # Errors
    /// [`Failure`] if the server has ended badly.
    pub(crate) fn wait(mut self, server: &mut Server) -> Result<(), Failure> {
        loop {
            let asked = poll_fn(|context| {
                let is_asked = self.interrupt.poll_recv(context).is_ready()
                    || self.terminate.poll_recv(context).is_ready();
                if is_asked { Poll::Ready(()) } else { Poll::Pending }
            });
            let is_asked =
                self.runtime.block_on(async { tokio::time::timeout(LOOK_EVERY, asked).await.is_ok() });
            match server.has_ended()? {
                _ if is_asked => return Ok(()),
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(Failure::new(format!("the server ended with {status}"))),
                None => {}
            }
        }
    }
}

/// A thousand devices and their server hold thousands of files open; the system allows it if it is asked.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
