//! What happens to a device around its updates, each as a short story.

use ota_core::conformance::{CutPoint, MemoryStorage};
use ota_core::device::{Area, DeviceStorage as _, Log, Slot};
use ota_core::number::{ByteLength, ByteOffset};
use ota_core::time::{Instant, Millis};
use ota_core::trust::Action;
use ota_core::wire::{Cancel, Down, Phase, ReportCode};
use ota_device::{Activity, Command, Confirm, ExternalDownloads, Policy, Progress, When};
use ota_sim::device::{LeastProfile, SimBoot, firmware_image, firmware_target};
use ota_sim::host::{Behaviour, Host};
use ota_sim::link::LinkConfig;
use ota_sim::medium::{CutFlash, FlashMedium, Medium};
use ota_sim::random::Dice;
use ota_sim::workshop::{BEGINNING, SourceFile, Terms, Workshop};
use ota_sim::world::{End, Verdict, World};

const MINUTE: Millis = Millis(60_000);
const HOUR: Millis = Millis(3_600_000);
const DAY: Millis = Millis(24 * HOUR.0);

fn file(name: &str, revision: &str, target: &str, length: usize, seed: u64) -> SourceFile {
    SourceFile::new(name, revision, target, Dice::new(seed).bytes(length))
}

fn firmware(revision: &str, seed: u64) -> SourceFile {
    SourceFile::new("fw.bin", revision, "firmware", firmware_image(&Dice::new(seed).bytes(20_000)))
}

fn old() -> Vec<SourceFile> {
    vec![firmware("1", 1), file("app.bin", "1", "app", 9_000, 2)]
}

fn new() -> Vec<SourceFile> {
    vec![firmware("2", 3), file("app.bin", "2", "app", 30_000, 4)]
}

fn offered(terms: &Terms, files: Vec<SourceFile>) -> World<MemoryStorage> {
    let mut world = World::in_memory(11, &old());
    world.verdict = Verdict::Pass;
    world.set_link(LinkConfig { delay_ms: 10, bits_per_second: 2_000_000, ..LinkConfig::PERFECT });
    world.server.release = Some(world.server.workshop.release(terms, files));
    world
}

fn confirmed<S>(world: &World<S>) -> bool {
    world.server.has_heard(Phase::Confirmed)
}

fn last_code(world: &World<MemoryStorage>) -> Option<(Phase, ReportCode)> {
    world.server.heard.last().map(|heard| (heard.phase, heard.code))
}

/// Runs until the attempt has failed, and returns with which code. The old set must be active then.
fn fails(mut world: World<MemoryStorage>) -> ReportCode {
    let end = world.run_through(HOUR, |world, _| world.server.has_heard(Phase::Failed));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
    assert!(world.has_installed(&old()));
    assert!(!world.events.iter().any(|event| event == "RestartNeeded"));
    last_code(&world).unwrap().1
}

#[test]
fn a_release_whose_terms_the_device_does_not_meet_changes_nothing_and_says_why() {
    let terms = Terms::default;
    assert_eq!(fails(offered(&Terms { epoch: 0, ..terms() }, new())), ReportCode::RolledBackEpoch);
    let hardware = vec!["rev-a".to_owned()];
    assert_eq!(fails(offered(&Terms { hardware, ..terms() }, new())), ReportCode::WrongHardware);
    assert_eq!(fails(offered(&Terms { expires: BEGINNING, ..terms() }, new())), ReportCode::Expired);
    let requires = vec![("app.bin".to_owned(), "0.9".to_owned())];
    assert_eq!(fails(offered(&Terms { requires, ..terms() }, new())), ReportCode::RequirementNotMet);
    let elsewhere = vec![file("x.bin", "1", "toaster", 10, 1)];
    assert_eq!(fails(offered(&terms(), elsewhere)), ReportCode::UnknownTarget);
    let huge = vec![file("x.bin", "1", "app", (1 << 20) + 1, 1)];
    assert_eq!(fails(offered(&terms(), huge)), ReportCode::TooLarge);
}

