//! What has arrived of an upload, in a folder of this server's own: the bytes, and beside them a record of whose they are
//! and how many are sure to be there.
//!
//! ```text
//! <id>.bytes   what has arrived, and behind that perhaps what a killed process was writing
//! <id>.json    the record, replaced as a whole
//! ```
//!
//! Invariant: a record counts only bytes that have reached the disk. So whatever kills the process or the machine, an
//! upload that is opened again goes on at its record, and what lies behind is written over.
//!
//! Everything here blocks.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use ota_core::text::ProductIdBuf;
use serde::{Deserialize, Serialize};

use crate::http::body::ContentBody;

/// So much may arrive before it has to reach the disk: what a killed server's clients send again at most.
const UNSURE_BYTES_MAX: u64 = 8 << 20;
/// Longest record that is read. A name, an id and the integrity strings are far shorter.
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Whose an upload is, and how far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) owner: String,
    pub(super) product: String,
    /// The unit of the block map.
    pub(super) unit: u32,
    /// The SHA-256 that the whole file is to have, in hexadecimal digits, if it was announced.
    #[serde(default)]
    pub(super) sha256: Option<String>,
    /// Bytes that have reached the disk.
    pub(super) offset: u64,
    /// What it has become; its bytes are not kept any more.
    pub(super) content: Option<ContentBody>,
}

/// Why a piece is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another request goes on with this upload, or it was dropped.
    Overtaken,
    /// It is complete, or on its way into the store of files.
    Closed,
    /// The disk does not take it. What had arrived before stays.
    Disk(io::Error),
}

/// An upload whose bytes lie here.
#[derive(Debug)]
pub(super) struct Staged {
    folder: PathBuf,
    id: String,
    about: About,
    bytes: Option<File>,
    /// Bytes that have arrived; those behind the record's offset may not have reached the disk.
    offset: u64,
    /// The number of the request whose turn it is: a new one ends the one before, whose connection may be dead.
    turn: u64,
    is_closed: bool,
    is_dropped: bool,
}

impl Staged {
    /// Begins an upload in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// What the file system says; nothing remains.
    pub(super) fn begin(folder: &Path, id: &str, about: About) -> io::Result<Self> {
        make_folder(folder)?;
        let mut staged = Self::new(folder, id, about);
        let made = staged.make();
        if made.is_err() {
            staged.drop_all();
        }
        made.map(|()| staged)
    }

    /// Opens an upload of an earlier process at what is sure of it.
    ///
    /// # Errors
    /// What the file system says, or [`io::ErrorKind::InvalidData`] for what is no record, or one of bytes that are not there.
    pub(super) fn open(folder: &Path, id: &str) -> io::Result<Self> {
        let mut text = Vec::new();
        let record = File::open(folder.join(format!("{id}.json")))?;
        record.take(RECORD_BYTES_MAX).read_to_end(&mut text)?;
        let about: About = serde_json::from_slice(&text).map_err(io::Error::other)?;
        let mut staged = Self::new(folder, id, about);
        if staged.about.content.is_none() {
            let bytes = OpenOptions::new().read(true).write(true).open(staged.path("bytes"))?;
            if bytes.metadata()?.len() < staged.about.offset {
                return Err(io::ErrorKind::InvalidData.into());
            }
            bytes.set_len(staged.about.offset)?;
            staged.bytes = Some(bytes);
        }
        Ok(staged)
    }

    fn new(folder: &Path, id: &str, about: About) -> Self {
        let (offset, is_closed) = (about.offset, about.content.is_some());
        let (folder, id) = (folder.to_owned(), id.to_owned());
        Self { folder, id, about, bytes: None, offset, turn: 0, is_closed, is_dropped: false }
    }

