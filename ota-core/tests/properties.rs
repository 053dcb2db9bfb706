//! What holds for every value of every type: it reads back from what it writes, one encoding each, and no cut or
//! flipped bit is mistaken for something else without notice.

use arbitrary::{Arbitrary, Unstructured};
use ota_core::cbor::{DecodeErrorKind, Reader};
use ota_core::integrity::{IntegrityString, IntegrityStrings};
use ota_core::limits::{BLOCK_OVERHEAD_BYTES_MAX, REQUEST_BYTES_MAX, TOPIC_BYTES_MAX};
use ota_core::list::Item;
use ota_core::number::{ByteLength, ByteOffset, FileIndex, KeyId, Nonce, OfferId, ReleaseId, Sha256Digest};
use ota_core::testing::{
    Owned, OwnedAssignment, OwnedDown, OwnedFile, OwnedInventoryItem, OwnedRelease, OwnedRequirement,
    OwnedRoot, OwnedSftDown, OwnedSftUp, OwnedUp, View,
};
use ota_core::text::{
    DetailBuf, DeviceIdBuf, FileNameBuf, HardwareRevisionBuf, InstallTargetBuf, PackageNameBuf, ProductIdBuf,
    RevisionBuf, UrlBuf,
};
use ota_core::wire::topic::{Direction, Protocol, Topic, TopicPrefix};
use ota_core::wire::{Down, Part, Up, Want};
use proptest::prelude::*;

/// Reading gives the value back, writing gives the bytes back, and no beginning of them is whole.
fn reads_back<V: View>(owned: &Owned<V>) {
    let view = owned.lend();
    assert_eq!(V::encode(&view).as_deref(), Some(owned.bytes()));
    for cut in 0..owned.bytes().len() {
        assert_eq!(V::decode(&owned.bytes()[..cut]), None, "cut at {cut}");
    }
    let longer = [owned.bytes(), &[0]].concat();
    assert_eq!(V::decode(&longer), None, "a byte behind the end");
}

/// With a bit flipped it is refused or means something else, never the same: there is one encoding of each value.
fn flips_are_noticed<V: View>(owned: &Owned<V>, place: prop::sample::Index, bit: u32) {
    let mut flipped = owned.bytes().to_vec();
    let place = place.index(flipped.len());
    flipped[place] ^= 1 << bit;
    if let Some(other) = V::decode(&flipped) {
        assert_ne!(other, owned.lend(), "bit {bit} of byte {place}");
    }
}

macro_rules! views_read_back {
    ($($name:ident: $type:ty;)*) => {
        $(proptest! {
            #[test]
            fn $name(owned: $type, place: prop::sample::Index, bit in 0..8_u32) {
                reads_back(&owned);
                flips_are_noticed(&owned, place, bit);
            }
        })*
    };
}

views_read_back! {
    every_message_of_a_device_reads_back: OwnedUp;
    every_message_of_the_server_reads_back: OwnedDown;
    every_inventory_item_reads_back: OwnedInventoryItem;
    every_assignment_reads_back: OwnedAssignment;
    every_file_reads_back: OwnedFile;
    every_requirement_reads_back: OwnedRequirement;
    every_release_reads_back: OwnedRelease;
    every_root_reads_back: OwnedRoot;
}

