//! The step `features`: every sensible set of features of the libraries compiles without a warning.
//!
//! Features only add, so what one feature forgot to ask for shows when it is alone, and what two of them break shows
//! when they are together. Sets that mean the same are built once: a feature brings along those that it names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::project::Project;
use crate::test::{Context, Verdict};

/// Where every set is built while there are few features: backends meet here in any combination.
const POWERSET: [&str; 2] = ["ota-storage", "ota-transport"];
/// Up to so many features all sets are built; above, each alone and all. Backends do not know each other, so what breaks
/// shows alone or with all, and each further set of a broker's or a database's features is a build of its own.
const POWERSET_FEATURES_MAX: usize = 4;
/// The words are many: each alone, none, what a device has, and all.
const ONE_BY_ONE: [&str; 3] = ["ota-core", "ota-device", "ota-server"];

type Set = BTreeSet<String>;

pub(crate) fn step(all: &Context<'_>) -> Verdict {
    check(all.project).into()
}

fn check(project: &Project) -> Result<(), String> {
    let mut failures = String::new();
    for name in ONE_BY_ONE.iter().chain(&POWERSET) {
        let package = project.package(name).ok_or_else(|| format!("{name} is no member any more"))?;
        let features = features(package);
        let mut sets = sets(&features, POWERSET.contains(name));
        if *name == "ota-core" {
            sets.insert(crate::fence::DEVICE_FEATURES.map(str::to_owned).into());
        }
        for set in sets {
            let list = set.into_iter().collect::<Vec<_>>().join(",");
            // Only the library: tests and programs are built by `clippy`, with everything. Checked by clippy too,
            // because that shares the dependencies with that step.
            let words = ["clippy", "--quiet", "--locked", "--lib", "-p", name, "--no-default-features"];
            let run = project.cargo(words.into_iter().chain(["--features", &list, "--", "-D", "warnings"]));
            if let Err(why) = run.must() {
                failures.push_str(&why);
                failures.push('\n');
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// The features that a package names, with those of its own that each brings along.
fn features(package: &Value) -> BTreeMap<String, Set> {
    let mut found: BTreeMap<String, Set> = BTreeMap::new();
    for (name, brings) in package["features"].as_object().into_iter().flatten() {
        let brings = brings.as_array().into_iter().flatten().filter_map(Value::as_str);
        if name != "default" {
            found.insert(name.clone(), brings.map(str::to_owned).collect());
        }
    }
    let names: Set = found.keys().cloned().collect();
    for brings in found.values_mut() {
        brings.retain(|brought| names.contains(brought));
    }
    found
}

/// The sets to build, each as the smallest list that stands for it.
fn sets(features: &BTreeMap<String, Set>, powerset: bool) -> BTreeSet<Set> {
    let names: Vec<&String> = features.keys().collect();
    let mut chosen: Vec<Set> = vec![Set::new(), names.iter().copied().cloned().collect()];
    match powerset {
        true if names.len() <= POWERSET_FEATURES_MAX => {
            for bits in 0..(1_u32 << names.len()) {
                let has = |index: &usize| bits >> index & 1 == 1;
                chosen.push((0..names.len()).filter(has).map(|index| names[index].clone()).collect());
            }
        }
        _ => chosen.extend(names.iter().map(|name| Set::from([name.to_string()]))),
    }
    let mut by_meaning: BTreeMap<Set, Set> = BTreeMap::new();
    for set in chosen {
        let shortest = by_meaning.entry(closure(&set, features)).or_insert_with(|| set.clone());
        if set.len() < shortest.len() {
            *shortest = set;
        }
    }
    by_meaning.into_values().collect()
}

/// The set with everything that its features bring along.
fn closure(set: &Set, features: &BTreeMap<String, Set>) -> Set {
    let mut whole = set.clone();
    loop {
        let brought: Set = whole.iter().flat_map(|name| &features[name]).cloned().collect();
        let before = whole.len();
        whole.extend(brought);
        if whole.len() == before {
            return whole;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up(features: &str) -> BTreeMap<String, Set> {
        super::features(&serde_json::from_str(&format!(r#"{{"features": {{{features}}}}}"#)).unwrap())
    }

    #[test]
    fn a_small_package_is_built_with_every_set() {
        let features = made_up(r#""default": [], "a": ["dep:x"], "b": [], "c": []"#);
        assert_eq!(sets(&features, true).len(), 8);
    }

    #[test]
    fn sets_that_mean_the_same_are_built_once() {
        let features = made_up(r#""std": [], "a": ["std"], "b": ["a", "other/std"]"#);
        let expected = [vec![], vec!["std"], vec!["a"], vec!["b"]];
        let expected: BTreeSet<Set> =
            expected.iter().map(|set| set.iter().map(|name| name.to_string()).collect()).collect();
        assert_eq!(sets(&features, true), expected);
    }

    #[test]
    fn a_large_package_is_built_with_each_alone_and_with_all() {
        let features = made_up(r#""a": [], "b": [], "c": [], "d": [], "e": []"#);
        assert_eq!(sets(&features, true).len(), 1 + 5 + 1);
    }

    #[test]
    fn one_by_one_means_none_each_and_all() {
        let features = made_up(r#""a": [], "b": [], "c": []"#);
        assert_eq!(sets(&features, false).len(), 1 + 3 + 1);
    }
}
