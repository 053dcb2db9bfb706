//! What keeps an installation in order by itself: what is old goes, then files that nothing refers to, and the store gives
//! room back.
//!
//! Both may happen twice or be cut off anywhere. When each was done last is kept in the store, so that a server that is
//! restarted every day still does what is due every week, and several servers do it once between them.

use std::sync::PoisonError;

use async_trait::async_trait;
use ota_core::fleet::records::Setting;
use ota_core::fleet::{AuditDraft, Key, Record, StoreError, StoreErrorKind, Stored, Version};
use ota_core::time::{Millis, Timestamp};

use super::{CommandError, Server};
use crate::engine::Changes;

/// How often somebody looks whether anything is due.
pub(super) const LOOK_EVERY: core::time::Duration = core::time::Duration::from_secs(60);
/// A store counts as idle if no more records than these were written since the last look.
const IDLE_WRITES_MAX: u64 = 600;
/// What is due waits for the store to be idle, but no longer than this.
const IDLE_WAIT_MAX: Millis = Millis(24 * 3_600_000);
/// After so many missed sweeps the clock may have jumped: what it takes for old is looked at again at the next one.
const MISSED_SWEEPS_MAX: u64 = 3;
/// What did not work is tried again after this.
const RETRY: Millis = Millis(3_600_000);
/// Where the store keeps when files were swept, when what is old was removed, and when it was compacted last.
const SWEPT: &str = "upkeep.swept";
const FORGOTTEN: &str = "upkeep.forgotten";
const COMPACTED: &str = "upkeep.compacted";

/// What only the program around the server can do with the store that it opened.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Gives back the room that the store does not need any more, while it serves. Says how many bytes it took before
    /// and takes now.
    ///
    /// # Errors
    /// [`StoreError`]; the store is as it was.
    async fn compact(&self) -> Result<(u64, u64), StoreError>;

    /// Writes a copy of the store as it is now, while it serves, under this name. Says where it is.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has that name. [`StoreErrorKind::Invalid`] if something had already.
    async fn back_up(&self, name: &str) -> Result<String, StoreError>;
}

/// What was looked at last.
#[derive(Default)]
pub(super) struct Looked {
    /// Records that had been written by then.
    written: u64,
    /// Nothing is tried before this.
    not_before: Timestamp,
}

impl Server {
    /// Does what is due. [`Server::run`] calls it once a minute.
    ///
    /// # Errors
    /// [`StoreError`]; what was not done is tried again an hour later.
    pub async fn keep_in_order(&self) -> Result<(), StoreError> {
        let now = self.now();
        let written = self.inner.watched.written();
        let is_idle = {
            let mut looked = self.inner.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let new = written.saturating_sub(looked.written);
            looked.written = written;
            if now < looked.not_before {
                return Ok(());
            }
            looked.not_before = now.plus(RETRY);
            new <= IDLE_WRITES_MAX
        };
        let config = self.inner.config;
        if self.is_due(FORGOTTEN, config.sweep_every, true, now).await?
            && (self.may_have_jumped(config.sweep_every, now).await? || self.forget_old(now).await?)
        {
            self.was_done(FORGOTTEN, now).await?;
        }
        if self.is_due(SWEPT, config.sweep_every, true, now).await? {
            let before = Timestamp(now.0.saturating_sub(config.unreferenced_kept.0));
            let removed = self.sweep_files(before).await.map_err(|error| match error {
                CommandError::Store(error) => error,
                other => StoreError::new(StoreErrorKind::Unavailable, other),
            })?;
            if removed > 0 {
                self.note_by_itself("files.sweep", removed.to_string(), String::from("{}")).await?;
            }
            self.was_done(SWEPT, now).await?;
        }
        if let Some(upkeep) = self.inner.upkeep.clone()
            && self.is_due(COMPACTED, config.compact_every, is_idle, now).await?
        {
            let (before, after) = upkeep.compact().await?;
            let detail = format!("{{\"before\":{before},\"after\":{after}}}");
            self.note_by_itself("store.compact", String::new(), detail).await?;
            self.was_done(COMPACTED, now).await?;
        }
        let mut looked = self.inner.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.not_before = Timestamp(0);
        Ok(())
    }

    /// Notes in the audit chain what nobody has asked for.
    async fn note_by_itself(&self, action: &str, subject: String, detail: String) -> Result<(), StoreError> {
        let mut changes = Changes::default();
        changes.audit(AuditDraft {
            at: self.now(),
            principal: "the schedule".into(),
            action: action.into(),
            subject,
            product: String::new(),
            detail,
        });
        self.inner.store.commit(vec![changes.into_unit()]).await?;
        Ok(())
    }

    /// Whether something is due that was done at the time that the store keeps. What was never done counts as done now.
    async fn is_due(
        &self,
        what: &str,
        every: Millis,
        is_idle: bool,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if every == Millis(0) {
            return Ok(false);
        }
        let Some(last) = self.done_at(what).await? else {
            self.was_done(what, now).await?;
            return Ok(false);
        };
        // A clock that was ahead for a while must not put everything off until then.
        let since = if last.0 > now.0 { Millis(u64::MAX) } else { now.since(last) };
        let patience = if is_idle { 0 } else { IDLE_WAIT_MAX.0 };
        Ok(since.0 >= every.0.saturating_add(patience))
    }

    /// Whether so much time has passed since the last sweep that the server was off for long, or its clock is wrong. What
    /// a clock that is years ahead takes for old must not be gone before anybody has seen it.
    async fn may_have_jumped(&self, every: Millis, now: Timestamp) -> Result<bool, StoreError> {
        let last = self.done_at(FORGOTTEN).await?.unwrap_or(now);
        Ok(now.since(last).0 > every.0.saturating_mul(MISSED_SWEEPS_MAX) || last > now)
    }

    pub(super) async fn done_at(&self, what: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.setting(what).await?.and_then(|(setting, _)| setting.value.parse().ok().map(Timestamp)))
    }

    pub(super) async fn was_done(&self, what: &str, now: Timestamp) -> Result<(), StoreError> {
        let (before, version) = match self.setting(what).await? {
            Some((setting, version)) => (Some(Record::Setting(setting)), version),
            None => (None, Version(0)),
        };
        let mut changes = Changes::default();
        let after = Record::Setting(Setting { value: now.0.to_string().into() });
        changes.write(Key::Setting(what.into()), version, before, Some(after));
        // Another server that was faster has done it as well.
        self.inner.store.commit(vec![changes.into_unit()]).await?;
        Ok(())
    }

    async fn setting(&self, name: &str) -> Result<Option<(Setting, Version)>, StoreError> {
        let found = self.inner.store.load(&[Key::Setting(name.into())]).await?;
        Ok(match found.into_iter().next().flatten() {
            Some(Stored { version, record: Record::Setting(setting) }) => Some((setting, version)),
            _ => None,
        })
    }

    /// Looks from time to time whether anything is due.
    pub(super) async fn keep_up(self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            // It is tried again; a store that fails is told of by `probe`.
            let _ = self.keep_in_order().await;
        }
    }
}
