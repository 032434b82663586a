//! From what the user wants to a question for the planner: the machine as it is now becomes budgets.

use std::collections::BTreeMap;

use dualgpuopt_core::card::{self, described};
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::gpu::{Frame, GpuFacts, GpuId, Machine, Metric, SourceKind};
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{DeviceBudget, Explanation, Plan, PlanError, PlanRequest, explain, plan};
use dualgpuopt_core::units::Bytes;

use crate::api::{GpuChoice, PlanAsk};
use crate::subject::Subject;

/// Kept free on a GPU that the user said nothing about: room for a desktop's windows to grow.
const RESERVE_DEFAULT: Bytes = Bytes::mib(512);

/// How far memory in use must fall before a plan counts on it: less is the coming and going of desktops.
const FALL_MIN: Bytes = Bytes::mib(256);

/// Memory that others hold on each GPU, as plans reckon with it: the most that was seen, until it has fallen clearly. So a
/// slider compares like with like, and a fix that was offered still fits when it is taken.
#[derive(Debug, Default)]
pub(crate) struct InUse(BTreeMap<GpuId, Bytes>);

impl InUse {
    fn settle(&mut self, gpu: &GpuId, now: Bytes) -> Bytes {
        let kept = self.0.entry(gpu.clone()).or_insert(now);
        if now > *kept || now + FALL_MIN < *kept {
            *kept = now;
        }
        *kept
    }
}

/// What is said of a machine without any GPU.
pub const NO_GPUS: &str = "The NVIDIA driver answers, but lists no GPU.";

/// Names a plan: one model, and the question.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    pub(crate) model: Subject,
    pub(crate) request: PlanRequest,
}

/// A plan, and every byte of it.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) explanation: Explanation,
}

impl Planned {
    pub(crate) fn new(model: &ModelFacts, request: &PlanRequest) -> Result<Self, PlanError> {
        let plan = plan(model, request)?;
        let explanation = explain(model, &plan)?;
        Ok(Self { plan, explanation })
    }
}

/// A question for the planner, and doubts about the machine that belong beside the answer.
pub(crate) struct Question {
    pub(crate) request: PlanRequest,
    pub(crate) doubts: Vec<String>,
}

/// Turns an ask into a question.
pub(crate) fn question(
    ask: &PlanAsk,
    machine: &Machine,
    frame: Option<&Frame>,
    in_use: &mut InUse,
) -> Result<Question, AppError> {
    let added = added(ask, machine)?;
    let known =
        |id: &GpuId| machine.gpus.iter().any(|gpu| gpu.id == *id) || added.iter().any(|device| device.gpu == *id);
    if let Some(unknown) = ask.gpus.iter().find(|choice| !known(&choice.gpu)) {
        return Err(AppError::new(Code::BadRequest, format!("There is no GPU {} on this machine.", unknown.gpu))
            .hint("Plan again with the GPUs that are there now."));
    }
    if machine.gpus.is_empty() && added.is_empty() {
        return Err(AppError::new(Code::NoGpus, NO_GPUS).hint("Check nvidia-smi, or use simulated GPUs."));
    }
    let (mut devices, mut doubts) =
        if ask.only_added { (Vec::new(), Vec::new()) } else { devices(&ask.gpus, machine, frame, in_use) };
    if !added.is_empty() {
        let names: Vec<_> = added.iter().map(|device| format!("GPU {} ({})", device.index, device.name)).collect();
        doubts.push(format!("Not in this machine: {}.", names.join(", ")));
    }
    devices.extend(added.into_iter().filter_map(|device| chosen(&ask.gpus, device)));
    if devices.is_empty() {
        return Err(AppError::new(Code::NoGpus, "No GPU is left to plan for.").hint("Select at least one GPU."));
    }
    Ok(Question {
        request: PlanRequest {
            context: ask.context,
            cache_k: ask.cache_k,
            cache_v: ask.cache_v,
            parallel: ask.parallel,
            micro_batch: ask.micro_batch,
            devices,
            split: ask.split.clone(),
            order: ask.order.clone(),
            goal: ask.goal,
            mode: ask.mode,
            ram: ask.ram,
            all_gpus: ask.all_gpus,
            experts_in_ram: ask.experts_in_ram,
            depth: ask.depth,
        },
        doubts,
    })
}

