//! Against an independent implementation of COSE, in both directions: what one signs the other verifies, and the
//! bytes that signatures cover are the same.

use coset::{CborSerializable, CoseSign1, TaggedCborSerializable};
use ota_core::crypto::SignatureVerifier;
use ota_core::crypto::sign::Signer as _;
use ota_core::text::{DeviceId, ProductId};
use ota_core::trust::{Action, Assignment, EpochRaise, Role, SignedBody, TrustError, sign_assignment};

use crate::support::*;

fn ours(keys: &[u8]) -> SignedBody {
    ReleaseSpec::usual().with(|release| {
        let mut signed = SignedBody::release::<H>(release, EpochRaise::Unlimited).unwrap();
        for number in keys {
            let pair = pair(*number);
            signed.sign::<H>(&pair, pair.key(), &VERIFIER).unwrap();
        }
        signed
    })
}

#[test]
fn coset_verifies_what_we_sign() {
    let signed = ours(&RELEASE_KEYS);
    let message = cose_sign(&signed.envelope().unwrap());
    assert_eq!(message.signatures.len(), 3);
    assert_eq!(message.payload.as_deref(), Some(&payload_of(signed.body())[..]));
    for (which, signature) in message.signatures.iter().enumerate() {
        let pair = RELEASE_KEYS
            .map(pair)
            .into_iter()
            .find(|pair| pair.id().0[..] == signature.protected.header.key_id);
        let pair = pair.unwrap();
        message
            .verify_signature(which, &aad(Role::Release, PRODUCT), |bytes, covered| {
                VERIFIER.verify(pair.algorithm(), pair.public_key(), covered, bytes.try_into().unwrap())
            })
            .unwrap();
    }
}

#[test]
fn we_verify_what_coset_signs() {
    let body = ReleaseSpec::usual().body();
    for keys in [[11, 12], [12, 113], [113, 11]] {
        assert_eq!(Device::new().would_install(&envelope(&body, Role::Release, &keys), &body), Ok(()));
    }
}

#[test]
fn both_write_the_same_bytes() {
    let signed = ours(&RELEASE_KEYS);
    let mut by_id = RELEASE_KEYS;
    by_id.sort_by_key(|number| pair(*number).id());
    assert_eq!(signed.envelope().unwrap(), envelope(signed.body(), Role::Release, &by_id));
    let message = cose_sign(&signed.envelope().unwrap());
    for (signature, number) in message.signatures.iter().zip(by_id) {
        let covered = signed.bytes_to_sign::<H>(pair(number).key()).unwrap();
        assert_eq!(covered, message.tbs_data(&aad(Role::Release, PRODUCT), signature));
    }
}

#[test]
fn both_write_the_same_assignment() {
    let spec = AssignmentSpec::install(b"some body");
    let (device, product) = (DeviceId::new(DEVICE).unwrap(), ProductId::new(PRODUCT).unwrap());
    for (key, action) in
        [(SERVER_KEY, spec.action), (122, Action::None), (122, Action::Cancel(release_id(b"x")))]
    {
        let spec = AssignmentSpec { key, action, ..spec };
        let assignment =
            Assignment { device, nonce: NONCE, issued: spec.issued, expires: spec.expires, action };
        let pair = pair(key);
        let signed = sign_assignment::<H>(&assignment, product, &pair, pair.key(), &VERIFIER).unwrap();
        assert_eq!(signed, spec.signed());
        let message = CoseSign1::from_tagged_slice(&signed).unwrap();
        message
            .verify_signature(&aad(Role::Assignment, PRODUCT), |bytes, covered| {
                VERIFIER.verify(pair.algorithm(), pair.public_key(), covered, bytes.try_into().unwrap())
            })
            .unwrap();
    }
}

#[test]
fn what_cose_allows_and_we_do_not_is_refused() {
    let body = ReleaseSpec::usual().body();
    let good = envelope(&body, Role::Release, &[11, 12]);
    let mut device = Device::new();
    let mut refused = |what: &str, change: &dyn Fn(&mut coset::CoseSign)| {
        let mut message = cose_sign(&good);
        change(&mut message);
        let found = device.would_install(&message.to_tagged_vec().unwrap(), &body);
        assert!(matches!(found, Err(TrustError::Envelope(_))), "{what}: {found:?}");
    };
    let some_header = || coset::HeaderBuilder::new().key_id(vec![1]).build();
    let protected = |header| coset::ProtectedHeader { original_data: None, header };
    refused("a protected header of the body", &|m| m.protected = protected(some_header()));
    refused("an unprotected header of the body", &|m| m.unprotected = some_header());
    refused("no payload", &|m| m.payload = None);
    refused("no signature", &|m| m.signatures.clear());
    refused("a short signature", &|m| m.signatures[0].signature.truncate(63));
    refused("a long signature", &|m| m.signatures[0].signature.push(0));
    refused("a header without a key id", &|m| {
        m.signatures[0].protected =
            protected(coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::EdDSA).build());
    });
    refused("a header without an algorithm", &|m| {
        m.signatures[0].protected =
            protected(coset::HeaderBuilder::new().key_id(pair(11).id().0.to_vec()).build());
    });
    refused("a short key id", &|m| {
        let mut header = m.signatures[0].protected.header.clone();
        header.key_id.pop();
        m.signatures[0].protected = protected(header);
    });
    refused("another label in the header", &|m| {
        let mut header = m.signatures[0].protected.header.clone();
        header.rest.push((coset::Label::Int(70), coset::cbor::Value::Bool(true)));
        m.signatures[0].protected = protected(header);
    });
    // The same envelope without its tag, or with that of the other form.
    let untagged = cose_sign(&good).to_vec().unwrap();
    for forged in [untagged.clone(), [&[0xd2], &untagged[..]].concat()] {
        let found = device.would_install(&forged, &body);
        assert!(matches!(found, Err(TrustError::Envelope(_))), "{found:?}");
    }
}

#[test]
fn one_form_of_envelope_is_never_taken_for_the_other() {
    let body = ReleaseSpec::usual().body();
    let mut device = Device::new();
    let spec = AssignmentSpec::install(&body);
    let pair = pair(SERVER_KEY);
    let sign = {
        let protected = header(pair.algorithm(), pair.id());
        coset::CoseSignBuilder::new()
            .payload(spec.body())
            .add_created_signature(
                coset::CoseSignatureBuilder::new().protected(protected).build(),
                &aad(Role::Assignment, PRODUCT),
                |message| pair.sign(message).unwrap().to_vec(),
            )
            .build()
    };
    let found = device.hear_fresh(&sign.clone().to_tagged_vec().unwrap());
    assert!(matches!(found, Err(TrustError::Envelope(_))));
    // The signature of one form inside the other covers another structure.
    let mut sign1 = CoseSign1::from_tagged_slice(&spec.signed()).unwrap();
    sign1.signature = sign.signatures[0].signature.clone();
    let found = device.hear_fresh(&sign1.to_tagged_vec().unwrap());
    assert_eq!(found, Err(TrustError::BadSignature { key: pair.id() }));
}
