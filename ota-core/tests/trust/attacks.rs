//! Each attack that signed metadata must withstand, by its name in `docs/threat-model.md`.

use ota_core::crypto::SignatureAlgorithm;
use ota_core::integrity::IntegrityString;
use ota_core::integrity::Strength;
use ota_core::limits::{
    CLOCK_SKEW_MS_MAX, ENVELOPE_BYTES_MAX, FILES_MAX, RELEASE_BODY_BYTES_MAX, ROOT_BODY_BYTES_MAX,
};
use ota_core::number::{Nonce, SecurityEpoch};
use ota_core::text::ProductId;
use ota_core::time::{Millis, Timestamp};
use ota_core::trust::{
    Action, BuildError, DevelopmentRoots, EpochRaise, HashedBody, PendingNonce, Release, Role, RootCheck,
    SignatureCheck, SignedBody, TrustError, TrustedRoot,
};

use crate::support::*;

#[test]
fn a_usual_release_is_installed() {
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    assert_eq!(Device::new().would_install(&envelope, &body), Ok(()));
}

#[test]
fn arbitrary_package() {
    let mut device = Device::new();
    let body = ReleaseSpec::usual().body();
    // Keys of nobody, and keys of every other role.
    for keys in [vec![91, 92, 93], vec![1, 2, 103], vec![SERVER_KEY, FILE_KEY]] {
        let found = device.would_install(&envelope(&body, Role::Release, &keys), &body);
        assert_eq!(found, Err(TrustError::TooFewSignatures { found: 0, needed: 2 }), "{keys:?}");
    }
    // The right keys, but over what they sign in another role.
    for role in [Role::Root, Role::Assignment, Role::File] {
        let found = device.would_install(&envelope(&body, role, &RELEASE_KEYS), &body);
        assert!(matches!(found, Err(TrustError::BadSignature { .. })), "{role:?} {found:?}");
    }
    // Signatures taken from another release.
    let other = ReleaseSpec { version: 8, ..ReleaseSpec::usual() };
    let found = device.would_install(&signed_release(&other).0, &body);
    assert_eq!(found, Err(TrustError::OtherBody));
}

#[test]
fn rollback() {
    let mut device = Device::new();
    let below = ReleaseSpec { epoch: 2, version: 99, ..ReleaseSpec::usual() };
    let (envelope, body) = signed_release(&below);
    assert_eq!(device.would_install(&envelope, &body), Err(TrustError::EpochTooLow));
    // The epoch that the running image carries counts as much as the stored one.
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    device.running_epoch = SecurityEpoch(4);
    assert_eq!(device.would_install(&envelope, &body), Err(TrustError::EpochTooLow));
    // Within the epoch a planned way back to an older version is no attack.
    device.running_epoch = SecurityEpoch(3);
    let (envelope, body) = signed_release(&ReleaseSpec { version: 1, ..ReleaseSpec::usual() });
    assert_eq!(device.would_install(&envelope, &body), Ok(()));
}

#[test]
fn fast_forward_of_versions() {
    // A version without end does not keep anything out afterwards.
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec { version: u64::MAX, ..ReleaseSpec::usual() });
    assert_eq!(device.would_install(&envelope, &body), Ok(()));
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    assert_eq!(device.would_install(&envelope, &body), Ok(()));
    // What would keep everything out is the epoch, and a signer does not jump it without being told to.
    let far = ReleaseSpec { epoch: u32::MAX, ..ReleaseSpec::usual() };
    let (from, to) = (SecurityEpoch(3), SecurityEpoch(u32::MAX));
    far.with(|release| {
        let refused = SignedBody::release::<H>(release, EpochRaise::ByOneFrom(from));
        assert_eq!(refused.unwrap_err(), BuildError::EpochJump { from, to });
        assert!(SignedBody::release::<H>(release, EpochRaise::Unlimited).is_ok());
    });
    let next = ReleaseSpec { epoch: 4, ..ReleaseSpec::usual() };
    next.with(|release| assert!(SignedBody::release::<H>(release, EpochRaise::ByOneFrom(from)).is_ok()));
}

