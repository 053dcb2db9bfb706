//! The project as cargo sees it: folders, packages, versions, targets. Read once, from `cargo metadata`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::Run;

/// The five crates that are published; their names and folders are promises to users.
pub(crate) const PUBLISHED: [&str; 5] =
    ["ota-core", "ota-device", "ota-server", "ota-storage", "ota-transport"];

/// Folders, and what `cargo metadata --no-deps` says about the members.
pub(crate) struct Project {
    /// Where the workspace's `Cargo.toml` lies.
    pub(crate) root: PathBuf,
    /// The one folder for everything that is built.
    pub(crate) target: PathBuf,
    metadata: Value,
}

/// A program, benchmark or library of a package.
pub(crate) struct Target {
    pub(crate) package: String,
    pub(crate) name: String,
    pub(crate) source: PathBuf,
}

impl Project {
    /// Asks cargo, from this package's own folder, so that it works from anywhere inside the project.
    pub(crate) fn load() -> Result<Self, String> {
        // Cargo sets the variable at run time; a binary started by hand falls back on where it was built.
        let here =
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&here).parent().ok_or("xtask lies nowhere")?.to_path_buf();
        let metadata = metadata_of(&root, &root.join("Cargo.toml"))?;
        let target = metadata["target_directory"].as_str().ok_or("cargo names no target folder")?.into();
        Ok(Self { root, target, metadata })
    }

    /// `cargo` with these arguments, at the root.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Run {
        Run::new("cargo", &self.root).args(args.into_iter().map(str::to_owned))
    }

    /// The packages of the workspace.
    pub(crate) fn packages(&self) -> &[Value] {
        self.metadata["packages"].as_array().map_or(&[], Vec::as_slice)
    }

    /// A package of the workspace by its name.
    pub(crate) fn package(&self, name: &str) -> Option<&Value> {
        self.packages().iter().find(|package| package["name"] == name)
    }

    /// The names of all packages of the workspace.
    pub(crate) fn package_names(&self) -> Vec<&str> {
        self.packages().iter().filter_map(|package| package["name"].as_str()).collect()
    }

    /// The one `rust-version` of all packages.
    pub(crate) fn rust_version(&self) -> Result<&str, String> {
        let mut stated = None;
        for package in self.packages() {
            let name = &package["name"];
            let version =
                package["rust_version"].as_str().ok_or_else(|| format!("{name} states no rust-version"))?;
            if *stated.get_or_insert(version) != version {
                return Err(format!("{name} states rust-version {version}, others another one"));
            }
        }
        stated.ok_or_else(|| "the workspace is empty".into())
    }

    /// All targets of a kind (`bench`, `bin`, …) in the workspace.
    pub(crate) fn targets(&self, kind: &str) -> Vec<Target> {
        targets_of(&self.metadata, kind)
    }

    /// Where the fuzz targets live; a package outside the workspace, with its own lock file.
    pub(crate) fn fuzz_manifest(&self) -> PathBuf {
        self.root.join("fuzz/Cargo.toml")
    }
}

/// What `cargo metadata` says about the packages of one manifest, without what they depend on.
pub(crate) fn metadata_of(root: &Path, manifest: &Path) -> Result<Value, String> {
    let manifest = manifest.to_string_lossy().into_owned();
    let ran = Run::new("cargo", root)
        .args(["metadata", "--format-version=1", "--no-deps", "--manifest-path", &manifest])
        .quiet()
        .must()?;
    serde_json::from_str(&ran.stdout).map_err(|error| format!("cargo metadata is not understood: {error}"))
}

/// All targets of a kind in that metadata.
pub(crate) fn targets_of(metadata: &Value, kind: &str) -> Vec<Target> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for package in list(&metadata["packages"]) {
        for target in list(&package["targets"]) {
            if list(&target["kind"]).iter().any(|of| of == kind) {
                let source = text(&target["src_path"]).into();
                found.push(Target { package: text(&package["name"]), name: text(&target["name"]), source });
            }
        }
    }
    found
}

/// Reads a text file of ours.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Writes a file of ours, with the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    let cannot = |error| format!("cannot write {}: {error}", path.display());
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(cannot)?;
    std::fs::write(path, text).map_err(cannot)
}

/// The first sentence of a source file's `//!` lines: what the file is, in its own words.
pub(crate) fn first_doc_line(source: &Path) -> String {
    let text = std::fs::read_to_string(source).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("//!")).unwrap_or_default();
    line.trim().trim_end_matches('.').to_owned()
}
