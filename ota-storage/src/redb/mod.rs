//! The fleet's store in one file: redb, one writer with group commit, readers that never wait for it.
//!
//! What it promises beyond [`FleetStore`]: a commit is on the medium when it is acknowledged (two syncs of the file),
//! a start after a crash does not walk the file, and a full or failing disk is an error now and work again later,
//! without a restart. Leases end with the process, because no other can have the file open.

mod commit;
mod copy;
mod error;
mod folder;
mod lease;
mod read;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use ota_core::fleet::{
    AuditEntry, CounterKey, CounterPrefix, Cursor, FleetStore, Key, Lease, LeaseRequest, Outcome, Page,
    PreparedUnit, Query, StoreError, StoreErrorKind, Stored, Unit,
};
use ota_core::limits;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::copy::{CopyFile, Touched};
use self::error::{Fault, caught};
use self::folder::{FileSystem, Folder, clear};
use self::writer::{Request, Shared, Writer};

/// Opens the database, again after each fault.
type Medium = dyn Fn() -> Result<Database, Fault> + Send + Sync;

/// So many records are read on the task of the caller; more go to a thread that may block.
const LOAD_AT_ONCE_MAX: usize = 64;
/// The same for counters, which are small and lie side by side.
const COUNTERS_AT_ONCE_MAX: usize = 512;
/// With so few rows still to be copied a compact file takes the place of the store's: commits wait for these only.
const REPLACED_ROWS_MAX: usize = 4096;
/// After so many attempts to come so close the compaction is given up.
const CATCH_UPS_MAX: usize = 16;
/// What a unit takes up in the queue besides its records, in bytes.
const UNIT_OVERHEAD_BYTES: usize = 256;

/// How much memory a [`RedbStore`] may take, and how much it commits together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedbOptions {
    /// Memory for pages of the file, in bytes.
    pub cache_bytes: usize,
    /// Memory for units that wait to be committed, in bytes; callers wait while it is used up.
    pub queue_bytes: u32,
    /// Most units that begin to be committed together.
    pub batch_units_max: usize,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 256 * 1024 * 1024, queue_bytes: 64 * 1024 * 1024, batch_units_max: 4096 }
    }
}

/// A [`FleetStore`] in one file.
///
/// Dropping it finishes what was handed over and closes the file, which blocks for as long as a commit takes.
pub struct RedbStore {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    room_bytes: u32,
    requests: Option<mpsc::UnboundedSender<Request>>,
    writer: Option<JoinHandle<()>>,
    /// The file, unless the store lies in a medium of its own.
    file: Option<(Arc<dyn Folder>, PathBuf)>,
    /// Held by whoever compacts.
    compacting: tokio::sync::Mutex<()>,
}

/// What a compaction has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// How long the file was, in bytes.
    pub before_bytes: u64,
    /// How long it is now.
    pub after_bytes: u64,
}

