//! Several servers, one database, one broker that divides the messages among them: a rollout with stages and limits
//! while one server after the other is killed, stopped and cut off, and database and broker are restarted.

use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use ota_core::fleet::records::AttemptPhase;
use ota_core::fleet::{Key, Record, Table};
use ota_core::text::ProductIdBuf;
use ota_sim::wire::native::Device;
use ota_sim::wire::original::{Moment, Original, Then};
use ota_sim::wire::program::{PATIENCE, Serving};
use ota_sim::wire::proxy::Network;
use ota_sim::wire::{Access, Mqtt};
use ota_sim::workshop::SourceFile;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::fleet::{Living, PRODUCT, eager, id, large, program};
use crate::mosquitto::Mosquitto;
use crate::postgres::Postgres;

const SITES: u64 = 4;
const FILE_BYTES: usize = 40_000;
/// Room for such a file: thousands of devices have eight such slots each.
const SLOT_BYTES: u64 = 64 << 10;

/// How large the fleet is, and what follows from that.
#[derive(Debug, Clone, Copy)]
struct Scale {
    devices: u64,
}

impl Scale {
    /// Those that speak the original protocol; the others are native.
    const fn originals(self) -> u64 {
        self.devices / 4
    }

    fn downloads_max(self) -> u64 {
        (self.devices / 16).max(6)
    }

    /// So few that this limit binds as well as the other one.
    fn per_site_max(self) -> u64 {
        self.downloads_max() / 3
    }

    /// So few that some have to wait for it.
    const fn per_minute(self) -> u64 {
        self.devices * 9 / 10
    }

    fn plan(self) -> String {
        format!(
            "[[stages]]\nuntil = \"40%\"\npace = \"at_once\"\n\
             gate = {{ sample_min = 4, failures_good = \"50%\", failures_bad = \"90%\" }}\n\
             [[stages]]\nuntil = \"100%\"\npace = \"at_once\"\n\
             gate = {{ sample_min = 1, failures_good = \"90%\", failures_bad = \"99%\" }}\n\
             [limits]\ndownloads_max = {}\ndownloads_per_site_max = {}\n\
             devices_per_minute = {}\nbytes_per_second = {}\n",
            self.downloads_max(),
            self.per_site_max(),
            self.per_minute(),
            (self.devices * 2_000).max(400_000),
        )
    }

    fn check_in(self) -> String {
        format!("{}s", (self.devices / 100).max(2))
    }

    /// How long a device of the original system hangs before somebody switches it off and on: it has no timer of its
    /// own, and a request that a killed server had taken from the broker is gone. Longer than any message is on its way
    /// on a busy machine: what a device had asked before it was switched off must not be answered to its next life.
    fn switched_off_after(self) -> Duration {
        Duration::from_secs((self.devices / 50).max(5))
    }
}

fn new_files() -> Vec<SourceFile> {
    large("2", FILE_BYTES)
}

fn name(number: u64) -> String {
    format!("device-{number}")
}

/// What somebody has seen who looks into the database after each change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    looks: u64,
    confirmed: u64,
    downloads_most: u64,
    per_site_most: u64,
    /// How many attempts are in each phase, as it was seen last.
    phases: BTreeMap<AttemptPhase, u64>,
    /// What went otherwise than it goes well.
    odd: BTreeSet<String>,
}

/// Everything that a rollout needs, with three servers of which one reaches the database through a network of its own.
struct World {
    scale: Scale,
    postgres: Postgres,
    broker: Mosquitto,
    network: Network,
    cut_off: Serving,
    killed: Serving,
    stopped: Serving,
    url: String,
    _folders: [TempDir; 3],
}

