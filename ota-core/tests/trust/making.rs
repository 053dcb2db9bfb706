//! Making signed metadata: nothing is published that a device would refuse or that the expected key did not sign.

use ota_core::crypto::sign::{SignError, Signer};
use ota_core::crypto::{SignatureAlgorithm, SignatureError};
use ota_core::text::{DeviceId, ProductId};
use ota_core::trust::{
    Action, Assignment, BuildError, EpochRaise, Key, Role, RootFlaw, SignedBody, TrustError, sign_assignment,
};

use crate::support::*;

fn draft() -> SignedBody {
    ReleaseSpec::usual().with(|release| SignedBody::release::<H>(release, EpochRaise::Unlimited).unwrap())
}

#[test]
fn a_signature_never_changes_the_identity() {
    let mut signed = draft();
    let (id, body) = (signed.digest(), signed.body().to_vec());
    for number in RELEASE_KEYS {
        let pair = pair(number);
        signed.sign::<H>(&pair, pair.key(), &VERIFIER).unwrap();
        assert_eq!((signed.digest(), signed.body()), (id, &body[..]));
        assert_eq!(release_id(signed.body()).0, id.0);
    }
    assert_eq!(Device::new().would_install(&signed.envelope().unwrap(), &body), Ok(()));
}

#[test]
fn signatures_made_elsewhere_are_taken_in() {
    // The key holder gets bytes and gives a signature; the key never comes here.
    let mut signed = draft();
    for number in [12, 113] {
        let holder = pair(number);
        let bytes = signed.bytes_to_sign::<H>(holder.key()).unwrap();
        let signature = holder.sign(&bytes).unwrap();
        signed.import::<H>(holder.key(), signature, &VERIFIER).unwrap();
    }
    let envelope = signed.envelope().unwrap();
    assert_eq!(Device::new().would_install(&envelope, signed.body()), Ok(()));
    // The bytes of one key are not those of the other, since the header names the key.
    let bytes = signed.bytes_to_sign::<H>(pair(12).key()).unwrap();
    let foreign = pair(11).sign(&bytes).unwrap();
    let found = signed.import::<H>(pair(11).key(), foreign, &VERIFIER);
    assert_eq!(found, Err(BuildError::Sign(SignError::SelfCheck(SignatureError::Mismatch))));
    assert_eq!(signed.signers().count(), 2);
}

#[test]
fn envelopes_signed_apart_are_joined() {
    let (mut one, mut two) = (draft(), draft());
    one.sign::<H>(&pair(11), pair(11).key(), &VERIFIER).unwrap();
    two.sign::<H>(&pair(113), pair(113).key(), &VERIFIER).unwrap();
    two.sign::<H>(&pair(11), pair(11).key(), &VERIFIER).unwrap();
    let pairs = RELEASE_KEYS.map(pair);
    let keys = || pairs.iter().map(Pair::key);
    assert_eq!(one.import_envelope::<H>(&two.envelope().unwrap(), keys(), &VERIFIER), Ok(1));
    assert_eq!(one.envelope().unwrap(), two.envelope().unwrap());
    // Keys that were not asked for are left out, a wrong signature is an error.
    let body = one.body().to_vec();
    let stray = envelope(&body, Role::Release, &[90]);
    assert_eq!(one.import_envelope::<H>(&stray, keys(), &VERIFIER), Ok(0));
    let wrong_role = envelope(&body, Role::Root, &[12]);
    assert!(matches!(one.import_envelope::<H>(&wrong_role, keys(), &VERIFIER), Err(BuildError::Sign(_))));
    let other = signed_release(&ReleaseSpec { version: 9, ..ReleaseSpec::usual() });
    let found = one.import_envelope::<H>(&other.0, keys(), &VERIFIER);
    assert_eq!(found, Err(BuildError::Refused(TrustError::OtherBody)));
    // A body that was stored is taken up again with its envelope.
    let mut again = SignedBody::release_from_body::<H>(body).unwrap();
    assert_eq!(again.import_envelope::<H>(&one.envelope().unwrap(), keys(), &VERIFIER), Ok(2));
    assert_eq!(again.envelope().unwrap(), one.envelope().unwrap());
}

/// Reports one key and signs with another, as a signer with two keys once did.
struct Confused {
    reported: Pair,
    used: Pair,
}

impl Signer for Confused {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.reported.algorithm()
    }
    fn public_key(&self) -> &[u8] {
        self.reported.public_key()
    }
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        self.used.sign(message)
    }
}

