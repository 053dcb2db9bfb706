//! Hashing passwords with Argon2id, a few at a time: each hash takes 19 MiB and some tens of milliseconds on purpose.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::CommandError;

/// Hashes at once: what a sign-in storm can take of processor and memory.
const HASHES_AT_ONCE: usize = 2;
/// How many may wait for their turn; further ones are sent away.
const WAITING_MAX: usize = 32;
/// Bytes of a salt.
pub(super) const SALT_BYTES: usize = 16;

/// The turns at the hash.
pub(super) struct Passwords {
    room: Semaphore,
    turns: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { room: Semaphore::new(WAITING_MAX), turns: Semaphore::new(HASHES_AT_ONCE) }
    }
}

impl Passwords {
    /// The PHC text of a password under a fresh salt.
    pub(super) async fn hash(
        &self,
        password: &str,
        salt: [u8; SALT_BYTES],
    ) -> Result<Box<str>, CommandError> {
        let password = password.to_owned();
        let hash = self.in_turn(move || {
            let hash: Result<argon2::PasswordHash, _> =
                Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
            hash.map(|hash| hash.to_string().into_boxed_str())
        });
        // The parameters are ours and the password is bounded, so only memory can be missing.
        hash.await?.map_err(|_| CommandError::Busy)
    }

    /// Whether a password belongs to a hash. Without a hash it takes as long, and the answer is no: nobody learns from the
    /// time whether a name is known.
    pub(super) async fn verify(&self, password: &str, hash: Option<Box<str>>) -> Result<bool, CommandError> {
        let Some(hash) = hash else {
            self.hash(password, [0; SALT_BYTES]).await?;
            return Ok(false);
        };
        let password = password.to_owned();
        self.in_turn(move || Argon2::default().verify_password(password.as_bytes(), &*hash).is_ok()).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CommandError> {
        let _place = self.room.try_acquire().map_err(|_| CommandError::Busy)?;
        let _turn = self.turns.acquire().await.map_err(|_| CommandError::Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| CommandError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_by_its_hash_and_another_is_not() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery", [7; SALT_BYTES]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse battery", Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horse batterz", Some(hash)).await.unwrap());
        assert!(!passwords.verify("correct horse battery", None).await.unwrap());
        assert!(!passwords.verify("x", Some("no hash".into())).await.unwrap());
    }

    #[tokio::test]
    async fn a_storm_of_sign_ins_is_sent_away() {
        let passwords = Passwords::default();
        let _places = passwords.room.acquire_many(u32::try_from(WAITING_MAX).unwrap()).await.unwrap();
        assert!(matches!(passwords.verify("x", None).await, Err(CommandError::Busy)));
    }
}
