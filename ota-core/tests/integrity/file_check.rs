//! The streaming check: what it accepts, what it refuses, and that it never looks for an easier way.

use ota_core::crypto::sign::Signer;
use ota_core::crypto::soft::{Ed25519, SoftCrc32, SoftSha256};
use ota_core::crypto::{Hasher, NoSignatures, Sha256, SignatureAlgorithm, SignatureError, digest};
use ota_core::integrity::{
    Algorithm, FileCheck, FileSubject, IntegrityError, IntegrityString, Strength, Suite, sign_file,
};
use ota_core::limits::FILE_STATEMENT_BYTES_MAX;
use ota_core::number::{ByteLength, FileIndex, Sha256Digest};
use ota_core::text::{FileName, PackageName, ProductId, Revision};
use ota_core::trust::Key;

use proptest::prelude::*;

use crate::support::{Everything, VERIFIER, check, digests, ed25519, file, hex, key_of, p256, release};

const BYTES: &[u8] = b"123456789";

/// What the smallest firmware links.
struct Smallest;

impl Suite for Smallest {
    type Sha256 = SoftSha256;
    type Others = ();
    type Verifier = NoSignatures;
}

/// A device with a checksum and a signature scheme.
struct Device;

impl Suite for Device {
    type Sha256 = SoftSha256;
    type Others = (SoftCrc32,);
    type Verifier = Ed25519;
}

#[test]
fn a_suite_announces_what_it_links() {
    let of = |algorithms: &[Algorithm]| {
        algorithms.iter().fold(Default::default(), |set: ota_core::wire::AlgorithmSet, one| set.with(*one))
    };
    assert_eq!(Smallest::algorithms(), of(&[Algorithm::Sha256]));
    assert_eq!(Device::algorithms(), of(&[Algorithm::Crc32, Algorithm::Sha256, Algorithm::Ed25519]));
    assert_eq!(Everything::algorithms(), of(&Algorithm::ALL));
}

#[test]
fn every_digest_accepts_its_bytes_and_no_others() {
    for string in digests(BYTES) {
        let strings = [string];
        let files = [file("a", 9, &strings)];
        let release = release(&files);
        let good = check::<Everything>(&release, Strength::Checksum, &[b"1234", b"", b"56789"], &VERIFIER);
        let good = good.unwrap();
        assert_eq!(good.algorithm(), string.algorithm());
        assert_eq!(good.sha256(), Sha256Digest(digest::<SoftSha256>(BYTES)));
        assert_eq!((good.index(), good.size()), (FileIndex(0), ByteLength(9)));
        let bad = check::<Everything>(&release, Strength::Checksum, &[b"123456780"], &VERIFIER);
        assert_eq!(bad, Err(IntegrityError::Mismatch(string.algorithm())));
    }
}

#[test]
fn a_signed_file_is_accepted_under_its_key_only() {
    let (ed25519, p256) = (ed25519(), p256());
    for signer in [&ed25519 as &dyn Signer, &p256] {
        let (id, key) = key_of(signer);
        let files = [file("a", 9, &[])];
        let release_draft = release(&files);
        let draft = FileSubject::of(&release_draft, FileIndex(0)).unwrap();
        let sha256 = Sha256Digest(digest::<SoftSha256>(BYTES));
        let string = sign_file::<SoftSha256>(signer, key, &VERIFIER, &draft, &sha256).unwrap();
        let strings = [string];
        let files = [file("a", 9, &strings)];
        let release = release(&files);
        let subject = FileSubject::of(&release, FileIndex(0)).unwrap();

        let finish = |found: Option<Key<'_>>| {
            let mut check = FileCheck::<Everything>::begin(&subject, Strength::Signature).unwrap();
            check.update(BYTES).unwrap();
            check.finish(
                &subject,
                |wanted| {
                    assert_eq!(wanted, id);
                    found
                },
                &VERIFIER,
            )
        };
        assert_eq!(finish(Some(key)).unwrap().sha256(), sha256);
        assert_eq!(finish(None), Err(IntegrityError::UnknownKey(id)));
        let other = match key.algorithm {
            SignatureAlgorithm::Ed25519 => SignatureAlgorithm::EcdsaP256,
            _ => SignatureAlgorithm::Ed25519,
        };
        assert_eq!(finish(Some(Key { algorithm: other, ..key })), Err(IntegrityError::WrongScheme(id)));
        let mut foreign = key.public.to_vec();
        foreign[5] ^= 1;
        let foreign = finish(Some(Key { public: &foreign, ..key }));
        assert!(matches!(foreign, Err(IntegrityError::Signature(_))), "{foreign:?}");
    }
}