#[test]
fn a_release_that_somebody_else_signed_is_refused() {
    let mut world = offered(&Terms::default(), new());
    world.server.release = Some(Workshop::impostor().release(&Terms::default(), new()));
    assert_eq!(fails(world), ReportCode::Signature);
}

#[test]
fn incident_25_an_epoch_that_the_device_cannot_hold_is_found_out_before_anything_is_committed() {
    // MCUboot fe8f9fc0: exhausted counter slots were noticed after the permanent swap.
    let mut world = offered(&Terms { epoch: 9, ..Terms::default() }, new());
    world.boot.epoch_max = 8;
    assert_eq!(fails(world), ReportCode::EpochExhausted);
}

#[test]
fn the_word_of_a_server_that_somebody_else_plays_is_never_believed() {
    let mut world = offered(&Terms::default(), new());
    world.server.workshop = Workshop::impostor();
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Time);
    assert!(world.statistics.metadata_refused > 0);
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn a_restart_in_the_middle_fetches_only_what_was_not_written_down() {
    for cut in [CutPoint::Before, CutPoint::Inside, CutPoint::After] {
        let files = vec![file("app.bin", "2", "app", 400_000, 4)];
        let mut world = offered(&Terms::default(), files.clone());
        let operations = world.storage.operations();
        world.storage.cut_at(operations + 150, cut);
        assert_eq!(world.run(Instant(HOUR.0), &|_, _| false), End::Power);
        let before = world.server.served_bytes;
        assert!(before > 100_000);
        world.restart();
        assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached);
        assert!(world.has_installed(&files));
        let twice = world.server.served_bytes - 400_000;
        assert!(twice < 4096 + 64 * 1024 + 2000, "{twice} bytes were fetched twice");
    }
}

#[test]
fn files_that_the_device_has_are_not_fetched() {
    let files = vec![old()[0].clone(), file("app.bin", "2", "app", 30_000, 4)];
    let mut world = offered(&Terms::default(), files.clone());
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached);
    assert!(world.has_installed(&files));
    assert!(world.server.served_bytes < 33_000, "{}", world.server.served_bytes);
    assert!(!world.events.iter().any(|event| event == "RestartNeeded"), "the firmware stays");
}

#[test]
fn units_that_did_not_change_are_copied() {
    let mut bytes = Dice::new(2).bytes(200_000);
    let before = [firmware("1", 1), SourceFile::new("app.bin", "1", "app", bytes.clone())];
    bytes[100_000] ^= 1;
    let after = vec![SourceFile::new("app.bin", "2", "app", bytes).in_units(4096)];
    let mut world = World::in_memory(5, &before);
    world.server.release = Some(world.server.workshop.release(&Terms::default(), after.clone()));
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached);
    assert!(world.has_installed(&after));
    assert_eq!(world.statistics.units_reused, 48);
    assert!(world.server.served_bytes < 10_000, "{}", world.server.served_bytes);
}

#[test]
fn new_firmware_that_fails_its_self_test_gives_way_to_the_old_set() {
    let mut world = offered(&Terms { epoch: 7, ..Terms::default() }, new());
    world.policy.confirm = Confirm::SelfTest;
    world.verdict = Verdict::Fail;
    let end = world.run_through(HOUR, |world, _| world.server.has_heard(Phase::RolledBack));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
    assert_eq!(last_code(&world).unwrap().1, ReportCode::SelfTestFailed);
    assert!(world.has_installed(&old()));
    // The epoch is not raised by what did not prove itself: the old release can be installed again.
    world.server.release = Some(world.server.workshop.release(&Terms::default(), new()));
    world.verdict = Verdict::Pass;
    assert_eq!(world.run_through(Millis(HOUR.0 * 48), |world, _| confirmed(world)), End::Reached);
}

