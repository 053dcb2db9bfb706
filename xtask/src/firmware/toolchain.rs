//! A compiler for thumbv7m and an emulator for it, made from what the machine has or from Debian packages.
//!
//! An installed rustup target and an emulator on the path are used as they are. What is missing is made from Debian
//! packages that are downloaded and unpacked into the target folder, never installed: installing one emulator can
//! remove another.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::machine::{Permission, on_path};
use crate::project::Project;
use crate::run::Run;

/// What the firmware is compiled for: Cortex-M3.
pub(super) const TARGET: &str = "thumbv7m-none-eabi";

const EMULATOR: &str = "qemu-system-arm";

/// A cargo that can build for [`TARGET`], and an emulator.
pub(super) struct Toolchain {
    envs: Vec<(&'static str, OsString)>,
    /// The emulator.
    pub(super) emulator: PathBuf,
}

impl Toolchain {
    /// Finds what is there and makes what is not.
    ///
    /// The error says what is missing and why it could not be had.
    pub(super) fn ensure(project: &Project, permission: Permission) -> Result<Self, String> {
        let folder = project.target.join("thumb-toolchain");
        let emulator = match on_path(EMULATOR) {
            Some(installed) => installed,
            None => emulator_from_packages(&folder.join("emulator"), permission)?,
        };
        let envs = if has_rustup_target() {
            Vec::new()
        } else {
            compiler_from_packages(&folder.join("compiler"), permission)?
        };
        Ok(Self { envs, emulator })
    }

    /// Cargo in `dir`, building for the target that the configuration there names.
    pub(super) fn cargo<'a>(&self, dir: &Path, args: impl IntoIterator<Item = &'a str>) -> Run {
        let run = Run::new("cargo", dir).args(args.into_iter().map(str::to_owned));
        self.envs.iter().fold(run, |run, (name, value)| run.env(name, value.clone()))
    }
}

fn has_rustup_target() -> bool {
    let asked = Run::new("rustup", ".").args(["target", "list", "--installed"]).quiet().run();
    asked.is_ok_and(|ran| ran.stdout.lines().any(|line| line.trim() == TARGET))
}

/// A folder that is filled by `make` once and used ever after; a half-filled one is begun anew.
fn made_once(
    folder: &Path,
    what: &str,
    permission: Permission,
    make: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let ready = folder.join("ready");
    if ready.is_file() {
        return Ok(());
    }
    if permission == Permission::Look || on_path("apt-get").is_none() || on_path("dpkg").is_none() {
        return Err(format!("{what} is missing, and may not or cannot be made from Debian packages here"));
    }
    println!("making {what} from Debian packages in {} (nothing is installed)", folder.display());
    let broken = |error: std::io::Error| format!("cannot write {}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(broken)?;
    }
    fs::create_dir_all(folder).map_err(broken)?;
    make(folder)?;
    fs::write(ready, "").map_err(broken)
}

