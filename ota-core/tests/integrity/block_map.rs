//! Block maps: built, checked whole and by units, and the arithmetic of files of any size.

use ota_core::block_map::{
    BlockMap, BlockMapBuilder, BlockMapCheck, BlockMapError, UNIT_DIGEST_BYTES, UnitCheck, UnitLayout,
    UnitSource, VerifiedBlockMap, digests_of, sources,
};
use ota_core::crypto::digest;
use ota_core::crypto::soft::SoftSha256;
use ota_core::limits::{BLOCK_MAP_BYTES_MAX, UNIT_BYTES_MAX, UNIT_BYTES_MIN};
use ota_core::number::{ByteLength, ByteOffset, Sha256Digest, UnitIndex};
use ota_core::trust::BlockMapRef;
use proptest::prelude::*;

const UNIT: u32 = 256;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i * 31 + i / 256) % 251).unwrap()).collect()
}

fn build(file: &[u8], pieces: usize) -> BlockMap {
    let mut builder = BlockMapBuilder::<SoftSha256>::new(UNIT).unwrap();
    for piece in file.chunks(pieces) {
        builder.update(piece).unwrap();
    }
    builder.finish().unwrap()
}

fn verified(map: &BlockMap) -> VerifiedBlockMap {
    let mut check = BlockMapCheck::<SoftSha256>::begin(&map.reference, map.file_size).unwrap();
    for piece in map.bytes.chunks(37) {
        check.update(piece).unwrap();
    }
    check.finish().unwrap()
}

fn digest_at(map: &BlockMap, index: UnitIndex, layout: &UnitLayout) -> [u8; UNIT_DIGEST_BYTES] {
    let start = usize::try_from(layout.digest_offset(index).unwrap().0).unwrap();
    map.bytes[start..start + UNIT_DIGEST_BYTES].try_into().unwrap()
}

#[test]
fn a_map_is_the_digests_of_the_units_and_nothing_else() {
    for length in [0, 1, 255, 256, 257, 511, 512, 513, 1000] {
        let file = bytes(length);
        let expected: Vec<u8> = file.chunks(256).flat_map(digest::<SoftSha256>).collect();
        for pieces in [1, 7, 256, 300, 2000] {
            let map = build(&file, pieces);
            assert_eq!(map.bytes, expected, "{length} in pieces of {pieces}");
            assert_eq!(map.reference.digest, Sha256Digest(digest::<SoftSha256>(&expected)));
            assert_eq!(map.reference.size.0, u64::try_from(expected.len()).unwrap());
            assert_eq!(map.file_size.0, u64::try_from(length).unwrap());
        }
        verified(&build(&file, 100));
    }
}

#[test]
fn every_unit_is_checked_on_its_own() {
    let file = bytes(1000);
    let map = build(&file, 1000);
    let receipt = verified(&map);
    let layout = *receipt.layout();
    assert_eq!(layout.count(), 4);
    for (index, unit) in layout.indexes().zip(file.chunks(256)) {
        let digest = digest_at(&map, index, &layout);
        let good = receipt.check_unit::<SoftSha256>(index, &digest, unit).unwrap();
        assert_eq!((good.index(), good.offset()), (index, layout.offset(index).unwrap()));
        assert_eq!(good.length().0, u64::try_from(unit.len()).unwrap());

        let mut bad = unit.to_vec();
        bad[unit.len() / 2] ^= 4;
        let found = receipt.check_unit::<SoftSha256>(index, &digest, &bad);
        assert_eq!(found, Err(BlockMapError::UnitDigest(index)));
        let expected = good.length();
        let wrong = |found| Err(BlockMapError::UnitLength { index, found: ByteLength(found), expected });
        let short = receipt.check_unit::<SoftSha256>(index, &digest, &unit[1..]);
        assert_eq!(short, wrong(expected.0 - 1));
        let long = receipt.check_unit::<SoftSha256>(index, &digest, &[unit, &[0]].concat());
        assert_eq!(long, wrong(expected.0 + 1));

        let mut check = UnitCheck::<SoftSha256>::begin(&receipt, index, &digest).unwrap();
        unit.chunks(9).for_each(|piece| check.update(piece).unwrap());
        assert_eq!(check.finish(), Ok(good));
    }
    let past = UnitIndex(4);
    let found = receipt.check_unit::<SoftSha256>(past, &[0; 32], &[]);
    assert_eq!(found, Err(BlockMapError::NoSuchUnit(past)));
}

#[test]
fn a_map_that_differs_in_one_bit_or_byte_is_refused() {
    let map = build(&bytes(1000), 1000);
    let check = |bytes: &[u8]| {
        let mut check = BlockMapCheck::<SoftSha256>::begin(&map.reference, map.file_size)?;
        check.update(bytes)?;
        check.finish()
    };
    assert!(check(&map.bytes).is_ok());
    for place in 0..map.bytes.len() {
        let mut changed = map.bytes.clone();
        changed[place] ^= 1;
        assert_eq!(check(&changed), Err(BlockMapError::MapDigest));
    }
    let expected = ByteLength(128);
    let wrong = |found| Err(BlockMapError::MapSize { found: ByteLength(found), expected });
    assert_eq!(check(&map.bytes[..127]), wrong(127));
    assert_eq!(check(&[map.bytes.as_slice(), &[0]].concat()), wrong(129));
}