#[test]
fn new_files_that_nobody_confirms_in_time_give_way_to_the_old_set() {
    let mut world = offered(&Terms::default(), vec![file("app.bin", "2", "app", 3_000, 4)]);
    world.policy = Policy { confirm: Confirm::SelfTest, confirm_within: MINUTE, ..Policy::default() };
    world.verdict = Verdict::Silent;
    let end = world.run_through(HOUR, |world, _| world.server.has_heard(Phase::RolledBack));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
    assert_eq!(last_code(&world).unwrap().1, ReportCode::ConfirmTimeout);
    assert!(world.has_installed(&old()));
}

#[test]
fn a_step_that_is_offered_during_the_trial_of_the_one_before_it_follows_at_once() {
    let mut world = offered(&Terms::default(), new());
    let is_on_trial = |world: &World<MemoryStorage>| world.events.iter().any(|event| event == "OnTrial");
    assert_eq!(world.run_through(HOUR, |world, _| is_on_trial(world)), End::Reached);
    // The goal behind the stepping stone is known to the server from the first word of the new files on.
    let goal = vec![firmware("3", 5), file("app.bin", "3", "app", 30_000, 6)];
    world.server.release = Some(world.server.workshop.release(&Terms::default(), goal.clone()));
    let confirmed_twice = |world: &World<MemoryStorage>| {
        world.server.heard.iter().filter(|heard| heard.phase == Phase::Confirmed).count() == 2
    };
    let began = world.now;
    assert_eq!(
        world.run_through(HOUR, |world, _| confirmed_twice(world)),
        End::Reached,
        "{:?}",
        world.events
    );
    assert!(world.has_installed(&goal));
    assert!(world.now.since(began) < Millis(2 * MINUTE.0), "{:?}", world.now);
}

#[test]
fn a_certificate_that_cuts_the_device_off_is_taken_back() {
    let before = vec![firmware("1", 1), file("cert.pem", "1", "certificates", 900, 5)];
    let mut world = World::in_memory(3, &before);
    world.policy = Policy { confirm: Confirm::SelfTest, confirm_within: MINUTE, ..Policy::default() };
    world.verdict = Verdict::Pass;
    let after = vec![file("cert.pem", "2", "certificates", 900, 6)];
    world.server.release = Some(world.server.workshop.release(&Terms::default(), after));
    let is_on_trial = |world: &World<MemoryStorage>| world.events.iter().any(|event| event == "OnTrial");
    assert_eq!(world.run_through(HOUR, |world, _| is_on_trial(world)), End::Reached);
    let cut_off = LinkConfig { loss: 1_000_000, ..LinkConfig::PERFECT };
    world.set_link(cut_off);
    let reverted =
        |world: &World<MemoryStorage>| world.events.iter().any(|event| event == "Reverted(ConnectivityLost)");
    let end = world.run_through(HOUR, |world, _| reverted(world));
    assert_eq!(end, End::Reached, "{:?}", world.events);
    assert!(world.has_installed(&before));
}

#[test]
fn a_release_that_is_withdrawn_while_it_is_staged_is_not_committed() {
    let mut world = offered(&Terms::default(), new());
    world.policy.install = When::Asked;
    let is_verified = |world: &World<MemoryStorage>| world.events.iter().any(|event| event == "Verified");
    world.commands = vec![(Instant(10 * MINUTE.0), Command::Go)];
    let withdraw_at = Instant(5 * MINUTE.0);
    assert_eq!(world.run(withdraw_at, &|_, _| false), End::Time);
    assert!(is_verified(&world));
    // The device lives on without the restart that `run` stands for.
    world.server.release = None;
    assert_eq!(world.run_through(HOUR, |world, _| world.server.has_heard(Phase::Confirmed)), End::Time);
    assert!(world.has_installed(&old()));
    assert!(!world.events.iter().any(|event| event == "RestartNeeded"));
}

