//! Commands that keep the installation: files that nothing refers to, room in the store, copies of it.

use ota_core::fleet::StoreErrorKind;
use ota_core::text::FileName;
use ota_core::time::{Millis, Timestamp};

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::rules::permission::{Action, Permit, Principal, Scope, permit};
use crate::server::Server;

impl Server {
    /// Removes stored files that no release needs and that are older than `age`; says how many.
    ///
    /// # Errors
    /// [`CommandError`]; what was removed before stays removed.
    pub async fn remove_unreferenced(&self, principal: &Principal, age: Millis) -> Result<u64, CommandError> {
        let permit = permit(principal, Action::KeepInstallation, Scope::Installation)?;
        let removed = self.sweep_files(Timestamp(self.now().0.saturating_sub(age.0))).await?;
        self.note_upkeep(&permit, "files.sweep", &removed.to_string(), detail(&[])).await?;
        Ok(removed)
    }

    /// Gives back the room that the store does not need any more. Devices and people are served meanwhile. Says how many
    /// bytes it took before and takes now.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::NoUpkeep`] if whoever embeds the server keeps the store in order.
    pub async fn compact_store(&self, principal: &Principal) -> Result<(u64, u64), CommandError> {
        let permit = permit(principal, Action::KeepInstallation, Scope::Installation)?;
        let upkeep = self.inner.upkeep.as_ref().ok_or(CommandError::NoUpkeep)?;
        let (before, after) = upkeep.compact().await?;
        let detail = detail(&[("before", &before.to_string()), ("after", &after.to_string())]);
        self.note_upkeep(&permit, "store.compact", "", detail).await?;
        Ok((before, after))
    }

    /// Writes a copy of the store as it is now, under this name. Devices and people are served meanwhile. Says where
    /// it is.
    ///
    /// # Errors
    /// [`CommandError`]; [`CommandError::BackupName`] for a name that is none, or is taken.
    pub async fn back_up_store(&self, principal: &Principal, name: &str) -> Result<String, CommandError> {
        let permit = permit(principal, Action::KeepInstallation, Scope::Installation)?;
        let upkeep = self.inner.upkeep.as_ref().ok_or(CommandError::NoUpkeep)?;
        if name.contains('/') || FileName::new(name).is_err() {
            return Err(CommandError::BackupName);
        }
        // The entry comes first, so that it is in the copy: a restored store tells that it is one, and of when.
        self.note_upkeep(&permit, "store.back-up", name, detail(&[])).await?;
        match upkeep.back_up(name).await {
            Err(error) if error.kind() == StoreErrorKind::Invalid => Err(CommandError::BackupName),
            done => Ok(done?),
        }
    }

    async fn note_upkeep(
        &self,
        permit: &Permit,
        action: &str,
        subject: &str,
        detail: String,
    ) -> Result<(), CommandError> {
        let mut changes = Changes::default();
        self.audit(&mut changes, permit, action, subject, detail);
        self.inner.store.commit(vec![changes.into_unit()]).await?;
        Ok(())
    }
}
