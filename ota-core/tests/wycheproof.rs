//! Project Wycheproof's vectors for signatures and HMAC against our own verification path.
//!
//! Our signatures are 64 bytes and our P-256 keys compressed points, so a signature of another length never reaches
//! a verifier: it is refused where it is read, and counts as refused here. For P-256 the vectors with fixed-length
//! signatures (IEEE P1363) apply as they are. Those with DER signatures test a parser that this project does not
//! have; they run through an independent strict DER reader so that their many edge cases of r and s are not lost.

use ota_core::crypto::soft::{EcdsaP256, Ed25519, HmacSha256};
use ota_core::crypto::{Authenticator, MacError, SignatureAlgorithm, SignatureVerifier};
use wycheproof::TestResult;

/// What came of the vectors of one file. The tests name the exact numbers, so that vectors which a newer version of
/// the collection adds or drops are noticed.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    accepted: usize,
    refused: usize,
    /// Refused before any verifier saw them, because they are not 64 bytes long or no strict DER.
    refused_by_length: usize,
}

impl Tally {
    /// Runs one vector and demands the expected verdict.
    fn run(
        &mut self,
        algorithm: SignatureAlgorithm,
        key: &[u8],
        message: &[u8],
        signature: Option<&[u8]>,
        expected: TestResult,
        name: &str,
    ) {
        let signature = signature.and_then(|signature| <&[u8; 64]>::try_from(signature).ok());
        let verdict = signature.map(|signature| match algorithm {
            SignatureAlgorithm::Ed25519 => Ed25519.verify(algorithm, key, message, signature),
            _ => EcdsaP256.verify(algorithm, key, message, signature),
        });
        match verdict {
            Some(Ok(())) => self.accepted += 1,
            Some(Err(_)) => self.refused += 1,
            None => self.refused_by_length += 1,
        }
        let is_accepted = verdict == Some(Ok(()));
        match expected {
            TestResult::Valid => assert!(is_accepted, "{name}: {verdict:?}"),
            TestResult::Invalid => assert!(!is_accepted, "{name}"),
            // "May be accepted" is nothing that a verifier of updates should do without somebody's decision.
            TestResult::Acceptable => panic!("{name}: decide about this vector"),
        }
    }
}

#[test]
fn every_ed25519_vector_gets_its_verdict() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let name = format!("ed25519 {}: {}", test.tc_id, test.comment);
            tally.run(
                SignatureAlgorithm::Ed25519,
                &group.key.pk,
                &test.msg,
                Some(&test.sig),
                test.result,
                &name,
            );
        }
    }
    println!("ed25519: {tally:?}");
    assert_eq!(tally.accepted + tally.refused + tally.refused_by_length, set.number_of_tests);
    assert_eq!(tally, Tally { accepted: 88, refused: 51, refused_by_length: 12 });
}

/// The compressed form of an uncompressed point, as a root would list the key.
fn compressed(uncompressed: &[u8]) -> Vec<u8> {
    assert_eq!((uncompressed.len(), uncompressed[0]), (65, 4));
    let mut key = vec![2 | uncompressed[64] & 1];
    key.extend_from_slice(&uncompressed[1..33]);
    key
}

#[test]
fn every_p256_vector_with_fixed_length_signatures_gets_its_verdict() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let key = compressed(&group.key.key);
        for test in &group.tests {
            let name = format!("p1363 {}: {}", test.tc_id, test.comment);
            tally.run(SignatureAlgorithm::EcdsaP256, &key, &test.msg, Some(&test.sig), test.result, &name);
        }
    }
    println!("ecdsa p-256, p1363: {tally:?}");
    assert_eq!(tally.accepted + tally.refused + tally.refused_by_length, set.number_of_tests);
    assert_eq!(tally, Tally { accepted: 173, refused: 68, refused_by_length: 21 });
}

#[test]
fn every_p256_vector_with_der_signatures_gets_its_verdict() {
    use wycheproof::ecdsa::{TestName, TestSet};
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut tally = Tally::default();
    for group in &set.test_groups {
        let key = compressed(&group.key.key);
        for test in &group.tests {
            let name = format!("der {}: {}", test.tc_id, test.comment);
            let fixed = fixed_length(&test.sig);
            tally.run(SignatureAlgorithm::EcdsaP256, &key, &test.msg, fixed.as_deref(), test.result, &name);
        }
    }
    println!("ecdsa p-256, der: {tally:?}");
    assert_eq!(tally.accepted + tally.refused + tally.refused_by_length, set.number_of_tests);
    assert_eq!(tally, Tally { accepted: 174, refused: 23, refused_by_length: 287 });
}

#[test]
fn every_hmac_vector_with_our_lengths_gets_its_verdict() {
    use wycheproof::mac::{TestName, TestSet};
    let set = TestSet::load(TestName::HmacSha256).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    // Keys of 32 bytes and codes that are not truncated: there are no others here.
    for group in set.test_groups.iter().filter(|group| (group.key_size, group.tag_size) == (256, 256)) {
        for test in &group.tests {
            let key = HmacSha256::new(test.key.as_slice().try_into().unwrap());
            let verdict = key.verify(&[&test.msg], test.tag.as_slice().try_into().unwrap());
            match test.result {
                TestResult::Valid => assert_eq!(verdict, Ok(()), "{}: {}", test.tc_id, test.comment),
                _ => assert_eq!(verdict, Err(MacError::Mismatch), "{}: {}", test.tc_id, test.comment),
            }
            if verdict.is_ok() { accepted += 1 } else { refused += 1 }
        }
    }
    println!("hmac-sha-256: {accepted} accepted, {refused} refused");
    assert_eq!((accepted, refused), (27, 54));
}

/// r and s of a DER signature in 32 bytes each, or nothing if it is no strict DER or they do not fit.
fn fixed_length(der: &[u8]) -> Option<Vec<u8>> {
    let signature = p256::ecdsa::Signature::from_der(der).ok()?;
    Some(signature.to_bytes().to_vec())
}
