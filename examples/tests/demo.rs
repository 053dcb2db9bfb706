//! The demonstration, run as a person runs it: the real program, with few devices.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// One device for each part.
const DEVICES: usize = 8;

fn demo(temporary: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(arguments).env("TMPDIR", temporary).output().unwrap()
}

#[test]
fn every_device_comes_to_its_planned_end_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path(), &["--devices", &DEVICES.to_string()]);
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{text}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(text.contains("8 devices, 32 files: everything is as planned"));

    let line = |device: usize| {
        let id = format!("lamp-{device} ");
        text.lines().find(|line| line.trim_start().starts_with(&id)).unwrap_or_default()
    };
    let (new, former) = (["2026-2 ok", "2.0 ok", "2 ok"], ["2026-1 ok", "1.5 ok", "1 ok"]);
    for device in 1..=DEVICES {
        let files = if device == 4 { former } else { new };
        let line = line(device);
        assert!(files.iter().all(|file| line.contains(file)), "{device}: {line}");
        assert!(line.contains("factory ok") && !line.contains("DIFFERS"), "{device}: {line}");
    }
    assert!(line(4).contains("rolled back: self test failed"), "{}", line(4));
    assert!(line(5).contains("loses its power after"), "{}", line(5));
    assert!(line(6).contains("confirmed; rolled back: connectivity lost"), "{}", line(6));
    assert!(line(7).contains("1.0, 1.5, 2.0"), "{}", line(7));

    // The server has ended, and so has everything on the disk.
    let api = text.split("http://").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    assert!(TcpStream::connect(api).is_err(), "somebody still listens on {api}");
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn what_is_kept_serves_in_the_foreground_until_it_is_interrupted_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(["--devices", &DEVICES.to_string(), "--keep", "--folder", kept.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address =
        lines.find_map(|line| line.trim().strip_prefix("export OTA_SERVER=http://").map(str::to_owned));
    let address = address.expect("the address is told");
    TcpStream::connect(&address).expect("the server goes on");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(TcpStream::connect(&address).is_err(), "somebody still listens on {address}");
    assert!(rest.iter().any(|line| line.contains(kept.to_str().unwrap())), "{rest:?}");
    assert!(kept.join("server/ota.redb").is_file(), "what was asked to be kept is there");
}

#[test]
fn wrong_use_is_explained_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in [&["--devices", "7"][..], &["--quick"], &["--devices"]] {
        let output = demo(folder.path(), wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--help"), "{wrong:?}");
    }
    std::fs::write(folder.path().join("something"), "of value").unwrap();
    let output = demo(folder.path(), &["--folder", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not empty"));
    let help = demo(folder.path(), &["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--devices N"));
}