#[test]
fn wolfboot_f_8003_the_wrong_key_signs() {
    let mut signed = draft();
    // A signer that holds another key than the expected one.
    let found = signed.sign::<H>(&pair(12), pair(11).key(), &VERIFIER);
    assert_eq!(found, Err(BuildError::Sign(SignError::WrongKey)));
    // One that says it holds the expected key and signs with another.
    for (reported, used) in [(11, 12), (113, 114)] {
        let confused = Confused { reported: pair(reported), used: pair(used) };
        let found = signed.sign::<H>(&confused, pair(reported).key(), &VERIFIER);
        assert_eq!(found, Err(BuildError::Sign(SignError::SelfCheck(SignatureError::Mismatch))));
        let confused = Confused { reported: pair(reported), used: pair(used) };
        let found =
            sign_assignment::<H>(&assignment(), product(), &confused, pair(reported).key(), &VERIFIER);
        assert_eq!(found, Err(BuildError::Sign(SignError::SelfCheck(SignatureError::Mismatch))));
    }
    assert_eq!(signed.signers().count(), 0);
}

#[test]
fn a_key_signs_once() {
    let mut signed = draft();
    let pair = pair(11);
    signed.sign::<H>(&pair, pair.key(), &VERIFIER).unwrap();
    let again = signed.sign::<H>(&pair, pair.key(), &VERIFIER);
    assert_eq!(again, Err(BuildError::SignedAlready { key: pair.id() }));
    let bytes = signed.bytes_to_sign::<H>(pair.key()).unwrap();
    let found = signed.import::<H>(pair.key(), pair.sign(&bytes).unwrap(), &VERIFIER);
    assert_eq!(found, Err(BuildError::SignedAlready { key: pair.id() }));
}

#[test]
fn what_no_device_would_read_is_not_begun() {
    let refused = |spec: ReleaseSpec| {
        spec.with(|release| SignedBody::release::<H>(release, EpochRaise::Unlimited).unwrap_err())
    };
    let two = ReleaseSpec {
        files: vec![FileSpec::new("a"), FileSpec::new("b"), FileSpec::new("a")],
        ..ReleaseSpec::usual()
    };
    assert!(matches!(refused(two), BuildError::Refused(TrustError::Body(_))));
    let none = ReleaseSpec { files: Vec::new(), ..ReleaseSpec::usual() };
    assert!(matches!(refused(none), BuildError::Refused(TrustError::Body(_))));
    let unsorted = ReleaseSpec { hardware: vec!["b", "a"], ..ReleaseSpec::usual() };
    assert!(matches!(refused(unsorted), BuildError::Refused(TrustError::Body(_))));
    let nowhere = ReleaseSpec { hardware: Vec::new(), ..ReleaseSpec::usual() };
    assert!(matches!(refused(nowhere), BuildError::Refused(TrustError::Body(_))));
    let mut roles = RootSpec::first().roles;
    roles[1].0 = 0;
    let found = RootSpec::with_roles(roles).with(|root| SignedBody::root::<H>(root).unwrap_err());
    assert_eq!(found, BuildError::Refused(TrustError::Root(RootFlaw::ZeroThreshold)));
}

#[test]
fn a_root_is_made_and_followed() {
    let old = RootSpec::first();
    let next = RootSpec::second().with_root_keys(2, &[4, 2, 105]);
    let mut signed = next.with(|root| SignedBody::root::<H>(root).unwrap());
    for number in [1, 2, 105] {
        let pair = pair(number);
        signed.sign::<H>(&pair, pair.key(), &VERIFIER).unwrap();
    }
    let mut device = Device::provisioned(&old);
    assert_eq!(device.follow(&signed.envelope().unwrap(), signed.body()), Ok(()));
    assert_eq!(device.state.root_digest, signed.digest());
    let again = SignedBody::root_from_body::<H>(signed.body().to_vec()).unwrap();
    assert_eq!(again.digest(), signed.digest());
}

fn product() -> ProductId<'static> {
    ProductId::new(PRODUCT).unwrap()
}

fn assignment() -> Assignment<'static> {
    let device = DeviceId::new(DEVICE).unwrap();
    Assignment { device, nonce: NONCE, issued: day(10), expires: day(11), action: Action::None }
}

#[test]
fn an_assignment_that_was_never_good_is_not_signed() {
    let dead = Assignment { expires: day(10), ..assignment() };
    let pair = pair(SERVER_KEY);
    let found = sign_assignment::<H>(&dead, product(), &pair, pair.key(), &VERIFIER);
    assert_eq!(found, Err(BuildError::Refused(TrustError::Expired { role: Role::Assignment })));
}

#[test]
fn a_device_without_an_algorithm_goes_by_the_keys_that_it_can_check() {
    use ota_core::crypto::soft::{EcdsaP256, Ed25519};
    use ota_core::trust::{HashedBody, SignatureCheck};
    let device = Device::new();
    let body = ReleaseSpec::usual().body();
    let all = envelope(&body, Role::Release, &[113, 11, 12]);
    let hashed = HashedBody::hash::<H>(&body);
    let begin = || SignatureCheck::begin(&device.root, &all, hashed).unwrap();
    assert!(begin().verify_all(&Ed25519).is_ok());
    let found = begin().verify_all(&EcdsaP256).unwrap_err();
    assert_eq!(found, TrustError::TooFewSignatures { found: 1, needed: 2 });
    let _: Key<'_> = pair(11).key();
}
