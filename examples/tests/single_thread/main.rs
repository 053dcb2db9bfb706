//! The promise to the application, kept by the real program against a real broker and a real server: while 10 MB
//! arrive on its one thread and its one connection, no telemetry waits for more than one turn of the engine, every
//! command is answered, and no subscription is lost.
//!
//! What is asserted is counted, not timed: a busy machine makes every turn longer, but never two of one. The times are
//! printed.

mod fleet;
mod observer;
#[path = "../../../ota-transport/tests/support/mod.rs"]
mod support;

use core::time::Duration;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use ota_core::fleet::records::AttemptPhase;
use ota_sim::workshop::{HARDWARE, PRODUCT, SourceFile, Workshop};

use fleet::Fleet;
use observer::Observer;
use support::Mosquitto;

const DEVICE: &str = "pump-7";
const FILE_BYTES: usize = 10_000_000;
/// What the engine may read and write in one turn, in bytes.
const TURN_BYTES_MAX: u64 = 4096;
/// Far more than it takes, so that a device that hangs is a failure and not a wait.
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn telemetry_and_commands_keep_their_beat_while_ten_megabytes_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("broker.log");
    // What the broker itself notes about clients and subscriptions. Started by root it would become somebody else, who
    // must not write here.
    let config = format!(
        "user root\nlog_dest file {}\nlog_type error\nlog_type notice\nlog_type information\n\
         log_type subscribe\nlog_type unsubscribe",
        log.display()
    );
    let Some(mut broker) = Mosquitto::start("single-thread", &config) else { return };
    let bytes = random_bytes(FILE_BYTES);
    let fleet =
        Fleet::start(broker.port(), DEVICE, vec![SourceFile::new("app.bin", "2", "app", bytes.clone())]);
    let mut observer = Observer::start(broker.connect(), DEVICE);
    let device = start_device(broker.port(), folder.path(), &[]);
    let output = wait_for(device, &mut observer);
    println!("{output}");

    assert!(figure(&output, "promise:", "turn(s)") <= 1, "{output}");
    assert_eq!(figure(&output, "telemetry:", "skipped"), 0);
    assert!(figure(&output, "busiest turn:", "bytes") <= TURN_BYTES_MAX, "{output}");
    assert_eq!(figure(&output, "connection:", "connection(s)"), 1);
    assert_eq!(figure(&output, "connection:", "subscriptions"), 2);

    let published = figure(&output, "telemetry:", "published");
    let sequence: Vec<String> = observer.telemetry.iter().map(|text| word(text, "seq=").to_owned()).collect();
    let expected: Vec<String> = (0..published).map(|number| number.to_string()).collect();
    assert_eq!(sequence, expected, "each telemetry arrives once and in order");
    assert_each_command_was_answered(&observer);
    assert_eq!(figure(&output, "commands:", "answered"), observer.commands.len() as u64);

    assert_has_active(folder.path(), &bytes);
    assert_eq!(fleet.phases(), [(AttemptPhase::Confirmed, 1)]);
    drop(fleet);
    broker.kill();
    assert_the_broker_saw_one_session(&std::fs::read_to_string(&log).unwrap());
}

#[test]
fn a_broker_that_vanishes_is_met_again_and_the_download_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut broker) = Mosquitto::start("single-thread-again", "") else { return };
    let bytes = random_bytes(1_000_000);
    let fleet =
        Fleet::start(broker.port(), DEVICE, vec![SourceFile::new("app.bin", "2", "app", bytes.clone())]);
    let mut observer = Observer::start(broker.connect(), DEVICE);
    // Slow enough that the download is certainly under way when the broker goes.
    let mut device = start_device(broker.port(), folder.path(), &["--bytes-per-second", "500000"]);
    let started = Instant::now();
    while !observer.telemetry.iter().any(|text| text.contains("activity=Downloading")) {
        assert!(started.elapsed() < PATIENCE && device.try_wait().unwrap().is_none(), "no download began");
        observer.listen();
    }
    drop(observer);
    broker.kill();
    broker.start_again();
    let mut observer = Observer::start(broker.connect(), DEVICE);
    let output = wait_for(device, &mut observer);

    assert_eq!(figure(&output, "connection:", "connection(s)"), 2, "{output}");
    assert_eq!(figure(&output, "connection:", "subscriptions"), 4, "{output}");
    assert!(figure(&output, "telemetry:", "skipped") > 0, "{output}");
    assert!(figure(&output, "promise:", "turn(s)") <= 1, "{output}");
    assert_has_active(folder.path(), &bytes);
    assert_eq!(fleet.phases(), [(AttemptPhase::Confirmed, 1)]);
}