proptest! {
    // The original protocol is read leniently: a flipped bit may turn an unknown key into another unknown key, so only
    // reading back is promised.
    #[test]
    fn every_message_of_an_original_device_reads_back(owned: OwnedSftUp) {
        reads_back(&owned);
    }

    #[test]
    fn every_message_to_an_original_device_reads_back(owned: OwnedSftDown) {
        reads_back(&owned);
    }

    #[test]
    fn every_text_reads_back(
        names: (ProductIdBuf, PackageNameBuf, HardwareRevisionBuf, InstallTargetBuf, FileNameBuf),
        free: (DeviceIdBuf, RevisionBuf, UrlBuf, DetailBuf),
    ) {
        macro_rules! same {
            ($($value:expr, $type:ty;)*) => {
                $(prop_assert_eq!($value.to_string().parse::<$type>(), Ok($value.clone()));)*
            };
        }
        same! {
            names.0, ProductIdBuf; names.1, PackageNameBuf; names.2, HardwareRevisionBuf;
            names.3, InstallTargetBuf; names.4, FileNameBuf;
            free.0, DeviceIdBuf; free.1, RevisionBuf; free.2, UrlBuf; free.3, DetailBuf;
        }
    }

    #[test]
    fn every_identity_reads_back(ids: (KeyId, OfferId, ReleaseId, Sha256Digest, Nonce)) {
        prop_assert_eq!(KeyId::from_hex(&ids.0.to_string()), Some(ids.0));
        prop_assert_eq!(OfferId::from_hex(&ids.1.to_string()), Some(ids.1));
        prop_assert_eq!(ReleaseId::from_hex(&ids.2.to_string()), Some(ids.2));
        prop_assert_eq!(Sha256Digest::from_hex(&ids.3.to_string()), Some(ids.3));
        prop_assert_eq!(Nonce::from_hex(&ids.4.to_string()), Some(ids.4));
    }

    #[test]
    fn every_integrity_string_reads_back_in_both_forms(string: IntegrityString, strings: IntegrityStrings) {
        prop_assert_eq!(string.to_string().parse::<IntegrityString>(), Ok(string));
        let bytes = ota_core::cbor::to_vec(|w| string.encode(w)).unwrap();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(IntegrityString::decode(&mut reader), Ok(string));
        prop_assert_eq!(reader.finish(), Ok(()));
        let texts: Vec<_> = strings.as_slice().iter().map(IntegrityString::to_string).collect();
        prop_assert_eq!(IntegrityStrings::parse(texts.iter().map(String::as_str)), Ok(strings));
    }

    #[test]
    fn every_part_reads_back_from_its_number(part: Part, index: FileIndex) {
        prop_assert_eq!(Part::from_number(part.number()), Some(part));
        prop_assert_eq!(FileIndex::new(index.0.into()), Some(index));
    }

    #[test]
    fn every_device_has_topics_of_its_own(one: DeviceIdBuf, other: DeviceIdBuf) {
        for protocol in [Protocol::Native(TopicPrefix::DEFAULT), Protocol::Sft] {
            for direction in [Direction::Up, Direction::Down] {
                let topic = Topic { protocol, device: one.borrow(), direction };
                let mut buffer = [0; TOPIC_BYTES_MAX];
                let text = topic.write_to(&mut buffer).expect("every topic fits");
                prop_assert_eq!(Topic::parse(protocol, text), Ok(topic));
                prop_assert_eq!(text.matches('/').count(), if protocol == Protocol::Sft { 4 } else { 3 });
                let others = Topic { device: other.borrow(), ..topic };
                prop_assert_eq!(text == others.to_string(), one == other);
            }
        }
    }

    #[test]
    fn no_block_adds_more_than_its_limit(owned: OwnedDown) {
        if let Down::Block(block) = owned.lend() {
            prop_assert!(owned.bytes().len() - block.bytes.len() <= BLOCK_OVERHEAD_BYTES_MAX);
        }
    }

    #[test]
    fn no_request_asks_for_more_than_its_limit(owned: OwnedUp) {
        if let Up::WantBlocks(request) = owned.lend() {
            prop_assert!(request.want.blocks() * request.block_bytes <= REQUEST_BYTES_MAX);
            let positions: Vec<_> = request.want.positions().collect();
            prop_assert_eq!(positions.len(), request.want.blocks() as usize);
            prop_assert_eq!(positions.last().map(|last| last + 1), Some(request.want.span()));
            if let Want::Bitmap(bitmap) = request.want {
                for position in positions {
                    prop_assert_eq!(bitmap[position as usize / 8] >> (position % 8) & 1, 1);
                }
            }
        }
    }

    #[test]
    fn offsets_and_lengths_never_wrap(offset: ByteOffset, length: ByteLength, size: ByteLength) {
        let end = u128::from(offset.0) + u128::from(length.0);
        prop_assert_eq!(offset.fits(length, size), end <= u128::from(size.0));
        prop_assert_eq!(offset.checked_add(length).map(|end| u128::from(end.0)), u64::try_from(end).ok().map(u128::from));
    }

    #[test]
    fn bytes_of_anybody_are_refused_without_a_panic(bytes: Vec<u8>, from in 0..32_u8) {
        for first in [None, Some([0x80 | (from % 24), from])] {
            let message = [first.map_or(vec![], Vec::from), bytes.clone()].concat();
            let _ = Up::decode(&message);
            let _ = Down::decode(&message);
            let _ = ota_core::sft::Up::decode(&message);
            let _ = ota_core::sft::Down::decode(&message);
        }
    }

    #[test]
    fn an_error_points_into_the_message(owned: OwnedUp, place: prop::sample::Index, byte: u8) {
        let mut message = owned.bytes().to_vec();
        let place = place.index(message.len());
        message[place] = byte;
        if let Err(error) = Up::decode(&message) {
            prop_assert!(error.offset <= message.len());
            prop_assert_ne!(error.kind, DecodeErrorKind::TooDeep);
        }
    }
}

