//! The strict reader against the examples of RFC 8949, and against everything a strict reader must refuse.

use super::*;

/// Skips what is next and demands that nothing follows.
fn skipped(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let outcome = reader.skip().and_then(|_| reader.finish());
    outcome.map_err(|malformed| reader.error(malformed))
}

fn kind_of(bytes: &[u8]) -> Result<(), DecodeErrorKind> {
    let mut reader = Reader::new(bytes);
    skipped(&mut reader).map_err(|error| error.kind)
}

#[test]
fn integers_of_rfc_8949_appendix_a() {
    let cases: &[(&str, i128)] = &[
        ("00", 0),
        ("01", 1),
        ("0a", 10),
        ("17", 23),
        ("1818", 24),
        ("1819", 25),
        ("1864", 100),
        ("1903e8", 1000),
        ("1a000f4240", 1_000_000),
        ("1b000000e8d4a51000", 1_000_000_000_000),
        ("1bffffffffffffffff", 18_446_744_073_709_551_615),
        ("20", -1),
        ("29", -10),
        ("3863", -100),
        ("3903e7", -1000),
    ];
    for (hex, value) in cases {
        let bytes = unhex(hex);
        if let Ok(value) = u64::try_from(*value) {
            assert_eq!(Reader::new(&bytes).u64(), Ok(value), "{hex}");
            assert_eq!(to_vec(|w| w.u64(value)).unwrap(), bytes, "{hex}");
        }
        if let Ok(value) = i64::try_from(*value) {
            assert_eq!(Reader::new(&bytes).i64(), Ok(value), "{hex}");
            assert_eq!(to_vec(|w| w.i64(value)).unwrap(), bytes, "{hex}");
        }
    }
    let too_small = from_slice(&unhex("3bffffffffffffffff"), Reader::i64);
    assert_eq!(too_small, Err(DecodeErrorKind::OutOfRange.at(0)));
    assert_eq!(Reader::new(&unhex("3b7fffffffffffffff")).i64(), Ok(i64::MIN));
    assert_eq!(to_vec(|w| w.i64(i64::MIN)).unwrap(), unhex("3b7fffffffffffffff"));
}

#[test]
fn well_formed_deterministic_examples_of_rfc_8949_are_read() {
    for hex in [
        "f4",
        "f5",
        "f6",
        "40",
        "4401020304",
        "60",
        "6161",
        "6449455446",
        "62225c",
        "62c3bc",
        "63e6b0b4",
        "64f0908591",
        "80",
        "83010203",
        "8301820203820405",
        "a0",
        "a201020304",
        "826161a161626163",
        "c074323031332d30332d32315432303a30343a30305a",
        "d74401020304",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
    ] {
        assert_eq!(kind_of(&unhex(hex)), Ok(()), "{hex}");
    }
}

#[test]
fn what_a_deterministic_encoder_never_writes_is_refused() {
    use DecodeErrorKind::*;
    for (hex, kind) in [
        ("", Truncated),
        ("18", Truncated),
        ("1817", NotShortest),
        ("190018", NotShortest),
        ("1900ff", NotShortest),
        ("1a0000ffff", NotShortest),
        ("1b00000000ffffffff", NotShortest),
        ("5800", NotShortest),
        ("9800", NotShortest),
        ("5f42010243030405ff", Indefinite),
        ("7f657374726561646d696e67ff", Indefinite),
        ("9fff", Indefinite),
        ("bf61610161629f0203ffff", Indefinite),
        ("1f", Forbidden),
        ("3f", Forbidden),
        ("df", Forbidden),
        ("ff", Forbidden),
        ("1c", Forbidden),
        ("f90000", Forbidden),
        ("fa47c35000", Forbidden),
        ("fb3ff199999999999a", Forbidden),
        ("f7", Forbidden),
        ("f0", Forbidden),
        ("f818", Forbidden),
        ("f8ff", Forbidden),
        ("61ff", NotUtf8),
        ("4401", Truncated),
        ("5bffffffffffffffff", Truncated),
        ("bbffffffffffffffff", TooLarge),
        ("8180808080", TrailingBytes),
        ("8181818180", TooDeep),
        ("d8408181818180", TooDeep),
        ("0000", TrailingBytes),
    ] {
        assert_eq!(kind_of(&unhex(hex)), Err(kind), "{hex}");
    }
}

#[test]
fn four_levels_are_read_and_the_fifth_is_refused() {
    assert_eq!(kind_of(&unhex("8181818101")), Ok(()));
    assert_eq!(kind_of(&unhex("818181818101")), Err(DecodeErrorKind::TooDeep));
}