impl core::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RedbStore").field("is_broken", &self.shared.is_broken()).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens the store in this file, which is made if it is not there. Blocks.
    ///
    /// # Errors
    /// [`StoreErrorKind::Schema`] if a newer version or another program made the file;
    /// [`StoreErrorKind::Corrupt`] if it is damaged or no database; [`StoreErrorKind::Unavailable`] if another
    /// process has it open, or the file system refuses.
    pub fn open(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self, StoreError> {
        Self::open_in(Arc::new(FileSystem), path.as_ref().to_owned(), options)
    }

    fn open_in(folder: Arc<dyn Folder>, file: PathBuf, options: RedbOptions) -> Result<Self, StoreError> {
        let (place, path) = (Arc::clone(&folder), file.clone());
        let open = move || {
            let database = place.open(&path, options.cache_bytes)?;
            // The name may be new: of a new file, or of a compact one that has just taken the place of another.
            place.sync(&path).map_err(Fault::Open)?;
            Ok(database)
        };
        let store = Self::start(Arc::new(open), options, Some((Arc::clone(&folder), file.clone())))?;
        // Whoever has the store may clear away what a compaction has left that was cut off.
        clear(&*folder, &beside(&file, COMPACT))?;
        Ok(store)
    }

    /// Opens the store in a medium of your own; `medium` is asked for it again after each fault. Blocks.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_on<B: StorageBackend>(
        medium: impl Fn() -> B + Send + Sync + 'static,
        options: RedbOptions,
    ) -> Result<Self, StoreError> {
        let open =
            move || Ok(Builder::new().set_cache_size(options.cache_bytes).create_with_backend(medium())?);
        Self::start(Arc::new(open), options, None)
    }

    fn start(
        medium: Arc<Medium>,
        options: RedbOptions,
        file: Option<(Arc<dyn Folder>, PathBuf)>,
    ) -> Result<Self, StoreError> {
        let database = caught(|| writer::open(medium.as_ref()))?;
        let shared = Arc::new(Shared::new(database));
        let (requests, received) = mpsc::unbounded_channel();
        let writer = Writer::new(Arc::clone(&shared), medium, options.batch_units_max.max(1));
        let writer = std::thread::Builder::new()
            .name("ota-redb".to_owned())
            .spawn(move || writer.run(received))
            .map_err(Fault::Open)?;
        let room_bytes = options.queue_bytes.max(1);
        let room = usize::try_from(room_bytes).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            shared,
            room: Arc::new(Semaphore::new(room)),
            room_bytes,
            requests: Some(requests),
            writer: Some(writer),
            file,
            compacting: tokio::sync::Mutex::default(),
        })
    }

    /// Writes the store anew, without what earlier states have left empty, and goes on with the new file.
    ///
    /// Everything else goes on meanwhile: reads always, commits but for the moment in which the last few thousand rows
    /// are copied. It takes as much room again as the compact file has, and memory for at most a million keys. A crash
    /// at any moment leaves one of the two files under the name, whole. A call that is dropped changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; the store is as it was. [`StoreErrorKind::Unavailable`] if so much is written that the copy never
    /// catches up, or if another compaction is under way; [`StoreErrorKind::Full`] if there is no room for the copy;
    /// [`StoreErrorKind::Invalid`] if the store was opened [on a medium](Self::open_on).
    pub async fn compact(&self) -> Result<Compacted, StoreError> {
        let (folder, file) = self.file.clone().ok_or(Fault::NoFile)?;
        let _one_at_a_time = self.compacting.try_lock().map_err(|_| Fault::Compacting)?;
        let length = || folder.length(&file).map_err(Fault::Open);
        let before_bytes = length()?;
        self.ask(|answer| Request::Follow { answer }).await?;
        if let Err(error) = self.replace_by_copy(Arc::clone(&folder), file.clone()).await {
            self.requests.as_ref().map(|requests| requests.send(Request::Unfollow));
            return Err(error);
        }
        Ok(Compacted { before_bytes, after_bytes: length()? })
    }

    async fn replace_by_copy(&self, folder: Arc<dyn Folder>, file: PathBuf) -> Result<(), StoreError> {
        let path = beside(&file, COMPACT);
        let mut copy = self
            .read(move |state| {
                let mut copy = CopyFile::of(state, folder, path)?;
                copy.pack()?;
                Ok(copy)
            })
            .await?;
        for _ in 0..CATCH_UPS_MAX {
            let touched: Touched = self.ask(|answer| Request::Touched { answer }).await?;
            let is_close = touched.len() <= REPLACED_ROWS_MAX;
            copy = self
                .read(move |state| {
                    copy.catch_up(state, &touched)?;
                    Ok(copy)
                })
                .await?;
            if is_close {
                return self.ask(|answer| Request::Replace { copy, file, answer }).await;
            }
        }
        Err(Fault::FellBehind.into())
    }

    /// Writes a copy of the store as it is now into a new file, while everything else goes on.
    ///
    /// The copy is a store like any other. It takes its name only when it is whole and durable: a crash leaves at most
    /// a file of the same name and `.part`. Files that releases refer to are not in it; copy those afterwards.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has that name. [`StoreErrorKind::Invalid`] if a file already has.
    pub async fn back_up(&self, to: impl AsRef<Path>) -> Result<(), StoreError> {
        let to = to.as_ref().to_owned();
        if to.try_exists().map_err(Fault::Open)? {
            return Err(StoreError::new(StoreErrorKind::Invalid, Fault::Exists));
        }
        self.read(move |state| {
            CopyFile::of(state, Arc::new(FileSystem), beside(&to, PART))?.take_the_place_of(&to)?;
            FileSystem.sync(&to).map_err(|error| Fault::Open(error).of_a_copy())
        })
        .await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(Fault::Closed)?;
        requests.send(request(answer)).map_err(|_| Fault::Closed)?;
        answered.await.map_err(|_| Fault::Closed)?
    }

    /// Reads on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        action: impl FnOnce(&ReadTransaction) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || read_at_once(&shared, action)).await;
        self.looked_after(read.unwrap_or(Err(Fault::Closed)))
    }

    /// Tells the writer of a fault that a reader met.
    fn looked_after<T>(&self, read: Result<T, Fault>) -> Result<T, StoreError> {
        read.map_err(|fault| {
            if self.shared.is_broken()
                && let Some(requests) = &self.requests
            {
                // It is gone only if the store is being dropped.
                let _ = requests.send(Request::LookAfter);
            }
            fault.into()
        })
    }
}

