//! How small signed metadata is: eight files with two signatures and an assignment stay under 1 KB.

use ota_core::crypto::digest;
use ota_core::integrity::IntegrityString;
use ota_core::list::List;
use ota_core::number::{ByteLength, PackageVersion, SecurityEpoch};
use ota_core::text::{FileName, HardwareRevision, InstallTarget, PackageName, ProductId, Revision};
use ota_core::trust::{EpochRaise, File, Release, ReleaseKind, SignedBody};

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
