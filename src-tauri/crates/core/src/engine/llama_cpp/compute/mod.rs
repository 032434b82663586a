//! Compute buffers: what the engine's scheduler allocates beside weights and cache, exactly.
//!
//! The engine builds the graph of a full micro-batch and of one token per slot, assigns every op to a GPU or the CPU, copies
//! what crosses, and runs its allocator without touching memory. So does this: `dense` (with `blocks` and `attention`) describes
//! the graph, `assign`, `split` and `fusion` schedule it, `alloc` measures it, `fold` leaves out what repeats. Only `dense` and
//! `model` know an architecture.
//!
//! Source: llama.cpp, tree of 6 October 2026 (package build 11434); held byte for byte in `tests/compute_truth.rs`. Absent:
//! sliding windows, recurrent layers, latent attention, embedding models; buffers that grow while the engine runs.

mod alloc;
mod assign;
mod attention;
mod blocks;
mod build;
mod dense;
mod element;
mod fold;
mod fusion;
mod graph;
mod model;
mod setting;
mod split;
mod support;
#[cfg(test)]
mod tests;
mod weights;

use crate::engine::llama_cpp::compute::build::Builder;
use crate::engine::llama_cpp::compute::fold::Folded;
use crate::engine::llama_cpp::compute::setting::{Batch, Setting};
use crate::engine::llama_cpp::flags::Flags;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settled::Settled;
use crate::model::ModelFacts;

pub use crate::engine::llama_cpp::compute::model::ComputeModel;

/// Compute buffers of one start, bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeBuffers {
    /// Per GPU, in the order of `Flags::devices`; zero where nothing is computed.
    pub devices: Vec<u64>,
    /// On the host (pinned).
    pub host: u64,
}

/// Why compute buffers cannot be told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unplanned {
    /// No graph is described for the architecture.
    #[error("the compute graph of architecture \"{arch}\" is not described yet; described are {known}")]
    Architecture {
        /// `general.architecture`.
        arch: String,
        /// Those that are, for the message.
        known: String,
    },
    /// A combination that no graph is described for.
    #[error("compute buffers are not described for {what}")]
    Unusual {
        /// What, in words.
        what: String,
    },
    /// A tensor that the graph has no use for, or of an unknown type.
    #[error("tensor \"{name}\" is not part of the compute graph as described, or has an unknown element type")]
    Tensor {
        /// Its name.
        name: String,
    },
    /// A tensor that the graph needs.
    #[error("tensor \"{name}\" is missing; the architecture's compute graph needs it")]
    Missing {
        /// Its name without `.weight`.
        name: String,
    },
    /// A tensor of another shape than heads and widths say.
    #[error("tensor \"{name}\" has rows of {} values, {} of them; heads and widths say {row}{}", found[0], found[1],
            rows.map_or(String::new(), |rows| format!(" and {rows}")))]
    Shape {
        /// Its name without `.weight`.
        name: String,
        /// Values per row, and rows.
        found: [u64; 2],
        /// Values per row that it must have.
        row: u64,
        /// Rows that it must have, where that is known.
        rows: Option<u64>,
    },
    /// The flags are refused.
    #[error(transparent)]
    Flags(#[from] Refused),
}

/// The compute buffers of a model started with `flags`.
///
/// # Errors
/// Models and flags whose graph is not described. Where many flags are tried on one model, keep a [`ComputeModel`].
pub fn buffers(model: &ModelFacts, flags: &Flags, settled: &Settled) -> Result<ComputeBuffers, Unplanned> {
    ComputeModel::new(model)?.buffers(flags, settled)
}

impl ComputeModel {
    /// The compute buffers of this model started with `flags`.
    ///
    /// # Errors
    /// Flags whose graph is not described.
    pub fn buffers(&self, flags: &Flags, settled: &Settled) -> Result<ComputeBuffers, Unplanned> {
        let set = Setting::new(self, flags, settled)?;
        let largest = self.largest(&set);
        let mut buffers = ComputeBuffers { devices: vec![0; flags.devices.len()], host: largest[usize::from(set.cpu)] };
        for (backend, gpus) in Setting::gpus(flags, settled).into_iter().enumerate() {
            for gpu in gpus {
                buffers.devices[gpu] = largest[backend];
            }
        }
        Ok(buffers)
    }

    /// The larger of both batches' buffers, by backend.
    fn largest(&self, set: &Setting) -> Vec<u64> {
        let folded = fold::folded(self, set);
        let mut largest = vec![0; usize::from(set.cpu) + 1];
        for batch in set.batches {
            let bytes = self.reserve(set, batch, &folded).unwrap_or_else(|| {
                let all = fold::unfolded(self);
                self.reserve(set, batch, &all).expect("a graph without seams is always measured")
            });
            for (buffer, bytes) in largest.iter_mut().zip(bytes) {
                *buffer = bytes.max(*buffer);
            }
        }
        largest
    }

    /// One batch's buffers, by backend; nothing where a fold hides something.
    fn reserve(&self, set: &Setting, batch: Batch, folded: &Folded) -> Option<Vec<u64>> {
        let mut graph = dense::dense(Builder::new(self, set, batch), &folded.layers);
        let schedule = split::schedule(&mut graph, set.cpu, set.copies, set.fuses);
        alloc::allocate(&graph, &schedule, set.cpu, &folded.seams)
    }
}