impl World {
    /// With servers of this group, or of none; `None` where a program is missing.
    fn begin(scale: Scale, runtime: &Runtime, group: Option<&str>) -> Option<Self> {
        let postgres = Postgres::start()?;
        let name = group.map_or("wire-in-turns", |_| "wire-several");
        let broker = Mosquitto::start(name, "max_connections -1")?;
        let url = postgres.database("fleet");
        let network = runtime.block_on(Network::to(([127, 0, 0, 1], postgres.port()).into()));
        let through = url.replace(&postgres.port().to_string(), &network.address.port().to_string());
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let key = folders[0].path().join("wrapping-key");
        std::fs::write(&key, "5a".repeat(32)).unwrap();
        let start = |number: usize, url: &str| {
            let first = (number > 0).then(|| folders[0].path());
            let client_id = format!("ota/server-{number}");
            let flags = [
                ["--store-postgres", url],
                ["--store-wrapping-key-file", key.to_str().unwrap()],
                ["--mqtt-broker", &broker.address().to_string()],
                ["--mqtt-version", if number == 1 { "3.1.1" } else { "5" }],
                ["--mqtt-client-id", &client_id],
                ["--devices-check-in", &scale.check_in()],
            ];
            let group = group.map(|group| ["--mqtt-share-group", group]);
            let flags: Vec<_> = flags.into_iter().chain(group).flatten().collect();
            server(folders[number].path(), first, &flags)
        };
        let (cut_off, killed, stopped) = (start(0, &through), start(1, &url), start(2, &url));
        Some(Self { scale, postgres, broker, network, cut_off, killed, stopped, url, _folders: folders })
    }

    /// What everybody is waiting for: a product, its devices, and a campaign for all of them. The product's root.
    fn campaign(&self) -> Vec<u8> {
        let shell = self.cut_off.shell();
        let root = shell.make_product(PRODUCT);
        let tagged = |number: u64| format!("{},site=site-{}", name(number), number % SITES);
        shell.register(PRODUCT, &(0..self.scale.devices).map(tagged).collect::<Vec<_>>());
        let release = shell.release(PRODUCT, "main", &new_files());
        shell.campaign(PRODUCT, &release, &self.scale.plan());
        root
    }

    /// All that goes wrong, one after the other, each when so many more devices have their update.
    fn trouble(&mut self, watcher: &mut Watcher<'_>) {
        let devices = self.scale.devices;
        watcher.wait_for_confirmed(2);
        self.killed.kill();
        self.stopped.signal("STOP");
        // sleeps: the clock of the database is what leases run by; after this nobody holds one who has not renewed it.
        self.postgres.sql("fleet", "SELECT pg_sleep(6)");
        self.stopped.signal("CONT");
        watcher.wait_for_confirmed(devices / 4);
        self.postgres.kill();
        self.postgres.start_again();
        watcher.wait_for_confirmed(devices / 2);
        self.broker.kill();
        self.broker.start_again();
        self.killed.start_again();
        self.network.cut();
        while !self.cut_off.readiness().starts_with("HTTP/1.1 503 ") {}
        // What it could only lose goes to the others.
        self.cut_off.wait_for_log(&["messages are left to the others"]);
        self.network.mend();
        self.cut_off.wait_for_log(&["messages are taken again"]);
        watcher.wait_for_confirmed(devices * 3 / 4);
        watcher.wait_for_confirmed(devices);
        while !self.cut_off.readiness().starts_with("HTTP/1.1 200 ") {}
    }

    /// What the last of the servers' logs say, for whoever looks at a failure.
    fn logs(&self) -> String {
        let tail = |server: &Serving| {
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(12)..].join("\n")
        };
        [&self.cut_off, &self.killed, &self.stopped].map(tail).join("\n--\n")
    }
}

/// One of the servers, in a folder of its own, with the first one's key and files.
fn server(folder: &Path, first: Option<&Path>, flags: &[&str]) -> Serving {
    if let Some(first) = first {
        let (from, data) = (first.join("data"), folder.join("data"));
        std::fs::create_dir_all(&data).unwrap();
        let key = std::fs::read(from.join("assignment-key.pem")).unwrap();
        let mut only_ours = std::fs::File::options();
        only_ours.write(true).create_new(true).mode(0o600);
        std::io::Write::write_all(&mut only_ours.open(data.join("assignment-key.pem")).unwrap(), &key)
            .unwrap();
        symlink(from.join("files"), data.join("files")).unwrap();
    }
    Serving::start(program(), folder, flags)
}

