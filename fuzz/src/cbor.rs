//! The strict reader: what it skips it also reads, and what it reads has one encoding.

use ota_core::cbor::{DecodeErrorKind, Reader, to_vec};

/// Reads any bytes as a row of items.
pub fn cbor(data: &[u8]) {
    let mut reader = Reader::new(data);
    loop {
        let start = reader.position();
        typed(&reader);
        match reader.skip() {
            Ok(item) => {
                assert_eq!(item, &data[start..reader.position()]);
                assert!(!item.is_empty(), "an item that takes no byte would never end");
                let mut alone = Reader::new(item);
                assert_eq!(alone.skip(), Ok(item));
                assert_eq!(alone.finish(), Ok(()));
            }
            Err(malformed) => {
                let offset = reader.error(malformed).offset;
                assert!(offset >= start && offset <= data.len());
                break;
            }
        }
    }
}

/// Each typed reading of the next item agrees with skipping it, and writes back the same bytes.
fn typed(at: &Reader<'_>) {
    let item = at.clone().skip();
    let same = |written: Vec<u8>, reader: Reader<'_>| {
        let item = item.expect("what can be read can be skipped");
        assert_eq!(written, item);
        assert_eq!(reader.position() - at.position(), item.len());
    };
    let mut reader = at.clone();
    if let Ok(value) = reader.u64() {
        same(to_vec(|w| w.u64(value)).unwrap(), reader);
    }
    let mut reader = at.clone();
    if let Ok(value) = reader.i64() {
        same(to_vec(|w| w.i64(value)).unwrap(), reader);
    }
    let mut reader = at.clone();
    if let Ok(value) = reader.bytes(usize::MAX) {
        same(to_vec(|w| w.bytes(value)).unwrap(), reader);
    }
    let mut reader = at.clone();
    if let Ok(value) = reader.text(usize::MAX) {
        same(to_vec(|w| w.text(value)).unwrap(), reader);
    }
    let mut reader = at.clone();
    if let Ok(value) = reader.bool() {
        same(to_vec(|w| w.bool(value)).unwrap(), reader);
    }
    let mut reader = at.clone();
    if reader.null() == Ok(true) {
        same(to_vec(|w| w.null()).unwrap(), reader);
    }
    let mut reader = at.clone();
    if let Ok(mut entries) = reader.map() {
        let mut last = None;
        while let Ok(Some(key)) = entries.next_key(&mut reader) {
            assert!(last < Some(key), "keys rise");
            last = Some(key);
            if reader.skip().is_err() {
                break;
            }
        }
        // What is skipped whole is read no less strictly than key by key.
        if item.is_ok() {
            let mut reader = at.clone();
            let mut entries = reader.map().expect("it was a map");
            loop {
                match entries.next_key(&mut reader) {
                    Ok(Some(_)) => drop(reader.skip().expect("values of what can be skipped can be skipped")),
                    Ok(None) => break,
                    Err(malformed) => {
                        let kind = reader.error(malformed).kind;
                        assert_eq!(
                            kind,
                            DecodeErrorKind::WrongType,
                            "keys of another type are all that differs"
                        );
                        break;
                    }
                }
            }
        }
    }
}
