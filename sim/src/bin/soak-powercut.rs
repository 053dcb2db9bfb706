//! Power cuts in a whole update on flash: every operation, nested two deep, several geometries.

use std::thread;

use ota_sim::flash::Luck;
use ota_sim::update_sweep::{Counts, UpdateSweep};

fn main() {
    // The only argument is how deep cuts are nested: 2 unless said otherwise.
    let depth = std::env::args().nth(1).map_or(2, |text| text.parse().expect("a depth"));
    println!("cuts up to {depth} deep");
    let lucks = vec![Luck::Untouched, Luck::Completed, Luck::Random(0x5EED)];
    type Sweep = fn(Vec<Luck>, usize) -> Counts;
    let sweeps: [(&str, Sweep); 3] = [
        ("units of 4, blocks of 1024", UpdateSweep::<4, 1024>::run),
        ("units of 1, blocks of 4096", UpdateSweep::<1, 4096>::run),
        ("units of 8, blocks of 2048", UpdateSweep::<8, 2048>::run),
    ];
    let running = sweeps.map(|(name, sweep)| {
        let lucks = lucks.clone();
        (name, thread::spawn(move || sweep(lucks, depth)))
    });
    let mut all = Counts::default();
    for (name, sweep) in running {
        let counts = sweep.join().expect("a sweep found something");
        println!("{name}: {counts:?}");
        all.single += counts.single;
        all.nested += counts.nested;
        all.lived += counts.lived;
        all.began_new += counts.began_new;
    }
    println!("all: {} single cuts, {} nested, {} lives", all.single, all.nested, all.lived);
}
