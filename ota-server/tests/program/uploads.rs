//! Uploads over connections that break, and what unfinished ones cost.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

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

#[test]
fn an_upload_goes_on_where_its_connection_broke() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let token = server.token.clone().unwrap();
    server.ota(&token).json(&["init", "pump", "--keys", "keys", "--approvals", "1"]);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1] ^ n.to_le_bytes()[0]).collect();
    std::fs::write(folder.path().join("app.bin"), bytes).unwrap();
    let description = "package = \"main\"\nhardware = [\"rev-b\"]\n\n[[file]]\nname = \"app.bin\"\nrevision = \"1.0\"\n\
                       target = \"app\"\npath = \"app.bin\"\n";
    std::fs::write(folder.path().join("package.toml"), description).unwrap();
    let (address, cuts) = breaking_way(server.address.trim_start_matches("http://").to_owned());
    let url = format!("http://{address}");
    let upload = ["--server", &url, "package", "upload", "--product", "pump", "package.toml"];
    // The program checks that the server has received the very bytes that it has read.
    let made = server.ota(&token).json(&upload);
    assert_eq!(made["status"], "fixed", "{made}");
    assert!(cuts.load(Ordering::SeqCst) >= CUTS, "the way did not break");
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
    let begin = || {
        let url = format!("{}/api/v1/products/pump/uploads?unit=256", server.address);
        let text = ureq::post(url).header("authorization", &authorization).send_empty().unwrap();
        let text = text.into_body().read_to_string().unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let piece = vec![7; PIECE_BYTES];
    let send = |upload: &str| {
        let request = ureq::patch(format!("{}/api/v1/uploads/{upload}", server.address));
        let request = request.header("authorization", &authorization).header("upload-offset", "0");
        request.send(&piece[..]).unwrap();
    };
    // The first one brings what every one needs.
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
