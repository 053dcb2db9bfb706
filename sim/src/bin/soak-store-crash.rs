//! A process that commits to the fleet's store, killed with SIGKILL at random points (200 rounds unless said otherwise).

use std::path::{Path, PathBuf};
use std::process::Command;

use ota_sim::store_crash;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, path] = arguments.as_slice()
        && command == "child"
    {
        return store_crash::child(Path::new(path)).await;
    }
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse().ok());
    let rounds = numbers.next().unwrap_or(200);
    let seed = numbers.next().unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (repeat with: -- {rounds} {seed})");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store");
    let program: PathBuf = std::env::current_exe().expect("this program");
    let seen = store_crash::rounds(rounds, seed, &path, || {
        let mut command = Command::new(&program);
        command.arg("child").arg(&path);
        command
    })
    .await;
    println!(
        "{} kills, {} acknowledged steps all there, {} more found whole, opened in at most {} ms",
        seen.rounds, seen.acknowledged, seen.unseen, seen.open_ms_max
    );
}