#[test]
fn a_signed_cancellation_ends_the_download_and_an_unsigned_one_does_not() {
    for workshop in [Workshop::new(), Workshop::impostor()] {
        let is_real = workshop.root(1) == Workshop::new().root(1);
        let mut world = offered(&Terms::default(), new());
        world.set_link(LinkConfig { delay_ms: 10, bits_per_second: 50_000, ..LinkConfig::PERFECT });
        // The nonce is drawn from the world's seed; a first run tells which it is.
        let nonce = world.peek_nonce();
        let release = world.server.release.as_ref().unwrap().id();
        let device = ota_sim::device::identity().device;
        let signed = workshop.assignment(device, nonce, BEGINNING.plus(MINUTE), Action::Cancel(release));
        let message = Down::Cancel(Cancel { assignment: &signed }).to_vec().unwrap();
        world.injected = vec![(Instant(3_000), message)];
        let end = world.run_through(Millis(50_000), |world, _| world.server.has_heard(Phase::Failed));
        assert_eq!(end == End::Reached, is_real, "{:?}", world.server.heard);
        if is_real {
            assert_eq!(last_code(&world).unwrap().1, ReportCode::Cancelled);
        }
    }
}

#[test]
fn roots_are_taken_over_one_by_one_and_a_stolen_server_key_loses_its_hold() {
    let mut world = offered(&Terms::default(), new());
    for version in 2..=4 {
        world.server.workshop.replace_assignment_key();
        let root = world.server.workshop.root(version);
        world.server.roots.push(root);
    }
    let end = world.run_through(HOUR, |world, _| confirmed(world));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.statistics);
    assert!(world.has_installed(&new()));
    // The first key signed for years; now nobody listens to it any more.
    world.server.workshop = Workshop::new();
    world.server.roots.truncate(1);
    world.server.release =
        Some(world.server.workshop.release(&Terms { version: 9, ..Terms::default() }, old()));
    assert_eq!(world.run_through(Millis(48 * HOUR.0), |_, _| false), End::Time);
    assert!(world.has_installed(&new()));
}

#[test]
fn a_root_that_others_signed_is_not_taken_over_and_does_not_stop_updates() {
    let mut world = offered(&Terms::default(), new());
    world.server.roots.push(Workshop::impostor().root(2));
    let end = world.run_through(HOUR, |world, _| confirmed(world));
    assert_eq!(end, End::Reached, "{:?} {:?} {:?}", world.events, world.statistics, world.progress);
    assert!(world.statistics.metadata_refused > 0 || world.has_installed(&new()));
}

#[test]
fn a_file_that_is_hosted_elsewhere_falls_back_to_blocks() {
    let mut hosted = file("app.bin", "2", "app", 30_000, 4);
    hosted.url = Some("https://files.example/app.bin".into());
    let mut world = offered(&Terms::default(), vec![hosted.clone()]);
    world.external = ExternalDownloads::Yes;
    world.commands = vec![(Instant(5_000), Command::ExternalFailed)];
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached, "{:?}", world.events);
    assert!(world.events.iter().any(|event| event == "FetchExternally"));
    assert!(world.has_installed(&[hosted]));
}

/// A device that fetches from a host elsewhere, and how that went.
fn hosted(behaviour: Behaviour, unit: Option<u32>) -> (World<MemoryStorage>, SourceFile) {
    let mut hosted = SourceFile { unit, ..file("app.bin", "2", "app", 100_000, 4) };
    hosted.url = Some("https://files.example/app.bin".into());
    let mut world = offered(&Terms::default(), vec![hosted.clone()]);
    world.external = ExternalDownloads::Yes;
    let files = [(hosted.url.clone().unwrap(), hosted.bytes.clone())];
    world.host = Some(Host::new(files.into(), behaviour));
    (world, hosted)
}

#[test]
fn a_file_that_is_hosted_elsewhere_is_fetched_from_there_and_checked_like_any_other() {
    for unit in [None, Some(4096)] {
        let (mut world, hosted) = hosted(Behaviour::Honest, unit);
        assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached, "{:?}", world.events);
        assert!(world.has_installed(&[hosted]));
        assert_eq!(world.host.unwrap().served_bytes, 100_000);
        assert!(world.server.served_bytes < 10_000, "the server served metadata only");
    }
}

