//! An arrangement, laid out exactly: every device's memory by part.

use crate::engine::llama_cpp::flags::Place;
use crate::engine::llama_cpp::layout::{GpuBytes, HostBytes, Layout};
use crate::plan::arrangement::Arrangement;
use crate::plan::error::PlanError;
use crate::plan::ground::Ground;
use crate::plan::request::Choice;
use crate::plan::{DeviceBudget, DevicePlan, HostPlan, MemoryParts, PlanMode};
use crate::units::Bytes;

/// An arrangement as the engine lays it out.
pub(super) struct Assembled {
    pub(super) devices: Vec<DevicePlan>,
    pub(super) host: HostPlan,
    /// Context after the engine's rounding, tokens.
    pub(super) context: u64,
}

/// Lays an arrangement out on the GPUs that it uses; the others are not shown to the engine at all.
pub(super) fn assemble(ground: &Ground<'_>, choice: Choice, arrangement: &Arrangement) -> Result<Assembled, PlanError> {
    let request = ground.request;
    let layout = ground.prepared.layout(&arrangement.flags(request, choice))?;
    if arrangement.mode == PlanMode::Layer && !keeps(&layout, arrangement) {
        return Err(PlanError::SplitNotKept { split: arrangement.shares.clone() });
    }
    let layers = u32::try_from(ground.prepared.model().layers.len()).expect("models have at most 512 layers");
    let mut begins = Vec::new();
    let mut begin = arrangement.layers_in_ram;
    for &units in &arrangement.shares {
        begins.push(begin);
        begin += units;
    }
    let devices = request.devices.iter().enumerate().map(|(position, device)| {
        let turn = arrangement.order.iter().position(|&at| at == position);
        let memory = turn.map_or_else(|| unused_memory(device), |at| used_memory(device, layout.devices[at]));
        let (begin, end) = match (turn, arrangement.mode) {
            (None, _) => (0, 0),
            (Some(_), PlanMode::Tensor) => (0, layers + 1),
            (Some(at), PlanMode::Layer) => (begins[at], begins[at] + arrangement.shares[at]),
        };
        DevicePlan {
            gpu: device.gpu.clone(),
            index: device.index,
            name: device.name.clone(),
            total: device.total,
            layer_begin: begin.min(layers),
            layer_end: end.min(layers),
            has_output: end > layers,
            driver_context: device.driver_context(),
            memory,
        }
    });
    Ok(Assembled { devices: devices.collect(), host: host_plan(layout.host), context: layout.settled.context })
}

/// Whether the engine's own rounding of the shares gives exactly these units to each GPU.
fn keeps(layout: &Layout, arrangement: &Arrangement) -> bool {
    let in_ram = (0..arrangement.layers_in_ram).map(|_| Place::Host);
    let gpus = arrangement.shares.iter().enumerate();
    let planned = in_ram.chain(gpus.flat_map(|(gpu, &units)| (0..units).map(move |_| Place::Gpu(gpu))));
    layout.settled.units.iter().copied().eq(planned)
}

fn used_memory(device: &DeviceBudget, bytes: GpuBytes) -> MemoryParts {
    let parts = MemoryParts {
        weights: Bytes(bytes.weights),
        kv_cache: Bytes(bytes.kv_cache),
        compute: Bytes(bytes.compute),
        output: Bytes(bytes.output),
        experts: Bytes(bytes.experts),
        driver_context: device.driver_context().high,
        others: device.others,
        reserve: device.reserve,
        ..MemoryParts::default()
    };
    let needed = parts.weights + parts.kv_cache + parts.compute + parts.driver_context + parts.others + parts.reserve;
    MemoryParts { free: device.total.saturating_sub(needed), short: needed.saturating_sub(device.total), ..parts }
}

fn unused_memory(device: &DeviceBudget) -> MemoryParts {
    MemoryParts {
        others: device.others,
        reserve: device.reserve,
        free: device.total.saturating_sub(device.others + device.reserve),
        ..MemoryParts::default()
    }
}

fn host_plan(host: HostBytes) -> HostPlan {
    HostPlan {
        weights: Bytes(host.weights),
        compute: Bytes(host.compute),
        output: Bytes(host.output),
        kv_cache: Bytes(host.kv_cache),
        experts: Bytes(host.experts),
    }
}
