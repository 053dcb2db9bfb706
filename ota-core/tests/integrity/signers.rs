//! Signing, and the refusals of the two verifiers beyond what the Wycheproof vectors ask.

use ota_core::crypto::sign::{EcdsaP256Signer, Ed25519Signer, SignError, Signer, sign_checked};
use ota_core::crypto::soft::{EcdsaP256, Ed25519};
use ota_core::crypto::{
    Either, NoSignatures, SIGNATURE_BYTES, SignatureAlgorithm, SignatureError, SignatureVerifier,
};
use ota_core::trust::Key;

use crate::support::{VERIFIER, ed25519, hex, key_of, p256, unhex};

/// A signer that reports one key and signs with another.
struct Mixed<'s> {
    reports: &'s dyn Signer,
    signs: &'s dyn Signer,
}

impl Signer for Mixed<'_> {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.reports.algorithm()
    }

    fn public_key(&self) -> &[u8] {
        self.reports.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], SignError> {
        self.signs.sign(message)
    }
}

#[test]
fn a_signature_by_another_key_than_the_expected_one_is_not_published() {
    // Incident 8, wolfBoot F-8003: the secondary key overwrote the primary, and signed in its place.
    let (first, second, third) = (ed25519(), Ed25519Signer::from_seed(&[8; 32]), p256());
    let (_, expected) = key_of(&first);
    let honest = sign_checked(&first, expected, &VERIFIER, b"message").unwrap();
    assert_eq!(VERIFIER.verify(expected.algorithm, expected.public, b"message", &honest), Ok(()));

    let wrong_key = Err(SignError::WrongKey);
    assert_eq!(sign_checked(&second, expected, &VERIFIER, b"message"), wrong_key);
    assert_eq!(sign_checked(&third, expected, &VERIFIER, b"message"), wrong_key);
    let mixed = Mixed { reports: &first, signs: &second };
    let found = sign_checked(&mixed, expected, &VERIFIER, b"message");
    assert_eq!(found, Err(SignError::SelfCheck(SignatureError::Mismatch)));
    // What cannot be verified here is not published either.
    let found = sign_checked(&first, expected, &NoSignatures, b"message");
    assert_eq!(found, Err(SignError::SelfCheck(SignatureError::Unsupported)));
}