#[test]
fn a_download_from_elsewhere_goes_on_where_a_power_cut_stopped_it() {
    for unit in [None, Some(4096)] {
        let (mut world, hosted) = hosted(Behaviour::Honest, unit);
        let operations = world.storage.operations();
        world.storage.cut_at(operations + 60, CutPoint::Inside);
        assert_eq!(world.run(Instant(HOUR.0), &|_, _| false), End::Power);
        world.restart();
        assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached, "{:?}", world.events);
        assert!(world.has_installed(&[hosted]));
        let served = world.host.unwrap().served_bytes;
        assert!((100_000..130_000).contains(&served), "{served} bytes came from the host");
        assert!(world.server.served_bytes < 20_000, "the server served metadata only");
    }
}

#[test]
fn a_host_that_breaks_falls_silent_or_lies_is_replaced_by_blocks_and_the_server_hears_of_it() {
    for behaviour in [Behaviour::BreaksAt(40_000), Behaviour::SilentAt(40_000), Behaviour::LiesFrom(40_000)] {
        for unit in [None, Some(4096)] {
            let (mut world, hosted) = hosted(behaviour, unit);
            let end = world.run_through(HOUR, |world, _| confirmed(world));
            assert_eq!(end, End::Reached, "{behaviour:?} {unit:?} {:?}", world.events);
            assert!(world.has_installed(&[hosted]), "{behaviour:?} {unit:?}");
            let served = world.server.served_bytes;
            let lies_are_found_at_the_end = matches!(behaviour, Behaviour::LiesFrom(_)) && unit.is_none();
            if lies_are_found_at_the_end {
                assert!(served > 100_000, "without a block map the file is fetched anew: {served}");
            } else {
                assert!(
                    (50_000..80_000).contains(&served),
                    "what was good is kept: {behaviour:?} {unit:?} {served}"
                );
                let told = world.server.heard.iter().any(|heard| heard.code == ReportCode::ExternalDownload);
                assert!(told, "{behaviour:?} {unit:?}");
            }
        }
    }
}

#[test]
fn a_pause_is_no_silence_of_the_host() {
    let (mut world, hosted) = hosted(Behaviour::Honest, Some(4096));
    world.host.as_mut().unwrap().block_time = Millis(100);
    world.commands = vec![(Instant(3_000), Command::Pause), (Instant(HOUR.0), Command::Resume)];
    assert_eq!(world.run_through(Millis(HOUR.0 + MINUTE.0), |world, _| confirmed(world)), End::Reached);
    assert!(world.has_installed(&[hosted]));
    assert_eq!(world.host.unwrap().served_bytes, 100_000);
}

#[test]
fn a_device_that_downloads_when_idle_asks_for_nothing_while_it_is_busy() {
    let mut world = offered(&Terms::default(), new());
    world.policy.download = When::Idle;
    world.set_link(LinkConfig { delay_ms: 10, bits_per_second: 100_000, ..LinkConfig::PERFECT });
    assert_eq!(world.run_through(HOUR, |_, _| false), End::Time);
    assert!(
        world.server.served_bytes < 1_000,
        "only metadata: busy is what a device is until it says otherwise"
    );
    let now = world.now;
    world.commands = vec![(now.plus(MINUTE), Command::Idle), (now.plus(Millis(61_000)), Command::Busy)];
    assert_eq!(world.run_through(HOUR, |_, _| false), End::Time);
    let served = world.server.served_bytes;
    assert!((1_000..30_000).contains(&served), "{served} bytes in a second of idleness");
    world.commands = vec![(world.now.plus(MINUTE), Command::Idle)];
    // A restart into the new firmware would forget it; the application tells again whenever it starts.
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached, "{:?}", world.events);
    assert!(world.has_installed(&new()));
}

