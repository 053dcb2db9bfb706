//! Power cuts inside the flash backend alone: every operation, three cuts deep, several geometries.

use std::thread;

use ota_sim::flash::Luck;
use ota_sim::storage_sweep::{AreaSweep, Counts, LogSweep, Thoroughness};

type Sweep = Box<dyn FnOnce() -> Counts + Send>;

fn main() {
    // The only argument is how many starts the undisturbed run of each log has: 40 unless said otherwise.
    let starts = std::env::args().nth(1).map_or(40, |text| text.parse().expect("how many starts"));
    println!("starts of the undisturbed run: {starts}");
    let lucks = vec![Luck::Untouched, Luck::Completed, Luck::Random(0x5EED), Luck::Random(0xF00D)];
    let how = |segments, record_bytes_max, starts, depth| Thoroughness {
        starts,
        depth,
        lucks: lucks.clone(),
        record_bytes_max,
        segments,
    };
    let sweeps: Vec<(&str, Sweep)> = vec![
        ("log, units of 4, blocks of 1024", {
            let how = how(2, 100, starts, 2);
            Box::new(move || LogSweep::<4, 1024, 1, 64>::run(how))
        }),
        ("log, units of 1, blocks of 4096", {
            let how = how(2, 384, starts, 2);
            Box::new(move || LogSweep::<1, 4096, 1, 64>::run(how))
        }),
        ("log, units of 8, blocks of 2048, three segments", {
            let how = how(3, 200, starts, 2);
            Box::new(move || LogSweep::<8, 2048, 8, 64>::run(how))
        }),
        ("log, units of 32, blocks of 8192", {
            let how = how(2, 384, starts, 2);
            Box::new(move || LogSweep::<32, 8192, 1, 64>::run(how))
        }),
        ("log, units of 256, blocks of 4096", {
            let how = how(2, 300, starts, 2);
            Box::new(move || LogSweep::<256, 4096, 1, 256>::run(how))
        }),
        ("log, three cuts deep, units of 4, blocks of 256", {
            let how = how(2, 40, starts / 4, 3);
            Box::new(move || LogSweep::<4, 256, 1, 32>::run(how))
        }),
        ("area, units of 4, blocks of 1024", {
            let lucks = lucks.clone();
            Box::new(move || AreaSweep::<4, 1024>::run(3, lucks))
        }),
        ("area, units of 256, blocks of 4096", {
            let lucks = lucks.clone();
            Box::new(move || AreaSweep::<256, 4096>::run(3, lucks))
        }),
    ];
    let running = sweeps.into_iter().map(|(name, sweep)| (name, thread::spawn(sweep)));
    let mut sum = Counts::default();
    for (name, sweep) in running.collect::<Vec<_>>() {
        let counts = sweep.join().expect("the sweep found something");
        println!("{name}: {counts}");
        sum = sum.and(counts);
    }
    println!("all: {sum}");
}
