//! The one thread that writes: it takes what is waiting, commits it together, and answers after that.
//!
//! A call that was handed over is carried out even if nobody waits for its answer any more. After a fault of the file
//! the thread opens it again, at growing intervals, when somebody asks; until then every call is refused at once.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use ota_core::fleet::{Lease, LeaseRequest, Outcome, PreparedUnit, StoreError};
use redb::{Database, ReadableDatabase};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Medium;
use super::commit::Batch;
use super::copy::{CopyFile, Touched};
use super::error::{Fault, caught};
use super::lease::Leases;
use super::schema;
use crate::shared_fault::SharedFault;

/// How long the first attempt to open the file again waits, and the longest wait between two.
const REOPEN_DELAY_MIN: Duration = Duration::from_millis(10);
const REOPEN_DELAY_MAX: Duration = Duration::from_secs(5);

/// Where a caller waits for its answer.
type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum Request {
    Commit {
        units: Vec<PreparedUnit>,
        answer: Answer<Vec<Outcome>>,
        /// The room that the units take up in the queue.
        _room: OwnedSemaphorePermit,
    },
    Lease {
        request: LeaseRequest,
        answer: Answer<Option<Lease>>,
    },
    /// Notes from now on which rows are written.
    Follow {
        answer: Answer<()>,
    },
    /// Which rows were written since the last time this was asked.
    Touched {
        answer: Answer<Touched>,
    },
    /// Brings the copy up to date and lets it take the place of the store's file.
    Replace {
        copy: CopyFile,
        file: PathBuf,
        answer: Answer<()>,
    },
    /// Nobody follows any more.
    Unfollow,
    /// A reader met a fault: look after the file.
    LookAfter,
}

/// What readers and the writer share.
pub(super) struct Shared {
    database: RwLock<Option<Arc<Database>>>,
    /// Set by whoever meets a fault after which redb refuses to go on.
    is_broken: AtomicBool,
}

impl Shared {
    pub(super) fn new(database: Database) -> Self {
        Self { database: RwLock::new(Some(Arc::new(database))), is_broken: AtomicBool::new(false) }
    }

    /// The database, unless it broke. Whether a commit that failed has happened is known only once the file is opened
    /// again: until then nobody reads what may be the state before it.
    pub(super) fn database(&self) -> Option<Arc<Database>> {
        if self.is_broken() {
            return None;
        }
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, database: Option<Database>) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database.map(Arc::new);
    }

    pub(super) fn break_down(&self) {
        self.is_broken.store(true, Ordering::Release);
    }

    fn mend(&self) {
        self.is_broken.store(false, Ordering::Release);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    medium: Arc<Medium>,
    batch_units_max: usize,
    leases: Leases,
    /// What was written since somebody began to follow.
    followed: Option<Touched>,
    reopen_delay: Duration,
    reopen_at: Instant,
}

/// Calls that share a commit.
#[derive(Default)]
struct Calls {
    commits: Vec<(Vec<PreparedUnit>, Answer<Vec<Outcome>>, OwnedSemaphorePermit)>,
    leases: Vec<(LeaseRequest, Answer<Option<Lease>>)>,
    /// What is done behind the commit, in the order of asking.
    behind: Vec<Request>,
}