#[test]
fn a_device_with_a_daily_window_downloads_and_installs_in_it() {
    let minutes = |minutes: u64| Millis(60_000 * minutes);
    let mut world = offered(&Terms::default(), new());
    world.policy.download = When::Daily { from: 120, until: 180 };
    world.policy.install = When::Daily { from: 240, until: 300 };
    // It is midnight when the simulation begins, and the application says the time with its first word of each life.
    let tell_time = |world: &mut World<MemoryStorage>| {
        let minute = u16::try_from(world.now.0 / 60_000).unwrap();
        world.commands = vec![(world.now.plus(Millis(1)), Command::LocalMinute(minute))];
    };
    tell_time(&mut world);
    assert_eq!(world.run_through(minutes(119), |_, _| false), End::Time);
    assert!(world.server.served_bytes < 1_000, "only metadata is fetched before two o'clock");
    tell_time(&mut world);
    let end = world.run_through(minutes(60), |world, _| world.server.has_heard(Phase::Verified));
    assert_eq!(end, End::Reached, "{:?}", world.events);
    assert!((7_200_000..7_320_000).contains(&world.now.0), "fetched soon after two o'clock: {:?}", world.now);
    world.restart();
    tell_time(&mut world);
    let until_four = Millis(14_399_000 - world.now.0);
    assert_eq!(world.run_through(until_four, |world, _| world.server.has_heard(Phase::Installed)), End::Time);
    tell_time(&mut world);
    let end = world.run_through(minutes(10), |world, _| confirmed(world));
    assert_eq!(end, End::Reached, "installed soon after four o'clock: {:?}", world.events);
    assert!(world.has_installed(&new()));
}

#[test]
fn a_product_without_block_maps_and_urls_takes_files_that_have_them_as_a_whole() {
    let before = [firmware("1", 1), file("app.bin", "1", "app", 50_000, 2)];
    let mut after = file("app.bin", "2", "app", 50_000, 3).in_units(4096);
    after.url = Some("https://files.example/app.bin".into());
    let mut world = World::in_memory(5, &before);
    world.external = ExternalDownloads::Yes;
    world.server.release = Some(world.server.workshop.release(&Terms::default(), vec![after.clone()]));
    // What is on its way when it starts anew is sent again: without a map that is a window, so it is kept small.
    world.policy.window_max = 8;
    let half_way = |world: &World<MemoryStorage>, _: &_| world.server.served_bytes > 20_000;
    assert_eq!(world.run_through_as::<LeastProfile>(HOUR, half_way), End::Reached);
    world.restart();
    assert_eq!(world.run_through_as::<LeastProfile>(HOUR, |world, _| confirmed(world)), End::Reached);
    assert!(world.has_installed(&[after]));
    assert!(!world.events.iter().any(|event| event == "FetchExternally"));
    assert_eq!((world.statistics.units_reused, world.statistics.units_bad), (0, 0));
    let served = world.server.served_bytes;
    assert!(served < 70_000, "it goes on where it was: {served}");
}

/// Puts firmware into slot A behind the engine's back, and starts it.
fn flash_by_hand(world: &mut World<MemoryStorage>, firmware: &SourceFile) {
    let area = Area::Slot(firmware_target(), Slot::A);
    world.storage.prepare(area, ByteLength(firmware.bytes.len() as u64), ByteLength(0)).unwrap();
    world.storage.write(area, ByteOffset(0), &firmware.bytes).unwrap();
    world.restart();
}

#[test]
fn firmware_that_a_debugger_put_there_is_never_written_over() {
    let foreign = firmware("0", 99);
    let mut world = offered(&Terms::default(), new());
    flash_by_hand(&mut world, &foreign);
    let end = world.run_through(HOUR, |world, _| world.server.has_heard(Phase::Failed));
    assert_eq!(end, End::Reached, "{:?} {:?}", world.events, world.server.heard);
    assert_eq!(last_code(&world), Some((Phase::Failed, ReportCode::UnknownFirmware)));
    assert!(world.slot("firmware", Slot::A, foreign.bytes.len()) == foreign.bytes);
    // With the old firmware back in its place it takes the update.
    flash_by_hand(&mut world, &old()[0]);
    assert_eq!(world.run_through(DAY, |world, _| confirmed(world)), End::Reached, "{:?}", world.events);
    assert!(world.has_installed(&new()));
}

