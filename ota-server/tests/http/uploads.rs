//! Uploads over several requests: what broke off goes on where it was, and what nobody goes on with leaves nothing behind.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use ota_core::crypto::Hasher as _;
use ota_core::crypto::soft::SoftSha256;
use ota_server::http::body::RoleBody;
use ota_server::http::{Options, hex};
use serde_json::Value;

use crate::input::walk;
use crate::support::{Answer, DAY, People, World, product};

fn world(options: Options) -> (World, People) {
    let world = World::new(options);
    let people = People::of(&world);
    product(&world, &people, "p");
    (world, people)
}

fn begin(world: &World, token: &str) -> String {
    let path = "/api/v1/products/p/uploads?unit=256";
    let made = world.ask("post", path, Some(token), &Value::Null).good().json();
    format!("/api/v1/uploads/{}", made["id"].as_str().unwrap())
}

fn send(world: &World, path: &str, token: &str, piece: (u64, &str), bytes: &[u8]) -> Answer {
    let (offset, authorization) = (piece.0.to_string(), format!("Bearer {token}"));
    let headers = [
        ("authorization", authorization.as_str()),
        ("upload-offset", &offset),
        ("upload-complete", piece.1),
        ("content-type", "application/octet-stream"),
    ];
    world.raw("patch", path, &headers, bytes)
}

fn offset(world: &World, path: &str, token: &str) -> u64 {
    world.ask("get", path, Some(token), &Value::Null).good().json()["offset"].as_u64().unwrap()
}

#[test]
fn pieces_become_the_file_and_a_lost_answer_is_given_again() {
    let (world, people) = world(Options::default());
    let (token, bytes) = (people.developer.as_str(), [7; 1000]);
    let path = begin(&world, token);
    send(&world, &path, token, (0, "?0"), &bytes[..600]).good();
    assert_eq!(offset(&world, &path, token), 600);
    // A piece that does not join on changes nothing.
    for wrong in [0, 599, 601] {
        let problem = send(&world, &path, token, (wrong, "?1"), &bytes).problem(409);
        assert!(problem["detail"].as_str().unwrap().contains("has 600 bytes"), "{problem}");
    }
    let done = send(&world, &path, token, (600, "?1"), &bytes[600..]).good().json();
    let whole =
        world.send("post", "/api/v1/products/p/files?unit=256", Some(token), "x/y", &bytes).good().json();
    assert_eq!(done["content"], whole, "the same as in one piece");
    let again = send(&world, &path, token, (600, "?1"), &bytes[600..]).good().json();
    assert_eq!(again, done);
    // Nobody else sees it, whatever they may do.
    for other in [&people.administrator, &people.operator] {
        world.ask("get", &path, Some(other), &Value::Null).problem(404);
        send(&world, &path, other, (1000, "?0"), b"x").problem(404);
        world.ask("delete", &path, Some(other), &Value::Null).good();
    }
    world.ask("get", &path, Some(token), &Value::Null).good();
    send(&world, &path, token, (1000, "maybe"), b"x").problem(422);
}

/// A connection that announces a thousand bytes for an upload and has sent the first 300. It ends with its answer.
fn stuck(world: &World, path: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\nupload-offset: 0\r\n\
         upload-complete: ?1\r\ncontent-length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[1; 300]).unwrap();
    while offset(world, path, token) < 300 {
        std::thread::yield_now();
    }
    stream
}

#[test]
fn what_breaks_off_goes_on_where_it_was() {
    let (world, people) = world(Options::default());
    let token = people.developer.as_str();
    let path = begin(&world, token);
    let stream = stuck(&world, &path, token);
    // It is still open: whoever goes on with the upload takes its turn.
    send(&world, &path, token, (300, "?0"), &[1; 300]).good();
    drop(stream);
    let done = send(&world, &path, token, (600, "?1"), &[1; 400]).good().json();
    assert_eq!(done["content"]["size"], 1000);
}

