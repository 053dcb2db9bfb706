//! Fleets from many seeds: everything goes wrong for ten days, then progress is demanded; every tenth lives a whole year.
//!
//! `-- SEEDS [FIRST]` chooses how many seeds (200 unless said otherwise) and the first; as many are lived at once as
//! there are processors. A seed that fails is named at once, the others go on, and the end is a failure; it repeats
//! exactly. Every fifth keeps its records in redb, on a disk whose power goes in the middle of commits.

use core::cell::Cell;
use core::num::NonZero;
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ota_core::fleet::records::CampaignState;
use ota_core::time::Millis;
use ota_sim::fleet::{DAY, Faults, Fleet, Happened, Kept, Kinds, year};

/// How often a line about the progress is printed.
const TOLD_EVERY: Duration = Duration::from_secs(20);
/// A fleet is a deep future.
const STACK_BYTES: usize = 16 << 20;

thread_local! {
    /// What this thread is at, for whoever reads that it has panicked.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// What has been lived, and what is left.
struct Work {
    seeds: core::ops::Range<u64>,
    began: Instant,
    told: Instant,
    at_work: BTreeSet<u64>,
    fleets: u64,
    years: u64,
    in_redb: u64,
    sum: Happened,
    failed: BTreeSet<u64>,
}

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let seeds = numbers.first().copied().unwrap_or(200);
    let first = numbers.get(1).copied().unwrap_or(1_000);
    println!("{seeds} seeds from {first} on");
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("seed {}:", SEED.get());
        tell(panic);
    }));
    let now = Instant::now();
    let work = Mutex::new(Work {
        seeds: first..first.saturating_add(seeds),
        began: now,
        told: now,
        at_work: BTreeSet::new(),
        fleets: 0,
        years: 0,
        in_redb: 0,
        sum: Happened::default(),
        failed: BTreeSet::new(),
    });
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, || live(&work)).expect("a thread");
        }
    });
    let work = locked(&work);
    work.tell();
    if work.failed.is_empty() {
        println!("all safe, all on target");
        return ExitCode::SUCCESS;
    }
    println!("seeds that failed: {:?}", work.failed);
    ExitCode::FAILURE
}

fn locked(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    // Each change is a whole one.
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lives one fleet after the other until no seed is left.
fn live(work: &Mutex<Work>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    loop {
        let seed = {
            let mut work = locked(work);
            let Some(seed) = work.seeds.next() else { return };
            work.at_work.insert(seed);
            seed
        };
        SEED.set(seed);
        let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(one(seed))));
        let mut work = locked(work);
        work.at_work.remove(&seed);
        work.fleets += 1;
        match lived {
            Ok(happened) => {
                work.years += u64::from(is_year(seed));
                work.in_redb += u64::from(kept(seed) == Kept::InRedb);
                work.sum.add(&happened);
            }
            Err(_) => {
                work.failed.insert(seed);
                println!("seed {seed} failed: `cargo xtask soak fleet -- 1 {seed}` repeats it");
            }
        }
        if work.told.elapsed() >= TOLD_EVERY {
            work.told = Instant::now();
            work.tell();
        }
    }
}

impl Work {
    fn tell(&self) {
        let Self { fleets, years, in_redb, sum, .. } = self;
        let per_second = *fleets as f64 / self.began.elapsed().as_secs_f64();
        println!(
            "{fleets} fleets ({years} for a year, {in_redb} in redb), {per_second:.2} a second: {} messages, {} offers, \
             {} server crashes, {} of them in the middle of a commit; {} failed; at work: {:?}",
            sum.check_ins,
            sum.offers,
            sum.server_crashes,
            sum.torn_commits,
            self.failed.len(),
            self.at_work
        );
    }
}

const fn is_year(seed: u64) -> bool {
    seed % 10 == 9
}

const fn kept(seed: u64) -> Kept {
    if seed.is_multiple_of(5) { Kept::InRedb } else { Kept::InMemory }
}

/// Lives the fleet of a seed.
async fn one(seed: u64) -> Happened {
    let fleet = if is_year(seed) {
        year::pass(seed, Kinds { fast: 60, original: 8, real: 2 }, kept(seed)).await.1
    } else {
        ten_days(seed).await
    };
    fleet.happened()
}

async fn ten_days(seed: u64) -> Fleet {
    let fast = if kept(seed) == Kept::InRedb { 60 } else { 150 };
    let mut fleet = Fleet::of(seed, Kinds { fast, original: fast / 10, real: 2 }, kept(seed)).await;
    let release = fleet.release(0).await;
    let campaign = fleet.campaign(release, fleet.plan()).await;
    fleet.run(Faults::HARSH, Millis(10 * DAY)).await;
    // A month at most; that what has come to rest stays so is shown by two more days.
    for _ in 0..28 {
        fleet.run(Faults::NONE, Millis(DAY)).await;
        let is_over = fleet.record(campaign).await.state == CampaignState::Completed;
        if is_over && fleet.is_everybody_at(1) {
            break;
        }
    }
    fleet.run(Faults::NONE, Millis(2 * DAY)).await;
    let state = fleet.record(campaign).await.state;
    assert_eq!(state, CampaignState::Completed, "{}", fleet.story(campaign).await);
    fleet.assert_everybody_has(1).await;
    fleet
}
