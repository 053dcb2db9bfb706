//! A file system in memory that keeps what `fsync` promises, and nothing else, when the power goes.
//!
//! Bytes are durable once their file was synced, names once their folder was. What was not may survive or not, each
//! by itself: in particular a name may survive without the bytes of its file, and the other way round. For tests of
//! this crate, and for sweeps that cut whole updates ([`ModelDirectory`]).

use core::cell::RefCell;
use core::hash::{Hash, Hasher};
use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use ota_core::device::{Area, DeviceStorage, Log, StorageFault};
use ota_core::number::{ByteLength, ByteOffset};

use super::files::Files;
use super::{DirectoryLayout, Storage};

/// Where in an operation the power goes, or the file system fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg(test)]
pub(super) enum Point {
    Before,
    /// A write is half done.
    Inside,
    After,
}

/// What survives a cut of that which was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    /// Nothing.
    Nothing,
    /// All of it.
    Everything,
    /// Names, but not the bytes of the files.
    Names,
    /// Bytes, but not names.
    Bytes,
    /// Each name and each file by the throw of a coin, from this seed.
    Coin(u64),
}

impl Luck {
    /// Every kind, with three seeds.
    pub const ALL: [Self; 7] = [
        Self::Nothing,
        Self::Everything,
        Self::Names,
        Self::Bytes,
        Self::Coin(1),
        Self::Coin(0x5EED),
        Self::Coin(0xF00D_F00D),
    ];
}

/// A [`DirectoryStorage`](super::DirectoryStorage) on the model.
#[derive(Debug)]
pub struct ModelDirectory {
    storage: Storage<ModelFiles>,
    layout: DirectoryLayout,
}

/// What a [`ModelDirectory`] holds without power.
#[derive(Debug, Clone)]
pub struct ModelImage(State);

impl ModelDirectory {
    /// An empty one.
    ///
    /// # Panics
    /// Never: an empty model can be opened.
    #[must_use]
    pub fn new(layout: DirectoryLayout) -> Self {
        Self::on(ModelFiles::default(), layout)
    }

    fn on(files: ModelFiles, layout: DirectoryLayout) -> Self {
        let storage = Storage::open(files, layout.clone()).expect("nothing fails unless it is asked to");
        Self { storage, layout }
    }

    /// The process starts again; the power stays.
    pub fn reopen(&mut self) {
        *self = Self::on(self.storage.files.clone(), self.layout.clone());
    }

    /// How many operations changed something, or could have.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.storage.files.0.borrow().operations
    }

    /// From now on keeps, for every operation, what a cut inside it and one behind it would leave.
    pub fn collect_cuts(&mut self) {
        self.storage.files.0.borrow_mut().images = Some(Vec::new());
    }

    /// The cuts collected so far, with the number of their operation; collecting ends.
    pub fn take_cuts(&mut self) -> Vec<(u64, ModelImage)> {
        self.storage.files.0.borrow_mut().images.take().unwrap_or_default()
    }

    /// Takes the power away between two operations.
    #[must_use]
    pub fn stop(self) -> ModelImage {
        ModelImage(self.storage.files.0.borrow().clone())
    }
}

impl ModelImage {
    /// Starts a device on it, with this luck for what was not synced, and tells a hash of what is left: from there on
    /// luck plays no part.
    #[must_use]
    pub fn start(&self, luck: Luck, layout: DirectoryLayout) -> (ModelDirectory, u64) {
        let mut state = self.0.clone();
        state.images = None;
        state.settle(luck);
        let mut hasher = DefaultHasher::new();
        for (name, node) in &state.names {
            name.hash(&mut hasher);
            match node {
                Node::File(number) => state.contents[*number].0.hash(&mut hasher),
                Node::Link(target) => (1, target).hash(&mut hasher),
                Node::Folder => 2.hash(&mut hasher),
            }
        }
        let files = ModelFiles(Rc::new(RefCell::new(state)));
        (ModelDirectory::on(files, layout), hasher.finish())
    }
}

impl DeviceStorage for ModelDirectory {
    fn capacity(&self, area: Area<'_>) -> Option<ByteLength> {
        self.storage.capacity(area)
    }

    fn prepare(&mut self, area: Area<'_>, size: ByteLength, keep: ByteLength) -> Result<(), StorageFault> {
        self.storage.prepare(area, size, keep)
    }

    fn write(&mut self, area: Area<'_>, offset: ByteOffset, bytes: &[u8]) -> Result<(), StorageFault> {
        self.storage.write(area, offset, bytes)
    }

    fn read(&mut self, area: Area<'_>, offset: ByteOffset, into: &mut [u8]) -> Result<(), StorageFault> {
        self.storage.read(area, offset, into)
    }

