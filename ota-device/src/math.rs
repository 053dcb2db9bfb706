//! Conversions and roundings that can neither overflow nor panic.

/// A length in memory as a number of the formats.
pub(crate) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A number of the formats as a length in memory; what no memory holds becomes the largest length.
pub(crate) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A 32-bit number as a length in memory.
pub(crate) fn from_u32(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The same where the compiler evaluates it; every target that we know has at least 32 bits.
pub(crate) const fn from_u32_const(number: u32) -> usize {
    #[expect(clippy::as_conversions, reason = "usize::try_from is not const, and usize has 32 bits at least")]
    let length = number as usize;
    length
}

/// A length in memory as a 32-bit number.
pub(crate) fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// `count` times `each`, or the largest number. One copy for all: a 32-bit processor takes ten instructions to notice
/// that 64 bits do not suffice.
#[inline(never)]
pub(crate) fn times(count: u64, each: u64) -> u64 {
    count.saturating_mul(each)
}

/// The largest multiple of `step` that is not above `number`; the number itself for a step of 0.
pub(crate) fn round_down(number: u64, step: u64) -> u64 {
    number.saturating_sub(number.checked_rem(step).unwrap_or(0))
}

/// How many pieces of `step` it takes to cover `length`.
pub(crate) fn pieces(length: u64, step: u64) -> u64 {
    length.checked_div(step).map_or(0, |whole| {
        whole.saturating_add(u64::from(length.checked_rem(step).is_some_and(|rest| rest > 0)))
    })
}

/// The least common multiple, or `None` past 64 bits.
pub(crate) fn common_multiple(one: u64, other: u64) -> Option<u64> {
    let (mut a, mut b) = (one, other);
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    one.checked_div(a)?.checked_mul(other)
}

/// The smaller of two lengths in memory and in the formats, in memory.
pub(crate) fn clamp_to_usize(number: u64, most: usize) -> usize {
    to_usize(number).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundings_agree_with_division() {
        assert_eq!(round_down(4097, 4096), 4096);
        assert_eq!(round_down(7, 0), 7);
        assert_eq!(pieces(0, 4), 0);
        assert_eq!(pieces(4, 4), 1);
        assert_eq!(pieces(5, 4), 2);
        assert_eq!(pieces(u64::MAX, 1), u64::MAX);
        assert_eq!(common_multiple(4096, 1024), Some(4096));
        assert_eq!(common_multiple(6, 4), Some(12));
        assert_eq!(common_multiple(u64::MAX, u64::MAX - 1), None);
        assert_eq!(common_multiple(0, 0), None);
    }
}
