//! An upload over a connection that breaks.

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
