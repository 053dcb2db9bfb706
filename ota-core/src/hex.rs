//! Lower-case hexadecimal digits, the only form in which digests and ids are read and written.

/// Writes the bytes as lower-case hexadecimal digits.
pub(crate) fn fmt(bytes: &[u8], f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `into.len()` bytes from lower-case digits; `false` when the text is anything else.
#[must_use]
pub(crate) fn decode(text: &[u8], into: &mut [u8]) -> bool {
    if into.len().checked_mul(2) != Some(text.len()) {
        return false;
    }
    into.iter_mut().zip(text.chunks_exact(2)).all(|(byte, pair)| match pair {
        [high, low] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => {
                *byte = high << 4 | low;
                true
            }
            _ => false,
        },
        _ => false,
    })
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => character.checked_sub(b'0'),
        b'a'..=b'f' => character.checked_sub(b'a' - 10),
        _ => None,
    }
}
