//! What pages promise: links that lead somewhere, and a README whose facts are those of `Cargo.toml`.

use std::path::Path;

use super::File;
use crate::project::{PUBLISHED, Project, read};

/// Links to files of ours that are not there.
pub(crate) fn broken_links(page: &File, root: &Path) -> Vec<String> {
    let folder = root.join(&page.path);
    let folder = folder.parent().unwrap_or(root);
    let mut broken = Vec::new();
    let mut in_code = false;
    for (index, line) in page.text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        for link in links(line) {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !elsewhere && !folder.join(path).exists() {
                broken.push(format!("{}:{}: the link to {path} leads nowhere", page.path, index + 1));
            }
        }
    }
    broken
}

/// The targets of `[text](target)`, outside of code.
fn links(line: &str) -> Vec<&str> {
    // Every second part lies between backticks.
    let words = line.split('`').step_by(2);
    let mut found = Vec::new();
    for word in words {
        let after = word.split("](").skip(1);
        found.extend(after.filter_map(|rest| rest.split([')', ' ']).next()));
    }
    // A code word as the link's text hides the bracket's start, not its end.
    found
}

/// Everything in the README that differs from what cargo and these commands know.
pub(crate) fn readme_facts(project: &Project) -> Result<Vec<String>, String> {
    let text = read(&project.root.join("README.md"))?;
    let commands: Vec<&str> = crate::COMMANDS.iter().map(|command| command.name).collect();
    Ok(facts(&text, project.rust_version()?, &project.package_names(), &commands))
}

fn facts(readme: &str, rust_version: &str, packages: &[&str], commands: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let stated: Vec<&str> = after(readme, "Rust ", |char| char.is_ascii_digit() || char == '.');
    if !stated.contains(&rust_version) {
        wrong.push(format!("README.md: does not say that it needs Rust {rust_version}"));
    }
    for other in stated.iter().filter(|version| **version != rust_version) {
        wrong.push(format!("README.md: says Rust {other}, Cargo.toml says {rust_version}"));
    }
    for name in PUBLISHED {
        if !readme.contains(&format!("[`{name}`]({name}/)")) {
            wrong.push(format!("README.md: the crate map lacks [`{name}`]({name}/)"));
        }
    }
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '-';
    for name in after(readme, "`ota-", is_name) {
        if !packages.contains(&format!("ota-{name}").as_str()) {
            wrong.push(format!("README.md: speaks of ota-{name}, which is no crate of ours"));
        }
    }
    let spoken_of = after(readme, "cargo xtask ", is_name);
    for name in spoken_of.iter().filter(|name| !name.starts_with('-') && !commands.contains(name)) {
        wrong.push(format!("README.md: there is no command cargo xtask {name}"));
    }
    if !spoken_of.contains(&"test") {
        wrong.push("README.md: does not say how to run the tests: cargo xtask test".into());
    }
    wrong
}

/// What follows each occurrence of some words, as long as its characters fit; trailing dots belong to the sentence.
fn after<'a>(text: &'a str, words: &str, fits: impl Fn(char) -> bool) -> Vec<&'a str> {
    let rests = text.split(words).skip(1);
    let taken =
        rests.map(|rest| rest[..rest.find(|char| !fits(char)).unwrap_or(rest.len())].trim_end_matches('.'));
    taken.filter(|taken| !taken.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readme() -> String {
        let map: String = PUBLISHED.iter().map(|name| format!("| [`{name}`]({name}/) | what |\n")).collect();
        format!("Needs Rust 1.95.\n{map}\n    cargo xtask test\n")
    }

    fn wrong(readme: &str) -> Vec<String> {
        facts(readme, "1.95", &[&PUBLISHED[..], &["ota-sim"]].concat(), &["test", "fuzz"])
    }

    #[test]
    fn a_true_readme_passes() {
        assert_eq!(wrong(&readme()), Vec::<String>::new());
    }

    #[test]
    fn another_rust_is_refused() {
        assert_eq!(wrong(&readme().replace("1.95", "1.94")).len(), 2);
        assert_eq!(wrong(&format!("{} Rust 1.90", readme())).len(), 1);
    }

    #[test]
    fn a_missing_crate_and_an_unknown_one_are_refused() {
        assert_eq!(wrong(&readme().replace("[`ota-server`](ota-server/)", "the server")).len(), 1);
        assert_eq!(wrong(&readme().replace("what", "like `ota-client`")).len(), 5);
    }

    #[test]
    fn a_command_that_does_not_exist_is_refused() {
        assert_eq!(wrong(&readme().replace("cargo xtask test", "cargo xtask check")).len(), 2);
    }

    #[test]
    fn links_are_found_outside_of_code() {
        assert_eq!(links("see [a](b.md#c), [`d`](e/) and `[f](g)`"), ["b.md#c", "e/"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = |text: &str| File { path: "src/page.md".into(), text: text.into() };
        let good = "[here](main.rs) [up](../Cargo.toml#x) [web](https://example.org) [in](#x)";
        assert_eq!(broken_links(&page(good), root), Vec::<String>::new());
        assert_eq!(broken_links(&page("[gone](gone.rs)"), root).len(), 1);
        assert_eq!(broken_links(&page("```\n[gone](gone.rs)\n```"), root).len(), 0);
    }
}