#[test]
fn fast_forward_of_time() {
    // The stolen server key signs a time a hundred years on. From then on the true server is not believed…
    let mut device = Device::new();
    let future =
        AssignmentSpec { issued: day(36_500), expires: day(36_501), ..AssignmentSpec::of(Action::None) };
    assert!(device.hear_fresh(&future.signed()).is_ok());
    let true_answer = AssignmentSpec::of(Action::None);
    assert_eq!(device.hear_fresh(&true_answer.signed()), Err(TrustError::TimeWentBack));
    // …until a root with a higher generation of the assignment role sets the time to its own.
    let recovery = RootSpec::second().with_server(1, 22);
    device.follow_spec(&recovery, &[1, 2]).unwrap();
    assert_eq!(device.state.last_time, day(1));
    let true_answer = AssignmentSpec { key: 22, ..true_answer };
    assert!(device.hear_fresh(&true_answer.signed()).is_ok());
    assert_eq!(device.state.last_time, day(10));
    // The same root without a higher generation would not have done that.
    let mut other = Device::new();
    other.hear_fresh(&future.signed()).unwrap();
    other.follow_spec(&RootSpec::second(), &[1, 2]).unwrap();
    assert_eq!(other.state.last_time, day(36_500));
}

#[test]
fn freeze() {
    let mut device = Device::new();
    // A kept "nothing to do" does not answer the next check-in.
    let kept = AssignmentSpec::of(Action::None).signed();
    assert!(device.hear_fresh(&kept).is_ok());
    let mut next = PendingNonce::new(Nonce([7; 16]));
    assert_eq!(device.hear(&mut next, &kept), Err(TrustError::NotFresh));
    assert!(next.is_pending());
    // A server whose clock stands still is noticed as soon as it falls behind what the device knows.
    let behind = AssignmentSpec { issued: day(9), ..AssignmentSpec::of(Action::None) };
    assert_eq!(device.hear_fresh(&behind.signed()), Err(TrustError::TimeWentBack));
    // Old but unexpired metadata ends when release or root expire.
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let late = AssignmentSpec { issued: day(500), expires: day(501), ..AssignmentSpec::install(&body) };
    let assigned = device.hear_fresh(&late.signed()).unwrap();
    assert_eq!(device.check(&assigned, &envelope, &body), Err(TrustError::Expired { role: Role::Release }));
}

#[test]
fn an_expired_root_blocks_installs_and_never_root_updates() {
    let mut device = Device::new();
    let lasting = ReleaseSpec { expires: day(9000), ..ReleaseSpec::usual() };
    let (envelope, body) = signed_release(&lasting);
    let late = AssignmentSpec { issued: day(1000), expires: day(1001), ..AssignmentSpec::install(&body) };
    let assigned = device.hear_fresh(&late.signed()).unwrap();
    assert_eq!(device.check(&assigned, &envelope, &body), Err(TrustError::Expired { role: Role::Root }));
    // Two years in a cupboard: one root has expired, and so has the one that follows; the third is good.
    let second = RootSpec { expires: day(2), ..RootSpec::second() };
    device.follow_spec(&second, &[1, 2]).unwrap();
    let third = RootSpec { version: 3, issued: day(990), expires: day(2000), ..RootSpec::first() };
    device.follow_spec(&third, &[1, 2]).unwrap();
    let assigned = device.hear_fresh(&late.signed()).unwrap();
    assert_eq!(device.check(&assigned, &envelope, &body), Ok(()));
}

#[test]
fn replay() {
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let signed = AssignmentSpec::install(&body).signed();
    let mut nonce = PendingNonce::new(NONCE);
    let assigned = device.hear(&mut nonce, &signed).unwrap();
    assert!(!nonce.is_pending());
    // The very same answer again, and another one to the same check-in.
    assert_eq!(device.hear(&mut nonce, &signed), Err(TrustError::NotFresh));
    let second = AssignmentSpec::of(Action::None).signed();
    assert_eq!(device.hear(&mut nonce, &second), Err(TrustError::NotFresh));
    assert_eq!(device.check(&assigned, &envelope, &body), Ok(()));
}

#[test]
fn a_forged_answer_does_not_use_up_the_nonce() {
    let mut device = Device::new();
    let mut nonce = PendingNonce::new(NONCE);
    let forged = AssignmentSpec { key: 99, ..AssignmentSpec::of(Action::None) }.signed();
    assert!(device.hear(&mut nonce, &forged).is_err());
    assert!(device.hear(&mut nonce, &AssignmentSpec::of(Action::None).signed()).is_ok());
}

