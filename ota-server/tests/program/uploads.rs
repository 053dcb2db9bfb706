//! Uploads over connections that break, and what unfinished ones cost.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use ota_core::crypto::Hasher as _;
use ota_core::crypto::soft::SoftSha256;
use ota_server::http::hex;
use serde_json::Value;

use crate::support::Server;

/// How many connections are cut, and after how many bytes.
const CUTS: usize = 3;
const CUT_AFTER: usize = 300_000;

/// A way to the server that breaks the first connections that carry much. Returns its address and how many it has cut.
fn breaking_way(to: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&cuts);
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(&to)) else { return };
            let (back_from, back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || copy(back_from, back_to, usize::MAX, None));
            let cuts = Arc::clone(&counted);
            std::thread::spawn(move || copy(near, far, CUT_AFTER, Some(&cuts)));
        }
    });
    (address, cuts)
}

fn copy(mut from: TcpStream, mut to: TcpStream, limit: usize, cuts: Option<&AtomicUsize>) {
    let (mut buffer, mut total) = ([0; 16_384], 0);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        total += read;
        if total > limit && cuts.is_some_and(|cuts| cuts.fetch_add(1, Ordering::SeqCst) < CUTS) {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// A package of one file with these bytes.
fn package(folder: &Path, bytes: &[u8]) {
    std::fs::write(folder.join("app.bin"), bytes).unwrap();
    let description = "package = \"main\"\nhardware = [\"rev-b\"]\n\n[[file]]\nname = \"app.bin\"\nrevision = \"1.0\"\n\
                       target = \"app\"\npath = \"app.bin\"\n";
    std::fs::write(folder.join("package.toml"), description).unwrap();
}

fn bytes(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.to_le_bytes()[1] ^ n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect()
}

#[test]
fn an_upload_goes_on_where_its_connection_broke() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    server.ota(&token).json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    package(folder.path(), &bytes(3_000_000));
    let (address, cuts) = breaking_way(server.address.trim_start_matches("http://").to_owned());
    let url = format!("http://{address}");
    let upload = ["--server", &url, "package", "upload", "--product", "pump", "package.toml"];
    // The program checks that the server has received the very bytes that it has read.
    let made = server.ota(&token).json(&upload);
    assert_eq!(made["status"], "fixed", "{made}");
    assert!(cuts.load(Ordering::SeqCst) >= CUTS, "the way did not break");
    server.stop();
}

/// The connection to the server of a request that was broken, and what that had carried.
type Held = Mutex<Vec<(TcpStream, Vec<u8>)>>;

/// A way to the server that breaks the first request which carries a piece, and delivers what that had carried only when
/// the next one comes: the server is asked for the offset before it has heard of the first piece.
fn late_way(server: String, token: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let held: Arc<Held> = Arc::default();
    let pieces = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(near), Ok(far)) = (near, TcpStream::connect(&server)) else { return };
            let (back_from, back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || copy(back_from, back_to, usize::MAX, None));
            let (held, pieces) = (Arc::clone(&held), Arc::clone(&pieces));
            let (server, token) = (server.clone(), token.clone());
            std::thread::spawn(move || pass_late(near, far, &held, &pieces, (&server, &token)));
        }
    });
    address
}

