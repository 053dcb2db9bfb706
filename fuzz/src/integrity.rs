//! Integrity strings: one text and one encoding each; nothing unreadable is skipped.

use ota_core::cbor::{Reader, to_vec};
use ota_core::integrity::{IntegrityString, IntegrityStrings};
use ota_core::limits::INTEGRITY_STRING_BYTES_MAX;
use ota_core::list::Item;

/// Reads a text, line by line, as the integrity strings of a file.
pub fn text(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    let mut all_are_good = true;
    for line in text.split('\n') {
        match line.parse::<IntegrityString>() {
            Ok(string) => {
                assert_eq!(string.to_string(), line, "one text for each string");
                assert!(line.len() <= INTEGRITY_STRING_BYTES_MAX);
            }
            Err(error) => {
                all_are_good = false;
                assert!(error.offset <= line.len());
            }
        }
    }
    match IntegrityStrings::parse(text.split('\n')) {
        Ok(strings) => {
            assert!(all_are_good, "one bad string condemns the file");
            assert_eq!(strings.as_slice().len(), text.split('\n').count(), "none is dropped");
        }
        Err(error) => assert!(error.index < text.split('\n').count()),
    }
}

/// Reads an encoded integrity string.
pub fn cbor(data: &[u8]) {
    let mut reader = Reader::new(data);
    let Ok(string) = IntegrityString::decode(&mut reader) else { return };
    assert_eq!(to_vec(|w| string.encode(w)).unwrap(), &data[..reader.position()]);
    assert_eq!(string.to_string().parse::<IntegrityString>(), Ok(string));
}
