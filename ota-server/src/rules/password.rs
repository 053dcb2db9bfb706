//! Which passwords people may have: long ones. What is in them is their own affair (NIST SP 800-63B, section 3.1.1).

/// Fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Most bytes of a password: enough for any sentence, and no work for the hash.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// A password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// It is too short.
    #[error("a password has at least {PASSWORD_CHARS_MIN} characters")]
    TooShort,
    /// It is too long.
    #[error("a password has at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// It can be guessed from the name.
    #[error("a password must be more than the name, or one character again and again")]
    Obvious,
    /// The present password, which allows a change, is wrong.
    #[error("the present password is not right")]
    Wrong,
}

/// Checks the password that somebody wants to have.
///
/// # Errors
/// [`PasswordError`] says what is wrong with it.
pub fn check(name: &str, password: &str) -> Result<(), PasswordError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(PasswordError::TooShort);
    }
    let lower = password.to_lowercase();
    // What is left without the name is all that must be guessed.
    let rest = if name.is_empty() { lower } else { lower.replace(&name.to_lowercase(), "") };
    let first = rest.chars().next();
    if rest.chars().count() < 4 || rest.chars().all(|c| Some(c) == first) {
        return Err(PasswordError::Obvious);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_passwords_are_taken_whatever_is_in_them() {
        for good in ["correct horse battery", "ünïcödé-ïs-fïne", "            x y z", &"ab".repeat(128)]
        {
            assert_eq!(check("ann", good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn short_endless_and_obvious_passwords_are_refused() {
        assert_eq!(check("ann", "short"), Err(PasswordError::TooShort));
        assert_eq!(check("ann", &"ab".repeat(129)), Err(PasswordError::TooLong));
        assert_eq!(check("ann", "xxxxxxxxxxxx"), Err(PasswordError::Obvious));
        assert_eq!(check("administrator", "Administrator"), Err(PasswordError::Obvious));
        assert_eq!(check("ann", "annannannann1"), Err(PasswordError::Obvious));
    }
}
