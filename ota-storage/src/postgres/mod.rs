//! The fleet's store in Postgres, for any number of servers at once.
//!
//! What it promises beyond [`FleetStore`]: a commit is on the database's medium when it is acknowledged, whatever the
//! database was told about durability in general; leases run by the clock of the database; a database that restarts,
//! fills up or cannot be reached is an error now and works again later, without a restart of the server; no wait is
//! without an end. It needs connections of its own to the database (or a pooler that keeps sessions apart), because
//! its statements are prepared once for each.

mod commit;
mod error;
mod hints;
mod lease;
mod read;
mod schema;
mod session;
mod writer;

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use ota_core::fleet::{
    AuditEntry, CounterKey, CounterPrefix, Cursor, FleetStore, Key, Lease, LeaseRequest, Outcome, Page,
    PreparedUnit, Query, StoreError, StoreErrorKind, Stored, Unit,
};
use ota_core::limits;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use self::error::Fault;
use self::session::{Session, Sessions};
use self::writer::Call;

/// What a unit takes up in the queue besides its records, in bytes.
const UNIT_OVERHEAD_BYTES: usize = 256;

/// Whether a server may bring the tables of the database up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// When it connects; of several servers one does it while the others wait.
    AtStart,
    /// No: somebody with more rights does it before.
    ByHand,
}

/// How a [`PostgresStore`] uses the database.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Most connections that read.
    pub readers_max: usize,
    /// Most connections that commit, and thereby most batches at a time.
    pub writers_max: usize,
    /// Most units that begin to be committed together.
    pub batch_units_max: usize,
    /// Memory for units that wait to be committed, in bytes; callers wait while it is used up.
    pub queue_bytes: u32,
    /// How long anything is waited for: a connection, a lock, an answer.
    pub patience: Duration,
    /// How the certificate of the database is checked. Without it connections are not encrypted, and a connection
    /// string with `sslmode=require` is refused.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Whether the tables may be brought up to date.
    pub upgrade: Upgrade,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            readers_max: 8,
            writers_max: 4,
            batch_units_max: 4096,
            queue_bytes: 64 * 1024 * 1024,
            patience: Duration::from_secs(10),
            tls: None,
            upgrade: Upgrade::AtStart,
        }
    }
}

/// A [`FleetStore`] in Postgres.
///
/// Besides its pools it has one connection that listens. Dropping it lets what was handed over come to its end, as long as the runtime is there.
#[derive(Debug)]
pub struct PostgresStore {
    readers: Sessions,
    room: Arc<Semaphore>,
    room_bytes: u32,
    calls: mpsc::UnboundedSender<Call>,
    hints: Arc<Notify>,
    listening: AbortHandle,
}

impl PostgresStore {
    /// Connects to the database that the connection string names (`postgres://user:password@host/database`, or
    /// `host=... dbname=...`), and makes or updates the tables if it may. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a string that cannot be read; [`StoreErrorKind::Schema`] if the tables are of
    /// a version that this one cannot work with; [`StoreErrorKind::Unavailable`] if the database cannot be reached
    /// or does not let us in: the source says which.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let config = session::config(url, &options)?;
        let readers = Sessions::new(config.clone(), &options, options.readers_max.max(1), "")?;
        let writers = Sessions::new(config.clone(), &options, options.writers_max.max(1), schema::TAKE_LANE)?;
        let mut session = writers.session().await?;
        schema::prepare(&mut session, options.upgrade).await?;
        session.give_back();
        let (calls, waiting) = mpsc::unbounded_channel();
        let room_bytes = options.queue_bytes.max(1);
        let room = usize::try_from(room_bytes).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        tokio::spawn(writer::run(
            writers,
            waiting,
            options.writers_max.max(1),
            options.batch_units_max.max(1),
        ));
        let hints = Arc::new(Notify::new());
        let listening = tokio::spawn(hints::listen(config, options.tls, Arc::clone(&hints))).abort_handle();
        Ok(Self { readers, room: Arc::new(Semaphore::new(room)), room_bytes, calls, hints, listening })
    }
}

#[async_trait]
impl FleetStore for PostgresStore {
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
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call { units, answer, _room: room }).map_err(|_| Fault::Closed)?;
        answered.await.map_err(|_| Fault::Closed)?
    }

    async fn load(&self, keys: &[Key]) -> Result<Vec<Option<Stored>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys.to_vec();
        let load = move |session: Arc<Session>| async move { read::load(&session, &keys).await };
        Ok(self.readers.run(load).await?)
    }

    async fn scan(&self, query: &Query, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let bounds = query.bounds(after)?;
        if limit == 0 {
            return Err(StoreErrorKind::Invalid.into());
        }
        let query = query.clone();
        let scan =
            move |session: Arc<Session>| async move { read::scan(&session, &query, bounds, limit).await };
        Ok(self.readers.run(scan).await?)
    }

    async fn counters(&self, of: &CounterPrefix) -> Result<Vec<(CounterKey, i64)>, StoreError> {
        let of = of.clone();
        let counters = move |session: Arc<Session>| async move { read::counters(&session, &of).await };
        Ok(self.readers.run(counters).await?)
    }

    async fn audit(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let audit = move |session: Arc<Session>| async move { read::audit(&session, from, limit).await };
        Ok(self.readers.run(audit).await?)
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Option<Lease>, StoreError> {
        let request = request.clone();
        let lease = move |session: Arc<Session>| async move { lease::answer(&session, &request).await };
        Ok(self.readers.run(lease).await?)
    }

    async fn hint(&self) {
        self.hints.notified().await;
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// What a unit takes up in the queue.
fn unit_bytes(unit: &PreparedUnit) -> usize {
    let records = unit.writes.iter().map(|write| write.after.as_ref().map_or(0, Vec::len));
    let audit = unit.audit.iter().map(|draft| draft.detail.len());
    let parts = unit.expects.len().saturating_add(unit.counters.len()).saturating_add(1);
    records.chain(audit).fold(parts.saturating_mul(UNIT_OVERHEAD_BYTES), usize::saturating_add)
}
