//! What a command line of the engine would allocate here: the file is read, and GPUs are taken as they are now or as
//! they are described.

use std::path::Path;
use std::sync::Arc;

use dualgpuopt_core::card::{self, Described};
use dualgpuopt_core::engine::llama_cpp::arguments::Arguments;
use dualgpuopt_core::engine::llama_cpp::arguments::companions::Named;
use dualgpuopt_core::engine::llama_cpp::estimate::{Estimate, Gpu, estimate};
use dualgpuopt_core::engine::llama_cpp::flags::Device;
use dualgpuopt_core::engine::vllm::bounds::Bounded;
use dualgpuopt_core::engine::vllm::gpu::{total_of_card, total_of_nvml};
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::gpu::{Frame, GpuFacts, Machine, Metric};
use dualgpuopt_core::model::{Adapter, ModelFacts, ModelHeader, Projector};
use dualgpuopt_core::speed::CardSpeed;
use dualgpuopt_core::speed::start::{Question, speed_of_start};
use dualgpuopt_core::speed::told::SpeedTold;
use dualgpuopt_core::units::Bytes;
use dualgpuopt_model::read_header;

use crate::App;
use crate::naming;
use crate::planning::whole;
use crate::subject::Subjects;

/// A GPU to estimate for, with what identifies it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// UUID, where it is a real one.
    pub uuid: Option<String>,
    /// Its name, for display.
    pub name: Option<String>,
    /// As llama.cpp sees it.
    pub gpu: Gpu,
    /// All of its memory as CUDA says it, bytes; where only free memory was described, that.
    pub total: Bounded,
    /// Memory that nobody holds now, bytes.
    pub free: Bounded,
    /// What of it decides speed; absent: not known.
    pub speed: Option<CardSpeed>,
}

/// GPUs in words. Free memory that is given is what the engine will find; that of a card named alone is not.
#[must_use]
pub fn described(gpus: &[Described]) -> Vec<Candidate> {
    gpus.iter().map(one_described).collect()
}

fn one_described(gpu: &Described) -> Candidate {
    let total = gpu.name.as_deref().map_or(Bounded::exact(gpu.free), |name| total_of_card(name, gpu.total));
    Candidate {
        uuid: None,
        name: gpu.name.clone(),
        gpu: Gpu {
            device: Device { free: gpu.free, capability: gpu.capability },
            free_is_final: gpu.free_given,
            measured_context: None,
        },
        total,
        free: if gpu.free_given { Bounded::exact(gpu.free) } else { total },
        speed: gpu.speed,
    }
}

/// The machine's GPUs in the order of the bus, with what the app has measured on them; and doubts about them, one sentence each.
#[must_use]
pub fn present(app: &App, machine: &Machine, frame: &Frame) -> (Vec<Candidate>, Vec<String>) {
    let mut doubts = Vec::new();
    let gpus = machine.gpus.iter().map(|facts| one_present(app, machine, facts, frame, &mut doubts)).collect();
    (gpus, doubts)
}

fn one_present(app: &App, machine: &Machine, facts: &GpuFacts, frame: &Frame, doubts: &mut Vec<String>) -> Candidate {
    let sample = frame.sample(&facts.id);
    let free = sample.and_then(|sample| sample.get(Metric::MemoryFree).value()).map(whole);
    let free = free.unwrap_or_else(|| {
        let why = sample.and_then(|s| s.get(Metric::MemoryFree).why()).map_or("no sample yet", |why| why.words());
        let total = facts.memory_total.unwrap_or(Bytes::ZERO);
        doubts.push(format!("CUDA{}: free memory is unknown ({why}) and counted as {total}.", facts.index));
        total
    });
    let reserved = sample.and_then(|sample| sample.get(Metric::MemoryReserved).value()).map(whole);
    let capability = facts.capability().unwrap_or(Device::CAPABILITY_ASSUMED);
    Candidate {
        uuid: Some(facts.id.0.clone()),
        name: Some(facts.name.clone()),
        gpu: Gpu {
            device: Device { free: free.0, capability },
            free_is_final: false,
            measured_context: app.measured_context(machine, facts),
        },
        total: total_of_nvml(facts.memory_total.unwrap_or(free).0, reserved.map(|bytes| bytes.0)),
        free: Bounded::exact(free.0),
        speed: card::speed_of(facts),
    }
}

/// The GPUs that `CUDA_VISIBLE_DEVICES` leaves, in its order; and a doubt about their order, where there is one.
///
/// # Errors
/// [`Code::BadRequest`]: an entry that is no GPU here.
pub fn visible(arguments: &Arguments, all: Vec<Candidate>) -> Result<(Vec<Candidate>, Option<String>), AppError> {
    visible_among(arguments.visible.as_deref(), arguments.bus_order, all)
}

