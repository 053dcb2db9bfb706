//! `cargo xtask fence`: who may depend on whom, and what may reach a device.
//!
//! The arrows are those of `docs/architecture.md`; a new one changes that page and [`ARROWS`] in the same commit.
//! Dev-dependencies count: a library whose tests know the simulator could not be tested without it.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Outcome;
use crate::project::{PUBLISHED, Project};

pub(crate) const HELP: &str = "
    cargo xtask fence

Reads `cargo metadata`, dev-dependencies included, and refuses every dependency between our own packages that
docs/architecture.md does not draw. Then reads the dependency trees of what runs on devices and refuses every
crate that is not on the list of those known to do without the standard library.";

/// What a device has of the words: all algorithms, and nothing that needs an allocator.
pub(crate) const DEVICE_FEATURES: [&str; 6] = ["crc32", "sha2", "sha3", "hmac", "ed25519", "p256"];

/// How a package may know another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrow {
    /// In any way.
    Always,
    /// Only as an optional dependency: for a program that a feature switches on, never for the library.
    Optional,
}

/// Every arrow between our packages that may exist. Who is not named here (the simulator, the examples, the fuzz
/// targets, xtask) may know all libraries, and is known by nobody but its like.
const ARROWS: &[(&str, &[(&str, Arrow)])] = &[
    ("ota-core", &[]),
    ("ota-device", &[("ota-core", Arrow::Always)]),
    ("ota-storage", &[("ota-core", Arrow::Always)]),
    ("ota-transport", &[("ota-core", Arrow::Always)]),
    (
        "ota-server",
        &[("ota-core", Arrow::Always), ("ota-storage", Arrow::Optional), ("ota-transport", Arrow::Optional)],
    ),
];

/// What runs on a device: a package, and the features that a device may switch on. A feature that is not there
/// (yet) is left out, except in ota-core, where its absence would empty the check.
const ON_DEVICE: &[(&str, &[&str])] =
    &[("ota-core", &DEVICE_FEATURES), ("ota-device", &[]), ("ota-storage", &["flash"])];

/// Crates known to do without the standard library and an allocator in the way we use them, procedural macros apart.
/// `cargo xtask no-std` proves it; this list makes a newcomer a decision.
const NO_STD: &[&str] = &[
    // Ours.
    "ota-core",
    "ota-device",
    "ota-storage",
    // Errors.
    "thiserror",
    // Digests.
    "block-buffer",
    "cfg-if",
    "const-oid",
    "cpubits",
    "crc",
    "crc-catalog",
    "crypto-common",
    "ctutils",
    "cmov",
    "digest",
    "hmac",
    "hybrid-array",
    "keccak",
    "sha2",
    "sha3",
    "sponge-cursor",
    "subtle",
    "typenum",
    "zeroize",
    // Signatures.
    "base16ct",
    "crypto-bigint",
    "curve25519-dalek",
    "der",
    "ecdsa",
    "ed25519",
    "ed25519-dalek",
    "elliptic-curve",
    "ff",
    "group",
    "num-traits",
    "p256",
    "primefield",
    "primeorder",
    "rand_core",
    "rfc6979",
    "sec1",
    "signature",
    "wnaf",
    // Flash.
    "embedded-storage",
];

/// A microcontroller: what cargo resolves for it has nothing that only hosts need.
const DEVICE_TARGET: &str = "thumbv7m-none-eabi";

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    if let Some(arg) = args.next().map_err(|error| error.to_string())? {
        return Err(arg.unexpected().to_string());
    }
    check(project)?;
    println!("all arrows are drawn in the architecture page, and nothing on a device needs std");
    Ok(())
}

/// All of it; the error lists every breach.
pub(crate) fn check(project: &Project) -> Outcome {
    let mut breaches = refused_arrows(project.packages());
    for (package, features) in ON_DEVICE {
        let described = project.package(package).ok_or_else(|| format!("{package} is no member any more"))?;
        let features = known_features(described, features)?;
        breaches.extend(strangers(package, &tree(project, package, &features)?));
    }
    if breaches.is_empty() { Ok(()) } else { Err(breaches.join("\n")) }
}

/// Every dependency between our own packages that is not drawn.
fn refused_arrows(packages: &[Value]) -> Vec<String> {
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut refused = Vec::new();
    for package in packages {
        let from = package["name"].as_str().unwrap_or_default();
        let allowed = ARROWS.iter().find(|(name, _)| *name == from).map(|(_, arrows)| *arrows);
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"].as_str().unwrap_or_default();
            // A path that leads to no member leads to something outside the workspace, such as the fuzz targets.
            if !ours.contains(to) && dependency["path"].is_null() {
                continue;
            }
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            let Some(allowed) = allowed else {
                // Development packages know all libraries and each other, but nobody needs the commands.
                if to == "xtask" || !ours.contains(to) {
                    refused.push(format!("{from} -> {to} ({kind}): nobody depends on that"));
                }
                continue;
            };
            match allowed.iter().find(|(name, _)| *name == to) {
                None => {
                    refused.push(format!("{from} -> {to} ({kind}): not an arrow of docs/architecture.md"))
                }
                Some((_, Arrow::Always)) => {}
                Some((_, Arrow::Optional)) if dependency["optional"] == true => {}
                Some((_, Arrow::Optional)) => {
                    refused.push(format!("{from} -> {to} ({kind}): only as an optional dependency"));
                }
            }
        }
    }
    for name in PUBLISHED.iter().filter(|name| !ours.contains(*name)) {
        refused.push(format!("{name} is gone; the names of the published crates are fixed"));
    }
    refused
}

fn known_features<'a>(package: &Value, wanted: &[&'a str]) -> Result<Vec<&'a str>, String> {
    let is_known = |feature: &&&str| !package["features"][**feature].is_null();
    let known: Vec<&str> = wanted.iter().filter(is_known).copied().collect();
    if package["name"] == "ota-core" && known.len() < wanted.len() {
        return Err(format!(
            "ota-core has lost features of a device: {wanted:?} are wanted, {known:?} are there"
        ));
    }
    Ok(known)
}

/// The names of all crates in the normal dependency tree of a package on a device.
fn tree(project: &Project, package: &str, features: &[&str]) -> Result<BTreeSet<String>, String> {
    let features = features.join(",");
    let ran = project
        .cargo(["tree", "--locked", "--package", package, "--no-default-features", "--features", &features])
        .args(["--edges=normal,no-proc-macro", "--prefix=none", "--format={p}", "--target", DEVICE_TARGET])
        .quiet()
        .must()?;
    Ok(ran.stdout.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn strangers(package: &str, crates: &BTreeSet<String>) -> Vec<String> {
    let unknown = crates.iter().filter(|name| !NO_STD.contains(&name.as_str()));
    unknown
        .map(|name| format!("{package} brings {name} onto devices: is it no_std? Then list it in NO_STD"))
        .collect()
}