#[test]
fn predicted_nonce() {
    // An answer that was signed for a nonce which the device has not used yet is good for that nonce only: whoever
    // cannot predict it has nothing to keep.
    let mut device = Device::new();
    let (_, body) = signed_release(&ReleaseSpec::usual());
    for guess in 0..=255_u8 {
        let mut nonce = NONCE;
        nonce.0[15] = guess;
        let signed = AssignmentSpec { nonce, ..AssignmentSpec::install(&body) }.signed();
        let found = device.hear_fresh(&signed);
        assert_eq!(found.is_ok(), nonce == NONCE, "{guess}");
    }
}

#[test]
fn mix_and_match() {
    // Two good releases: no part of one goes with a part of the other.
    let mut device = Device::new();
    let one = signed_release(&ReleaseSpec::usual());
    let two = signed_release(&ReleaseSpec { version: 8, ..ReleaseSpec::usual() });
    let assigned = device.hear_fresh(&AssignmentSpec::install(&one.1).signed()).unwrap();
    assert_eq!(device.check(&assigned, &one.0, &two.1), Err(TrustError::NotAssigned));
    assert_eq!(device.check(&assigned, &two.0, &one.1), Err(TrustError::OtherBody));
    // A file of the one in the list of the other is another body, which nobody signed.
    let mut mixed = ReleaseSpec::usual();
    mixed.files[1] = FileSpec::new("certs/other.pem");
    assert_eq!(device.would_install(&one.0, &mixed.body()), Err(TrustError::OtherBody));
}

#[test]
fn wrong_device() {
    let mut device = Device::new();
    let other = AssignmentSpec { device: "th-0000000043", ..AssignmentSpec::of(Action::None) };
    assert_eq!(device.hear_fresh(&other.signed()), Err(TrustError::WrongDevice));
}

#[test]
fn wrong_product() {
    let mut device = Device::new();
    // Signed by the right keys for another product: not even the signature is good.
    let other = AssignmentSpec { product: "doorbell", ..AssignmentSpec::of(Action::None) };
    assert!(matches!(device.hear_fresh(&other.signed()), Err(TrustError::BadSignature { .. })));
    let spec = ReleaseSpec { product: "doorbell", ..ReleaseSpec::usual() };
    let body = spec.body();
    let foreign = envelope_over(payload_of(&body), Role::Release, "doorbell", &RELEASE_KEYS);
    assert!(matches!(device.would_install(&foreign, &body), Err(TrustError::BadSignature { .. })));
    // Release keys that sign another product's body for this one.
    let confused = envelope(&body, Role::Release, &RELEASE_KEYS);
    assert_eq!(device.would_install(&confused, &body), Err(TrustError::WrongProduct));
    // A root of another product never follows.
    let root = RootSpec { product: "doorbell", ..RootSpec::second() };
    assert_eq!(device.follow_spec(&root, &[1, 2]), Err(TrustError::WrongProduct));
    // A device with another product's root does nothing at all.
    let body = ReleaseSpec::usual().body();
    let mut context = device.context();
    context.product = ProductId::new("doorbell").unwrap();
    let assigned = device.hear_fresh(&AssignmentSpec::install(&body).signed()).unwrap();
    let envelope = envelope(&body, Role::Release, &[11, 12]);
    let signed = SignatureCheck::begin(&device.root, &envelope, HashedBody::hash::<H>(&body))
        .unwrap()
        .verify_all(&VERIFIER)
        .unwrap();
    assert_eq!(signed.admit(&device.root, &assigned, &context).unwrap_err(), TrustError::WrongProduct);
}

#[test]
fn wrong_hardware() {
    let mut device = Device::new();
    let (envelope, body) =
        signed_release(&ReleaseSpec { hardware: vec!["rev-a", "rev-c"], ..ReleaseSpec::usual() });
    assert_eq!(device.would_install(&envelope, &body), Err(TrustError::WrongHardware));
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    device.hardware = "REV-B";
    assert_eq!(device.would_install(&envelope, &body), Err(TrustError::WrongHardware));
}

