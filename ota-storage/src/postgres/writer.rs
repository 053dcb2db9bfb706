//! Commits: calls that wait are committed together, a few such batches at a time, each in one transaction.
//!
//! A call that was handed over is carried out even if nobody waits for its answer any more. Batches are answered in
//! the order in which they were begun, so that whoever hears of a commit finds everything that was handed over before
//! it decided, too.

use core::mem;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, join_all};
use ota_core::fleet::{AuditDraft, AuditEntry, AuditHash, Outcome, PreparedUnit, StoreError, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_postgres::types::ToSql;

use super::commit::{self, Changes, Known, Name, Plan, Strength};
use super::error::Fault;
use super::hints::COMMIT_AND_HINT;
use super::read;
use super::schema::{AUDIT_ADD, AUDIT_END, AUDIT_MOVE_END, COUNT, Family};
use super::session::{Session, Sessions};
use crate::shared_fault::SharedFault;

/// How often a batch is tried before its callers are told to try again later.
const ATTEMPTS_MAX: u32 = 8;

/// How a batch makes sure of the versions that it relies on.
///
/// Either way existing rows are locked first, in the order of their names, then new ones, and whoever holds all of
/// these waits for nothing but counters and the end of the audit chain, in this order. So nobody waits in a circle,
/// unless rows are removed; Postgres finds that out, and the batch is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caution {
    /// It takes them to be the expected ones, writes, and looks whether that was right: two rounds, and right unless
    /// a unit is stale or somebody is just writing what it relies on.
    Bold,
    /// It locks every row first, each as strongly as it needs to, and finds out the versions.
    Locked,
}

/// A call that waits for its commit.
pub(super) struct Call {
    pub(super) units: Vec<PreparedUnit>,
    pub(super) answer: oneshot::Sender<Result<Vec<Outcome>, StoreError>>,
    /// The room that the units take up in the queue.
    pub(super) _room: OwnedSemaphorePermit,
}

/// What an attempt came to, other than a commit.
enum Setback {
    /// It was rolled back, because a record had another version than the plan relied on.
    Stale,
    /// It failed and has not happened.
    Undone(Fault),
    /// It failed while it was being committed.
    Unknown(Fault),
}

/// Works until the store is dropped and everything that was handed over is begun.
pub(super) async fn run(
    sessions: Sessions,
    mut calls: mpsc::UnboundedReceiver<Call>,
    writers: usize,
    batch_units_max: usize,
) {
    let writers = Arc::new(Semaphore::new(writers));
    // Of the batch before: done when it has been answered.
    let (_, mut before) = oneshot::channel::<()>();
    while let Some(first) = calls.recv().await {
        // While all connections are busy, more calls come together.
        let Ok(writer) = Arc::clone(&writers).acquire_owned().await else { return };
        let mut units = first.units.len();
        let mut batch = vec![first];
        while units < batch_units_max
            && let Ok(next) = calls.try_recv()
        {
            units += next.units.len();
            batch.push(next);
        }
        let (answered, next) = oneshot::channel();
        let before = mem::replace(&mut before, next);
        let sessions = sessions.clone();
        tokio::spawn(async move {
            carry_out(&sessions, batch, before).await;
            drop((answered, writer));
        });
    }
}

async fn carry_out(sessions: &Sessions, mut batch: Vec<Call>, before: oneshot::Receiver<()>) {
    let sizes: Vec<usize> = batch.iter().map(|call| call.units.len()).collect();
    let units: Vec<PreparedUnit> = batch.iter_mut().flat_map(|call| mem::take(&mut call.units)).collect();
    let done = commit(sessions, &units).await.map_err(SharedFault::from);
    // Its sender is dropped once the batch before has been answered: an error is all that ever comes.
    let _ = before.await;
    let mut outcomes = done.as_ref().ok().into_iter().flatten().cloned();
    for (call, size) in batch.into_iter().zip(sizes) {
        let answer = match &done {
            Ok(_) => Ok(outcomes.by_ref().take(size).collect()),
            Err(fault) => Err(fault.to_store_error()),
        };
        // Nobody may wait for an answer any more: that is no error.
        let _ = call.answer.send(answer);
    }
}

