//! What the engine makes of its flags before it allocates anything: context, batches, streams, and where each layer goes.

use crate::engine::llama_cpp::flags::Place;

/// Flags after the engine's own defaults, rounding and rules; the input of every memory rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// Number of GPUs that the engine uses (1 under `-sm none`). [`Place::Gpu`] still counts through `Flags::devices`:
    /// under `-sm none` it is the main GPU's position there.
    pub devices: usize,
    /// Context over all slots, tokens, a multiple of 256.
    pub context: u64,
    /// Context per stream of the cache, tokens.
    pub context_per_stream: u64,
    /// Streams of the cache: 1 when unified, else the number of slots.
    pub streams: u64,
    /// Slots.
    pub parallel: u64,
    /// Logical batch after clamping.
    pub batch: u64,
    /// Micro-batch after clamping.
    pub micro_batch: u64,
    /// Whether flash attention runs.
    pub flash_attention: bool,
    /// Where each unit goes: the layers in order, then the output. Under `-sm tensor` every GPU has a part of each unit;
    /// this then says GPU 0.
    pub units: Vec<Place>,
    /// Pipeline copies of each split's inputs: 4 or 1.
    pub copies: u64,
}
