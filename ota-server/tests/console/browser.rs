//! A real browser without a window, driven over its WebDriver.
//!
//! Without Chromium and its driver a test says so loudly and is over; in continuous integration it fails.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use thirtyfour::prelude::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::{PASSWORD, World};

/// How long a page may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);
/// The checks of accessibility, by Deque Systems.
const AXE: &str = include_str!("axe-core/axe.min.js");

/// Keys that do more than write a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Tab,
    ShiftTab,
    Enter,
    Space,
    Escape,
    Down,
}

/// Whether the server can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    There,
    Gone,
}

/// Whether pages run their scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scripts {
    On,
    Off,
}

pub(crate) struct Browser {
    pub(crate) driver: WebDriver,
    base: String,
    _profile: tempfile::TempDir,
    /// Ends with this.
    _process: Child,
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Browser {
    /// A fresh browser at the pages of this server, or `None` where there is no browser.
    pub(crate) async fn open(world: &World) -> Option<Self> {
        let (Some(driver), Some(browser)) = (program("chromedriver"), program("chromium")) else {
            let advice = "SKIPPED: no browser; install it with: apt-get install chromium chromium-driver";
            assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{advice}");
            eprintln!("{advice}");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("the driver ended before it told its port");
            if let Some((_, rest)) = line.split_once("successfully on port ") {
                break rest.trim_end_matches('.').to_owned();
            }
        };
        // Whoever writes to a closed pipe dies of it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(browser.to_str().unwrap()).unwrap();
        let data = format!("--user-data-dir={}", profile.path().display());
        for flag in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &data,
        ] {
            wanted.add_arg(flag).unwrap();
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.unwrap();
        Some(Self { driver, base: world.url(""), _profile: profile, _process: process })
    }

    pub(crate) async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.base)).await.unwrap();
    }

    pub(crate) async fn path(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        url.as_str().trim_start_matches(&self.base).to_owned()
    }

    /// The first element that this selector finds, once it is there.
    pub(crate) async fn find(&self, css: &str) -> WebElement {
        let found = self.driver.query(By::Css(css)).wait(PATIENCE, Duration::from_millis(50)).first().await;
        match found {
            Ok(found) => found,
            Err(why) => panic!("{css} is not at {}: {why}\n{}", self.path().await, self.text().await),
        }
    }

    pub(crate) async fn has(&self, css: &str) -> bool {
        !self.driver.find_all(By::Css(css)).await.unwrap().is_empty()
    }

    pub(crate) async fn click(&self, css: &str) {
        let element = self.find(css).await;
        element.scroll_into_view().await.unwrap();
        element.click().await.unwrap();
    }

    /// Types into a field in place of what is there.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub(crate) async fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value='{value}']")).await;
    }

    pub(crate) async fn text(&self) -> String {
        // Asked in one go: a page that renews itself exchanges its elements.
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the page says this, without loading it again.
    pub(crate) async fn until_it_says(&self, text: &str) {
        let begin = std::time::Instant::now();
        loop {
            let page = self.text().await;
            if page.contains(text) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{} does not say {text:?}:\n{page}", self.path().await);
            // sleeps: a page renews itself at its own pace, and WebDriver has no word for waiting until it did
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn sign_in(&self, name: &str) {
        self.go("/sign-in").await;
        self.fill("#name", name).await;
        self.fill("#password", PASSWORD).await;
        self.click("main button").await;
        self.until_it_says(&format!("Signed in as {name}")).await;
    }

    pub(crate) async fn sign_out(&self) {
        self.click(".who button").await;
        self.find("#password").await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// What a script says, given this.
    pub(crate) async fn ask(&self, script: &str, given: Value) -> Value {
        self.driver.execute(script, vec![given]).await.unwrap().json().clone()
    }

    /// Waits until a script says `true`, without loading the page again.
    pub(crate) async fn until(&self, script: &str) {
        let begin = std::time::Instant::now();
        while self.run(script).await != true {
            assert!(begin.elapsed() < PATIENCE, "{} never made true: {script}", self.path().await);
            // sleeps: a page renews itself at its own pace, and WebDriver has no word for waiting until it did
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes the browser to another zone.
    pub(crate) async fn travel_to(&self, zone: &str) {
        self.cdp("Emulation.setTimezoneOverride", json!({ "timezoneId": zone })).await;
    }

    /// Lets pages run scripts from now on, or not.
    pub(crate) async fn scripts(&self, scripts: Scripts) {
        let value = scripts == Scripts::Off;
        self.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": value })).await;
    }

    /// Cuts the browser off, or lets it reach the server again.
    pub(crate) async fn network(&self, network: Network) {
        let offline = network == Network::Gone;
        let conditions =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.cdp("Network.enable", json!({})).await;
        self.cdp("Network.emulateNetworkConditions", conditions).await;
    }

    /// Presses a key.
    pub(crate) async fn press(&self, key: Key) {
        let (name, code, number, text, modifiers) = match key {
            Key::Tab => ("Tab", "Tab", 9, "", 0),
            Key::ShiftTab => ("Tab", "Tab", 9, "", 8),
            Key::Enter => ("Enter", "Enter", 13, "\r", 0),
            Key::Space => (" ", "Space", 32, " ", 0),
            Key::Escape => ("Escape", "Escape", 27, "", 0),
            Key::Down => ("ArrowDown", "ArrowDown", 40, "", 0),
        };
        let event = |kind: &str| {
            json!({
                "type": kind, "key": name, "code": code, "modifiers": modifiers,
                "windowsVirtualKeyCode": number, "nativeVirtualKeyCode": number,
            })
        };
        let mut down = event(if text.is_empty() { "rawKeyDown" } else { "keyDown" });
        if !text.is_empty() {
            down["text"] = json!(text);
        }
        self.cdp("Input.dispatchKeyEvent", down).await;
        // The focus moves as the key goes down; only what is pressed with a key waits until it goes up.
        if !text.is_empty() {
            self.cdp("Input.dispatchKeyEvent", event("keyUp")).await;
        }
    }

    /// Types into what has the focus.
    pub(crate) async fn type_in(&self, text: &str) {
        self.cdp("Input.insertText", json!({ "text": text })).await;
    }

    async fn cdp(&self, command: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(command, parameters).await.unwrap()
    }

    /// Makes the browser prefer light or dark pages.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.cdp("Emulation.setEmulatedMedia", features).await;
    }

    pub(crate) async fn width(&self, pixels: u32) {
        let metrics = json!({ "width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Keeps a picture of the whole page.
    pub(crate) async fn photograph(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
        std::fs::create_dir_all(&folder).unwrap();
        let height = self.run("return document.documentElement.scrollHeight").await.as_u64().unwrap();
        let width = self.run("return window.innerWidth").await.as_u64().unwrap();
        let metrics = json!({ "width": width, "height": height.clamp(600, 4000), "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics).await;
        self.driver.screenshot(&folder.join(format!("{name}.png"))).await.unwrap();
    }

    /// What is wrong with the page for people who hear it, or use a keyboard, or see little: nothing.
    pub(crate) async fn assert_accessible(&self, what: &str) {
        self.run(AXE).await;
        let script = "const done = arguments[0]; \
                      axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations.map((one) => \
                      `${one.id}: ${one.help}: ${one.nodes.map((node) => node.html).join(' | ')}`)), (why) => done([String(why)]));";
        let found = self.driver.execute_async(script, Vec::new()).await.unwrap().json().clone();
        assert_eq!(found, json!([]), "{what}");
    }
}