/// A machine of which nothing is known.
pub(crate) fn nothing() -> Machine {
    Machine { source: SourceKind::Nvml, gpus: Vec::new(), driver_version: None, cuda_version: None, nvml_version: None }
}

/// The cards that an ask adds to the machine's, numbered behind them.
fn added(ask: &PlanAsk, machine: &Machine) -> Result<Vec<DeviceBudget>, AppError> {
    let next = if ask.only_added { None } else { machine.gpus.iter().map(|gpu| gpu.index + 1).max() };
    let mut devices = Vec::new();
    for text in &ask.added {
        let described = described(text).map_err(|error| {
            AppError::new(Code::BadRequest, error.to_string()).hint("Name cards as the driver does: RTX 4090.")
        })?;
        devices.extend(described.into_iter().map(|card| DeviceBudget {
            gpu: GpuId(String::new()),
            index: 0,
            name: card.name.clone().unwrap_or_else(|| "described GPU".to_owned()),
            total: Bytes(card.total),
            others: Bytes(card.total.saturating_sub(card.free)),
            reserve: RESERVE_DEFAULT,
            capability: Some(card.capability),
            measured_context: None,
            speed: card.speed,
        }));
    }
    for (index, device) in (next.unwrap_or(0)..).zip(&mut devices) {
        (device.index, device.gpu) = (index, GpuId(format!("{ADDED}{index}")));
    }
    Ok(devices)
}

/// What identifies a card that is not there begins with this.
const ADDED: &str = "added-";

/// A budget as the user's choices leave it; `None` where the GPU is switched off.
fn chosen(choices: &[GpuChoice], device: DeviceBudget) -> Option<DeviceBudget> {
    let Some(choice) = choices.iter().find(|choice| choice.gpu == device.gpu) else { return Some(device) };
    let free = device.total.saturating_sub(device.others);
    let beyond = choice.most.map_or(Bytes::ZERO, |most| free.saturating_sub(most));
    choice.used.then(|| DeviceBudget { reserve: choice.reserve.max(beyond), ..device })
}

/// The GPUs that may be used as they are now, and doubts about them, one sentence each.
pub(crate) fn devices(
    choices: &[GpuChoice],
    machine: &Machine,
    frame: Option<&Frame>,
    in_use: &mut InUse,
) -> (Vec<DeviceBudget>, Vec<String>) {
    let mut doubts = Vec::new();
    let mut devices = Vec::new();
    for gpu in &machine.gpus {
        if choices.iter().any(|choice| choice.gpu == gpu.id && !choice.used) {
            continue;
        }
        match budget(gpu, frame, in_use, &mut doubts) {
            Some(device) => devices.extend(chosen(choices, device)),
            None => doubts.push(format!("GPU {} is left out: the driver does not tell its memory.", gpu.index)),
        }
    }
    (devices, doubts)
}