#[test]
fn firmware_that_the_factory_did_not_list_is_updated_beside_the_slot_that_runs() {
    let unlisted = firmware("0", 99);
    for names_slot in [true, false] {
        let mut world = World::in_memory(11, &old()[1..]);
        world.verdict = Verdict::Pass;
        world.server.release = Some(world.server.workshop.release(&Terms::default(), new()));
        world.boot.names_slot = names_slot;
        flash_by_hand(&mut world, &unlisted);
        let is_over =
            |world: &World<MemoryStorage>, _: &_| confirmed(world) || world.server.has_heard(Phase::Failed);
        assert_eq!(world.run_through(HOUR, is_over), End::Reached, "{:?}", world.events);
        assert_eq!(confirmed(&world), names_slot, "{:?}", world.server.heard);
        if !names_slot {
            assert_eq!(last_code(&world), Some((Phase::Failed, ReportCode::UnknownFirmware)));
        }
        assert!(world.slot("firmware", Slot::A, unlisted.bytes.len()) == unlisted.bytes);
    }
}

/// A device whose bootloader swaps the slots, as `embassy-boot` does, on a flash under the flash format.
fn swapping() -> (World<CutFlash<4, 1024>>, [SourceFile; 2], [SourceFile; 2]) {
    let before = [firmware("1", 1), file("app.bin", "1", "app", 3_000, 2)];
    let after = [firmware("2", 3), file("app.bin", "2", "app", 3_500, 4)];
    let mut world = World::provisioned(FlashMedium::<4, 1024>::new(32 * 1024).fresh(), 5, &before);
    world.boot = SimBoot::swapping();
    world.restart();
    world.server.release = Some(world.server.workshop.release(&Terms::default(), after.to_vec()));
    (world, before, after)
}

#[test]
fn a_bootloader_that_swaps_the_slots_starts_keeps_and_goes_on_updating() {
    let (mut world, _, after) = swapping();
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached, "{:?}", world.events);
    world.restart();
    assert!(world.slot("firmware", Slot::A, after[0].bytes.len()) == after[0].bytes);
    assert_eq!(world.look(&[&after]).and_then(|found| found.set), Some(0));
    // Once more, now from the swapped state.
    let last = [firmware("3", 5), file("app.bin", "3", "app", 3_200, 6)];
    world.server.release =
        Some(world.server.workshop.release(&Terms { version: 3, ..Terms::default() }, last.to_vec()));
    world.server.up_to_date = 0;
    world.restart();
    let has_it = |world: &World<CutFlash<4, 1024>>, progress: &Progress| {
        progress.activity == Activity::Idle && world.server.up_to_date > 0
    };
    assert_eq!(world.run_through(DAY, has_it), End::Reached, "{:?}", world.events);
    world.restart();
    assert!(world.slot("firmware", Slot::A, last[0].bytes.len()) == last[0].bytes);
    assert_eq!(world.look(&[&last]).and_then(|found| found.set), Some(0));
}

#[test]
fn a_bootloader_that_swaps_the_slots_swaps_back_what_fails_its_test() {
    let (mut world, before, _) = swapping();
    world.verdict = Verdict::Fail;
    world.policy.confirm = Confirm::SelfTest;
    let went_back = |world: &World<CutFlash<4, 1024>>, _: &_| world.server.has_heard(Phase::RolledBack);
    assert_eq!(world.run_through(HOUR, went_back), End::Reached, "{:?}", world.events);
    world.restart();
    assert!(world.slot("firmware", Slot::A, before[0].bytes.len()) == before[0].bytes);
    assert_eq!(world.look(&[&before]).and_then(|found| found.set), Some(0));
}

