//! Notes that programs around the server keep in its store: how far something has come, so that a restart goes on there.

use ota_core::fleet::records::Setting;
use ota_core::fleet::{Key, Record, Stored, Version};

use super::CommandError;
use crate::engine::Changes;
use crate::rules::permission::{Action, Principal, Scope, permit};
use crate::server::Server;

impl Server {
    /// A note, if it was ever written.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn note(&self, by: &Principal, name: &str) -> Result<Option<String>, CommandError> {
        permit(by, Action::KeepInstallation, Scope::Installation)?;
        Ok(match self.load_one(&note(name)).await? {
            Some(Stored { record: Record::Setting(setting), .. }) => Some(setting.value.into()),
            _ => None,
        })
    }

    /// Writes a note over the one before it. It leaves nothing in the audit chain: nobody has decided anything.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn set_note(&self, by: &Principal, name: &str, text: &str) -> Result<(), CommandError> {
        permit(by, Action::KeepInstallation, Scope::Installation)?;
        self.command(|| async {
            let key = note(name);
            let (version, before) = match self.load_one(&key).await? {
                Some(Stored { version, record }) => (version, Some(record)),
                None => (Version(0), None),
            };
            let mut changes = Changes::default();
            changes.write(key, version, before, Some(Record::Setting(Setting { value: text.into() })));
            Ok((changes, ()))
        })
        .await
    }
}

/// Notes have a place of their own among the settings.
fn note(name: &str) -> Key {
    Key::Setting(format!("note {name}").into())
}