fn random_bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes
}

/// Runs the program as a person would.
fn start_device(port: u16, folder: &Path, further: &[&str]) -> Child {
    let root = folder.join("root.cbor");
    std::fs::write(&root, Workshop::new().root(1).body).unwrap();
    Command::new(env!("CARGO_BIN_EXE_single_thread_device"))
        .args(["--product", PRODUCT, "--device", DEVICE, "--hardware", HARDWARE, "--until-confirmed"])
        .args(["--broker", &format!("127.0.0.1:{port}")])
        .arg("--folder")
        .arg(folder.join("files"))
        .arg("--root")
        .arg(root)
        .args(further)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Listens until the program ends by itself, and to the last that it said; what it printed.
fn wait_for(mut device: Child, observer: &mut Observer) -> String {
    let started = Instant::now();
    while device.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            device.kill().unwrap();
            panic!("the device did not end: {}", printed(device));
        }
        observer.listen();
    }
    observer.listen_to_the_end();
    let is_success = device.wait().unwrap().success();
    let output = printed(device);
    assert!(is_success, "{output}");
    output
}

fn assert_has_active(folder: &Path, bytes: &[u8]) {
    // Compared as a whole: ten million bytes are nothing to print.
    assert!(std::fs::read(folder.join("files/active/app")).unwrap() == bytes, "another file is active");
}

fn printed(device: Child) -> String {
    String::from_utf8(device.wait_with_output().unwrap().stdout).unwrap()
}

/// Commands were given while blocks arrived, and most of their answers came while blocks still did.
fn assert_each_command_was_answered(observer: &Observer) {
    let Observer { commands, answers, .. } = observer;
    assert_eq!(answers.len(), commands.len());
    for (command, answer) in commands.iter().zip(answers) {
        assert!(answer.starts_with(&format!("{command}: ")), "{command}: {answer}");
    }
    let meanwhile = answers.iter().filter(|answer| answer.contains("Downloading")).count();
    assert!(meanwhile >= 3, "{answers:?}");
}

/// One client of this name came and went, with two subscriptions, and never asked for another.
fn assert_the_broker_saw_one_session(log: &str) {
    let lines = |words: &[&str]| -> usize {
        log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    };
    assert_eq!(lines(&["New client connected", DEVICE]), 1, "{log}");
    assert_eq!(lines(&["Client", DEVICE, "disconnected"]), 1, "{log}");
    // The broker notes a subscription as `client quality topic`.
    assert_eq!(lines(&[&format!("{DEVICE} 0 ota/1/{DEVICE}/down")]), 1, "{log}");
    assert_eq!(lines(&[&format!("{DEVICE} 1 commands/{DEVICE}")]), 1, "{log}");
    assert_eq!(lines(&[DEVICE, "/"]), 2, "{log}");
}

/// The number before a word, in the first line that begins with these letters.
fn figure(output: &str, line: &str, word: &str) -> u64 {
    let found =
        output.lines().find(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{line}: {output}"));
    let words: Vec<&str> = found.split([' ', ';', ',']).collect();
    let at = words.iter().position(|found| *found == word).unwrap_or_else(|| panic!("{word}: {found}"));
    words[at - 1].parse().unwrap_or_else(|why| panic!("{found}: {why}"))
}

/// What stands behind a name, up to the next space.
fn word<'a>(text: &'a str, name: &str) -> &'a str {
    text.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or_default()
}
