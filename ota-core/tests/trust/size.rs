//! How small signed metadata is: eight files with two signatures and an assignment stay under 1 KB.

use std::time::Instant;

use coset::TaggedCborSerializable;
use ota_core::cbor::to_vec;
use ota_core::crypto::digest;
use ota_core::crypto::sign::Signer as _;
use ota_core::integrity::IntegrityString;
use ota_core::limits::{ASSIGNMENT_BYTES_MAX, FILES_MAX, RELEASE_BODY_BYTES_MAX};
use ota_core::list::List;
use ota_core::number::{ByteLength, PackageVersion, SecurityEpoch};
use ota_core::text::{DeviceId, FileName, HardwareRevision, InstallTarget, PackageName, ProductId, Revision};
use ota_core::trust::{
    AssignmentCheck, DeviceIdentity, EpochRaise, File, PendingNonce, Release, ReleaseCheck, ReleaseKind,
    Role, RootCheck, SignatureProgress, SignedBody, TrustError, TrustedRoot, VerifiedAssignment,
    VerifiedRelease,
};

use crate::support::*;

const FILES: [(&str, &str, u64, &str); 8] = [
    ("firmware.bin", "2.11.0", 412_672, "firmware"),
    ("radio.bin", "1.9.4", 98_304, "radio"),
    ("display.bin", "1.2.0", 65_536, "display"),
    ("fonts.pak", "7", 203_112, "assets"),
    ("de.lang", "2.11.0", 18_204, "assets"),
    ("ca.pem", "2026-10", 1_874, "certs"),
    ("net.cbor", "14", 412, "config"),
    ("tariff.cbor", "2026-11", 2_950, "config"),
];

#[test]
fn eight_files_two_signatures_and_an_assignment_are_under_1_kb() {
    let digests = FILES.map(|(name, ..)| [IntegrityString::Sha256(digest::<H>(name.as_bytes()))]);
    let files: Vec<File<'_>> = FILES
        .iter()
        .zip(&digests)
        .map(|((name, revision, size, target), integrity)| File {
            name: FileName::new(name).unwrap(),
            revision: Revision::new(revision).unwrap(),
            size: ByteLength(*size),
            target: InstallTarget::new(target).unwrap(),
            integrity: List::from_slice(integrity),
            block_map: None,
            urls: List::empty(),
        })
        .collect();
    let hardware = [HardwareRevision::new("b1").unwrap(), HardwareRevision::new("b2").unwrap()];
    let release = Release {
        product: ProductId::new(PRODUCT).unwrap(),
        hardware: List::from_slice(&hardware),
        package: PackageName::new("controller").unwrap(),
        version: PackageVersion(2_110),
        epoch: SecurityEpoch(3),
        requirements: List::empty(),
        files: List::from_slice(&files),
        expires: day(500),
        kind: ReleaseKind::Feature,
        notes: None,
        sbom: None,
    };
    let mut signed = SignedBody::release::<H>(&release, EpochRaise::Unlimited).unwrap();
    for number in [11, 113] {
        let pair = pair(number);
        signed.sign::<H>(&pair, pair.key(), &VERIFIER).unwrap();
    }
    let body = signed.body().len();
    let envelope = signed.envelope().unwrap().len();
    let assignment = AssignmentSpec::install(signed.body()).signed().len();
    let total = body + envelope + assignment;
    println!("body {body} + envelope {envelope} + assignment {assignment} = {total} bytes");
    assert!(total < 1000, "{total}");
}

#[test]
fn the_largest_assignment_still_fits_what_is_signed() {
    // The longest names, and an optional entry that fills the assignment to its last byte.
    let product = "p".repeat(64);
    let key = pair(SERVER_KEY);
    let root = RootSpec { product: product.clone().leak(), ..RootSpec::first() };
    let (root, state) = TrustedRoot::provision::<H>(leak(root.body()), SecurityEpoch(0)).unwrap();
    let signed = |padding: usize| {
        let mut body =
            AssignmentSpec { device: "d".repeat(64).leak(), ..AssignmentSpec::install(b"x") }.body();
        body[0] += 1;
        body.extend_from_slice(&[0x18, 64]);
        body.extend(to_vec(|writer| writer.bytes(&vec![0; padding])).unwrap());
        coset::CoseSign1Builder::new()
            .protected(header(key.algorithm(), key.id()))
            .payload(body)
            .create_signature(&aad(Role::Assignment, &product), |bytes| key.sign(bytes).unwrap().to_vec())
            .build()
            .to_tagged_vec()
            .unwrap()
    };
    let longest = (0..ASSIGNMENT_BYTES_MAX)
        .map(signed)
        .take_while(|one| one.len() <= ASSIGNMENT_BYTES_MAX)
        .last()
        .unwrap();
    assert_eq!(longest.len(), ASSIGNMENT_BYTES_MAX);
    let device = "d".repeat(64);
    let identity = || DeviceIdentity { device: DeviceId::new(&device).unwrap(), product: root.product() };
    let check = AssignmentCheck::begin(&root, &state, identity(), &longest).unwrap();
    assert!(check.answer(&mut PendingNonce::new(NONCE), &VERIFIER).is_ok());
    let too_long = [&longest[..], &[0]].concat();
    let found = AssignmentCheck::begin(&root, &state, identity(), &too_long);
    assert_eq!(found.unwrap_err(), TrustError::TooLarge);
}

#[test]
fn receipts_are_small_enough_for_a_device() {
    // With pointers of 64 bits; a microcontroller needs about half of it.
    let sizes = [
        ("TrustedRoot", size_of::<TrustedRoot<'_>>(), 512),
        ("RootCheck", size_of::<RootCheck<'_, '_>>(), 768),
        ("ReleaseCheck", size_of::<ReleaseCheck<'_, '_>>(), 384),
        ("VerifiedRelease", size_of::<VerifiedRelease<'_>>(), 384),
        ("VerifiedAssignment", size_of::<VerifiedAssignment>(), 80),
        ("SignatureProgress", size_of::<SignatureProgress>(), 80),
    ];
    for (name, bytes, limit) in sizes {
        println!("{name} {bytes} bytes");
        assert!(bytes <= limit, "{name}: {bytes} bytes, the limit is {limit}");
    }
}

#[test]
fn the_largest_release_is_read() {
    // 1,024 files in the worst order, names of 64 bytes that differ at their ends.
    let mut spec = ReleaseSpec::usual();
    spec.files =
        (0..FILES_MAX).rev().map(|index| FileSpec::new(&format!("{}{index:04}", "n".repeat(60)))).collect();
    let body = spec.body();
    assert!(body.len() <= RELEASE_BODY_BYTES_MAX);
    let start = Instant::now();
    assert!(Release::decode(&body).is_ok());
    println!("{} files in {} bytes read in {:?}", FILES_MAX, body.len(), start.elapsed());
    spec.files[FILES_MAX - 1].name = spec.files[0].name.clone();
    assert!(Release::decode(&spec.body()).is_err());
}
