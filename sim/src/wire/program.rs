//! The program `ota` as people use it: a server in a process of its own, and a shell.
//!
//! Which executable that is, the caller says: cargo tells tests and benchmarks where theirs are.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use ota_core::text::DeviceIdBuf;
use ota_server::program::{DeviceCertificate, Installation};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::workshop::{HARDWARE, SourceFile};

/// Far more than anything takes: who waits so long has found a fault.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Somebody at a shell in a folder.
#[derive(Debug, Clone)]
pub struct Shell {
    program: PathBuf,
    folder: PathBuf,
    server: Option<String>,
    token: Option<String>,
}

/// What a command has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Shell {
    /// A shell in which nobody has signed in.
    #[must_use]
    pub fn new(program: &Path, folder: &Path) -> Self {
        Self { program: program.to_owned(), folder: folder.to_owned(), server: None, token: None }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("XDG_CONFIG_HOME", self.folder.join("config"));
        for (name, value) in [("OTA_SERVER", &self.server), ("OTA_TOKEN", &self.token)] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("the program runs");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What a command prints when all is well.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    pub fn good(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, 0, "{arguments:?}: {}", outcome.stderr);
        outcome.stdout
    }

    /// What a command answers in JSON when all is well.
    ///
    /// # Panics
    /// If it is not.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.good(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"))
    }

    /// A field of that, as text.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn field(&self, arguments: &[&str], name: &str) -> String {
        let answer = self.json(arguments);
        match &answer[name] {
            Value::String(text) => text.clone(),
            Value::Null => panic!("no {name} in {answer}"),
            other => other.to_string(),
        }
    }

    /// A product with its keys in the folder `keys`, of which one signs releases, and two people to approve campaigns;
    /// the body of its root.
    ///
    /// # Panics
    /// If the server refuses, here and below.
    pub fn make_product(&self, product: &str) -> Vec<u8> {
        self.good(&["init", product, "--keys", "keys"]);
        self.good(&["person", "set", "paula", "--role", "approver"]);
        std::fs::read(self.folder.join("keys/root.cbor")).expect("the root is there")
    }

    /// Registers devices; each line an id and its tags.
    pub fn register(&self, product: &str, lines: &[String]) {
        std::fs::write(self.folder.join("devices.csv"), lines.join("\n")).expect("the folder can be written");
        self.good(&["device", "import", "--product", product, "devices.csv"]);
    }

    /// Brings a release of these files, signed; its id.
    pub fn release(&self, product: &str, package: &str, files: &[SourceFile]) -> String {
        let mut description = format!("package = \"{package}\"\nhardware = [\"{HARDWARE}\"]\nepoch = 1\n");
        for (number, file) in files.iter().enumerate() {
            let path = format!("{package}-{number}.bin");
            std::fs::write(self.folder.join(&path), &file.bytes).expect("the folder can be written");
            description.push_str(&format!(
                "\n[[file]]\nname = \"{}\"\nrevision = \"{}\"\ntarget = \"{}\"\npath = \"{path}\"\n",
                file.name, file.revision, file.target
            ));
        }
        std::fs::write(self.folder.join("package.toml"), description).expect("the folder can be written");
        let id = self.field(&["package", "upload", "--product", product, "package.toml"], "id");
        self.good(&["package", "sign", &id, "--key", "keys/release-key.pem", "--yes"]);
        id
    }

    /// Starts a campaign for everybody by this plan, approved by somebody else; its number.
    pub fn campaign(&self, product: &str, release: &str, plan: &str) -> String {
        std::fs::write(self.folder.join("plan.toml"), plan).expect("the folder can be written");
        let create = ["campaign", "create", "--product", product, "--release", release];
        let id = self.field(&[&create[..], &["--title", "all", "--plan", "plan.toml"]].concat(), "id");
        let token = self.field(&["person", "token", "paula"], "token");
        Self { token: Some(token), ..self.clone() }.good(&["campaign", "approve", &id]);
        self.good(&["campaign", "start", &id]);
        id
    }

    /// Where the devices of a campaign stand, as the server counts them.
    ///
    /// # Panics
    /// If the server refuses.
    #[must_use]
    pub fn phases(&self, campaign: &str) -> BTreeMap<String, u64> {
        let view = self.json(&["campaign", "show", campaign]);
        let mut phases = BTreeMap::new();
        for line in view["phases"].as_array().into_iter().flatten() {
            let devices = line["devices"].as_u64().unwrap_or(0);
            if devices > 0 {
                *phases.entry(line["phase"].as_str().unwrap_or_default().to_owned()).or_default() += devices;
            }
        }
        phases
    }

    /// Waits until a campaign is in this state.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn wait_for_state(&self, campaign: &str, wanted: &str) {
        let started = Instant::now();
        loop {
            let state = self.field(&["campaign", "show", campaign], "state");
            if state == wanted {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{wanted} is wanted, the campaign is {state}");
        }
    }

    /// Waits until all devices of a campaign have confirmed its release.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn wait_for_confirmed(&self, campaign: &str, devices: u64) {
        self.wait_for_phases(campaign, &[("confirmed", devices)]);
    }

    /// Waits until the devices of a campaign stand so.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn wait_for_phases(&self, campaign: &str, wanted: &[(&str, u64)]) {
        let started = Instant::now();
        loop {
            let phases = self.phases(campaign);
            if wanted.len() == phases.len()
                && wanted.iter().all(|(phase, devices)| phases.get(*phase) == Some(devices))
            {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{wanted:?} is wanted, {phases:?} is there");
        }
    }
}

