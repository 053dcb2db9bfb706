//! Every signed type as it was first shipped, byte for byte: these files verify for ever, and today's encoder still
//! writes them. A changed format gets new files beside the old ones, never new bytes in them.
//!
//! With `OTA_WRITE_GOLDEN` set, files that do not exist are written; one that exists is never touched.

use std::path::PathBuf;

use ota_core::crypto::digest;
use ota_core::integrity::IntegrityString;
use ota_core::list::List;
use ota_core::number::{ByteLength, KeyId, PackageVersion, SecurityEpoch, Sha256Digest};
use ota_core::text::{FileName, HardwareRevision, InstallTarget, PackageName, ProductId, Revision, Url};
use ota_core::trust::{
    Action, BlockMapRef, EpochRaise, File, HashedBody, Release, ReleaseKind, Requirement, Root, SignedBody,
    TrustedRoot,
};

use crate::support::*;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trust").join(name)
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A release that uses every part of the format.
fn full_release() -> SignedBody {
    let key = KeyId(*b"file key");
    let everything = [
        IntegrityString::Crc32([0xcb, 0xf4, 0x39, 0x26]),
        IntegrityString::Sha256([0x11; 32]),
        IntegrityString::Sha3_256([0x22; 32]),
        IntegrityString::Sha512([0x33; 64]),
        IntegrityString::Sha3_512([0x44; 64]),
        IntegrityString::EcdsaP256 { key, signature: [0x55; 64] },
        IntegrityString::Ed25519 { key, signature: [0x66; 64] },
    ];
    let plain = [IntegrityString::Sha256(digest::<H>(b"tariff"))];
    let urls = [Url::new("https://files.example/firmware-2.11.0.bin").unwrap()];
    let file = |name, revision, integrity| File {
        name: FileName::new(name).unwrap(),
        revision: Revision::new(revision).unwrap(),
        size: ByteLength(5_000_000_000),
        target: InstallTarget::new("app").unwrap(),
        integrity: List::from_slice(integrity),
        block_map: None,
        urls: List::empty(),
    };
    let files = [
        File {
            block_map: Some(BlockMapRef {
                unit: 8192,
                size: ByteLength(19_531_264),
                digest: Sha256Digest([0x77; 32]),
            }),
            urls: List::from_slice(&urls),
            ..file("firmware.bin", "2.11.0", &everything)
        },
        File { size: ByteLength(0), ..file("config/tariff.cbor", "größer als 1", &plain) },
    ];
    let hardware = [HardwareRevision::new("rev-a").unwrap(), HardwareRevision::new(HARDWARE).unwrap()];
    let requirements = [
        Requirement::FileRevision {
            file: FileName::new("boot.bin").unwrap(),
            revision: Revision::new("3").unwrap(),
        },
        Requirement::FileRevision {
            file: FileName::new("boot.bin").unwrap(),
            revision: Revision::new("4").unwrap(),
        },
        Requirement::EpochAtLeast(SecurityEpoch(2)),
    ];
    let release = Release {
        product: ProductId::new(PRODUCT).unwrap(),
        hardware: List::from_slice(&hardware),
        package: PackageName::new("controller").unwrap(),
        version: PackageVersion(u64::MAX),
        epoch: SecurityEpoch(4),
        requirements: List::from_slice(&requirements),
        files: List::from_slice(&files),
        expires: day(500),
        kind: ReleaseKind::Security,
        notes: Some(Url::new("https://notes.example/2.11").unwrap()),
        sbom: Some(Sha256Digest([0x88; 32])),
    };
    let mut signed = SignedBody::release::<H>(&release, EpochRaise::ByOneFrom(SecurityEpoch(3))).unwrap();
    for number in RELEASE_KEYS {
        let pair = pair(number);
        signed.sign::<H>(&pair, pair.key(), &VERIFIER).unwrap();
    }
    signed
}

fn next_root() -> SignedBody {
    let spec = RootSpec { development: false, ..RootSpec::second() }
        .with_root_keys(2, &[2, 4, 105])
        .with_server(1, 122);
    let mut signed = spec.with(|root| SignedBody::root::<H>(root).unwrap());
    for number in [1, 2, 105] {
        let pair = pair(number);
        signed.sign::<H>(&pair, pair.key(), &VERIFIER).unwrap();
    }
    signed
}

