//! Power cuts in a whole update, on flash and in a directory: at every operation, and again at every one of what follows.
//!
//! Updates that are kept, given up, and overtaken by rotated roots, in several geometries. Each round has other files;
//! cuts are nested in the first two.

use std::sync::Mutex;
use std::thread;

use ota_sim::flash::Luck;
use ota_sim::medium::{DirectoryMedium, FlashMedium};
use ota_sim::update_sweep::{Counts, Course, Scenario, UpdateSweep};
use ota_storage::directory::model::Luck as DirectoryLuck;

type Sweep = Box<dyn FnOnce() -> Counts + Send>;

fn main() {
    // The only argument is how many rounds there are: enough for a million single cuts unless said otherwise.
    let rounds = std::env::args().nth(1).map_or(112, |text| text.parse().expect("how many rounds"));
    println!("rounds: {rounds}");
    let mut sweeps = Vec::new();
    for seed in (0..rounds).rev() {
        for course in [Course::Kept, Course::GivenUp, Course::Rotated] {
            let scenario = Scenario { course, seed, depth: if seed < 2 { 2 } else { 1 } };
            sweeps.push(flash::<4, 1024>(scenario));
            sweeps.push(flash::<1, 4096>(scenario));
            sweeps.push(flash::<8, 2048>(scenario));
            sweeps.push(directory(scenario));
        }
    }
    let (sweeps, sum) = (Mutex::new(sweeps), Mutex::new([Counts::default(); 2]));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                loop {
                    let next = sweeps.lock().expect("a list of sweeps").pop();
                    let Some((name, medium, sweep)) = next else { return };
                    let counts = sweep();
                    println!("{name}: {counts}");
                    let mut sum = sum.lock().expect("a sum");
                    sum[medium] = sum[medium].and(counts);
                }
            });
        }
    });
    let [flash, directory] = sum.into_inner().expect("a sum");
    println!("flash: {flash}");
    println!("directory: {directory}");
}

fn flash<const W: usize, const E: usize>(scenario: Scenario) -> (String, usize, Sweep) {
    let name = format!("units of {W}, blocks of {E}, {scenario:?}");
    let sweep = move || {
        let lucks = vec![Luck::Untouched, Luck::Completed, Luck::Random(0x5EED)];
        UpdateSweep::run(&FlashMedium::<W, E>::new(4096), lucks, scenario, E as u32)
    };
    (name, 0, Box::new(sweep))
}

fn directory(scenario: Scenario) -> (String, usize, Sweep) {
    let name = format!("directory, {scenario:?}");
    let sweep =
        move || UpdateSweep::run(&DirectoryMedium::new(4096), DirectoryLuck::ALL.to_vec(), scenario, 1);
    (name, 1, Box::new(sweep))
}
