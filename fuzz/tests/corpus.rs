//! Every file of every corpus, replayed on stable: what was found once is looked at for ever.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ota_fuzz::TARGETS;

const FILES_MAX: usize = 200;
const BYTES_MAX: u64 = 1024 * 1024;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The names in a folder, without the ending of programs.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries
        .map(|entry| entry.unwrap().file_name().to_str().expect("names are UTF-8").to_owned())
        .map(|name| name.strip_suffix(".rs").map_or(name.clone(), str::to_owned))
        .collect()
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_nothing_else_does() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "names are unique");
    assert_eq!(names(&folder("fuzz_targets")), targets);
    assert_eq!(names(&folder("corpus")), targets);
    // `cargo xtask fuzz` runs what the manifest lists.
    let manifest = std::fs::read_to_string(folder("Cargo.toml")).unwrap();
    let programs = manifest.split("[[bin]]").skip(1).map(|program| {
        let name = program.split("name = \"").nth(1).and_then(|rest| rest.split('"').next());
        name.expect("a program has a name").to_owned()
    });
    assert_eq!(programs.collect::<BTreeSet<_>>(), targets);
}

#[test]
fn every_file_of_every_corpus_is_survived() {
    let mut report = String::new();
    for (name, target) in TARGETS {
        let files = names(&folder("corpus").join(name));
        let mut bytes = 0;
        for file in &files {
            let path = folder("corpus").join(name).join(file);
            let data = std::fs::read(&path).unwrap();
            bytes += data.len() as u64;
            // The harness prints this only when the target panics, and then it names the file.
            println!("replaying {}", path.display());
            target(&data);
        }
        assert!(!files.is_empty(), "the corpus of {name} is empty");
        assert!(files.len() < FILES_MAX && bytes < BYTES_MAX, "the corpus of {name} is to be minimised");
        report.push_str(&format!("{name}: {} files, {bytes} bytes\n", files.len()));
    }
    println!("{report}");
}
