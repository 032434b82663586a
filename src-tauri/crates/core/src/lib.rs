//! What DualGPUOptimizer knows, without touching the world.
//!
//! Invariants, each held by a test in `tests/it/tidy.rs`: this crate reads no file, no clock and no environment variable,
//! starts no thread and no process, and depends on no other crate of ours. Time, samples and file headers arrive as
//! arguments. Hardware that cannot answer is a [`reading::Reading`], not an error.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod card;
pub mod command;
pub mod engine;
pub mod error;
pub mod gpu;
pub mod history;
pub mod model;
pub mod plan;
pub mod reading;
pub mod session;
pub mod settings;
pub mod speed;
pub mod time;
pub mod units;
