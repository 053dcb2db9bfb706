//! Integrity algorithms through the streaming check beside the bare crates, and block messages in nanoseconds.
//!
//! In each of many short rounds the things that are compared run one after the other, so that what else the machine
//! does hits all of them. An overhead is the median of the rounds' ratios, a speed is that of the fastest round. The
//! check always yields the SHA-256 as well, so it is held against bare crates that do the same work.

use core::hint::black_box;
use core::time::Duration;
use std::time::Instant;

use ed25519_dalek::{Signature, VerifyingKey};
use ota_core::crypto::sign::{EcdsaP256Signer, Ed25519Signer, Signer};
use ota_core::crypto::soft::{
    EcdsaP256, Ed25519, SoftCrc32, SoftCrc32Fast, SoftCrc32Tiny, SoftSha3_256, SoftSha3_512, SoftSha256,
    SoftSha512,
};
use ota_core::crypto::{Either, NoSignatures, digest};
use ota_core::integrity::{FileCheck, FileSubject, IntegrityString, Strength, Suite, sign_file};
use ota_core::list::List;
use ota_core::number::{
    ByteLength, ByteOffset, FileIndex, OfferId, PackageVersion, SecurityEpoch, Sha256Digest,
};
use ota_core::text::{FileName, InstallTarget, PackageName, ProductId, Revision};
use ota_core::time::Timestamp;
use ota_core::trust::{File, Key, Release, ReleaseKind};
use ota_core::wire::{Block, Down, Part, Up, Want, WantBlocks};
use p256::ecdsa::signature::Verifier;
use sha2::Digest as _;

/// Length of the file that is checked, in bytes.
const FILE_BYTES: usize = 1 << 20;
/// Length of the pieces in which it comes, in bytes: a unit of a block map.
const PIECE_BYTES: usize = 4096;
/// Rounds of each comparison.
const ROUNDS: usize = 201;
/// Messages encoded or decoded in one round.
const MESSAGES: u32 = 2000;

/// A host: the large table for CRC-32.
struct Host;

impl Suite for Host {
    type Sha256 = SoftSha256;
    type Others = (SoftCrc32Fast, SoftSha3_256, SoftSha512, SoftSha3_512);
    type Verifier = Either<Ed25519, EcdsaP256>;
}

/// Firmware: the small table for CRC-32.
struct Firmware;

impl Suite for Firmware {
    type Sha256 = SoftSha256;
    type Others = (SoftCrc32,);
    type Verifier = Ed25519;
}

/// The smallest firmware: no table for CRC-32.
struct Tiny;

impl Suite for Tiny {
    type Sha256 = SoftSha256;
    type Others = (SoftCrc32Tiny,);
    type Verifier = NoSignatures;
}

fn main() {
    println!("<!-- bench: core -->");
    integrity();
    println!();
    messages();
    println!("<!-- /bench -->");
}

/// How long each of some things took in each round, one behind the other within a round.
struct Rounds<const N: usize>([Vec<Duration>; N]);

impl<const N: usize> Rounds<N> {
    fn run(mut work: [&mut dyn FnMut(); N]) -> Self {
        let mut times: [Vec<Duration>; N] = core::array::from_fn(|_| Vec::with_capacity(ROUNDS));
        for round in 0..ROUNDS {
            // Who goes first changes, so that nobody always finds warm caches.
            for turn in 0..N {
                let whose = (round + turn) % N;
                times[whose].push(time(&mut work[whose]));
            }
        }
        Self(times)
    }

    /// The time of the round that was disturbed least.
    fn fastest(&self, which: usize) -> Duration {
        self.0[which].iter().copied().min().unwrap_or_default()
    }

    /// The median of how many times longer one took than another in the same round.
    fn ratio(&self, of: usize, to: usize) -> f64 {
        median(self.0[of].iter().zip(&self.0[to]).map(|(of, to)| of.as_secs_f64() / to.as_secs_f64()))
    }
}

fn time(work: &mut dyn FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("a measured time is a number"));
    values[values.len() / 2]
}