/// Commits units together, as often as it takes to plan them from the versions that are there.
async fn commit(sessions: &Sessions, units: &[PreparedUnit]) -> Result<Vec<Outcome>, Fault> {
    let mut caution = Caution::Bold;
    for _ in 0..ATTEMPTS_MAX {
        let session = sessions.session().await?;
        let attempt = sessions.in_time(async { Ok(attempt(&session, units, caution).await) });
        let setback = match attempt.await? {
            Ok(outcomes) => {
                session.give_back();
                return Ok(outcomes);
            }
            Err(setback) => setback,
        };
        match setback {
            Setback::Unknown(fault) => return Err(fault),
            Setback::Undone(fault) if fault.ends_session() => return Err(fault),
            Setback::Undone(fault) if !fault.is_passing() => {
                // The failure says more than that of a connection that cannot even be rolled back.
                let _ = sessions.in_time(roll_back(session)).await;
                return Err(fault);
            }
            Setback::Undone(_) | Setback::Stale => {
                // A connection that was lost has nothing to roll back.
                let _ = sessions.in_time(roll_back(session)).await;
                caution = Caution::Locked;
            }
        }
    }
    Err(Fault::Contended(ATTEMPTS_MAX))
}

async fn roll_back(session: Session) -> Result<(), Fault> {
    session.batch_execute("ROLLBACK").await?;
    session.give_back();
    Ok(())
}

/// One transaction: two rounds of statements where no unit is stale, sent without waiting in between.
async fn attempt(
    session: &Session,
    units: &[PreparedUnit],
    caution: Caution,
) -> Result<Vec<Outcome>, Setback> {
    let known = match caution {
        Caution::Bold => Known::Expected,
        Caution::Locked => Known::Found(begin_and_lock(session, units).await.map_err(Setback::Undone)?),
    };
    let plan = commit::plan(units, &known);
    if !write(session, &plan, caution).await.map_err(Setback::Undone)? {
        return Err(Setback::Stale);
    }
    write_audit(session, &plan.audit).await.map_err(Setback::Undone)?;
    match session.batch_execute(if plan.audit.is_empty() { "COMMIT" } else { COMMIT_AND_HINT }).await {
        Ok(()) => Ok(plan.outcomes),
        Err(error) => Err(Setback::Unknown(error.into())),
    }
}

/// Locks every row that the units name, in the one order that everybody keeps to, and says what version each has.
async fn begin_and_lock<'u>(
    session: &Session,
    units: &'u [PreparedUnit],
) -> Result<BTreeMap<Name<'u>, Version>, Fault> {
    session.batch_execute("BEGIN").await?;
    let names: Vec<(Name<'u>, Strength)> = commit::names(units).into_iter().collect();
    let mut found = BTreeMap::new();
    // Neighbours that are locked alike share a statement.
    for alike in
        names.chunk_by(|(one, strength), (next, other)| (one.family, strength) == (next.family, other))
    {
        let Some((Name { family, .. }, strength)) = alike.first() else { continue };
        let parts: Vec<i16> = alike.iter().map(|(name, _)| name.part).collect();
        let keys: Vec<&[u8]> = alike.iter().map(|(name, _)| name.key).collect();
        let statement = match strength {
            Strength::Relied => family.statements().lock_relied,
            Strength::Written => family.statements().lock_written,
        };
        let statement = session.prepare_cached(statement).await?;
        for row in session.query(&statement, &[&parts, &keys]).await? {
            // Postgres counts from 1.
            let position = usize::try_from(row.try_get::<_, i64>(0)? - 1).ok();
            let (name, _) = position.and_then(|position| alike.get(position)).ok_or(Fault::Row("lock"))?;
            found.insert(*name, Version(row.try_get::<_, i64>(1)?.cast_unsigned()));
        }
    }
    Ok(found)
}

/// A statement under way.
type Step<'s> = BoxFuture<'s, Result<bool, Fault>>;