/// The generators reach what the properties above are about: a property over nothing would hold as well.
#[test]
fn every_kind_of_message_is_generated() {
    let mut seen = [0_u32; 15];
    for seed in 0..2000_u64 {
        // A simple generator of its own keeps the test the same on every machine.
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes: Vec<u8> = (0..700)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        let mut unstructured = Unstructured::new(&bytes);
        let (up, down) = (
            OwnedUp::arbitrary(&mut unstructured).unwrap(),
            OwnedDown::arbitrary(&mut unstructured).unwrap(),
        );
        let up = match up.lend() {
            Up::CheckIn(check_in) => usize::from(check_in.inventory.len() > 2),
            Up::WantBlocks(request) => 2 + usize::from(matches!(request.want, Want::Bitmap(_))),
            Up::Report(report) => 4 + usize::from(report.evidence.is_some()),
        };
        let down = match down.lend() {
            Down::Notify(_) => 6,
            Down::Offer(_) => 7,
            Down::UpToDate(_) => 8,
            Down::Block(block) => 9 + usize::from(block.offset.0 > u64::from(u32::MAX)),
            Down::ReportAck(_) => 11,
            Down::Busy(_) => 12,
            Down::Refuse(_) => 13,
            Down::Cancel(_) => 14,
        };
        seen[up] += 1;
        seen[down] += 1;
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

#[test]
fn fewer_choices_give_the_smallest_value() {
    let mut nothing = Unstructured::new(&[]);
    let request = OwnedUp::arbitrary(&mut nothing).unwrap();
    let Up::WantBlocks(request) = request.lend() else { panic!("{request:?}") };
    assert_eq!((request.want, request.offset.0, request.block_bytes), (Want::Count(1), 0, 256));
    assert_eq!(DeviceIdBuf::arbitrary(&mut nothing).unwrap().as_str(), "a");
}

#[cfg(feature = "fleet")]
mod fleet {
    use ota_core::fleet::{AuditEntry, CounterKey, Key, Record, Unit};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_record_reads_back(record: Record) {
            let bytes = record.to_bytes();
            prop_assert_eq!(Record::from_bytes(record.table(), &bytes), Ok(record));
        }

        #[test]
        fn every_key_reads_back_and_keys_sort_as_their_bytes(one: Key, other: Key) {
            prop_assert_eq!(Key::from_bytes(one.table(), &one.to_bytes()), Some(one.clone()));
            if one.table() == other.table() {
                prop_assert_eq!(one == other, one.to_bytes() == other.to_bytes());
            }
        }

        #[test]
        fn every_counter_reads_back(key: CounterKey) {
            prop_assert_eq!(CounterKey::from_bytes(&key.to_bytes()), Some(key));
        }

        #[test]
        fn every_entry_of_the_audit_chain_is_intact_until_it_is_changed(entry: AuditEntry, other: AuditEntry) {
            prop_assert!(entry.is_intact());
            if entry.draft != other.draft {
                let forged = AuditEntry { draft: other.draft, ..entry };
                prop_assert!(!forged.is_intact());
            }
        }

        #[test]
        fn every_unit_expects_what_it_writes(unit: Unit) {
            for write in &unit.writes {
                prop_assert!(unit.expects.iter().any(|(key, _)| *key == write.key));
            }
        }
    }
}