fn integrity() {
    println!(
        "Files of {} KiB in pieces of {} KiB. MB/s of the fastest round; overhead: median of the rounds' ratios.",
        FILE_BYTES / 1024,
        PIECE_BYTES / 1024
    );
    println!();
    println!("| algorithm | bare crate | bare crate and bare SHA-256 | streaming check | overhead |");
    println!("|---|---:|---:|---:|---:|");
    let bytes: Vec<u8> = (0..FILE_BYTES).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();

    static TINY: crc::Crc<u32, crc::NoTable> = crc::Crc::<u32, crc::NoTable>::new(&crc::CRC_32_ISO_HDLC);
    static SMALL: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    static LARGE: crc::Crc<u32, crc::Table<16>> = crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISO_HDLC);
    let string = IntegrityString::Crc32(digest::<SoftCrc32>(&bytes));
    row::<Tiny>(
        "crc32, no table",
        string,
        &bytes,
        &NoSignatures,
        bare(&bytes, || TINY.digest(), |crc, piece| crc.update(piece), |crc| sink(crc.finalize())),
    );
    row::<Firmware>(
        "crc32, table of 1 KiB",
        string,
        &bytes,
        &Ed25519,
        bare(&bytes, || SMALL.digest(), |crc, piece| crc.update(piece), |crc| sink(crc.finalize())),
    );
    row::<Host>(
        "crc32, table of 16 KiB",
        string,
        &bytes,
        &VERIFIER,
        bare(&bytes, || LARGE.digest(), |crc, piece| crc.update(piece), |crc| sink(crc.finalize())),
    );
    let string = IntegrityString::Sha256(digest::<SoftSha256>(&bytes));
    row::<Host>("sha2-256", string, &bytes, &VERIFIER, bare_digest::<sha2::Sha256>(&bytes));
    let string = IntegrityString::Sha512(digest::<SoftSha512>(&bytes));
    row::<Host>("sha2-512", string, &bytes, &VERIFIER, bare_digest::<sha2::Sha512>(&bytes));
    let string = IntegrityString::Sha3_256(digest::<SoftSha3_256>(&bytes));
    row::<Host>("sha3-256", string, &bytes, &VERIFIER, bare_digest::<sha3::Sha3_256>(&bytes));
    let string = IntegrityString::Sha3_512(digest::<SoftSha3_512>(&bytes));
    row::<Host>("sha3-512", string, &bytes, &VERIFIER, bare_digest::<sha3::Sha3_512>(&bytes));
    signed_rows(&bytes);
}

const VERIFIER: Either<Ed25519, EcdsaP256> = Either(Ed25519, EcdsaP256);

fn bare<'b, H>(
    bytes: &'b [u8],
    begin: impl Fn() -> H + 'b,
    update: impl Fn(&mut H, &[u8]) + 'b,
    finish: impl Fn(H) + 'b,
) -> impl Fn(bool) + 'b {
    move |with_sha256| {
        let mut sha256 = sha2::Sha256::new();
        let mut hasher = begin();
        for piece in bytes.chunks(PIECE_BYTES) {
            if with_sha256 {
                sha256.update(piece);
            }
            update(&mut hasher, piece);
        }
        finish(hasher);
        if with_sha256 {
            black_box(sha256.finalize());
        }
    }
}

fn bare_digest<'b, H: sha2::Digest + 'b>(bytes: &'b [u8]) -> impl Fn(bool) + 'b {
    bare(bytes, H::new, |hasher, piece| hasher.update(piece), |hasher| sink(hasher.finalize()))
}

/// Measures one digest.
fn row<S: Suite>(
    name: &str,
    string: IntegrityString,
    bytes: &[u8],
    verifier: &S::Verifier,
    bare: impl Fn(bool),
) {
    let strings = [string];
    let files = [file(&strings)];
    let release = release(&files);
    // SHA-256 is the one digest that runs anyway, and must not be counted twice.
    let is_sha256 = matches!(string, IntegrityString::Sha256(_));
    let rounds = Rounds::run([&mut || bare(false), &mut || bare(!is_sha256), &mut || {
        checked::<S>(&release, bytes, |_| None, verifier)
    }]);
    line(name, &rounds);
}

fn signed_rows(bytes: &[u8]) {
    let sha256 = Sha256Digest(digest::<SoftSha256>(bytes));
    let (ed25519, p256) =
        (Ed25519Signer::from_seed(&[7; 32]), EcdsaP256Signer::from_scalar(&[9; 32]).unwrap());
    for signer in [&ed25519 as &dyn Signer, &p256] {
        let key = Key { algorithm: signer.algorithm(), public: signer.public_key() };
        let draft = [file(&[])];
        let draft = release(&draft);
        let subject = FileSubject::of(&draft, FileIndex(0)).unwrap();
        let string = sign_file::<SoftSha256>(signer, key, &VERIFIER, &subject, &sha256).unwrap();
        let mut buffer = [0; 512];
        let statement = subject.statement(&sha256, &mut buffer).unwrap();
        let strings = [string];
        let files = [file(&strings)];
        let release = release(&files);
        let hash = bare_digest::<sha2::Sha256>(bytes);
        let verify = || match &string {
            IntegrityString::Ed25519 { signature, .. } => {
                let key = VerifyingKey::from_bytes(key.public.try_into().unwrap()).unwrap();
                key.verify_strict(statement, &Signature::from_bytes(signature)).unwrap();
            }
            IntegrityString::EcdsaP256 { signature, .. } => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key.public).unwrap();
                let signature = p256::ecdsa::Signature::from_slice(signature).unwrap();
                key.verify(statement, &signature).unwrap();
            }
            _ => unreachable!("a signer makes signatures"),
        };
        let rounds = Rounds::run([
            &mut || verify(),
            &mut || {
                hash(false);
                verify();
            },
            &mut || checked::<Host>(&release, bytes, |_| Some(key), &VERIFIER),
        ]);
        println!(
            "| {}, once {} us | - | {} | {} | {} |",
            string.algorithm(),
            rounds.fastest(0).as_micros(),
            speed(rounds.fastest(1)),
            speed(rounds.fastest(2)),
            overhead(&rounds)
        );
    }
}