#[test]
fn endless_data() {
    let device = Device::new();
    let endless = vec![0_u8; RELEASE_BODY_BYTES_MAX + 1];
    let hashed = HashedBody::hash::<H>(&endless);
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let found = SignatureCheck::begin(&device.root, &envelope, hashed);
    assert_eq!(found.unwrap_err(), TrustError::TooLarge);
    // An envelope that goes on and on.
    let mut padded = envelope.clone();
    padded.resize(ENVELOPE_BYTES_MAX + 1, 0);
    let hashed = HashedBody::hash::<H>(&body);
    assert_eq!(SignatureCheck::begin(&device.root, &padded, hashed).unwrap_err(), TrustError::TooLarge);
    padded.truncate(envelope.len() + 1);
    let found = SignatureCheck::begin(&device.root, &padded, hashed).unwrap_err();
    assert!(matches!(found, TrustError::Envelope(_)), "{found:?}");
    // More signatures than anybody needs.
    let many: Vec<u8> = (40..57).collect();
    let crowd = crate::support::envelope(&body, Role::Release, &many);
    let found = SignatureCheck::begin(&device.root, &crowd, hashed).unwrap_err();
    assert!(matches!(found, TrustError::Envelope(_)), "{found:?}");
    // A root body over its limit.
    let endless = vec![0_u8; ROOT_BODY_BYTES_MAX + 1];
    let found = TrustedRoot::provision::<H>(&endless, SecurityEpoch(0)).unwrap_err();
    assert_eq!(found, TrustError::TooLarge);
    // One file too many, however small.
    let mut crowd = ReleaseSpec::usual();
    crowd.files = (0..=FILES_MAX).map(|index| FileSpec::new(&format!("f{index}"))).collect();
    assert!(Release::decode(&crowd.body()).is_err());
    crowd.files.pop();
    assert!(Release::decode(&crowd.body()).is_ok());
}

#[test]
fn partial_bundle() {
    // Leaving a file out of the list makes another body; there is no such thing as a part of a release.
    let mut device = Device::new();
    let (envelope, _) = signed_release(&ReleaseSpec::usual());
    let mut part = ReleaseSpec::usual();
    part.files.pop();
    assert_eq!(device.would_install(&envelope, &part.body()), Err(TrustError::OtherBody));
    part.files.clear();
    assert!(Release::decode(&part.body()).is_err());
}

#[test]
fn one_key_counted_twice() {
    let mut device = Device::new();
    let body = ReleaseSpec::usual().body();
    let twice = envelope(&body, Role::Release, &[11, 11]);
    assert_eq!(device.would_install(&twice, &body), Err(TrustError::DuplicateSignature));
    // P-256 signatures are different each time they are made elsewhere; the key is still one.
    let twice = envelope(&body, Role::Release, &[113, 113]);
    assert_eq!(device.would_install(&twice, &body), Err(TrustError::DuplicateSignature));
}

#[test]
fn one_stolen_release_key() {
    let mut device = Device::new();
    let body = ReleaseSpec { version: 666, ..ReleaseSpec::usual() }.body();
    for stolen in RELEASE_KEYS {
        let alone = envelope(&body, Role::Release, &[stolen]);
        let found = device.would_install(&alone, &body);
        assert_eq!(found, Err(TrustError::TooFewSignatures { found: 1, needed: 2 }));
        // With everything else an attacker may have: the server's key and a file key.
        let more = envelope(&body, Role::Release, &[stolen, SERVER_KEY, FILE_KEY]);
        let found = device.would_install(&more, &body);
        assert_eq!(found, Err(TrustError::TooFewSignatures { found: 1, needed: 2 }));
    }
}

