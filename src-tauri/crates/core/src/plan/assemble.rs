//! A split, laid out exactly: every device's memory by part.

use crate::engine::llama_cpp::flags::Place;
use crate::engine::llama_cpp::layout::{GpuBytes, HostBytes, Layout};
use crate::plan::error::PlanError;
use crate::plan::ground::Ground;
use crate::plan::request::{Choice, flags};
use crate::plan::{DeviceBudget, DevicePlan, HostPlan, MemoryParts};
use crate::units::Bytes;

/// A split as the engine lays it out.
pub(super) struct Assembled {
    pub(super) devices: Vec<DevicePlan>,
    pub(super) host: HostPlan,
    /// Context after the engine's rounding, tokens.
    pub(super) context: u64,
}

/// Lays a split out on the GPUs that it uses; the others are not shown to the engine at all.
pub(super) fn assemble(ground: &Ground<'_>, choice: Choice, split: &[u32]) -> Result<Assembled, PlanError> {
    let request = ground.request;
    let used: Vec<(&DeviceBudget, u32)> =
        request.devices.iter().zip(split).filter(|&(_, &units)| units > 0).map(|(d, &units)| (d, units)).collect();
    let (devices, shares): (Vec<&DeviceBudget>, Vec<u32>) = used.into_iter().unzip();
    let layout = ground.prepared.layout(&flags(request, choice, &devices, &shares))?;
    if !keeps(&layout, &shares) {
        return Err(PlanError::SplitNotKept { split: shares });
    }

    let layers = u32::try_from(ground.prepared.model().layers.len()).expect("models have at most 512 layers");
    let mut bytes = layout.devices.iter();
    let mut begin = 0;
    let devices = request.devices.iter().zip(split).map(|(device, &units)| {
        let memory = if units > 0 {
            used_memory(device, *bytes.next().expect("one entry per used GPU"))
        } else {
            unused_memory(device)
        };
        let end = begin + units;
        let plan = DevicePlan {
            gpu: device.gpu.clone(),
            index: device.index,
            name: device.name.clone(),
            total: device.total,
            layer_begin: begin.min(layers),
            layer_end: end.min(layers),
            has_output: units > 0 && end > layers,
            driver_context: device.driver_context(),
            memory,
        };
        begin = end;
        plan
    });
    Ok(Assembled { devices: devices.collect(), host: host_plan(layout.host), context: layout.settled.context })
}

/// Whether the engine's own rounding of the shares gives exactly these units to each GPU.
fn keeps(layout: &Layout, shares: &[u32]) -> bool {
    let mut planned = shares.iter().enumerate().flat_map(|(gpu, &units)| (0..units).map(move |_| Place::Gpu(gpu)));
    layout.settled.units.iter().copied().eq(planned.by_ref())
}

fn used_memory(device: &DeviceBudget, bytes: GpuBytes) -> MemoryParts {
    let parts = MemoryParts {
        weights: Bytes(bytes.weights),
        kv_cache: Bytes(bytes.kv_cache),
        compute: Bytes(bytes.compute),
        output: Bytes(bytes.output),
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
        experts: Bytes::ZERO,
    }
}
