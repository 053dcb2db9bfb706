//! base64url without padding (RFC 4648, section 5), for values of 64 bytes; only the canonical form is read.

use core::fmt::Write as _;

/// Characters that 64 bytes take: 21 groups of 3 bytes and one byte in 2 characters.
pub(super) const CHARACTERS: usize = 86;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Writes the bytes.
pub(super) fn fmt(bytes: &[u8; 64], f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three.iter_mut().zip(group).for_each(|(to, from)| *to = *from);
        let [b0, b1, b2] = three;
        let sextets = [b0 >> 2, b0 << 4 | b1 >> 4, b1 << 2 | b2 >> 6, b2];
        // A group of n bytes takes n + 1 characters.
        for sextet in sextets.iter().take(group.len().saturating_add(1)) {
            let character = ALPHABET.get(usize::from(sextet & 0x3f)).copied().unwrap_or_default();
            f.write_char(char::from(character))?;
        }
    }
    Ok(())
}

/// Why a text is not the canonical form of 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    /// The character at this position is not of the alphabet.
    Forbidden(usize),
    /// The unused bits of the last character are not zero, so that another text would mean the same bytes.
    NotCanonical(usize),
}

/// Reads 64 bytes.
pub(super) fn decode(text: &[u8; CHARACTERS]) -> Result<[u8; 64], Problem> {
    let mut bytes = [0; 64];
    let mut to = bytes.iter_mut();
    // Bits that have been read but do not make up a whole byte yet: at most 6 of them lie in front of the next 6.
    let (mut bits, mut count) = (0_u16, 0_u32);
    for (position, character) in text.iter().enumerate() {
        let sextet = sextet(*character).ok_or(Problem::Forbidden(position))?;
        bits = bits << 6 | u16::from(sextet);
        count = count.saturating_add(6);
        if count >= 8 {
            count = count.saturating_sub(8);
            let [_, byte] = (bits >> count).to_be_bytes();
            if let Some(to) = to.next() {
                *to = byte;
            }
            bits &= !(u16::MAX << count);
        }
    }
    if bits == 0 { Ok(bytes) } else { Err(Problem::NotCanonical(CHARACTERS.saturating_sub(1))) }
}

/// Whether the character is of the alphabet.
pub(super) fn is_character(character: u8) -> bool {
    sextet(character).is_some()
}

fn sextet(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => character.checked_sub(b'A'),
        b'a'..=b'z' => character.checked_sub(b'a' - 26),
        b'0'..=b'9' => character.checked_add(52 - b'0'),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}
