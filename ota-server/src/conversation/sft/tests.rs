//! What the original clients can take, rule by rule: each of these crashed or corrupted a real one when broken.

use super::*;
use ota_core::sft::{FileInfo, Up};
use ota_core::wire::{ReleaseSizes, RootHint};

const NOW: Timestamp = Timestamp(1_000_000);
const NONCE: Nonce = Nonce([1; 16]);

fn file<'a>(name: &'a str, revision: &'a str) -> FileRevision<'a> {
    FileRevision::new(name, revision).unwrap()
}

fn offered(name: &str, size: u64, index: u16) -> OfferedFile {
    OfferedFile {
        index,
        name: FileNameBuf::new(name).unwrap(),
        revision: RevisionBuf::new("2").unwrap(),
        size,
        digest: [7; 32],
        is_firmware: name == "firmware.bin",
    }
}

fn offer(files: Vec<OfferedFile>) -> Offer {
    Offer {
        id: OfferId([3; 8]),
        release: ReleaseId([4; 32]),
        assignment: Bytes::new(),
        sizes: ReleaseSizes { body: 0, envelope: 0 },
        roots: RootHint { newest: ota_core::number::RootVersion(1), next_body: 0, next_envelope: 0 },
        grant: Bytes::new(),
        deadline: Millis(0),
        reason: "".into(),
        files,
    }
}

fn check_in(session: &mut Session) -> Step {
    let files = [file("app.bin", "1")];
    let info = Up::FileInfo(FileInfo { files: Entries::from_slice(&files), takes_links: true });
    session.hear(&info, NONCE, Hearing::Alone, NOW)
}

fn ask(session: &mut Session, name: &str, offset: u32, length: u32) -> Step {
    session.hear(
        &Up::GetChunk(GetChunk { file: file(name, "2"), offset, length }),
        NONCE,
        Hearing::Alone,
        NOW,
    )
}

fn tell(session: &mut Session, name: &str, phase: sft::Phase, code: StatusCode) -> Step {
    session.hear(&Up::Status(Status { file: file(name, "2"), phase, code }), NONCE, Hearing::Alone, NOW)
}

/// Asks for the next chunk and sends it; the number of its bytes.
fn chunk(session: &mut Session, name: &str, offset: u32, length: u32) -> usize {
    let Step::Chunk(wanted) = ask(session, name, offset, length) else { panic!("no chunk at {offset}") };
    let bytes = vec![0; usize::try_from(wanted.length).unwrap()];
    let message = session.chunk(&wanted, &bytes).unwrap().unwrap();
    match Down::decode(&message).unwrap() {
        Down::Chunk(chunk) => chunk.bytes.len(),
        Down::UpdateAvailable(_) => panic!("no chunk"),
    }
}

fn fetching(files: Vec<OfferedFile>) -> Session {
    let mut session = Session::connected();
    assert!(matches!(check_in(&mut session), Step::CheckIn(_)));
    assert!(session.offer(&offer(files), NOW).unwrap().is_some());
    session
}

#[test]
fn rule_1_each_request_is_answered_exactly_once() {
    let mut session = fetching(vec![offered("app.bin", 3000, 0)]);
    let Step::Chunk(wanted) = ask(&mut session, "app.bin", 0, 1024) else { panic!() };
    assert_eq!(ask(&mut session, "app.bin", 0, 1024), Step::Dropped, "a copy while the answer is owed");
    let bytes = vec![0; 1024];
    assert!(session.chunk(&wanted, &bytes).unwrap().is_some());
    assert!(session.chunk(&wanted, &bytes).unwrap().is_none(), "a chunk is sent once");
    assert_eq!(ask(&mut session, "app.bin", 0, 1024), Step::Dropped, "a copy after the answer");
    assert_eq!(chunk(&mut session, "app.bin", 1024, 1024), 1024);
    assert_eq!(ask(&mut session, "app.bin", 1024, 1024), Step::Dropped);
}