/// What today's encoders write, by file name.
fn written_today() -> Vec<(&'static str, Vec<u8>)> {
    let release = full_release();
    let root = next_root();
    let install = AssignmentSpec::install(release.body());
    let cancel = AssignmentSpec { action: Action::Cancel(release_id(release.body())), ..install };
    vec![
        ("root-1.body", RootSpec::first().body()),
        ("root-1-development.body", RootSpec { development: true, ..RootSpec::first() }.body()),
        ("root-2.envelope", root.envelope().unwrap()),
        ("root-2.body", root.body().to_vec()),
        ("release.envelope", release.envelope().unwrap()),
        ("release.body", release.body().to_vec()),
        ("assignment-install.signed", install.signed()),
        ("assignment-cancel.signed", cancel.signed()),
        ("assignment-none.signed", AssignmentSpec::of(Action::None).signed()),
        ("assignment-by-root-2.signed", AssignmentSpec { key: 122, ..install }.signed()),
    ]
}

#[test]
fn today_writes_what_was_shipped() {
    for (name, bytes) in written_today() {
        if std::env::var_os("OTA_WRITE_GOLDEN").is_some() && !path(name).exists() {
            std::fs::create_dir_all(path("")).unwrap();
            std::fs::write(path(name), &bytes).unwrap();
        }
        assert_eq!(golden(name), bytes, "{name}");
    }
}

#[test]
fn what_was_shipped_verifies_for_ever() {
    // From the bytes in the files alone, as a device of that time would have them.
    let first = golden("root-1.body");
    let (root, state) = TrustedRoot::provision::<H>(leak(first), SecurityEpoch(3)).unwrap();
    let mut device = Device { root, state, ..Device::new() };
    let (envelope, body) = (golden("release.envelope"), golden("release.body"));
    let assigned = device.hear_fresh(&golden("assignment-install.signed")).unwrap();
    assert_eq!(assigned.action(), Action::Install(release_id(&body)));
    assert_eq!(device.check(&assigned, &envelope, &body), Ok(()));
    let cancelled = device.hear_cancel(&assigned, &golden("assignment-cancel.signed")).unwrap();
    assert_eq!(cancelled.action(), Action::Cancel(release_id(&body)));
    let nothing = device.hear_fresh(&golden("assignment-none.signed")).unwrap();
    assert_eq!(nothing.action(), Action::None);
    device.follow(&golden("root-2.envelope"), &golden("root-2.body")).unwrap();
    assert!(device.hear_fresh(&golden("assignment-install.signed")).is_err());
    let assigned = device.hear_fresh(&golden("assignment-by-root-2.signed")).unwrap();
    assert_eq!(device.check(&assigned, &envelope, &body), Ok(()));
    assert!(Root::decode::<H>(&golden("root-1-development.body")).unwrap().development);
}

#[test]
fn a_full_release_says_what_it_was_given() {
    let body = golden("release.body");
    let release = Release::decode(&body).unwrap();
    assert_eq!(release.files.len(), 2);
    let first = release.files.get(0).unwrap();
    assert_eq!(first.integrity.len(), 7);
    assert_eq!(first.block_map.unwrap().unit, 8192);
    assert_eq!(first.urls.get(0).unwrap().as_str(), "https://files.example/firmware-2.11.0.bin");
    assert_eq!(first.size, ByteLength(5_000_000_000));
    assert_eq!(release.files.get(1).unwrap().revision.as_str(), "größer als 1");
    assert_eq!(release.requirements.len(), 3);
    assert_eq!(release.notes.unwrap().as_str(), "https://notes.example/2.11");
    assert_eq!(release.sbom, Some(Sha256Digest([0x88; 32])));
    assert_eq!(HashedBody::hash::<H>(&body).digest().to_string(), RELEASE_IDENTITY);
}

/// The identity of the golden release: approvals and assignments of that time name it.
const RELEASE_IDENTITY: &str = "3985456066f7e6b0513fdb810b9404aa04004a8fcbea05fc1f1c7043959e2276";