#[test]
fn incident_41_nesting_bombs_cost_neither_stack_nor_time() {
    // serde_cbor RUSTSEC-2019-0025: a stack overflow by nesting.
    assert_eq!(kind_of(&vec![0x81; 1_000_000]), Err(DecodeErrorKind::TooDeep));
    assert_eq!(kind_of(&vec![0xc6; 1_000_000]), Err(DecodeErrorKind::TooDeep));
    // dress-up #17: an endless loop over a count that lies.
    assert_eq!(kind_of(&unhex("9bffffffffffffffff")), Err(DecodeErrorKind::Truncated));
}

#[test]
fn map_keys_must_rise() {
    let read = |hex: &str| {
        from_slice(&unhex(hex), |reader| {
            let mut entries = reader.map()?;
            while let Some(key) = entries.next_key(reader)? {
                match key {
                    1 | 2 => drop(reader.u64()?),
                    other => entries.skip_optional(other, reader)?,
                }
            }
            Ok(())
        })
    };
    assert_eq!(read("a201000200"), Ok(()));
    assert_eq!(read("a202000100"), Err(DecodeErrorKind::UnsortedKeys.at(3)));
    assert_eq!(read("a201000100"), Err(DecodeErrorKind::DuplicateKey.at(3)));
    assert_eq!(read("a10300"), Err(DecodeErrorKind::UnknownCriticalKey.at(2)));
    assert_eq!(read("a1183f00"), Err(DecodeErrorKind::UnknownCriticalKey.at(3)));
    assert_eq!(read("a1184000"), Ok(()));
    assert_eq!(read("a11840f93c00"), Err(DecodeErrorKind::Forbidden.at(3)));
}

#[test]
fn map_keys_rise_inside_of_what_is_skipped_too() {
    use DecodeErrorKind::*;
    for (hex, outcome) in [
        // Keys of any type, by their encodings: 10, 100, -1, "z", "aa", [100], [-1], false.
        ("a80a001864002000617a006261610081186400812000f400", Ok(())),
        ("a201000100", Err(DuplicateKey.at(3))),
        ("a202000100", Err(UnsortedKeys.at(3))),
        // A negative number stands behind all positive ones, a longer text behind a shorter one.
        ("a220000100", Err(UnsortedKeys.at(3))),
        ("a262616100617a00", Err(UnsortedKeys.at(5))),
        // Two keys that are containers, the second a copy of the first.
        ("a2810100810100", Err(DuplicateKey.at(4))),
        ("a2a1010200a1010200", Err(DuplicateKey.at(5))),
        // Maps as the values and keys of maps, in arrays and in tags; the key behind an inner map is compared with the
        // outer one before it.
        ("a201a1090002a10800", Ok(())),
        ("a202a1010001a10200", Err(UnsortedKeys.at(5))),
        ("a101a101a202000100", Err(UnsortedKeys.at(7))),
        ("82a10100a10100", Ok(())),
        ("82a10100a201000100", Err(DuplicateKey.at(7))),
        ("d840a201000100", Err(DuplicateKey.at(5))),
        // The same number, but not in its shortest form.
        ("a20100180100", Err(NotShortest.at(3))),
        ("a1019fff", Err(Indefinite.at(2))),
        ("a101f90000", Err(Forbidden.at(2))),
        ("a10181818101", Ok(())),
        ("a1018181818101", Err(TooDeep.at(5))),
    ] {
        let bytes = unhex(hex);
        let mut reader = Reader::new(&bytes);
        assert_eq!(skipped(&mut reader), outcome, "{hex}");
        // The same as the value of an optional key that this version does not know.
        let value = [&[0xa1, 0x18, 0x40], &bytes[..]].concat();
        let as_value = from_slice(&value, |reader| {
            let mut entries = reader.map()?;
            let key = entries.next_key(reader)?.unwrap();
            entries.skip_optional(key, reader)
        });
        let shifted = outcome.map_err(|error: DecodeError| error.kind.at(error.offset + 3));
        assert_eq!(as_value, shifted, "{hex}");
    }
}

#[test]
fn a_full_buffer_is_an_error_and_not_a_cut() {
    let mut buffer = [0; 3];
    assert_eq!(to_slice(&mut buffer, |w| w.bytes(&[1, 2])), Ok(&[0x42, 1, 2][..]));
    assert_eq!(to_slice(&mut buffer, |w| w.bytes(&[1, 2, 3])), Err(EncodeError::BufferFull));
    assert_eq!(encoded_length(|w| w.bytes(&[0; 300])), Ok(303));
}

fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; text.len() / 2];
    assert!(crate::hex::decode(text.as_bytes(), &mut bytes), "{text}");
    bytes
}