fn budget(gpu: &GpuFacts, frame: Option<&Frame>, in_use: &mut InUse, doubts: &mut Vec<String>) -> Option<DeviceBudget> {
    let sample = frame.and_then(|frame| frame.sample(&gpu.id));
    let now = |metric| sample.and_then(|sample| sample.get(metric).value()).map(whole);
    let total = gpu.memory_total.or_else(|| now(Metric::MemoryTotal))?;
    let others = if let Some(free) = now(Metric::MemoryFree) {
        in_use.settle(&gpu.id, total.saturating_sub(free))
    } else {
        let why = sample.and_then(|s| s.get(Metric::MemoryFree).why()).map_or("no sample yet", |why| why.words());
        doubts.push(format!("GPU {}: memory in use is unknown ({why}) and counted as none.", gpu.index));
        Bytes::ZERO
    };
    Some(DeviceBudget {
        gpu: gpu.id.clone(),
        index: gpu.index,
        name: gpu.name.clone(),
        total,
        others,
        reserve: RESERVE_DEFAULT,
        capability: gpu.capability(),
        measured_context: None,
        speed: card::speed_of(gpu),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..2^63; byte counts are whole"
)]
pub(crate) fn whole(bytes: f64) -> Bytes {
    Bytes(bytes.clamp(0.0, 9.0e18) as u64)
}

#[cfg(test)]
mod tests {
    use dualgpuopt_core::gpu::{GpuSample, SpeedFacts};
    use dualgpuopt_core::plan::{CacheType, ContextWish, Goal};
    use dualgpuopt_core::reading::{Reading, Why};
    use dualgpuopt_core::time::Stamp;

    use super::*;
    use crate::api::ModelRef;

    fn machine(count: u32) -> Machine {
        let gpu = |index| GpuFacts {
            id: GpuId(format!("GPU-{index}")),
            index,
            name: "RTX 3090".into(),
            pci_bus_id: None,
            memory_total: Some(Bytes::gib(24)),
            compute_capability: Some((8, 6)),
            pcie_generation_max: None,
            pcie_width_max: None,
            speed_facts: SpeedFacts::default(),
        };
        Machine {
            source: SourceKind::Simulated,
            gpus: (0..count).map(gpu).collect(),
            driver_version: None,
            cuda_version: None,
            nvml_version: None,
        }
    }

    fn ask(gpus: Vec<GpuChoice>) -> PlanAsk {
        PlanAsk {
            model: ModelRef::File { path: "m.gguf".into() },
            context: ContextWish::Largest,
            cache_k: CacheType::F16,
            cache_v: CacheType::F16,
            parallel: 1,
            micro_batch: 512,
            gpus,
            split: None,
            order: None,
            added: vec![],
            only_added: false,
            goal: Goal::default(),
            mode: None,
            ram: None,
            all_gpus: false,
            experts_in_ram: None,
            depth: 0,
            port: None,
        }
    }

    #[test]
    fn memory_in_use_becomes_others_and_the_unknown_is_said() {
        let metrics = BTreeMap::from([(Metric::MemoryFree, Reading::Value(22.0 * 1_073_741_824.0))]);
        let frame = Frame {
            seq: 1,
            at: Stamp::default(),
            gpus: vec![
                GpuSample { gpu: GpuId("GPU-0".into()), answered_at: None, metrics },
                GpuSample::missing(GpuId("GPU-1".into()), None, Why::TimedOut),
            ],
            problems: vec![],
        };
        let question = question(&ask(vec![]), &machine(2), Some(&frame), &mut InUse::default()).expect("two GPUs");
        assert_eq!(question.request.devices[0].others, Bytes::gib(2));
        assert_eq!(question.request.devices[0].capability, Some(860));
        assert_eq!(question.request.devices[1].others, Bytes::ZERO);
        assert_eq!(question.doubts, ["GPU 1: memory in use is unknown (timed out) and counted as none."]);
    }

    #[test]
    fn unused_unknown_and_no_gpus() {
        let off = |id: &str| GpuChoice { gpu: GpuId(id.into()), used: false, reserve: Bytes::ZERO, most: None };
        let one = question(&ask(vec![off("GPU-0")]), &machine(2), None, &mut InUse::default()).expect("one is left");
        assert_eq!(one.request.devices.len(), 1);
        assert_eq!(one.request.devices[0].index, 1);
        let none = question(&ask(vec![off("GPU-0"), off("GPU-1")]), &machine(2), None, &mut InUse::default());
        assert_eq!(none.err().map(|e| e.code), Some(Code::NoGpus));
        let unknown = question(&ask(vec![off("GPU-9")]), &machine(2), None, &mut InUse::default());
        assert_eq!(unknown.err().map(|e| e.code), Some(Code::BadRequest));
    }

    #[test]
    fn memory_in_use_rises_at_once_and_falls_when_it_is_clear() {
        let gpu = GpuId("GPU-0".into());
        let mut in_use = InUse::default();
        let seen = [1000, 1200, 1100, 950, 900, 940].map(|mib| in_use.settle(&gpu, Bytes::mib(mib)));
        assert_eq!(seen, [1000, 1200, 1200, 1200, 900, 940].map(Bytes::mib));
    }
}
