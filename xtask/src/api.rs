//! The HTTP API against its own description: schemathesis makes requests out of `/openapi.json`, good ones and bad ones, and
//! checks each answer of a running server with it. The same seed each time; what it finds it tells with a request to repeat.

use core::time::Duration;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::machine::{Permission, on_path};
use crate::project::write;
use crate::run::Run;
use crate::test::{Context, Verdict};

/// The tester, from PyPI. One folder per version: a newer pin never meets an older program.
const TESTER: &str = "schemathesis==4.32.5";
/// How long it may take altogether. It takes three minutes on two busy cores; a machine may be much busier.
const TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// What is checked of each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";
/// What somebody needs to get past the check of permissions everywhere.
const ROLES: [&str; 6] = ["viewer", "developer", "operator", "approver", "key_holder", "administrator"];
/// A package to put into a release.
const PACKAGE: &str = r#"package = "main"
hardware = ["rev-a"]
[[file]]
name = "app.bin"
revision = "1"
target = "app"
path = "app.bin"
"#;

/// What requests are changed to that would end the test, or would never end themselves.
///
/// - Answers by idempotency key come before anybody looks at a request, and the tester has only one key.
/// - The tester learns names from answers. It must not take its own roles or its own token away: it does that to others.
/// - A stream of events lasts a quarter of an hour, unless it is asked for less: each one is asked for a second.
const HOOKS: &str = r#"import os
import schemathesis

OTHERS = {"tester": "somebody", os.environ["OTA_TOKEN_NAME"]: "0123456789abcdef"}

def is_number(value):
    try:
        int(str(value))
    except ValueError:
        return False
    return True

@schemathesis.hook
def before_call(context, case, kwargs):
    if case.headers is not None:
        case.headers.pop("Idempotency-Key", None)
    if case.method.upper() not in ("GET", "HEAD"):
        for name, value in (case.path_parameters or {}).items():
            case.path_parameters[name] = OTHERS.get(value, value) if isinstance(value, str) else value
    if case.path.endswith("/events"):
        query = dict(case.query or {})
        # What is no number is refused, and that is to be seen.
        if is_number(query.get("seconds", 900)):
            query["seconds"] = 1
        case.query = query
"#;

/// The step of the suite.
pub(crate) fn step(all: &Context<'_>) -> Verdict {
    match tester(all) {
        Ok(tester) => check(all, &tester).into(),
        Err(verdict) => verdict,
    }
}

/// Finds the tester, or installs it into the target folder.
fn tester(all: &Context<'_>) -> Result<PathBuf, Verdict> {
    let home = all.project.target.join("xtask-tools").join(TESTER.replace("==", "-"));
    let ours = home.join("bin/schemathesis");
    if ours.is_file() {
        return Ok(ours);
    }
    let no_python = "python3 with venv is missing (apt-get install python3-venv)";
    let python = on_path("python3").ok_or_else(|| Verdict::Skipped(no_python.to_owned()))?;
    if all.permission == Permission::Look {
        let why = format!("schemathesis is missing; without --no-install it is fetched as {TESTER}");
        return Err(Verdict::Skipped(why));
    }
    // What an interrupted try has left would look finished.
    let _ = std::fs::remove_dir_all(&home);
    let made = Run::new(python, &all.project.root).args(["-m", "venv"]).arg(&home).must();
    made.map_err(|why| Verdict::Skipped(format!("{no_python}: {why}")))?;
    let pip = Run::new(home.join("bin/python"), &all.project.root);
    let fetched = pip.args(["-m", "pip", "install", "--disable-pip-version-check", TESTER]).run();
    let why = match fetched {
        Ok(ran) if ran.success && ours.is_file() => return Ok(ours),
        // What pip says of each try that met no server.
        Ok(ran) if ran.text.contains("Retrying (Retry(") => Verdict::Excused(
            "NOT CHECKED: PyPI, where the tester comes from, cannot be reached from here".into(),
        ),
        Ok(_) => Err(format!("{TESTER} could not be installed")).into(),
        Err(why) => Err(why).into(),
    };
    let _ = std::fs::remove_dir_all(&home);
    Err(why)
}

/// A server that is gone when this is.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The command line, with a server to speak to.
struct Asked<'a> {
    ota: &'a Path,
    data: &'a Path,
    url: &'a str,
    token: &'a str,
}

impl Asked<'_> {
    /// What it answers, in JSON.
    fn ask(&self, words: &[&str]) -> Result<serde_json::Value, String> {
        let run = Run::new(self.ota, self.data).quiet().env("XDG_CONFIG_HOME", self.data);
        let flags = ["--json", "--server", self.url, "--token", self.token];
        let text = run.args(flags).args(words.iter().copied()).must()?.stdout;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    fn text(&self, words: &[&str], field: &str) -> Result<String, String> {
        let answer = self.ask(words)?;
        let text = answer[field].as_str().map(str::to_owned);
        text.ok_or_else(|| format!("`ota {}` answered without {field}", words.join(" ")))
    }
}

