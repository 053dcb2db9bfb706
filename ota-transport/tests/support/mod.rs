//! A real mosquitto on a free port of the loopback interface, ended with the test.

#![allow(dead_code, reason = "each test program uses a part of it")]

use core::net::SocketAddr;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running broker and its folder.
pub(crate) struct Mosquitto {
    child: Child,
    port: u16,
    program: PathBuf,
    folder: PathBuf,
}

impl Mosquitto {
    /// Starts one; `None`, said loudly, where it is not installed, unless `CI` is `true`: there that is a failure.
    pub(crate) fn start(name: &str, extra_config: &str) -> Option<Self> {
        Self::start_with(name, |_, port| {
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\nlog_dest stderr\n{extra_config}\n"
            )
        })
    }

    /// Starts one with a configuration made for its folder and its port.
    pub(crate) fn start_with(name: &str, configure: impl Fn(&Path, u16) -> String) -> Option<Self> {
        let Some(program) = program() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "mosquitto is not installed");
            eprintln!("SKIPPED: mosquitto is not installed (apt-get install mosquitto)");
            return None;
        };
        let folder = std::env::temp_dir().join(format!("ota-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        // The port is free when it is asked for; should somebody take it in between, mosquitto ends and another is tried.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = folder.join("mosquitto.conf");
            std::fs::write(&config, configure(&folder, port)).unwrap();
            if let Some(child) = run(&program, &config) {
                return Some(Self { child, port, program, folder });
            }
        }
        panic!("mosquitto did not start");
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// The port on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it without a goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.program, &self.folder.join("mosquitto.conf")).expect("the port is still free");
    }

    /// A fresh connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// Debian puts it where only root looks for programs.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("mosquitto"))
        .find(|candidate| candidate.is_file())
}

/// Starts it and waits until it says that it runs; `None` if it ends without saying so.
fn run(program: &Path, config: &Path) -> Option<Child> {
    let mut child = Command::new(program).arg("-c").arg(config).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    if log.by_ref().map_while(Result::ok).any(|line| line.contains(" running")) {
        // The rest of the log is read and dropped, or the pipe would fill.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        return Some(child);
    }
    child.wait().unwrap();
    None
}