#[test]
fn algorithm_confusion() {
    let mut device = Device::new();
    let body = ReleaseSpec::usual().body();
    let (ed, ec) = (pair(11), pair(113));
    // The header claims the other algorithm for a key; everything else is in order.
    for (pair, claimed) in [(&ed, SignatureAlgorithm::EcdsaP256), (&ec, SignatureAlgorithm::Ed25519)] {
        use ota_core::crypto::sign::Signer as _;
        let signature = coset::CoseSignatureBuilder::new().protected(header(claimed, pair.id())).build();
        let forged = coset::CoseSignBuilder::new()
            .payload(payload_of(&body))
            .add_created_signature(signature, &aad(Role::Release, PRODUCT), |m| {
                pair.sign(m).unwrap().to_vec()
            })
            .build();
        let forged = coset::TaggedCborSerializable::to_tagged_vec(forged).unwrap();
        let found = device.would_install(&forged, &body);
        assert_eq!(found, Err(TrustError::AlgorithmMismatch { key: pair.id() }));
    }
    // The algorithm or the key id outside of what is signed, none, or one that nobody knows.
    for unprotected in [
        coset::HeaderBuilder::new().algorithm(coset::iana::Algorithm::EdDSA).build(),
        coset::HeaderBuilder::new().key_id(ed.id().0.to_vec()).build(),
    ] {
        let mut message = cose_sign(&envelope(&body, Role::Release, &[11, 12]));
        message.signatures[0].unprotected = unprotected;
        let forged = coset::TaggedCborSerializable::to_tagged_vec(message).unwrap();
        assert!(matches!(device.would_install(&forged, &body), Err(TrustError::Envelope(_))));
    }
    for algorithm in [coset::iana::Algorithm::ES384, coset::iana::Algorithm::HMAC_256_256] {
        let protected = coset::HeaderBuilder::new().algorithm(algorithm).key_id(ed.id().0.to_vec()).build();
        let mut message = cose_sign(&envelope(&body, Role::Release, &[11, 12]));
        message.signatures[0].protected = coset::ProtectedHeader { original_data: None, header: protected };
        let forged = coset::TaggedCborSerializable::to_tagged_vec(message).unwrap();
        assert!(matches!(device.would_install(&forged, &body), Err(TrustError::Envelope(_))));
    }
}

#[test]
fn truncated_digest() {
    let mut device = Device::new();
    let body = ReleaseSpec::usual().body();
    let digest = release_id(&body);
    for length in [0, 12, 16, 31] {
        let payload = ota_core::cbor::to_vec(|writer| {
            writer.array(2)?;
            writer.u64(u64::try_from(body.len()).unwrap())?;
            writer.bytes(&digest.0[..length])
        })
        .unwrap();
        let forged = envelope_over(payload, Role::Release, PRODUCT, &RELEASE_KEYS);
        let found = device.would_install(&forged, &body);
        assert!(matches!(found, Err(TrustError::Envelope(_))), "{length}: {found:?}");
    }
    // The whole digest with another size.
    let payload = ota_core::cbor::to_vec(|writer| {
        writer.array(2)?;
        writer.u64(u64::try_from(body.len() + 1).unwrap())?;
        writer.bytes(&digest.0)
    })
    .unwrap();
    let forged = envelope_over(payload, Role::Release, PRODUCT, &RELEASE_KEYS);
    assert_eq!(device.would_install(&forged, &body), Err(TrustError::OtherBody));
}

#[test]
fn stolen_online_key_and_recovery() {
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let assigned = device.hear_fresh(&AssignmentSpec::install(&body).signed()).unwrap();
    // The root that replaces the key takes away what it had signed, even what was believed a moment ago.
    device.follow_spec(&RootSpec::second().with_server(1, 22), &[1, 2]).unwrap();
    assert_eq!(device.check(&assigned, &envelope, &body), Err(TrustError::StaleAssignment));
    let stolen = AssignmentSpec::install(&body);
    let none = TrustError::TooFewSignatures { found: 0, needed: 1 };
    assert_eq!(device.hear_fresh(&stolen.signed()), Err(none));
    let assigned = device.hear_fresh(&AssignmentSpec { key: 22, ..stolen }.signed()).unwrap();
    assert_eq!(device.check(&assigned, &envelope, &body), Ok(()));
}