fn check(all: &Context<'_>, tester: &Path) -> Result<(), String> {
    let project = all.project;
    let words = ["build", "--workspace", "--exclude=xtask", "--all-features", "--locked", "--bin", "ota"];
    project.cargo(words).must()?;
    let ota = project.target.join("debug/ota");
    let data = project.target.join("xtask-api");
    let _ = std::fs::remove_dir_all(&data);
    std::fs::create_dir_all(&data).map_err(|why| format!("cannot make {}: {why}", data.display()))?;
    let (_server, url, token) = serve(&ota, &data.join("data"))?;
    let first = Asked { ota: &ota, data: &data, url: &url, token: &token };
    let roles: Vec<&str> = ROLES.iter().flat_map(|role| ["--role", role]).collect();
    first.ask(&[&["person", "set", "tester"], roles.as_slice()].concat())?;
    let token = first.text(&["person", "token", "tester"], "token")?;
    let asked = Asked { token: &token, ..first };
    let release = fill(&asked)?;
    write(&data.join("schemathesis.toml"), &settings(&release))?;
    write(&data.join("hooks.py"), HOOKS)?;
    // What stands between the two underscores.
    let name = token.split('_').nth(1).ok_or("a token of another form")?;
    let run = Run::new(tester, &data)
        .env("PYTHONPATH", ".")
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("OTA_TOKEN_NAME", name)
        .args(["run", &format!("{url}/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1"])
        // One thread: where two parse code at once, as the tester's library does, CPython 3.11 can fail with "AST
        // constructor recursion depth mismatch".
        .args(["--workers", "1", "--request-timeout", "60", "--warnings", "off", "--no-color"]);
    let ran = run.limited(TIME_MAX).must()?;
    demand_all(&ran.stdout, &project.root.join("ota-server/openapi.json"))?;
    // Whoever has lost their roles on the way has seen refusals only.
    let people = asked.ask(&["person", "list"])?;
    let mut people = people["items"].as_array().or(people.as_array()).into_iter().flatten();
    let roles =
        people.find(|person| person["name"] == "tester").and_then(|person| person["roles"].as_array());
    match roles.map(Vec::len) {
        Some(count) if count == ROLES.len() => Ok(()),
        _ => Err("the tester has lost its roles on the way: leave out what has taken them away".to_owned()),
    }
}

/// Demands that each operation of the committed description was asked: what the tester leaves out it calls no failure.
fn demand_all(said: &str, description: &Path) -> Result<(), String> {
    let unreadable =
        |why: &dyn core::fmt::Display| format!("{} is no description: {why}", description.display());
    let text = std::fs::read_to_string(description).map_err(|why| unreadable(&why))?;
    let described: serde_json::Value = serde_json::from_str(&text).map_err(|why| unreadable(&why))?;
    let paths = described["paths"].as_object().into_iter().flatten();
    let operations: usize =
        paths.filter_map(|(_, methods)| methods.as_object()).map(serde_json::Map::len).sum();
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested:"));
    let tested: Option<usize> = tested.and_then(|count| count.trim().parse().ok());
    if operations > 0 && tested == Some(operations) {
        return Ok(());
    }
    Err(format!("of {operations} operations the tester has asked {tested:?}"))
}

/// A product with devices, a signed release and two campaigns; the release's id.
fn fill(asked: &Asked<'_>) -> Result<String, String> {
    asked.ask(&["init", "pump", "--keys", "keys"])?;
    asked.ask(&["device", "add", "--product", "pump", "pump-1", "pump-2", "pump-3"])?;
    write(&asked.data.join("pump.toml"), PACKAGE)?;
    write(&asked.data.join("app.bin"), "the application")?;
    let release = asked.text(&["package", "upload", "--product", "pump", "pump.toml"], "id")?;
    asked.ask(&["package", "sign", &release, "--key", "keys/release-key.pem", "--yes"])?;
    for title in ["one", "two"] {
        asked.ask(&["campaign", "create", "--product", "pump", "--release", &release, "--title", title])?;
    }
    Ok(release)
}

/// What is there: most requests are to be about that, or they would all end at its absence.
fn settings(release: &str) -> String {
    let values = [
        ("path.product", r#""pump""#.to_owned()),
        ("path.device", r#""pump-1", "pump-2", "pump-3""#.to_owned()),
        ("path.campaign", "1, 2".to_owned()),
        ("path.release", format!("\"{release}\"")),
        ("body.release", format!("\"{release}\"")),
    ];
    let mut text = String::new();
    for (index, (_, values)) in values.iter().enumerate() {
        text.push_str(&format!("[dictionaries.known-{index}]\nvalues = [{values}]\n"));
    }
    text.push_str("[parameters]\n");
    for (index, (parameter, _)) in values.iter().enumerate() {
        text.push_str(&format!(
            "\"{parameter}\" = {{ dictionary = \"known-{index}\", probability = 0.7 }}\n"
        ));
    }
    text
}

/// Starts a server on a free port; it tells its address and the administrator's token.
fn serve(ota: &Path, data: &Path) -> Result<(Server, String, String), String> {
    // Not a `Run`: it goes on while others do.
    let mut child = Command::new(ota)
        .args(["serve", "--http-listen", "127.0.0.1:0", "--mqtt-broker", "none", "--log", "error", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| format!("{} cannot be started: {why}", ota.display()))?;
    let output = child.stdout.take();
    let server = Server(child);
    let (mut url, mut token) = (None, None);
    for line in BufReader::new(output.ok_or("it says nothing")?).lines() {
        let line = line.map_err(|why| why.to_string())?;
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("API ") {
            url = Some(rest.trim().to_owned());
        } else if line.starts_with("ota_") {
            token = Some(line.to_owned());
        }
        // The last line: whoever writes to a pipe that nobody reads dies of it.
        if let (true, Some(url), Some(token)) = (line.starts_with("Ctrl-C"), &url, &token) {
            return Ok((server, url.clone(), token.clone()));
        }
    }
    Err("the server ended before it said where it serves".to_owned())
}
