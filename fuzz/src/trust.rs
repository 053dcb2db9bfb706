//! Signed metadata: bodies have one encoding, and under a fixed root nothing verifies but what its keys signed.

use ota_core::cbor::to_vec;
use ota_core::crypto::soft::{EcdsaP256, Ed25519, SoftSha256};
use ota_core::crypto::{Either, SIGNATURE_BYTES, SignatureAlgorithm, SignatureError, SignatureVerifier};
use ota_core::number::{Nonce, SecurityEpoch};
use ota_core::text::{DeviceId, ProductId};
use ota_core::trust::{
    Assignment, AssignmentCheck, DeviceIdentity, HashedBody, PendingNonce, Release, Root, RootCheck,
    SignatureCheck, TrustedRoot, TrustedState,
};

const ROOT: &[u8] = include_bytes!("../../ota-core/tests/golden/trust/root-1.body");
const NEXT_ROOT: &[u8] = include_bytes!("../../ota-core/tests/golden/trust/root-2.body");
const RELEASE: &[u8] = include_bytes!("../../ota-core/tests/golden/trust/release.body");
const INSTALL: &[u8] = include_bytes!("../../ota-core/tests/golden/trust/assignment-install.signed");
const CANCEL: &[u8] = include_bytes!("../../ota-core/tests/golden/trust/assignment-cancel.signed");
const NOTHING: &[u8] = include_bytes!("../../ota-core/tests/golden/trust/assignment-none.signed");

const VERIFIER: Either<Ed25519, EcdsaP256> = Either(Ed25519, EcdsaP256);
/// The nonce, device and product of the golden files.
const NONCE: Nonce = Nonce([0x5a; 16]);
const DEVICE: &str = "th-0000000042";
const PRODUCT: &str = "thermostat";

/// Says yes to everything, so that the rules behind the signatures are reached.
struct Gullible;

impl SignatureVerifier for Gullible {
    fn supports(_: SignatureAlgorithm) -> bool {
        true
    }

    fn verify(
        &self,
        _: SignatureAlgorithm,
        _: &[u8],
        _: &[u8],
        _: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), SignatureError> {
        Ok(())
    }
}

fn trusted() -> (TrustedRoot<'static>, TrustedState) {
    TrustedRoot::provision::<SoftSha256>(ROOT, SecurityEpoch(0)).expect("the golden root is one")
}

/// Divides the input into an envelope and a body by a length of two bytes in front.
fn envelope_and_body(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Whether a body holds a key of an extension that this version skips; then it is not written as it was read.
fn is_rewritten<T: PartialEq>(data: &[u8], written: &[u8], read_again: Option<T>, value: T) {
    if written != data {
        // Only what may be skipped can be missing, and without it the same is said.
        assert!(written.len() < data.len());
        assert!(read_again == Some(value));
    }
}

/// Reads a release body.
pub fn release_body(data: &[u8]) {
    let Ok(release) = Release::decode(data) else { return };
    let written = to_vec(|w| release.encode(w)).unwrap();
    is_rewritten(data, &written, Release::decode(&written).ok(), release);
    let mut names: Vec<_> = release.files.iter().map(|file| file.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), release.files.len(), "no file name comes twice");
    assert!(release.files.iter().all(|file| !file.integrity.is_empty()), "no file goes unchecked");
}

/// Reads a root body.
pub fn root_body(data: &[u8]) {
    let Ok(root) = Root::decode::<SoftSha256>(data) else { return };
    let written = to_vec(|w| root.encode(w)).unwrap();
    is_rewritten(data, &written, Root::decode::<SoftSha256>(&written).ok(), root);
    for role in &root.roles {
        assert_eq!(role.threshold == 0, role.keys.is_empty(), "a threshold of 0 is for nobody");
        assert!(usize::from(role.threshold) <= role.keys.len());
    }
}

/// Reads an assignment body.
pub fn assignment_body(data: &[u8]) {
    let Ok(assignment) = Assignment::decode(data) else { return };
    let written = to_vec(|w| assignment.encode(w)).unwrap();
    is_rewritten(data, &written, Assignment::decode(&written).ok(), assignment);
}

/// Verifies an arbitrary release against the fixed root.
pub fn verify_release(data: &[u8]) {
    let Some((envelope, body)) = envelope_and_body(data) else { return };
    let (root, _) = trusted();
    let check = || SignatureCheck::begin(&root, envelope, HashedBody::hash::<SoftSha256>(body));
    if let Ok(signed) = check().and_then(|check| check.verify_all(&VERIFIER)) {
        assert_eq!(body, RELEASE, "nothing else was ever signed by these keys");
        assert_eq!(signed.release().product.as_str(), PRODUCT);
    }
    let _ = check().and_then(|check| check.verify_all(&Gullible));
}

/// Verifies an arbitrary next root against the fixed one.
pub fn verify_root(data: &[u8]) {
    let Some((envelope, body)) = envelope_and_body(data) else { return };
    let (root, state) = trusted();
    let check =
        || RootCheck::begin::<SoftSha256>(&root, &state, envelope, HashedBody::hash::<SoftSha256>(body));
    if check().and_then(|check| check.verify_all(&VERIFIER)).is_ok() {
        assert_eq!(body, NEXT_ROOT, "nothing else was ever signed by these keys");
    }
    if let Ok((next, next_state)) = check().and_then(|check| check.verify_all(&Gullible)) {
        assert_eq!(next.root().version.0, root.root().version.0 + 1);
        assert!(next_state.generations.is_at_least(&state.generations));
        assert_eq!(next_state.epoch, state.epoch);
    }
}

/// Verifies an arbitrary assignment for the device of the golden files.
pub fn verify_assignment(data: &[u8]) {
    let (root, state) = trusted();
    let device =
        DeviceIdentity { device: DeviceId::new(DEVICE).unwrap(), product: ProductId::new(PRODUCT).unwrap() };
    let check = || AssignmentCheck::begin(&root, &state, device, data);
    let mut nonce = PendingNonce::new(NONCE);
    match check().and_then(|check| check.answer(&mut nonce, &VERIFIER)) {
        Ok((_, next)) => {
            assert!([INSTALL, CANCEL, NOTHING].contains(&data), "nothing else was signed by this key");
            assert!(!nonce.is_pending(), "an answer counts once");
            assert!(next.last_time >= state.last_time);
        }
        Err(_) => assert!(nonce.is_pending(), "a forged answer does not keep the true one out"),
    }
    if let Ok((verified, _)) =
        check().and_then(|check| check.answer(&mut PendingNonce::new(NONCE), &Gullible))
    {
        assert_eq!(verified.nonce(), NONCE);
        assert!(verified.issued() < verified.expires());
    }
}