fn pass_late(
    mut near: TcpStream,
    mut far: TcpStream,
    held: &Held,
    pieces: &AtomicUsize,
    (server, token): (&str, &str),
) {
    let mut buffer = [0; 16_384];
    while let Ok(read @ 1..) = near.read(&mut buffer) {
        let is_piece = buffer[..read].starts_with(b"PATCH ");
        let number = if is_piece { pieces.fetch_add(1, Ordering::SeqCst) } else { 2 };
        if number == 0 {
            let mut kept = buffer[..read].to_vec();
            while kept.len() < CUT_AFTER {
                let read = near.read(&mut buffer).unwrap();
                kept.extend_from_slice(&buffer[..read]);
            }
            held.lock().unwrap().push((far, kept));
            // The client learns of it when nobody else can come before it.
            let _ = near.shutdown(Shutdown::Both);
            return;
        }
        if number == 1 {
            let mut held = held.lock().unwrap();
            let (stream, kept) = held.last_mut().unwrap();
            stream.write_all(kept).unwrap();
            let head = kept.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            let path = String::from_utf8_lossy(&kept[..head]).split(' ').nth(1).unwrap().to_owned();
            while offset(&format!("http://{server}{path}"), token) < u64::try_from(kept.len() - head).unwrap()
            {
                std::thread::yield_now();
            }
        }
        if far.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = far.shutdown(Shutdown::Both);
    let _ = near.shutdown(Shutdown::Both);
}

fn offset(url: &str, token: &str) -> u64 {
    let answer = ureq::get(url).header("authorization", format!("Bearer {token}")).call().unwrap();
    let text = answer.into_body().read_to_string().unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["offset"].as_u64().unwrap()
}

#[test]
fn an_upload_goes_on_when_the_server_hears_of_a_broken_request_late() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    server.ota(&token).json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    package(folder.path(), &bytes(3_000_000));
    let address = late_way(server.address.trim_start_matches("http://").to_owned(), token.clone());
    let url = format!("http://{address}");
    let made = server.ota(&token).json(&[
        "--server",
        &url,
        "package",
        "upload",
        "--product",
        "pump",
        "package.toml",
    ]);
    assert_eq!(made["status"], "fixed", "{made}");
    server.stop();
}

fn begin(server: &str, token: &str) -> String {
    begun(server, token, "unit=256")["id"].as_str().unwrap().to_owned()
}

fn begun(server: &str, token: &str, query: &str) -> Value {
    let url = format!("{server}/api/v1/products/pump/uploads?{query}");
    let answer = ureq::post(url).header("authorization", format!("Bearer {token}")).send_empty().unwrap();
    serde_json::from_str(&answer.into_body().read_to_string().unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = SoftSha256::new();
    hasher.update(bytes);
    hex(&hasher.finish())
}

/// A way to the server that counts what it has carried there. Once that is `limit` it stands still, and breaks nothing.
fn metered_way(to: String, limit: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let carried = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&carried);
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (Ok(mut near), Ok(mut far)) = (near, TcpStream::connect(&to)) else { return };
            let (back_from, back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || copy(back_from, back_to, usize::MAX, None));
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let mut buffer = [0; 16_384];
                while let Ok(read @ 1..) = near.read(&mut buffer) {
                    if far.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                    if counted.fetch_add(read, Ordering::SeqCst) + read >= limit {
                        // As long as the test lasts: neither end hears of it.
                        loop {
                            std::thread::park();
                        }
                    }
                }
                let _ = near.shutdown(Shutdown::Both);
                let _ = far.shutdown(Shutdown::Both);
            });
        }
    });
    (address, carried)
}

#[test]
fn a_call_that_was_killed_is_gone_on_with_by_the_next_one() {
    const LENGTH: usize = 3_000_000;
    const CARRIED: usize = 1_500_000;
    // What requests weigh besides the file.
    const HEADS: usize = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    let ota = server.ota(&token);
    ota.json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    let bytes = bytes(u32::try_from(LENGTH).unwrap());
    package(folder.path(), &bytes);
    let host = server.address.trim_start_matches("http://").to_owned();
    let upload = ["package", "upload", "--product", "pump", "package.toml", "--server"];

    let (address, carried) = metered_way(host.clone(), CARRIED);
    let mut call = ota.start(&[&upload[..], &[&format!("http://{address}")]].concat());
    while carried.load(Ordering::SeqCst) < CARRIED {
        std::thread::yield_now();
    }
    let query = format!("unit={}&sha256={}", ota_core::limits::UNIT_BYTES_DEFAULT, sha256(&bytes));
    let arrived = u64::try_from(CARRIED - HEADS).unwrap();
    while begun(&server.address, &token, &query)["offset"].as_u64().unwrap() < arrived {
        std::thread::yield_now();
    }
    call.kill().unwrap();
    call.wait().unwrap();

    let (address, carried) = metered_way(host, usize::MAX);
    let made = ota.json(&[&upload[..], &[&format!("http://{address}")]].concat());
    assert_eq!(made["status"], "fixed", "{made}");
    let carried = carried.load(Ordering::SeqCst);
    assert!(carried < LENGTH - CARRIED + 2 * HEADS, "{carried} bytes the second time");
    server.stop();
}

