//! Servers killed, brokers restarted, networks cut, all in mid-rollout: everything ends updated, and nothing twice.

use ota_core::time::Millis;
use ota_device::Policy;
use ota_sim::wire::native::Device;
use ota_sim::wire::program::{AT_ONCE, Serving};
use ota_sim::wire::proxy::Network;
use ota_sim::wire::{Access, Mqtt};
use ota_sim::workshop::SourceFile;
use tokio::runtime::Runtime;

use crate::fleet::{Living, PRODUCT, eager, id, large, native, program};
use crate::mosquitto::Mosquitto;

const DEVICES: u64 = 4;
const FILE_BYTES: usize = 400_000;
const BLOCK_BYTES: usize = 1024;
/// More than the release's body, its envelope and its block map take.
const METADATA_BLOCKS_MAX: u32 = 16;

/// A rollout with devices that are slow enough that the download is certainly under way when something happens.
struct Rollout {
    server: Serving,
    folder: tempfile::TempDir,
    root: Vec<u8>,
    campaign: String,
    runtime: Runtime,
    living: Living,
}

impl Rollout {
    /// A server with these flags, its product, its devices, and a campaign for all of them.
    fn begin(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Serving::start(program(), folder.path(), flags);
        let shell = server.shell();
        let root = shell.make_product(PRODUCT);
        shell.register(PRODUCT, &(0..DEVICES).map(name).collect::<Vec<_>>());
        let release = shell.release(PRODUCT, "main", &new_files());
        let campaign = shell.campaign(PRODUCT, &release, AT_ONCE);
        Self { server, folder, root, campaign, runtime: Runtime::new().unwrap(), living: Living::new() }
    }

    /// The devices begin to live, each with the access that it is given.
    fn devices(&mut self, access: impl Fn(&Serving, u64) -> Access) {
        let _entered = self.runtime.enter();
        for number in 0..DEVICES {
            let mut device = native(&self.root, &name(number), &large("1", 5_000));
            device.policy = Policy { bytes_per_second_max: Some(150_000), block_bytes: 1024, ..eager() };
            self.living.begin(device, access(&self.server, number));
        }
    }

    /// Waits until each device has so many bytes.
    fn wait_for_bytes(&mut self, bytes: u64) {
        self.runtime.block_on(self.living.all(|seen| seen.done >= bytes));
    }

    /// Waits until all have been updated, and looks at each of them: it has what it should, it was told so once, and it
    /// took each block once.
    fn end(mut self) -> Vec<Device> {
        self.server.shell().wait_for_confirmed(&self.campaign, DEVICES);
        // The server may know it from a check-in before the application has been told.
        self.runtime.block_on(self.living.all(|seen| seen.is_confirmed));
        let devices = self.runtime.block_on(self.living.end());
        for device in &devices {
            assert!(device.has_installed(&new_files()), "{}: {:?}", device.id, device.events);
            for once in ["Downloaded", "Verified", "OnTrial", "Confirmed"] {
                let count = device.events.iter().filter(|event| *event == once).count();
                assert_eq!(count, 1, "{once} of {}: {:?}", device.id, device.events);
            }
            let blocks = u32::try_from(FILE_BYTES.div_ceil(BLOCK_BYTES)).unwrap();
            let taken = device.statistics.blocks_taken;
            assert!((blocks..blocks + METADATA_BLOCKS_MAX).contains(&taken), "{:?}", device.statistics);
        }
        drop(self.folder);
        devices
    }
}

fn name(number: u64) -> String {
    format!("device-{number}")
}

fn new_files() -> Vec<SourceFile> {
    large("2", FILE_BYTES)
}

fn both_versions(number: u64) -> Mqtt {
    if number.is_multiple_of(2) { Mqtt::V3 } else { Mqtt::V5 }
}

#[test]
fn a_server_that_is_killed_twice_in_mid_rollout_goes_on_where_it_was() {
    let mut rollout = Rollout::begin(&[]);
    rollout.devices(|server, number| Access {
        tls: Some(server.device_tls(&id(&name(number)))),
        mqtt: both_versions(number),
        ..Access::plain(server.broker.unwrap())
    });
    for bytes in [50_000, 150_000] {
        rollout.wait_for_bytes(bytes);
        rollout.server.kill();
        rollout.server.start_again();
    }
    for device in rollout.end() {
        assert!(device.connections >= 3, "{}: {:?}", device.id, device.lost);
    }
}

