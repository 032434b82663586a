//! A start without any GPU: every layer on the host.
//!
//! Settling knows GPUs only, so the start is settled with one that no layer goes to. Held against the real engine's own
//! log in `tests/it/verify.rs`.

use crate::engine::llama_cpp::arch::Arch;
use crate::engine::llama_cpp::compute::ComputeModel;
use crate::engine::llama_cpp::flags::{Device, Flags, SplitMode};
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::settle_as;
use crate::engine::llama_cpp::settled::Settled;
use crate::model::ModelFacts;

/// The flags that still mean something; the engine says that it ignores the others (`no usable GPU found`).
pub(super) fn without_gpu_flags(flags: &Flags) -> Flags {
    Flags {
        devices: Vec::new(),
        gpu_layers: Some(0),
        split_mode: SplitMode::Layer,
        tensor_split: Vec::new(),
        main_gpu: 0,
        ..flags.clone()
    }
}

/// What the engine makes of flags without GPUs.
pub(super) fn settle_on_host(
    model: &ModelFacts,
    arch: &Arch,
    graphs: Option<&ComputeModel>,
    flags: &Flags,
) -> Result<Settled, Refused> {
    let unused = Device { free: 1, capability: Device::CAPABILITY_ASSUMED };
    let settled = settle_as(model, arch, graphs, &Flags { devices: vec![unused], ..flags.clone() })?;
    Ok(Settled { devices: 0, ..settled })
}