/// The same for any engine: `list` is `CUDA_VISIBLE_DEVICES`, `bus_order` whether GPUs are counted in the order of the bus.
pub(crate) fn visible_among(
    list: Option<&str>,
    bus_order: bool,
    all: Vec<Candidate>,
) -> Result<(Vec<Candidate>, Option<String>), AppError> {
    let real = all.iter().any(|gpu| gpu.uuid.is_some());
    let mixed = all.iter().any(|gpu| gpu.name != all[0].name);
    let by_number = list.is_none_or(|list| !list.contains('-'));
    let doubt = (real && mixed && by_number && !bus_order).then(|| {
        "CUDA counts the fastest GPU first unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set; here they are counted in the order of \
         the bus."
            .to_owned()
    });
    let Some(list) = list else { return Ok((all, doubt)) };
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty() && *entry != "-1");
    let chosen = entries.map(|entry| {
        let by_uuid =
            |gpu: &&Candidate| entry.len() > 4 && gpu.uuid.as_deref().is_some_and(|uuid| uuid.starts_with(entry));
        let found = entry.parse().map_or_else(|_| all.iter().find(by_uuid), |number: usize| all.get(number));
        found.cloned().ok_or_else(|| {
            AppError::new(Code::BadRequest, format!("CUDA_VISIBLE_DEVICES names {entry}, which is no GPU here."))
        })
    });
    Ok((chosen.collect::<Result<_, _>>()?, doubt))
}

/// Reads the model of a command line, which may name it as [`naming`] says, and what it loads beside it. Blocks on the files.
///
/// # Errors
/// [`Code::BadRequest`] where no model is named; [`Code::FileUnreadable`] or [`Code::ModelInvalid`].
pub fn read_files(mut arguments: Arguments) -> Result<(ModelFacts, Arguments), AppError> {
    let Some(model) = &arguments.model else {
        return Err(AppError::new(Code::BadRequest, "The command line names no model.").hint("Name one with -m."));
    };
    let subjects = Subjects::new();
    let read = |path: &str| Ok::<_, AppError>(subjects.find(&naming::model(path)?)?.facts().clone());
    let facts = read(model)?;
    let beside = &mut arguments.companions;
    for lora in &mut beside.loras {
        read_as(&mut lora.file, |header| Adapter::from_header(header).map_err(|error| error.to_string()))?;
    }
    if let Some(draft) = &mut beside.draft.file {
        draft.read = Some(Arc::new(read(&draft.path)?));
    }
    if let Some(projector) = &mut beside.projector.file {
        read_as(projector, |header| Projector::from_header(header).map_err(|error| error.to_string()))?;
    }
    Ok((facts, arguments))
}

/// Reads the header of a file that is no model of its own.
fn read_as<T>(file: &mut Named<T>, of: impl Fn(&ModelHeader) -> Result<T, String>) -> Result<(), AppError> {
    let header = read_header(Path::new(&naming::absolute(Path::new(&file.path))?))
        .map_err(|error| crate::models::refused(&error))?;
    let read = of(&header).map_err(|why| AppError::new(Code::ModelInvalid, format!("{}: {why}", file.path)))?;
    file.read = Some(Arc::new(read));
    Ok(())
}

/// What a command line allocates for a model on GPUs.
///
/// # Errors
/// GPUs that the command line names and that are not there, and whatever the engine refuses.
pub fn estimate_on(model: &ModelFacts, arguments: &Arguments, gpus: &[Candidate]) -> Result<Estimate, AppError> {
    let gpus: Vec<Gpu> = gpus.iter().map(|candidate| candidate.gpu).collect();
    Ok(estimate(model, arguments, &gpus)?)
}

/// How fast a command line runs a model on GPUs, or why that cannot be told.
#[must_use]
pub fn speed_on(model: &ModelFacts, arguments: &Arguments, gpus: &[Candidate], question: Question) -> SpeedTold {
    let gpus: Vec<_> = gpus.iter().map(|candidate| (candidate.gpu.device, candidate.speed)).collect();
    speed_of_start(model, arguments, &gpus, question)
}

#[cfg(test)]
mod tests {
    use dualgpuopt_core::engine::llama_cpp::arguments::read;

    use super::*;

    fn candidates(names: &[&str]) -> Vec<Candidate> {
        let device = Device { free: 1 << 34, capability: 860 };
        let gpu = Gpu { device, free_is_final: false, measured_context: None };
        let one = |(at, name): (usize, &&str)| Candidate {
            uuid: Some(format!("GPU-{at}a")),
            name: Some((*name).into()),
            gpu,
            total: Bounded::exact(1 << 34),
            free: Bounded::exact(1 << 34),
            speed: None,
        };
        names.iter().enumerate().map(one).collect()
    }

    fn arguments(line: &str) -> Arguments {
        read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), |_| None).expect("sound")
    }

    #[test]
    fn visible_devices_choose_and_order() {
        let of = |line: &str| {
            let (gpus, doubt) = visible(&arguments(line), candidates(&["a", "b"])).expect("both are there");
            (gpus.into_iter().filter_map(|gpu| gpu.name).collect::<String>(), doubt.is_some())
        };
        assert_eq!(of("llama-server"), ("ab".to_owned(), true));
        assert_eq!(of("CUDA_DEVICE_ORDER=PCI_BUS_ID llama-server"), ("ab".to_owned(), false));
        assert_eq!(of("CUDA_VISIBLE_DEVICES=1,0 llama-server"), ("ba".to_owned(), true));
        assert_eq!(of("CUDA_VISIBLE_DEVICES=GPU-1a llama-server"), ("b".to_owned(), false));
        assert_eq!(of("CUDA_VISIBLE_DEVICES= llama-server"), (String::new(), true));
        let missing = visible(&arguments("CUDA_VISIBLE_DEVICES=2 llama-server"), candidates(&["a", "b"]));
        assert!(missing.expect_err("no third GPU").message.contains("names 2"));
    }
}