#[test]
fn rule_2_one_list_of_files_per_check_in_and_none_while_a_download_runs() {
    let mut session = Session::connected();
    let files = || vec![offered("app.bin", 10, 0)];
    assert_eq!(session.offer(&offer(files()), NOW), Ok(None), "not before a check-in");
    assert!(matches!(check_in(&mut session), Step::CheckIn(_)));
    assert!(session.offer(&offer(files()), NOW).unwrap().is_some());
    assert_eq!(session.offer(&offer(files()), NOW), Ok(None), "two in a row crash the client");
    assert_eq!(check_in(&mut session), Step::Dropped, "a copy of the check-in is none");
    assert_eq!(session.offer(&offer(files()), NOW), Ok(None));
}

#[test]
fn rule_2_nothing_after_firmware_until_the_device_is_back() {
    let mut session = fetching(vec![offered("firmware.bin", 10, 0)]);
    chunk(&mut session, "firmware.bin", 0, 1024);
    tell(&mut session, "firmware.bin", sft::Phase::Downloaded, StatusCode::OK);
    let Step::Report(report) = tell(&mut session, "firmware.bin", sft::Phase::Processing, StatusCode::OK)
    else {
        panic!()
    };
    assert_eq!(report.phase, Phase::Installed);
    assert_eq!(session.offer(&offer(vec![offered("app.bin", 10, 0)]), NOW), Ok(None));
    let mut back = Session::connected();
    assert!(matches!(check_in(&mut back), Step::CheckIn(_)));
    assert!(back.offer(&offer(vec![offered("app.bin", 10, 0)]), NOW).unwrap().is_some());
}

#[test]
fn rule_2_on_a_link_that_tells_nothing_of_connections_only_quick_copies_are_dropped() {
    let mut session = Session::default();
    assert!(matches!(check_in(&mut session), Step::CheckIn(_)));
    assert!(session.offer(&offer(vec![offered("app.bin", 10, 0)]), NOW).unwrap().is_some());
    assert_eq!(check_in(&mut session), Step::Dropped);
    let files = [file("app.bin", "1")];
    let info = Up::FileInfo(FileInfo { files: Entries::from_slice(&files), takes_links: true });
    let later = NOW.plus(Millis(10_000));
    assert!(
        matches!(session.hear(&info, NONCE, Hearing::Alone, later), Step::CheckIn(_)),
        "it has reconnected"
    );
}

#[test]
fn rule_4_a_chunk_has_as_many_bytes_as_asked_for_as_fit_and_as_there_are() {
    let mut session = fetching(vec![offered("app.bin", 200_000, 0)]);
    assert_eq!(chunk(&mut session, "app.bin", 0, 100_000), 65_535);
    assert_eq!(chunk(&mut session, "app.bin", 65_535, 1), 1);
    assert_eq!(chunk(&mut session, "app.bin", 65_536, 65_535), 65_535);
    assert_eq!(chunk(&mut session, "app.bin", 131_071, 65_535), 65_535);
    assert_eq!(chunk(&mut session, "app.bin", 196_606, 65_535), 3_394);
    assert_eq!(ask(&mut session, "app.bin", 200_000, 1), Step::Dropped, "there is nothing behind the end");
}

#[test]
fn rule_4_and_7_what_cannot_be_carried_is_never_sent() {
    for bad in [offered("app.bin", 0, 0), offered("app.bin", 1 << 32, 0)] {
        let mut session = Session::connected();
        let _ = check_in(&mut session);
        assert!(session.offer(&offer(vec![bad]), NOW).is_err());
        assert!(session.waiting().is_some(), "the permission is still there");
    }
}

#[test]
fn rule_5_no_link_is_ever_sent() {
    let mut session = Session::connected();
    let _ = check_in(&mut session);
    let message = session.offer(&offer(vec![offered("app.bin", 10, 0)]), NOW).unwrap().unwrap();
    let Down::UpdateAvailable(update) = Down::decode(&message).unwrap() else { panic!() };
    assert!(update.files.iter().all(|update| update.link.is_none()));
}

