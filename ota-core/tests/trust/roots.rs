//! Roots: what may follow what, and what a root may not say.

use core::cell::Cell;

use ota_core::crypto::sign::Signer as _;
use ota_core::crypto::{Hasher, Sha256, SignatureAlgorithm, SignatureError, SignatureVerifier, digest};
use ota_core::number::{Generation, SecurityEpoch};
use ota_core::trust::{
    HashedBody, Progress, Role, Root, RootCheck, RootFlaw, SignatureCheck, TrustError, TrustedRoot,
};
use proptest::prelude::*;

use crate::support::*;

fn flaw(root: &RootSpec) -> Option<RootFlaw> {
    match Root::decode::<H>(&root.body()) {
        Ok(_) => None,
        Err(TrustError::Root(flaw)) => Some(flaw),
        Err(other) => panic!("{other:?}"),
    }
}

fn with_roles(change: impl FnOnce(&mut [(u8, u32, Vec<u8>); 4])) -> RootSpec {
    let mut roles = RootSpec::first().roles;
    change(&mut roles);
    RootSpec::with_roles(roles)
}

#[test]
fn the_usual_root_has_no_flaw() {
    assert_eq!(flaw(&RootSpec::first()), None);
    // Roles but root may be empty: a product without integrity signatures has no file keys.
    let none = with_roles(|roles| roles[3] = (0, 0, Vec::new()));
    assert_eq!(flaw(&none), None);
}

#[test]
fn threshold_0() {
    for role in 0..4 {
        let root = with_roles(|roles| roles[role].0 = 0);
        assert_eq!(flaw(&root), Some(RootFlaw::ZeroThreshold), "role {role}");
    }
    // Without keys the threshold is 0, and nothing ever meets it.
    let nobody = with_roles(|roles| roles[1] = (0, 0, Vec::new()));
    let mut device = Device::provisioned(&nobody);
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let found = device.would_install(&envelope, &body);
    assert_eq!(found, Err(TrustError::TooFewSignatures { found: 0, needed: 0 }));
    let nobody = with_roles(|roles| roles[0] = (0, 0, Vec::new()));
    assert_eq!(flaw(&nobody), Some(RootFlaw::NoRootKeys));
}

#[test]
fn a_threshold_that_nobody_can_meet_is_refused() {
    let too_high = with_roles(|roles| roles[1].0 = 4);
    assert_eq!(flaw(&too_high), Some(RootFlaw::ThresholdTooHigh));
    let of_nobody = with_roles(|roles| roles[3] = (1, 0, Vec::new()));
    assert_eq!(flaw(&of_nobody), Some(RootFlaw::ThresholdTooHigh));
    // An assignment has room for one signature.
    let two_servers = with_roles(|roles| roles[2] = (2, 0, vec![21, 22]));
    assert_eq!(flaw(&two_servers), Some(RootFlaw::ThresholdTooHigh));
    let one_of_two = with_roles(|roles| roles[2] = (1, 0, vec![21, 22]));
    assert_eq!(flaw(&one_of_two), None);
}

#[test]
fn one_key_in_two_roles() {
    let shared = with_roles(|roles| roles[2].2 = vec![11]);
    assert_eq!(flaw(&shared), Some(RootFlaw::KeyInTwoRoles));
}

#[test]
fn one_key_twice() {
    let listed = RootSpec { keys: vec![1, 1, 2, 103, 11, 12, 113, 21, 31], ..RootSpec::first() };
    assert_eq!(flaw(&listed), Some(RootFlaw::KeyTwice));
    let named = with_roles(|roles| roles[1].2 = vec![11, 11, 12]);
    assert_eq!(flaw(&named), Some(RootFlaw::KeyTwice));
}

