//! Whether a plan fits, in words, and the least changes that make it fit.

use crate::plan::{CacheLimit, CacheType, ContextWish, DevicePlan, Fix, PlanRequest, Verdict};
use crate::units::{Bytes, thousands};

/// What is known of the alternatives when the verdict is spoken.
pub(super) struct Known<'a> {
    /// Context planned for, tokens.
    pub(super) context: u32,
    /// Largest context that fits with the cache types asked for; zero: none.
    pub(super) context_limit: u32,
    /// The same for other cache types.
    pub(super) by_cache: &'a [CacheLimit],
}

/// The verdict over laid-out devices.
pub(super) fn verdict(request: &PlanRequest, devices: &[DevicePlan], other: &Known<'_>) -> Verdict {
    let used = || devices.iter().filter(|device| is_used(device));
    let worst = used().max_by_key(|device| device.memory.short).filter(|device| device.memory.short > Bytes::ZERO);
    if let Some(worst) = worst {
        return Verdict::DoesNotFit {
            short: worst.memory.short,
            gpu: worst.index,
            reason: reason(worst, other.context),
            fixes: fixes(request, other),
        };
    }
    let tightest = used().min_by_key(|device| device.memory.free).map_or(0, |device| device.index);
    Verdict::Fits { spare: used().map(|device| device.memory.free).sum(), tightest }
}

/// Whether a GPU has a part in the plan.
pub(super) fn is_used(device: &DevicePlan) -> bool {
    device.has_output || device.layer_end > device.layer_begin
}

fn reason(device: &DevicePlan, context: u32) -> String {
    let m = &device.memory;
    let parts = [
        (m.weights, "weights"),
        (m.kv_cache, "KV cache"),
        (m.compute, "compute"),
        (m.driver_context, "driver"),
        (m.others, "memory in use"),
        (m.reserve, "reserve"),
    ];
    let told: Vec<_> =
        parts.iter().filter(|(bytes, _)| *bytes > Bytes::ZERO).map(|(bytes, what)| format!("{what} {bytes}")).collect();
    let (last, rest) = told.split_last().expect("the driver always takes memory on a used GPU");
    format!(
        "At {} tokens GPU {} lacks {}: {} and {last} exceed its {}.",
        thousands(context.into()),
        device.index,
        m.short,
        rest.join(", "),
        device.total,
    )
}

/// Changes that make it fit, best first: a smaller cache at the full context (least loss first), then less context, then a
/// smaller cache that reaches further than that.
fn fixes(request: &PlanRequest, other: &Known<'_>) -> Vec<Fix> {
    let wanted = match request.context {
        ContextWish::Tokens(tokens) => tokens,
        ContextWish::Largest => other.context,
    };
    let now = bits(request.cache_k) + bits(request.cache_v);
    let narrower: Vec<&CacheLimit> =
        other.by_cache.iter().filter(|limit| 2 * bits(limit.cache) < now && limit.context_limit > 0).collect();
    let mut fixes: Vec<Fix> = narrower
        .iter()
        .filter(|limit| limit.context_limit >= wanted)
        .map(|limit| Fix::Cache { cache: limit.cache, tokens: wanted })
        .collect();
    if other.context_limit > 0 {
        fixes.push(Fix::Context { tokens: other.context_limit });
    }
    fixes.extend(
        narrower
            .iter()
            .filter(|limit| limit.context_limit < wanted && limit.context_limit > other.context_limit)
            .map(|limit| Fix::Cache { cache: limit.cache, tokens: limit.context_limit }),
    );
    fixes
}

/// Bits of 32 values; only compared.
fn bits(cache: CacheType) -> u64 {
    let block = cache.block();
    block.bytes * 8 * (32 / block.values)
}

/// How the driver's own memory is known: GPUs of which the same is known together.
fn driver_note(devices: &[DevicePlan]) -> String {
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    for device in devices.iter().filter(|device| is_used(device)) {
        let (words, gpu) = (device.driver_context.words(), format!("GPU {}", device.index));
        match known.iter_mut().find(|(said, _)| *said == words) {
            Some((_, gpus)) => gpus.push(gpu),
            None => known.push((words, vec![gpu])),
        }
    }
    let known: Vec<_> = known.into_iter().map(|(words, gpus)| format!("{words} ({})", gpus.join(", "))).collect();
    format!("The driver's own memory: {}. All other parts follow llama.cpp's own rules.", known.join("; "))
}

/// Things worth knowing that no number says.
pub(super) fn notes(request: &PlanRequest, devices: &[DevicePlan], context: u32, trained: u32) -> Vec<String> {
    let mut notes = vec![driver_note(devices)];
    if let ContextWish::Tokens(asked) = request.context
        && asked != context
    {
        notes.push(format!(
            "llama.cpp rounds {} tokens of context up to {}.",
            thousands(asked.into()),
            thousands(context.into())
        ));
    }
    let per_request = context / request.parallel.max(1);
    if request.parallel > 1 {
        notes.push(format!(
            "Each of the {} parallel requests has {} tokens of context.",
            request.parallel,
            thousands(per_request.into())
        ));
    }
    if per_request > trained {
        notes.push(format!(
            "The model was trained for {} tokens; beyond that its answers get worse unless its position encoding is scaled.",
            thousands(trained.into())
        ));
    }
    if request.cache_v.is_quantised() {
        notes.push("Flash attention is switched on, because a quantised V cache needs it.".into());
    }
    for device in devices.iter().filter(|device| !is_used(device)) {
        notes.push(format!(
            "GPU {} ({}) gets no layers and is hidden from the engine: its share is better held by the others.",
            device.index, device.name
        ));
    }
    notes
}
