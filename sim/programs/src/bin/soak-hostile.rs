//! Hostile links: thousands of seeded runs, safety under faults first, then progress once they stop.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;

use ota_sim::hostile::{Seen, run};

fn main() {
    // How many seeds (5000 unless said otherwise), and the first of them (1).
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let seeds = numbers.next().unwrap_or(5000);
    let first = numbers.next().unwrap_or(1);
    println!("{seeds} seeds from {first} on; a seed that fails is named by its panic");
    let (next, all) = (AtomicU64::new(first), Mutex::new(Seen::default()));
    let failed: Vec<u64> = thread::scope(|scope| {
        let workers = (0..thread::available_parallelism().map_or(1, |cores| cores.get())).map(|_| {
            scope.spawn(|| {
                let mut failed = Vec::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds {
                        return failed;
                    }
                    // Each seed by itself, so that one find does not hide the next.
                    match thread::spawn(move || run(seed)).join() {
                        Ok(seen) => all.lock().expect("a sum").add(seen),
                        Err(_) => {
                            println!("seed {seed} failed");
                            failed.push(seed);
                        }
                    }
                }
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker counts")).collect()
    });
    println!("{seeds} seeds: {:?}", all.into_inner().expect("a sum"));
    if !failed.is_empty() {
        println!("failed: {failed:?}");
        std::process::exit(1);
    }
}
