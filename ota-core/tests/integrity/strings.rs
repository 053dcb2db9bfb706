//! The grammar of integrity strings: each has one text, and no other text is read.

use ota_core::cbor::{Reader, to_vec};
use ota_core::integrity::{
    Algorithm, IntegrityString, IntegrityStrings, StringError, StringErrorKind, StringsErrorKind,
};
use ota_core::limits::INTEGRITY_STRING_BYTES_MAX;
use ota_core::list::Item;
use ota_core::number::KeyId;
use proptest::prelude::*;

const KEY: KeyId = KeyId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);

/// The bytes 0 to 63, as `base64 | tr +/ -_ | tr -d =` writes them.
const COUNTING: &str =
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw";

/// One string of each algorithm with its text.
fn samples() -> Vec<(IntegrityString, String)> {
    let counting: [u8; 64] = core::array::from_fn(|i| u8::try_from(i).unwrap());
    let short: [u8; 32] = counting[..32].try_into().unwrap();
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    vec![
        (IntegrityString::Crc32([0xcb, 0xf4, 0x39, 0x26]), "crc32:cbf43926".to_owned()),
        (IntegrityString::Sha256(short), format!("sha2-256:{}", digits(&short))),
        (IntegrityString::Sha3_256(short), format!("sha3-256:{}", digits(&short))),
        (IntegrityString::Sha512(counting), format!("sha2-512:{}", digits(&counting))),
        (IntegrityString::Sha3_512(counting), format!("sha3-512:{}", digits(&counting))),
        (
            IntegrityString::EcdsaP256 { key: KEY, signature: counting },
            format!("ecdsa-p256:0123456789abcdef:{COUNTING}"),
        ),
        (
            IntegrityString::Ed25519 { key: KEY, signature: counting },
            format!("ed25519:0123456789abcdef:{COUNTING}"),
        ),
    ]
}

fn parse(text: &str) -> Result<IntegrityString, StringError> {
    text.parse()
}

fn refused(text: &str) -> (StringErrorKind, usize) {
    let error = parse(text).unwrap_err();
    (error.kind, error.offset)
}

#[test]
fn every_algorithm_is_written_and_read_as_specified() {
    for (string, text) in samples() {
        assert_eq!(string.to_string(), text);
        assert_eq!(parse(&text), Ok(string));
        assert!(text.len() <= INTEGRITY_STRING_BYTES_MAX);
        assert_eq!(string.algorithm().to_string(), text.split(':').next().unwrap());
    }
    let longest = samples().iter().map(|(_, text)| text.len()).max();
    assert_eq!(longest, Some(INTEGRITY_STRING_BYTES_MAX));
    assert!(samples().into_iter().map(|(string, _)| string.algorithm()).eq(Algorithm::ALL));
}

#[test]
fn base64url_has_its_own_two_characters() {
    let signature = core::array::from_fn(|i| [0xff, 0xef, 0xbe][i % 3]);
    let text = format!("ed25519:0123456789abcdef:{}_w", "_---".repeat(21));
    assert_eq!(parse(&text), Ok(IntegrityString::Ed25519 { key: KEY, signature }));
    let plain = text.replace('_', "/");
    assert_eq!(parse(&plain).unwrap_err().kind, StringErrorKind::Forbidden);
}

#[test]
fn a_wrong_text_is_refused_with_its_place() {
    use StringErrorKind as Kind;
    let zeros = |count: usize| "0".repeat(count);
    let signed = |value: &str| format!("ed25519:0123456789abcdef:{value}");
    let cases: Vec<(String, Kind, usize)> = vec![
        (String::new(), Kind::Empty, 0),
        ("crc32".into(), Kind::Truncated, 5),
        ("crc32:".into(), Kind::EmptyValue, 6),
        (":cbf43926".into(), Kind::UnknownAlgorithm, 0),
        ("crc32 :cbf43926".into(), Kind::UnknownAlgorithm, 0),
        (" crc32:cbf43926".into(), Kind::UnknownAlgorithm, 0),
        ("md5:d41d8cd98f00b204e9800998ecf8427e".into(), Kind::UnknownAlgorithm, 0),
        ("sha256:cbf43926".into(), Kind::UnknownAlgorithm, 0),
        ("CRC32:cbf43926".into(), Kind::UpperCase, 0),
        ("crC32:cbf43926".into(), Kind::UpperCase, 2),
        ("SHA2-256:".into(), Kind::UpperCase, 0),
        ("crc32:cBf43926".into(), Kind::UpperCase, 7),
        ("crc32:cbf4392G".into(), Kind::Forbidden, 13),
        ("crc32: cbf43926".into(), Kind::Forbidden, 6),
        ("crc32:cbf43926 ".into(), Kind::Trailing, 14),
        ("crc32:cbf43926\n".into(), Kind::Trailing, 14),
        ("crc32:cbf439260".into(), Kind::Trailing, 14),
        ("crc32:cbf4392".into(), Kind::Truncated, 13),
        ("crc32:cbf439é6".into(), Kind::Forbidden, 12),
        ("crc32::cbf43926".into(), Kind::Forbidden, 6),
        (format!("sha2-256:{}", zeros(63)), Kind::Truncated, 72),
        (format!("sha2-256:{}", zeros(65)), Kind::Trailing, 73),
        (format!("sha2-256:{}", zeros(128)), Kind::Trailing, 73),
        (format!("sha2-512:{}", zeros(64)), Kind::Truncated, 73),
        ("ed25519:".into(), Kind::EmptyValue, 8),
        ("ed25519:0123456789abcdef".into(), Kind::Truncated, 24),
        ("ed25519:0123456789abcde:".into(), Kind::Forbidden, 23),
        ("ed25519:0123456789abcdef0:".into(), Kind::Forbidden, 24),
        ("ed25519:0123456789ABCDEF:".into(), Kind::UpperCase, 18),
        (signed(""), Kind::Truncated, 25),
        (signed(&COUNTING[..85]), Kind::Truncated, 110),
        (signed(&COUNTING[..85].replace('A', "=")), Kind::Forbidden, 25),
        (signed(&format!("{COUNTING}==")), Kind::Trailing, 111),
        (signed(&COUNTING.replace('-', "+")), Kind::Forbidden, 25 + COUNTING.find('-').unwrap()),
        // `w` and `x` end in the same two bits that count and differ in those that must be zero.
        (signed(&format!("{}x", &COUNTING[..85])), Kind::NotCanonical, 110),
    ];
    for (text, kind, offset) in cases {
        assert_eq!(refused(&text), (kind, offset), "{text:?}");
    }
}