#[test]
fn an_application_rejects_defers_and_pauses() {
    let mut world = offered(&Terms::default(), new());
    world.set_link(LinkConfig { delay_ms: 10, bits_per_second: 100_000, ..LinkConfig::PERFECT });
    let detail = ota_core::text::Detail::new("not while it snows").unwrap();
    world.commands = vec![(Instant(1_000), Command::Reject(detail))];
    let end = world.run_through(MINUTE, |world, _| world.server.has_heard(Phase::Rejected));
    assert_eq!(end, End::Reached, "{:?}", world.events);

    let mut world = offered(&Terms::default(), new());
    world.set_link(LinkConfig { delay_ms: 10, bits_per_second: 100_000, ..LinkConfig::PERFECT });
    world.commands = vec![(Instant(1_000), Command::Defer(HOUR))];
    assert_eq!(world.run_through(Millis(HOUR.0), |world, _| confirmed(world)), End::Time);
    assert!(world.server.has_heard(Phase::Deferred));
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached);

    let mut world = offered(&Terms::default(), new());
    world.commands = vec![(Instant(1), Command::Pause), (Instant(HOUR.0), Command::Resume)];
    assert_eq!(world.run_through(Millis(HOUR.0 - 1), |world, _| confirmed(world)), End::Time);
    assert_eq!(world.progress.unwrap().done.0, 0);
}

#[test]
fn the_rate_limit_is_kept() {
    let files = vec![file("app.bin", "2", "app", 100_000, 4)];
    let mut world = offered(&Terms::default(), files);
    world.policy.bytes_per_second_max = Some(2_000);
    let is_there = |world: &World<MemoryStorage>| world.events.iter().any(|event| event == "Downloaded");
    assert_eq!(world.run_through(HOUR, |world, _| is_there(world)), End::Reached);
    let seconds = world.now.0 / 1000;
    assert!((45..70).contains(&seconds), "{seconds}");
}

#[test]
fn a_storage_fault_is_reported_and_the_update_tried_again() {
    for operation in 0..60 {
        let mut world = offered(&Terms::default(), new());
        let begin = world.storage.operations();
        world.storage.fail_at(begin + operation, CutPoint::Inside);
        let end = world.run_through(Millis(24 * HOUR.0), |world, _| confirmed(world));
        assert_eq!(end, End::Reached, "{operation}: {:?} {:?}", world.events, world.server.heard);
        assert!(world.has_installed(&new()));
    }
}

#[test]
fn a_bootloader_that_fails_is_asked_again() {
    let mut world = offered(&Terms::default(), new());
    world.boot.faults = 3;
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached, "{:?}", world.events);
    assert!(world.events.iter().any(|event| event == "BootFailed"));
    assert!(world.has_installed(&new()));
}

#[test]
fn a_device_that_was_never_provisioned_does_nothing() {
    let mut world = World::in_memory(1, &old());
    world.storage =
        MemoryStorage::with_targets(ota_core::device::Granularity::BYTES, &["app"], ByteLength(1000), 0);
    assert_eq!(world.run_through(HOUR, |_, _| false), End::Time);
    assert_eq!(world.events, ["Unprovisioned"]);
    assert_eq!(world.server.check_ins, 0);
    assert_eq!(world.progress.unwrap().activity, Activity::Unprovisioned);
}

#[test]
fn a_factory_reset_forgets_the_download_and_keeps_what_is_trusted() {
    let mut world = offered(&Terms { epoch: 5, ..Terms::default() }, new());
    assert_eq!(world.run_through(HOUR, |world, _| confirmed(world)), End::Reached);
    let trusted = world.storage.records(Log::Trusted);
    ota_device::provision::factory_reset(&mut world.storage).unwrap();
    assert_eq!(world.storage.records(Log::Trusted), trusted);
    world.server.release =
        Some(world.server.workshop.release(&Terms { epoch: 4, ..Terms::default() }, old()));
    assert_eq!(world.run_through(HOUR, |world, _| world.server.has_heard(Phase::Failed)), End::Reached);
    assert_eq!(last_code(&world).unwrap().1, ReportCode::RolledBackEpoch);
    assert!(world.has_installed(&new()));
}