/// Downloads packages, with those that they need and this machine lacks, and returns the files.
fn download(folder: &Path, packages: &[&str]) -> Result<Vec<PathBuf>, String> {
    let cache = folder.join("packages");
    fs::create_dir_all(cache.join("partial")).map_err(|error| error.to_string())?;
    let archives = format!("Dir::Cache::archives={}", cache.display());
    // Nothing is installed, so no lock is needed and no other user either.
    let options = ["-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", "-o", &archives];
    let fetch = || {
        let words = ["-y", "-qq", "--no-install-recommends", "--download-only"];
        Run::new("apt-get", ".")
            .args(words)
            .args(options)
            .arg("install")
            .args(packages.iter().copied())
            .must()
    };
    if fetch().is_err() {
        // The lists of packages may be old or missing.
        let _ = Run::new("apt-get", ".").args(["-qq", "update"]).run()?;
        fetch()?;
    }
    let files = fs::read_dir(&cache).map_err(|error| error.to_string())?;
    let files = files.filter_map(Result::ok).map(|entry| entry.path());
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

fn unpack(package: &Path, into: &Path) -> Result<(), String> {
    Run::new("dpkg", ".").arg("-x").arg(package).arg(into).quiet().must().map(drop)
}

/// A script that starts a program of unpacked packages with their libraries.
fn launcher(script: &Path, program: &Path, libraries: &[PathBuf]) -> Result<(), String> {
    let libraries: Vec<_> = libraries.iter().map(|path| path.display().to_string()).collect();
    let text =
        format!("#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n", libraries.join(":"), program.display());
    let broken = |error: std::io::Error| format!("cannot write {}: {error}", script.display());
    fs::write(script, text).map_err(broken)?;
    Run::new("chmod", ".").arg("+x").arg(script).quiet().must().map(drop)
}

/// The folder of libraries in unpacked packages, whatever the machine's architecture is called.
fn libraries(root: &Path) -> Vec<PathBuf> {
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    ["usr/lib", "lib"].map(|folder| root.join(folder).join(&triplet)).into()
}

fn emulator_from_packages(folder: &Path, permission: Permission) -> Result<PathBuf, String> {
    let script = folder.join(EMULATOR);
    made_once(folder, EMULATOR, permission, |folder| {
        let root = folder.join("root");
        for package in download(folder, &["qemu-system-arm"])? {
            unpack(&package, &root)?;
        }
        launcher(&folder.join(EMULATOR), &root.join("usr/bin").join(EMULATOR), &libraries(&root))?;
        fs::remove_dir_all(folder.join("packages")).map_err(|error| error.to_string())
    })?;
    Ok(script)
}

/// Debian's newest compiler with the source of its library, of which `core` is built once for the target.
fn compiler_from_packages(
    folder: &Path,
    permission: Permission,
) -> Result<Vec<(&'static str, OsString)>, String> {
    let (rustc, rustdoc) = (folder.join("rustc"), folder.join("rustdoc"));
    made_once(folder, "a compiler for Cortex-M", permission, |folder| {
        let root = folder.join("root");
        for package in download(folder, &["rustc-web", "rust-web-src"])? {
            unpack(&package, &root)?;
        }
        for (script, program) in [(&rustc, "usr/bin/rustc"), (&rustdoc, "usr/bin/rustdoc")] {
            launcher(script, &root.join(program), &libraries(&root))?;
        }
        fs::remove_dir_all(folder.join("packages")).map_err(|error| error.to_string())?;
        build_core(folder, &rustc, &root.join("usr/lib/rustlib"))
    })?;
    Ok(vec![
        ("RUSTC", rustc.into()),
        ("RUSTDOC", rustdoc.into()),
        ("CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER", linker()?.into()),
    ])
}

/// Builds `core` for the target and puts it where the compiler looks, so that later builds are ordinary ones.
fn build_core(folder: &Path, rustc: &Path, rustlib: &Path) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("cannot make core: {error}");
    let package = folder.join("core");
    fs::create_dir_all(package.join("src")).map_err(broken)?;
    fs::write(package.join("src/lib.rs"), "//! Nothing: only what it is built with counts.\n#![no_std]\n")
        .map_err(broken)?;
    let manifest = "[package]\nname = \"core-maker\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
                    [profile.release]\nopt-level = \"z\"\ncodegen-units = 1\npanic = \"abort\"\n";
    fs::write(package.join("Cargo.toml"), manifest).map_err(broken)?;
    let words = ["build", "--quiet", "--release", "--target", TARGET, "--target-dir", "target"];
    let ran = Run::new("cargo", &package)
        .args(words)
        .arg("-Zbuild-std=core,compiler_builtins")
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        // Link-time optimisation of the firmware reaches into core.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    ran.must()?;
    let library = rustlib.join(TARGET).join("lib");
    fs::create_dir_all(&library).map_err(broken)?;
    let built = package.join("target").join(TARGET).join("release/deps");
    for entry in fs::read_dir(built).map_err(broken)?.filter_map(Result::ok) {
        let name = entry.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "rlib") {
            fs::copy(entry.path(), library.join(&name)).map_err(broken)?;
        }
    }
    fs::remove_dir_all(package).map_err(broken)
}

/// The linker that comes with every Rust toolchain.
fn linker() -> Result<PathBuf, String> {
    let asked = Run::new("rustc", ".").args(["--print", "sysroot"]).quiet().must()?;
    let rustlib = Path::new(asked.stdout.trim()).join("lib/rustlib");
    let hosts = fs::read_dir(&rustlib).map_err(|error| format!("no {}: {error}", rustlib.display()))?;
    hosts
        .filter_map(Result::ok)
        .map(|host| host.path().join("bin/rust-lld"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("no rust-lld under {}", rustlib.display()))
}