/// What is answered once the transaction is durable.
struct Answers {
    commits: Vec<Vec<Outcome>>,
    leases: Vec<Option<Lease>>,
    new_leases: Leases,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, medium: Arc<Medium>, batch_units_max: usize) -> Self {
        Self {
            shared,
            medium,
            batch_units_max,
            leases: Leases::default(),
            followed: None,
            reopen_delay: REOPEN_DELAY_MIN,
            reopen_at: Instant::now(),
        }
    }

    /// Works until the store is dropped and everything that was handed over is done.
    pub(super) fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let mut calls = Calls::default();
            let mut units = calls.add(first);
            while units < self.batch_units_max
                && let Ok(next) = requests.try_recv()
            {
                units += calls.add(next);
            }
            self.carry_out(calls);
        }
        self.shared.replace(None);
    }

    fn carry_out(&mut self, mut calls: Calls) {
        let database = match self.open_database() {
            Ok(database) => database,
            Err(fault) => return calls.refuse(&fault.into()),
        };
        let behind = core::mem::take(&mut calls.behind);
        if !(calls.commits.is_empty() && calls.leases.is_empty()) {
            let units: Vec<Vec<PreparedUnit>> =
                calls.commits.iter_mut().map(|(units, _, _)| core::mem::take(units)).collect();
            let leases = calls.leases.iter().map(|(request, _)| request);
            let committed = caught(|| self.commit(&database, units, leases));
            // A copy that falls so far behind is given up rather than remembered.
            self.followed.take_if(|touched| touched.is_too_much());
            match committed {
                Ok(answers) => {
                    self.leases = answers.new_leases;
                    calls.answer(answers.commits, answers.leases);
                }
                Err(fault) => {
                    self.note(&fault);
                    calls.refuse(&fault.into());
                }
            }
        }
        for request in behind {
            self.do_behind(&database, request);
        }
    }

    fn commit<'a>(
        &mut self,
        database: &Database,
        units: Vec<Vec<PreparedUnit>>,
        leases: impl Iterator<Item = &'a LeaseRequest>,
    ) -> Result<Answers, Fault> {
        let mut transaction = database.begin_write()?;
        // Saves what a start after a crash would otherwise have to find out by walking the whole file.
        transaction.set_quick_repair(true);
        let mut batch = Batch::read(&transaction, units.iter().flatten())?;
        let mut commits = Vec::with_capacity(units.len());
        for call in units {
            commits.push(call.into_iter().map(|unit| batch.apply(unit)).collect::<Result<Vec<_>, _>>()?);
        }
        let mut changed = batch.finish(&transaction, self.followed.as_mut())?;
        let mut new_leases = self.leases.clone();
        let mut answers = Vec::new();
        let now = Instant::now();
        for request in leases {
            let (lease, raised) = new_leases.answer(request, &transaction, now)?;
            changed |= raised;
            answers.push(lease);
        }
        match changed {
            true => transaction.commit()?,
            false => transaction.abort()?,
        }
        Ok(Answers { commits, leases: answers, new_leases })
    }

    /// What concerns copies of the store.
    fn do_behind(&mut self, database: &Database, request: Request) {
        // Nobody may wait for an answer any more: that is no error.
        match request {
            Request::Follow { answer } => {
                self.followed = Some(Touched::default());
                let _ = answer.send(Ok(()));
            }
            Request::Touched { answer } => {
                let touched = self.followed.as_mut().map(core::mem::take);
                let _ = answer.send(touched.ok_or_else(|| Fault::FellBehind.into()));
            }
            Request::Replace { copy, file, answer } => {
                let replaced = caught(|| self.replace(database, copy, &file));
                if let Err(fault) = &replaced {
                    self.note(fault);
                }
                let _ = answer.send(replaced.map_err(Into::into));
            }
            Request::Unfollow => self.followed = None,
            Request::Commit { .. } | Request::Lease { .. } | Request::LookAfter => {}
        }
    }

    /// Copies what is still missing, and goes on with the copy. Readers that are at it finish with the former file.
    ///
    /// A crash leaves either file under the name, and both hold everything that was acknowledged: nothing is committed
    /// before the new name is durable.
    fn replace(&mut self, database: &Database, copy: CopyFile, file: &Path) -> Result<(), Fault> {
        let touched = self.followed.take().ok_or(Fault::FellBehind)?;
        if self.shared.is_broken() {
            // What the file holds is known once it has been opened again.
            return Err(Fault::Reopening);
        }
        let state = database.begin_read().map_err(|error| Fault::from(error).of_a_copy())?;
        copy.catch_up(&state, &touched)?;
        copy.take_the_place_of(file)?;
        // From here on the former file must not be written any more: if the new one cannot be opened now, that is tried
        // again before the next commit.
        let opened = open(self.medium.as_ref()).inspect_err(|_| self.shared.break_down())?;
        self.shared.replace(Some(opened));
        Ok(())
    }

    fn note(&self, fault: &Fault) {
        if fault.needs_reopening() {
            self.shared.break_down();
        }
    }

    /// The database, opened again if it broke and enough time has passed since the last attempt.
    fn open_database(&mut self) -> Result<Arc<Database>, Fault> {
        if let Some(database) = self.shared.database() {
            self.reopen_delay = REOPEN_DELAY_MIN;
            return Ok(database);
        }
        // The former one has to let go of the file before it can be opened again.
        self.shared.replace(None);
        let now = Instant::now();
        if now < self.reopen_at {
            return Err(Fault::Reopening);
        }
        self.reopen_at = now + self.reopen_delay;
        self.reopen_delay = (self.reopen_delay * 2).min(REOPEN_DELAY_MAX);
        let database = caught(|| open(self.medium.as_ref()))?;
        self.shared.replace(Some(database));
        self.shared.mend();
        self.shared.database().ok_or(Fault::Reopening)
    }
}

/// Opens the file and brings its schema up to date.
pub(super) fn open(medium: &Medium) -> Result<Database, Fault> {
    let database = medium()?;
    schema::prepare(&database)?;
    Ok(database)
}

impl Calls {
    /// Takes a request in, and says how many units it has.
    fn add(&mut self, request: Request) -> usize {
        match request {
            Request::Commit { units, answer, _room } => {
                let count = units.len();
                self.commits.push((units, answer, _room));
                return count;
            }
            Request::Lease { request, answer } => self.leases.push((request, answer)),
            Request::LookAfter => {}
            behind => self.behind.push(behind),
        }
        1
    }

    // Nobody may wait for an answer any more: that is no error.

    fn answer(self, commits: Vec<Vec<Outcome>>, leases: Vec<Option<Lease>>) {
        for ((_, answer, _), outcomes) in self.commits.into_iter().zip(commits) {
            let _ = answer.send(Ok(outcomes));
        }
        for ((_, answer), lease) in self.leases.into_iter().zip(leases) {
            let _ = answer.send(Ok(lease));
        }
    }

    fn refuse(self, fault: &SharedFault) {
        for (_, answer, _) in self.commits {
            let _ = answer.send(Err(fault.to_store_error()));
        }
        for (_, answer) in self.leases {
            let _ = answer.send(Err(fault.to_store_error()));
        }
        for request in self.behind {
            match request {
                Request::Follow { answer } | Request::Replace { answer, .. } => {
                    let _ = answer.send(Err(fault.to_store_error()));
                }
                Request::Touched { answer } => {
                    let _ = answer.send(Err(fault.to_store_error()));
                }
                Request::Commit { .. } | Request::Lease { .. } | Request::LookAfter | Request::Unfollow => {}
            }
        }
    }
}