/// A plan by which everybody is updated at once, whatever happens to them.
pub const AT_ONCE: &str = "[[stages]]\nuntil = \"100%\"\npace = \"at_once\"\n\
                           gate = { sample_min = 1, failures_good = \"90%\", failures_bad = \"99%\" }\n";

/// A running `ota serve`, in a folder, with its data in `data` and its log in `log`.
#[derive(Debug)]
pub struct Serving {
    child: Option<Child>,
    flags: Vec<String>,
    shell: Shell,
    /// Where devices connect, if it has a broker inside.
    pub broker: Option<SocketAddr>,
}

impl Serving {
    /// Starts a server with these flags, and signs its first administrator in. The broker inside listens on a port
    /// that it keeps over restarts.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(program: &Path, folder: &Path, flags: &[&str]) -> Self {
        let mut flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let has_own_broker = !flags.iter().any(|flag| flag == "--mqtt-broker");
        if has_own_broker && !flags.iter().any(|flag| flag == "--mqtt-listen") {
            flags.extend(["--mqtt-listen".to_owned(), free_port().to_string()]);
        }
        let shell = Shell::new(program, folder);
        let mut serving = Self { child: None, flags, shell, broker: None };
        serving.start_again();
        serving
    }

    /// Starts it again, after it was killed or stopped.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        let mut arguments = vec!["serve", "--data", "data", "--http-listen", "127.0.0.1:0"];
        arguments.extend(self.flags.iter().map(String::as_str));
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = self.shell.command(&arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut lines = lines.map_while(Result::ok);
        self.child = Some(child);
        loop {
            let Some(line) = lines.next() else { panic!("it did not start: {}", self.log()) };
            match line.trim().split_once(' ') {
                Some(("API", rest)) => self.shell.server = Some(rest.trim().to_owned()),
                Some(("devices", rest)) => {
                    let address =
                        rest.trim().strip_prefix("mqtts://").and_then(|rest| rest.split(' ').next());
                    self.broker = address.and_then(|address| address.parse().ok());
                }
                Some(("Ctrl-C", _)) => break,
                None if line.contains("ota_") => self.shell.token = Some(line.trim().to_owned()),
                _ => {}
            }
        }
        // Whoever writes to a closed pipe dies of it.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// The administrator at a shell.
    #[must_use]
    pub const fn shell(&self) -> &Shell {
        &self.shell
    }

    /// Where its HTTP API listens.
    ///
    /// # Panics
    /// If it has never run.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let url = self.shell.server.as_deref().expect("it has run");
        url.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("an address")
    }

    /// Its process.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Ends it in the middle of whatever it does.
    ///
    /// # Panics
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().and_then(|()| child.wait()).expect("it is ended");
    }

    /// Tells it something, as `kill` does: `TERM`, `INT`, `HUP`.
    ///
    /// # Panics
    /// If that cannot be done.
    pub fn signal(&self, name: &str) {
        let (signal, process) = (format!("-{name}"), self.process().to_string());
        let status = Command::new("kill").args([signal, process]).status();
        assert!(status.expect("`kill` runs").success());
    }

    /// Waits for its end, and says whether it ended well.
    ///
    /// # Panics
    /// If it does not run.
    pub fn ended_well(&mut self) -> bool {
        self.child.take().expect("it runs").wait().expect("it can be waited for").success()
    }

    /// What it says of itself over HTTP: the whole answer, with its status first.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    pub fn readiness(&self) -> String {
        let mut stream = TcpStream::connect(self.address()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let request = b"GET /health/ready HTTP/1.1\r\nHost: ota\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    fn log_path(&self) -> PathBuf {
        self.shell.folder.join("log")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Waits until a line of the log holds all of these.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn wait_for_log(&self, words: &[&str]) {
        let started = Instant::now();
        while !self.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
            assert!(started.elapsed() < PATIENCE, "never logged: {words:?}\n{}", self.log());
        }
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.shell.folder.join("data")
    }

    /// Puts a copy of the store in its place, as its operator would after a disk was lost. The server must not run.
    ///
    /// # Panics
    /// If it runs, or the copy is not there.
    pub fn restore(&self, copy: &Path) {
        assert!(self.child.is_none(), "it is not restored while it runs");
        std::fs::copy(copy, self.data().join("ota.redb")).expect("the copy is there");
    }

    /// What a device needs to speak TLS with the broker inside: the authority, and a certificate of its own.
    ///
    /// # Panics
    /// If the data folder cannot be read.
    #[must_use]
    pub fn device_tls(&self, device: &DeviceIdBuf) -> Arc<ClientConfig> {
        let installation = Installation::open(&self.data()).expect("the data folder");
        let made = installation.device_certificate(device.as_str()).expect("the authority");
        let authority = std::fs::read_to_string(installation.authority()).expect("the authority");
        client_config(&authority, Some(&made))
    }

    /// The same for a device that has a password only.
    ///
    /// # Panics
    /// If the data folder cannot be read.
    #[must_use]
    pub fn tls(&self) -> Arc<ClientConfig> {
        let installation = Installation::open(&self.data()).expect("the data folder");
        client_config(&std::fs::read_to_string(installation.authority()).expect("the authority"), None)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // After a test that failed; a server that was stopped is gone.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// TLS that believes this authority, with this certificate.
///
/// # Panics
/// If the texts are not what they should be.
#[must_use]
pub fn client_config(authority_pem: &str, own: Option<&DeviceCertificate>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(authority_pem.as_bytes()).expect("a certificate");
    roots.add(authority).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain =
                vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("a certificate")];
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    })
}

/// An address on the loopback interface that nobody listens on.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}