#[test]
fn an_upload_outlives_a_server_that_is_killed_in_the_middle_of_it() {
    const TOLD: u64 = 3_000_000;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    server.ota(&token).json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    let bytes = bytes(10_000_000);
    let upload = begin(&server.address, &token);
    let mut stream = TcpStream::connect(server.address.trim_start_matches("http://")).unwrap();
    let head = format!(
        "PATCH /api/v1/uploads/{upload} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nupload-offset: 0\r\n\
         upload-complete: ?1\r\ncontent-length: {}\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&bytes[..usize::try_from(TOLD).unwrap()]).unwrap();
    while offset(&format!("{}/api/v1/uploads/{upload}", server.address), &token) < TOLD {
        std::thread::yield_now();
    }
    // More is on its way when the server is killed, somewhere in the middle of it.
    let sender = std::thread::spawn({
        let rest = bytes[usize::try_from(TOLD).unwrap()..9_000_000].to_vec();
        move || stream.write_all(&rest)
    });
    drop(server);
    let _ = sender.join();

    let server = Server::start(folder.path());
    let url = format!("{}/api/v1/uploads/{upload}", server.address);
    let arrived = offset(&url, &token);
    assert!((TOLD..9_000_000).contains(&arrived), "{arrived} bytes");
    let rest = &bytes[usize::try_from(arrived).unwrap()..];
    let request = ureq::patch(&url).header("authorization", format!("Bearer {token}"));
    let request = request.header("upload-offset", arrived.to_string()).header("upload-complete", "?1");
    let done = request.send(rest).unwrap().into_body().read_to_string().unwrap();
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!(done["content"]["sha256"], sha256(&bytes));
    // Who did not hear of it asks the next server, and nothing lies twice.
    drop(server);
    let server = Server::start(folder.path());
    let again = ureq::get(format!("{}/api/v1/uploads/{upload}", server.address));
    let again = again.header("authorization", format!("Bearer {token}")).call().unwrap();
    let again: Value = serde_json::from_str(&again.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(again["content"], done["content"]);
    let left = std::fs::read_dir(Path::new(server.data()).join("staging")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left, [format!("{upload}.json")]);
    server.stop();
}

/// The memory that a process has now, in bytes.
#[cfg(target_os = "linux")]
fn memory_of(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn unfinished_uploads_do_not_lie_in_memory() {
    const UPLOADS: u64 = 16;
    const PIECE_BYTES: usize = 3 << 20;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    server.ota(&token).json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    let authorization = format!("Bearer {token}");
    let piece = vec![7; PIECE_BYTES];
    let send = |upload: &str| {
        let request = ureq::patch(format!("{}/api/v1/uploads/{upload}", server.address));
        let request = request.header("authorization", &authorization).header("upload-offset", "0");
        request.send(&piece[..]).unwrap();
    };
    // The first one brings what every one needs.
    let begin = || begin(&server.address, &token);
    send(&begin());
    let before = memory_of(server.process());
    for _ in 1..UPLOADS {
        send(&begin());
    }
    let more = memory_of(server.process()).saturating_sub(before);
    let arrived = UPLOADS * u64::try_from(PIECE_BYTES).unwrap();
    assert!(more < arrived / 2, "{more} bytes of memory for {arrived} bytes that have arrived");
    server.stop();
}
