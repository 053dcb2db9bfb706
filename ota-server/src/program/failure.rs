//! Why the program ends without having done what was asked: one message, and a way out.

use core::fmt;

use crate::http::{Problem, chain};

/// Why the program ends without having done what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    way_out: String,
    exit_code: u8,
    /// The kind of the problem that the server has told, if it was one.
    kind: Option<Box<str>>,
}

impl Failure {
    /// A failure; `way_out` says what to do.
    pub fn new(message: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { message: message.into(), way_out: way_out.into(), exit_code: 1, kind: None }
    }

    /// A failure with its cause and everything behind that.
    pub fn caused(
        message: impl fmt::Display,
        by: &dyn core::error::Error,
        way_out: impl Into<String>,
    ) -> Self {
        Self::new(format!("{message}: {}", chain(by)), way_out)
    }

    /// With another exit code than 1.
    #[must_use]
    pub(super) fn with_exit_code(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }

    /// Whether the server has told a problem of this kind: the last part of its type.
    pub(super) fn is_problem(&self, slug: &str) -> bool {
        self.kind.as_deref().and_then(|kind| kind.rsplit(':').next()) == Some(slug)
    }

    /// What the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let failure = Self::new(format!("{} ({})", problem.detail, problem.title), problem.what_to_do);
        Self { kind: Some(problem.kind.into()), ..failure }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.way_out.is_empty() { Ok(()) } else { write!(f, "\n  {}", self.way_out) }
    }
}

impl core::error::Error for Failure {}