    fn append(&mut self, log: Log, record: &[u8]) -> Result<(), StorageFault> {
        self.storage.append(log, record)
    }

    fn record(
        &mut self,
        log: Log,
        newest_first: u32,
        into: &mut [u8],
    ) -> Result<Option<usize>, StorageFault> {
        self.storage.record(log, newest_first, into)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// The number of a file: several names, and open files, can mean the same one.
    File(usize),
    Link(String),
    Folder,
}

type Names = BTreeMap<String, Node>;
/// Bytes as they are read, and as they are durable.
type Content = (Arc<Vec<u8>>, Arc<Vec<u8>>);

#[derive(Debug, Clone, Default)]
struct State {
    contents: Vec<Content>,
    names: Names,
    durable: Names,
    operations: u64,
    #[cfg(test)]
    stop: Option<(u64, Point)>,
    #[cfg(test)]
    cuts: bool,
    #[cfg(test)]
    stopped: bool,
    dead: bool,
    images: Option<Vec<(u64, ModelImage)>>,
}

impl State {
    /// What a cut leaves: from here on everything that is left is durable, and nothing else is there.
    fn settle(&mut self, luck: Luck) {
        let mut coin = match luck {
            Luck::Coin(seed) => seed,
            _ => 0,
        };
        let mut survives = |named: bool| match luck {
            Luck::Nothing => false,
            Luck::Everything => true,
            Luck::Names => named,
            Luck::Bytes => !named,
            Luck::Coin(_) => {
                coin = coin.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
                coin >> 63 == 1
            }
        };
        for (seen, durable) in &mut self.contents {
            if survives(false) {
                durable.clone_from(seen);
            } else {
                seen.clone_from(durable);
            }
        }
        let Self { names, durable, .. } = &mut *self;
        let mut all: Vec<String> = names.keys().chain(durable.keys()).cloned().collect();
        all.sort();
        all.dedup();
        for name in all {
            if names.get(&name) != durable.get(&name) && survives(true) {
                match names.get(&name) {
                    Some(node) => drop(durable.insert(name, node.clone())),
                    None => drop(durable.remove(&name)),
                }
            }
        }
        // What lies in a folder is gone with it.
        let folders: Vec<String> =
            durable.iter().filter(|(_, node)| **node == Node::Folder).map(|(name, _)| name.clone()).collect();
        durable.retain(|name, _| {
            name.split_once('/').is_none_or(|(folder, _)| folders.iter().any(|f| f == folder))
        });
        self.names = self.durable.clone();
        self.drop_lost();
        self.dead = false;
    }

    /// Forgets files that no name means any more.
    fn drop_lost(&mut self) {
        let old = core::mem::take(&mut self.contents);
        let mut numbers = BTreeMap::new();
        for node in self.names.values_mut() {
            if let Node::File(number) = node {
                *number = *numbers.entry(*number).or_insert_with_key(|number| {
                    self.contents.push(old[*number].clone());
                    self.contents.len() - 1
                });
            }
        }
        self.durable = self.names.clone();
    }
}

/// The model; clones share it, as handles of one file system.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelFiles(Rc<RefCell<State>>);

#[cfg(test)]
impl ModelFiles {
    /// A file system of its own with the same contents.
    pub(super) fn fork(&self) -> Self {
        Self(Rc::new(RefCell::new(self.0.borrow().clone())))
    }

    pub(super) fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// Takes the power away at this operation.
    pub(super) fn cut_at(&self, operation: u64, point: Point) {
        let mut state = self.0.borrow_mut();
        (state.stop, state.cuts) = (Some((operation, point)), true);
    }

    /// Lets this operation fail, and no other.
    pub(super) fn fail_at(&self, operation: u64, point: Point) {
        let mut state = self.0.borrow_mut();
        (state.stop, state.cuts) = (Some((operation, point)), false);
    }

    /// Whether the cut or the fault that was asked for has happened.
    pub(super) fn stopped(&self) -> bool {
        self.0.borrow().stopped
    }

    /// Starts again after a cut.
    pub(super) fn restart(&self, luck: Luck) {
        let mut state = self.0.borrow_mut();
        state.settle(luck);
        (state.stop, state.stopped) = (None, false);
    }

    /// Forgets a fault, without a cut.
    pub(super) fn mend(&self) {
        let mut state = self.0.borrow_mut();
        (state.stop, state.stopped) = (None, false);
    }

