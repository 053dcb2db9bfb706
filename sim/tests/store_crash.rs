//! The short part of the crash soak: ten kills.

use std::process::Command;

use ota_sim::store_crash;

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let seen = store_crash::rounds(10, seed, &path, || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_soak-store-crash"));
        command.arg("child").arg(&path);
        command
    })
    .await;
    assert_eq!(seen.rounds, 10);
    assert!(seen.acknowledged > 100, "the children did work: {seen:?}");
}
