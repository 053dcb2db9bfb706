//! Messages against their limits: what is written is read, what is over a limit is neither, and evidence covers all.

use super::*;
use crate::cbor::{DecodeErrorKind, EncodeError, Reader};
use crate::crypto::{Authenticator, MacError};
use crate::limits::{
    ANSWER_BYTES_MAX, ASSIGNMENT_BYTES_MAX, BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BLOCK_MAP_BYTES_MAX,
    BLOCK_OVERHEAD_BYTES_MAX, CONTROL_MESSAGE_BYTES_MAX, DETAIL_BYTES_MAX, ENVELOPE_BYTES_MAX,
    GRANT_BYTES_MAX, INVENTORY_MAX, MESSAGE_BYTES_MAX, RELEASE_BODY_BYTES_MAX, REQUEST_BYTES_MAX,
    ROOT_BODY_BYTES_MAX,
};
use crate::list::List;
use crate::number::{
    BootCounter, ByteLength, ByteOffset, FileIndex, Generation, Nonce, OfferId, ReportSequence, RootVersion,
    SecurityEpoch, Sha256Digest,
};
use crate::text::{Detail, DeviceId, FileName, HardwareRevision, ProductId, Revision};
use crate::time::{Millis, Timestamp};
use crate::trust::Generations;

const OFFER: OfferId = OfferId([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7]);

fn item<'a>(file: &'a str, revision: &'a str) -> InventoryItem<'a> {
    InventoryItem {
        file: FileName::new(file).unwrap(),
        revision: Revision::new(revision).unwrap(),
        digest: None,
    }
}

