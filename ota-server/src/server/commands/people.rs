//! Principals and their tokens, and the audit chain that all of this leaves.

use std::collections::BTreeMap;

use ota_core::fleet::records::{PrincipalRecord, RoleGrant, Token, TokenKind};
use ota_core::fleet::{AuditEntry, AuditHash, Index, IndexEntry, Key, Query, Record, Stored, Version};
use ota_core::number::Sha256Digest;
use ota_core::time::Timestamp;
use ota_core::trust::Key as TrustedKey;

use super::{CommandError, detail};
use crate::digest::sha256;
use crate::engine::Changes;
use crate::engine::catalog::scan_all;
use crate::rules::permission::{Action, Permit, Principal, Scope, permit, permit_about};
use crate::server::{Checkpoint, Server};

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewToken {
    /// What people call it.
    pub title: Box<str>,
    /// When it stops being good, if ever.
    pub expires: Option<Timestamp>,
    /// What it is limited to, within what its principal may do; `None` for no further limit.
    pub roles: Option<Vec<RoleGrant>>,
}

/// A token that was made. The secret is told here and never again.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// Its public half.
    pub name: String,
    /// Its secret half.
    pub secret: [u8; 32],
    /// When it stops being good, if ever.
    pub expires: Option<Timestamp>,
}

impl core::fmt::Debug for IssuedToken {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IssuedToken").field("name", &self.name).finish_non_exhaustive()
    }
}

fn hashed(secret: &[u8; 32]) -> Sha256Digest {
    Sha256Digest(sha256(&[b"ota/v1/token/", secret]))
}

