//! What every source of frames does, and how it fails.

use dualgpuopt_core::gpu::{Frame, Machine};
use dualgpuopt_core::time::Stamp;

/// Most GPUs of one source; further ones are named as a problem in each frame.
pub const GPUS_MAX: usize = 16;

/// Something that describes a machine and reads its GPUs.
pub trait Source: Send {
    /// The machine as it is now.
    ///
    /// # Errors
    /// Where the source cannot describe a machine at all.
    fn machine(&mut self) -> Result<Machine, SourceError>;

    /// One frame. A GPU that cannot answer is in it, with the reason; polling itself never fails, and returns in
    /// bounded time.
    fn poll(&mut self, at: Stamp) -> Frame;
}

/// Why a source cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is no such source on this machine.
    #[error("{message}")]
    Absent {
        /// What is missing, one sentence.
        message: String,
        /// What was looked for, and what came of each.
        looked_for: Vec<String>,
    },
    /// It is there, but refused; another try may succeed.
    #[error("{message}")]
    Failed {
        /// What happened and what the user can do.
        message: String,
    },
    /// The simulator has no such card.
    #[error("There is no simulated card named \"{name}\". Known cards: {}.", known.join(", "))]
    UnknownCard {
        /// What was asked for.
        name: String,
        /// Short names of all cards.
        known: Vec<String>,
    },
    /// More cards than a source may have.
    #[error("{asked} simulated cards were asked for; at most {GPUS_MAX} are possible.")]
    TooManyCards {
        /// How many were asked for.
        asked: usize,
    },
    /// The time between frames is out of range.
    #[error("A frame every {interval_ms} ms is out of range: {min_ms} to {max_ms} ms are possible.")]
    BadInterval {
        /// What was asked for.
        interval_ms: u128,
        /// The shortest possible.
        min_ms: u128,
        /// The longest possible.
        max_ms: u128,
    },
}
