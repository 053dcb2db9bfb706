//! Every record reads back as it was written, fits its buffer at its largest, and is refused when cut or changed.

use ota_core::device::Slot;
use ota_core::number::{
    BootCounter, ByteLength, FileIndex, Generation, OfferId, ReleaseId, ReportSequence, RootVersion,
    SecurityEpoch, Sha256Digest,
};
use ota_core::time::Timestamp;
use ota_core::trust::{Generations, TrustedState};
use ota_core::wire::{Phase, ReportCode};

use super::*;
use crate::limits::RECORD_BYTES_MAX;

fn largest_trusted() -> TrustedRecord {
    TrustedRecord {
        state: TrustedState {
            root: RootVersion(u32::MAX),
            root_digest: Sha256Digest([0xff; 32]),
            epoch: SecurityEpoch(u32::MAX),
            generations: Generations([Generation(u32::MAX); 4]),
            last_time: Timestamp(u64::MAX),
        },
        root_slot: Slot::B,
        root_bytes: u32::MAX,
        boots: BootCounter(u32::MAX),
    }
}

fn largest_set() -> SetRef {
    SetRef {
        slot: Slot::B,
        bytes: u32::MAX,
        digest: Sha256Digest([1; 32]),
        firmware: Some(Firmware { digest: Sha256Digest([2; 32]), slot: Slot::B }),
    }
}

fn sets() -> Vec<SetsRecord> {
    let outcome = Outcome { phase: Phase::RolledBack, code: ReportCode::BootReverted };
    let attempt = Attempt {
        release: ReleaseId([3; 32]),
        offer: OfferId([4; 8]),
        sequence: ReportSequence(u32::MAX),
        epoch: SecurityEpoch(u32::MAX),
    };
    [
        SetState::Settled(None),
        SetState::Settled(Some(outcome)),
        SetState::Committed,
        SetState::Trial { starts: 255 },
        SetState::Reverting(ReportCode::ConnectivityLost),
    ]
    .into_iter()
    .flat_map(|state| {
        let full =
            SetsRecord { state, kept: largest_set(), other: Some(largest_set()), attempt: Some(attempt) };
        let kept = SetRef { firmware: None, slot: Slot::A, bytes: 0, ..largest_set() };
        [full, SetsRecord { state, kept, other: None, attempt: None }]
    })
    .collect()
}

fn journals() -> [JournalRecord; 3] {
    [
        JournalRecord::Fetching {
            release: ReleaseId([5; 32]),
            body_bytes: u32::MAX,
            envelope_bytes: u32::MAX,
            file: FileIndex(1023),
            done: ByteLength(u64::MAX),
        },
        JournalRecord::Ended { offer: OfferId([6; 8]), phase: Phase::Failed, code: ReportCode::Storage },
        JournalRecord::Nothing,
    ]
}

fn every_cut_is_refused<T: core::fmt::Debug>(bytes: &[u8], decode: impl Fn(&[u8]) -> Option<T>) {
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_none(), "cut to {length}");
    }
    assert!(decode(&[bytes, &[0]].concat()).is_none());
}

#[test]
fn every_record_reads_back_as_it_was_written_and_a_cut_one_is_refused() {
    let buffer = &mut [0; RECORD_BYTES_MAX];
    let trusted = largest_trusted().encode(buffer).unwrap().to_vec();
    assert_eq!(TrustedRecord::decode(&trusted), Ok(largest_trusted()));
    every_cut_is_refused(&trusted, |bytes| TrustedRecord::decode(bytes).ok());
    for record in sets() {
        let bytes = record.encode(buffer).unwrap().to_vec();
        assert_eq!(SetsRecord::decode(&bytes), Ok(record));
        every_cut_is_refused(&bytes, |bytes| SetsRecord::decode(bytes).ok());
    }
    for record in journals() {
        let bytes = record.encode(buffer).unwrap().to_vec();
        assert_eq!(JournalRecord::decode(&bytes), Ok(record));
        every_cut_is_refused(&bytes, |bytes| JournalRecord::decode(bytes).ok());
    }
}

#[test]
fn a_record_of_another_version_is_refused() {
    let buffer = &mut [0; RECORD_BYTES_MAX];
    let mut bytes = journals()[1].encode(buffer).unwrap().to_vec();
    bytes[1] = 2;
    assert!(JournalRecord::decode(&bytes).is_err());
}
