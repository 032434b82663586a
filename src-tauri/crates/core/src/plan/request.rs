//! A request's limits, and the engine flags that it stands for.

use std::collections::BTreeSet;

use crate::engine::llama_cpp::flags::{Device, Flags, SplitMode};
use crate::engine::llama_cpp::settle::DEVICES_MAX;
use crate::model::ModelFacts;
use crate::plan::error::RequestProblem;
use crate::plan::{CacheType, ContextWish, DeviceBudget, PlanMode, PlanRequest};

/// Most GPUs of one plan: the engine's own limit.
pub const GPUS_MAX: usize = DEVICES_MAX;
/// Most parallel sequences of one plan.
pub const PARALLEL_MAX: u32 = 64;
/// Smallest micro-batch, tokens. Below it llama.cpp computes weights in RAM on the CPU, and prefill crawls.
pub const MICRO_BATCH_MIN: u32 = 32;
/// Largest micro-batch, tokens.
pub const MICRO_BATCH_MAX: u32 = 4096;
/// Largest context that is counted, tokens; the longest published models end at 10 Mi.
pub const CONTEXT_MAX: u32 = 1 << 26;

/// Logical batch of llama-server without `-b`, tokens; a larger micro-batch raises it. Source: `common_params::n_batch`.
const BATCH: u32 = 2048;

/// Tokens of the logical batch (`-b`) that goes with a micro-batch.
#[must_use]
pub fn batch(micro_batch: u32) -> u32 {
    micro_batch.max(BATCH)
}

/// Everything that is wrong with a request for this model; empty when it can be planned.
pub(super) fn problems(model: &ModelFacts, request: &PlanRequest) -> Vec<RequestProblem> {
    let mut found = Vec::new();
    match request.devices.len() {
        0 => found.push(RequestProblem::NoGpus),
        1..=GPUS_MAX => {}
        given => found.push(RequestProblem::TooManyGpus { given }),
    }
    let mut seen = BTreeSet::new();
    for device in &request.devices {
        if !seen.insert(&device.gpu) {
            found.push(RequestProblem::SameGpuTwice { gpu: device.gpu.clone() });
        }
    }
    match request.context {
        ContextWish::Tokens(tokens) if !(1..=CONTEXT_MAX).contains(&tokens) => {
            found.push(RequestProblem::Context { tokens });
        }
        ContextWish::Tokens(_) | ContextWish::Largest => {}
    }
    if !(1..=PARALLEL_MAX).contains(&request.parallel) {
        found.push(RequestProblem::Parallel { given: request.parallel });
    }
    if !(MICRO_BATCH_MIN..=MICRO_BATCH_MAX).contains(&request.micro_batch) {
        found.push(RequestProblem::MicroBatch { given: request.micro_batch });
    }
    if let Some(&cache) = [request.cache_k, request.cache_v].iter().find(|&&cache| cache == CacheType::Iq4Nl) {
        found.push(RequestProblem::CacheOnCpu { cache });
    }
    if let Some(split) = &request.split {
        found.extend(split_problems(model, request, split));
    }
    if let Some(order) = &request.order {
        found.extend(order_problems(request, order));
    }
    found
}

fn split_problems(model: &ModelFacts, request: &PlanRequest, split: &[u32]) -> Option<RequestProblem> {
    let gpus = request.devices.len();
    if split.len() != gpus {
        return Some(RequestProblem::SplitLength { given: split.len(), gpus });
    }
    let units = model.layers.len() as u64 + 1;
    let given: u64 = split.iter().map(|&n| u64::from(n)).sum();
    let fewer = request.ram.is_some() || request.mode == Some(PlanMode::Tensor);
    let whole = if fewer { (1..=units).contains(&given) } else { given == units };
    (!whole).then_some(RequestProblem::SplitSum { given, units })
}

/// An order goes with a split, and names each GPU that has a share there once.
fn order_problems(request: &PlanRequest, order: &[u32]) -> Option<RequestProblem> {
    let shares = request.split.iter().flatten();
    let used: BTreeSet<u32> = (0..).zip(shares).filter(|(_, units)| **units > 0).map(|(at, _)| at).collect();
    let named: BTreeSet<u32> = order.iter().copied().collect();
    (named != used || named.len() != order.len()).then_some(RequestProblem::Order)
}

/// What the engine may take on a GPU for its own buffers, bytes; negative when the fixed costs alone exceed the card.
pub(super) fn room(device: &DeviceBudget) -> i128 {
    let fixed = [device.others, device.reserve, device.driver_context().high];
    fixed.iter().fold(i128::from(device.total.0), |room, part| room - i128::from(part.0))
}

/// One point of the search space: the flags that differ between the alternatives of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Choice {
    /// Context, tokens.
    pub(super) context: u64,
    /// K cache.
    pub(super) cache_k: CacheType,
    /// V cache.
    pub(super) cache_v: CacheType,
}

/// The flags of a start by layers on `devices` with the units of `split` on each.
pub(super) fn flags(request: &PlanRequest, choice: Choice, devices: &[&DeviceBudget], split: &[u32]) -> Flags {
    let engine_devices = devices
        .iter()
        .map(|device| Device {
            free: device.total.saturating_sub(device.others).0,
            capability: device.capability.unwrap_or(Device::CAPABILITY_ASSUMED),
        })
        .collect();
    Flags {
        context: choice.context,
        parallel: Some(u64::from(request.parallel)),
        batch: u64::from(batch(request.micro_batch)),
        micro_batch: u64::from(request.micro_batch),
        cache_k: choice.cache_k,
        cache_v: choice.cache_v,
        split_mode: if devices.len() == 1 { SplitMode::None } else { SplitMode::Layer },
        tensor_split: split.iter().map(|&units| as_share(units)).collect(),
        ..Flags::new(engine_devices)
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 513 units; f32 is exact to 2^24")]
fn as_share(units: u32) -> f32 {
    units as f32
}
