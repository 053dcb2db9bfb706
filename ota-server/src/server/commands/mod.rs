//! Commands of people: permission first, then the rules, then one commit with its entry in the audit chain.

mod amendments;
mod campaigns;
mod content;
mod devices;
mod enrolments;
mod erasure;
mod groups;
mod notes;
mod people;
mod products;
mod releases;
mod retries;
#[cfg(feature = "http")]
mod sessions;
mod upkeep;

use ota_core::fleet::records::Setting;
use ota_core::fleet::{AuditDraft, Key, Outcome, Record, StoreError, Stored, Version};
use ota_core::number::{CampaignId, ReleaseId, Sha256Digest};
use ota_core::text::{DeviceIdBuf, ProductIdBuf};
use ota_core::trust::TrustError;

pub use self::amendments::AmendmentState;
pub use self::content::Upload;
pub use self::devices::NewDevice;
pub use self::enrolments::{NewEnrolment, Proof};
pub use self::erasure::Erased;
pub use self::people::{AuditCheck, IssuedToken, NewToken};
pub use self::products::NewProduct;
pub use self::retries::Retried;
#[cfg(feature = "http")]
pub use self::sessions::{INVITATION_LIFE, SESSION_LIFE};
use super::Server;
use crate::engine::Changes;
use crate::rules::campaign::CampaignError;
use crate::rules::device::TagError;
use crate::rules::password::PasswordError;
use crate::rules::permission::{Action, Denied, Permit, Principal, Scope, permit};
use crate::rules::release::ReleaseError;

/// How often a command is planned again when somebody else was faster.
const PLANS_MAX: u32 = 4;

/// Why a command was not carried out. Nothing of it has happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The principal may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Others were faster each time.
    #[error("somebody else keeps changing the same thing; try again")]
    Conflict,
    /// It has been changed since it was read, and the change expected that it had not.
    #[error("it has been changed since it was read")]
    Changed,
    /// There is no such product.
    #[error("there is no product {0}")]
    NoProduct(ProductIdBuf),
    /// The product exists.
    #[error("the product {0} exists already")]
    ProductExists(ProductIdBuf),
    /// There is no such device.
    #[error("there is no device {0}")]
    NoDevice(DeviceIdBuf),
    /// The device exists.
    #[error("the device {0} is registered already")]
    DeviceExists(DeviceIdBuf),
    /// A campaign that has not ended has an attempt of the device, or its id in a list.
    #[error(
        "campaign {0} has not ended and counts on the device: it has an attempt there, or is on its list"
    )]
    StillCounted(CampaignId),
    /// There is no such release.
    #[error("there is no release {0}")]
    NoRelease(ReleaseId),
    /// There is no such campaign.
    #[error("there is no campaign {0}")]
    NoCampaign(CampaignId),
    /// There is no such principal.
    #[error("there is no principal {0}")]
    NoPrincipal(Box<str>),
    /// There is no such token.
    #[error("there is no token {0}")]
    NoToken(Box<str>),
    /// The password is not taken.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// So many passwords are being checked that another one would have to wait for too long.
    #[error("too many people sign in at once; try again in a moment")]
    Busy,
    /// The tags are wrong.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The release is not what it should be.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The campaign is not what it should be.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// A filter expression is wrong.
    #[error(transparent)]
    Filter(#[from] crate::rules::filter::FilterError),
    /// The root is not to be trusted.
    #[error("the root is not to be trusted")]
    Root(#[from] TrustError),
    /// No enrolment holds for this device and its proof.
    #[error("nobody has announced this device; ask the product's administrator for an enrolment")]
    Claim,
    /// None of the keys signed this checkpoint of the audit chain.
    #[error(
        "none of the keys signed the checkpoint of entry {0}; give the keys of all servers that have signed"
    )]
    Checkpoint(u64),
    /// The proof is good for an enrolment already.
    #[error("enrolment {0} exists already; remove it first")]
    Enrolled(Sha256Digest),
    /// The name of a group is none.
    #[error("a group's name has 1 to 64 bytes without control characters")]
    GroupName,
    /// There is no such group.
    #[error("there is no group {0:?}")]
    NoGroup(Box<str>),
    /// Nobody told the server how the store is kept in order.
    #[error("the program around this server keeps the store in order by itself")]
    NoUpkeep,
    /// The name of a backup is none, or is taken.
    #[error(
        "a backup's name has 1 to 64 of A-Z a-z 0-9 . _ - without a dot at its beginning, and is not taken yet"
    )]
    BackupName,
    /// Too many at once.
    #[error("at most {0} at once")]
    TooMany(usize),
}

