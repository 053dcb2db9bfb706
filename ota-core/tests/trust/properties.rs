//! Random bodies round-trip, and a change of any single byte of anything signed is refused.

use ota_core::cbor::to_vec;
use ota_core::number::{ByteLength, Nonce, PackageVersion, SecurityEpoch};
use ota_core::text::DeviceId;
use ota_core::text::{FileName, Revision};
use ota_core::time::Timestamp;
use ota_core::trust::{
    Action, Assignment, BodyHasher, HashedBody, PendingNonce, Release, Requirement, Role, Root, TrustError,
    unmet_requirement,
};
use proptest::prelude::*;

use crate::support::*;

#[test]
fn any_changed_byte_of_a_release_is_refused() {
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let assigned = device.hear_fresh(&AssignmentSpec::install(&body).signed()).unwrap();
    assert_eq!(device.check(&assigned, &envelope, &body), Ok(()));
    for (offset, changed) in with_one_byte_changed(&envelope) {
        assert!(device.check(&assigned, &changed, &body).is_err(), "envelope, byte {offset}");
    }
    for (offset, changed) in with_one_byte_changed(&body) {
        assert_eq!(
            device.check(&assigned, &envelope, &changed),
            Err(TrustError::NotAssigned),
            "byte {offset}"
        );
        // Even if the server assigns the changed body.
        let found = device.would_install(&envelope, &changed);
        assert_eq!(found, Err(TrustError::OtherBody), "byte {offset}");
    }
}

#[test]
fn any_changed_byte_of_an_assignment_is_refused() {
    let mut device = Device::new();
    for key in [SERVER_KEY, 122] {
        if key != SERVER_KEY {
            device.follow_spec(&RootSpec::second().with_server(1, key), &[1, 2]).unwrap();
        }
        let signed = AssignmentSpec { key, ..AssignmentSpec::install(b"body") }.signed();
        let mut nonce = PendingNonce::new(NONCE);
        for (offset, changed) in with_one_byte_changed(&signed) {
            assert!(device.hear(&mut nonce, &changed).is_err(), "byte {offset}");
        }
        for length in 0..signed.len() {
            assert!(device.hear(&mut nonce, &signed[..length]).is_err(), "{length} bytes");
        }
        assert!(device.hear(&mut nonce, &signed).is_ok());
    }
}

#[test]
fn any_changed_byte_of_a_root_is_refused() {
    let body = RootSpec::second().body();
    let good = envelope(&body, Role::Root, &[2, 103]);
    let mut device = Device::new();
    let before = device.state;
    for (offset, changed) in with_one_byte_changed(&good) {
        assert!(device.follow(&changed, &body).is_err(), "envelope, byte {offset}");
    }
    for (offset, changed) in with_one_byte_changed(&body) {
        assert!(device.follow(&good, &changed).is_err(), "body, byte {offset}");
        // Also when the envelope is made for the changed body, by all but the old keys.
        let own = envelope_over(payload_of(&changed), Role::Root, PRODUCT, &[2, SERVER_KEY, 11]);
        assert!(device.follow(&own, &changed).is_err(), "own envelope, byte {offset}");
    }
    assert_eq!(device.state, before);
    assert_eq!(device.follow(&good, &body), Ok(()));
}

#[test]
fn every_shortened_body_is_refused() {
    let (release, root) = (ReleaseSpec::usual().body(), RootSpec::first().body());
    let assignment = AssignmentSpec::install(b"body").body();
    for length in 0..release.len() {
        assert!(Release::decode(&release[..length]).is_err());
    }
    for length in 0..root.len() {
        assert!(Root::decode::<H>(&root[..length]).is_err());
    }
    for length in 0..assignment.len() {
        assert!(Assignment::decode(&assignment[..length]).is_err());
    }
}

#[test]
fn unknown_keys_are_ignored_from_64_on_and_refused_below() {
    // One more entry at the end of the map: the head counts it, the key decides.
    let with_entry = |body: &[u8], key: &[u8]| {
        let mut more = body.to_vec();
        more[0] += 1;
        more.extend_from_slice(key);
        more.push(0xf5);
        more
    };
    let bodies =
        [ReleaseSpec::usual().body(), RootSpec::first().body(), AssignmentSpec::install(b"x").body()];
    let reads: [fn(&[u8]) -> bool; 3] = [
        |body| Release::decode(body).is_ok(),
        |body| Root::decode::<H>(body).is_ok(),
        |body| Assignment::decode(body).is_ok(),
    ];
    for (body, reads) in bodies.iter().zip(reads) {
        assert!(reads(&with_entry(body, &[0x18, 64])));
        assert!(reads(&with_entry(body, &[0x19, 0x12, 0x34])));
        assert!(!reads(&with_entry(body, &[0x18, 63])));
        assert!(!reads(&with_entry(body, &[0x14])));
    }
    // What is ignored is still signed.
    let body = with_entry(&ReleaseSpec::usual().body(), &[0x18, 64]);
    let envelope = envelope(&body, Role::Release, &[11, 12]);
    assert_eq!(Device::new().would_install(&envelope, &body), Ok(()));
}

#[test]
fn two_files_with_one_name_are_found_wherever_they_stand() {
    let names: Vec<String> = (0..200).map(|index: u32| format!("f{}", index * 7919 % 1000)).collect();
    let spec = |names: &[String]| ReleaseSpec {
        files: names.iter().map(|name| FileSpec::new(name)).collect(),
        ..ReleaseSpec::usual()
    };
    assert!(Release::decode(&spec(&names).body()).is_ok());
    for (first, second) in [(0, 199), (0, 1), (198, 199), (31, 32), (63, 64), (100, 131), (5, 180)] {
        let mut repeated = names.clone();
        repeated[second] = repeated[first].clone();
        assert!(Release::decode(&spec(&repeated).body()).is_err(), "{first} {second}");
    }
}