/// One line for a digest: the bare crate, the bare crate with SHA-256, and the check.
fn line(name: &str, rounds: &Rounds<3>) {
    let [alone, same_work, check] = [0, 1, 2].map(|which| speed(rounds.fastest(which)));
    println!("| {name} | {alone} | {same_work} | {check} | {} |", overhead(rounds));
}

fn speed(time: Duration) -> String {
    format!("{:.0}", 1e-6 * FILE_BYTES as f64 / time.as_secs_f64())
}

fn overhead(rounds: &Rounds<3>) -> String {
    format!("{:+.1} %", 100.0 * (rounds.ratio(2, 1) - 1.0))
}

fn checked<'k, S: Suite>(
    release: &Release<'_>,
    bytes: &[u8],
    file_key: impl FnOnce(ota_core::number::KeyId) -> Option<Key<'k>>,
    verifier: &S::Verifier,
) {
    let subject = FileSubject::of(release, FileIndex(0)).unwrap();
    let mut check = FileCheck::<S>::begin(&subject, Strength::Checksum).unwrap();
    for piece in bytes.chunks(PIECE_BYTES) {
        check.update(piece).unwrap();
    }
    black_box(check.finish(&subject, file_key, verifier).unwrap());
}

fn file<'a>(integrity: &'a [IntegrityString]) -> File<'a> {
    File {
        name: FileName::new("firmware.bin").unwrap(),
        revision: Revision::new("1.0").unwrap(),
        size: ByteLength(u64::try_from(FILE_BYTES).unwrap()),
        target: InstallTarget::new("firmware").unwrap(),
        integrity: List::from_slice(integrity),
        block_map: None,
        urls: List::empty(),
    }
}

fn release<'a>(files: &'a [File<'a>]) -> Release<'a> {
    Release {
        product: ProductId::new("lamp").unwrap(),
        hardware: List::empty(),
        package: PackageName::new("main").unwrap(),
        version: PackageVersion(1),
        epoch: SecurityEpoch(1),
        requirements: List::empty(),
        files: List::from_slice(files),
        expires: Timestamp(0),
        kind: ReleaseKind::Feature,
        notes: None,
        sbom: None,
    }
}

fn messages() {
    println!("Messages, beside copying the bytes that they carry; fastest round.");
    println!();
    println!("| message | copy, ns | encode, ns | decode, ns |");
    println!("|---|---:|---:|---:|");
    for length in [256, 1024, 4096, 16 * 1024] {
        let bytes = vec![0x5a; length];
        let block = Down::Block(Block {
            offer: [1, 2, 3, 4],
            part: Part::File(FileIndex(2)),
            offset: ByteOffset(1 << 20),
            bytes: &bytes,
        });
        let mut encoded = vec![0; length + 64];
        let mut copied = vec![0; length];
        let message = block.encode_to_slice(&mut encoded).unwrap().to_vec();
        let rounds = Rounds::run([
            &mut || {
                repeat(|| {
                    copied.copy_from_slice(black_box(&bytes));
                    sink(&copied);
                })
            },
            &mut || repeat(|| sink(black_box(&block).encode_to_slice(&mut encoded).unwrap())),
            &mut || repeat(|| sink(Down::decode(black_box(&message)).unwrap())),
        ]);
        let [copy, encode, decode] = [0, 1, 2].map(|which| each(rounds.fastest(which)));
        println!("| Block of {length} bytes | {copy} | {encode} | {decode} |");
    }
    let want = Up::WantBlocks(WantBlocks {
        offer: OfferId([1; 8]),
        grant: &[7; 48],
        part: Part::File(FileIndex(2)),
        offset: ByteOffset(1 << 20),
        block_bytes: 4096,
        want: Want::Bitmap(&[0xff, 0x7f]),
    });
    let mut encoded = vec![0; 256];
    let message = want.encode_to_slice(&mut encoded).unwrap().to_vec();
    let rounds = Rounds::run([
        &mut || repeat(|| sink(black_box(&want).encode_to_slice(&mut encoded).unwrap())),
        &mut || repeat(|| sink(Up::decode(black_box(&message)).unwrap())),
    ]);
    let [encode, decode] = [0, 1].map(|which| each(rounds.fastest(which)));
    println!("| WantBlocks of 15 blocks | - | {encode} | {decode} |");
}

/// Nanoseconds for one of the messages of a round.
fn each(time: Duration) -> u128 {
    time.as_nanos() / u128::from(MESSAGES)
}

/// Keeps a result from being optimised away with what made it.
fn sink<T>(result: T) {
    let _ = black_box(result);
}

fn repeat(mut work: impl FnMut()) {
    (0..MESSAGES).for_each(|_| work());
}