pub(super) fn is_good(token: &Token, now: Timestamp) -> bool {
    token.expires.is_none_or(|expires| now < expires)
}

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
    /// Makes or changes a principal. Its password stays as it is, whatever the record says.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn set_principal(
        &self,
        by: &Principal,
        name: &str,
        record: PrincipalRecord,
    ) -> Result<(), CommandError> {
        self.write_principal(by, name, record, None).await
    }

    /// Changes a principal of this very version (0 for one that is not there yet): what somebody else changed meanwhile is
    /// not undone.
    ///
    /// # Errors
    /// [`CommandError::Changed`] if it has another version by now.
    pub async fn set_principal_of_version(
        &self,
        by: &Principal,
        name: &str,
        expected: Version,
        record: PrincipalRecord,
    ) -> Result<(), CommandError> {
        self.write_principal(by, name, record, Some(expected)).await
    }

    async fn write_principal(
        &self,
        by: &Principal,
        name: &str,
        record: PrincipalRecord,
        expected: Option<Version>,
    ) -> Result<(), CommandError> {
        let permit = permit(by, Action::KeepPeople, Scope::Installation)?;
        self.command(|| async {
            let key = Key::Principal(name.into());
            let mut after = PrincipalRecord { password: None, ..record.clone() };
            let (version, before) = match self.load_one(&key).await? {
                Some(Stored { version, record: Record::Principal(before) }) => {
                    after.password.clone_from(&before.password);
                    (version, Some(Record::Principal(before)))
                }
                _ => (Version(0), None),
            };
            if expected.is_some_and(|expected| expected != version) {
                return Err(CommandError::Changed);
            }
            let mut changes = Changes::default();
            changes.write(key, version, before, Some(Record::Principal(after)));
            self.audit(&mut changes, &permit, "principal.set", name, detail(&[("title", &record.title)]));
            Ok((changes, ()))
        })
        .await
    }

    /// Makes a token for the calls of a principal's programs. Its secret half is returned once and never kept.
    ///
    /// # Errors
    /// [`CommandError::NoPrincipal`].
    pub async fn create_token(
        &self,
        by: &Principal,
        owner: &str,
        new: NewToken,
    ) -> Result<IssuedToken, CommandError> {
        let permit = permit(by, Action::KeepPeople, Scope::Installation)?;
        if self.load_one(&Key::Principal(owner.into())).await?.is_none() {
            return Err(CommandError::NoPrincipal(owner.into()));
        }
        let (issued, token) = self.issue(owner, TokenKind::Api, new);
        self.command(|| async {
            let mut changes = Changes::default();
            self.put_token(&mut changes, &permit, "token.create", &issued, &token);
            Ok((changes, ()))
        })
        .await?;
        Ok(issued)
    }

    /// A token in the making.
    pub(super) fn issue(&self, owner: &str, kind: TokenKind, new: NewToken) -> (IssuedToken, Token) {
        let (mut secret, mut name) = ([0; 32], [0; 8]);
        self.inner.entropy.fill(&mut secret);
        self.inner.entropy.fill(&mut name);
        let token = Token {
            principal: owner.into(),
            secret: hashed(&secret),
            created: self.now(),
            expires: new.expires,
            kind,
            title: new.title,
            roles: new.roles,
        };
        let name = ota_core::number::KeyId(name).to_string();
        (IssuedToken { name, secret, expires: token.expires }, token)
    }

    pub(super) fn put_token(
        &self,
        changes: &mut Changes,
        permit: &Permit,
        action: &str,
        issued: &IssuedToken,
        token: &Token,
    ) {
        let key = Key::Token(issued.name.as_str().into());
        changes.write(key, Version(0), None, Some(Record::Token(token.clone())));
        let particulars = detail(&[("principal", &token.principal), ("title", &token.title)]);
        self.audit(changes, permit, action, &issued.name, particulars);
    }

    /// Takes a token away, or ends a session: one's own, or anybody's as one who keeps people.
    ///
    /// # Errors
    /// [`CommandError::NoToken`].
    pub async fn remove_token(&self, by: &Principal, name: &str) -> Result<(), CommandError> {
        self.command(|| async {
            let key = Key::Token(name.into());
            let Some(Stored { version, record: Record::Token(token) }) = self.load_one(&key).await? else {
                // Whoever may not know of others' tokens learns nothing from the difference.
                permit(by, Action::KeepPeople, Scope::Installation)?;
                return Err(CommandError::NoToken(name.into()));
            };
            let permit = permit_about(by, &token.principal)?;
            let particulars = detail(&[("principal", &token.principal)]);
            let mut changes = Changes::default();
            changes.write(key, version, Some(Record::Token(token)), None);
            self.audit(&mut changes, &permit, "token.remove", name, particulars);
            Ok((changes, ()))
        })
        .await
    }

    /// Somebody's tokens, sessions and invitations, by their public names; those that have expired are left out.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn tokens(&self, by: &Principal, owner: &str) -> Result<Vec<(Box<str>, Token)>, CommandError> {
        permit_about(by, owner)?;
        let all = self.tokens_of(owner).await?;
        let now = self.now();
        let good = all.into_iter().filter(|(_, stored)| is_good(&stored.1, now));
        Ok(good.map(|(name, (_, token))| (name, token)).collect())
    }

    pub(super) async fn tokens_of(
        &self,
        owner: &str,
    ) -> Result<Vec<(Box<str>, (Version, Token))>, CommandError> {
        let place = IndexEntry::new(Index::TokenPrincipal).text(owner);
        let all = scan_all(&self.inner.store, &Query::under(place)).await?;
        let token = |(key, stored): (Key, Stored)| match (key, stored.record) {
            (Key::Token(name), Record::Token(token)) => Some((name, (stored.version, token))),
            _ => None,
        };
        Ok(all.into_iter().filter_map(token).collect())
    }

    /// Whose token this is, if it is good for the calls of programs: the principal as it is recorded now, within the
    /// limits of the token.
    ///
    /// # Errors
    /// [`CommandError::Store`].
    pub async fn authenticate(
        &self,
        name: &str,
        secret: &[u8; 32],
    ) -> Result<Option<Principal>, CommandError> {
        Ok(self.holder(TokenKind::Api, name, secret).await?.map(|(principal, _)| principal))
    }

    /// Who holds this secret, if it is good for this very use.
    pub(super) async fn holder(
        &self,
        kind: TokenKind,
        name: &str,
        secret: &[u8; 32],
    ) -> Result<Option<(Principal, PrincipalRecord)>, CommandError> {
        let Some(Stored { record: Record::Token(token), .. }) =
            self.load_one(&Key::Token(name.into())).await?
        else {
            return Ok(None);
        };
        // The hash of a long random secret: what the time of comparing tells is of no use.
        if token.kind != kind || token.secret != hashed(secret) || !is_good(&token, self.now()) {
            return Ok(None);
        }
        Ok(match self.load_one(&Key::Principal(token.principal.clone())).await? {
            Some(Stored { record: Record::Principal(record), .. }) => {
                let principal = Principal::from_record(token.principal, &record);
                let principal = match &token.roles {
                    Some(roles) => principal.limited_to(roles),
                    None => principal,
                };
                Some((principal, record))
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
        self.walk_audit(&known.into_iter().collect()).await
    }

    /// Walks the whole audit chain and holds it to checkpoints that were kept elsewhere: each must be signed by one of
    /// the keys, and the entry that it names must still be there. So an end that was cut off shows, and a chain that was
    /// written anew.
    ///
    /// # Errors
    /// [`CommandError::Checkpoint`] for the first that none of the keys signed; other [`CommandError`]s.
    pub async fn verify_audit_checkpoints(
        &self,
        by: &Principal,
        checkpoints: &[Checkpoint],
        keys: &[TrustedKey<'_>],
    ) -> Result<AuditCheck, CommandError> {
        permit(by, Action::ReadAudit, Scope::Installation)?;
        let mut known = BTreeMap::new();
        for checkpoint in checkpoints {
            if !checkpoint.is_signed_by(keys) {
                return Err(CommandError::Checkpoint(checkpoint.sequence));
            }
            let earlier = known.insert(checkpoint.sequence, checkpoint.hash);
            if earlier.is_some_and(|hash| hash != checkpoint.hash) {
                return Ok(AuditCheck::Broken { sequence: checkpoint.sequence });
            }
        }
        self.walk_audit(&known).await
    }

    async fn walk_audit(&self, known: &BTreeMap<u64, AuditHash>) -> Result<AuditCheck, CommandError> {
        let (mut next, mut head) = (1, AuditHash::default());
        loop {
            let entries = self.inner.store.audit(next, 512).await?;
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                let is_known = known.get(&entry.sequence).is_none_or(|hash| *hash == entry.hash);
                if entry.sequence != next || entry.previous != head || !entry.is_intact() || !is_known {
                    return Ok(AuditCheck::Broken { sequence: next });
                }
                head = entry.hash;
                next += 1;
            }
        }
        if let Some((at, _)) = known.range(next..).next() {
            return Ok(AuditCheck::Broken { sequence: *at });
        }
        Ok(AuditCheck::Intact { entries: next - 1, head })
    }
}