#[test]
fn a_request_that_was_thought_dead_adds_nothing_once_another_one_has_come() {
    let (world, people) = world(Options::default());
    let token = people.developer.as_str();
    let path = begin(&world, token);
    let mut stream = stuck(&world, &path, token);
    // The other one is wrong about the offset, and from now on what it is told is true.
    let problem = send(&world, &path, token, (0, "?1"), &[1; 1000]).problem(409);
    assert!(problem["detail"].as_str().unwrap().contains("has 300 bytes"), "{problem}");
    // Whether these are read is a matter of who is faster; they do not count.
    let _ = stream.write_all(&[9; 700]);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 422"), "{answer}");
    assert_eq!(offset(&world, &path, token), 300);
    let done = send(&world, &path, token, (300, "?1"), &[1; 700]).good().json();
    let post = |bytes| world.send("post", "/api/v1/products/p/files?unit=256", Some(token), "x/y", bytes);
    assert_eq!(done["content"], post(&[1; 1000]).good().json());
}

#[test]
fn what_is_unfinished_holds_no_more_than_the_server_is_set_to_keep() {
    let limits = Options { file_bytes_max: 1000, staged_bytes_max: 1500, ..Options::default() };
    let (world, people) = world(limits);
    let token = people.developer.as_str();
    let (first, second) = (begin(&world, token), begin(&world, token));
    send(&world, &first, token, (0, "?0"), &[1; 900]).good();
    let problem = send(&world, &second, token, (0, "?1"), &[2; 700]).problem(507);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("1500 at most") && detail.contains("stays for 15 minutes"), "{problem}");
    let arrived = offset(&world, &second, token);
    assert!(arrived <= 600, "{arrived}");
    // Finishing one makes room for the other.
    send(&world, &first, token, (900, "?1"), &[]).good();
    let rest = vec![2; 700 - usize::try_from(arrived).unwrap()];
    let done = send(&world, &second, token, (arrived, "?1"), &rest).good().json();
    assert_eq!(done["content"]["size"], 700);
    // Neither's bytes stay, only what they have become.
    let staged = walk(&world.folder.path().join("staging"));
    assert!(
        staged.len() == 2 && staged.iter().all(|file| file.extension().is_some_and(|kind| kind == "json")),
        "{staged:?}"
    );
}

