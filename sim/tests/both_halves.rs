//! The walking skeleton: the real device engine and the real server in one process, over the memory link and the
//! memory stores. Check-in, offer, blocks, verify, confirm, report.

use ota_core::conformance::MemoryStorage;
use ota_core::device::Granularity;
use ota_core::fleet::records::{AttemptPhase, CampaignState, PersonRole};
use ota_core::number::{ByteLength, CampaignId};
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_device::Activity;
use ota_server::AuditCheck;
use ota_sim::device::{DEVICE, firmware_image};
use ota_sim::fleet_server::{EVIDENCE_KEY, FleetServer, person};
use ota_sim::link::LinkConfig;
use ota_sim::random::Dice;
use ota_sim::workshop::{SourceFile, Terms};
use ota_sim::world::{Answers, End, Verdict, World};

type Joined = World<MemoryStorage, FleetServer>;

fn joined(seed: u64, installed: &[SourceFile]) -> Joined {
    let targets = ["firmware", "app", "data", "certificates"];
    let granularity = Granularity { write: 4, erase: 1024 };
    let storage = MemoryStorage::with_targets(granularity, &targets, ByteLength(1 << 20), 8);
    World::joined(storage, FleetServer::new(DEVICE, seed), &FleetServer::root_body(), seed, installed)
}

fn file(name: &str, revision: &str, target: &str, length: usize, seed: u64) -> SourceFile {
    SourceFile::new(name, revision, target, Dice::new(seed).bytes(length))
}

/// Where the device stands in a campaign, as the server counts it.
fn phases(world: &Joined, campaign: CampaignId) -> Vec<(AttemptPhase, u64)> {
    let FleetServer { server, runtime, .. } = &world.server;
    let operator = person("operator", PersonRole::Operator);
    let progress = runtime.block_on(server.progress(&operator, campaign)).unwrap();
    progress.now.iter().map(|line| (line.phase, line.devices)).collect()
}

fn has_confirmed(world: &Joined, campaign: CampaignId) -> bool {
    phases(world, campaign) == [(AttemptPhase::Confirmed, 1)]
}

/// What must be true whatever happened: counters equal a recount, and the audit chain holds.
fn assert_books_are_right(world: &Joined) {
    let FleetServer { server, runtime, .. } = &world.server;
    let administrator = person("administrator", PersonRole::Administrator);
    let recount = runtime.block_on(server.recount(&administrator)).unwrap();
    assert_eq!(recount.differences, []);
    let checked = runtime.block_on(server.verify_audit(&administrator, None)).unwrap();
    assert!(matches!(checked, AuditCheck::Intact { entries: 1.., .. }), "{checked:?}");
}

#[test]
fn one_file_goes_from_check_in_to_confirmed() {
    let old = [file("app.bin", "1", "app", 3000, 1)];
    let new = [file("app.bin", "2", "app", 50_001, 2)];
    let mut world = joined(1, &old);
    let campaign = world.server.roll_out(&Terms::default(), &new);
    let end = world.run_through(Millis(600_000), |world, _| has_confirmed(world, campaign));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, phases(&world, campaign));
    assert!(world.has_installed(&new));

    let operator = person("operator", PersonRole::Operator);
    let id = DeviceIdBuf::new(DEVICE).unwrap();
    let FleetServer { server, runtime, .. } = &world.server;
    let device = runtime.block_on(server.device(&operator, &id)).unwrap();
    let seen: Vec<_> = device.history[0].moments.iter().map(|moment| moment.phase).collect();
    assert_eq!(seen.first(), Some(&AttemptPhase::Offered));
    assert_eq!(seen.last(), Some(&AttemptPhase::Confirmed));
    assert_eq!(device.installed[0].revision, "2".into());
    runtime.block_on(server.tick()).unwrap();
    let state = runtime.block_on(server.progress(&operator, campaign)).unwrap().campaign.state;
    assert_eq!(state, CampaignState::Completed);
    assert_books_are_right(&world);
}