#[test]
fn a_key_and_its_negative_are_one_holder() {
    for number in [11, 113] {
        let pair = pair(number);
        let key = pair.key();
        let mut negative = key.public.to_vec();
        match negative.len() {
            32 => negative[31] ^= 0x80,
            _ => negative[0] ^= 0x01,
        }
        let body = RootSpec::first().body();
        // Put the negative in the place of another key of the same algorithm, and its id in the role.
        let victim = crate::support::pair(if number < 100 { 12 } else { 103 });
        let negative_key = ota_core::trust::Key { algorithm: key.algorithm, public: &negative };
        let body = replaced(&body, victim.key().public, &negative);
        let body = replaced(&body, &victim.id().0, &negative_key.id::<H>().0);
        assert_eq!(Root::decode::<H>(&body).unwrap_err(), TrustError::Root(RootFlaw::KeyTwice), "{number}");
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn keys_and_roles_name_each_other() {
    let unused = RootSpec { keys: vec![1, 2, 103, 11, 12, 113, 21, 31, 90], ..RootSpec::first() };
    assert_eq!(flaw(&unused), Some(RootFlaw::UnusedKey));
    let unknown = RootSpec { keys: vec![1, 2, 103, 11, 12, 113, 21], ..RootSpec::first() };
    assert_eq!(flaw(&unknown), Some(RootFlaw::UnknownKey));
}

#[test]
fn a_root_is_made_before_it_expires_and_versions_begin_with_1() {
    let dead = RootSpec { expires: day(0), ..RootSpec::first() };
    assert_eq!(flaw(&dead), Some(RootFlaw::ExpiresBeforeIssued));
    assert_eq!(flaw(&RootSpec { version: 0, ..RootSpec::first() }), Some(RootFlaw::VersionZero));
}

#[test]
fn root_skipping_a_version() {
    for version in [0_u32, 1, 3, u32::MAX] {
        let mut device = Device::new();
        let found = device.follow_spec(&RootSpec { version, ..RootSpec::second() }, &[1, 2]);
        let expected = match version {
            0 => TrustError::Root(RootFlaw::VersionZero),
            _ => TrustError::RootVersion,
        };
        assert_eq!(found, Err(expected), "version {version}");
        assert_eq!(device.state, Device::new().state);
    }
    // At the last version there is no next one, and nothing wraps.
    let mut device = Device::provisioned(&RootSpec { version: u32::MAX, ..RootSpec::first() });
    assert_eq!(
        device.follow_spec(&RootSpec { version: 1, ..RootSpec::second() }, &[1, 2]),
        Err(TrustError::RootVersion)
    );
}

#[test]
fn root_signed_by_new_keys_only() {
    let taken_over = RootSpec::second().with_root_keys(2, &[4, 5, 106]);
    let mut device = Device::new();
    let too_few = |found| Err(TrustError::TooFewSignatures { found, needed: 2 });
    assert_eq!(device.follow_spec(&taken_over, &[4, 5, 106]), too_few(0));
    // One of the old ones is not enough either, nor are the old ones without the new.
    assert_eq!(device.follow_spec(&taken_over, &[1, 4, 5]), too_few(1));
    assert_eq!(device.follow_spec(&taken_over, &[1, 2, 103]), too_few(0));
    assert_eq!(device.follow_spec(&taken_over, &[1, 2, 4]), too_few(1));
    assert_eq!(device.follow_spec(&taken_over, &[1, 103, 4, 106]), Ok(()));
    // And from then on the old ones count for nothing.
    let third = RootSpec { version: 3, ..RootSpec::second() };
    assert_eq!(device.follow_spec(&third, &[1, 2, 103]), too_few(0));
}

#[test]
fn a_key_that_stays_counts_for_both_roots_with_one_signature() {
    let mut device = Device::new();
    assert_eq!(device.follow_spec(&RootSpec::second(), &[1, 103]), Ok(()));
    let body = leak(RootSpec { version: 3, ..RootSpec::second() }.body());
    let envelope = leak(envelope(body, Role::Root, &[1, 2]));
    let mut check =
        RootCheck::begin::<H>(&device.root, &device.state, envelope, HashedBody::hash::<H>(body)).unwrap();
    assert_eq!(check.step(&VERIFIER), Ok(Progress::More));
    assert_eq!(check.step(&VERIFIER), Ok(Progress::Met));
    assert_eq!(check.step(&VERIFIER), Ok(Progress::Met));
    assert!(check.finish().is_ok());
}

#[test]
fn generations_never_fall() {
    let mut device = Device::new();
    device.follow_spec(&RootSpec::second().with_server(2, 22), &[1, 2]).unwrap();
    assert_eq!(device.state.generations.of(Role::Assignment), Generation(2));
    let lower = RootSpec { version: 3, ..RootSpec::second() }.with_server(1, 23);
    assert_eq!(device.follow_spec(&lower, &[1, 2]), Err(TrustError::GenerationLowered));
    let same = RootSpec { version: 3, ..RootSpec::second() }.with_server(2, 22);
    assert_eq!(device.follow_spec(&same, &[1, 2]), Ok(()));
}

#[test]
fn a_root_changes_nothing_else_in_the_state() {
    let mut device = Device::new();
    device.hear_fresh(&AssignmentSpec::of(ota_core::trust::Action::None).signed()).unwrap();
    let before = device.state;
    device.follow_spec(&RootSpec::second(), &[1, 2]).unwrap();
    assert_eq!(device.state.epoch, before.epoch);
    assert_eq!(device.state.last_time, day(10));
    assert_eq!(device.state.root.0, 2);
    assert_eq!(device.state.root_digest, device.root.digest());
}

#[test]
fn finishing_early_proves_nothing() {
    let device = Device::new();
    let body = leak(RootSpec::second().body());
    let signed = leak(envelope(body, Role::Root, &[1, 2]));
    let hashed = HashedBody::hash::<H>(body);
    let begin = || RootCheck::begin::<H>(&device.root, &device.state, signed, hashed).unwrap();
    assert_eq!(begin().finish().unwrap_err(), TrustError::TooFewSignatures { found: 0, needed: 2 });
    let mut one = begin();
    assert_eq!(one.step(&VERIFIER), Ok(Progress::More));
    let paused = one.pause();
    assert_eq!(
        begin().resume(&paused).finish().unwrap_err(),
        TrustError::TooFewSignatures { found: 1, needed: 2 }
    );
    let mut resumed = begin().resume(&paused);
    assert_eq!(resumed.step(&VERIFIER), Ok(Progress::Met));
    assert!(resumed.finish().is_ok());
    // Enough of the old keys, and none of the new.
    let taken_over = leak(RootSpec::second().with_root_keys(2, &[4, 5, 106]).body());
    let half = leak(envelope(taken_over, Role::Root, &[1, 2, 4, 5]));
    let hashed = HashedBody::hash::<H>(taken_over);
    let mut check = RootCheck::begin::<H>(&device.root, &device.state, half, hashed).unwrap();
    assert_eq!(check.step(&VERIFIER), Ok(Progress::More));
    assert_eq!(check.step(&VERIFIER), Ok(Progress::More));
    assert_eq!(check.finish().unwrap_err(), TrustError::TooFewSignatures { found: 0, needed: 2 });
    // What was counted for one root counts for no other.
    let other = leak(RootSpec { expires: day(2000), ..RootSpec::second() }.body());
    // A stranger first: what the pause had passed over must not be passed over here.
    let other_signed = leak(envelope(other, Role::Root, &[90, 2]));
    let check =
        RootCheck::begin::<H>(&device.root, &device.state, other_signed, HashedBody::hash::<H>(other))
            .unwrap();
    assert_eq!(
        check.resume(&paused).verify_all(&VERIFIER).unwrap_err(),
        TrustError::TooFewSignatures { found: 1, needed: 2 }
    );
}

#[test]
fn a_release_is_checked_one_signature_at_a_time() {
    let device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let hashed = HashedBody::hash::<H>(&body);
    let mut check = SignatureCheck::begin(&device.root, &envelope, hashed).unwrap();
    assert_eq!(check.step(&VERIFIER), Ok(Progress::More));
    let paused = check.pause();
    let mut check = SignatureCheck::begin(&device.root, &envelope, hashed).unwrap().resume(&paused);
    assert_eq!(check.step(&VERIFIER), Ok(Progress::Met));
    assert!(check.finish().is_ok());
    // The pause of another release is no head start.
    let body = ReleaseSpec { version: 8, ..ReleaseSpec::usual() }.body();
    let envelope = crate::support::envelope(&body, Role::Release, &[90, 12]);
    let check = SignatureCheck::begin(&device.root, &envelope, HashedBody::hash::<H>(&body)).unwrap();
    let found = check.resume(&paused).verify_all(&VERIFIER).unwrap_err();
    assert_eq!(found, TrustError::TooFewSignatures { found: 1, needed: 2 });
}

#[test]
fn the_state_is_stored_when_that_is_worth_it() {
    let device = Device::new();
    let stored = device.state;
    let at = |days_later: u64, millis: u64| {
        let mut state = stored;
        state.last_time.0 += days_later * DAY * 1000 + millis;
        state
    };
    assert!(!stored.is_worth_storing_over(&stored));
    assert!(!at(0, DAY * 1000 - 1).is_worth_storing_over(&stored));
    assert!(at(1, 0).is_worth_storing_over(&stored));
    assert!(stored.is_worth_storing_over(&at(0, 1)));
    assert!(stored.with_epoch_raised(SecurityEpoch(4)).is_worth_storing_over(&stored));
    assert_eq!(stored.with_epoch_raised(SecurityEpoch(1)), stored);
}

#[test]
fn a_factory_root_is_trusted_as_it_is_given() {
    let body = RootSpec { version: 12, ..RootSpec::first() }.body();
    let (root, state) = TrustedRoot::provision::<H>(&body, SecurityEpoch(9)).unwrap();
    assert_eq!((state.root.0, state.epoch, state.last_time), (12, SecurityEpoch(9), day(0)));
    assert_eq!(root.key(Role::File, pair(FILE_KEY).id()), Some(pair(FILE_KEY).key()));
    assert_eq!(root.key(Role::Release, pair(FILE_KEY).id()), None);
    assert_eq!(root.key(Role::Root, ota_core::number::KeyId([0; 8])), None);
}

/// SHA-256, but some public keys get the id of others: what 2^32 tries at making keys would find.
#[derive(Clone)]
struct Colliding(H, Vec<u8>);

impl Hasher for Colliding {
    type Digest = [u8; 32];
    fn new() -> Self {
        Self(H::new(), Vec::new())
    }
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
        self.1.extend_from_slice(bytes);
    }
    fn finish(self) -> [u8; 32] {
        if self.1 == pair(77).public_key() { digest::<H>(pair(2).public_key()) } else { self.0.finish() }
    }
}

impl Sha256 for Colliding {}

#[test]
fn keys_with_one_id_are_never_mistaken_for_each_other() {
    // In one root they are refused.
    let mut spec = RootSpec::second();
    spec.keys.push(77);
    let found = Root::decode::<Colliding>(&spec.body()).unwrap_err();
    assert_eq!(found, TrustError::Root(RootFlaw::KeyIdTwice));
    // Across two roots too: the id of the old key 2 names the key 77 in the new one.
    let device = Device::new();
    let mut spec = RootSpec::second();
    let place = spec.keys.iter().position(|key| *key == 2).unwrap();
    spec.keys[place] = 77;
    let body = spec.body();
    let signed = envelope(&body, Role::Root, &[1, 2]);
    let check =
        RootCheck::begin::<Colliding>(&device.root, &device.state, &signed, HashedBody::hash::<H>(&body));
    let found = check.unwrap().verify_all(&VERIFIER).unwrap_err();
    assert_eq!(found, TrustError::AmbiguousKey { key: pair(2).id() });
}

/// Counts how often it is asked.
struct Counting(Cell<usize>);

impl SignatureVerifier for Counting {
    fn supports(_: SignatureAlgorithm) -> bool {
        true
    }
    fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; 64],
    ) -> Result<(), SignatureError> {
        self.0.set(self.0.get() + 1);
        VERIFIER.verify(algorithm, public_key, message, signature)
    }
}

