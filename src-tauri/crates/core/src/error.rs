//! The one error that leaves the product: what happened, and what the user can do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of error. A kind exists only where a host does something different for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A file or folder cannot be opened or read.
    FileUnreadable,
    /// The file is not a model we can read, or is damaged.
    ModelInvalid,
    /// The model is sound, but this version cannot plan it.
    ModelUnsupported,
    /// The request itself is wrong (a number out of range, an unknown GPU).
    BadRequest,
    /// No GPU source on this machine.
    NoGpus,
    /// The engine's program was not found or cannot be run.
    EngineMissing,
    /// The engine did not start, or ended before it was ready.
    EngineFailed,
    /// There is no such session.
    NoSession,
    /// Settings could not be read or written.
    Store,
    /// A defect of ours.
    Internal,
}

/// An error as the user meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct AppError {
    /// What kind.
    pub code: Code,
    /// One sentence: what happened, with what and where.
    pub message: String,
    /// What the user can do, one sentence; empty where there is nothing.
    pub hint: String,
    /// The chain of causes, for *copy details* and the log; may be empty.
    pub detail: String,
}

impl AppError {
    /// An error without hint and detail.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: String::new(), detail: String::new() }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// The same with the chain of causes below `error`.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        let mut chain = vec![error.to_string()];
        let mut next = error.source();
        while let Some(source) = next {
            chain.push(source.to_string());
            next = source.source();
        }
        self.detail = chain.join(": ");
        self
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.hint.is_empty() {
            write!(f, " {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for AppError {}
