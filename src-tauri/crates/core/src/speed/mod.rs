//! How fast a placement runs: from bytes read, operations done and links crossed to tokens per second.
//!
//! Times of a decode step add up over the units (layers, then the output) and the crossings between GPUs, so the planner can
//! search over [`Costs`] and the whole is still what [`Predicted`] says.

mod calibration;
mod card;
mod costs;
pub mod llama_cpp;
pub mod setting;
pub mod start;
pub mod told;
pub mod vllm;
pub mod work;

pub use calibration::Calibration;
pub use card::{CardSpeed, Link, MemoryKind};
pub use costs::{Costs, StageCosts};
pub use setting::{Build, Setting};
pub use work::Work;

use serde::{Deserialize, Serialize};

/// A predicted rate with its uncertainty: nine of ten measured values are expected from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Predicted {
    /// The most likely value, tokens per second.
    pub value: f64,
    /// Lower end, tokens per second.
    pub low: f64,
    /// Upper end, tokens per second.
    pub high: f64,
}