#[test]
fn incident_45_the_public_half_cannot_be_chosen_by_the_caller() {
    // ed25519-dalek RUSTSEC-2022-0093: signing with a foreign public key gave the private one away.
    // Here a signer is made from the seed alone, so the only signatures are those of RFC 8032, section 7.1.
    let seed = unhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let signer = Ed25519Signer::from_seed(&seed.try_into().unwrap());
    assert_eq!(hex(signer.public_key()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(
        hex(&signer.sign(b"").unwrap()),
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    );
}

#[test]
fn the_signatures_of_rfc_6979_are_made() {
    let scalar = unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
    let signer = EcdsaP256Signer::from_scalar(&scalar.try_into().unwrap()).unwrap();
    assert_eq!(
        hex(signer.public_key()),
        "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
    );
    assert_eq!(
        hex(&signer.sign(b"sample").unwrap()),
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
         f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
    );
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    for bad in [unhex(order), vec![0; 32], vec![0xff; 32]] {
        assert_eq!(EcdsaP256Signer::from_scalar(&bad.try_into().unwrap()).err(), Some(SignError::PrivateKey));
    }
}

#[test]
fn nothing_shows_a_private_key() {
    let shown = [format!("{:?}", Ed25519Signer::from_seed(&[0xa7; 32])), format!("{:?}", p256())];
    for (shown, secret) in shown.iter().zip(["a7a7a7a7", "09090909"]) {
        assert!(!shown.contains(secret) && !shown.contains("167, 167") && !shown.contains("9, 9"), "{shown}");
        assert!(shown.contains("public"), "{shown}");
    }
}

#[test]
fn a_malleable_ed25519_signature_is_refused() {
    // Incident 45, salty: S and S + L were both accepted.
    let signer = ed25519();
    let mut signature = signer.sign(b"message").unwrap();
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0_u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
    let found = Ed25519.verify(SignatureAlgorithm::Ed25519, signer.public_key(), b"message", &signature);
    assert_eq!(found, Err(SignatureError::Mismatch));
}

#[test]
fn an_ed25519_key_of_small_order_or_with_a_second_encoding_is_refused() {
    let verify = |key: &[u8], signature: &[u8; 64]| {
        Ed25519.verify(SignatureAlgorithm::Ed25519, key, b"message", signature)
    };
    // Under the neutral element, R = 0 and S = 0 would verify for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut forged = [0; 64];
    forged[0] = 1;
    assert_eq!(verify(&neutral, &forged), Err(SignatureError::PublicKey));
    // y = p + 3 is a second encoding of y = 3, and 3 is the y of a point of large order.
    let mut canonical = [0; 32];
    canonical[0] = 3;
    let mut second = [0xff; 32];
    (second[0], second[31]) = (0xf0, 0x7f);
    assert_eq!(verify(&canonical, &[0; 64]), Err(SignatureError::Mismatch));
    assert_eq!(verify(&second, &[0; 64]), Err(SignatureError::PublicKey));
    for length in [0, 31, 33] {
        assert_eq!(verify(&vec![1; length], &forged), Err(SignatureError::PublicKey));
    }
}

#[test]
fn a_p256_key_has_one_encoding_and_a_signature_has_two() {
    let signer = p256();
    let signature = signer.sign(b"message").unwrap();
    let verify = |key: &[u8], signature: &[u8; 64]| {
        EcdsaP256.verify(SignatureAlgorithm::EcdsaP256, key, b"message", signature)
    };
    let compressed = signer.public_key().to_vec();
    assert_eq!(verify(&compressed, &signature), Ok(()));

    // (r, n - s) is as valid as (r, s): subtract from the order of the curve.
    let order = unhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let mut other = signature;
    let mut borrow = 0_i16;
    for (byte, from) in other[32..].iter_mut().zip(order).rev() {
        let difference = i16::from(from) - i16::from(*byte) - borrow;
        borrow = i16::from(difference < 0);
        *byte = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    assert_ne!(other, signature);
    assert_eq!(verify(&compressed, &other), Ok(()));

    // The compact encoding of SEC 1 has 33 bytes too, and uncompressed and hybrid ones have 65.
    for tag in [0, 1, 4, 5, 6, 7] {
        let mut key = compressed.clone();
        key[0] = tag;
        assert_eq!(verify(&key, &signature), Err(SignatureError::PublicKey), "{tag}");
    }
    let mut off_the_curve = compressed.clone();
    off_the_curve[1..].fill(0xff);
    for key in [&compressed[..32], &[compressed.as_slice(), &[0]].concat(), &off_the_curve, &[]] {
        assert_eq!(verify(key, &signature), Err(SignatureError::PublicKey));
    }
    assert_eq!(verify(&compressed, &[0; 64]), Err(SignatureError::Mismatch));
    assert_eq!(verify(&compressed, &[0xff; 64]), Err(SignatureError::Mismatch));
}

#[test]
fn verifiers_compose_and_say_what_they_cannot_do() {
    type Both = Either<Ed25519, EcdsaP256>;
    type None = Either<NoSignatures, NoSignatures>;
    let (ed25519, p256) = (ed25519(), p256());
    for signer in [&ed25519 as &dyn Signer, &p256] {
        let (_, Key { algorithm, public }) = key_of(signer);
        let signature = signer.sign(b"message").unwrap();
        assert!(Both::supports(algorithm) && <&Both>::supports(algorithm) && !None::supports(algorithm));
        assert_eq!(VERIFIER.verify(algorithm, public, b"message", &signature), Ok(()));
        assert_eq!(
            <&Either<Ed25519, EcdsaP256>>::verify(&&VERIFIER, algorithm, public, b"massage", &signature),
            Err(SignatureError::Mismatch)
        );
        let unsupported = Err(SignatureError::Unsupported);
        assert_eq!(NoSignatures.verify(algorithm, public, b"message", &signature), unsupported);
        let only_the_other: &dyn SignatureVerifier =
            if algorithm == SignatureAlgorithm::Ed25519 { &EcdsaP256 } else { &Ed25519 };
        assert_eq!(only_the_other.verify(algorithm, public, b"message", &signature), unsupported);
    }
}
