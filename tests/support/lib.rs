//! What tests across crates share: where things lie, how the built command line is run, and what the machine runs.

#![expect(missing_docs, reason = "read by tests only")]
#![expect(clippy::disallowed_methods, reason = "tests start the built programs and write their own scratch files")]

pub mod cli;
pub mod nvml;
pub mod places;
pub mod processes;