fn check_in<'a>(inventory: &'a [InventoryItem<'a>]) -> CheckIn<'a> {
    CheckIn {
        product: ProductId::new("pump").unwrap(),
        hardware: HardwareRevision::new("b").unwrap(),
        inventory: List::from_slice(inventory),
        trusted: TrustedSummary {
            root: RootVersion(1),
            epoch: SecurityEpoch(2),
            generations: Generations([Generation(3), Generation(4), Generation(5), Generation(6)]),
        },
        capabilities: Capabilities {
            block_bytes_max: 1024,
            window_max: 8,
            metadata_bytes_max: 4096,
            algorithms: AlgorithmSet(0b10),
            encodings: 0,
            downloads_urls: false,
        },
        nonce: Nonce([9; 16]),
        outcome: None,
        evidence: None,
    }
}

fn want(want: Want<'_>) -> WantBlocks<'_> {
    WantBlocks {
        offer: OFFER,
        grant: &[7; 40],
        part: Part::File(FileIndex(0)),
        offset: ByteOffset(0),
        block_bytes: 1024,
        want,
    }
}

fn report(evidence: Option<Evidence>) -> Report<'static> {
    Report {
        offer: OFFER,
        sequence: ReportSequence(3),
        file: Some(FileIndex(1)),
        phase: Phase::Failed,
        code: ReportCode::IntegrityMismatch,
        done: ByteLength(1 << 33),
        detail: Detail::new("unit 7").unwrap(),
        evidence,
    }
}

fn up_round_trips(message: Up<'_>) {
    let bytes = message.to_vec().unwrap();
    assert_eq!(Up::decode(&bytes), Ok(message));
    assert_eq!(message.encoded_length(), Ok(bytes.len()));
    assert_eq!(Up::decode(&bytes).unwrap().to_vec().unwrap(), bytes);
    for cut in 0..bytes.len() {
        assert!(Up::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        assert_eq!(message.encode_to_slice(&mut vec![0; cut]), Err(EncodeError::BufferFull));
    }
    let trailing = [&bytes[..], &[0]].concat();
    assert_eq!(Up::decode(&trailing), Err(DecodeErrorKind::TrailingBytes.at(bytes.len())));
}

fn down_round_trips(message: Down<'_>) {
    let bytes = message.to_vec().unwrap();
    assert_eq!(Down::decode(&bytes), Ok(message));
    assert_eq!(message.encoded_length(), Ok(bytes.len()));
    for cut in 0..bytes.len() {
        assert!(Down::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let trailing = [&bytes[..], &[0]].concat();
    assert_eq!(Down::decode(&trailing), Err(DecodeErrorKind::TrailingBytes.at(bytes.len())));
}

#[test]
fn every_message_of_a_device_reads_back() {
    let inventory = [
        InventoryItem { digest: Some(Sha256Digest([8; 32])), ..item("app", "1") },
        item("certs/ca.pem", "revision is not available"),
    ];
    let evidence = Some(Evidence { boot: BootCounter(70_000), sequence: 5, mac: [0xee; 32] });
    let outcome = Some(Outcome {
        offer: OFFER,
        phase: Phase::RolledBack,
        code: ReportCode::BootReverted,
        detail: Detail::new("").unwrap(),
    });
    up_round_trips(Up::CheckIn(check_in(&[])));
    up_round_trips(Up::CheckIn(CheckIn { outcome, evidence, ..check_in(&inventory) }));
    up_round_trips(Up::WantBlocks(want(Want::Count(128))));
    up_round_trips(Up::WantBlocks(want(Want::Bitmap(&[0, 0b101, 1]))));
    up_round_trips(Up::Report(report(None)));
    up_round_trips(Up::Report(Report { file: None, ..report(evidence) }));
}

#[test]
fn every_message_of_the_server_reads_back() {
    let roots = RootHint { newest: RootVersion(2), next_body: 900, next_envelope: 200 };
    let offer = Offer {
        assignment: &[1; 200],
        release: ReleaseSizes { body: 700, envelope: 180 },
        roots,
        grant: &[2; 52],
        earliest: Millis(0),
        deadline: Millis(86_400_000),
        reason: Detail::new("closes a hole").unwrap(),
    };
    down_round_trips(Down::Notify(Notify));
    down_round_trips(Down::Offer(offer));
    down_round_trips(Down::UpToDate(UpToDate {
        assignment: &[1; 180],
        roots: RootHint { newest: RootVersion(1), next_body: 0, next_envelope: 0 },
        grant: &[],
        next_check_in: Millis(3_600_000),
        turn: Some(Timestamp(1_800_000_000_000)),
    }));
    down_round_trips(Down::Block(Block {
        offer: [1, 2, 3, 4],
        part: Part::ReleaseBody,
        offset: ByteOffset(512),
        bytes: &[5; 300],
    }));
    down_round_trips(Down::ReportAck(ReportAck { offer: OFFER, sequence: ReportSequence(9) }));
    down_round_trips(Down::Busy(Busy { retry_after: Millis(1500) }));
    down_round_trips(Down::Refuse(Refuse { code: RefuseCode::GrantExpired, offer: Some(OFFER) }));
    down_round_trips(Down::Refuse(Refuse { code: RefuseCode::from_number(900), offer: None }));
    down_round_trips(Down::Cancel(Cancel { assignment: &[3; 190] }));
}

#[test]
fn a_block_adds_at_most_24_bytes_wherever_it_belongs() {
    let payload = vec![0xb1; BLOCK_BYTES_MAX as usize];
    let parts = [
        Part::File(FileIndex(0)),
        Part::File(FileIndex(1023)),
        Part::BlockMap(FileIndex(1023)),
        Part::ReleaseBody,
        Part::ReleaseEnvelope,
        Part::RootBody(RootVersion(u32::MAX)),
        Part::RootEnvelope(RootVersion(u32::MAX)),
    ];
    let mut largest = 0;
    for part in parts {
        for length in [1, 23, 24, 255, 256, 2048, 4096, 65_535, 65_536] {
            // The widest offset there is: the block ends where the largest part of its kind ends.
            let Some(offset) = part.size_max().0.checked_sub(length) else { continue };
            let bytes = &payload[..length as usize];
            let block = Block { offer: [0xff; 4], part, offset: ByteOffset(offset), bytes };
            let encoded = Down::Block(block).to_vec().unwrap();
            let overhead = encoded.len() - bytes.len();
            assert!(overhead <= BLOCK_OVERHEAD_BYTES_MAX, "{part:?} {length}: {overhead}");
            assert!(encoded.len() <= MESSAGE_BYTES_MAX);
            assert_eq!(Down::decode(&encoded), Ok(Down::Block(block)));
            largest = largest.max(overhead);
            let past_the_end = Block { offset: ByteOffset(offset + 1), ..block };
            assert_eq!(Down::Block(past_the_end).to_vec(), Err(EncodeError::TooLarge), "{part:?}");
        }
    }
    assert_eq!(largest, BLOCK_OVERHEAD_BYTES_MAX, "the limit is reached, so a byte more would break it");
}

#[test]
fn incident_1_blocks_around_two_and_four_gibibytes_keep_their_offsets() {
    // RAUC CVE-2026-34155: lengths over 2 GiB overflowed.
    for edge in [1_u64 << 31, 1 << 32, 1 << 63] {
        for offset in [edge - 1, edge, edge + 1] {
            down_round_trips(Down::Block(Block {
                offer: [0; 4],
                part: Part::File(FileIndex(3)),
                offset: ByteOffset(offset),
                bytes: &[1, 2, 3],
            }));
        }
    }
}

#[test]
fn what_no_reader_would_accept_is_not_written() {
    let refused = |message: Up<'_>| {
        assert_eq!(message.to_vec(), Err(EncodeError::TooLarge), "{message:?}");
        assert_eq!(message.encoded_length(), Err(EncodeError::TooLarge), "{message:?}");
    };
    for bad in
        [Want::Count(0), Want::Count(129), Want::Bitmap(&[]), Want::Bitmap(&[1, 0]), Want::Bitmap(&[1; 65])]
    {
        refused(Up::WantBlocks(want(bad)));
    }
    refused(Up::WantBlocks(want(Want::Bitmap(&[0xff; 17]))));
    for block_bytes in [0, BLOCK_BYTES_MIN - 1, BLOCK_BYTES_MAX + 1, u32::MAX] {
        refused(Up::WantBlocks(WantBlocks { block_bytes, ..want(Want::Count(1)) }));
    }
    refused(Up::WantBlocks(WantBlocks { grant: &[0; GRANT_BYTES_MAX + 1], ..want(Want::Count(1)) }));
    refused(Up::WantBlocks(WantBlocks { part: Part::File(FileIndex(1024)), ..want(Want::Count(1)) }));
    refused(Up::WantBlocks(WantBlocks { part: Part::BlockMap(FileIndex(1024)), ..want(Want::Count(1)) }));
    // AWS OTA agent 37fa4f13: block arithmetic near the end of an integer type.
    refused(Up::WantBlocks(WantBlocks { offset: ByteOffset(u64::MAX), ..want(Want::Count(1)) }));
    refused(Up::WantBlocks(WantBlocks { offset: ByteOffset(u64::MAX - 1024), ..want(Want::Count(2)) }));
    refused(Up::WantBlocks(WantBlocks {
        part: Part::BlockMap(FileIndex(0)),
        offset: ByteOffset(BLOCK_MAP_BYTES_MAX),
        ..want(Want::Count(1))
    }));
    refused(Up::CheckIn(check_in(&[item("b", "1"), item("a", "1")])));
    refused(Up::CheckIn(check_in(&[item("a", "1"), item("a", "2")])));
    let capabilities = Capabilities { block_bytes_max: 255, ..check_in(&[]).capabilities };
    refused(Up::CheckIn(CheckIn { capabilities, ..check_in(&[]) }));
    let capabilities = Capabilities { window_max: 0, ..check_in(&[]).capabilities };
    refused(Up::CheckIn(CheckIn { capabilities, ..check_in(&[]) }));
    refused(Up::Report(Report { file: Some(FileIndex(1024)), ..report(None) }));

    let long = vec![0; CONTROL_MESSAGE_BYTES_MAX];
    for message in [
        Down::Cancel(Cancel { assignment: &long[..=ASSIGNMENT_BYTES_MAX] }),
        Down::Block(Block { offer: [0; 4], part: Part::ReleaseBody, offset: ByteOffset(0), bytes: &[] }),
    ] {
        assert_eq!(message.to_vec(), Err(EncodeError::TooLarge), "{message:?}");
    }
}

#[test]
fn a_request_may_ask_for_the_limit_and_not_for_more() {
    let most = REQUEST_BYTES_MAX / BLOCK_BYTES_MIN;
    let smallest = WantBlocks { block_bytes: BLOCK_BYTES_MIN, ..want(Want::Count(most as u16)) };
    up_round_trips(Up::WantBlocks(smallest));
    up_round_trips(Up::WantBlocks(WantBlocks { want: Want::Bitmap(&[0xff; 64]), ..smallest }));
    up_round_trips(Up::WantBlocks(WantBlocks { block_bytes: BLOCK_BYTES_MAX, ..want(Want::Count(2)) }));
    // The last byte of the largest file there can be may be asked for.
    up_round_trips(Up::WantBlocks(WantBlocks { offset: ByteOffset(u64::MAX - 1), ..want(Want::Count(1)) }));
}

#[test]
fn positions_are_the_bits_that_are_set() {
    let positions = |want: Want<'static>| want.positions().collect::<Vec<_>>();
    assert_eq!(positions(Want::Count(3)), [0, 1, 2]);
    assert_eq!(positions(Want::Bitmap(&[0b1000_0001, 0, 0b10])), [0, 7, 17]);
    assert_eq!(Want::Bitmap(&[0b1000_0001, 0, 0b10]).blocks(), 3);
    assert_eq!(Want::Bitmap(&[0b1000_0001, 0, 0b10]).span(), 18);
    assert_eq!(Want::Count(5).span(), 5);
    assert_eq!(Want::Bitmap(&[]).span(), 0);
}

#[test]
fn the_longest_answer_fits_what_a_device_keeps_for_it() {
    let detail = "d".repeat(DETAIL_BYTES_MAX);
    let roots = RootHint { newest: RootVersion(u32::MAX), next_body: 4096, next_envelope: 2048 };
    let longest = Down::Offer(Offer {
        assignment: &[0; ASSIGNMENT_BYTES_MAX],
        release: ReleaseSizes { body: 256 * 1024, envelope: 2048 },
        roots,
        grant: &[0; GRANT_BYTES_MAX],
        earliest: Millis(u64::MAX),
        deadline: Millis(u64::MAX),
        reason: Detail::new(&detail).unwrap(),
    });
    assert!(longest.encoded_length().unwrap() <= ANSWER_BYTES_MAX);
    let up_to_date = Down::UpToDate(UpToDate {
        assignment: &[0; ASSIGNMENT_BYTES_MAX],
        roots,
        grant: &[0; GRANT_BYTES_MAX],
        next_check_in: Millis(u64::MAX),
        turn: Some(Timestamp(u64::MAX)),
    });
    assert!(up_to_date.encoded_length().unwrap() <= ANSWER_BYTES_MAX);
}

#[test]
fn a_check_in_over_the_message_limit_is_neither_written_nor_read() {
    let names: Vec<String> = (0..INVENTORY_MAX).map(|index| format!("{index:04}")).collect();
    let revision = "r".repeat(100);
    let inventory: Vec<_> = names.iter().map(|name| item(name, &revision)).collect();
    let large = Up::CheckIn(check_in(&inventory));
    assert_eq!(large.to_vec(), Err(EncodeError::TooLarge));
    assert_eq!(large.encoded_length(), Err(EncodeError::TooLarge));
    let fits = Up::CheckIn(check_in(&inventory[..500]));
    let bytes = fits.to_vec().unwrap();
    assert_eq!(Up::decode(&bytes), Ok(fits));
    let too_long = vec![0x81; CONTROL_MESSAGE_BYTES_MAX + 1];
    assert_eq!(Up::decode(&too_long).unwrap_err().kind, DecodeErrorKind::WrongType);
    let mut too_long = bytes;
    too_long.resize(CONTROL_MESSAGE_BYTES_MAX + 1, 0);
    assert_eq!(Up::decode(&too_long), Err(DecodeErrorKind::TooLarge.at(0)));
}

#[test]
fn an_unknown_type_is_told_from_a_message_that_cannot_be_read() {
    for unknown in [&[0x81, 0][..], &[0x82, 0x04, 0xf6], &[0x81, 0x18, 0xff], &[0x83, 0x0b, 0xff, 0xff]] {
        let error = Up::decode(unknown).unwrap_err();
        assert_eq!(error, DecodeErrorKind::UnknownType.at(1), "{unknown:02x?}");
        assert_eq!(RefuseCode::from(error), RefuseCode::UnknownType);
    }
    // A device's own message is unknown in the other direction.
    assert_eq!(Up::decode(&[0x81, 12]), Err(DecodeErrorKind::UnknownType.at(1)));
    assert_eq!(Down::decode(&[0x81, 1]), Err(DecodeErrorKind::UnknownType.at(1)));
    for (bytes, code) in [(&[][..], RefuseCode::Malformed), (&[0x80], RefuseCode::Malformed)] {
        assert_eq!(RefuseCode::from(Up::decode(bytes).unwrap_err()), code);
    }
    let too_much = [&[0x87, 2, 0x48][..], &OFFER.0, &[0x40, 0, 0, 0x19, 1, 0, 0x19, 2, 1]].concat();
    assert_eq!(RefuseCode::from(Up::decode(&too_much).unwrap_err()), RefuseCode::TooLarge);
}

#[test]
fn extensions_are_skipped_or_refused_by_their_key() {
    let plain = Down::Busy(Busy { retry_after: Millis(5) });
    assert_eq!(Down::decode(&[0x82, 17, 5]), Ok(plain));
    assert_eq!(Down::decode(&[0x83, 17, 5, 0xa1, 0x18, 64, 0xf6]), Ok(plain));
    assert_eq!(Down::decode(&[0x83, 17, 5, 0xa2, 0x18, 64, 0x80, 0x18, 65, 0x61, b'x']), Ok(plain));
    for (bytes, kind, offset) in [
        (&[0x83, 17, 5, 0xa0][..], DecodeErrorKind::WrongCount, 3),
        (&[0x83, 17, 5, 0xa1, 0x18, 63, 0xf6], DecodeErrorKind::UnknownCriticalKey, 6),
        (&[0x83, 17, 5, 0xa1, 0, 0xf6], DecodeErrorKind::UnknownCriticalKey, 5),
        (&[0x83, 17, 5, 0xa2, 0x18, 65, 0, 0x18, 64, 0], DecodeErrorKind::UnsortedKeys, 7),
        (&[0x83, 17, 5, 0xa2, 0x18, 65, 0, 0x18, 65, 0], DecodeErrorKind::DuplicateKey, 7),
        (&[0x83, 17, 5, 0x81, 0], DecodeErrorKind::WrongType, 3),
        (&[0x84, 17, 5, 0, 0], DecodeErrorKind::WrongCount, 0),
        (&[0x81, 17], DecodeErrorKind::WrongCount, 0),
        (&[0x9f, 17, 5, 0xff], DecodeErrorKind::Indefinite, 0),
        (&[0x82, 17, 0x18, 5], DecodeErrorKind::NotShortest, 2),
        (&[0x82, 17, 0xf9, 0, 0], DecodeErrorKind::Forbidden, 2),
    ] {
        assert_eq!(Down::decode(bytes), Err(kind.at(offset)), "{bytes:02x?}");
    }
}

/// A stand-in for a MAC: it depends on every byte and on their order, which is all that these tests need, also in
/// builds without the software HMAC.
struct Checksum;

impl Authenticator for Checksum {
    fn authenticate(&self, parts: &[&[u8]]) -> Result<[u8; 32], MacError> {
        let mut state = [0_u8; 32];
        for (place, byte) in parts.concat().into_iter().enumerate() {
            state[place % 32] = state[place % 32].rotate_left(3) ^ byte;
            state[(place + 7) % 32] = state[(place + 7) % 32].wrapping_add(byte).wrapping_mul(31);
        }
        Ok(state)
    }
}

/// A key that nobody may ask.
struct Untouched;

impl Authenticator for Untouched {
    fn authenticate(&self, _parts: &[&[u8]]) -> Result<[u8; 32], MacError> {
        Err(MacError::Unavailable)
    }
}

#[test]
fn evidence_is_found_in_the_bytes_received() {
    let device = DeviceId::new("pump-7").unwrap();
    let inventory = [item("app", "1")];
    for message in [Up::Report(report(None)), Up::CheckIn(check_in(&inventory))] {
        let mut buffer = [0; 512];
        let sent = message.encode_attested(&mut buffer, device, BootCounter(4), 1000, &Checksum).unwrap();
        let received = Up::decode(sent).unwrap();
        let covered = Covered::of(device, sent).unwrap().unwrap();
        assert_eq!(covered.verify(&Checksum), Ok(()));
        let mac = *covered.mac();
        assert_eq!(received, message.with_evidence(Evidence { boot: BootCounter(4), sequence: 1000, mac }));
        let joined = covered.pieces().concat();
        let head = [b"ota/v1/evidence/pump-7\0".as_slice(), &sent[..sent.len() - 32]].concat();
        assert_eq!(joined, head, "the code stands last when there is no other extension");
    }
}

#[test]
fn evidence_changes_with_every_byte_and_with_the_device() {
    let device = DeviceId::new("pump-7").unwrap();
    let mut buffer = [0; 256];
    let sent = Up::Report(report(None))
        .encode_attested(&mut buffer, device, BootCounter(4), 1000, &Checksum)
        .unwrap()
        .to_vec();
    let mut readable = 0;
    for place in 0..sent.len() {
        for bit in 0..8 {
            let mut forged = sent.clone();
            forged[place] ^= 1 << bit;
            let Ok(Some(covered)) = Covered::of(device, &forged) else { continue };
            readable += usize::from(Up::decode(&forged).is_ok());
            assert_eq!(covered.verify(&Checksum), Err(MacError::Mismatch), "bit {bit} of byte {place}");
        }
    }
    assert!(readable > 300, "only {readable} forgeries could be read: the test would prove nothing");
    let other = DeviceId::new("pump-8").unwrap();
    let covered = Covered::of(other, &sent).unwrap().unwrap();
    assert_eq!(covered.verify(&Checksum), Err(MacError::Mismatch));
}

#[test]
fn evidence_covers_extensions_that_are_not_known() {
    let device = DeviceId::new("d").unwrap();
    let evidence = Evidence { boot: BootCounter(1), sequence: 2, mac: [0x33; 32] };
    let mut message = Up::Report(report(Some(evidence))).to_vec().unwrap();
    let map = message.len() - 1 - 1 - 1 - 1 - 1 - 34;
    assert_eq!(message[map], 0xa1);
    message[map] = 0xa2;
    message.extend([0x18, 64, 0x05]);
    assert_eq!(Up::decode(&message), Ok(Up::Report(report(Some(evidence)))));
    let covered = Covered::of(device, &message).unwrap().unwrap();
    assert_eq!(covered.mac(), &[0x33; 32]);
    assert!(covered.pieces().concat().ends_with(&[0x58, 32, 0x18, 64, 0x05]));
}

#[test]
fn requests_carry_no_evidence() {
    let device = DeviceId::new("d").unwrap();
    let request = Up::WantBlocks(want(Want::Count(1)));
    let mut buffer = [0; 128];
    let sent = request.encode_attested(&mut buffer, device, BootCounter(1), 1, &Untouched).unwrap();
    assert_eq!(Up::decode(sent), Ok(request));
    assert_eq!(Covered::of(device, sent), Ok(None));
    let report = Up::Report(report(None));
    let refused = report.encode_attested(&mut buffer, device, BootCounter(1), 1, &Untouched);
    assert_eq!(refused, Err(AttestError::Mac(MacError::Unavailable)));
    assert_eq!(Covered::of(device, &report.to_vec().unwrap()), Ok(None));
}

#[test]
fn incident_41_nested_and_lying_messages_end_at_once() {
    // serde_cbor RUSTSEC-2019-0025 (stack overflow by nesting), dress-up #17 (endless loop).
    let nested = [&[0x83, 17, 5, 0xa1, 0x18, 64][..], &[0x81; 1000]].concat();
    assert_eq!(Down::decode(&nested).unwrap_err().kind, DecodeErrorKind::TooDeep);
    let lying = [0x88, 1, 0x61, b'p', 0x61, b'b', 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(Up::decode(&lying), Err(DecodeErrorKind::TooLarge.at(6)));
}

#[test]
fn incident_42_an_unauthenticated_size_asks_for_no_more_than_the_limits() {
    // wolfBoot 08c8bddc: a size was used before the image that held it was verified. The sizes beside an assignment
    // are not signed, so they are held to what signed metadata may be at most; what it is, its signature says.
    let offer = |release: ReleaseSizes, roots: RootHint| {
        Down::Offer(Offer {
            assignment: &[1; 20],
            release,
            roots,
            grant: &[],
            earliest: Millis(0),
            deadline: Millis(0),
            reason: Detail::new("").unwrap(),
        })
        .to_vec()
    };
    let release = ReleaseSizes { body: RELEASE_BODY_BYTES_MAX as u32, envelope: ENVELOPE_BYTES_MAX as u32 };
    let roots = RootHint {
        newest: RootVersion(2),
        next_body: ROOT_BODY_BYTES_MAX as u32,
        next_envelope: ENVELOPE_BYTES_MAX as u32,
    };
    let largest = offer(release, roots).unwrap();
    assert!(Down::decode(&largest).is_ok());
    // Each size by one: first as an encoder, then in the bytes of somebody who does not use ours.
    assert!(offer(ReleaseSizes { body: release.body + 1, ..release }, roots).is_err());
    assert!(offer(ReleaseSizes { envelope: release.envelope + 1, ..release }, roots).is_err());
    assert!(offer(release, RootHint { next_body: roots.next_body + 1, ..roots }).is_err());
    assert!(offer(release, RootHint { next_envelope: roots.next_envelope + 1, ..roots }).is_err());
    let mut forged = 0;
    for at in 0..largest.len() {
        for size in [release.body, release.envelope, roots.next_body] {
            let head = if size > 0xffff { 0x1a } else { 0x19 };
            let bytes = size.to_be_bytes();
            let bytes = if size > 0xffff { &bytes[..] } else { &bytes[2..] };
            if largest[at] == head && largest[at + 1..].starts_with(bytes) {
                let mut lie = largest.clone();
                lie[at + bytes.len()] |= 1;
                assert_eq!(Down::decode(&lie).unwrap_err().kind, DecodeErrorKind::OutOfRange, "at {at}");
                forged += 1;
            }
        }
    }
    assert_eq!(forged, 4);
}

#[test]
fn incident_43_a_claimed_size_costs_nothing() {
    // paho.golang #754: five bytes made the reader allocate 256 MB. Here a length is believed once its bytes are there.
    let bomb = [0x85, 15, 0x44, 0, 0, 0, 0, 0, 0, 0x5a, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(Down::decode(&bomb), Err(DecodeErrorKind::Truncated.at(9)));
    let huge = vec![0; 4 * MESSAGE_BYTES_MAX];
    assert_eq!(Down::decode(&huge), Err(DecodeErrorKind::TooLarge.at(0)));
}

#[test]
fn incidents_33_and_34_elements_of_the_wrong_length_are_refused_where_they_stand() {
    // Zephyr UpdateHub CVE-2020-10022 and CVE-2020-10060: strings copied into fixed arrays, elements used unchecked.
    let bytes = Up::Report(report(None)).to_vec().unwrap();
    let mut reader = Reader::new(&bytes);
    reader.tuple(8).unwrap();
    reader.u64().unwrap();
    assert_eq!(reader.position(), 2);
    for length in [0, 7, 9, 32] {
        let id = vec![1; length];
        let head = if length < 24 { vec![0x40 | length as u8] } else { vec![0x58, length as u8] };
        let forged = [&bytes[..2], &head, &id, &bytes[11..]].concat();
        assert_eq!(Up::decode(&forged), Err(DecodeErrorKind::OutOfRange.at(2)), "{length}");
    }
}

#[test]
fn incidents_32_and_38_a_length_that_is_off_by_one_is_noticed() {
    // mongoose CVE-2026-28525 and MCUboot 90f4e7c3: the guard and the access disagreed about a length by a few bytes.
    for length in [1_u8, 22, 23, 24, 25, 200] {
        let bytes = vec![7; usize::from(length)];
        let head = |length: u8| if length < 24 { vec![0x40 | length] } else { vec![0x58, length] };
        let claim = |claimed: u8| [&[0x82, 19][..], &head(claimed), &bytes].concat();
        assert_eq!(Down::decode(&claim(length)), Ok(Down::Cancel(Cancel { assignment: &bytes })));
        assert_eq!(Down::decode(&claim(length + 1)), Err(DecodeErrorKind::Truncated.at(2)), "{length}");
        let short = claim(length - 1);
        assert_eq!(Down::decode(&short), Err(DecodeErrorKind::TrailingBytes.at(short.len() - 1)), "{length}");
    }
}

#[test]
fn incident_37_ids_and_offsets_are_checked_at_their_last_byte() {
    // AWS OTA agent a0f24c01 and 37fa4f13: an id one byte too long, a size near the end of its integer type.
    let grant = [5; GRANT_BYTES_MAX];
    up_round_trips(Up::WantBlocks(WantBlocks { grant: &grant, ..want(Want::Count(1)) }));
    let last = WantBlocks { offset: ByteOffset(u64::MAX - 1024), ..want(Want::Count(1)) };
    let mut bytes = Up::WantBlocks(last).to_vec().unwrap();
    let count = bytes.len() - 1;
    bytes[count] = 2;
    assert_eq!(Up::decode(&bytes).unwrap_err().kind, DecodeErrorKind::OutOfRange);
}

#[test]
fn incident_40_the_longest_inventory_is_read_and_one_more_is_refused() {
    // python-tuf CVE-2020-6173: resources without a bound.
    let names: Vec<String> = (0..=INVENTORY_MAX).map(|index| format!("{index:04}")).collect();
    let inventory: Vec<_> = names.iter().map(|name| item(name, "1")).collect();
    let longest = Up::CheckIn(check_in(&inventory[1..]));
    let mut bytes = longest.to_vec().unwrap();
    assert_eq!(Up::decode(&bytes), Ok(longest));
    assert_eq!(Up::CheckIn(check_in(&inventory)).to_vec(), Err(EncodeError::TooLarge));
    let head = bytes.windows(3).position(|window| window == [0x99, 4, 0]).unwrap();
    bytes[head + 2] = 1;
    assert_eq!(Up::decode(&bytes), Err(DecodeErrorKind::TooLarge.at(head)));
}