    /// What an application finds under a published name.
    pub(super) fn follow(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        let Some(Node::Link(view)) = state.names.get("active") else { return None };
        let Some(Node::Link(target)) = state.names.get(&format!("{view}/{name}")) else { return None };
        match state.names.get(target.strip_prefix("../")?)? {
            Node::File(number) => Some(state.contents[*number].0.to_vec()),
            Node::Link(_) | Node::Folder => None,
        }
    }
}

impl ModelFiles {
    /// Runs one operation that changes something, unless the power goes or it is to fail.
    fn act(&self, change: impl Fn(&mut State, bool)) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.dead {
            return Err(io::Error::other("the power is gone"));
        }
        let operation = state.operations;
        state.operations += 1;
        if let Some(mut images) = state.images.take() {
            for half in [true, false] {
                let mut left = state.clone();
                change(&mut left, half);
                left.dead = true;
                images.push((operation, ModelImage(left)));
            }
            state.images = Some(images);
        }
        #[cfg(test)]
        if let Some((_, point)) = state.stop.filter(|(at, _)| *at == operation) {
            match point {
                Point::Before => {}
                Point::Inside => change(&mut state, true),
                Point::After => change(&mut state, false),
            }
            state.stopped = true;
            state.dead = state.cuts;
            return Err(io::Error::other("stopped"));
        }
        change(&mut state, false);
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.0.borrow().dead { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }
}

impl Files for ModelFiles {
    type File = usize;

    fn open(&mut self, name: &str) -> io::Result<Option<usize>> {
        self.alive()?;
        match self.0.borrow().names.get(name) {
            Some(Node::File(number)) => Ok(Some(*number)),
            Some(Node::Link(_) | Node::Folder) => Err(io::Error::other("not a file")),
            None => Ok(None),
        }
    }

    fn create(&mut self, name: &str) -> io::Result<usize> {
        let number = self.0.borrow().contents.len();
        self.act(|state, _| {
            state.contents.push(Default::default());
            state.names.insert(name.into(), Node::File(number));
        })?;
        Ok(number)
    }

    fn read_at(&mut self, file: &usize, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.alive()?;
        let state = self.0.borrow();
        let rest = state.contents[*file].0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, file: &usize, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.act(|state, half| {
            let bytes = if half { &bytes[..bytes.len() / 2] } else { bytes };
            let content = Arc::make_mut(&mut state.contents[*file].0);
            let end = offset as usize + bytes.len();
            content.resize(content.len().max(end), 0);
            content[offset as usize..end].copy_from_slice(bytes);
        })
    }

    fn resize(&mut self, file: &usize, keep: u64, size: u64) -> io::Result<()> {
        self.act(|state, half| {
            let content = Arc::make_mut(&mut state.contents[*file].0);
            content.truncate(keep as usize);
            content.resize(if half { keep } else { size } as usize, 0);
        })
    }

    fn length(&mut self, file: &usize) -> io::Result<u64> {
        self.alive()?;
        Ok(self.0.borrow().contents[*file].0.len() as u64)
    }

    fn sync(&mut self, file: &usize) -> io::Result<()> {
        self.act(|state, half| {
            let (seen, durable) = &mut state.contents[*file];
            if !half {
                durable.clone_from(seen);
            }
        })
    }

    fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        self.act(|state, half| {
            let within = |name: &String| match name.split_once('/') {
                Some((parent, _)) => parent == folder,
                None => folder.is_empty(),
            };
            if !half {
                state.durable.retain(|name, _| !within(name));
                state.durable.extend(
                    state.names.iter().filter(|(name, _)| within(name)).map(|(a, b)| (a.clone(), b.clone())),
                );
            }
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.act(|state, half| {
            if !half && let Some(node) = state.names.remove(from) {
                state.names.insert(to.into(), node);
            }
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.act(|state, half| {
            if !half {
                state.names.remove(name);
            }
        })
    }

    fn make_folder(&mut self, name: &str) -> io::Result<()> {
        self.act(|state, half| {
            if !half {
                state.names.insert(name.into(), Node::Folder);
            }
        })
    }

    fn names(&mut self, folder: &str) -> io::Result<Vec<String>> {
        self.alive()?;
        let state = self.0.borrow();
        let name = |name: &String| match name.split_once('/') {
            Some((parent, rest)) => (parent == folder).then(|| rest.to_owned()),
            None => folder.is_empty().then(|| name.clone()),
        };
        Ok(state.names.keys().filter_map(name).collect())
    }

    fn link(&mut self, target: &str, name: &str) -> io::Result<()> {
        self.act(|state, half| {
            if !half {
                state.names.insert(name.into(), Node::Link(target.into()));
            }
        })
    }

    fn read_link(&mut self, name: &str) -> io::Result<Option<String>> {
        self.alive()?;
        match self.0.borrow().names.get(name) {
            Some(Node::Link(target)) => Ok(Some(target.clone())),
            Some(_) => Err(io::Error::other("not a link")),
            None => Ok(None),
        }
    }
}