#[test]
fn a_step_verifies_one_signature_and_none_that_is_not_needed() {
    let device = Device::new();
    let body = RootSpec::second().with_root_keys(2, &[4, 5, 106]).body();
    // Strangers in between, and one signature more than each threshold needs.
    let signed = envelope(&body, Role::Root, &[90, 1, 91, 2, 4, 92, 5, 103, 106]);
    let hashed = HashedBody::hash::<H>(&body);
    let mut check = RootCheck::begin::<H>(&device.root, &device.state, &signed, hashed).unwrap();
    let verifier = Counting(Cell::new(0));
    for expected in [Progress::More, Progress::More, Progress::More, Progress::Met] {
        let before = verifier.0.get();
        assert_eq!(check.step(&verifier), Ok(expected));
        assert_eq!(verifier.0.get(), before + 1);
    }
    assert!(check.finish().is_ok());
}

#[test]
fn a_signature_that_does_not_match_refuses_the_rest() {
    let mut device = Device::new();
    let body = RootSpec::second().body();
    let mut message = cose_sign(&envelope(&body, Role::Root, &[1, 2, 103]));
    message.signatures[0].signature[5] ^= 1;
    let forged = coset::TaggedCborSerializable::to_tagged_vec(message).unwrap();
    assert_eq!(device.follow(&forged, &body), Err(TrustError::BadSignature { key: pair(1).id() }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_root_follows_exactly_if_both_thresholds_are_met(
        old in prop::sample::subsequence(vec![1_u8, 2, 3, 104, 105], 1..=5),
        new in prop::sample::subsequence(vec![1_u8, 2, 3, 104, 105, 6], 1..=6),
        old_threshold in 1..=5_u8,
        new_threshold in 1..=6_u8,
        mut signers in prop::sample::subsequence(vec![1_u8, 2, 3, 104, 105, 6, 11, SERVER_KEY, 90], 0..=9),
        turn in 0..9_usize,
    ) {
        let fit = |threshold: u8, keys: &[u8]| threshold.min(u8::try_from(keys.len()).unwrap());
        let (old_threshold, new_threshold) = (fit(old_threshold, &old), fit(new_threshold, &new));
        let turn = turn % signers.len().max(1);
        signers.rotate_left(turn);
        let mut device = Device::provisioned(&RootSpec::first().with_root_keys(old_threshold, &old));
        let found = device.follow_spec(&RootSpec::second().with_root_keys(new_threshold, &new), &signers);
        let signed = |keys: &[u8]| u8::try_from(signers.iter().filter(|key| keys.contains(key)).count()).unwrap();
        let expected = signed(&old) >= old_threshold && signed(&new) >= new_threshold;
        prop_assert_eq!(found.is_ok(), expected, "{:?}", found);
    }
}
