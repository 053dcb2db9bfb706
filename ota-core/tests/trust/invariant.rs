//! The invariant: a stolen server can at worst withhold updates, or assign again a release that the release keys
//! signed, for the right product and hardware and not below the device's epoch.

use ota_core::number::{Nonce, SecurityEpoch};
use ota_core::time::Timestamp;
use ota_core::trust::{Action, PendingNonce, Role};
use proptest::prelude::*;

use crate::support::*;

/// Everything that whoever holds the server's key can choose.
#[derive(Debug, Clone)]
struct Attack {
    foreign_product: bool,
    foreign_hardware: bool,
    epoch: u32,
    signers: Vec<u8>,
    /// A byte of the body changed after signing.
    flipped: Option<(usize, u8)>,
    other_assigned: bool,
    lifetime_ms: u64,
    issued_ms: u64,
}

fn attack() -> impl Strategy<Value = Attack> {
    let signers = prop::sample::subsequence(vec![11_u8, 12, 113, 1, 2, SERVER_KEY, FILE_KEY, 90, 91], 0..=9);
    let flipped = prop::option::weighted(0.3, (any::<usize>(), 1..=255_u8));
    let odd = || prop::bool::weighted(0.15);
    (odd(), odd(), 0..8_u32, signers, flipped, odd(), any::<u64>(), any::<u64>()).prop_map(
        |(
            foreign_product,
            foreign_hardware,
            epoch,
            signers,
            flipped,
            other_assigned,
            lifetime_ms,
            issued_ms,
        )| {
            // Half of the moments are plausible ones, so that a good part of the attacks gets past the time.
            let issued_ms = if issued_ms % 2 == 0 { day(issued_ms % 600).0 } else { issued_ms };
            Attack {
                foreign_product,
                foreign_hardware,
                epoch,
                signers,
                flipped,
                other_assigned,
                lifetime_ms,
                issued_ms,
            }
        },
    )
}

impl Attack {
    /// Whether the device would install, and whether it may.
    fn run(&self) -> (bool, bool) {
        let mut spec = ReleaseSpec { epoch: self.epoch, ..ReleaseSpec::usual() };
        if self.foreign_product {
            spec.product = "doorbell";
        }
        if self.foreign_hardware {
            spec.hardware = vec!["rev-z"];
        }
        let signed_body = spec.body();
        let envelope = envelope(&signed_body, Role::Release, &self.signers);
        let mut body = signed_body.clone();
        if let Some((offset, mask)) = self.flipped {
            let offset = offset % body.len();
            body[offset] ^= mask;
        }
        let assigned: &[u8] = if self.other_assigned { b"something else" } else { &body };
        let install = AssignmentSpec {
            issued: Timestamp(self.issued_ms),
            expires: Timestamp(self.issued_ms.saturating_add(self.lifetime_ms)),
            ..AssignmentSpec::install(assigned)
        };
        let mut device = Device::new();
        let installs = device
            .hear_fresh(&install.signed())
            .and_then(|assigned| device.check(&assigned, &envelope, &body))
            .is_ok();
        let release_keys = self.signers.iter().filter(|key| RELEASE_KEYS.contains(key)).count();
        let may = body == signed_body
            && release_keys >= 2
            && !self.foreign_product
            && !self.foreign_hardware
            && SecurityEpoch(self.epoch) >= device.state.epoch;
        (installs, may)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stolen_server_installs_nothing_that_release_keys_did_not_sign(attack in attack()) {
        let (installs, may) = attack.run();
        prop_assert!(may || !installs);
    }
}

#[test]
fn a_stolen_server_can_assign_again_what_release_keys_signed() {
    // The other half of the sentence: without it the property above would hold of a device that never updates.
    let good = Attack {
        foreign_product: false,
        foreign_hardware: false,
        epoch: 3,
        signers: vec![11, 113],
        flipped: None,
        other_assigned: false,
        lifetime_ms: 1000,
        issued_ms: day(10).0,
    };
    assert_eq!(good.run(), (true, true));
    // Each single deviation ends it.
    for bad in [
        Attack { foreign_product: true, ..good.clone() },
        Attack { foreign_hardware: true, ..good.clone() },
        Attack { epoch: 2, ..good.clone() },
        Attack { signers: vec![11, SERVER_KEY, FILE_KEY, 1, 2], ..good.clone() },
        Attack { flipped: Some((40, 1)), ..good.clone() },
        Attack { other_assigned: true, ..good.clone() },
        Attack { lifetime_ms: 0, ..good.clone() },
        Attack { issued_ms: 1, ..good },
    ] {
        assert!(!bad.run().0, "{bad:?}");
    }
}

#[test]
fn a_stolen_server_signs_no_root_and_no_release() {
    let mut device = Device::new();
    let (_, body) = signed_release(&ReleaseSpec::usual());
    for role in Role::ALL {
        let forged = envelope(&body, role, &[SERVER_KEY]);
        assert!(device.would_install(&forged, &body).is_err());
        let root = RootSpec::second().with_root_keys(1, &[SERVER_KEY + 1]).body();
        let forged = envelope(&root, role, &[SERVER_KEY, SERVER_KEY + 1]);
        assert!(device.follow(&forged, &root).is_err());
    }
}

#[test]
fn a_stolen_server_withholds_updates_and_that_is_seen_no_later_than_the_root_expires() {
    let mut device = Device::new();
    for (round, days) in [10, 100, 999].into_iter().enumerate() {
        let nonce = Nonce([u8::try_from(round).unwrap(); 16]);
        let nothing = AssignmentSpec {
            nonce,
            issued: day(days),
            expires: day(days + 1),
            ..AssignmentSpec::of(Action::None)
        };
        assert!(device.hear(&mut PendingNonce::new(nonce), &nothing.signed()).is_ok());
    }
    assert!(device.state.last_time < device.root.root().expires);
}
