//! Principals and tokens, and the audit chain that all of this leaves.

use ota_core::fleet::records::{PrincipalRecord, Token};
use ota_core::fleet::{AuditEntry, AuditHash, Key, Record, Stored, Version};
use ota_core::number::Sha256Digest;
use ota_core::time::Timestamp;

use super::{CommandError, detail};
use crate::digest::sha256;
use crate::engine::Changes;
use crate::rules::permission::{Action, Principal, Scope, permit};
use crate::server::Server;

/// What became of checking the audit chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditCheck {
    /// All entries are intact, and each follows the one before it.
    Intact {
        /// The number of the last.
        entries: u64,
        /// Its hash: keep it elsewhere, and a cut-off end shows.
        head: AuditHash,
    },
    /// This entry is not what was written, or does not follow the one before it.
    Broken {
        /// Its number.
        sequence: u64,
    },
}

impl Server {
    /// Makes or changes a principal.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn set_principal(
        &self,
        by: &Principal,
        name: &str,
        record: PrincipalRecord,
    ) -> Result<(), CommandError> {
        let permit = permit(by, Action::KeepPeople, Scope::Installation)?;
        self.command(|| async {
            let key = Key::Principal(name.into());
            let (version, before) = match self.load_one(&key).await? {
                Some(Stored { version, record }) => (version, Some(record)),
                None => (Version(0), None),
            };
            let mut changes = Changes::default();
            changes.write(key, version, before, Some(Record::Principal(record.clone())));
            self.audit(&mut changes, &permit, "principal.set", name, detail(&[("title", &record.title)]));
            Ok((changes, ()))
        })
        .await
    }

    /// Makes a token for a principal: its public half is its name, its secret half is returned once and never kept.
    ///
    /// # Errors
    /// [`CommandError::NoPrincipal`].
    pub async fn create_token(
        &self,
        by: &Principal,
        owner: &str,
        expires: Option<Timestamp>,
    ) -> Result<(String, [u8; 32]), CommandError> {
        let permit = permit(by, Action::KeepPeople, Scope::Installation)?;
        if self.load_one(&Key::Principal(owner.into())).await?.is_none() {
            return Err(CommandError::NoPrincipal(owner.into()));
        }
        let (mut secret, mut name) = ([0; 32], [0; 8]);
        self.inner.entropy.fill(&mut secret);
        self.inner.entropy.fill(&mut name);
        let name = ota_core::number::KeyId(name).to_string();
        let token = Token {
            principal: owner.into(),
            secret: Sha256Digest(sha256(&[b"ota/v1/token/", &secret])),
            created: self.now(),
            expires,
        };
        self.command(|| async {
            let mut changes = Changes::default();
            let key = Key::Token(name.as_str().into());
            changes.write(key, Version(0), None, Some(Record::Token(token.clone())));
            self.audit(&mut changes, &permit, "token.create", &name, detail(&[("principal", owner)]));
            Ok((changes, ()))
        })
        .await?;
        Ok((name, secret))
    }

    /// Takes a token away.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn remove_token(&self, by: &Principal, name: &str) -> Result<(), CommandError> {
        let permit = permit(by, Action::KeepPeople, Scope::Installation)?;
        self.command(|| async {
            let key = Key::Token(name.into());
            let mut changes = Changes::default();
            if let Some(Stored { version, record }) = self.load_one(&key).await? {
                changes.write(key, version, Some(record), None);
            }
            self.audit(&mut changes, &permit, "token.remove", name, detail(&[]));
            Ok((changes, ()))
        })
        .await
    }

    /// Whose token this is, if it is good: the principal as it is recorded now.
    ///
    /// # Errors
    /// [`CommandError::Store`].
    pub async fn authenticate(
        &self,
        name: &str,
        secret: &[u8; 32],
    ) -> Result<Option<Principal>, CommandError> {
        let Some(Stored { record: Record::Token(token), .. }) =
            self.load_one(&Key::Token(name.into())).await?
        else {
            return Ok(None);
        };
        // The hash of a long random secret: what the time of comparing tells is of no use.
        let is_good = token.secret.0 == sha256(&[b"ota/v1/token/", secret])
            && token.expires.is_none_or(|expires| self.now() < expires);
        if !is_good {
            return Ok(None);
        }
        Ok(match self.load_one(&Key::Principal(token.principal.clone())).await? {
            Some(Stored { record: Record::Principal(record), .. }) => {
                Some(Principal::from_record(token.principal, &record))
            }
            _ => None,
        })
    }

    /// Entries of the audit chain, for export.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn audit_entries(
        &self,
        by: &Principal,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, CommandError> {
        permit(by, Action::ReadAudit, Scope::Installation)?;
        Ok(self.inner.store.audit(from, limit).await?)
    }

    /// Walks the whole audit chain. `known` is a head that was kept elsewhere: it must still be in its place.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn verify_audit(
        &self,
        by: &Principal,
        known: Option<(u64, AuditHash)>,
    ) -> Result<AuditCheck, CommandError> {
        permit(by, Action::ReadAudit, Scope::Installation)?;
        let (mut next, mut head) = (1, AuditHash::default());
        loop {
            let entries = self.inner.store.audit(next, 512).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let is_known = known.is_none_or(|(at, hash)| at != entry.sequence || hash == entry.hash);
                if entry.sequence != next || entry.previous != head || !entry.is_intact() || !is_known {
                    return Ok(AuditCheck::Broken { sequence: next });
                }
                head = entry.hash;
                next += 1;
            }
        }
        if let Some((at, _)) = known.filter(|(at, _)| *at >= next) {
            return Ok(AuditCheck::Broken { sequence: at });
        }
        Ok(AuditCheck::Intact { entries: next - 1, head })
    }
}
