//! Every hash against published answers, and in pieces against in one piece.

use ota_core::crypto::soft::{
    HmacSha256, SoftCrc32, SoftCrc32Fast, SoftCrc32Tiny, SoftSha3_256, SoftSha3_512, SoftSha256, SoftSha512,
};
use ota_core::crypto::{Authenticator, Hasher, MacError, digest, key_id};
use ota_core::number::KeyId;
use proptest::prelude::*;

use crate::support::{hex, unhex};

const KNOWN_ANSWERS: &str = include_str!("../vectors/digests.txt");

#[test]
fn all_known_answers_are_given() {
    let mut counts = [0; 4];
    for line in KNOWN_ANSWERS.lines().filter(|line| !line.starts_with('#')) {
        let [algorithm, _, message, expected] = *line.split(' ').collect::<Vec<_>>() else {
            panic!("{line}")
        };
        let message = if message == "-" { Vec::new() } else { unhex(message) };
        let (place, found) = match algorithm {
            "sha2-256" => (0, hex(&digest::<SoftSha256>(&message))),
            "sha2-512" => (1, hex(&digest::<SoftSha512>(&message))),
            "sha3-256" => (2, hex(&digest::<SoftSha3_256>(&message))),
            "sha3-512" => (3, hex(&digest::<SoftSha3_512>(&message))),
            other => panic!("{other}"),
        };
        assert_eq!(found, expected, "{line}");
        counts[place] += 1;
    }
    assert_eq!(counts, [17, 4, 27, 25]);
}

#[test]
fn a_million_letters_give_the_published_digests() {
    fn letters<H: Hasher>() -> String {
        let mut hasher = H::new();
        // 997 is prime to every block length, so pieces end at every place of a block.
        let piece = [b'a'; 997];
        let mut left = 1_000_000;
        while left > 0 {
            let length = left.min(piece.len());
            hasher.update(&piece[..length]);
            left -= length;
        }
        hex(hasher.finish().as_ref())
    }
    assert_eq!(letters::<SoftSha256>(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_eq!(
        letters::<SoftSha512>(),
        "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973eb\
         de0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"
    );
    assert_eq!(letters::<SoftSha3_256>(), "5c8875ae474a3634ba4fd55ec85bffd661f32aca75c6d699d0cdcb6c115891c1");
    assert_eq!(
        letters::<SoftSha3_512>(),
        "3c3a876da14034ab60627c077bb98f7e120a2a5370212dffb3385a18d4f38859\
         ed311d0a9d5141ce9cc5c66ee689b266a8aa18ace8282a0e0db596c90b0a7b87"
    );
}

#[test]
fn the_check_value_of_crc_32_is_given_by_every_size() {
    // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    assert_eq!(digest::<SoftCrc32>(b"123456789"), [0xcb, 0xf4, 0x39, 0x26]);
    assert_eq!(digest::<SoftCrc32Fast>(b"123456789"), [0xcb, 0xf4, 0x39, 0x26]);
    assert_eq!(digest::<SoftCrc32Tiny>(b"123456789"), [0xcb, 0xf4, 0x39, 0x26]);
    assert_eq!(digest::<SoftCrc32>(b""), [0; 4]);
}

#[test]
fn the_codes_of_rfc_4231_are_given() {
    // Keys shorter than 32 bytes are the same keys when zeros follow, as RFC 2104 pads them.
    let key = |bytes: &[u8]| {
        let mut key = [0; 32];
        key[..bytes.len()].copy_from_slice(bytes);
        HmacSha256::new(&key)
    };
    let fourth: Vec<u8> = (1..=25).collect();
    let cases: [(HmacSha256, &[&[u8]], &str); 4] = [
        (
            key(&[0x0b; 20]),
            &[b"Hi There"],
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            key(b"Jefe"),
            &[b"what do ya want ", b"for nothing?"],
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            key(&[0xaa; 20]),
            &[&[0xdd; 20], &[], &[0xdd; 30]],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (key(&fourth), &[&[0xcd; 50]], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    ];
    for (key, parts, expected) in cases {
        let mut mac = key.authenticate(parts).unwrap();
        assert_eq!(hex(&mac), expected);
        assert_eq!(key.verify(parts, &mac), Ok(()));
        for place in 0..mac.len() {
            mac[place] ^= 0x80;
            assert_eq!(key.verify(parts, &mac), Err(MacError::Mismatch));
            mac[place] ^= 0x80;
        }
        assert!(!format!("{key:?}").contains("0b0b"));
    }
}

#[test]
fn a_key_is_named_by_the_front_of_its_digest() {
    assert_eq!(key_id::<SoftSha256>(b"abc"), KeyId(*b"\xba\x78\x16\xbf\x8f\x01\xcf\xea"));
}

/// Any hasher over bytes cut at these places.
fn in_pieces<H: Hasher>(bytes: &[u8], cuts: &[usize]) -> H::Digest {
    let mut hasher = H::new();
    let mut rest = bytes;
    for cut in cuts {
        let (piece, behind) = rest.split_at(cut % (rest.len() + 1));
        hasher.update(piece);
        rest = behind;
    }
    hasher.update(rest);
    hasher.finish()
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_digest_of_the_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..1500),
        cuts in prop::collection::vec(0_usize..400, 0..12),
    ) {
        prop_assert_eq!(in_pieces::<SoftSha256>(&bytes, &cuts), digest::<SoftSha256>(&bytes));
        prop_assert_eq!(in_pieces::<SoftSha512>(&bytes, &cuts), digest::<SoftSha512>(&bytes));
        prop_assert_eq!(in_pieces::<SoftSha3_256>(&bytes, &cuts), digest::<SoftSha3_256>(&bytes));
        prop_assert_eq!(in_pieces::<SoftSha3_512>(&bytes, &cuts), digest::<SoftSha3_512>(&bytes));
        let crc = digest::<SoftCrc32Tiny>(&bytes);
        prop_assert_eq!(in_pieces::<SoftCrc32>(&bytes, &cuts), crc);
        prop_assert_eq!(in_pieces::<SoftCrc32Fast>(&bytes, &cuts), crc);
        prop_assert_eq!(in_pieces::<SoftCrc32Tiny>(&bytes, &cuts), crc);
    }
}