#[test]
fn incident_3_a_signature_covers_product_package_name_revision_size_and_bytes() {
    // Mender MEN-9146: a suffix was stripped from names before they were compared.
    let signer = ed25519();
    let (_, key) = key_of(&signer);
    let plain = [file("a.gz", 9, &[])];
    let draft = release(&plain);
    let sha256 = Sha256Digest(digest::<SoftSha256>(BYTES));
    let subject = FileSubject::of(&draft, FileIndex(0)).unwrap();
    let string = [sign_file::<SoftSha256>(&signer, key, &VERIFIER, &subject, &sha256).unwrap()];

    let signed = file("a.gz", 9, &string);
    let verdict = |product, package, file, bytes: &[u8]| {
        let files = [file];
        let mut release = release(&files);
        release.product = ProductId::new(product).unwrap();
        release.package = PackageName::new(package).unwrap();
        let subject = FileSubject::of(&release, FileIndex(0)).unwrap();
        let mut check = FileCheck::<Everything>::begin(&subject, Strength::Signature)?;
        check.update(bytes)?;
        check.finish(&subject, |_| Some(key), &VERIFIER)
    };
    assert!(verdict("lamp", "main", signed, BYTES).is_ok());

    let refused = Err(IntegrityError::Signature(SignatureError::Mismatch));
    let named = |name| ota_core::trust::File { name: FileName::new(name).unwrap(), ..signed };
    assert_eq!(verdict("lamp2", "main", signed, BYTES), refused);
    assert_eq!(verdict("lamp", "mains", signed, BYTES), refused);
    for name in ["a", "A.gz", "a.gz.gz", "a.xz", "b.gz"] {
        assert_eq!(verdict("lamp", "main", named(name), BYTES), refused, "{name}");
    }
    let revised = ota_core::trust::File { revision: Revision::new("1.1").unwrap(), ..signed };
    assert_eq!(verdict("lamp", "main", revised, BYTES), refused);
    let longer = ota_core::trust::File { size: ByteLength(10), ..signed };
    assert_eq!(verdict("lamp", "main", longer, b"1234567890"), refused);
    assert_eq!(verdict("lamp", "main", signed, b"123456780"), refused);
}

#[test]
fn the_strongest_string_decides_alone() {
    // All weaker strings are right; the one that this device must use is wrong.
    let mut strings = digests(BYTES);
    strings[4] = IntegrityString::Sha3_512([0; 64]);
    let files = [file("a", 9, &strings)];
    let found = check::<Everything>(&release(&files), Strength::Hash, &[BYTES], &VERIFIER);
    assert_eq!(found, Err(IntegrityError::Mismatch(Algorithm::Sha3_512)));
    // A device that cannot compute it never learns of it and uses the strongest that it can.
    let found = check::<Smallest>(&release(&files), Strength::Hash, &[BYTES], &NoSignatures);
    assert_eq!(found.unwrap().algorithm(), Algorithm::Sha256);
}

#[test]
fn a_string_weaker_than_the_root_demands_is_refused_before_a_byte_is_taken() {
    let strings = digests(BYTES);
    let crc = [file("a", 9, &strings[..1])];
    let found = check::<Device>(&release(&crc), Strength::Hash, &[], &Ed25519);
    let weak = |strongest, strength_min| Err(IntegrityError::TooWeak { strongest, strength_min });
    assert_eq!(found, weak(Strength::Checksum, Strength::Hash));
    let all = [file("a", 9, &strings)];
    let found = check::<Device>(&release(&all), Strength::Signature, &[], &Ed25519);
    assert_eq!(found, weak(Strength::Hash, Strength::Signature));
    let found = check::<Device>(&release(&crc), Strength::Checksum, &[BYTES], &Ed25519);
    assert_eq!(found.unwrap().algorithm(), Algorithm::Crc32);
}

