//! Which units of a new file need not be fetched, because the device holds the same bytes already.
//!
//! This only plans. A unit that is copied is checked against the map like one that is fetched, so a wrong answer
//! about what is there costs a fetch and nothing else.

use super::{UNIT_DIGEST_BYTES, UnitLayout};
use crate::number::UnitIndex;

/// Where the bytes of a unit come from. `P` is whatever the caller finds his bytes by: an offset, a unit of the
/// running image, a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnitSource<P> {
    /// From the server.
    Fetch,
    /// From a place on the device.
    Copy(P),
}

/// For every unit of a file, in order, where its bytes come from.
///
/// `digests` are the map's, in order; `find` tells where on the device a unit with this digest lies, if anywhere.
/// The units missing are those with [`UnitSource::Fetch`]. A map that is shorter than the layout says leaves the
/// rest to be fetched.
pub fn sources<P>(
    layout: &UnitLayout,
    digests: impl IntoIterator<Item = [u8; UNIT_DIGEST_BYTES]>,
    mut find: impl FnMut(UnitIndex, &[u8; UNIT_DIGEST_BYTES]) -> Option<P>,
) -> impl Iterator<Item = (UnitIndex, UnitSource<P>)> {
    let mut digests = digests.into_iter();
    layout.indexes().map(move |index| {
        let place = digests.next().and_then(|digest| find(index, &digest));
        (index, place.map_or(UnitSource::Fetch, UnitSource::Copy))
    })
}

/// The digests of a map that is in memory, in order. Bytes behind the last whole digest are not one.
pub fn digests_of(map: &[u8]) -> impl ExactSizeIterator<Item = [u8; UNIT_DIGEST_BYTES]> + '_ {
    let (digests, _) = map.as_chunks::<UNIT_DIGEST_BYTES>();
    digests.iter().copied()
}
