//! One model under fixed flags, of which only the cuts between GPUs move: the bytes of each GPU for any cuts, in microseconds.
//!
//! Weights and cache of a run of units are differences of sums. A compute buffer depends on few things about the run (see
//! `compute::shares`) and is worked out once for each kind of run. So a question asked before in kind costs no allocation
//! and no graph. Exact as `layout` is: held against it in `tests/evaluator.rs`. Absent: the host's bytes, and starts with a
//! part of the model in system RAM.

use crate::engine::llama_cpp::compute::Shares;
use crate::engine::llama_cpp::flags::{Flags, SplitMode};
use crate::engine::llama_cpp::kv::cache_before;
use crate::engine::llama_cpp::layout::GpuBytes;
use crate::engine::llama_cpp::prepared::Prepared;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::{all_on_gpus, cumulate_shares, device_of, overridden, settle_as};
use crate::engine::llama_cpp::units::UnitWeights;

/// Bytes on each GPU for a fixed model and fixed flags, cut by cut.
#[derive(Debug)]
pub struct Evaluator<'a> {
    flags: Flags,
    weights: &'a UnitWeights,
    /// Cache of all layers before each unit, bytes.
    cache_before: Vec<u64>,
    compute: Shares<'a>,
    /// Scratch: cumulated shares of the GPUs as the engine computes them.
    shares: Vec<f32>,
    /// Scratch: one past the last unit of each GPU.
    ends: Vec<usize>,
    /// Scratch: compute buffers.
    buffers: Vec<u64>,
    /// The answer.
    bytes: Vec<GpuBytes>,
}

impl<'a> Evaluator<'a> {
    /// Prepares for flags whose `tensor_split` is left open.
    ///
    /// # Errors
    /// [`Refused::MoreThanCuts`] unless every layer and its cache lies on GPUs, layer by layer; whatever the engine refuses;
    /// models whose memory is not described.
    pub fn new(prepared: &'a Prepared<'_>, flags: &Flags) -> Result<Self, Refused> {
        let arch = prepared.known_caches()?;
        let graphs = prepared.graphs()?;
        let by_layer = flags.split_mode == SplitMode::Layer || flags.devices.len() == 1;
        let by_layer = by_layer && matches!(flags.split_mode, SplitMode::None | SplitMode::Layer);
        if !by_layer
            || !flags.kv_offload
            || overridden(flags)
            || !flags.adapters.is_empty()
            || !all_on_gpus(arch.layer_count, flags)
        {
            return Err(Refused::MoreThanCuts);
        }
        // Nothing of it but the places of units depends on the split, and those are not taken from here.
        let settled = settle_as(prepared.model(), arch, Some(graphs), flags)?;
        let gpus = flags.devices.len();
        Ok(Self {
            weights: prepared.weights()?,
            cache_before: cache_before(arch, flags, &settled),
            compute: Shares::new(graphs, flags, &settled).map_err(Refused::compute)?,
            flags: flags.clone(),
            shares: Vec::with_capacity(gpus),
            ends: Vec::with_capacity(gpus),
            buffers: vec![0; gpus],
            bytes: vec![GpuBytes::default(); gpus],
        })
    }

    /// Bytes on each GPU, in the order of `Flags::devices`, when `--tensor-split` holds these units: rounded as the engine
    /// rounds them. A GPU without units has none.
    ///
    /// # Errors
    /// Graphs that no device can run.
    pub fn at(&mut self, units: &[u32]) -> Result<&[GpuBytes], Refused> {
        self.cut(units)?;
        self.compute.buffers(&self.ends, &mut self.buffers).map_err(Refused::compute)?;
        let mut begin = 0;
        for ((bytes, &end), &compute) in self.bytes.iter_mut().zip(&self.ends).zip(&self.buffers) {
            *bytes = if end == begin {
                GpuBytes::default()
            } else {
                GpuBytes {
                    weights: self.weights.between(begin, end),
                    output: self.weights.output_before(end),
                    experts: self.weights.experts_before[end] - self.weights.experts_before[begin],
                    kv_cache: self.cache_before[end] - self.cache_before[begin],
                    compute,
                }
            };
            begin = end;
        }
        Ok(&self.bytes)
    }

    /// Weights (but for rope factors) and cache of all units before each unit, bytes.
    pub(crate) fn fixed_before(&self) -> impl Iterator<Item = u64> + '_ {
        self.weights.before.iter().zip(&self.cache_before).map(|(weights, cache)| weights.saturating_add(*cache))
    }

    /// Where the engine cuts for these shares.
    fn cut(&mut self, units: &[u32]) -> Result<(), Refused> {
        let count = self.weights.count();
        cumulate_shares(&self.flags, units.iter().map(|&units| as_share(units)), &mut self.shares)?;
        self.ends.clear();
        let mut device = 0;
        for unit in 0..count {
            device = device_of(unit, count, &self.shares, device);
            while self.ends.len() < device {
                self.ends.push(unit);
            }
        }
        self.ends.resize(self.flags.devices.len(), count);
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "the flag is read as f32; numbers of units are exact to 2^24")]
fn as_share(units: u32) -> f32 {
    units as f32
}