#[test]
fn nobody_sends_files_in_one_request_each_without_end() {
    let (world, people) = world(Options::default());
    let token = people.developer.as_str();
    let path = "/api/v1/products/p/files?unit=0";
    let begin = || {
        let mut stream = TcpStream::connect(world.address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
             content-type: application/octet-stream\r\ncontent-length: 9\r\n\r\n1"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let post = || world.send("post", path, Some(token), "x/y", b"123456789").status;
    // One that comes while a whole file is being taken may be refused itself.
    let mut begun = Vec::new();
    while post() != 429 {
        begun.push(begin());
    }
    assert!(begun.len() >= 4, "{}", begun.len());
    drop(begun);
    while post() != 201 {}
}

#[test]
fn what_nobody_goes_on_with_leaves_nothing_behind() {
    let idle = Duration::from_millis(200);
    let (world, people) =
        world(Options { upload_idle_max: idle, file_bytes_max: 1000, ..Options::default() });
    let token = people.developer.as_str();
    let path = begin(&world, token);
    send(&world, &path, token, (0, "?0"), &[1; 300]).good();
    while world.ask("get", &path, Some(token), &Value::Null).status != 404 {
        std::thread::yield_now();
    }
    // Neither does what is too large, or removed, or of somebody who may not.
    let path = begin(&world, token);
    send(&world, &path, token, (0, "?0"), &[1; 1001]).problem(413);
    world.ask("get", &path, Some(token), &Value::Null).problem(404);
    let path = begin(&world, token);
    world.ask("delete", &path, Some(token), &Value::Null).good();
    world.ask("get", &path, Some(token), &Value::Null).problem(404);
    for folder in ["files", "staging"] {
        let left = walk(&world.folder.path().join(folder));
        assert!(left.is_empty(), "{left:?}");
    }
    world.ask("get", &format!("/api/v1/uploads/{}", hex(&[0; 15])), Some(token), &Value::Null).problem(422);
}

#[test]
fn nobody_begins_uploads_without_end() {
    let (world, people) = world(Options::default());
    let ask =
        || world.ask("post", "/api/v1/products/p/uploads", Some(&people.developer), &Value::Null).status;
    let begun = (0..20).filter(|_| ask() == 201).count();
    assert_eq!(begun, 16);
    assert_eq!(ask(), 429);
}

#[test]
fn finished_uploads_keep_nobody_from_beginning_others_and_the_oldest_are_forgotten() {
    const REMEMBERED: usize = 32;
    let (world, people) = world(Options::default());
    let token = people.developer.as_str();
    let finished: Vec<String> = (0..REMEMBERED + 2)
        .map(|_| {
            let path = begin(&world, token);
            send(&world, &path, token, (0, "?1"), b"the same for all of them").good();
            path
        })
        .collect();
    let is_known = |path: &String| world.ask("get", path, Some(token), &Value::Null).status == 200;
    let known: Vec<bool> = finished.iter().map(is_known).collect();
    assert_eq!(known.iter().filter(|is_known| **is_known).count(), REMEMBERED);
    assert!(!known[0] && !known[1] && known[REMEMBERED + 1]);
    assert_eq!(walk(&world.folder.path().join("staging")).len(), REMEMBERED);
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = SoftSha256::new();
    hasher.update(bytes);
    hex(&hasher.finish())
}

/// Begins an upload of these very bytes.
fn begin_of(world: &World, token: &str, query: &str, bytes: &[u8]) -> Value {
    let path = format!("/api/v1/products/p/uploads?{query}&sha256={}", sha256(bytes));
    world.ask("post", &path, Some(token), &Value::Null).good().json()
}

fn path_of(begun: &Value) -> String {
    format!("/api/v1/uploads/{}", begun["id"].as_str().unwrap())
}

#[test]
fn whoever_begins_the_same_file_again_goes_on_with_it() {
    let (world, people) = world(Options::default());
    let (token, bytes) = (people.developer.as_str(), [7; 1000]);
    let begun = begin_of(&world, token, "unit=256", &bytes);
    send(&world, &path_of(&begun), token, (0, "?0"), &bytes[..600]).good();
    let again = begin_of(&world, token, "unit=256", &bytes);
    assert_eq!((&again["id"], again["offset"].as_u64()), (&begun["id"], Some(600)));
    // Another file, another block map or another person's is another upload.
    let colleague = world.person("second", RoleBody::Developer, None, DAY);
    for (who, query, content) in
        [(token, "unit=256", &bytes[..999]), (token, "unit=512", &bytes), (&colleague, "unit=256", &bytes)]
    {
        let other = begin_of(&world, who, query, content);
        assert!(other["id"] != begun["id"] && other["offset"] == 0, "{query}: {other}");
    }
    let done = send(&world, &path_of(&begun), token, (600, "?1"), &bytes[600..]).good().json();
    // Nothing of it has to be sent again.
    let again = begin_of(&world, token, "unit=256", &bytes);
    assert_eq!((&again["id"], &again["content"]), (&begun["id"], &done["content"]));
    // Unless it was removed from the store of files.
    for file in walk(&world.folder.path().join("files")) {
        std::fs::remove_file(file).unwrap();
    }
    let anew = begin_of(&world, token, "unit=256", &bytes);
    assert!(anew["id"] != begun["id"] && anew["offset"] == 0 && anew["content"].is_null(), "{anew}");
    let done_again = send(&world, &path_of(&anew), token, (0, "?1"), &bytes).good().json();
    assert_eq!(done_again["content"], done["content"]);
    for wrong in ["", "00", &"g".repeat(64), &"A".repeat(64)] {
        let path = format!("/api/v1/products/p/uploads?sha256={wrong}");
        world.ask("post", &path, Some(token), &Value::Null).problem(422);
    }
}

#[test]
fn what_becomes_another_file_than_was_announced_is_dropped() {
    let (world, people) = world(Options::default());
    let (token, bytes) = (people.developer.as_str(), [7; 1000]);
    let begun = begin_of(&world, token, "unit=0", &bytes);
    send(&world, &path_of(&begun), token, (0, "?0"), &[8; 600]).good();
    let problem = send(&world, &path_of(&begun), token, (600, "?1"), &bytes[600..]).problem(422);
    assert_eq!(problem["type"], "urn:ota:problem:upload-differs");
    world.ask("get", &path_of(&begun), Some(token), &Value::Null).problem(404);
    let again = begin_of(&world, token, "unit=0", &bytes);
    assert_eq!(again["offset"], 0, "{again}");
    send(&world, &path_of(&again), token, (0, "?1"), &bytes).good();
}

#[test]
fn another_server_says_that_an_upload_is_not_there() {
    let (mut world, people) = world(Options::default());
    let token = people.developer.as_str();
    let path = begin(&world, token);
    send(&world, &path, token, (0, "?0"), &[7; 600]).good();
    world.address = world.another("other");
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("upload-offset", "600")];
    for (method, bytes) in [("get", &[][..]), ("patch", b"more")] {
        let problem = world.raw(method, &path, &headers, bytes).problem(404);
        assert_eq!(problem["type"], "urn:ota:problem:upload-elsewhere", "{method}: {problem}");
        assert!(problem["what_to_do"].as_str().unwrap().contains("begin it anew"), "{problem}");
    }
}

/// A package of one file with these bytes, and the program that uploads it through this address.
fn upload(folder: &Path, to: SocketAddr, token: &str, bytes: &[u8]) -> Output {
    std::fs::write(folder.join("app.bin"), bytes).unwrap();
    let description = "package = \"main\"\nhardware = [\"rev-b\"]\n\n[[file]]\nname = \"app.bin\"\nrevision = \"1.0\"\n\
                       target = \"app\"\npath = \"app.bin\"\n";
    std::fs::write(folder.join("package.toml"), description).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_ota"));
    program.args(["package", "upload", "--json", "--product", "p", "package.toml"]).current_dir(folder);
    program.env_clear().env("OTA_SERVER", format!("http://{to}")).env("OTA_TOKEN", token);
    program.output().unwrap()
}

#[track_caller]
fn assert_fixed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["status"], "fixed", "{made}");
}

