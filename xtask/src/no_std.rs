//! `cargo xtask no-std`: the proof that a device needs neither std nor an allocator.
//!
//! A static library without either is built from a generated package, and all of it is then linked into a program
//! without libc. If alloc is anywhere in the graph, rustc has no allocator to offer and refuses; if std is, there are
//! two panic handlers; if something calls into libc, the linker finds nothing. The gate shows in every run that it
//! does refuse: with a feature that needs an allocator, and with one that needs std.

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::fence::DEVICE_FEATURES;
use crate::machine::on_path;
use crate::project::{Project, write};
use crate::run::{Ran, Run};

pub(crate) const HELP: &str = "
    cargo xtask no-std

Builds what runs on devices into a #![no_std] static library that has no global allocator, and links that
into a program without libc. Where the target thumbv7m-none-eabi is installed, it is built for that too.
Then shows that the gate refuses: with std in the graph, and with an allocator in the graph.";

const GATE_MUST_FAIL: &str = "gate-must-fail";
/// The generated package's only source file.
const GATE: &str = include_str!("../no_std_gate.rs");
const DEVICE_TARGET: &str = "thumbv7m-none-eabi";
/// What rustc says when alloc is in the graph.
const NO_ALLOCATOR: &str = "no global memory allocator found";
/// What rustc says when std is in the graph, beside our panic handler.
const TWO_PANIC_HANDLERS: &str = "found duplicate lang item `panic_impl`";

/// What the compiler asks of every target, microcontrollers included, and what only a host's precompiled core names.
const OFFERED: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "rust_eh_personality"];
/// What must have left code in what was linked, as it stands in the names of functions: a library that is only named,
/// or generic code that nothing uses, would prove nothing.
const LINKED: [&str; 5] = ["ota_core", "ota_device", "poll_output", "ota_storage", "LogAccess"];

/// A library of ours with the features that a device switches on.
struct Part {
    package: &'static str,
    features: Vec<&'static str>,
}

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    if let Some(arg) = args.next().map_err(|error| error.to_string())? {
        return Err(arg.unexpected().to_string());
    }
    check(project)
}

/// The proof, and the proof that the proof can fail.
pub(crate) fn check(project: &Project) -> Outcome {
    let parts = || {
        let core = Part { package: "ota-core", features: DEVICE_FEATURES.to_vec() };
        let device = Part { package: "ota-device", features: vec![] };
        vec![core, device, Part { package: "ota-storage", features: vec!["flash"] }]
    };
    let library = build(project, "gate", &parts(), &[])?;
    if !library.success {
        return Err("what runs on devices needs std or an allocator; see above".into());
    }
    link(project)?;
    if has_target(project)? {
        let library = build(project, "gate", &parts(), &["--target", DEVICE_TARGET])?;
        if !library.success {
            return Err(format!("what runs on devices does not build for {DEVICE_TARGET}; see above"));
        }
    } else {
        println!(
            "{DEVICE_TARGET} is not installed here (rustup target add {DEVICE_TARGET}): shown for this host only"
        );
    }
    for (feature, complaint) in [("alloc", NO_ALLOCATOR), ("std", TWO_PANIC_HANDLERS)] {
        println!("and now with ota-core/{feature}, which must fail:");
        let mut parts = parts();
        parts[0].features.push(feature);
        refused(&build(project, GATE_MUST_FAIL, &parts, &[])?, feature, complaint)?;
    }
    Ok(())
}

fn refused(ran: &Ran, feature: &str, complaint: &str) -> Outcome {
    match (ran.success, ran.text.contains(complaint)) {
        (false, true) => {
            println!("it does fail: {complaint}");
            Ok(())
        }
        (true, _) => Err(format!("the gate let ota-core/{feature} pass: it proves nothing")),
        (false, false) => Err(format!("with ota-core/{feature} it broke for another reason:\n{}", ran.text)),
    }
}

fn folder(project: &Project) -> PathBuf {
    project.target.join("no-std")
}

/// Writes the package and builds it. The complaint of a failed build is part of what it returns.
fn build(project: &Project, name: &str, parts: &[Part], flags: &[&str]) -> Result<Ran, String> {
    let package = folder(project).join(name);
    let mut manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[lib]\npath = \"lib.rs\"\n\
         crate-type = [\"staticlib\"]\n\n[profile.dev]\npanic = \"abort\"\nopt-level = \"z\"\ndebug = false\n\
         debug-assertions = false\noverflow-checks = false\n\n[dependencies]\n"
    );
    for Part { package, features } in parts {
        let path = project.root.join(package);
        manifest.push_str(&format!("{package} = {{ path = {path:?}, features = {features:?} }}\n"));
    }
    // The trait of flashes, in the version that our lock file has.
    manifest.push_str("embedded-storage = \"*\"\n");
    write(&package.join("Cargo.toml"), &manifest)?;
    write(&package.join("lib.rs"), GATE)?;
    // Our own lock file, so that what is proven is what the workspace builds; cargo drops what is not needed.
    std::fs::copy(project.root.join("Cargo.lock"), package.join("Cargo.lock"))
        .map_err(|error| format!("cannot copy Cargo.lock: {error}"))?;
    let manifest = package.join("Cargo.toml");
    let words = ["build", "--quiet", "--offline", "--manifest-path"];
    let run = project.cargo(words).args([manifest]).args(flags.iter().copied());
    let run = run.env("CARGO_TARGET_DIR", folder(project).join("target"));
    // An expected failure is not shown, or it would be taken for one.
    if name == GATE_MUST_FAIL { run.quiet().run() } else { run.run() }
}

/// Links the whole library, used or not, with nothing else: whatever is missing then would be missing on a device.
fn link(project: &Project) -> Outcome {
    let Some(linker) = on_path("cc") else { return Err("there is no `cc` to link with".into()) };
    if !cfg!(target_os = "linux") {
        println!("only linked on Linux");
        return Ok(());
    }
    let target = folder(project).join("target/debug");
    let program = target.join("gate");
    Run::new(linker, project.root.clone())
        .args(["-nostdlib", "-nostartfiles", "-static", "-Wl,--entry=gate"])
        .args(OFFERED.map(|symbol| format!("-Wl,--defsym={symbol}=gate")))
        .args([Path::new("-o"), &program, Path::new("-Wl,--whole-archive"), &target.join("libgate.a")])
        .must()?;
    let linked = std::fs::read(&program).map_err(|error| format!("cannot read what was linked: {error}"))?;
    for name in LINKED {
        if !linked.windows(name.len()).any(|window| window == name.as_bytes()) {
            return Err(format!("nothing of {name} was linked: the gate proves nothing"));
        }
    }
    println!("linked whole, {} KiB, and nothing is missing", linked.len() / 1024);
    Ok(())
}

fn has_target(project: &Project) -> Result<bool, String> {
    let ran = Run::new("rustc", &project.root)
        .args(["--print", "target-libdir", "--target", DEVICE_TARGET])
        .quiet()
        .must()?;
    Ok(Path::new(ran.stdout.trim()).is_dir())
}