#[test]
fn firmware_and_files_together_survive_a_restart_and_a_bad_link() {
    let firmware = |seed| firmware_image(&Dice::new(seed).bytes(20_000));
    let old = [SourceFile::new("fw.bin", "1", "firmware", firmware(1)), file("app.bin", "1", "app", 3000, 1)];
    let new =
        [SourceFile::new("fw.bin", "2", "firmware", firmware(2)), file("app.bin", "2", "app", 10_000, 4)];
    for seed in 1..=10 {
        let mut world = joined(seed, &old);
        world.set_link(LinkConfig { loss: 50_000, duplicates: 20_000, ..LinkConfig::PERFECT });
        let campaign = world.server.roll_out(&Terms::default(), &new);
        let end = world.run_through(Millis(3_600_000), |_, progress| {
            progress.activity == Activity::Downloading && progress.done.0 > 8000
        });
        assert_eq!(end, End::Reached, "seed {seed}: {:?}", world.events);
        world.restart();
        let end = world.run_through(Millis(24 * 3_600_000), |world, _| has_confirmed(world, campaign));
        assert_eq!(end, End::Reached, "seed {seed}: {:?} {:?}", world.events, phases(&world, campaign));
        assert!(world.has_installed(&new), "seed {seed}");
        assert_books_are_right(&world);
    }
}

#[test]
fn a_failed_self_test_brings_the_old_set_back_and_the_server_hears_why() {
    let firmware = |seed| firmware_image(&Dice::new(seed).bytes(20_000));
    let old = [SourceFile::new("fw.bin", "1", "firmware", firmware(1))];
    let new = [SourceFile::new("fw.bin", "2", "firmware", firmware(2))];
    let mut world = joined(1, &old);
    world.verdict = Verdict::Fail;
    world.policy.confirm = ota_device::Confirm::SelfTest;
    let campaign = world.server.roll_out(&Terms::default(), &new);
    let rolled_back = |world: &Joined, _: &_| {
        phases(world, campaign).iter().any(|(phase, _)| *phase == AttemptPhase::RolledBack)
    };
    let end = world.run_through(Millis(24 * 3_600_000), rolled_back);
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, phases(&world, campaign));
    assert!(world.has_installed(&old));
    assert_books_are_right(&world);
}

#[test]
fn a_device_with_a_key_proves_what_it_says_and_one_without_only_claims_it() {
    for (key, is_proven) in [(Some(EVIDENCE_KEY), true), (None, false), (Some([1; 32]), false)] {
        let old = [file("app.bin", "1", "app", 3000, 1)];
        let new = [file("app.bin", "2", "app", 10_000, 2)];
        let mut world = joined(1, &old);
        world.key = key;
        world.restart();
        let campaign = world.server.roll_out_attested(&Terms::default(), &new);
        let end = world.run_through(Millis(3_600_000), |world, _| has_confirmed(world, campaign));
        assert_eq!(end == End::Reached, is_proven, "{key:?}: {:?}", phases(&world, campaign));
        let FleetServer { server, runtime, .. } = &world.server;
        let operator = person("operator", PersonRole::Operator);
        let id = DeviceIdBuf::new(DEVICE).unwrap();
        let device = runtime.block_on(server.device(&operator, &id)).unwrap();
        assert_eq!(device.history.iter().any(|line| line.attested), is_proven, "{key:?}");
        // A foreign key is forged evidence: such a device gets no offer at all. None is a claim, and gates wait.
        assert_eq!(device.history.is_empty(), key == Some([1; 32]), "{key:?}");
        assert_eq!(world.has_installed(&new), key != Some([1; 32]), "{key:?}");
        assert_books_are_right(&world);
    }
}

#[test]
fn rubbish_from_a_device_gets_a_refusal_and_changes_nothing() {
    let mut world = joined(1, &[file("app.bin", "1", "app", 3000, 1)]);
    for rubbish in [&[][..], &[0xff], &[0x80], &[0x82, 0x18, 0x63, 0], &[0x9f; 100]] {
        for answer in world.server.receive(rubbish, ota_core::time::Instant(1)) {
            let refusal = ota_core::wire::Down::decode(&answer).unwrap();
            assert!(matches!(refusal, ota_core::wire::Down::Refuse(_)), "{refusal:?}");
        }
    }
    assert_books_are_right(&world);
}