#[test]
fn a_reference_that_does_not_fit_the_file_is_refused_before_anything_is_fetched() {
    let map = build(&bytes(1000), 1000);
    let begin =
        |reference: BlockMapRef, size| BlockMapCheck::<SoftSha256>::begin(&reference, ByteLength(size)).err();
    let sizes = |found, expected| {
        Some(BlockMapError::MapSize { found: ByteLength(found), expected: ByteLength(expected) })
    };
    assert_eq!(begin(map.reference, 1024), None);
    assert_eq!(begin(map.reference, 1025), sizes(128, 160));
    assert_eq!(begin(map.reference, 768), sizes(128, 96));
    let sized = |size| BlockMapRef { size: ByteLength(size), ..map.reference };
    assert_eq!(begin(sized(127), 1000), sizes(127, 128));
    assert_eq!(begin(sized(u64::MAX), 1000), sizes(u64::MAX, 128));
    let divided = |unit| BlockMapRef { unit, ..map.reference };
    for unit in [0, 1, UNIT_BYTES_MIN - 1, UNIT_BYTES_MAX + 1, u32::MAX] {
        assert_eq!(begin(divided(unit), 1000), Some(BlockMapError::UnitBytes(unit)));
    }
}

#[test]
fn sizes_around_the_ends_of_integer_types_are_divided_right() {
    // Incident 37, AWS OTA agent 37fa4f13: a file near the end of 32 bits overflowed the arithmetic of blocks.
    for size in [(1_u64 << 31) - 1, 1 << 31, (1 << 31) + 1, (1 << 32) - 1, 1 << 32, (1 << 32) + 1] {
        for unit in [4096, 4097, UNIT_BYTES_MAX] {
            let layout = match UnitLayout::new(ByteLength(size), unit) {
                Ok(layout) => layout,
                // 2^32 + 1 bytes in units of 4 KiB need one digest more than the largest map holds.
                Err(error) => {
                    assert_eq!((error, size, unit), (BlockMapError::TooLarge, (1 << 32) + 1, 4096));
                    continue;
                }
            };
            let last = UnitIndex(layout.count() - 1);
            let offset = layout.offset(last).unwrap();
            let length = u64::from(layout.length(last).unwrap());
            assert_eq!(offset.0 + length, size);
            assert!(length >= 1 && length <= u64::from(unit));
            assert_eq!(layout.unit_at(ByteOffset(size - 1)), Some(last));
            assert_eq!(layout.unit_at(ByteOffset(size)), None);
            assert_eq!(layout.length(UnitIndex(0)), Ok(unit));
            assert_eq!(layout.digest_offset(last).unwrap().0 + 32, layout.map_size().0);
            let past = UnitIndex(layout.count());
            assert_eq!(layout.offset(past), Err(BlockMapError::NoSuchUnit(past)));
            assert_eq!(layout.length(past), Err(BlockMapError::NoSuchUnit(past)));
            assert_eq!(layout.digest_offset(past), Err(BlockMapError::NoSuchUnit(past)));
        }
    }
    for size in [u64::MAX, u64::MAX - 1, 1 << 63] {
        for unit in [UNIT_BYTES_MIN, UNIT_BYTES_MAX] {
            assert_eq!(UnitLayout::new(ByteLength(size), unit), Err(BlockMapError::TooLarge));
        }
    }
    let largest = BLOCK_MAP_BYTES_MAX / 32 * u64::from(UNIT_BYTES_MAX);
    assert!(UnitLayout::new(ByteLength(largest), UNIT_BYTES_MAX).is_ok());
    assert!(UnitLayout::new(ByteLength(largest + 1), UNIT_BYTES_MAX).is_err());
}

#[test]
fn only_units_that_the_device_lacks_are_fetched() {
    // The old image has units 0 and 2 of the new one, the latter in another place.
    let new = bytes(1000);
    let old = [&new[512..768], &[9; 256], &new[..256]].concat();
    let (new, old) = (build(&new, 1000), build(&old, 1000));
    let present: Vec<_> = digests_of(&old.bytes).collect();
    let find = |_, wanted: &[u8; 32]| present.iter().position(|one| one == wanted);
    let layout = *verified(&new).layout();
    let plan: Vec<_> = sources(&layout, digests_of(&new.bytes), find).map(|(_, source)| source).collect();
    assert_eq!(plan, [UnitSource::Copy(2), UnitSource::Fetch, UnitSource::Copy(0), UnitSource::Fetch]);
    // A map that ends early names nothing that could be copied.
    let short = sources(&layout, digests_of(&new.bytes[..40]), |_, _| Some(()));
    assert!(short.map(|(_, source)| source).eq([
        UnitSource::Copy(()),
        UnitSource::Fetch,
        UnitSource::Fetch,
        UnitSource::Fetch
    ]));
}

proptest! {
    #[test]
    fn units_cover_a_file_without_gap_or_overlap(size in 0_u64..200_000, unit in UNIT_BYTES_MIN..5000) {
        let layout = UnitLayout::new(ByteLength(size), unit).unwrap();
        let mut end = 0;
        for index in layout.indexes() {
            let offset = layout.offset(index).unwrap();
            prop_assert_eq!(offset.0, end);
            let length = u64::from(layout.length(index).unwrap());
            prop_assert!(length > 0);
            end += length;
            prop_assert_eq!(layout.unit_at(offset), Some(index));
            prop_assert_eq!(layout.unit_at(ByteOffset(end - 1)), Some(index));
        }
        prop_assert_eq!(end, size);
        prop_assert_eq!(layout.map_size().0, u64::from(layout.count()) * 32);
    }
}