/// Writes records, places and counters; `false` if a record has another version than the plan relied on.
async fn write(session: &Session, plan: &Plan<'_>, caution: Caution) -> Result<bool, Fault> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    if caution == Caution::Bold {
        steps.push(Box::pin(async {
            session.batch_execute("BEGIN").await?;
            Ok(true)
        }));
    }
    for (family, changes) in Family::ALL.into_iter().zip(&plan.changes) {
        let statements = family.statements();
        let Changes { updated, removed, .. } = changes;
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&updated.parts, &updated.keys, &updated.found, &updated.after, &updated.bodies];
        push_step(&mut steps, session, statements.update, parameters, updated.keys.len(), Check::Rows)
            .await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&removed.parts, &removed.keys, &removed.found];
        push_step(&mut steps, session, statements.remove, parameters, removed.keys.len(), Check::Rows)
            .await?;
    }
    for (family, Changes { added, .. }) in Family::ALL.into_iter().zip(&plan.changes) {
        let parameters: [&(dyn ToSql + Sync); 4] = [&added.parts, &added.keys, &added.after, &added.bodies];
        push_step(&mut steps, session, family.statements().add, parameters, added.keys.len(), Check::Rows)
            .await?;
    }
    for (family, changes) in Family::ALL.into_iter().zip(&plan.changes) {
        let statements = family.statements();
        let Changes { absent, left, entered, relied, .. } = changes;
        let parameters: [&(dyn ToSql + Sync); 3] = [&left.parts, &left.indexes, &left.sort_keys];
        push_step(&mut steps, session, statements.leave, parameters, left.sort_keys.len(), Check::Nothing)
            .await?;
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&entered.parts, &entered.indexes, &entered.sort_keys, &entered.place_bytes];
        push_step(&mut steps, session, statements.enter, parameters, entered.sort_keys.len(), Check::Nothing)
            .await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&absent.parts, &absent.keys, &absent.found];
        push_step(&mut steps, session, statements.remove, parameters, absent.keys.len(), Check::Rows).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&relied.parts, &relied.keys, &relied.found];
        push_step(&mut steps, session, statements.rely, parameters, relied.keys.len(), Check::Rows).await?;
    }
    let parameters: [&(dyn ToSql + Sync); 2] = [&plan.counter_keys, &plan.counter_changes];
    push_step(&mut steps, session, COUNT, parameters, plan.counter_keys.len(), Check::Rows).await?;
    // Each is sent when it is first polled, and so few are polled in their order. A failure says itself in the first
    // answer that is an error: those behind it only say that the transaction has failed.
    let mut is_fresh = true;
    for done in join_all(steps).await {
        is_fresh &= done?;
    }
    Ok(is_fresh)
}

/// What a statement has to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// It finds every row that it was given.
    Rows,
    /// It may find less: a place may be entered and left again in one batch.
    Nothing,
}

/// Adds a statement about so many rows, if there are any. It is sent when its future is first polled, and says
/// whether it came to what it had to.
async fn push_step<'s, const N: usize>(
    steps: &mut Vec<Step<'s>>,
    session: &'s Session,
    statement: &'static str,
    parameters: [&'s (dyn ToSql + Sync); N],
    rows: usize,
    check: Check,
) -> Result<(), Fault> {
    if rows == 0 {
        return Ok(());
    }
    let statement = session.prepare_cached(statement).await?;
    steps.push(Box::pin(async move {
        let found = session.execute(&statement, &parameters).await?;
        Ok(check == Check::Nothing || u64::try_from(rows) == Ok(found))
    }));
    Ok(())
}

/// Adds to the audit chain, whose end is locked by the first statement: last of all, and until the commit.
async fn write_audit(session: &Session, drafts: &[&AuditDraft]) -> Result<(), Fault> {
    if drafts.is_empty() {
        return Ok(());
    }
    let end = session.prepare_cached(AUDIT_END).await?;
    let row = session.query_one(&end, &[]).await?;
    let (mut sequence, mut previous) = (row.try_get::<_, i64>(0)?, read::hash(&row, 1)?);
    let mut entries = Vec::with_capacity(drafts.len());
    for draft in drafts {
        sequence += 1;
        let entry = AuditEntry::chain(sequence.cast_unsigned(), previous, (*draft).clone());
        previous = entry.hash;
        entries.push(entry);
    }
    let numbers = |of: fn(&AuditEntry) -> u64| -> Vec<i64> {
        entries.iter().map(|entry| of(entry).cast_signed()).collect()
    };
    let texts = |of: fn(&AuditDraft) -> &String| -> Vec<&[u8]> {
        entries.iter().map(|entry| of(&entry.draft).as_bytes()).collect()
    };
    let hashes = |of: fn(&AuditEntry) -> &AuditHash| -> Vec<&[u8]> {
        entries.iter().map(|entry| of(entry).0.as_slice()).collect()
    };
    let add = session.prepare_cached(AUDIT_ADD).await?;
    session
        .execute(
            &add,
            &[
                &numbers(|entry| entry.sequence),
                &numbers(|entry| entry.draft.at.0),
                &texts(|draft| &draft.principal),
                &texts(|draft| &draft.action),
                &texts(|draft| &draft.subject),
                &texts(|draft| &draft.product),
                &texts(|draft| &draft.detail),
                &hashes(|entry| &entry.previous),
                &hashes(|entry| &entry.hash),
            ],
        )
        .await?;
    let move_end = session.prepare_cached(AUDIT_MOVE_END).await?;
    session.execute(&move_end, &[&sequence, &previous.0.as_slice()]).await?;
    Ok(())
}
