//! Block maps: units cover a file without gaps, and a map tells each unit from any other bytes.

use arbitrary::{Arbitrary, Unstructured};
use ota_core::block_map::{
    BlockMapBuilder, BlockMapCheck, UNIT_DIGEST_BYTES, UnitLayout, UnitSource, digests_of, sources,
};
use ota_core::crypto::digest;
use ota_core::crypto::soft::SoftSha256;
use ota_core::number::{ByteLength, ByteOffset, UnitIndex};
use ota_core::trust::BlockMapRef;

/// Divides a file of any size, then builds, checks and damages the map of a small one.
pub fn block_map(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let drawn = (u64::arbitrary(&mut choices), u32::arbitrary(&mut choices), u32::arbitrary(&mut choices));
    let (Ok(size), Ok(unit), Ok(index)) = drawn else { return };
    layout(ByteLength(size), unit, index);
    if let Ok(reference) = BlockMapRef::arbitrary(&mut choices) {
        layout(ByteLength(size), reference.unit, index);
        if let Ok(mut check) = BlockMapCheck::<SoftSha256>::begin(&reference, ByteLength(size)) {
            let taken = if check.update(data).is_ok() { data } else { &[] };
            // A fuzzer sees digests being compared, so it does find some: that of no bytes at all, for one.
            let is_the_map = taken.len() as u64 == reference.size.0
                && digest::<SoftSha256>(taken).as_slice() == reference.digest.0.as_slice();
            assert_eq!(check.finish().is_ok(), is_the_map);
        }
    }
    small_file(choices.take_rest(), index);
}

fn layout(size: ByteLength, unit: u32, index: u32) {
    let Ok(layout) = UnitLayout::new(size, unit) else { return };
    let count = u64::from(layout.count());
    assert_eq!(count, size.0.div_ceil(u64::from(unit)));
    assert_eq!(layout.map_size().0, count * UNIT_DIGEST_BYTES as u64);
    let last = UnitIndex(layout.count().saturating_sub(1));
    for index in [UnitIndex(index), UnitIndex(index % layout.count().max(1)), last, UnitIndex(0)] {
        match (layout.offset(index), layout.length(index), layout.digest_offset(index)) {
            (Ok(offset), Ok(length), Ok(digest)) => {
                assert!(u64::from(index.0) < count && length > 0 && length <= unit);
                assert!(digest.0 + UNIT_DIGEST_BYTES as u64 <= layout.map_size().0);
                assert_eq!(layout.unit_at(offset), Some(index));
                let end = offset.0 + u64::from(length);
                assert_eq!(layout.unit_at(ByteOffset(end - 1)), Some(index));
                assert_eq!(end == size.0, index == last, "the last unit ends the file");
            }
            (Err(_), Err(_), Err(_)) => assert!(u64::from(index.0) >= count),
            mixed => panic!("{mixed:?}"),
        }
    }
    assert_eq!(layout.unit_at(ByteOffset(size.0)), None);
}

fn small_file(file: &[u8], choice: u32) {
    let unit = 256 + choice % 256;
    let mut builder = BlockMapBuilder::<SoftSha256>::new(unit).unwrap();
    let (one, other) = file.split_at(file.len() / 3);
    builder.update(one).unwrap();
    builder.update(other).unwrap();
    let map = builder.finish().unwrap();
    let mut check = BlockMapCheck::<SoftSha256>::begin(&map.reference, map.file_size).unwrap();
    check.update(&map.bytes).unwrap();
    let verified = check.finish().unwrap();
    for (index, digest) in verified.layout().indexes().zip(digests_of(&map.bytes)) {
        let start = verified.layout().offset(index).unwrap().0 as usize;
        let end = start + verified.layout().length(index).unwrap() as usize;
        let bytes = &file[start..end];
        assert!(verified.check_unit::<SoftSha256>(index, &digest, bytes).is_ok());
        let mut damaged = bytes.to_vec();
        damaged[choice as usize % bytes.len()] ^= 1;
        assert!(verified.check_unit::<SoftSha256>(index, &digest, &damaged).is_err());
        assert!(verified.check_unit::<SoftSha256>(index, &digest, &bytes[1..]).is_err());
    }
    let planned: Vec<_> =
        sources(verified.layout(), digests_of(&map.bytes), |index, _| Some(index)).collect();
    assert_eq!(planned.len(), verified.layout().count() as usize);
    assert!(planned.iter().all(|(index, source)| *source == UnitSource::Copy(*index)));
}
