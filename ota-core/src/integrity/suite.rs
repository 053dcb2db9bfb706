//! Which algorithms a build links, as a type: the linker drops what no suite of the product names.

use core::convert::Infallible;

use super::{Algorithm, IntegrityString};
use crate::crypto::{Hasher, Sha256, SignatureVerifier};
use crate::wire::AlgorithmSet;

/// A hasher that says which integrity strings it computes.
///
/// SHA-256 is not among them: every suite has it anyway, as [`Suite::Sha256`].
pub trait FileHasher: Hasher {
    /// The algorithm whose value it computes.
    const ALGORITHM: Algorithm;
}

/// The algorithms that a product can check files with.
///
/// ```
/// # #[cfg(all(feature = "sha2", feature = "sha3", feature = "crc32", feature = "ed25519"))] {
/// use ota_core::crypto::soft::{Ed25519, SoftCrc32, SoftSha3_256, SoftSha256};
/// use ota_core::integrity::{Algorithm, Suite};
///
/// struct Product;
/// impl Suite for Product {
///     type Sha256 = SoftSha256;
///     type Others = (SoftCrc32, SoftSha3_256);
///     type Verifier = Ed25519;
/// }
/// assert!(Product::algorithms().contains(Algorithm::Ed25519));
/// assert!(!Product::algorithms().contains(Algorithm::Sha512));
/// # }
/// ```
pub trait Suite {
    /// Computes SHA-256, which every check yields and every signature covers.
    type Sha256: Sha256;
    /// Computes further digests: `()`, or a tuple of up to four [`FileHasher`]s.
    type Others: Digests;
    /// Checks signatures; [`NoSignatures`](crate::crypto::NoSignatures) where there are none.
    type Verifier: SignatureVerifier;

    /// Everything that the suite can check, as a device announces it.
    #[must_use]
    fn algorithms() -> AlgorithmSet {
        let computes = |algorithm: Algorithm| match algorithm.signature() {
            Some(scheme) => Self::Verifier::supports(scheme),
            None => algorithm == Algorithm::Sha256 || Self::Others::computes(algorithm),
        };
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| computes(*algorithm))
            .fold(AlgorithmSet::default(), AlgorithmSet::with)
    }
}

/// Hashers of which one runs at a time. Implemented for `()` and for tuples of up to four [`FileHasher`]s.
pub trait Digests {
    /// The one that runs; as large as the largest of them.
    type Running: Clone;

    /// Whether one of them computes the algorithm.
    fn computes(algorithm: Algorithm) -> bool;

    /// Starts the one that computes the algorithm, if there is one.
    fn start(algorithm: Algorithm) -> Option<Self::Running>;

    /// Adds bytes.
    fn update(running: &mut Self::Running, bytes: &[u8]);

    /// Whether the digest of everything that was added is the one of the string.
    fn matches(running: Self::Running, expected: &IntegrityString) -> bool;
}

impl Digests for () {
    type Running = Infallible;

    fn computes(_: Algorithm) -> bool {
        false
    }

    fn start(_: Algorithm) -> Option<Infallible> {
        None
    }

    fn update(running: &mut Infallible, _: &[u8]) {
        match *running {}
    }

    fn matches(running: Infallible, _: &IntegrityString) -> bool {
        match running {}
    }
}

/// One of up to four running hashers; places that a suite does not fill can hold nothing and cost nothing.
#[derive(Debug, Clone)]
pub enum OneOf<A, B = Infallible, C = Infallible, D = Infallible> {
    /// The first.
    A(A),
    /// The second.
    B(B),
    /// The third.
    C(C),
    /// The fourth.
    D(D),
}

macro_rules! digests {
    ($($place:ident),+; $($vacant:ident),*) => {
        impl<$($place: FileHasher),+> Digests for ($($place,)+) {
            type Running = OneOf<$($place),+>;

            fn computes(algorithm: Algorithm) -> bool {
                [$($place::ALGORITHM),+].contains(&algorithm)
            }

            fn start(algorithm: Algorithm) -> Option<Self::Running> {
                $(if $place::ALGORITHM == algorithm {
                    return Some(OneOf::$place($place::new()));
                })+
                None
            }

            #[inline]
            fn update(running: &mut Self::Running, bytes: &[u8]) {
                match running {
                    $(OneOf::$place(hasher) => hasher.update(bytes),)+
                    $(OneOf::$vacant(never) => match *never {},)*
                }
            }

            fn matches(running: Self::Running, expected: &IntegrityString) -> bool {
                match running {
                    $(OneOf::$place(hasher) => expected.is_digest($place::ALGORITHM, hasher.finish().as_ref()),)+
                }
            }
        }
    };
}

digests!(A; B, C, D);
digests!(A, B; C, D);
digests!(A, B, C; D);
digests!(A, B, C, D;);