#[test]
fn requirements_on_one_file_are_alternatives() {
    let file = |name| FileName::new(name).unwrap();
    let revision = |text| Revision::new(text).unwrap();
    let needs = |name, text| Requirement::FileRevision { file: file(name), revision: revision(text) };
    let all = [
        needs("boot", "3"),
        needs("boot", "4"),
        needs("radio", "1"),
        Requirement::EpochAtLeast(SecurityEpoch(2)),
    ];
    let list = ota_core::list::List::from_slice(&all);
    let unmet = |epoch, inventory: &[(&'static str, &'static str)]| {
        let inventory: Vec<_> = inventory.iter().map(|(name, text)| (file(name), revision(text))).collect();
        unmet_requirement(&list, SecurityEpoch(epoch), inventory.iter().copied())
    };
    assert_eq!(unmet(2, &[("boot", "4"), ("radio", "1")]), None);
    assert_eq!(unmet(9, &[("radio", "1"), ("x", "3"), ("boot", "3")]), None);
    assert_eq!(unmet(1, &[("boot", "4"), ("radio", "1")]), Some(all[3]));
    assert_eq!(unmet(2, &[("boot", "5"), ("radio", "1")]), Some(all[0]));
    assert_eq!(unmet(2, &[("boot", "1"), ("radio", "1")]), Some(all[0]));
    assert_eq!(unmet(2, &[("boot", "3")]), Some(all[2]));
    assert_eq!(unmet(2, &[]), Some(all[0]));
    let nothing = ota_core::list::List::empty();
    assert_eq!(unmet_requirement(&nothing, SecurityEpoch(0), core::iter::empty()), None);
}

fn action() -> impl Strategy<Value = Action> {
    let id = || any::<[u8; 32]>().prop_map(ota_core::number::ReleaseId);
    prop_oneof![Just(Action::None), id().prop_map(Action::Install), id().prop_map(Action::Cancel)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_assignment_reads_back(
        device in "[a-z0-9:]{1,64}",
        nonce in any::<[u8; 16]>(),
        issued in any::<u64>(),
        expires in any::<u64>(),
        action in action(),
    ) {
        let device = DeviceId::new(&device).unwrap();
        let (issued, expires) = (Timestamp(issued), Timestamp(expires));
        let assignment = Assignment { device, nonce: Nonce(nonce), issued, expires, action };
        let bytes = to_vec(|writer| assignment.encode(writer)).unwrap();
        prop_assert_eq!(Assignment::decode(&bytes), Ok(assignment));
    }

    #[test]
    fn a_release_reads_back(
        names in prop::collection::btree_set("[A-Za-z0-9_-]{1,30}(/[A-Za-z0-9_-]{1,30})?", 1..40),
        version in any::<u64>(),
        epoch in any::<u32>(),
        size in any::<u64>(),
        expires in any::<u64>(),
    ) {
        let spec = ReleaseSpec {
            files: names.iter().rev().map(|name| FileSpec::new(name)).collect(),
            version,
            epoch,
            expires: Timestamp(expires),
            ..ReleaseSpec::usual()
        };
        spec.with(|release| {
            let files: Vec<_> =
                release.files.iter().map(|file| ota_core::trust::File { size: ByteLength(size), ..file }).collect();
            let files = ota_core::list::List::from_slice(&files);
            let release = Release { files, version: PackageVersion(version), ..*release };
            let bytes = to_vec(|writer| release.encode(writer)).unwrap();
            assert_eq!(Release::decode(&bytes), Ok(release));
        });
    }

    #[test]
    fn a_root_reads_back(
        version in 1..=u32::MAX,
        generations in any::<[u32; 4]>(),
        threshold in 1..=3_u8,
        development in any::<bool>(),
    ) {
        let [mut root, mut release, mut assignment, mut file] = RootSpec::first().roles;
        (root.0, root.1, release.1, assignment.1, file.1) =
            (threshold, generations[0], generations[1], generations[2], generations[3]);
        let spec = RootSpec { version, development, ..RootSpec::with_roles([root, release, assignment, file]) };
        let body = spec.body();
        spec.with(|root| assert_eq!(Root::decode::<H>(&body), Ok(*root)));
    }

    #[test]
    fn a_body_hashed_in_steps_has_the_digest_of_the_whole(
        body in prop::collection::vec(any::<u8>(), 0..9000),
        steps in prop::collection::vec(1..5000_usize, 1..20),
    ) {
        let mut hasher = BodyHasher::<H>::new(&body);
        for step in &steps {
            let done = hasher.step(*step);
            let paused = hasher.pause();
            prop_assert!(paused.clone().resume(&[&body[..], &[0]].concat()).is_err());
            hasher = paused.resume(&body).unwrap();
            prop_assert_eq!(done, hasher.step(0));
        }
        let hashed = hasher.finish();
        prop_assert_eq!(hashed, HashedBody::hash::<H>(&body));
        prop_assert_eq!(hashed.detach().attach(&body), Ok(hashed));
    }

    #[test]
    fn random_bytes_are_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Release::decode(&bytes).is_err());
        prop_assert!(Root::decode::<H>(&bytes).is_err());
        let mut device = Device::new();
        prop_assert!(device.hear_fresh(&bytes).is_err());
        prop_assert!(device.follow(&bytes, &RootSpec::second().body()).is_err());
    }
}