/// A counter among the settings that a command takes the next number from.
pub(super) struct NextNumber {
    key: Key,
    version: Version,
    before: Option<Record>,
    next: u64,
}

impl NextNumber {
    /// Takes the number: the commit fails if somebody else took it.
    pub(super) fn write(self, changes: &mut Changes) {
        let after = Record::Setting(Setting { value: (self.next + 1).to_string().into() });
        changes.write(self.key, self.version, self.before, Some(after));
    }
}

/// The particulars of an audit entry as a JSON object of texts.
pub(super) fn detail(fields: &[(&str, &str)]) -> String {
    let mut json = String::from("{");
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        quote(&mut json, name);
        json.push(':');
        quote(&mut json, value);
    }
    json.push('}');
    json
}

/// A JSON string (RFC 8259, section 7).
fn quote(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
}

impl Server {
    pub(super) fn permit(
        &self,
        principal: &Principal,
        action: Action,
        product: &ProductIdBuf,
    ) -> Result<Permit, CommandError> {
        Ok(permit(principal, action, Scope::Product(product))?)
    }

    /// Plans, commits, and plans again when somebody else was faster.
    ///
    /// The plan's future is a type of its own, not one that an `AsyncFn` lends: only so can the compiler tell that commands
    /// are `Send`, and whoever embeds the server can run them on any thread.
    pub(super) async fn command<T, P: Future<Output = Result<(Changes, T), CommandError>>>(
        &self,
        plan: impl Fn() -> P,
    ) -> Result<T, CommandError> {
        for _ in 0..PLANS_MAX {
            let (changes, value) = plan().await?;
            let outcomes = self.inner.store.commit(vec![changes.into_unit()]).await?;
            if outcomes == [Outcome::Committed] {
                return Ok(value);
            }
        }
        Err(CommandError::Conflict)
    }

    /// Notes in the audit chain who did what.
    fn audit(
        &self,
        changes: &mut Changes,
        permit: &Permit,
        action: &str,
        subject: impl ToString,
        detail: String,
    ) {
        changes.audit(AuditDraft {
            at: self.now(),
            principal: permit.principal().into(),
            action: action.into(),
            subject: subject.to_string(),
            product: permit.product().map(|product| product.as_str().into()).unwrap_or_default(),
            detail,
        });
    }

    pub(super) async fn load_one(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        Ok(self.inner.store.load(core::slice::from_ref(key)).await?.pop().flatten())
    }

    /// The next campaign's number.
    pub(super) async fn next_campaign_id(&self) -> Result<(CampaignId, NextNumber), StoreError> {
        let key = Key::Setting("next campaign".into());
        let (version, before, next) = match self.load_one(&key).await? {
            Some(Stored { version, record: Record::Setting(setting) }) => {
                let next = setting.value.parse().unwrap_or(1);
                (version, Some(Record::Setting(setting)), next)
            }
            _ => (Version(0), None, 1),
        };
        Ok((CampaignId(next), NextNumber { key, version, before, next }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles only while the futures of commands are `Send`.
    #[test]
    fn commands_can_run_on_any_thread() {
        fn on_any_thread<T: Send>(_: impl FnOnce(&'static Server, &'static Principal) -> T) {}
        on_any_thread(|server, by| server.stop_everything(by, None, "x"));
        on_any_thread(|server, by| server.start_campaign(by, CampaignId(1)));
        on_any_thread(|server, by| server.withdraw_release(by, &ReleaseId([0; 32]), "x"));
        on_any_thread(|server, by| server.remove_token(by, "x"));
        on_any_thread(|server, by| server.register_devices(by, Box::leak(Box::new(product())), &[]));
    }

    fn product() -> ProductIdBuf {
        ProductIdBuf::new("p").unwrap()
    }
}