#[test]
fn an_error_names_the_algorithm_once_it_is_known() {
    assert_eq!(parse("sha3-256:0").unwrap_err().algorithm, Some(Algorithm::Sha3_256));
    assert_eq!(parse("sha3-257:0").unwrap_err().algorithm, None);
    assert_eq!(parse("sha3-256:0").unwrap_err().to_string(), "the value is truncated at byte 10");
}

#[test]
fn incident_6_a_digest_in_the_index_is_never_ignored_for_a_space() {
    // OpenWrt opkg CVE-2020-7982: a space in front of a checksum made the parser drop it silently.
    let (_, sha256) = &samples()[1];
    for text in
        [format!(" {sha256}"), format!("{sha256} "), sha256.replace(':', ": "), sha256.replace(':', " :")]
    {
        assert!(parse(&text).is_err(), "{text:?}");
        assert!(IntegrityStrings::parse(["crc32:cbf43926", &text]).is_err(), "{text:?}");
    }
}

#[test]
fn incident_7_a_truncated_digest_is_refused() {
    // OpenWrt ASU CVE-2024-54143: a SHA-256 was cut to 12 digits before it was compared.
    for (_, text) in samples() {
        for end in 0..text.len() {
            assert!(parse(&text[..end]).is_err(), "{}", &text[..end]);
        }
    }
}

#[test]
fn every_change_of_one_character_is_refused_or_another_string() {
    for (string, text) in samples() {
        for place in 0..text.len() {
            for character in 0..=127_u8 {
                let mut changed = text.clone().into_bytes();
                if changed[place] == character {
                    continue;
                }
                changed[place] = character;
                let changed = String::from_utf8(changed).unwrap();
                if let Ok(other) = parse(&changed) {
                    assert_ne!(other, string, "{changed:?}");
                    assert_eq!(other.to_string(), changed);
                }
            }
        }
    }
}

#[test]
fn a_list_is_sorted_and_holds_each_algorithm_once() {
    let samples = samples();
    let backwards = samples.iter().rev().map(|(_, text)| text.as_str());
    let strings = IntegrityStrings::parse(backwards).unwrap();
    assert!(strings.as_slice().iter().eq(samples.iter().map(|(string, _)| string)));
    assert_eq!(strings.as_list().len(), 7);

    let again = IntegrityStrings::parse(["sha2-256:x"]).unwrap_err();
    assert_eq!(
        (again.index, again.to_string().as_str()),
        (0, "integrity string 0: a character is not allowed at byte 9")
    );
    let twice = IntegrityStrings::parse(["crc32:cbf43926", &samples[1].1, "crc32:00000000"]).unwrap_err();
    assert_eq!((twice.index, twice.kind), (2, StringsErrorKind::Duplicate(Algorithm::Crc32)));
    let none = IntegrityStrings::parse([]).unwrap_err();
    assert_eq!(none.kind, StringsErrorKind::None);

    // A full list refuses more and stays as it is.
    let mut full = strings;
    for (string, _) in samples {
        assert_eq!(full.insert(string), Err(StringsErrorKind::Duplicate(string.algorithm())));
    }
    assert_eq!(full, strings);
}

fn any_string() -> impl Strategy<Value = IntegrityString> {
    let bytes = |length| prop::collection::vec(any::<u8>(), length);
    let signed = (any::<[u8; 8]>(), bytes(64))
        .prop_map(|(key, signature)| (KeyId(key), <[u8; 64]>::try_from(signature).unwrap()));
    prop_oneof![
        any::<[u8; 4]>().prop_map(IntegrityString::Crc32),
        any::<[u8; 32]>().prop_map(IntegrityString::Sha256),
        any::<[u8; 32]>().prop_map(IntegrityString::Sha3_256),
        bytes(64).prop_map(|value| IntegrityString::Sha512(value.try_into().unwrap())),
        bytes(64).prop_map(|value| IntegrityString::Sha3_512(value.try_into().unwrap())),
        signed.clone().prop_map(|(key, signature)| IntegrityString::EcdsaP256 { key, signature }),
        signed.prop_map(|(key, signature)| IntegrityString::Ed25519 { key, signature }),
    ]
}

proptest! {
    #[test]
    fn every_string_survives_text_and_cbor(string in any_string()) {
        let text = string.to_string();
        prop_assert_eq!(parse(&text), Ok(string));
        let bytes = to_vec(|writer| string.encode(writer)).unwrap();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(IntegrityString::decode(&mut reader), Ok(string));
        reader.finish().unwrap();
        prop_assert!(IntegrityString::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn whatever_is_read_is_written_the_same(text in "(crc32|sha2-256|ed25519)?:?[0-9a-fA-F:_\\-]{0,120}|\\PC{0,20}") {
        if let Ok(string) = parse(&text) {
            prop_assert_eq!(string.to_string(), text);
        }
    }
}