#[test]
fn incident_2_a_file_without_a_computable_digest_cannot_be_streamed() {
    // Mender CVE-2025-67903: a file without a checksum was read without being checked.
    let files = [file("a", 9, &[])];
    let found = check::<Everything>(&release(&files), Strength::Checksum, &[BYTES], &VERIFIER);
    assert_eq!(found, Err(IntegrityError::Missing));
    let strings = &digests(BYTES)[2..];
    let files = [file("a", 9, strings)];
    let found = check::<Smallest>(&release(&files), Strength::Checksum, &[BYTES], &NoSignatures);
    assert_eq!(found, Err(IntegrityError::NotComputable));
}

#[test]
fn too_many_bytes_are_refused_at_once_and_too_few_at_the_end() {
    let strings = digests(BYTES);
    let files = [file("a", 9, &strings)];
    let release = release(&files);
    let subject = FileSubject::of(&release, FileIndex(0)).unwrap();
    let mut check = FileCheck::<Everything>::begin(&subject, Strength::Hash).unwrap();
    check.update(b"12345678").unwrap();
    let too_long = Err(IntegrityError::TooLong { size: ByteLength(9) });
    assert_eq!(check.update(b"9!"), too_long);
    // What was refused left no trace, so the right bytes still lead to the right end.
    assert_eq!(check.seen(), ByteLength(8));
    check.update(b"9").unwrap();
    assert_eq!(check.update(b"!"), too_long);
    check.finish(&subject, |_| None, &VERIFIER).unwrap();

    let mut check = FileCheck::<Everything>::begin(&subject, Strength::Hash).unwrap();
    check.update(b"12345678").unwrap();
    let found = check.finish(&subject, |_| None, &VERIFIER);
    assert_eq!(found, Err(IntegrityError::TooShort { found: ByteLength(8), size: ByteLength(9) }));
}

#[test]
fn incident_4_a_check_cannot_be_finished_for_another_file() {
    // U-Boot CVE-2020-10648: one object was verified and another one used.
    let strings = digests(BYTES);
    let files = [file("a", 9, &strings[..1]), file("b", 9, &strings[..1]), file("c", 9, &strings[..2])];
    let one = release(&files);
    let subject = |index| FileSubject::of(&one, FileIndex(index)).unwrap();
    let mut other_release = files;
    other_release[0] = file("a", 9, &strings[..2]);
    let other_release = release(&other_release);
    let stronger = FileSubject::of(&other_release, FileIndex(0)).unwrap();
    for other in [subject(1), subject(2), stronger] {
        let mut check = FileCheck::<Everything>::begin(&subject(0), Strength::Checksum).unwrap();
        check.update(BYTES).unwrap();
        let found = check.finish(&other, |_| None, &VERIFIER);
        assert_eq!(found, Err(IntegrityError::OtherFile));
    }
    assert_eq!(FileSubject::of(&one, FileIndex(3)), None);
}

#[test]
fn an_empty_file_is_checked_like_any_other() {
    let strings = digests(b"");
    let files = [file("a", 0, &strings)];
    let found = check::<Everything>(&release(&files), Strength::Hash, &[b""], &VERIFIER);
    assert_eq!(found.unwrap().size(), ByteLength(0));
    let found = check::<Everything>(&release(&files), Strength::Hash, &[b"x"], &VERIFIER);
    assert_eq!(found, Err(IntegrityError::TooLong { size: ByteLength(0) }));
}

#[test]
fn what_a_signature_covers_is_written_byte_for_byte_as_documented() {
    let files = [file("certs/ca.pem", 1 << 32, &[])];
    let release = release(&files);
    let subject = FileSubject::of(&release, FileIndex(0)).unwrap();
    let mut buffer = [0; FILE_STATEMENT_BYTES_MAX];
    let statement = subject.statement(&Sha256Digest([0xab; 32]), &mut buffer).unwrap();
    let expected = [
        "87",
        "6b6f74612f76312f66696c65",   // "ota/v1/file"
        "646c616d70",                 // "lamp"
        "646d61696e",                 // "main"
        "6c63657274732f63612e70656d", // "certs/ca.pem"
        "63312e30",                   // "1.0"
        "1b0000000100000000",
        "5820",
        &"ab".repeat(32),
    ];
    assert_eq!(hex(statement), expected.concat());
}

