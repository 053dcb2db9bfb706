//! Rollouts at scale: a staged campaign over millions of devices in redb, overviews, check-ins, blocks without a broker.
//!
//! `-- DEVICES` chooses how many devices to load (1000000 unless said otherwise; 10000000 is the figure to reach).

use core::hint::black_box;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ota_core::crypto::Authenticator;
use ota_core::crypto::soft::HmacSha256;
use ota_core::fleet::{Dialect, FleetStore, LinkEvent, Unit};
use ota_core::number::{ByteOffset, CampaignId, FileIndex};
use ota_core::time::Timestamp;
use ota_core::wire::{Down, Part, Up, Want, WantBlocks};
use ota_sim::fleet::scale::{self, Scale};
use ota_storage::redb::{RedbOptions, RedbStore};
use redb::{Database, TableDefinition};

/// How many devices one commit of the loader registers.
const BATCH: u64 = 4_000;
/// How many campaigns are made for the median.
const CAMPAIGNS: u64 = 21;
const ROWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let devices: u64 =
        std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    println!("<!-- bench: rollout -->");
    println!("| what | figure |");
    println!("|---|---|");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("fleet.redb");
    let store = Arc::new(RedbStore::open(&path, RedbOptions::default()).expect("a store"));
    let scale = Scale::set_up(Arc::clone(&store) as Arc<dyn FleetStore>).await;
    let before = Instant::now();
    load(&*store, &scale, devices).await;
    let rate = devices as f64 / before.elapsed().as_secs_f64();
    println!("| {devices} devices loaded, 1,000 in a commit | {rate:.0} a second |");
    println!("| disk per idle device as loaded | {} bytes |", on_disk(&path) / devices.max(1));
    let before = Instant::now();
    let waited = compact(&store, &scale).await;
    println!("| compaction, while others are served | {:.1} s |", ms(before) / 1e3);
    println!("| longest wait of a check-in meanwhile | {waited:.0} ms |");
    println!("| disk per idle device after compaction | {} bytes |", on_disk(&path) / devices.max(1));

    let (campaign, ours, bare) = campaigns(&scale, folder.path()).await;
    println!("| create, approve and start a staged campaign, median of {CAMPAIGNS} | {ours:.1} ms |");
    println!("| as many bare durable commits of redb, in turns with them | {bare:.1} ms |");
    let before = Instant::now();
    black_box(scale.overview(campaign).await);
    println!("| overview: progress of the campaign and fleet by revision | {:.1} ms |", ms(before));
    let before = Instant::now();
    scale.server.tick().await.expect("a tick");
    println!("| one tick (gates, deadlines, 512 notifications at most) | {:.1} ms |", ms(before));

    for batch in [1, 64, 1024] {
        let (count, seconds) = check_ins(&scale, devices, batch).await;
        println!("| durable check-ins, {batch} in a batch | {:.0} a second |", f64::from(count) / seconds);
    }
    blocks(&scale, campaign).await;
    println!("| most memory that the process took | {} MiB |", peak_memory_mib());
    println!("<!-- /bench -->");
}

/// Makes, approves and starts campaigns, each followed by three commits of one row to a database beside: what both
/// take in the median, in milliseconds. The last campaign goes on.
async fn campaigns(scale: &Scale, folder: &Path) -> (CampaignId, f64, f64) {
    let database = Database::create(folder.join("bare.redb")).expect("a database");
    let (mut ours, mut bare, mut last) = (Vec::new(), Vec::new(), None);
    for number in 0..CAMPAIGNS {
        if let Some(before) = last {
            scale.stop_campaign(before).await;
        }
        let before = Instant::now();
        last = Some(scale.start_campaign().await);
        ours.push(ms(before));
        let before = Instant::now();
        for step in 0..3 {
            let mut transaction = database.begin_write().expect("a transaction");
            transaction.set_quick_repair(true);
            let mut table = transaction.open_table(ROWS).expect("a table");
            table.insert(number * 3 + step, [7; 600].as_slice()).expect("an insert");
            drop(table);
            transaction.commit().expect("a commit");
        }
        bare.push(ms(before));
    }
    (last.expect("a campaign"), median(ours), median(bare))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a file takes up on the disk: it is longer than that where nothing was ever written.
fn on_disk(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.blocks() * 512)
}

