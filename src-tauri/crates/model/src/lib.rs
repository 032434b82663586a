//! Reads what a model file says, never its weights.
//!
//! GGUF headers are untrusted input: every length is held against what remains of the file before it is used, every
//! collection has a named bound, and a fault names its place. Nothing here knows architectures or plans; the facts are
//! `dualgpuopt_core`'s.

#![forbid(unsafe_code)]

mod cache;
mod cursor;
mod error;
mod fault;
mod gguf;
mod shards;
mod table;
mod value;

pub use cache::{ModelCache, Probe, probe};
pub use error::ModelError;
pub use fault::Fault;
pub use shards::{SHARDS_MAX, TENSORS_MAX, read_header};
