//! How people come in and how that ends: passwords, sessions, and invitations to set a password.
//!
//! Whoever signs in with a password gets a random secret that stands for it from then on; the store keeps its hash only.
//! A new password ends every session that the old one began.

use core::cmp::Reverse;

use ota_core::fleet::records::{PrincipalRecord, Token, TokenKind};
use ota_core::fleet::{Key, Record, Stored, Version};
use ota_core::time::{Millis, Timestamp};

use super::people::{IssuedToken, NewToken, is_good};
use super::{CommandError, detail};
use crate::engine::Changes;
use crate::rules::password::{self, PasswordError};
use crate::rules::permission::{Permit, Principal, permit_about};
use crate::server::Server;
use crate::server::passwords::SALT_BYTES;

/// How long a session lasts: a long working day, whether it is used or not.
pub const SESSION_LIFE: Millis = Millis(12 * 3_600_000);
/// How long an invitation to set a password is good for.
pub const INVITATION_LIFE: Millis = Millis(24 * 3_600_000);
/// Sessions of one person at once; a new one ends the oldest.
const SESSIONS_MAX: usize = 20;
/// Longest text about a session's browser, in bytes.
const TITLE_BYTES_MAX: usize = 200;

/// Somebody as loaded.
struct Person {
    version: Version,
    record: PrincipalRecord,
}

impl Server {
    /// Somebody as recorded here, for those whom somebody else has authenticated; `None` if nobody has this name.
    ///
    /// # Errors
    /// [`CommandError::Store`].
    pub(crate) async fn known(&self, name: &str) -> Result<Option<Principal>, CommandError> {
        Ok(match self.load_one(&Key::Principal(name.into())).await? {
            Some(Stored { record: Record::Principal(record), .. }) => {
                Some(Principal::from_record(name, &record))
            }
            _ => None,
        })
    }