    fn make(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let bytes = options.read(true).write(true).create_new(true).open(self.path("bytes"))?;
        self.bytes = Some(bytes);
        self.write_record()
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.id))
    }

    pub(super) const fn about(&self) -> &About {
        &self.about
    }

    /// How much has arrived.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Begins the turn of a new request. From here on nothing is taken from those before, so that the offset that is
    /// answered with it is the one to go on at.
    pub(super) const fn take_turn(&mut self) -> (u64, u64) {
        self.turn += 1;
        (self.turn, self.offset)
    }

    const fn is_turn(&self, turn: u64) -> bool {
        !self.is_dropped && self.turn == turn
    }

    /// Adds bytes. Returns how many there are.
    ///
    /// # Errors
    /// [`Refused`]; nothing of these bytes counts.
    pub(super) fn write(&mut self, turn: u64, data: &[u8]) -> Result<u64, Refused> {
        if !self.is_turn(turn) {
            return Err(Refused::Overtaken);
        }
        let bytes = self.bytes.as_mut().filter(|_| !self.is_closed).ok_or(Refused::Closed)?;
        // An earlier write may have failed half-way.
        bytes.seek(SeekFrom::Start(self.offset)).map_err(Refused::Disk)?;
        bytes.write_all(data).map_err(Refused::Disk)?;
        self.offset = self.offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if self.offset.saturating_sub(self.about.offset) >= UNSURE_BYTES_MAX {
            self.sync().map_err(Refused::Disk)?;
        }
        Ok(self.offset)
    }

    /// Makes sure of everything that has arrived, before somebody is told how much that is.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let Some(bytes) = self.bytes.as_ref().filter(|_| self.about.offset != self.offset) else {
            return Ok(());
        };
        bytes.sync_data()?;
        self.about.offset = self.offset;
        self.write_record()
    }

    /// Takes nothing more: the last piece is there.
    ///
    /// # Errors
    /// [`Refused::Overtaken`].
    pub(super) const fn close(&mut self, turn: u64) -> Result<(), Refused> {
        if !self.is_turn(turn) {
            return Err(Refused::Overtaken);
        }
        self.is_closed = true;
        Ok(())
    }

    /// Takes nothing more while the bytes go into the store of files. Returns the unit of the block map.
    pub(super) const fn shut(&mut self) -> u32 {
        self.is_closed = true;
        self.about.unit
    }

    /// The bytes did not get into the store of files, and may be sent there again.
    pub(super) const fn reopen(&mut self) {
        self.is_closed = self.about.content.is_some();
    }

    /// A piece of what has arrived; empty at its end.
    ///
    /// # Errors
    /// What the file system says; [`io::ErrorKind::NotFound`] if it was dropped.
    pub(super) fn read(&self, from: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.bytes.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let length = length.min(self.offset.saturating_sub(from));
        let mut piece = Vec::new();
        bytes.seek(SeekFrom::Start(from))?;
        bytes.take(length).read_to_end(&mut piece)?;
        let is_whole = u64::try_from(piece.len()) == Ok(length);
        if is_whole { Ok(piece) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Remembers what it has become, for whoever did not hear of it, and lets go of the bytes.
    ///
    /// # Errors
    /// What the file system says; then it is forgotten with the process.
    pub(super) fn complete(&mut self, content: ContentBody) -> io::Result<()> {
        self.about.content = Some(content);
        self.is_closed = true;
        self.bytes = None;
        if self.is_dropped {
            return Ok(());
        }
        let written = self.write_record();
        remove(&self.path("bytes"));
        written
    }

    /// Drops it: nothing of it remains, and whoever still sends is refused.
    pub(super) fn drop_all(&mut self) {
        self.is_dropped = true;
        self.bytes = None;
        for kind in ["json", "bytes", "new"] {
            remove(&self.path(kind));
        }
    }

    fn write_record(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.about).map_err(io::Error::other)?;
        let new = self.path("new");
        let mut file = File::create(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, self.path("json"))
    }
}

/// The uploads of an earlier process, by their ids. What is none of them, or cannot be gone on with, is removed.
pub(super) fn open_all(folder: &Path, is_id: impl Fn(&str) -> bool) -> Vec<(String, Staged)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let (mut found, mut paths) = (Vec::new(), Vec::new());
    for path in entries.flatten().map(|entry| entry.path()) {
        let id = path.file_stem().and_then(|stem| stem.to_str()).filter(|id| is_id(id)).map(str::to_owned);
        // Only what we may have left is ours to remove.
        let Some(id) = id else { continue };
        if path.extension().is_some_and(|kind| kind == "json") {
            let is_product = |staged: &Staged| staged.about.product.parse::<ProductIdBuf>().is_ok();
            found
                .extend(Staged::open(folder, &id).ok().filter(is_product).map(|staged| (id.clone(), staged)));
        }
        paths.push((id, path));
    }
    for (id, path) in paths {
        let staged = found.iter().find(|(known, _)| *known == id).map(|(_, staged)| staged);
        let is_needed = staged.is_some_and(|staged| {
            path == staged.path("json") || (staged.bytes.is_some() && path == staged.path("bytes"))
        });
        if !is_needed {
            remove(&path);
        }
    }
    found
}

