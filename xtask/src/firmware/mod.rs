//! `cargo xtask firmware`: the device's half on a Cortex-M3, built, measured, and updated in an emulator.
//!
//! What the program needs of flash, static RAM and stack is held against `examples/firmware-cortex-m/budget`: a
//! budget that is passed is a failure, so growth is a decision and never an accident.

mod budget;
mod image;
mod size;
mod toolchain;

use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::machine::Permission;
use crate::project::Project;
use crate::test::{Context, Verdict};

use budget::{Budget, Memory};
use size::{Part, Sizes};
use toolchain::{TARGET, Toolchain};

pub(crate) const HELP: &str = "
    cargo xtask firmware                build, measure, and take two updates in the emulator
    cargo xtask firmware --no-install   use only a compiler and an emulator that are there
    cargo xtask firmware --symbols N    also print the N largest symbols

A compiler for Cortex-M3 and an emulator are taken from the machine, or made from Debian packages that are unpacked
into the target folder; nothing is installed. Fails when the program is over its budget.";

/// Where the firmware lies.
const FOLDER: &str = "examples/firmware-cortex-m";

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    let mut permission = Permission::Install;
    let mut symbols = 0;
    while let Some(arg) = args.next().map_err(|error| error.to_string())? {
        match arg {
            lexopt::Arg::Long("no-install") => permission = Permission::Look,
            lexopt::Arg::Long("symbols") => {
                let value = args.value().map_err(|error| error.to_string())?;
                symbols = value.to_string_lossy().parse().map_err(|_| "--symbols takes a number")?;
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    check(project, &Toolchain::ensure(project, permission)?, symbols)
}

/// The step of `cargo xtask test`.
pub(crate) fn step(all: &Context<'_>) -> Verdict {
    match Toolchain::ensure(all.project, all.permission) {
        Ok(toolchain) => check(all.project, &toolchain, 0).into(),
        Err(why) => Verdict::Skipped(why),
    }
}

fn check(project: &Project, toolchain: &Toolchain, symbols: usize) -> Outcome {
    let folder = project.target.join("firmware-run");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    // Three builds of one program: what the factory installs, what replaces it, and what must be taken back.
    let [old, new, broken] = [("1", false), ("2", false), ("3", true)]
        .map(|(revision, never_confirms)| build(project, toolchain, &folder, revision, never_confirms));
    let (old, sizes) = old?;
    let memory = run(project, toolchain, &folder, &[old, new?.0, broken?.0])?;
    print(&sizes, &memory, symbols);
    Budget::read(&project.root.join(FOLDER).join("budget"))?.check(&sizes, &memory)
}

/// Builds the firmware and returns its image and what it is made of.
fn build(
    project: &Project,
    toolchain: &Toolchain,
    folder: &Path,
    revision: &'static str,
    never_confirms: bool,
) -> Result<(PathBuf, Sizes), String> {
    let target = project.target.join("firmware");
    let cargo = toolchain.cargo(&project.root.join(FOLDER), ["build", "--release", "--locked"]);
    let cargo = cargo.env("CARGO_TARGET_DIR", &target).env("FIRMWARE_REVISION", revision);
    if never_confirms { cargo.env("FIRMWARE_NEVER_CONFIRMS", "1") } else { cargo }.must()?;
    let program = target.join(TARGET).join("release").join("firmware-cortex-m");
    let image = folder.join(format!("firmware-{revision}.bin"));
    image::write(&program, &image)?;
    Ok((image, Sizes::of(&program)?))
}

/// Lets the device take its updates in the emulator, and returns what it said about its memory.
fn run(
    project: &Project,
    toolchain: &Toolchain,
    folder: &Path,
    [old, new, broken]: &[PathBuf; 3],
) -> Result<Memory, String> {
    let words = ["run", "--locked", "--package", "ota-sim-programs", "--bin", "firmware-host", "--"];
    let cargo = project.cargo(words);
    let ran = [
        ("--emulator", toolchain.emulator.as_path()),
        ("--folder", folder),
        ("--old", old),
        ("--new", new),
        ("--broken", broken),
    ]
    .into_iter()
    .fold(cargo, |cargo, (name, path)| cargo.arg(name).arg(path))
    .must()?;
    ran.stdout.lines().rev().find_map(Memory::parse).ok_or_else(|| "the device told no memory".to_owned())
}

fn print(sizes: &Sizes, memory: &Memory, symbols: usize) {
    println!("| part | bytes |\n|---|---:|");
    for part in Part::ALL {
        println!("| flash: {} | {} |", part.name(), sizes.code(part));
    }
    println!("| flash: constants and start values | {} |", sizes.constants());
    println!("| flash: all | {} |", sizes.flash);
    println!("| static RAM: the engine | {} |", memory.engine);
    println!("| static RAM: all, with the buffers | {} |", memory.statics);
    println!("| stack, high water | {} |", memory.stack);
    for (bytes, part, name) in sizes.largest.iter().take(symbols) {
        println!("{bytes:>7}  {:<24} {name}", part.name());
    }
}
