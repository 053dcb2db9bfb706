//! Mistakes that other update systems made, each as a test with its name.

use ota_core::integrity::IntegrityString;
use ota_core::number::SecurityEpoch;
use ota_core::text::FileName;
use ota_core::trust::{Action, HashedBody, Release, Role, Root, SignatureCheck, TrustError, TrustedRoot};

use crate::support::*;

#[test]
fn rauc_cve_2026_34155_signature_over_the_first_bytes_only() {
    // The payload names the whole length; a body that goes on after what was signed is another body.
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let longer = [&body[..], b"more"].concat();
    let mut device = Device::new();
    assert_eq!(device.would_install(&envelope, &longer), Err(TrustError::OtherBody));
    for size in [(1_u64 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + body.len() as u64] {
        let payload = ota_core::cbor::to_vec(|writer| {
            writer.array(2)?;
            writer.u64(size)?;
            writer.bytes(&release_id(&body).0)
        });
        let forged = envelope_over(payload.unwrap(), Role::Release, PRODUCT, &[11, 12]);
        assert_eq!(device.would_install(&forged, &body), Err(TrustError::OtherBody), "{size}");
    }
}

#[test]
fn mender_cve_2025_67903_file_without_a_checksum() {
    let mut spec = ReleaseSpec::usual();
    spec.files[1].integrity.clear();
    assert!(Release::decode(&spec.body()).is_err());
    let (envelope, body) = signed_release(&spec);
    assert!(matches!(Device::new().would_install(&envelope, &body), Err(TrustError::Body(_))));
}

#[test]
fn mender_men_9146_names_normalised_between_signing_and_checking() {
    // A compression's ending, capitals: two names are one only if their bytes are.
    for (one, other) in [("fw.bin.gz", "fw.bin"), ("fw.bin.zst", "fw.bin.xz"), ("FW.bin", "fw.bin")] {
        let body =
            ReleaseSpec { files: vec![FileSpec::new(one), FileSpec::new(other)], ..ReleaseSpec::usual() }
                .body();
        let release = Release::decode(&body).unwrap();
        assert!(release.files.iter().map(|file| file.name.as_str()).eq([one, other]));
    }
    for spelling in ["a//b", "./a", "a/./b", "a/", "/a", " a", "a\u{301}"] {
        assert!(FileName::new(spelling).is_err(), "{spelling:?} would be another spelling of some name");
    }
}

#[test]
fn mender_men_9056_swupdate_9121e064_tough_ghsa_x3r5_q6mj_m485_names_that_leave_their_folder() {
    let mut body = ReleaseSpec { files: vec![FileSpec::new("PLACE-HOLDER")], ..ReleaseSpec::usual() }.body();
    let at = body.windows(12).position(|window| window == b"PLACE-HOLDER").unwrap();
    assert!(Release::decode(&body).is_ok());
    // Whoever holds the release keys signs whatever they like.
    let hostile =
        ["..", "../x", "a/../../x", "/etc/passwd", ".ssh", "a/.b", "a\\b", "a\0b", "C:x", "~", "a/", ""];
    for name in hostile {
        let text = [&[0x60 | u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        let mut forged = body.clone();
        forged.splice(at - 1..at + 12, text);
        let envelope = envelope(&forged, Role::Release, &[11, 12]);
        assert!(
            matches!(Device::new().would_install(&envelope, &forged), Err(TrustError::Body(_))),
            "{name:?}"
        );
    }
    body[at] = b'p';
    assert!(Release::decode(&body).is_ok(), "another harmless name is fine");
}

#[test]
fn u_boot_cve_2020_10648_one_part_verified_and_another_used() {
    // Two maps behind each other, or a key twice: whatever was verified would not be all that is read.
    let body = ReleaseSpec::usual().body();
    let twice = [&body[..], &body[..]].concat();
    let (head, rest) = body.split_first().unwrap();
    let repeated = [&[head + 1], &rest[..12], rest].concat();
    for forged in [twice, repeated] {
        let envelope = envelope(&forged, Role::Release, &[11, 12]);
        assert!(matches!(Device::new().would_install(&envelope, &forged), Err(TrustError::Body(_))));
    }
}

#[test]
fn openwrt_cve_2020_7982_unparsable_integrity_string() {
    // An algorithm that nobody knows, or a value of another length, refuses the release.
    let body = ReleaseSpec::usual().body();
    let IntegrityString::Sha256(digest) = ReleaseSpec::usual().files[0].integrity[0] else { unreachable!() };
    let at = body.windows(32).position(|window| window == digest).unwrap();
    let mut unknown = body;
    unknown[at - 1] = 9;
    assert!(Release::decode(&unknown).is_err());
    // SHA-512 under the length of a SHA-256.
    unknown[at - 1] = 3;
    assert!(Release::decode(&unknown).is_err());
    unknown[at - 1] = 1;
    assert!(Release::decode(&unknown).is_ok());
}

#[test]
fn openwrt_asu_cve_2024_54143_shortened_digest() {
    let mut device = Device::new();
    let body = ReleaseSpec::usual().body();
    let payload = ota_core::cbor::to_vec(|writer| {
        writer.array(2)?;
        writer.u64(u64::try_from(body.len()).unwrap())?;
        writer.bytes(&release_id(&body).0[..6])
    });
    let forged = envelope_over(payload.unwrap(), Role::Release, PRODUCT, &RELEASE_KEYS);
    assert!(matches!(device.would_install(&forged, &body), Err(TrustError::Envelope(_))));
}

#[test]
fn mcuboot_ghsa_gcxh_546h_phg4_development_keys_in_production() {
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let mut device = Device::provisioned(&RootSpec { development: true, ..RootSpec::first() });
    assert_eq!(device.would_install(&envelope, &body), Err(TrustError::DevelopmentKey));
}

#[test]
fn python_tuf_cve_2020_6174_and_tough_cve_2020_15093_signatures_by_one_key() {
    let body = ReleaseSpec::usual().body();
    let mut message = cose_sign(&envelope(&body, Role::Release, &[11]));
    let one = message.signatures[0].clone();
    message.signatures = vec![one; 8];
    let forged = coset::TaggedCborSerializable::to_tagged_vec(message).unwrap();
    assert_eq!(Device::new().would_install(&forged, &body), Err(TrustError::DuplicateSignature));
}

#[test]
fn go_tuf_cve_2026_23992_threshold_0() {
    let mut roles = RootSpec::first().roles;
    roles[1].0 = 0;
    assert!(Root::decode::<H>(&RootSpec::with_roles(roles).body()).is_err());
}

#[test]
fn go_tuf_go_2022_1004_inserted_keys() {
    // Keys that the root lists for other roles never help a threshold, however many sign.
    let body = ReleaseSpec::usual().body();
    let forged = envelope(&body, Role::Release, &[1, 2, 103, SERVER_KEY, FILE_KEY, 11]);
    let found = Device::new().would_install(&forged, &body);
    assert_eq!(found, Err(TrustError::TooFewSignatures { found: 1, needed: 2 }));
}

#[test]
fn python_tuf_cve_2020_15163_refused_root_trusted_later() {
    let mut device = Device::new();
    let (before, digest) = (device.state, device.root.digest());
    let evil = RootSpec::second().with_root_keys(1, &[66]);
    assert!(device.follow_spec(&evil, &[66]).is_err());
    assert_eq!((device.state, device.root.digest()), (before, digest));
    // Its body in storage is not taken back either, and it is no base for the next one.
    let body = evil.body();
    let found = TrustedRoot::from_storage::<H>(HashedBody::hash::<H>(&body), &device.state);
    assert_eq!(found.unwrap_err(), TrustError::NotTheTrustedRoot);
    assert!(device.follow_spec(&RootSpec { version: 3, ..evil }, &[66]).is_err());
}

#[test]
fn go_tuf_cve_2022_29173_rollback_because_the_past_was_not_loaded() {
    // A device that comes back with an older root body finds that its state names another one.
    let mut device = Device::new();
    device.follow_spec(&RootSpec::second(), &[1, 2]).unwrap();
    let first = RootSpec::first().body();
    let found = TrustedRoot::from_storage::<H>(HashedBody::hash::<H>(&first), &device.state);
    assert_eq!(found.unwrap_err(), TrustError::NotTheTrustedRoot);
}

#[test]
fn tough_cve_2025_2885_root_version_not_the_next() {
    let mut device = Device::new();
    let third = RootSpec { version: 3, ..RootSpec::second() };
    assert_eq!(device.follow_spec(&third, &[1, 2]), Err(TrustError::RootVersion));
    let again = RootSpec { version: 1, ..RootSpec::second() };
    assert_eq!(device.follow_spec(&again, &[1, 2]), Err(TrustError::RootVersion));
}

#[test]
fn tough_cve_2025_2888_refused_metadata_freezes_the_client() {
    // A time from an answer that was refused, for whatever reason, is not kept.
    let mut device = Device::new();
    let before = device.state;
    let future = AssignmentSpec { issued: day(9000), expires: day(9001), ..AssignmentSpec::of(Action::None) };
    for refused in [
        AssignmentSpec { key: 99, ..future },
        AssignmentSpec { device: "th-0000000043", ..future },
        AssignmentSpec { product: "doorbell", ..future },
        AssignmentSpec { nonce: ota_core::number::Nonce([0; 16]), ..future },
        AssignmentSpec { expires: day(8999), ..future },
    ] {
        assert!(device.hear_fresh(&refused.signed()).is_err());
        assert_eq!(device.state, before);
    }
    assert!(device.hear_fresh(&AssignmentSpec::of(Action::None).signed()).is_ok());
}

#[test]
fn tough_cve_2026_6967_rules_not_enforced_for_every_role() {
    // Length, digest and the envelope's rules hold alike for root and release, expiry for all three.
    let mut device = Device::new();
    let (release_envelope, release) = signed_release(&ReleaseSpec::usual());
    let root = RootSpec::second().body();
    let root_envelope = envelope(&root, Role::Root, &[1, 2]);
    assert_eq!(
        device.would_install(&release_envelope, &[&release[..], &[0]].concat()),
        Err(TrustError::OtherBody)
    );
    assert_eq!(device.follow(&root_envelope, &[&root[..], &[0]].concat()), Err(TrustError::OtherBody));
    let twice = envelope(&root, Role::Root, &[1, 1]);
    assert_eq!(device.follow(&twice, &root), Err(TrustError::DuplicateSignature));
    let expired = |role| Err(TrustError::Expired { role });
    let late = |days, body: &[u8]| AssignmentSpec {
        issued: day(days),
        expires: day(days + 1),
        ..AssignmentSpec::install(body)
    };
    let assigned = device.hear_fresh(&late(500, &release).signed()).unwrap();
    assert_eq!(device.check(&assigned, &release_envelope, &release), expired(Role::Release));
    let lasting = signed_release(&ReleaseSpec { expires: day(5000), ..ReleaseSpec::usual() });
    let assigned = device.hear_fresh(&late(1000, &lasting.1).signed()).unwrap();
    assert_eq!(device.check(&assigned, &lasting.0, &lasting.1), expired(Role::Root));
    let dead = AssignmentSpec { expires: day(1000), ..late(1000, &release) };
    assert_eq!(device.hear_fresh(&dead.signed()).map(|_| ()), expired(Role::Assignment));
}

#[test]
fn tuf_conformance_405_not_verified_again_under_the_current_root() {
    let mut device = Device::new();
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    let assigned = device.hear_fresh(&AssignmentSpec::install(&body).signed()).unwrap();
    let hashed = HashedBody::hash::<H>(&body);
    let kept = SignatureCheck::begin(&device.root, &envelope, hashed).unwrap().verify_all(&VERIFIER).unwrap();
    // The next root takes one of the two signing keys away.
    let mut roles = RootSpec::first().roles;
    roles[1] = (2, 1, vec![12, 113]);
    let next = RootSpec { version: 2, issued: day(1), ..RootSpec::with_roles(roles) };
    device.follow_spec(&next, &[1, 2]).unwrap();
    let found = kept.admit(&device.root, &assigned, &device.context()).unwrap_err();
    assert_eq!(found, TrustError::NotTheTrustedRoot);
    let found = device.check(&assigned, &envelope, &body);
    assert_eq!(found, Err(TrustError::TooFewSignatures { found: 1, needed: 2 }));
}

#[test]
fn wolfboot_f_4410_a_cast_bypasses_the_floor() {
    // Epochs around the sign bit and at the end compare as what they are.
    for floor in [0x7fff_ffff_u32, 0x8000_0000, 0x8000_0001, u32::MAX] {
        let mut device = Device::new();
        device.state = device.state.with_epoch_raised(SecurityEpoch(floor));
        for (epoch, expected) in
            [(floor - 1, Err(TrustError::EpochTooLow)), (3, Err(TrustError::EpochTooLow)), (floor, Ok(()))]
        {
            let (envelope, body) = signed_release(&ReleaseSpec { epoch, ..ReleaseSpec::usual() });
            assert_eq!(device.would_install(&envelope, &body), expected, "{epoch:x} on {floor:x}");
        }
    }
}

#[test]
fn mcuboot_epoch_raised_before_the_image_is_confirmed() {
    let mut device = Device::new();
    let before = device.state.epoch;
    let (envelope, body) = signed_release(&ReleaseSpec { epoch: 9, ..ReleaseSpec::usual() });
    assert_eq!(device.would_install(&envelope, &body), Ok(()));
    // No check raises it: until the boot is confirmed the way back stays open.
    assert_eq!(device.state.epoch, before);
    let (envelope, body) = signed_release(&ReleaseSpec::usual());
    assert_eq!(device.would_install(&envelope, &body), Ok(()));
    device.state = device.state.with_epoch_raised(SecurityEpoch(9));
    assert_eq!(device.would_install(&envelope, &body), Err(TrustError::EpochTooLow));
}
