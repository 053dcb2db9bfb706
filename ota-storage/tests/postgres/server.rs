//! A real Postgres on a free port of the loopback interface, in a temporary folder, ended with the test.
//!
//! Postgres refuses to run as root. Where tests do, it runs as the user that the Debian package makes for it.

use core::time::Duration;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

/// A running Postgres and its folder.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    setting: &'static str,
}

/// How long it is tried to start it, while another process takes the port or what is left of a killed one ends.
const PATIENCE: Duration = Duration::from_secs(30);

impl Postgres {
    /// Starts one; `None`, said loudly, where it is not installed, unless `CI` is `true`: there that is a failure.
    ///
    /// # Panics
    /// If it is installed and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        // Processes are killed in tests, not machines: what was written is there without being synced.
        Self::start_with("fsync=off")
    }

    /// Starts one that syncs what it commits, for measuring.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_durable() -> Option<Self> {
        Self::start_with("fsync=on")
    }

    fn start_with(setting: &'static str) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "Postgres is not installed");
            eprintln!("SKIPPED: Postgres is not installed (apt-get install postgresql)");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("ota-postgres").tempdir().expect("a temporary folder");
        // Its own user has to reach what lies inside.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("our own folder");
        let home = folder.path().join("home");
        std::fs::create_dir(&home).expect("a folder");
        if let Some((user, group)) = other_user() {
            chown(&home, Some(user), Some(group)).expect("root gives away");
        }
        let made = command(&programs.join("initdb"), &home)
            .args(["--no-sync", "--no-instructions", "--auth=trust", "--username=ota", "--encoding=UTF8"])
            .args(["--locale=C", "--pgdata"])
            .arg(home.join("data"))
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let port =
                TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
            if let Some(child) = run(&programs, &home, port, setting) {
                return Some(Self { child, programs, folder, port, setting });
            }
        }
        panic!("Postgres did not start");
    }

    /// The one that tests share which leave it running; it ends with the last of them.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let running = shared.upgrade();
        let running = if running.is_some() { running } else { Self::start().map(Arc::new) };
        *shared = running.as_ref().map(Arc::downgrade).unwrap_or_default();
        running
    }

    /// Makes an empty database of this name and returns its connection string.
    ///
    /// # Panics
    /// If there is one already.
    #[must_use]
    pub fn database(&self, name: &str) -> String {
        let home = self.folder.path().join("home");
        let made = command(&self.programs.join("createdb"), &home)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "ota", name])
            .output()
            .expect("createdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.url(name)
    }

    /// Carries out statements in a database, as its superuser.
    ///
    /// # Panics
    /// If they are refused.
    pub fn sql(&self, database: &str, statements: &str) {
        let home = self.folder.path().join("home");
        let done = command(&self.programs.join("psql"), &home)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "ota", "-d", database])
            .args(["-v", "ON_ERROR_STOP=1", "-c", statements])
            .output()
            .expect("psql runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// The port on the loopback interface.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The connection string of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} user=ota dbname={database}", self.port)
    }

    /// Kills it as a crash would.
    ///
    /// # Panics
    /// If it is not ours.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }

    /// Starts it again on the same port and the same data.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            // What is left of a killed one has to end first: it notices soon.
            if let Some(child) =
                run(&self.programs, &self.folder.path().join("home"), self.port, self.setting)
            {
                self.child = child;
                return;
            }
        }
        panic!("Postgres did not start again");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The folder with the programs of the newest version that is there. Debian keeps them off the path.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path).chain(found.into_iter().rev().map(|(_, folder)| folder)).find(|folder| {
        ["createdb", "initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file())
    })
}

/// The user and the group that Postgres runs as, if it cannot be ours.
fn other_user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").expect("Linux").uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("a list of users");
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:")).expect("a user for Postgres");
    let mut numbers = line.split(':').skip(1).map(|number| number.parse().expect("a number"));
    Some((numbers.next()?, numbers.next()?))
}

fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(home).stdin(Stdio::null());
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Starts it and waits until it says that it is ready; `None` if it ends without saying so.
fn run(programs: &Path, home: &Path, port: u16, setting: &str) -> Option<Child> {
    let mut child = command(&programs.join("postgres"), home)
        .arg("-D")
        .arg(home.join("data"))
        .arg("-k")
        .arg(home)
        .args(["-p", &port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1", "-c", "logging_collector=off", "-c", setting])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Postgres runs");
    let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
    if log.by_ref().map_while(Result::ok).any(|line| line.contains("ready to accept connections")) {
        // The rest of the log is read and dropped, or the pipe would fill.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        return Some(child);
    }
    child.wait().expect("it ends");
    None
}
