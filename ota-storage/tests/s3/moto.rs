//! A real S3 server on a free port of the loopback interface: moto, from PyPI, installed once below the folder of builds.
//! It forgets everything when it ends.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What is installed. A new version gets a folder of its own.
const VERSION: &str = "5.2.5";
/// Requests that it takes from anybody: those that make the bucket, the user, its key and what it may do.
const UNCHECKED: &str = "4";
const BUCKET: &str = "files";

/// Whom a server lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everybody.
    Open,
    /// Who signs with the key of its user.
    Guarded,
}

/// What it shows to whoever connects.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Its certificate, in PEM.
    pub certificate: PathBuf,
    /// The key of that.
    pub key: PathBuf,
    /// The authority that it is from.
    pub authority: PathBuf,
}

/// Makes the bucket and somebody who may use it; prints the key.
const SET_UP: &str = r#"
import boto3, json, sys
anybody = dict(endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y",
               verify=sys.argv[3] or None)
boto3.client("s3", **anybody).create_bucket(Bucket=sys.argv[2])
iam = boto3.client("iam", **anybody)
iam.create_user(UserName="ota")
key = iam.create_access_key(UserName="ota")["AccessKey"]
rights = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
iam.put_user_policy(UserName="ota", PolicyName="all", PolicyDocument=policy)
print(key["AccessKeyId"], key["SecretAccessKey"])
"#;

/// A running server with a bucket.
#[derive(Debug)]
pub struct Moto {
    programs: PathBuf,
    child: Child,
    port: u16,
    door: Door,
    tls: Option<Tls>,
    /// The id of the key and its secret. A guarded server takes no other, and makes a new one each time it is started.
    pub key: (String, String),
}

impl Moto {
    /// Starts one that lets everybody in; `None`, said loudly, where it cannot be installed, unless `CI` is `true`: there that is a failure.
    ///
    /// # Panics
    /// If it is installed and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(Door::Open)
    }

    /// Starts one.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with(door: Door) -> Option<Self> {
        Self::start_as(door, None)
    }

    /// Starts one that lets everybody in who speaks TLS.
    ///
    /// # Panics
    /// As [`start`](Self::start) does.
    #[must_use]
    pub fn start_with_tls(tls: Tls) -> Option<Self> {
        Self::start_as(Door::Open, Some(tls))
    }

    fn start_as(door: Door, tls: Option<Tls>) -> Option<Self> {
        let programs = match installed() {
            Ok(programs) => programs,
            Err(why) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "moto cannot be installed: {why}");
                eprintln!("SKIPPED: moto cannot be installed from PyPI: {why}");
                return None;
            }
        };
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
            if let Some(child) = run(&programs, port, door, tls.as_ref()) {
                let key = set_up(&programs, port, tls.as_ref());
                return Some(Self { programs, child, port, door, tls, key });
            }
        }
        panic!("moto did not start");
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        endpoint(self.port, self.tls.as_ref())
    }

    /// The name of its bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// Ends it without a goodbye.
    ///
    /// # Panics
    /// If it is not ours.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }

    /// Starts it again on the same port, with an empty bucket.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        let tls = self.tls.as_ref();
        self.child = run(&self.programs, self.port, self.door, tls).expect("the port is still free");
        self.key = set_up(&self.programs, self.port, tls);
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The folder of its programs, installed there if it is not yet: by one process while the others wait.
fn installed() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("moto-{VERSION}"));
    let failed = |what: &str, why: &dyn core::fmt::Display| format!("{what}: {why}");
    let lock = std::fs::File::create(folder.with_extension("lock")).map_err(|why| failed("a lock", &why))?;
    lock.lock().map_err(|why| failed("a lock", &why))?;
    let (programs, whole) = (folder.join("bin"), folder.join("whole"));
    if !whole.exists() {
        call(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        let package = format!("moto[s3]=={VERSION}");
        let pip = ["install", "--quiet", "--disable-pip-version-check", &package, "flask", "flask-cors"];
        call(Command::new(programs.join("pip")).args(pip))?;
        std::fs::write(&whole, "").map_err(|why| failed("a mark", &why))?;
    }
    Ok(programs)
}

/// What a command prints when all is well.
fn call(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|why| format!("{command:?}: {why}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn endpoint(port: u16, tls: Option<&Tls>) -> String {
    format!("{}://127.0.0.1:{port}", if tls.is_some() { "https" } else { "http" })
}

fn set_up(programs: &Path, port: u16, tls: Option<&Tls>) -> (String, String) {
    let mut python = Command::new(programs.join("python"));
    python.args(["-c", SET_UP, &endpoint(port, tls), BUCKET]);
    python.arg(tls.map_or(Path::new(""), |tls| &tls.authority));
    let said = call(&mut python).expect("it can be set up");
    let (id, secret) = said.trim().split_once(' ').expect("a key");
    (id.to_owned(), secret.to_owned())
}

/// Starts it and waits until it says that it runs; `None` if it ends without saying so.
fn run(programs: &Path, port: u16, door: Door, tls: Option<&Tls>) -> Option<Child> {
    let mut command = Command::new(programs.join("moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    if let Some(tls) = tls {
        command.arg("--ssl-cert").arg(&tls.certificate).arg("--ssl-key").arg(&tls.key);
    }
    if door == Door::Guarded {
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", UNCHECKED);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("moto runs");
    let mut log = BufReader::new(child.stderr.take().expect("its log")).lines();
    if log.by_ref().map_while(Result::ok).any(|line| line.contains("Running on")) {
        // The rest of the log is read and dropped, or the pipe would fill.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        return Some(child);
    }
    child.wait().expect("it ends");
    None
}