/// Files of nobody's business but the server's.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn remove(path: &Path) {
    if let Err(why) = std::fs::remove_file(path)
        && why.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %why, "what an upload has left cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    fn begun(folder: &Path) -> Staged {
        let (owner, product) = ("dora".to_owned(), "lamp".to_owned());
        let about = About { owner, product, unit: 256, sha256: None, offset: 0, content: None };
        Staged::begin(folder, ID, about).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_killed_process_leaves_what_was_sure_and_the_rest_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut staged = begun(folder.path());
        let (turn, _) = staged.take_turn();
        staged.write(turn, b"sure").unwrap();
        staged.sync().unwrap();
        staged.write(turn, b" and perhaps").unwrap();
        // Nothing is told to it: that is what being killed is.
        core::mem::forget(staged);
        let mut all = open_all(folder.path(), |id| id == ID);
        let (_, staged) = &mut all[0];
        assert_eq!(staged.offset(), 4);
        let (turn, _) = staged.take_turn();
        staged.write(turn, b"ly").unwrap();
        assert_eq!(staged.read(0, 100).unwrap(), b"surely");
        staged.drop_all();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn the_record_is_never_far_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut staged = begun(folder.path());
        let (turn, _) = staged.take_turn();
        let piece = vec![7; 1 << 20];
        for _ in 0..9 {
            staged.write(turn, &piece).unwrap();
        }
        assert_eq!(staged.about().offset, 8 << 20);
        assert_eq!(Staged::open(folder.path(), ID).unwrap().offset(), 8 << 20);
    }

    #[test]
    fn a_new_turn_ends_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut staged = begun(folder.path());
        let (first, _) = staged.take_turn();
        staged.write(first, b"one").unwrap();
        let (second, offset) = staged.take_turn();
        assert_eq!(offset, 3);
        assert!(matches!(staged.write(first, b"late"), Err(Refused::Overtaken)));
        assert!(matches!(staged.close(first), Err(Refused::Overtaken)));
        assert_eq!(staged.write(second, b"two").unwrap(), 6);
        staged.close(second).unwrap();
        assert!(matches!(staged.write(second, b"late"), Err(Refused::Closed)));
        staged.reopen();
        staged.write(second, b"!").unwrap();
        staged.drop_all();
        assert!(matches!(staged.write(second, b"late"), Err(Refused::Overtaken)));
    }

    #[test]
    fn what_is_complete_stays_known_without_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut staged = begun(folder.path());
        let content = ContentBody { sha256: "0".repeat(64), size: 0, integrity: Vec::new(), block_map: None };
        staged.complete(content.clone()).unwrap();
        assert_eq!(names(folder.path()), [format!("{ID}.json")]);
        let all = open_all(folder.path(), |id| id == ID);
        assert_eq!(all[0].1.about().content, Some(content));
    }

    #[test]
    fn what_cannot_be_gone_on_with_is_removed_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let other = ID.replace('0', "f");
        // Bytes without a record, a record that is none, and one of more bytes than there are.
        write(&format!("{other}.bytes"), "x");
        write(&format!("{other}.new"), "x");
        write(&format!("{}.json", ID.replace('1', "e")), "{");
        let short = ID.replace('2', "d");
        let about =
            About { owner: "o".into(), product: "p".into(), unit: 0, sha256: None, offset: 2, content: None };
        write(&format!("{short}.json"), &serde_json::to_string(&about).unwrap());
        write(&format!("{short}.bytes"), "x");
        write("notes.txt", "mine");
        assert!(open_all(folder.path(), |id| id.len() == 32).is_empty());
        assert_eq!(names(folder.path()), ["notes.txt"]);
    }
}
