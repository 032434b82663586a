//! Everything the engine allocates for a model and flags, in one place.

use crate::engine::llama_cpp::compute::ComputeBuffers;
use crate::engine::llama_cpp::flags::Flags;
use crate::engine::llama_cpp::kv::KvCache;
use crate::engine::llama_cpp::prepared::Prepared;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settled::Settled;
use crate::engine::llama_cpp::weights::Weights;
use crate::model::ModelFacts;

/// Bytes on one GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuBytes {
    /// Weights, output part included.
    pub weights: u64,
    /// The output part of the weights.
    pub output: u64,
    /// Routed experts among the weights.
    pub experts: u64,
    /// KV cache.
    pub kv_cache: u64,
    /// Compute buffer.
    pub compute: u64,
}

impl GpuBytes {
    /// All parts together. The output part is among the weights.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.compute)
    }
}

/// Bytes on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostBytes {
    /// Weights.
    pub weights: u64,
    /// Routed experts among the weights.
    pub experts: u64,
    /// KV cache.
    pub kv_cache: u64,
    /// Compute buffer.
    pub compute: u64,
    /// Output buffer.
    pub output: u64,
}

/// What the engine makes of its flags, and what it then allocates.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Flags after the engine's rules.
    pub settled: Settled,
    /// Per GPU, in the order of `Flags::devices`.
    pub devices: Vec<GpuBytes>,
    /// The host.
    pub host: HostBytes,
}

/// What is known of a start, part by part. Weights and the places of layers are known for every model that the engine loads;
/// cache and compute buffers only where the architecture is described.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Flags after the engine's rules.
    pub settled: Settled,
    /// Weights.
    pub weights: Weights,
    /// KV cache and recurrent state, or why they are not known.
    pub kv_cache: Result<KvCache, Refused>,
    /// Compute buffers, or why they are not known.
    pub compute: Result<ComputeBuffers, Refused>,
    /// Output buffer on the host, bytes.
    pub output: u64,
}

/// Everything that can be told of a start. Where many starts of one model are asked about, keep a [`Prepared`].
///
/// # Errors
/// Whatever the engine refuses, and tensors that belong to no part of a model.
pub fn parts(model: &ModelFacts, flags: &Flags) -> Result<Parts, Refused> {
    Prepared::new(model)?.parts(flags)
}

/// The exact layout of a start. Where many starts of one model are asked about, keep a [`Prepared`].
///
/// # Errors
/// Whatever the engine refuses, and models whose memory is not described here.
pub fn layout(model: &ModelFacts, flags: &Flags) -> Result<Layout, Refused> {
    Prepared::new(model)?.layout(flags)
}

impl Layout {
    /// The parts, device by device, where all are known.
    pub(super) fn of(parts: Parts, devices: usize) -> Result<Self, Refused> {
        let Parts { settled, weights, kv_cache, compute, output } = parts;
        let (kv, compute) = (kv_cache?, compute?);
        let devices = (0..devices)
            .map(|device| GpuBytes {
                weights: weights.devices[device],
                output: weights.output[device],
                experts: weights.experts[device],
                kv_cache: kv.devices[device],
                compute: compute.devices.get(device).copied().unwrap_or(0),
            })
            .collect();
        let host = HostBytes {
            weights: weights.host,
            experts: weights.host_experts,
            kv_cache: kv.host,
            compute: compute.host,
            output,
        };
        Ok(Self { settled, devices, host })
    }
}
