//! The CDDL of `docs/protocol.md` and `docs/trust.md`, applied to the golden vectors by an implementation that is not
//! ours: who writes a codec from the pages alone gets one that takes what we send.
//!
//! `cddl-cat` knows no tags and searches with regular expressions instead of matching them, so the one are taken off
//! here and the others anchored; nothing else of the pages is changed.

use std::path::Path;

use crate::file;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");
const TRUST: &str = include_str!("../../../docs/trust.md");

/// The vectors whose fault is beyond CDDL: an order, a sum, a relation of two positions, or a character; and how one
/// value may be encoded, which is told in words.
const BEYOND_CDDL: &[&str] = &[
    "a bitmap that ends in a zero byte",
    "a block behind the largest envelope",
    "a block that ends behind 64 bits",
    "a byte behind the end",
    "a detail with a control character",
    "a length not in its shortest form",
    "a request behind the largest block map",
    "a request behind the largest release body",
    "a request over 128 KiB by bitmap",
    "a request over 128 KiB by count",
    "a request whose last block begins behind 64 bits",
    "a revision with a control character",
    "a type not in its shortest form",
    "an array of indefinite length",
    "an extension nested too deeply",
    "an indefinite length inside an extension",
    "an inventory out of order",
    "extensions out of order",
    "keys out of order inside an extension",
    "the same extension twice",
    "the same file twice in an inventory",
    // CDDL can tell the two apart; the reader behind `cddl-cat` does not.
    "undefined for null",
];

/// All CDDL of a page, as one specification.
fn cddl_of(page: &str) -> String {
    let blocks = page.split("```cddl\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let all: String = blocks.collect();
    assert!(!all.is_empty());
    let untagged = all.replace("#6.98([", "[").replace("#6.18([", "[").replace("\n])", "\n]");
    assert!(!untagged.contains("#6"), "a tag that is not taken off");
    let mut anchored = String::new();
    for (index, piece) in untagged.split(".regexp \"").enumerate() {
        match (index, piece.split_once('"')) {
            (0, _) => anchored.push_str(piece),
            (_, Some((expression, rest))) => {
                anchored.push_str(&format!(".regexp \"^(?:{expression})$\"{rest}"));
            }
            (_, None) => panic!("a regular expression without end"),
        }
    }
    anchored
}

fn validate(rule: &str, cddl: &str, bytes: &[u8]) -> Result<(), String> {
    // The page says it in words: a message is one item.
    cddl_cat::validate_cbor_bytes(rule, cddl, bytes).map_err(|error| error.to_string())
}

#[test]
fn every_valid_message_is_what_the_cddl_of_the_protocol_says() {
    let cddl = cddl_of(PROTOCOL);
    let mut asked = 0;
    for vector in file().vectors.iter().filter(|vector| vector.message.is_some()) {
        let found = validate(&vector.direction, &cddl, &vector.hex.0);
        assert_eq!(found, Ok(()), "{}", vector.name);
        asked += 1;
    }
    assert!(asked >= 50, "{asked} vectors");
}

#[test]
fn the_cddl_of_the_protocol_refuses_whatever_cddl_can_refuse() {
    let cddl = cddl_of(PROTOCOL);
    let mut passed: Vec<String> = Vec::new();
    for vector in file().vectors.iter().filter(|vector| vector.refused.is_some()) {
        if validate(&vector.direction, &cddl, &vector.hex.0).is_ok() {
            passed.push(vector.name.clone());
        }
    }
    passed.sort();
    assert_eq!(passed, BEYOND_CDDL);
}

#[test]
fn every_golden_file_is_what_the_cddl_of_signed_metadata_says() {
    let cddl = cddl_of(TRUST);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trust");
    let mut asked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        // Tags 98 and 18, as the pages give them.
        let (rule, tag): (&str, &[u8]) = match name.rsplit_once('.').unwrap() {
            (_, "envelope") => ("envelope", &[0xd8, 98]),
            (_, "signed") => ("signed-assignment", &[0xc0 + 18]),
            ("release", "body") => ("release", &[]),
            (_, "body") => ("root", &[]),
            _ => panic!("{name} is of no kind that the page describes"),
        };
        let untagged = bytes.strip_prefix(tag).unwrap_or_else(|| panic!("{name} has another tag"));
        assert_eq!(validate(rule, &cddl, untagged), Ok(()), "{name}");
        // And the rule is not one that takes anything.
        let other = if rule == "root" { "release" } else { "root" };
        assert!(validate(other, &cddl, untagged).is_err(), "{name} is also a {other}");
        asked += 1;
    }
    assert!(asked >= 10, "{asked} files");
}
