//! The fleet's store in one file: redb, one writer with group commit, readers that never wait for it.
//!
//! What it promises beyond [`FleetStore`]: a commit is on the medium when it is acknowledged (two syncs of the file),
//! a start after a crash does not walk the file, and a full or failing disk is an error now and work again later,
//! without a restart. Leases end with the process, because no other can have the file open.

mod commit;
mod error;
mod lease;
mod read;
mod schema;
mod writer;

use std::path::Path;
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

use self::error::{Fault, caught};
use self::writer::{Request, Shared, Writer};

/// Opens the database, again after each fault.
type Medium = dyn Fn() -> Result<Database, Fault> + Send + Sync;

/// So many keys are looked up on the task of the caller; more go to a thread that may block.
const LOAD_AT_ONCE_MAX: usize = 64;
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
        let path = path.as_ref().to_owned();
        Self::start(
            Arc::new(move || {
                let is_new = !path.exists();
                let database = Builder::new().set_cache_size(options.cache_bytes).create(&path)?;
                if is_new {
                    sync_folder_of(&path).map_err(Fault::Open)?;
                }
                Ok(database)
            }),
            options,
        )
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
        Self::start(Arc::new(open), options)
    }

    fn start(medium: Arc<Medium>, options: RedbOptions) -> Result<Self, StoreError> {
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
        })
    }

    /// Moves what is in use to the front of the file and gives the rest back to the file system. Other calls wait.
    ///
    /// # Errors
    /// [`StoreError`]; the store is as it was.
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.ask(|answer| Request::Compact { answer }).await
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

/// Makes the name of a new file durable.
fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    // Elsewhere folders cannot be opened; their file systems keep names on their own.
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
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
        let query = query.clone();
        self.read(move |transaction| read::scan(transaction, &query, bounds, limit)).await
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let of = of.clone();
        self.read(move |transaction| read::counters(transaction, &of)).await
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
