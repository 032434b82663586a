//! Everything the engine allocates for a model and flags, in one place.

use crate::engine::llama_cpp::compute;
use crate::engine::llama_cpp::flags::Flags;
use crate::engine::llama_cpp::host_only::{settle_on_host, without_gpu_flags};
use crate::engine::llama_cpp::kv::{kv_cache, output_buffer};
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::settle;
use crate::engine::llama_cpp::settled::Settled;
use crate::engine::llama_cpp::weights::weights;
use crate::model::ModelFacts;

/// Bytes on one GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuBytes {
    /// Weights, output part included.
    pub weights: u64,
    /// The output part of the weights.
    pub output: u64,
    /// KV cache.
    pub kv_cache: u64,
    /// Compute buffer.
    pub compute: u64,
}

/// Bytes on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostBytes {
    /// Weights.
    pub weights: u64,
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

/// The exact layout of a start.
///
/// # Errors
/// Whatever the engine refuses, and models whose memory is not described here.
pub fn layout(model: &ModelFacts, flags: &Flags) -> Result<Layout, Refused> {
    let host_only = flags.devices.is_empty().then(|| without_gpu_flags(flags));
    let flags = host_only.as_ref().unwrap_or(flags);
    let settled = if host_only.is_some() { settle_on_host(model, flags)? } else { settle(model, flags)? };
    let weights = weights(model, flags, &settled)?;
    let kv = kv_cache(model, flags, &settled);
    let compute = compute::buffers(model, flags, &settled).map_err(Refused::compute)?;
    let devices = (0..flags.devices.len())
        .map(|device| GpuBytes {
            weights: weights.devices[device],
            output: weights.output[device],
            kv_cache: kv.devices[device],
            compute: compute.devices.get(device).copied().unwrap_or(0),
        })
        .collect();
    let host = HostBytes {
        weights: weights.host,
        kv_cache: kv.host,
        compute: compute.host,
        output: output_buffer(model, flags, &settled),
    };
    Ok(Layout { settled, devices, host })
}
