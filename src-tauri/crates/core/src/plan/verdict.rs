//! Whether a plan fits, in words.

use crate::plan::{ContextWish, DevicePlan, Fix, PlanRequest, Verdict};
use crate::units::{Bytes, thousands};

/// The verdict over laid-out devices.
pub(super) fn verdict(devices: &[DevicePlan], context: u32, fixes: impl FnOnce() -> Vec<Fix>) -> Verdict {
    let used = || devices.iter().filter(|device| is_used(device));
    let worst = used().max_by_key(|device| device.memory.short).filter(|device| device.memory.short > Bytes::ZERO);
    if let Some(worst) = worst {
        return Verdict::DoesNotFit {
            short: worst.memory.short,
            gpu: worst.index,
            reason: reason(worst, context),
            fixes: fixes(),
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
