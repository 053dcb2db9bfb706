//! Where the files of a store lie: the file system, or in tests one that forgets what was not synced.
//!
//! A store is one file, and for a moment two: a compact one is written beside it and takes its name. What each step
//! leaves behind is promised here, so that a power cut behind any of them can be tried.

use std::io;
use std::path::Path;

use redb::{Builder, Database};

use super::error::Fault;

/// The steps that a store takes in its folder. All of them block.
pub(super) trait Folder: Send + Sync + 'static {
    /// Opens the database in this file, which is made if it is not there. The name of a new file is not yet durable.
    fn open(&self, file: &Path, cache_bytes: usize) -> Result<Database, Fault>;

    /// Gives a file another name, over what may have that name. A power cut leaves either file under it, whole; which one
    /// is known behind the next [`sync`](Self::sync).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Makes the names durable that were given, taken and removed in the folder of this file.
    fn sync(&self, file: &Path) -> io::Result<()>;

    /// How long a file is, in bytes.
    fn length(&self, file: &Path) -> io::Result<u64>;
}

/// The file system.
pub(super) struct FileSystem;

impl Folder for FileSystem {
    fn open(&self, file: &Path, cache_bytes: usize) -> Result<Database, Fault> {
        Ok(Builder::new().set_cache_size(cache_bytes).create(file)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        std::fs::remove_file(file)
    }

    fn sync(&self, file: &Path) -> io::Result<()> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        #[cfg(unix)]
        std::fs::File::open(folder)?.sync_all()?;
        // Elsewhere folders cannot be opened; their file systems keep names on their own.
        #[cfg(not(unix))]
        let _ = folder;
        Ok(())
    }

    fn length(&self, file: &Path) -> io::Result<u64> {
        std::fs::metadata(file).map(|found| found.len())
    }
}

/// Removes a file, if it is there.
pub(super) fn clear(folder: &dyn Folder, file: &Path) -> Result<(), Fault> {
    match folder.remove(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::Open(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