fn read_at_once<T>(
    shared: &Shared,
    action: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let database = shared.database().ok_or(Fault::Reopening)?;
    let read = caught(|| action(&database.begin_read()?));
    if let Err(fault) = &read
        && fault.needs_reopening()
    {
        shared.break_down();
    }
    read
}

/// What the name of a compact file that is being written ends in, and that of an unfinished backup.
const COMPACT: &str = ".compact";
const PART: &str = ".part";

/// The file beside this one whose name has this at its end.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[async_trait]
impl FleetStore for RedbStore {
    async fn commit(&self, units: Vec<Unit>) -> Result<Vec<Outcome>, StoreError> {
        if units.len() > limits::COMMIT_UNITS_MAX {
            return Err(StoreErrorKind::Invalid.into());
        }
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let units: Vec<PreparedUnit> = units.into_iter().map(PreparedUnit::new).collect::<Result<_, _>>()?;
        let bytes = units.iter().map(unit_bytes).fold(0_usize, usize::saturating_add);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.room_bytes);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| Fault::Closed)?;
        self.ask(|answer| Request::Commit { units, answer, _room: room }).await
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        if keys.len() <= LOAD_AT_ONCE_MAX {
            return self
                .looked_after(read_at_once(&self.shared, |transaction| read::load(transaction, keys)));
        }
        let keys = keys.to_vec();
        self.read(move |transaction| read::load(transaction, &keys)).await
    }

    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let bounds = query.bounds(after)?;
        if limit == 0 {
            return Err(StoreErrorKind::Invalid.into());
        }
        // Most pages are short, whatever was asked for: a look here costs less than the way to another thread.
        let look = limit.min(LOAD_AT_ONCE_MAX);
        let short = read_at_once(&self.shared, |state| read::scan(state, query, bounds.clone(), look));
        let short = self.looked_after(short)?;
        if limit == look || short.next.is_none() {
            return Ok(short);
        }
        let query = query.clone();
        self.read(move |transaction| read::scan(transaction, &query, bounds, limit)).await
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let few = |state: &ReadTransaction| read::counters(state, of, COUNTERS_AT_ONCE_MAX);
        if let Some(few) = self.looked_after(read_at_once(&self.shared, few))? {
            return Ok(few);
        }
        let of = of.clone();
        let all = move |state: &ReadTransaction| read::counters(state, &of, usize::MAX);
        Ok(self.read(all).await?.unwrap_or_default())
    }

    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(move |transaction| read::audit(transaction, from, limit)).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        let request = request.clone();
        self.ask(|answer| Request::Lease { request, answer }).await
    }
}

/// What a unit takes up in the queue.
fn unit_bytes(unit: &PreparedUnit) -> usize {
    let records = unit.writes.iter().map(|write| write.after.as_ref().map_or(0, Vec::len));
    let audit = unit.audit.iter().map(|draft| draft.detail.len());
    let parts = unit.expects.len().saturating_add(unit.counters.len()).saturating_add(1);
    records.chain(audit).fold(parts.saturating_mul(UNIT_OVERHEAD_BYTES), usize::saturating_add)
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to finish.
            let _ = writer.join();
        }
    }
}