/// Somebody who waits for the fleet, and does not wait for a device that has crashed.
struct Watcher<'r> {
    begun: Instant,
    runtime: &'r Runtime,
    seen: watch::Receiver<Watched>,
    crashed: watch::Receiver<Option<String>>,
}

impl Watcher<'_> {
    fn wait_for_confirmed(&mut self, wanted: u64) -> Watched {
        let Self { begun, runtime, seen, crashed } = self;
        let found = runtime.block_on(async {
            let wait = timeout(3 * PATIENCE, seen.wait_for(|seen| seen.confirmed >= wanted));
            tokio::select! {
                found = wait => found.map_err(|_| "nothing came".to_owned()).map(|seen| seen.unwrap().clone()),
                crash = crashed.wait_for(Option::is_some) => Err(crash.unwrap().clone().unwrap_or_default()),
            }
        });
        println!("{wanted} are there after {:.1} s", begun.elapsed().as_secs_f32());
        found.unwrap_or_else(|why| panic!("{why}, waiting for {wanted}: {:?}", seen.borrow()))
    }
}

/// Has everybody told who listens that an attempt has changed.
const TELL: &str = "\
    CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY attempt; RETURN NULL; END $$; \
    CREATE TRIGGER tell AFTER INSERT OR UPDATE ON ota.attempt FOR EACH STATEMENT EXECUTE FUNCTION public.tell()";

/// Looks into the database whenever an attempt has changed, for ever; a database that is restarted is met again.
async fn look_on(url: String, seen: watch::Sender<Watched>) {
    loop {
        let Ok((client, mut connection)) = tokio_postgres::connect(&url, NoTls).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (sender, mut changed) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    let _ = sender.send(());
                }
            }
        });
        if client.batch_execute("LISTEN attempt").await.is_err() {
            continue;
        }
        while look(&client, &seen).await.is_ok() && changed.recv().await.is_some() {
            while changed.try_recv().is_ok() {}
        }
    }
}

/// Counts the attempts by what their records say: the views would do, at a hundred times the price.
async fn look(client: &Client, seen: &watch::Sender<Watched>) -> Result<(), tokio_postgres::Error> {
    let mut sites: BTreeMap<Box<str>, u64> = BTreeMap::new();
    let mut phases: BTreeMap<AttemptPhase, u64> = BTreeMap::new();
    let mut odd = BTreeSet::new();
    for row in client.query("SELECT key, body FROM ota.attempt", &[]).await? {
        let record = Record::from_bytes(Table::Attempt, row.get(1)).unwrap();
        let Record::Attempt(attempt) = record else { panic!("{record:?} among the attempts") };
        if attempt.retries > 0 || attempt.cause > 0 {
            odd.insert(format!("{:?}: {attempt:?}", Key::from_bytes(Table::Attempt, row.get(0))));
        }
        if matches!(attempt.phase, AttemptPhase::Offered | AttemptPhase::Downloading) {
            *sites.entry(attempt.site).or_default() += 1;
        }
        *phases.entry(attempt.phase).or_default() += 1;
    }
    seen.send_modify(|seen| {
        seen.looks += 1;
        seen.confirmed = phases.get(&AttemptPhase::Confirmed).copied().unwrap_or(0);
        seen.phases = phases;
        seen.odd.append(&mut odd);
        seen.downloads_most = seen.downloads_most.max(sites.values().sum());
        seen.per_site_most = seen.per_site_most.max(sites.values().copied().max().unwrap_or(0));
    });
    Ok(())
}