#[test]
fn files_come_in_their_order_and_ordinary_ones_confirm_by_finishing() {
    let mut session = fetching(vec![offered("a.bin", 10, 0), offered("b.bin", 20, 3)]);
    assert_eq!(ask(&mut session, "b.bin", 0, 1024), Step::Dropped, "the first file is not there yet");
    assert_eq!(ask(&mut session, "foreign.bin", 0, 1024), Step::Dropped);
    assert_eq!(chunk(&mut session, "a.bin", 0, 1024), 10);
    assert_eq!(tell(&mut session, "a.bin", sft::Phase::Downloaded, StatusCode::OK), Step::Nothing);
    assert_eq!(tell(&mut session, "a.bin", sft::Phase::Finished, StatusCode::OK), Step::Nothing);
    let Step::Chunk(wanted) = ask(&mut session, "b.bin", 0, 1024) else { panic!() };
    assert_eq!(wanted.index, 3, "the place in the release, not in the list");
    session.chunk(&wanted, &[0; 20]).unwrap();
    let Step::Report(downloaded) = tell(&mut session, "b.bin", sft::Phase::Downloaded, StatusCode::OK) else {
        panic!()
    };
    assert_eq!(downloaded.phase, Phase::Downloaded);
    let Step::Report(confirmed) = tell(&mut session, "b.bin", sft::Phase::Finished, StatusCode::OK) else {
        panic!()
    };
    assert_eq!(confirmed.phase, Phase::Confirmed);
}

#[test]
fn errors_of_the_client_are_failures_with_a_cause() {
    for (code, cause) in [
        (StatusCode::CHECKSUM, ReportCode::IntegrityMismatch),
        (StatusCode::WRITE, ReportCode::Storage),
        (StatusCode::UNEXPECTED_CHUNK, ReportCode::Aborted),
    ] {
        let mut session = fetching(vec![offered("app.bin", 10, 0)]);
        let Step::Report(report) = tell(&mut session, "app.bin", sft::Phase::Downloaded, code) else {
            panic!()
        };
        assert_eq!((report.phase, report.code), (Phase::Failed, cause));
    }
}

#[test]
fn a_restarted_server_takes_up_the_download_where_the_device_is() {
    let mut session = Session::default();
    assert_eq!(ask(&mut session, "app.bin", 2048, 1024), Step::Lost);
    let files = vec![offered("app.bin", 5000, 0)];
    let mut session = Session::restored(OfferId([3; 8]), ReleaseId([4; 32]), files, NOW);
    let wanted = Up::GetChunk(GetChunk { file: file("app.bin", "2"), offset: 2048, length: 1024 });
    assert!(matches!(session.hear(&wanted, NONCE, Hearing::Restored, NOW), Step::Chunk(_)));
    assert!(
        matches!(check_in(&mut session), Step::CheckIn(_)),
        "it has begun anew, and nobody told of its connection"
    );
}

#[test]
fn servers_that_hear_a_device_by_turns_serve_it_between_them() {
    let files = || vec![offered("app.bin", 3000, 0), offered("firmware.bin", 1500, 1)];
    let restored = || Session::restored(OfferId([3; 8]), ReleaseId([4; 32]), files(), NOW);
    let mut servers = [fetching(files()), restored()];
    let requests =
        [("app.bin", 0), ("app.bin", 1024), ("app.bin", 2048), ("firmware.bin", 0), ("firmware.bin", 1024)];
    for (number, (name, offset)) in requests.into_iter().enumerate() {
        let request = Up::GetChunk(GetChunk { file: file(name, "2"), offset, length: 1024 });
        let session = &mut servers[number % 2];
        let Step::Chunk(wanted) = session.hear(&request, NONCE, Hearing::Shared, NOW) else {
            panic!("{name} at {offset}")
        };
        let bytes = vec![0; usize::try_from(wanted.length).unwrap()];
        assert!(session.chunk(&wanted, &bytes).unwrap().is_some());
        // What it has served already it is asked about anew only by a device that has begun anew, or by a copy.
        assert_eq!(session.hear(&request, NONCE, Hearing::Shared, NOW), Step::Lost);
    }
    let done = Up::Status(Status {
        file: file("firmware.bin", "2"),
        phase: sft::Phase::Downloaded,
        code: StatusCode::OK,
    });
    // The other server was told of the first file.
    let Step::Report(report) = servers[1].hear(&done, NONCE, Hearing::Shared, NOW) else { panic!() };
    assert_eq!(report.phase, Phase::Downloaded);
    assert_eq!(Session::default().hear(&done, NONCE, Hearing::Shared, NOW), Step::Lost);
}
