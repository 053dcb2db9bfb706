//! `cargo xtask tidy`: what the sources and pages promise, checked by reading them.

mod code_only;
mod describes;
mod manifests;
mod pages;
mod sources;

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::project::{Project, read, write};

pub(crate) const HELP: &str = "
    cargo xtask tidy [--bless]

Every .rs file opens with //! and has at most 800 lines; nothing is left to be done in a macro's name, no test is
ignored, none sleeps (`// sleeps: WHY` on the line or the one above argues an exception); no file names a path of
one developer's machine; links between pages lead somewhere; the README's facts are those of Cargo.toml;
every member takes the workspace's lints, and no library has default features.

docs/protocol.md and docs/flash-format.md carry the hash of the sources that they describe, in one line:

    <!-- describes: ota-core/src/wire ota-core/src/limits.rs sha256:0123456789abcdef -->

A folder stands for all files below it, tests apart. When these sources change, read the page again, and then
--bless writes the new hash.";

/// A text file of the project: its path from the root, with `/`, and what it holds.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    let mut bless = false;
    while let Some(arg) = args.next().map_err(|error| error.to_string())? {
        match arg {
            lexopt::Arg::Long("bless") => bless = true,
            other => return Err(other.unexpected().to_string()),
        }
    }
    if bless {
        for page in files(&project.root)?.iter().filter(|file| file.path.ends_with(".md")) {
            let blessed = describes::blessed(page, &project.root)?;
            if blessed != page.text {
                write(&project.root.join(&page.path), &blessed)?;
                println!("{} is blessed", page.path);
            }
        }
    }
    check(project)?;
    println!("all is tidy");
    Ok(())
}

/// All checks; the error lists everything that is untidy.
pub(crate) fn check(project: &Project) -> Outcome {
    let files = files(&project.root)?;
    let mut untidy = Vec::new();
    for file in &files {
        untidy.extend(sources::foreign_paths(file, &sources::machine_paths(&project.root)));
        if file.path.ends_with(".rs") {
            untidy.extend(sources::check(file));
        }
        if file.path.ends_with(".md") {
            untidy.extend(pages::broken_links(file, &project.root));
            untidy.extend(describes::stale(file, &project.root));
        }
    }
    untidy.extend(pages::readme_facts(project)?);
    untidy.extend(manifests::check(project)?);
    if untidy.is_empty() { Ok(()) } else { Err(untidy.join("\n")) }
}

/// Every text file of ours, without what is built, fetched or hidden.
fn files(root: &Path) -> Result<Vec<File>, String> {
    let mut found = Vec::new();
    for path in below(root, &|path| !is_foreign(root, path))? {
        // What is not text (corpora, pictures) has no rules here.
        let Ok(text) = read(&path) else { continue };
        found.push(File { path: relative(root, &path), text });
    }
    Ok(found)
}

fn is_foreign(root: &Path, path: &Path) -> bool {
    let path = relative(root, path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
    hidden || matches!(name, "target" | "node_modules") || matches!(&*path, "fuzz/artifacts" | "fuzz/corpus")
}

/// All files below a folder (or the file itself) in sorted order, for which all their folders are wanted too.
fn below(path: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let cannot = |error| format!("cannot list {}: {error}", path.display());
    let entries = std::fs::read_dir(path).map_err(cannot)?;
    let mut entries: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(cannot)).collect::<Result<_, _>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| wanted(entry)) {
        found.extend(below(entry, wanted)?);
    }
    Ok(found)
}

fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Whether a path holds nothing but tests.
fn is_test_path(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.split('/').any(|part| part == "tests") || name == "tests.rs" || name.ends_with("_tests.rs")
}