    /// Begins a session for whoever knows the password; `None` for a wrong one, a name that is not known, somebody who is
    /// disabled or has no password. All of these take the same time.
    ///
    /// # Errors
    /// [`CommandError::Busy`] if too many sign in at once.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &str,
        title: &str,
    ) -> Result<Option<(Principal, IssuedToken)>, CommandError> {
        let new =
            NewToken { title: one_line(title), expires: Some(self.now().plus(SESSION_LIFE)), roles: None };
        self.enter(name, password, TokenKind::Session, "session.begin", new).await
    }

    /// Makes a token for the calls of one's own programs, by password; `None` as for [`sign_in`](Self::sign_in).
    ///
    /// # Errors
    /// [`CommandError::Busy`] if too many sign in at once.
    pub async fn create_own_token(
        &self,
        name: &str,
        password: &str,
        new: NewToken,
    ) -> Result<Option<IssuedToken>, CommandError> {
        let entered = self.enter(name, password, TokenKind::Api, "token.create", new).await?;
        Ok(entered.map(|(_, issued)| issued))
    }

    async fn enter(
        &self,
        name: &str,
        password: &str,
        kind: TokenKind,
        action: &str,
        new: NewToken,
    ) -> Result<Option<(Principal, IssuedToken)>, CommandError> {
        let Some(person) = self.who_knows(name, password).await? else { return Ok(None) };
        let principal = Principal::from_record(name, &person.record);
        let permit = permit_about(&principal, name)?;
        let (issued, token) = self.issue(name, kind, new);
        self.command(|| async {
            let mut changes = Changes::default();
            // A password that was changed meanwhile lets nobody in.
            changes.rely(Key::Principal(name.into()), person.version);
            self.put_token(&mut changes, &permit, action, &issued, &token);
            let stale = stale(self.tokens_of(name).await?, self.now());
            for (name, (version, token)) in stale {
                changes.write(Key::Token(name), version, Some(Record::Token(token)), None);
            }
            Ok((changes, ()))
        })
        .await?;
        Ok(Some((principal, issued)))
    }

    /// Whose session this is, if it still lasts.
    ///
    /// # Errors
    /// [`CommandError::Store`].
    pub async fn session(&self, name: &str, secret: &[u8; 32]) -> Result<Option<Principal>, CommandError> {
        let holder = self.holder(TokenKind::Session, name, secret).await?;
        Ok(holder.filter(|(_, record)| !record.disabled).map(|(principal, _)| principal))
    }

    /// Makes an invitation: whoever has it sets the password of a principal, once. It ends those made before.
    ///
    /// # Errors
    /// [`CommandError::NoPrincipal`].
    pub async fn invite(&self, by: &Principal, name: &str) -> Result<IssuedToken, CommandError> {
        let permit = permit_about(by, name)?;
        let new = NewToken { expires: Some(self.now().plus(INVITATION_LIFE)), ..NewToken::default() };
        let (issued, token) = self.issue(name, TokenKind::Invitation, new);
        self.command(|| async {
            let person = self.person(name).await?.ok_or_else(|| CommandError::NoPrincipal(name.into()))?;
            let mut changes = Changes::default();
            changes.rely(Key::Principal(name.into()), person.version);
            let earlier = self.tokens_of(name).await?;
            drop_tokens(&mut changes, earlier, |token| token.kind == TokenKind::Invitation);
            self.put_token(&mut changes, &permit, "person.invite", &issued, &token);
            Ok((changes, ()))
        })
        .await?;
        Ok(issued)
    }

    /// Whom an invitation is for, if it is still good.
    ///
    /// # Errors
    /// [`CommandError::Store`].
    pub async fn invited(&self, name: &str, secret: &[u8; 32]) -> Result<Option<Principal>, CommandError> {
        Ok(self.holder(TokenKind::Invitation, name, secret).await?.map(|(principal, _)| principal))
    }

    /// Sets a password by an invitation, which is used up; the name of whose it is now. `None` if it is not good (any more).
    ///
    /// # Errors
    /// [`CommandError::Password`]: the invitation is still good.
    pub async fn accept_invitation(
        &self,
        invitation: &str,
        secret: &[u8; 32],
        password: &str,
    ) -> Result<Option<Principal>, CommandError> {
        let Some(principal) = self.invited(invitation, secret).await? else { return Ok(None) };
        let permit = permit_about(&principal, principal.name())?;
        let used = Key::Token(invitation.into());
        let Some(Stored { version, .. }) = self.load_one(&used).await? else { return Ok(None) };
        // Two who use it at once: the second one finds another version and is sent away.
        match self.write_password(&permit, principal.name(), password, Some((used, version))).await {
            Err(CommandError::Conflict) => Ok(None),
            done => done.map(|()| Some(principal)),
        }
    }

    /// Changes one's own password; it takes the present one.
    ///
    /// # Errors
    /// [`CommandError::Password`].
    pub async fn change_password(
        &self,
        by: &Principal,
        present: &str,
        password: &str,
    ) -> Result<(), CommandError> {
        let permit = permit_about(by, by.name())?;
        if self.who_knows(by.name(), present).await?.is_none() {
            return Err(PasswordError::Wrong.into());
        }
        self.write_password(&permit, by.name(), password, None).await
    }

    /// Ends all sessions of a principal: one's own, or anybody's as one who keeps people. How many there were.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn end_sessions(&self, by: &Principal, name: &str) -> Result<usize, CommandError> {
        let permit = permit_about(by, name)?;
        self.command(|| async {
            let mut changes = Changes::default();
            let tokens = self.tokens_of(name).await?;
            let ended = drop_tokens(&mut changes, tokens, |token| token.kind == TokenKind::Session);
            self.audit(&mut changes, &permit, "session.end", name, detail(&[]));
            Ok((changes, ended))
        })
        .await
    }

    async fn person(&self, name: &str) -> Result<Option<Person>, CommandError> {
        Ok(match self.load_one(&Key::Principal(name.into())).await? {
            Some(Stored { version, record: Record::Principal(record) }) => Some(Person { version, record }),
            _ => None,
        })
    }

    async fn who_knows(&self, name: &str, password: &str) -> Result<Option<Person>, CommandError> {
        if password.len() > password::PASSWORD_BYTES_MAX {
            return Ok(None);
        }
        let person = self.person(name).await?.filter(|person| !person.record.disabled);
        let hash = person.as_ref().and_then(|person| person.record.password.clone());
        let knows = self.inner.passwords.verify(password, hash).await?;
        Ok(person.filter(|_| knows))
    }

    /// Writes a password, and ends everything that the one before it had begun.
    async fn write_password(
        &self,
        permit: &Permit,
        name: &str,
        password: &str,
        used: Option<(Key, Version)>,
    ) -> Result<(), CommandError> {
        password::check(name, password)?;
        let mut salt = [0; SALT_BYTES];
        self.inner.entropy.fill(&mut salt);
        let hash = self.inner.passwords.hash(password, salt).await?;
        self.command(|| async {
            let Person { version, record } =
                self.person(name).await?.ok_or_else(|| CommandError::NoPrincipal(name.into()))?;
            let after = PrincipalRecord { password: Some(hash.clone()), ..record.clone() };
            let mut changes = Changes::default();
            let key = Key::Principal(name.into());
            changes.write(key, version, Some(Record::Principal(record)), Some(Record::Principal(after)));
            if let Some((used, version)) = &used {
                changes.rely(used.clone(), *version);
            }
            let tokens = self.tokens_of(name).await?;
            drop_tokens(&mut changes, tokens, |token| token.kind != TokenKind::Api);
            self.audit(&mut changes, permit, "password.set", name, detail(&[]));
            Ok((changes, ()))
        })
        .await
    }
}

/// Takes away those tokens that are meant. How many that were.
fn drop_tokens(
    changes: &mut Changes,
    tokens: Vec<(Box<str>, (Version, Token))>,
    is_meant: impl Fn(&Token) -> bool,
) -> usize {
    let mut dropped = 0;
    for (name, (version, token)) in tokens.into_iter().filter(|(_, (_, token))| is_meant(token)) {
        changes.write(Key::Token(name), version, Some(Record::Token(token)), None);
        dropped += 1;
    }
    dropped
}

/// What a new session takes the place of: whatever has expired, and the oldest sessions beyond the limit.
fn stale(mut tokens: Vec<(Box<str>, (Version, Token))>, now: Timestamp) -> Vec<(Box<str>, (Version, Token))> {
    // Newest first.
    tokens.sort_by_key(|(_, (_, token))| Reverse(token.created));
    let mut sessions = 0;
    tokens.retain(|(_, (_, token))| {
        let is_session = token.kind == TokenKind::Session;
        sessions += usize::from(is_session);
        !is_good(token, now) || (is_session && sessions >= SESSIONS_MAX)
    });
    tokens
}

/// A text about a browser that a page and a log can hold.
fn one_line(text: &str) -> Box<str> {
    let mut line: String = text.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=TITLE_BYTES_MAX.min(line.len())).rev().find(|end| line.is_char_boundary(*end));
    line.truncate(end.unwrap_or(0));
    line.into()
}
