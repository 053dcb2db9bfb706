//! What the directory backend asks of a file system, and the real one.
//!
//! Every operation that can fail or be cut off goes through [`Files`], so that the tests can stop at each of them.
//! Names are made by this crate, never by a peer. They are resolved below a folder that was opened once, without
//! following links: whoever swaps a file for a link gets an error, not our bytes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// The part of a file system that lies below one folder.
pub(crate) trait Files {
    /// An open file.
    type File;

    /// Opens a file for reading and writing, if it is there.
    fn open(&mut self, name: &str) -> io::Result<Option<Self::File>>;
    /// Makes an empty file; one that has this name already is replaced, and lives on for those who have it open.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;
    /// Reads until `into` is full or the file ends, and tells how much.
    fn read_at(&mut self, file: &Self::File, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_at(&mut self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file after `keep` bytes and makes it `size` long, with room on the medium for all of it.
    fn resize(&mut self, file: &Self::File, keep: u64, size: u64) -> io::Result<()>;
    /// The length of a file in bytes.
    fn length(&mut self, file: &Self::File) -> io::Result<u64>;
    /// Makes the bytes and the length of a file durable.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
    /// Makes the names in a folder durable; the folder itself is `""`.
    fn sync_folder(&mut self, folder: &str) -> io::Result<()>;
    /// Gives a file or a link another name, in one step; what had that name is gone.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file or a link; nothing happens if there is none.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes a folder; nothing happens if it is there.
    fn make_folder(&mut self, name: &str) -> io::Result<()>;
    /// The names in a folder, in any order.
    fn names(&mut self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes a link that says `target`.
    fn link(&mut self, target: &str, name: &str) -> io::Result<()>;
    /// What a link says, if there is one.
    fn read_link(&mut self, name: &str) -> io::Result<Option<String>>;
}

/// A folder of the real file system, opened for as long as the device runs.
#[derive(Debug)]
pub(crate) struct RealFiles {
    folder: OwnedFd,
}

const READ_WRITE: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::DIRECTORY);
const OWNER: Mode = Mode::RUSR.union(Mode::WUSR);

impl RealFiles {
    /// Opens the folder, makes it if it is not there, and locks it against a second process.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        match rustix::fs::mkdir(path, OWNER.union(Mode::XUSR)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let folder = rustix::fs::openat(CWD, path, FOLDER, Mode::empty())?;
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder })
    }
}

impl Files for RealFiles {
    type File = OwnedFd;

    fn open(&mut self, name: &str) -> io::Result<Option<OwnedFd>> {
        match rustix::fs::openat(&self.folder, name, READ_WRITE, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn create(&mut self, name: &str) -> io::Result<OwnedFd> {
        self.remove(name)?;
        let flags = READ_WRITE.union(OFlags::CREATE).union(OFlags::EXCL);
        Ok(rustix::fs::openat(&self.folder, name, flags, OWNER)?)
    }

    fn read_at(&mut self, file: &OwnedFd, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match rustix::io::pread(file, &mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(done)
    }

    fn write_at(&mut self, file: &OwnedFd, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::pwrite(file, &bytes[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn resize(&mut self, file: &OwnedFd, keep: u64, size: u64) -> io::Result<()> {
        rustix::fs::ftruncate(file, keep)?;
        if size == keep {
            return Ok(());
        }
        match rustix::fs::fallocate(file, FallocateFlags::empty(), keep, size - keep) {
            // A file system that cannot reserve room tells when the room is needed.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(rustix::fs::ftruncate(file, size)?),
            outcome => Ok(outcome?),
        }
    }

    fn length(&mut self, file: &OwnedFd) -> io::Result<u64> {
        u64::try_from(rustix::fs::fstat(file)?.st_size).map_err(io::Error::other)
    }

    fn sync(&mut self, file: &OwnedFd) -> io::Result<()> {
        Ok(rustix::fs::fsync(file)?)
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        if folder.is_empty() {
            return Ok(rustix::fs::fsync(&self.folder)?);
        }
        Ok(rustix::fs::fsync(rustix::fs::openat(&self.folder, folder, FOLDER, Mode::empty())?)?)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn make_folder(&mut self, name: &str) -> io::Result<()> {
        let mode = OWNER.union(Mode::XUSR).union(Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH);
        match rustix::fs::mkdirat(&self.folder, name, mode) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn names(&mut self, folder: &str) -> io::Result<Vec<String>> {
        let path = if folder.is_empty() { "." } else { folder };
        let folder = rustix::fs::openat(&self.folder, path, FOLDER, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn link(&mut self, target: &str, name: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.folder, name)?)
    }

    fn read_link(&mut self, name: &str) -> io::Result<Option<String>> {
        match rustix::fs::readlinkat(&self.folder, name, Vec::new()) {
            Ok(target) => Ok(target.into_string().ok()),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}