#[test]
fn withdrawn_release_still_staged() {
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let install = AssignmentSpec::install(&body);
    let assigned = device.hear_fresh(&install.signed()).unwrap();
    // Everything is staged. The assignment of the check-in before the commit says something else, and that counts.
    let nothing = AssignmentSpec { nonce: Nonce([8; 16]), ..AssignmentSpec::of(Action::None) };
    let fresh = device.hear(&mut PendingNonce::new(nonce_of(&nothing)), &nothing.signed()).unwrap();
    assert_eq!(device.check(&fresh, &envelope, &body), Err(TrustError::NotAssigned));
    // The offer is taken back while it runs.
    let cancel = AssignmentSpec { action: Action::Cancel(release_id(&body)), ..install };
    let verified = device.hear_cancel(&assigned, &cancel.signed()).unwrap();
    assert_eq!(device.check(&verified, &envelope, &body), Err(TrustError::NotAssigned));
    // A cancellation of something else, of another check-in, or by somebody else, cancels nothing.
    let other = AssignmentSpec { action: Action::Cancel(release_id(b"other")), ..install };
    assert_eq!(device.hear_cancel(&assigned, &other.signed()), Err(TrustError::NotAssigned));
    assert_eq!(device.hear_cancel(&assigned, &install.signed()), Err(TrustError::NotAssigned));
    let elsewhere = AssignmentSpec { nonce: Nonce([9; 16]), ..cancel };
    assert_eq!(device.hear_cancel(&assigned, &elsewhere.signed()), Err(TrustError::NotFresh));
    assert!(device.hear_cancel(&assigned, &AssignmentSpec { key: 12, ..cancel }.signed()).is_err());
}

fn nonce_of(spec: &AssignmentSpec) -> Nonce {
    spec.nonce
}

#[test]
fn swap_between_verification_and_installation() {
    // The receipt holds a borrow of the very bytes that were verified, and names them by digest.
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let assigned = device.hear_fresh(&AssignmentSpec::install(&body).signed()).unwrap();
    let hashed = HashedBody::hash::<H>(&body);
    let signed =
        SignatureCheck::begin(&device.root, &envelope, hashed).unwrap().verify_all(&VERIFIER).unwrap();
    assert!(signed.admit(&device.root, &assigned, &device.context()).is_ok());
    let receipt = signed.detach();
    assert_eq!(receipt.id(), release_id(&body));
    assert_eq!(receipt.attach(&body[1..]).unwrap_err(), TrustError::OtherBody);
    assert!(receipt.attach(&body).is_ok());
    // Under a newer root the signatures are counted again.
    let earlier = receipt.attach(&body).unwrap();
    device.follow_spec(&RootSpec::second(), &[1, 2]).unwrap();
    let found = earlier.admit(&device.root, &assigned, &device.context()).unwrap_err();
    assert_eq!(found, TrustError::NotTheTrustedRoot);
}

#[test]
fn an_assignment_ends_by_its_own_expiry() {
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let assigned = device.hear_fresh(&AssignmentSpec::install(&body).signed()).unwrap();
    device.elapsed = Millis(DAY * 1000 - 1);
    assert_eq!(device.check(&assigned, &envelope, &body), Ok(()));
    device.elapsed = Millis(DAY * 1000);
    let expired = TrustError::Expired { role: Role::Assignment };
    assert_eq!(device.check(&assigned, &envelope, &body), Err(expired));
    // One that was never good.
    let dead = AssignmentSpec { expires: day(10), ..AssignmentSpec::install(&body) };
    assert_eq!(device.hear_fresh(&dead.signed()), Err(expired));
    // And one whose time ends at the end of time does not wrap.
    let last = Timestamp(u64::MAX);
    let endless =
        AssignmentSpec { issued: Timestamp(u64::MAX - 1), expires: last, ..AssignmentSpec::install(&body) };
    let assigned = device.hear_fresh(&endless.signed()).unwrap();
    device.elapsed = Millis(u64::MAX);
    assert_eq!(device.check(&assigned, &envelope, &body), Err(expired));
}

#[test]
fn a_file_on_a_weak_integrity_string_is_not_installed() {
    let mut spec = ReleaseSpec::usual();
    spec.files[1].integrity = vec![IntegrityString::Crc32([1, 2, 3, 4])];
    let (envelope, body) = signed_release(&spec);
    assert_eq!(Device::new().would_install(&envelope, &body), Err(TrustError::WeakIntegrity));
    // Unless the root says that a checksum is enough.
    let lenient = RootSpec { strength_min: Strength::Checksum, ..RootSpec::first() };
    assert_eq!(Device::provisioned(&lenient).would_install(&envelope, &body), Ok(()));
    // And hashes are not enough where it asks for signatures.
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let severe = RootSpec { strength_min: Strength::Signature, ..RootSpec::first() };
    assert_eq!(Device::provisioned(&severe).would_install(&envelope, &body), Err(TrustError::WeakIntegrity));
}

