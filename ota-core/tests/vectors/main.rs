//! The golden vectors of `docs/vectors/protocol.json`, both ways: what another implementation reads there is what this
//! one writes and reads, byte for byte, and refuses for the stated reason at the stated place.

mod cddl;
mod message;

use std::collections::BTreeSet;

use message::{DownMessage, UpMessage};
use ota_core::cbor::DecodeError;
use ota_core::crypto::soft::HmacSha256;
use ota_core::number::BootCounter;
use ota_core::text::DeviceId;
use ota_core::wire::topic::{Direction, Protocol, Topic, TopicPrefix};
use ota_core::wire::{Covered, Down, Up};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    vectors: Vec<Vector>,
    evidence: Vec<EvidenceVector>,
    topics: Vec<TopicVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    direction: String,
    hex: Hex,
    /// What the bytes mean.
    message: Option<serde_json::Value>,
    /// What the meaning is encoded to, where that is not `hex` itself.
    encodes_to: Option<Hex>,
    /// Why the bytes mean nothing.
    refused: Option<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    reason: String,
    offset: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceVector {
    name: String,
    device: String,
    key: Hex,
    boot: u32,
    sequence: u32,
    message: Hex,
    covered: Hex,
    mac: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicVector {
    protocol: String,
    prefix: Option<String>,
    topic: String,
    device: Option<String>,
    direction: Option<String>,
    #[serde(default)]
    refused: bool,
}

/// Bytes, written as lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
        let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => None,
        });
        pairs.collect::<Option<_>>().map(Self).ok_or_else(|| serde::de::Error::custom("not hexadecimal"))
    }
}

fn file() -> File {
    serde_json::from_str(include_str!("../../../docs/vectors/protocol.json")).unwrap()
}

#[test]
fn there_are_vectors_enough_of_both_kinds_and_directions() {
    let file = file();
    let count = |direction: &str, valid: bool| {
        file.vectors
            .iter()
            .filter(|vector| vector.direction == direction && vector.message.is_some() == valid)
            .count()
    };
    assert!(count("up", true) + count("down", true) >= 50);
    assert!(count("up", false) + count("down", false) >= 80);
    for direction in ["up", "down"] {
        assert!(count(direction, true) >= 15 && count(direction, false) >= 25, "{direction}");
    }
    let names: BTreeSet<_> = file.vectors.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), file.vectors.len(), "names are unique");
    for vector in &file.vectors {
        assert_ne!(vector.message.is_some(), vector.refused.is_some(), "{}", vector.name);
    }
}

#[test]
fn every_valid_vector_is_read_to_its_fields_and_written_to_its_bytes() {
    for vector in file().vectors {
        let Some(fields) = vector.message else { continue };
        let name = &vector.name;
        let encoding = vector.encodes_to.as_ref().unwrap_or(&vector.hex);
        let (read, written) = match vector.direction.as_str() {
            "up" => {
                let expected: UpMessage = serde_json::from_value(fields).unwrap();
                expected.lend(|message| (Up::decode(&vector.hex.0) == Ok(message), message.to_vec()))
            }
            "down" => {
                let expected: DownMessage = serde_json::from_value(fields).unwrap();
                let message = expected.lend();
                (Down::decode(&vector.hex.0) == Ok(message), message.to_vec())
            }
            other => panic!("{name}: no such direction: {other}"),
        };
        assert!(read, "{name} is read to other fields");
        assert_eq!(written.as_ref(), Ok(&encoding.0), "{name}");
    }
}

#[test]
fn every_invalid_vector_is_refused_for_its_reason_at_its_place() {
    for vector in file().vectors {
        let Some(refused) = vector.refused else { continue };
        let error: DecodeError = match vector.direction.as_str() {
            "up" => Up::decode(&vector.hex.0).unwrap_err(),
            _ => Down::decode(&vector.hex.0).unwrap_err(),
        };
        let found = (format!("{:?}", error.kind), error.offset);
        assert_eq!(found, (refused.reason, refused.offset), "{}", vector.name);
    }
}

#[test]
fn evidence_covers_the_bytes_and_gives_the_code_of_the_vectors() {
    let vectors = file().evidence;
    assert!(vectors.len() >= 4);
    for vector in vectors {
        let name = &vector.name;
        let key = HmacSha256::new(vector.key.0.as_slice().try_into().unwrap());
        let device = DeviceId::new(&vector.device).unwrap();
        let covered = Covered::of(device, &vector.message.0).unwrap().unwrap();
        assert_eq!(covered.pieces().concat(), vector.covered.0, "{name}");
        assert_eq!(covered.mac().as_slice(), vector.mac.0, "{name}");
        assert_eq!(covered.verify(&key), Ok(()), "{name}");
        // A device writes the same message, unless it holds an extension that this version cannot write.
        let message = Up::decode(&vector.message.0).unwrap();
        if message.to_vec().unwrap() == vector.message.0 {
            let mut buffer = [0; 1024];
            let boot = BootCounter(vector.boot);
            let sent = message.encode_attested(&mut buffer, device, boot, vector.sequence, &key).unwrap();
            assert_eq!(sent, vector.message.0, "{name}");
        } else {
            assert!(name.contains("extension"), "{name}");
        }
    }
}

#[test]
fn topics_are_read_and_written_as_the_vectors_say() {
    let vectors = file().topics;
    assert!(vectors.len() >= 25);
    for vector in vectors {
        let protocol = match (vector.protocol.as_str(), &vector.prefix) {
            ("native", Some(prefix)) => Protocol::Native(TopicPrefix::new(prefix).unwrap()),
            ("sft", None) => Protocol::Sft,
            other => panic!("no such protocol: {other:?}"),
        };
        let parsed = Topic::parse(protocol, &vector.topic);
        if vector.refused {
            assert!(parsed.is_err(), "{:?}", vector.topic);
            continue;
        }
        let direction = match vector.direction.as_deref() {
            Some("up") => Direction::Up,
            Some("down") => Direction::Down,
            other => panic!("no such direction: {other:?}"),
        };
        let device = vector.device.unwrap();
        let expected = Topic { protocol, device: DeviceId::new(&device).unwrap(), direction };
        assert_eq!(parsed, Ok(expected));
        assert_eq!(expected.to_string(), vector.topic);
    }
}

#[test]
fn the_document_names_every_code_and_every_vector_reason() {
    let document = include_str!("../../../docs/protocol.md");
    for code in ota_core::wire::ReportCode::ALL {
        let row = format!("| {} | `{code:?}` |", code.number());
        assert!(document.contains(&row), "no row for {row}");
    }
    for code in ota_core::wire::RefuseCode::ALL {
        let row = format!("| {} | `{code:?}` |", code.number());
        assert!(document.contains(&row), "no row for {row}");
    }
    for phase in ota_core::wire::Phase::ALL {
        let row = format!("| {} | `{phase:?}` |", phase.number());
        assert!(document.contains(&row), "no row for {row}");
    }
    for vector in file().vectors {
        let Some(refused) = vector.refused else { continue };
        let row = format!("| `{}` |", refused.reason);
        assert!(document.contains(&row), "no row for {row}");
    }
}