/// Devices of the original system, each in the hands of somebody who switches it off and on when it hangs.
struct Originals {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Original>>,
}

impl Originals {
    fn begin(world: &World, crashed: &watch::Sender<Option<String>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let Scale { devices, .. } = world.scale;
        let originals = devices - world.scale.originals()..devices;
        let threads = originals.map(|number| {
            let mut device = Original::new(&name(number), "none", world.broker.address(), &["app.bin"]);
            device.beat = Duration::from_millis(250);
            let (stop, crashed, scale) = (Arc::clone(&stop), crashed.clone(), world.scale);
            std::thread::spawn(move || in_hands(device, scale, &stop, &crashed))
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    fn end(self) -> Vec<Original> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

fn in_hands(
    mut device: Original,
    scale: Scale,
    stop: &AtomicBool,
    crashed: &watch::Sender<Option<String>>,
) -> Original {
    let mut is_done = false;
    while !stop.load(Ordering::SeqCst) {
        let (mut since, mut is_offered_again) = (Instant::now(), false);
        let lived = device.run_on(|moment| {
            match moment {
                Moment::CheckedIn | Moment::Listed | Moment::Got(..) => since = Instant::now(),
                Moment::Done => (is_done, since) = (true, Instant::now()),
                Moment::Quiet | Moment::Closed => {}
            }
            is_offered_again |= moment == Moment::Listed && is_done;
            let hangs = since.elapsed() > scale.switched_off_after();
            if stop.load(Ordering::SeqCst) || hangs || is_offered_again { Then::Vanish } else { Then::GoOn }
        });
        let fault = lived.err().map(|crash| crash.to_string());
        let fault = fault.or_else(|| is_offered_again.then(|| "it was offered what it has".to_owned()));
        if let Some(fault) = fault {
            crashed.send_replace(Some(format!("{}: {fault}", device.id)));
            break;
        }
    }
    device
}

#[test]
fn a_rollout_outlives_its_servers_its_database_and_its_broker_and_keeps_to_its_limits() {
    println!("{:?}", rollout(24));
}

#[test]
fn where_the_broker_divides_nothing_servers_take_turns_at_hearing_devices() {
    let scale = Scale { devices: 12 };
    let runtime = Runtime::new().unwrap();
    let Some(mut world) = World::begin(scale, &runtime, None) else { return };
    let root = world.campaign();
    world.cut_off.wait_for_log(&["it is this server's turn"]);
    let mut living = natives(&world, &runtime, &root, scale.devices);
    while world.cut_off.shell().phases("1").get("confirmed").is_none_or(|confirmed| *confirmed < 2) {}
    for idle in [&world.killed, &world.stopped] {
        assert!(!idle.log().contains("it is this server's turn"), "{}", idle.log());
    }
    world.cut_off.kill();
    runtime.block_on(living.all(|seen| seen.is_confirmed));
    runtime.block_on(updated_once(living));
    let heard =
        [&world.killed, &world.stopped].map(|server| server.log().contains("it is this server's turn"));
    assert!(heard[0] != heard[1], "one of them alone hears devices");
    for server in [&mut world.killed, &mut world.stopped] {
        server.signal("TERM");
        assert!(server.ended_well(), "{}", server.log());
    }
}

/// The first so many devices, which speak the native protocol.
fn natives(world: &World, runtime: &Runtime, root: &[u8], count: u64) -> Living {
    let mut living = Living::new();
    let (product, installed) = (ProductIdBuf::new(PRODUCT).unwrap(), large("1", 5_000));
    let _entered = runtime.enter();
    for number in 0..count {
        let mut device = Device::in_memory(&product, root, &id(&name(number)), &installed, SLOT_BYTES);
        device.policy = eager();
        let mqtt = if number % 2 == 0 { Mqtt::V3 } else { Mqtt::V5 };
        living.begin(device, Access { mqtt, ..Access::plain(world.broker.address()) });
    }
    living
}

/// Ends them, and makes sure that each has its update and has gone through it once.
async fn updated_once(living: Living) {
    for device in living.end().await {
        assert!(device.has_installed(&new_files()), "{}: {:?}", device.id, device.events);
        for once in ["Downloaded", "Verified", "OnTrial", "Confirmed"] {
            let count = device.events.iter().filter(|event| *event == once).count();
            assert_eq!(count, 1, "{once} of {}: {:?}", device.id, device.events);
        }
    }
}

/// The whole story with so many devices, a quarter of them of the original system; `None` where a program is missing.
pub(crate) fn rollout(devices: u64) -> Option<Watched> {
    let scale = Scale { devices };
    let runtime = Runtime::new().unwrap();
    let mut world = World::begin(scale, &runtime, Some("ota"))?;
    let root = world.campaign();
    world.postgres.sql("fleet", TELL);
    let (sender, seen) = watch::channel(Watched::default());
    let watching = runtime.spawn(look_on(world.url.clone(), sender));
    let (crash, crashed) = watch::channel(None);
    let mut living = natives(&world, &runtime, &root, devices - scale.originals());
    let originals = Originals::begin(&world, &crash);
    let mut watcher = Watcher { begun: Instant::now(), runtime: &runtime, seen, crashed };
    let told = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| world.trouble(&mut watcher)));
    if let Err(panic) = told {
        eprintln!("{}", world.logs());
        std::panic::resume_unwind(panic);
    }
    runtime.block_on(living.all(|seen| seen.is_confirmed));
    watching.abort();
    let watched = watcher.seen.borrow().clone();
    assert!(watched.downloads_most <= scale.downloads_max(), "{watched:?}");
    assert!(watched.per_site_most <= scale.per_site_max(), "{watched:?}");
    assert!(watched.downloads_most > 1 && watched.looks > devices, "somebody has looked: {watched:?}");
    runtime.block_on(updated_once(living));
    for device in originals.end() {
        assert_eq!(device.files["app.bin"].revision, "2", "{}: {:?}", device.id, device.lists);
    }
    assert_eq!(*watcher.crashed.borrow(), None);
    runtime.block_on(look_at_the_books(&world.url, scale));
    let verified = world.cut_off.shell().good(&["audit", "verify"]);
    assert!(verified.contains("intact"), "{verified}");
    for server in [&mut world.cut_off, &mut world.killed, &mut world.stopped] {
        server.signal("TERM");
        assert!(server.ended_well(), "{}", server.log());
    }
    Some(watched)
}

/// Counters equal a recount, every device has one attempt, and turns came no faster than the plan allows.
async fn look_at_the_books(url: &str, scale: Scale) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let differences = "\
        WITH counted AS (SELECT campaign, stage, phase, cause, devices FROM ota_view.progress), \
        there AS (SELECT campaign, stage, phase, cause, count(*) AS devices FROM ota_view.attempt GROUP BY 1, 2, 3, 4) \
        SELECT count(*) FROM ((TABLE counted EXCEPT TABLE there) UNION ALL (TABLE there EXCEPT TABLE counted)) AS odd";
    let differences: i64 = client.query_one(differences, &[]).await.unwrap().get(0);
    assert_eq!(differences, 0, "counters equal a recount");
    let offered = "SELECT extract(epoch FROM offered)::float8 FROM ota_view.attempt ORDER BY 1";
    let offered = client.query(offered, &[]).await.unwrap();
    let offered: Vec<f64> = offered.iter().map(|row| row.get(0)).collect();
    assert_eq!(offered.len() as u64, scale.devices);
    let per_minute = scale.per_minute() as f64;
    for (first, from) in offered.iter().enumerate() {
        for (last, to) in offered.iter().enumerate().skip(first) {
            let most = per_minute + per_minute * (to - from) / 60.0;
            assert!((last - first) as f64 <= most, "{} in {} s", last - first + 1, to - from);
        }
    }
}
