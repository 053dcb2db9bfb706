//! What every source file keeps to: its opening words, its length, nothing left undone, no sleeping test.

use std::path::Path;

use super::code_only::code_only;
use super::{File, is_test_path};

/// More lines than this are two subjects in one file.
const LINES_MAX: usize = 800;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Code that says "later".
const UNDONE: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Waiting for time to pass makes a suite slow, and red on a busy machine.
const SLEEPS: &[&str] = &["thread::sleep", "time::sleep"];

/// The argument for a sleep in a test, such as virtual time.
const SLEEP_MARKER: &str = "// sleeps: ";

/// Everything that is untidy in one source file.
pub(crate) fn check(file: &File) -> Vec<String> {
    let File { path, text } = file;
    let mut untidy = Vec::new();
    let opening = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if !opening.starts_with("//! ") {
        untidy.push(format!("{path}: does not open with `//!` and what lives here"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && !LONG_FILES.iter().any(|(long, _)| long == path) {
        untidy
            .push(format!("{path}: {lines} lines, more than {LINES_MAX}: split it, or argue in LONG_FILES"));
    }
    let code = code_only(text);
    let originals: Vec<&str> = text.lines().collect();
    let mut in_tests = is_test_path(path) || path.starts_with("sim/");
    for (index, line) in code.lines().enumerate() {
        let number = index + 1;
        in_tests |= line.trim() == "#[cfg(test)]";
        for undone in UNDONE.iter().filter(|undone| has_word(line, undone)) {
            untidy.push(format!("{path}:{number}: `{undone}` is left"));
        }
        if line.trim_start().starts_with("#[ignore") {
            untidy.push(format!("{path}:{number}: an ignored test proves nothing"));
        }
        let argued = |index: usize| originals.get(index).is_some_and(|line| line.contains(SLEEP_MARKER));
        if in_tests && SLEEPS.iter().any(|sleep| line.contains(sleep)) {
            let argued_here = argued(index) || index.checked_sub(1).is_some_and(argued);
            if !argued_here {
                untidy.push(format!(
                    "{path}:{number}: a test sleeps; wait for the event, or argue: {SLEEP_MARKER}WHY"
                ));
            }
        }
    }
    untidy
}

/// Whether the word stands there by itself: `todo!`, not `my_todo!`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|char| !char.is_alphanumeric() && char != '_')
    })
}

/// Folders that exist on one machine only: of whoever runs this, and the usual ones of anybody.
pub(crate) fn machine_paths(root: &Path) -> Vec<String> {
    // Put together here, for this file is checked too.
    let mut paths = vec![["/ho", "me/"].concat(), ["/Us", "ers/"].concat(), ["C:\\Us", "ers\\"].concat()];
    let home = std::env::var("HOME").unwrap_or_default();
    for folder in [root.to_string_lossy().into_owned(), home] {
        // With the slash it is a path, not a word in a sentence.
        if folder.len() > 1 {
            paths.push(format!("{}/", folder.trim_end_matches('/')));
        }
    }
    paths
}

/// Places where a file names such a folder.
pub(crate) fn foreign_paths(file: &File, machine_paths: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for path in machine_paths.iter().filter(|path| names_folder(line, path)) {
            found.push(format!("{}:{}: names a folder of one machine: {path}", file.path, index + 1));
        }
    }
    found
}

/// Whether a path begins there; the same words deeper in a path are something of ours.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|char| !char.is_alphanumeric() && !"_-./}".contains(char))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.into() }
    }

    #[track_caller]
    fn finds(path: &str, text: &str, what: &[&str]) {
        let found = check(&file(path, text));
        assert_eq!(found.len(), what.len(), "{found:?}");
        for (found, what) in found.iter().zip(what) {
            assert!(found.contains(what), "{found}");
        }
    }

    #[test]
    fn a_file_without_opening_words_is_refused() {
        finds("a/src/lib.rs", "//! What lives here.\nfn f() {}", &[]);
        finds("a/src/lib.rs", "fn f() {}", &["does not open"]);
        finds("a/src/lib.rs", "// Not enough.\nfn f() {}", &["does not open"]);
    }

    #[test]
    fn a_long_file_is_refused() {
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(LINES_MAX));
        finds("a/src/lib.rs", &long, &["801 lines"]);
    }

    #[test]
    fn what_is_undone_is_found_in_code_and_not_in_words() {
        finds("a.rs", "//! X.\nfn f() { todo!() }", &["a.rs:2: `todo!`"]);
        finds("a.rs", "//! X.\nfn f() { \"todo!\" } // todo!\nmy_todo!()", &[]);
    }

    #[test]
    fn an_ignored_test_is_refused() {
        finds("a.rs", "//! X.\n#[test]\n#[ignore = \"slow\"]\nfn f() {}", &["a.rs:3: an ignored test"]);
    }

    #[test]
    fn a_test_that_sleeps_is_refused_unless_it_argues() {
        let sleep = "//! X.\nfn f() { std::thread::sleep(X) }";
        finds("a/src/lib.rs", sleep, &[]);
        finds("a/tests/x.rs", sleep, &["x.rs:2: a test sleeps"]);
        finds("a/src/lib.rs", &sleep.replace("fn", "#[cfg(test)]\nfn"), &["lib.rs:3: a test sleeps"]);
        finds("a/tests/x.rs", "//! X.\n// sleeps: virtual time\ntokio::time::sleep(X)", &[]);
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        let paths = [["/ho", "me/"].concat()];
        assert_eq!(foreign_paths(&file("a.md", &["see /ho", "me/me/x"].concat()), &paths).len(), 1);
        assert_eq!(foreign_paths(&file("a.md", &["see the/ho", "me/me/x"].concat()), &paths).len(), 0);
    }
}
