//! The original messages against the bytes seen from real devices, and against each limit that breaks one.

use super::*;
use crate::cbor::{EncodeError, to_vec};
use crate::limits::{SFT_CHUNK_BYTES_MAX, SFT_FILES_MAX, SFT_NAME_AND_REVISION_BYTES_MAX};
use crate::number::Sha256Digest;
use crate::text::Url;

fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let mut bytes = vec![0; text.len() / 2];
    assert!(crate::hex::decode(text.as_bytes(), &mut bytes), "{text}");
    bytes
}

fn file<'a>(name: &'a str, revision: &'a str) -> FileRevision<'a> {
    FileRevision::new(name, revision).unwrap()
}

fn update<'a>(link: Option<Link<'a>>) -> Update<'a> {
    Update {
        file: file("firmware.bin", "rev 2.00"),
        size: 0x4b000,
        fingerprint: Sha256Digest([0xf0; 32]),
        link,
    }
}

#[test]
fn file_info_is_written_as_real_devices_write_it() {
    let files = [file("test.txt", "a"), file("firmware.bin", "b")];
    let message = Up::FileInfo(FileInfo { files: Entries::from_slice(&files), takes_links: true });
    let expected = unhex(
        "a4 67 6d736774797065 00 66 6d7367766572 01 64 6c697374 82
         a2 61 4e 68 746573742e747874 61 52 61 61
         a2 61 4e 6c 6669726d776172652e62696e 61 52 61 62
         61 4c f5",
    );
    assert_eq!(message.to_vec().unwrap(), expected);
    assert_eq!(Up::decode(&expected), Ok(message));
}

#[test]
fn file_update_available_is_written_as_the_service_wrote_it() {
    let second = Update { size: 1, ..update(None) };
    let files = [update(None), second];
    let message = Down::UpdateAvailable(UpdateAvailable { files: Entries::from_slice(&files) });
    let one = |size: &str| {
        format!(
            "a5 61 4e 6c 6669726d776172652e62696e 61 52 68 72657620322e3030 61 4f 00 61 53 {size} 61 46 5820 {}",
            "f0".repeat(32)
        )
    };
    let expected = unhex(&format!(
        "a3 67 6d736774797065 01 66 6d7367766572 01 64 6c697374 82 {} {}",
        one("1a0004b000"),
        one("01")
    ));
    assert_eq!(message.to_vec().unwrap(), expected);
    assert_eq!(Down::decode(&expected), Ok(message));
}

#[test]
fn a_link_is_written_only_when_there_is_one_and_with_its_fallback() {
    let url = Url::new("https://files.example/fw").unwrap();
    let files = [update(Some(Link { url, chunks_too: true }))];
    let message = Down::UpdateAvailable(UpdateAvailable { files: Entries::from_slice(&files) });
    let bytes = message.to_vec().unwrap();
    let tail = [&[0x61, b'L', 0x78, 24][..], url.as_str().as_bytes(), &[0x61, b'M', 0xf5]].concat();
    assert!(bytes.ends_with(&tail), "{bytes:02x?}");
    assert_eq!(Down::decode(&bytes), Ok(message));
}

#[test]
fn file_get_chunk_is_written_as_real_devices_write_it() {
    let message = Up::GetChunk(GetChunk { file: file("firmware.bin", "rev 2.00"), offset: 0, length: 1024 });
    let expected = unhex(
        "a6 67 6d736774797065 02 66 6d7367766572 01
         61 4e 6c 6669726d776172652e62696e 61 52 68 72657620322e3030 61 4f 00 61 4c 19 0400",
    );
    assert_eq!(message.to_vec().unwrap(), expected);
    assert_eq!(Up::decode(&expected), Ok(message));
}

#[test]
fn file_chunk_is_written_as_the_service_wrote_it() {
    let bytes = [0x5a; 1024];
    let message = Down::Chunk(Chunk { file: file("firmware.bin", "rev 2.00"), offset: 1024, bytes: &bytes });
    let mut expected = unhex(
        "a8 67 6d736774797065 03 66 6d7367766572 01
         61 4e 6c 6669726d776172652e62696e 61 52 68 72657620322e3030
         61 4f 19 0400 61 4c 19 0400 61 53 00 61 43 59 0400",
    );
    expected.extend(bytes);
    assert_eq!(message.to_vec().unwrap(), expected);
    assert_eq!(Down::decode(&expected), Ok(message));
}

