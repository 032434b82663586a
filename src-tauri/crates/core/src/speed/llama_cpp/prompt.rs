//! How long a prompt takes under each way of sharing the model. Seconds.

use crate::speed::llama_cpp::gpu::Gpu;
use crate::speed::llama_cpp::link;
use crate::speed::llama_cpp::prefill::{MicroBatch, cut, pipeline};
use crate::speed::llama_cpp::step::Step;
use crate::speed::llama_cpp::{Sharing, Stage};
use crate::speed::work::{UnitWork, Work};

/// Tokens from which products with weights in system RAM are done on a GPU, the weights copied there each time
/// (`min_batch_size` in ggml-cuda.cu).
const COPIED_FROM: f64 = 32.0;

/// Seconds for the whole prompt.
pub(crate) fn time(step: &Step<'_>, sharing: Sharing<'_>) -> f64 {
    let (batch, count) = cut(step.setting.prompt, step.setting.depth, step.setting.micro_batch);
    match sharing {
        Sharing::Layers(stages) => by_layers(step, stages, batch, count),
        Sharing::Tensor { order, shares } => count * by_tensors(step, order, shares, batch),
    }
}

fn by_layers(step: &Step<'_>, stages: &[Stage], batch: MicroBatch, count: f64) -> f64 {
    let mut taken = vec![0.0; step.devices.len()];
    let (mut in_ram, mut all_on_gpus) = (0.0, true);
    // Weights in RAM go to the first GPU of the model, which works with them.
    let first = stages.iter().find_map(|stage| match stage {
        Stage::Gpu(device) | Stage::GpuExpertsInRam(device) => Some(*device),
        Stage::Ram => None,
    });
    for (at, (unit, stage)) in step.work.units.iter().zip(stages).enumerate() {
        let last = at + 1 == step.work.units();
        match *stage {
            Stage::Gpu(device) => taken[device] += step.gpu(device).prefill_unit(step.work, unit, batch, 1.0, last),
            Stage::GpuExpertsInRam(device) => {
                let own = step.gpu(device).prefill_unit(step.work, unit, batch, 1.0, last);
                taken[device] += own + experts_fetched(step, device, unit, batch);
                all_on_gpus = all_on_gpus && !unit.routes();
            }
            Stage::Ram => {
                in_ram += on_host(step, first, unit, batch, last);
                all_on_gpus = false;
            }
        }
    }
    let mut busy: Vec<f64> = taken.into_iter().filter(|time| *time > 0.0).collect();
    let overlap = if all_on_gpus { overlap(step, busy.len()) } else { 0.0 };
    if in_ram > 0.0 {
        busy.push(in_ram);
    }
    pipeline(&busy, count, overlap)
}

/// Share of the pipeline's gain that is reached. Fitted: it falls with the layers per GPU; why is not known.
fn overlap(step: &Step<'_>, gpus: usize) -> f64 {
    let k = step.coefficients;
    let count = |number: usize| f64::from(u32::try_from(number.max(1)).unwrap_or(u32::MAX));
    let layers = count(step.work.units()) / count(gpus);
    1.0 / (1.0 + (layers / k.pipeline_layers).powf(k.pipeline_power))
}

/// Experts of a unit, copied to a GPU for a micro-batch, or used where they lie.
fn experts_fetched(step: &Step<'_>, device: usize, unit: &UnitWork, batch: MicroBatch) -> f64 {
    let bytes: f64 = unit.experts.iter().map(|weights| weights.bytes).sum();
    let touched = bytes * step.work.experts_touched(batch.tokens);
    fetched(step, Some(device), touched, bytes * step.work.experts_used, batch)
}

/// A unit whose weights lie in system RAM.
fn on_host(step: &Step<'_>, first: Option<usize>, unit: &UnitWork, batch: MicroBatch, last: bool) -> f64 {
    let own = first.map_or(0.0, |gpu| step.gpu(gpu).prefill_unit(step.work, unit, batch, 1.0, last));
    let dense: f64 = unit.dense.iter().map(|weights| weights.bytes).sum();
    let experts: f64 = unit.experts.iter().map(|weights| weights.bytes).sum();
    let touched = dense + experts * step.work.experts_touched(batch.tokens);
    own + fetched(step, first, touched, dense + experts * step.work.experts_used, batch)
}

/// Copying `touched` bytes to a GPU, or reading `each` for every token on the CPU.
fn fetched(step: &Step<'_>, gpu: Option<usize>, touched: f64, each: f64, batch: MicroBatch) -> f64 {
    let on_cpu = batch.tokens * each / link::ram(step.setting, step.coefficients);
    match gpu {
        Some(gpu) if batch.tokens >= COPIED_FROM => touched / link::upload(&step.devices[gpu], step.coefficients),
        _ => on_cpu,
    }
}

/// One micro-batch over GPUs that share every matrix.
fn by_tensors(step: &Step<'_>, order: &[usize], shares: &[f64], batch: MicroBatch) -> f64 {
    let last = step.work.units().saturating_sub(1);
    let slowest = |at: usize, unit: &UnitWork| {
        let here = |gpu: Gpu<'_>, work: &Work, share: f64| gpu.prefill_unit(work, unit, batch, share, at == last);
        order.iter().zip(shares).map(|(&it, &share)| here(step.gpu(it), step.work, share)).fold(0.0, f64::max)
    };
    let units: f64 = step.work.units.iter().enumerate().map(|(at, unit)| slowest(at, unit)).sum();
    let cards = order.iter().map(|&device| &step.devices[device]);
    let each = link::reduce(cards, step.work.embedding * batch.tokens, step.coefficients);
    units + crate::speed::work::float(u64::try_from(last).unwrap_or(0)) * link::REDUCES_PER_LAYER * each
}
