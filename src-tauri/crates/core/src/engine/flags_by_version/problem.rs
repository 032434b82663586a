//! Where a version of an engine lacks what a plan needs.

use super::{FlagTable, Version, first_with};

/// What a version cannot be told, or is told in another way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagProblem {
    /// It lacks a flag (or a value of it), and nothing else says the same.
    #[error("{engine} has no {flag}, so {without}{}.", since(first.as_ref()))]
    Missing {
        /// The engine and its version, in words.
        engine: String,
        /// The flag, with its value where that is what is missing.
        flag: String,
        /// What cannot be had, in words.
        without: &'static str,
        /// The first published version with it that is described here.
        first: Option<Version>,
    },
    /// It lacks a flag, and another says the same.
    #[error("{engine} has no {flag}; {instead} says the same here.")]
    Instead {
        /// The engine and its version, in words.
        engine: String,
        /// The flag that it lacks.
        flag: String,
        /// The flag used in its place.
        instead: String,
    },
    /// The engine has nothing of the kind in any version.
    #[error("{engine} {what}.")]
    Never {
        /// The engine and its version, in words.
        engine: String,
        /// What it does instead.
        what: String,
    },
}

fn since(first: Option<&Version>) -> String {
    first.map_or_else(String::new, |version| format!("; of the versions described here {version} is the first with it"))
}

impl FlagProblem {
    /// That `table` lacks a flag, or that value of it.
    pub(crate) fn missing(table: &FlagTable, flag: &str, value: Option<&str>, without: &'static str) -> Self {
        let first = first_with(table.engine, flag, value);
        let flag = value.map_or_else(|| flag.to_owned(), |value| format!("{flag} {value}"));
        Self::Missing { engine: table.words(), flag, without, first }
    }

    /// Whether the plan cannot be had with this version.
    #[must_use]
    pub const fn prevents(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}