#[test]
fn file_status_is_written_as_real_devices_write_it() {
    let message = Up::Status(Status {
        file: file("firmware.bin", "rev 2.00"),
        phase: Phase::Downloaded,
        code: StatusCode::CHECKSUM,
    });
    let expected = unhex(
        "a6 67 6d736774797065 04 66 6d7367766572 01
         61 4e 6c 6669726d776172652e62696e 61 52 68 72657620322e3030 61 50 03 61 53 24",
    );
    assert_eq!(message.to_vec().unwrap(), expected);
    assert_eq!(Up::decode(&expected), Ok(message));
}

#[test]
fn the_first_revision_of_an_original_client_is_read() {
    let first = "revision is not available on the device, this is a generated revision 0";
    let files = [file("firmware.bin", first)];
    let message = Up::FileInfo(FileInfo { files: Entries::from_slice(&files), takes_links: false });
    assert_eq!(Up::decode(&message.to_vec().unwrap()), Ok(message));
}

#[test]
fn keys_come_in_any_order_and_lengths_may_be_indefinite() {
    let expected = Up::GetChunk(GetChunk { file: file("f", "r"), offset: 7, length: 5 });
    for form in [
        "a6 61 4c 05 61 4f 07 61 52 61 72 61 4e 61 66 66 6d7367766572 01 67 6d736774797065 02",
        "bf 61 4c 05 61 4f 07 61 52 61 72 61 4e 61 66 66 6d7367766572 01 67 6d736774797065 02 ff",
        // Long integers, an unknown key with a list inside, and a key that is no text.
        "a8 61 4c 1900 05 61 4f 1b0000000000000007 61 52 61 72 61 4e 61 66 66 6d7367766572 1801
         67 6d736774797065 02 61 5a 82 01 f6 05 06",
    ] {
        assert_eq!(Up::decode(&unhex(form)), Ok(expected), "{form}");
    }
    let list =
        "bf 64 6c697374 9f bf 61 52 61 72 61 4e 61 66 ff ff 66 6d7367766572 01 67 6d736774797065 00 ff";
    let files = [file("f", "r")];
    let expected = FileInfo { files: Entries::from_slice(&files), takes_links: false };
    assert_eq!(Up::decode(&unhex(list)), Ok(Up::FileInfo(expected)));
}

#[test]
fn what_counts_as_missing_or_spoils_a_message_is_told() {
    use DecodeErrorKind::*;
    let chunk = |rest: &str| format!("a6 67 6d736774797065 02 66 6d7367766572 01 {rest}");
    for (form, kind, offset) in [
        // A name in pieces, a name that is bytes, an offset that is text, nothing at all.
        (chunk("61 4e 7f 61 66 ff 61 52 61 72 61 4f 00 61 4c 01"), MissingKey, 0),
        (chunk("61 4e 41 66 61 52 61 72 61 4f 00 61 4c 01"), MissingKey, 0),
        (chunk("61 4e 61 66 61 52 61 72 61 4f 61 30 61 4c 01"), MissingKey, 0),
        ("a0".into(), MissingKey, 0),
        // A tag, a float, a byte behind the end.
        (chunk("61 4e 61 66 61 52 61 72 61 4f c1 00 61 4c 01"), Forbidden, 28),
        (chunk("61 4e 61 66 61 52 61 72 61 4f f93c00 61 4c 01"), Forbidden, 28),
        (chunk("61 4e 61 66 61 52 61 72 61 4f 00 61 4c 01 00"), TrailingBytes, 32),
        // Numbers out of range, an empty name, a NUL that would end the name early.
        (chunk("61 4e 61 66 61 52 61 72 61 4f 20 61 4c 01"), OutOfRange, 28),
        (chunk("61 4e 61 66 61 52 61 72 61 4f 1b0000000100000000 61 4c 01"), OutOfRange, 28),
        (chunk("61 4e 61 66 61 52 61 72 61 4f 00 61 4c 00"), OutOfRange, 31),
        (chunk("61 4e 60 61 52 61 72 61 4f 00 61 4c 01"), OutOfRange, 20),
        (chunk("61 4e 63 610062 61 52 61 72 61 4f 00 61 4c 01"), OutOfRange, 20),
        // Another version, another type, a type of the other direction.
        ("a2 67 6d736774797065 02 66 6d7367766572 02".into(), OutOfRange, 17),
        ("a2 67 6d736774797065 05 66 6d7367766572 01".into(), UnknownType, 9),
        ("a2 67 6d736774797065 03 66 6d7367766572 01".into(), UnknownType, 9),
        // Phases of the service.
        (chunk("61 4e 61 66 61 52 61 72 61 50 01 61 53 00").replace("65 02", "65 04"), OutOfRange, 28),
        ("".into(), Truncated, 0),
        ("80".into(), WrongType, 0),
    ] {
        assert_eq!(Up::decode(&unhex(&form)), Err(kind.at(offset)), "{form}");
    }
}