#[test]
fn a_development_root_installs_nothing_unless_told_otherwise() {
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let mut device = Device::provisioned(&RootSpec { development: true, ..RootSpec::first() });
    assert_eq!(device.would_install(&envelope, &body), Err(TrustError::DevelopmentKey));
    device.development = DevelopmentRoots::Accept;
    assert_eq!(device.would_install(&envelope, &body), Ok(()));
    // A development product can become a real one, and never goes back.
    device.follow_spec(&RootSpec::second(), &[1, 2]).unwrap();
    let back = RootSpec { version: 3, development: true, ..RootSpec::second() };
    assert_eq!(device.follow_spec(&back, &[1, 2]), Err(TrustError::DevelopmentKey));
}

#[test]
fn state_and_root_must_belong_together() {
    let device = Device::new();
    let (body, other) = (RootSpec::first().body(), RootSpec::second().body());
    let hashed = HashedBody::hash::<H>(&body);
    assert!(TrustedRoot::from_storage::<H>(hashed, &device.state).is_ok());
    let found = TrustedRoot::from_storage::<H>(HashedBody::hash::<H>(&other), &device.state);
    assert_eq!(found.unwrap_err(), TrustError::NotTheTrustedRoot);
    // A state from elsewhere.
    let mut state = device.state;
    state.generations.0[2].0 = 5;
    let found = TrustedRoot::from_storage::<H>(hashed, &state);
    assert_eq!(found.unwrap_err(), TrustError::NotTheTrustedRoot);
    let envelope = envelope(&other, Role::Root, &[1, 2]);
    let found = RootCheck::begin::<H>(&device.root, &state, &envelope, HashedBody::hash::<H>(&other));
    assert_eq!(found.unwrap_err(), TrustError::NotTheTrustedRoot);
}

#[test]
fn servers_whose_clocks_differ_a_little_are_both_believed() {
    // Two servers answer in turn, the second a little behind. Time neither goes back nor creeps.
    let mut device = Device::new();
    let skew = CLOCK_SKEW_MS_MAX;
    let at = |millis: u64| {
        let issued = Timestamp(day(10).0 + millis);
        AssignmentSpec { issued, ..AssignmentSpec::of(Action::None) }.signed()
    };
    assert!(device.hear_fresh(&at(skew)).is_ok());
    assert!(device.hear_fresh(&at(0)).is_ok());
    assert_eq!(device.state.last_time, Timestamp(day(10).0 + skew));
    let behind = Timestamp(day(10).0 - 1);
    let behind = AssignmentSpec { issued: behind, ..AssignmentSpec::of(Action::None) }.signed();
    assert_eq!(device.hear_fresh(&behind), Err(TrustError::TimeWentBack));
}

#[test]
fn an_integrity_string_by_a_key_that_nobody_listed_is_none() {
    let signature = [7; 64];
    let unknown = IntegrityString::Ed25519 { key: pair(90).id(), signature };
    let listed = IntegrityString::Ed25519 { key: pair(FILE_KEY).id(), signature };
    let confused = IntegrityString::EcdsaP256 { key: pair(FILE_KEY).id(), signature };
    let hash = IntegrityString::Sha256([7; 32]);
    let mut spec = ReleaseSpec::usual();
    let mut found = |strength_min, integrity: &[IntegrityString]| {
        spec.files[0].integrity = integrity.to_vec();
        let root = RootSpec { strength_min, ..RootSpec::first() };
        spec.files[1].integrity = vec![listed];
        let (envelope, body) = signed_release(&spec);
        Device::provisioned(&root).would_install(&envelope, &body)
    };
    for wrong in [unknown, confused] {
        assert_eq!(found(Strength::Hash, &[wrong]), Err(TrustError::WeakIntegrity));
        assert_eq!(found(Strength::Signature, &[hash, wrong]), Err(TrustError::WeakIntegrity));
        assert_eq!(found(Strength::Hash, &[hash, wrong]), Ok(()));
    }
    assert_eq!(found(Strength::Signature, &[listed]), Ok(()));
}
