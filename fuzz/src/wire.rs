//! Native messages: one encoding each, whatever may be skipped behind them.

use arbitrary::{Arbitrary, Unstructured};
use ota_core::cbor::{DecodeErrorKind, Reader, to_vec};
use ota_core::limits::{BLOCK_OVERHEAD_BYTES_MAX, MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX};
use ota_core::testing::{OwnedDown, OwnedUp};
use ota_core::text::DeviceId;
use ota_core::wire::{Covered, Down, RefuseCode, Up};

/// Reads a message of a device.
pub fn up(data: &[u8]) {
    match Up::decode(data) {
        Ok(message) => {
            assert_eq!(message.to_vec().unwrap(), without_unknown_extensions(data));
            assert_eq!(message.encoded_length(), message.to_vec().map(|bytes| bytes.len()));
            if let Up::WantBlocks(request) = message {
                assert!(request.want.blocks() * request.block_bytes <= REQUEST_BYTES_MAX);
                assert_eq!(request.want.positions().count(), request.want.blocks() as usize);
                let last = u128::from(request.want.span() - 1) * u128::from(request.block_bytes);
                assert!(u128::from(request.offset.0) + last < u128::from(request.part.size_max().0));
            }
        }
        Err(error) => {
            assert!(error.offset <= data.len());
            let is_unknown = error.kind == DecodeErrorKind::UnknownType;
            assert_eq!(RefuseCode::from(error) == RefuseCode::UnknownType, is_unknown);
        }
    }
}

/// Reads a message of the server.
pub fn down(data: &[u8]) {
    match Down::decode(data) {
        Ok(message) => {
            let encoded = message.to_vec().unwrap();
            assert_eq!(encoded, without_unknown_extensions(data));
            if let Down::Block(block) = message {
                assert!(encoded.len() - block.bytes.len() <= BLOCK_OVERHEAD_BYTES_MAX);
                assert!(encoded.len() <= MESSAGE_BYTES_MAX);
                let end = u128::from(block.offset.0) + block.bytes.len() as u128;
                assert!(end <= u128::from(block.part.size_max().0));
            }
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
}

/// Makes valid messages and damages them in one place, to reach behind what random bytes are refused for.
pub fn made(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let (Ok(place), Ok(byte)) = (choices.arbitrary::<u16>(), choices.arbitrary::<u8>()) else { return };
    let damaged = |bytes: &[u8]| {
        let mut damaged = bytes.to_vec();
        let place = usize::from(place) % damaged.len();
        damaged[place] ^= byte;
        damaged
    };
    if let Ok(message) = OwnedUp::arbitrary(&mut choices) {
        up(message.bytes());
        up(&damaged(message.bytes()));
        evidence(&damaged(message.bytes()));
    }
    if let Ok(message) = OwnedDown::arbitrary(&mut choices) {
        down(message.bytes());
        down(&damaged(message.bytes()));
    }
}

/// Finds what evidence covers: together with the code itself it is the whole message, and nothing else.
pub fn evidence(data: &[u8]) {
    let device = DeviceId::new("d").unwrap();
    let covered = Covered::of(device, data);
    let Ok(message) = Up::decode(data) else { return };
    let carried = match message {
        Up::CheckIn(check_in) => check_in.evidence,
        Up::Report(report) => report.evidence,
        Up::WantBlocks(_) => None,
    };
    let covered = covered.expect("what can be read can be searched");
    assert_eq!(covered.map(|covered| *covered.mac()), carried.map(|evidence| evidence.mac));
    if let Some(covered) = covered {
        let [_, _, _, before, after] = covered.pieces();
        assert_eq!([before, covered.mac(), after].concat(), data);
    }
}

/// The message as a writer that knows no optional extension would write it.
fn without_unknown_extensions(message: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(message);
    let count = reader.array(usize::MAX).unwrap();
    let positions: Vec<&[u8]> = (1..count).map(|_| reader.skip().unwrap()).collect();
    let last = reader.position();
    let mut known = Vec::new();
    let Ok(mut entries) = reader.map() else {
        // No position is a map, so there are no extensions.
        return message.to_vec();
    };
    while let Some(key) = entries.next_key(&mut reader).unwrap() {
        let value = reader.skip().unwrap();
        if key < 64 {
            known.push((key, value));
        }
    }
    assert!(last < message.len());
    to_vec(|w| {
        w.array(positions.len() + usize::from(!known.is_empty()))?;
        positions.iter().try_for_each(|position| w.raw(position))?;
        if !known.is_empty() {
            w.map(known.len())?;
        }
        known.iter().try_for_each(|(key, value)| {
            w.u64(*key)?;
            w.raw(value)
        })
    })
    .unwrap()
}