/// Compacts the store while devices check in one after the other. The longest that one of them waits, in milliseconds.
async fn compact(store: &RedbStore, scale: &Scale) -> f64 {
    let compaction = store.compact();
    tokio::pin!(compaction);
    let mut waited = 0_f64;
    for number in 0_u64.. {
        let event = LinkEvent::Message {
            dialect: Dialect::Native,
            device: scale::device_id(number % 1000),
            payload: scale::check_in(number),
        };
        let before = Instant::now();
        let handled = scale.server.handle(vec![event]);
        tokio::pin!(handled);
        // Both go on in turns; what ends first is looked at, and a check-in is never cut short.
        let ended = tokio::select! {
            biased;
            done = &mut compaction => Some(done),
            () = async { handled.as_mut().await.expect("the link keeps everything") } => None,
        };
        if let Some(done) = ended {
            done.expect("room for a compaction");
            handled.await.expect("the link keeps everything");
            drop(scale.link.take());
            return waited.max(ms(before));
        }
        drop(scale.link.take());
        waited = waited.max(ms(before));
    }
    waited
}

/// The most memory that this process has had, as Linux tells it; 0 elsewhere.
fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

async fn load(store: &dyn FleetStore, scale: &Scale, devices: u64) {
    let mut ordinal = 0;
    while ordinal < devices {
        let end = (ordinal + BATCH).min(devices);
        let units: Vec<Unit> = (ordinal..end).map(|ordinal| scale.registration(ordinal)).collect();
        for some in units.chunks(1_000) {
            store.commit(some.to_vec()).await.expect("registrations");
        }
        ordinal = end;
    }
}

async fn check_ins(scale: &Scale, devices: u64, batch: u32) -> (u32, f64) {
    let rounds = (20_000 / batch).clamp(8, 400);
    let mut ordinal = 1;
    let before = Instant::now();
    for round in 0..rounds {
        scale.clock.set(Timestamp(scale::NOW.0 + u64::from(round) * 1_000));
        let events = (0..batch).map(|number| {
            // A large prime as the step: devices from all over the store.
            ordinal = (ordinal + 1_000_003) % devices;
            LinkEvent::Message {
                dialect: Dialect::Native,
                device: scale::device_id(ordinal),
                payload: scale::check_in(u64::from(round) << 32 | u64::from(number)),
            }
        });
        scale.server.handle(events.collect()).await.expect("the link keeps everything");
        black_box(scale.link.take());
    }
    (rounds * batch, before.elapsed().as_secs_f64())
}

/// A request for one block of 4 KiB, from its bytes to the bytes of the answer, beside one copy and one HMAC.
async fn blocks(scale: &Scale, campaign: CampaignId) {
    let content: Vec<u8> = vec![7; scale::FILE_BYTES];
    let (device, offer, grant) = scale.reader("reader", campaign).await;
    let payloads: Vec<Bytes> = (0..256_u64)
        .map(|block| {
            let want = Up::WantBlocks(WantBlocks {
                offer,
                grant: &grant,
                part: Part::File(FileIndex(0)),
                offset: ByteOffset(block * 4096),
                block_bytes: 4096,
                want: Want::Count(1),
            });
            want.to_vec().expect("a message within the limits").into()
        })
        .collect();
    let rounds = 100;
    let mut ours = f64::INFINITY;
    for _ in 0..5 {
        let before = Instant::now();
        for _ in 0..rounds {
            for payload in &payloads {
                let event = LinkEvent::Message {
                    dialect: Dialect::Native,
                    device: device.clone(),
                    payload: payload.clone(),
                };
                scale.server.handle(vec![event]).await.expect("the link keeps everything");
                let sent = scale.link.take();
                debug_assert!(matches!(Down::decode(&sent[0].payload), Ok(Down::Block(_))));
                black_box(sent);
            }
        }
        ours = ours.min(before.elapsed().as_secs_f64() / f64::from(rounds * 256));
    }
    let sent = {
        let event = LinkEvent::Message { dialect: Dialect::Native, device, payload: payloads[0].clone() };
        scale.server.handle(vec![event]).await.expect("the link keeps everything");
        scale.link.take()
    };
    assert!(matches!(Down::decode(&sent[0].payload), Ok(Down::Block(block)) if block.bytes.len() == 4096));
    let mac = HmacSha256::new(&[1; 32]);
    let mut least = f64::INFINITY;
    for _ in 0..5 {
        let before = Instant::now();
        for _ in 0..rounds {
            for (block, payload) in payloads.iter().enumerate() {
                let copy = Bytes::copy_from_slice(&content[block * 4096..][..4096]);
                black_box((copy, mac.authenticate(&[&payload[..64.min(payload.len())]]).ok()));
            }
        }
        least = least.min(before.elapsed().as_secs_f64() / f64::from(rounds * 256));
    }
    println!("| block of 4 KiB, request bytes to answer bytes | {:.2} microseconds |", ours * 1e6);
    println!("| one copy of 4 KiB and one HMAC, same run | {:.2} microseconds |", least * 1e6);
}