/// What the fleet has done since the backup is unknown to the server, which gives the next campaign a number that the
/// devices have heard before.
#[test]
fn devices_follow_a_server_that_was_restored_to_before_their_last_update() {
    a_restored_server_updates(|runtime, living, server, campaign| {
        server.shell().wait_for_confirmed(campaign, DEVICES);
        runtime.block_on(living.all(|seen| seen.is_confirmed));
    });
}

#[test]
fn devices_give_up_a_download_that_a_restored_server_knows_nothing_of() {
    a_restored_server_updates(|runtime, living, _, _| {
        runtime.block_on(living.all(|seen| seen.done >= 50_000));
    });
}

/// Backs a server up, begins another campaign, waits for a moment, restores the server, and brings the fleet a third
/// release.
fn a_restored_server_updates(moment: impl FnOnce(&Runtime, &mut Living, &Serving, &str)) {
    let mut rollout = Rollout::begin(&["--devices-check-in", "1s"]);
    // The first campaign of a rollout is not what is looked at here.
    let shell = rollout.server.shell();
    shell.good(&["campaign", "stop", &rollout.campaign, "--reason", "a test"]);
    let backup = shell.field(&["store", "backup", "before"], "path");
    let release = shell.release(PRODUCT, "main", &large("3", FILE_BYTES));
    let lost = shell.campaign(PRODUCT, &release, AT_ONCE);
    rollout.devices(|server, number| Access {
        tls: Some(server.device_tls(&id(&name(number)))),
        mqtt: both_versions(number),
        ..Access::plain(server.broker.unwrap())
    });
    moment(&rollout.runtime, &mut rollout.living, &rollout.server, &lost);
    rollout.server.kill();
    rollout.server.restore(backup.as_ref());
    rollout.server.start_again();
    let newest = large("4", FILE_BYTES);
    let shell = rollout.server.shell();
    let release = shell.release(PRODUCT, "main", &newest);
    let campaign = shell.campaign(PRODUCT, &release, AT_ONCE);
    assert_eq!(campaign, lost, "the number is given again");
    shell.wait_for_confirmed(&campaign, DEVICES);
    for device in rollout.runtime.block_on(rollout.living.end()) {
        assert!(device.has_installed(&newest), "{}: {:?}", device.id, device.events);
    }
}

#[test]
fn a_broker_that_is_restarted_in_mid_rollout_loses_nobody() {
    let Some(mut broker) = Mosquitto::start("wire-restarts", "") else { return };
    let address = broker.address();
    let flags =
        ["--mqtt-broker".to_owned(), address.to_string(), "--mqtt-version".to_owned(), "5".to_owned()];
    let mut rollout = Rollout::begin(&flags.each_ref().map(String::as_str));
    rollout.devices(|_, number| Access { mqtt: both_versions(number), ..Access::plain(address) });
    rollout.wait_for_bytes(50_000);
    broker.kill();
    broker.start_again();
    rollout.wait_for_bytes(150_000);
    broker.kill();
    broker.start_again();
    for device in rollout.end() {
        assert!(device.connections >= 3, "{}: {:?}", device.id, device.lost);
    }
}

#[test]
fn a_server_that_is_killed_while_its_devices_stay_with_their_broker_is_asked_again() {
    let Some(broker) = Mosquitto::start("wire-server-killed", "") else { return };
    let address = broker.address();
    let mut rollout = Rollout::begin(&["--mqtt-broker", &address.to_string()]);
    rollout.devices(|_, number| Access { mqtt: both_versions(number), ..Access::plain(address) });
    rollout.wait_for_bytes(50_000);
    rollout.server.kill();
    rollout.server.start_again();
    for device in rollout.end() {
        assert_eq!(device.connections, 1, "{}: {:?}", device.id, device.lost);
    }
}

/// A minute is what keep-alives are made for; here they are a second, and the cut lasts until each device has given up.
#[test]
fn a_network_that_is_cut_in_mid_download_is_met_again_by_all() {
    let mut rollout = Rollout::begin(&[]);
    let network = rollout.runtime.block_on(Network::to(rollout.server.broker.unwrap()));
    rollout.devices(|server, number| Access {
        tls: Some(server.device_tls(&id(&name(number)))),
        keep_alive: Millis(1_000),
        ..Access::plain(network.address)
    });
    rollout.wait_for_bytes(50_000);
    network.cut();
    rollout.runtime.block_on(rollout.living.all(|seen| seen.lost > 1));
    network.mend();
    for device in rollout.end() {
        assert_eq!(device.connections, 2, "{}: {:?}", device.id, device.lost);
    }
}