#[test]
fn the_longest_names_fit_what_a_signature_covers() {
    let (name, revision) = ("n".repeat(64), "r".repeat(255));
    let mut longest = file(&name, u64::MAX, &[]);
    longest.revision = Revision::new(&revision).unwrap();
    let files = [longest];
    let mut release = release(&files);
    release.product = ProductId::new(&name).unwrap();
    release.package = PackageName::new(&name).unwrap();
    let subject = FileSubject::of(&release, FileIndex(0)).unwrap();
    let mut buffer = [0; FILE_STATEMENT_BYTES_MAX];
    let length = subject.statement(&Sha256Digest([0; 32]), &mut buffer).unwrap().len();
    assert!(length > FILE_STATEMENT_BYTES_MAX - 16, "{length}: the limit has become loose");
}

/// Takes the place of SHA-256 where gigabytes are to be counted: its digest tells how many bytes it was given.
#[derive(Clone)]
struct Counting(u64);

impl Hasher for Counting {
    type Digest = [u8; 32];

    fn new() -> Self {
        Self(0)
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0 += u64::try_from(bytes.len()).unwrap();
    }

    fn finish(self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.0.to_be_bytes());
        digest
    }
}

impl Sha256 for Counting {}

struct CountsBytes;

impl Suite for CountsBytes {
    type Sha256 = Counting;
    type Others = ();
    type Verifier = NoSignatures;
}

#[test]
fn incident_1_files_around_the_ends_of_integer_types_are_checked_to_their_last_byte() {
    // RAUC CVE-2026-34155: past 2 GiB a signature covered only the first few bytes.
    let piece = vec![0; 1 << 26];
    for size in [(1_u64 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1] {
        let mut counted = Counting(size);
        let strings = [IntegrityString::Sha256(counted.clone().finish())];
        let files = [file("a", size, &strings)];
        let release = release(&files);
        let subject = FileSubject::of(&release, FileIndex(0)).unwrap();
        let mut check = FileCheck::<CountsBytes>::begin(&subject, Strength::Hash).unwrap();
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap().min(piece.len());
            check.update(&piece[..length]).unwrap();
            left -= u64::try_from(length).unwrap();
        }
        assert_eq!(check.update(&[0]), Err(IntegrityError::TooLong { size: ByteLength(size) }));
        let receipt = check.finish(&subject, |_| None, &NoSignatures).unwrap();
        assert_eq!(receipt.size(), ByteLength(size));
        counted.update(&[0]);
        assert_ne!(receipt.sha256(), Sha256Digest(counted.finish()));

        let mut check = FileCheck::<CountsBytes>::begin(&subject, Strength::Hash).unwrap();
        check.update(&[0]).unwrap();
        let found = check.finish(&subject, |_| None, &NoSignatures);
        assert_eq!(found, Err(IntegrityError::TooShort { found: ByteLength(1), size: ByteLength(size) }));
    }
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_verdict_of_the_whole(
        bytes in prop::collection::vec(any::<u8>(), 1..900),
        cuts in prop::collection::vec(0_usize..900, 0..9),
        flip in any::<prop::sample::Index>(),
        bit in 0_u32..8,
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % bytes.len()).collect();
        cuts.sort_unstable();
        let verdict = |string: IntegrityString, bytes: &[u8]| {
            let strings = [string];
            let files = [file("a", u64::try_from(bytes.len()).unwrap(), &strings)];
            let release = release(&files);
            let ends = cuts.iter().copied().chain([bytes.len()]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let pieces: Vec<_> = starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect();
            check::<Everything>(&release, Strength::Checksum, &pieces, &VERIFIER)
        };
        let mut changed = bytes.clone();
        changed[flip.index(bytes.len())] ^= 1 << bit;
        for string in digests(&bytes) {
            let good = verdict(string, &bytes).unwrap();
            prop_assert_eq!(good.sha256(), Sha256Digest(digest::<SoftSha256>(&bytes)));
            prop_assert_eq!(verdict(string, &changed), Err(IntegrityError::Mismatch(string.algorithm())));
        }
    }
}