#[test]
fn the_program_uploads_where_each_request_meets_another_server() {
    let (world, people) = world(Options::default());
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| n.to_le_bytes()[1] ^ n.to_le_bytes()[0]).collect();
    assert_fixed(&upload(world.folder.path(), world.balanced(), &people.developer, &bytes));
}

/// A way whose first connection that carries much breaks; all that come after it lead to another server.
fn leading_elsewhere(first: SocketAddr, then: SocketAddr) -> SocketAddr {
    const CUT_AFTER: usize = 300_000;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let is_cut = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let is_first = !is_cut.load(Ordering::SeqCst);
            let far = TcpStream::connect(if is_first { first } else { then });
            let (Ok(mut near), Ok(mut far)) = (near, far) else { return };
            let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            let is_cut = Arc::clone(&is_cut);
            std::thread::spawn(move || {
                let (mut buffer, mut total) = ([0; 16_384], 0);
                while let Ok(read @ 1..) = near.read(&mut buffer) {
                    total += read;
                    if far.write_all(&buffer[..read]).is_err() || (is_first && total > CUT_AFTER) {
                        break;
                    }
                }
                if is_first && total > CUT_AFTER {
                    is_cut.store(true, Ordering::SeqCst);
                }
                let _ = far.shutdown(Shutdown::Both);
                let _ = near.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn the_program_begins_anew_where_another_server_answers_in_the_middle() {
    let (world, people) = world(Options::default());
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|n| n.to_le_bytes()[2] ^ n.to_le_bytes()[0]).collect();
    let other = world.another("other");
    let way = leading_elsewhere(world.address, other);
    assert_fixed(&upload(world.folder.path(), way, &people.developer, &bytes));
    // The first server has what was cut off, and the other one the whole.
    let bytes_of = |name: &str| {
        walk(&world.folder.path().join(name))
            .into_iter()
            .filter(|file| file.extension().is_some_and(|kind| kind == "bytes"))
            .count()
    };
    assert_eq!((bytes_of("staging"), bytes_of("staging-of/other")), (1, 0));
    assert_eq!(walk(&world.folder.path().join("staging-of/other")).len(), 1);
}