#[test]
fn a_chunk_has_what_was_asked_for_and_never_more_than_a_client_can_take() {
    let asked = |offset, length| GetChunk { file: file("f", "r"), offset, length };
    assert_eq!(asked(0, 1024).chunk_bytes(5000), Some(1024));
    assert_eq!(asked(4096, 1024).chunk_bytes(5000), Some(904));
    assert_eq!(asked(0, u32::MAX).chunk_bytes(u32::MAX), Some(SFT_CHUNK_BYTES_MAX));
    assert_eq!(asked(5000, 1).chunk_bytes(5000), None);
    assert_eq!(asked(u32::MAX, 1).chunk_bytes(5000), None);
    assert_eq!(asked(0, 1).chunk_bytes(0), None);

    let long = vec![0; SFT_CHUNK_BYTES_MAX as usize + 1];
    let chunk = |offset, bytes| Down::Chunk(Chunk { file: file("f", "r"), offset, bytes });
    let largest = chunk(u32::MAX - SFT_CHUNK_BYTES_MAX, &long[1..]);
    assert_eq!(Down::decode(&largest.to_vec().unwrap()), Ok(largest));
    for bad in [chunk(0, &long), chunk(0, &[]), chunk(u32::MAX, &[1])] {
        assert_eq!(bad.to_vec(), Err(EncodeError::TooLarge));
    }
}

#[test]
fn names_and_sizes_that_break_a_client_are_refused() {
    let longest = "r".repeat(SFT_NAME_AND_REVISION_BYTES_MAX - 1);
    assert!(FileRevision::new("f", &longest).is_some());
    for (name, revision) in [("ff", longest.as_str()), ("", "r"), ("a\0", "r"), ("a", "\0")] {
        assert_eq!(FileRevision::new(name, revision), None);
    }
    // A file of no bytes cannot be delivered by this protocol.
    let empty = [Update { size: 0, ..update(None) }];
    let none: [Update<'_>; 0] = [];
    for files in [&empty[..], &none[..]] {
        let message = Down::UpdateAvailable(UpdateAvailable { files: Entries::from_slice(files) });
        assert_eq!(message.to_vec(), Err(EncodeError::TooLarge));
    }
    let many = vec![file("f", "r"); SFT_FILES_MAX + 1];
    let info = |files| Up::FileInfo(FileInfo { files, takes_links: true });
    assert_eq!(info(Entries::from_slice(&many)).to_vec(), Err(EncodeError::TooLarge));
    assert!(info(Entries::from_slice(&many[1..])).to_vec().is_ok());
}

#[test]
fn updates_that_a_client_would_misread_are_refused() {
    let good = [update(None)];
    let message = Down::UpdateAvailable(UpdateAvailable { files: Entries::from_slice(&good) });
    let bytes = message.to_vec().unwrap();
    let at = |needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    let mut operation = bytes.clone();
    operation[at(&[0x61, b'O', 0]) + 2] = 1;
    let mut zero = bytes.clone();
    zero.splice(at(&[0x1a, 0, 4, 0xb0, 0])..at(&[0x61, b'F']), [0]);
    let mut short = bytes.clone();
    short.truncate(bytes.len() - 1);
    let digest = at(&[0x58, 32]);
    short[digest + 1] = 31;
    for (form, offset) in [(operation, digest - 10), (zero, digest - 7), (short, digest)] {
        assert_eq!(Down::decode(&form), Err(DecodeErrorKind::OutOfRange.at(offset)));
    }
    let empty = to_vec(|w| {
        w.map(3)?;
        w.text("msgtype")?;
        w.u64(1)?;
        w.text("msgver")?;
        w.u64(1)?;
        w.text("list")?;
        w.array(0)
    });
    assert_eq!(Down::decode(&empty.unwrap()).unwrap_err().kind, DecodeErrorKind::OutOfRange);
}

#[test]
fn a_cut_or_overlong_message_is_refused() {
    let message = Up::GetChunk(GetChunk { file: file("f", "r"), offset: 7, length: 5 });
    let bytes = message.to_vec().unwrap();
    for cut in 0..bytes.len() {
        assert!(Up::decode(&bytes[..cut]).is_err(), "{cut}");
    }
    let huge = vec![0xa0; SFT_MESSAGE_BYTES_MAX + 1];
    assert_eq!(Up::decode(&huge), Err(DecodeErrorKind::TooLarge.at(0)));
    assert_eq!(Down::decode(&huge), Err(DecodeErrorKind::TooLarge.at(0)));
}
