//! A file system without room, by the kernel's own word: the program says so, goes on serving what it can, and works
//! again by itself once there is room, with everything that it had acknowledged.
//!
//! A small tmpfs in a name space of its own where the kernel lets an ordinary user make one; elsewhere the limit of a
//! process on the length of its files, which the same calls meet in the same places.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ota, Server};

/// Room for the store of an empty server and some thousand devices.
const TMPFS: &str = "size=8m";
/// The longest file that the program may write, in blocks of 512 bytes, where there is no tmpfs: 4 MiB.
const FILE_BLOCKS_MAX: &str = "8192";

enum Disk {
    /// The folder as it is seen from outside of the name space.
    Small(PathBuf),
    /// The process.
    Limited(u32),
}

fn may_mount(folder: &Path) -> bool {
    let script = format!("mount -t tmpfs -o {TMPFS} none '{}'", folder.display());
    let tried = Command::new("unshare").args(["-Urm", "sh", "-c", &script]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

fn start(folder: &Path) -> (Server, Disk) {
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    if may_mount(&data) {
        let script = format!("mount -t tmpfs -o {TMPFS} none '{}' && exec \"$@\"", data.display());
        let server = Server::start_by(folder, &["unshare", "-Urm", "sh", "-c", &script, "sh"], &[]);
        let seen = format!("/proc/{}/root{}", server.process(), data.canonicalize().unwrap().display());
        return (server, Disk::Small(seen.into()));
    }
    let script = format!("trap '' XFSZ; ulimit -S -f {FILE_BLOCKS_MAX}; exec \"$@\"");
    let server = Server::start_by(folder, &["sh", "-c", &script, "sh"], &[]);
    let process = server.process();
    (server, Disk::Limited(process))
}

impl Disk {
    /// Takes all the room that is left.
    fn fill(&self) {
        if let Self::Small(folder) = self {
            let mut filler = std::fs::File::create(folder.join("filler")).unwrap();
            while filler.write_all(&[1; 4096]).is_ok() {}
        }
    }

    /// Makes room.
    fn clear(&self) {
        match self {
            Self::Small(folder) => std::fs::remove_file(folder.join("filler")).unwrap(),
            Self::Limited(process) => {
                let process = process.to_string();
                let done = Command::new("prlimit").args(["--pid", &process, "--fsize=unlimited"]).status();
                assert!(done.unwrap().success());
            }
        }
    }
}

/// Registers a thousand devices at once.
fn thousand(folder: &Path, admin: &Ota, number: usize) -> crate::support::Outcome {
    let file = folder.join("devices.csv");
    let lines: String = (0..1000).map(|device| format!("pump-{number}-{device},batch={number}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    admin.run(&["device", "import", "--product", "pump", file.to_str().unwrap()])
}

#[test]
fn a_full_file_system_loses_nothing_acknowledged_and_is_overcome_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (server, disk) = start(folder.path());
    let admin = server.ota(server.token.as_deref().unwrap());
    admin.good(&["init", "pump", "--keys", "keys"]);
    disk.fill();
    let mut acknowledged = 0;
    loop {
        let outcome = thousand(folder.path(), &admin, acknowledged);
        match outcome.code {
            0 => acknowledged += 1,
            // Something that the server does by itself may have met the end first.
            _ if outcome.stderr.contains("try again in a moment") => {}
            code => {
                assert!(code == 1 && outcome.stderr.contains("full"), "{}", outcome.stderr);
                break;
            }
        }
        assert!(acknowledged < 100, "the room does not end");
    }
    // What needs no room goes on: people look at what there is, once the file has been opened again.
    loop {
        let outcome = admin.run(&["device", "list", "--product", "pump"]);
        if outcome.code == 0 {
            break;
        }
        assert!(outcome.stderr.contains("try again in a moment"), "{}", outcome.stderr);
    }
    let again = thousand(folder.path(), &admin, acknowledged);
    assert_eq!(again.code, 1, "{}", again.stdout);

    disk.clear();
    // The store opens its file again at growing intervals, and says that it is busy with that until then. Whether the last
    // call had happened nobody could say: its devices are there, or they are made now.
    loop {
        let outcome = thousand(folder.path(), &admin, acknowledged);
        if outcome.code == 0 || outcome.stderr.contains("registered already") {
            break;
        }
        let is_trouble = ["full", "try again in a moment"].iter().any(|word| outcome.stderr.contains(word));
        assert!(is_trouble, "{}", outcome.stderr);
    }
    for number in 0..=acknowledged {
        let batch = format!("batch={number}");
        let list = ["device", "list", "--product", "pump", "--tag", &batch, "--limit", "1000"];
        assert_eq!(admin.json(&list)["items"].as_array().unwrap().len(), 1000, "{batch}");
    }
    assert_eq!(admin.json(&["audit", "verify"])["intact"], true);
    let compacted = admin.json(&["store", "compact"]);
    assert!(compacted["after_bytes"].as_u64().unwrap() > 0);
    server.stop();
}
