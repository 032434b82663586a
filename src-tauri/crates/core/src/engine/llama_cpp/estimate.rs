//! What a command line will allocate: bytes per GPU and on the host, with what is uncertain about them.
//!
//! Where `--fit` is on, the numbers are those after it, and what it changes is said. Absent: reading files and GPUs.

use serde::{Deserialize, Serialize};

use crate::engine::driver_context::{DriverContext, MeasuredContext};
use crate::engine::llama_cpp::arguments::{Arguments, Placed};
use crate::engine::llama_cpp::extra::{Extra, ExtraKind, extras};
use crate::engine::llama_cpp::fit::{FitTold, foretell, told};
use crate::engine::llama_cpp::flags::{Device, Place, SplitMode};
use crate::engine::llama_cpp::layout::{Layout, layout};
use crate::engine::llama_cpp::refused::Refused;
use crate::error::{AppError, Code};
use crate::model::ModelFacts;
use crate::units::{Bytes, MIB};

/// A GPU to estimate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// As the engine sees it.
    pub device: Device,
    /// Whether `free` is what the engine itself will find. It is not where it was read before the engine runs: the
    /// engine's own CUDA context is taken off first, and the split follows from what is left.
    pub free_is_final: bool,
    /// The engine's CUDA context on it as measured; absent: never.
    pub measured_context: Option<MeasuredContext>,
}

/// Bytes of one device or of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Weights; on the host the sum of the tensors that stay there.
    pub weights_bytes: u64,
    /// KV cache.
    pub kv_bytes: u64,
    /// Compute buffer.
    pub compute_bytes: u64,
    /// Output buffer; the engine has it on the host alone.
    pub output_bytes: u64,
}

impl Parts {
    /// All parts together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        [self.weights_bytes, self.kv_bytes, self.compute_bytes, self.output_bytes]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// These and others, part by part.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            weights_bytes: self.weights_bytes.saturating_add(other.weights_bytes),
            kv_bytes: self.kv_bytes.saturating_add(other.kv_bytes),
            compute_bytes: self.compute_bytes.saturating_add(other.compute_bytes),
            output_bytes: self.output_bytes.saturating_add(other.output_bytes),
        }
    }
}

/// Bytes of one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceParts {
    /// As the engine names it: `CUDA0`.
    pub name: String,
    /// Bytes by part.
    #[serde(flatten)]
    pub parts: Parts,
}

/// What a start allocates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Every GPU there is, by number; one that gets nothing has zeros.
    pub devices: Vec<DeviceParts>,
    /// The host.
    pub host: Parts,
    /// Number of the GPU of each layer, then of the output; -1 for the host. Empty with `-sm tensor`.
    pub layers: Vec<i32>,
    /// How far a GPU's sum may be off because split and `--fit` follow from free memory that is not known to the byte;
    /// zero where nothing is uncertain.
    pub uncertainty_bytes: Vec<u64>,
    /// What is loaded beside the model, in the engine's order; its bytes are not in `devices` and `host`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<Extra>,
    /// Things to know before the start, one sentence each.
    pub problems: Vec<String>,
    /// What `--fit` does; absent where it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<FitTold>,
}

/// Why there is no estimate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EstimateError {
    /// The command line names GPUs that are not there.
    #[error("{0}.")]
    Arguments(#[from] super::arguments::ArgumentProblem),
    /// A file beside the model was named and not read.
    #[error("{0} was not read.")]
    Unread(String),
    /// The engine refuses, or its memory is not known.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<EstimateError> for AppError {
    fn from(error: EstimateError) -> Self {
        Self::new(Code::BadRequest, error.to_string())
    }
}

/// What `arguments` allocate for `model` on `gpus`, which are `CUDA0`, `CUDA1` and so on.
///
/// # Errors
/// GPUs that are not there, and whatever the engine refuses.
pub fn estimate(model: &ModelFacts, arguments: &Arguments, gpus: &[Gpu]) -> Result<Estimate, EstimateError> {
    if let Some(path) = arguments.companions.unread() {
        return Err(EstimateError::Unread(path.to_owned()));
    }
    let devices: Vec<Device> = gpus.iter().map(|gpu| gpu.device).collect();
    let (placed, fit) = decided(model, arguments, &devices)?;
    let laid_out = layout(model, &placed.flags)?;
    let parts = by_number(&laid_out, &placed, gpus.len());
    let extra = extras(model, arguments, &devices, &placed, &laid_out)?;
    let uncertainty_bytes = uncertainty(model, arguments, gpus, &parts)?;
    let host = laid_out.host;
    Ok(Estimate {
        problems: problems(arguments, &devices, &placed, &parts, &extra, fit.as_ref()),
        extra,
        uncertainty_bytes,
        fit,
        host: Parts {
            weights_bytes: host.weights,
            kv_bytes: host.kv_cache,
            compute_bytes: host.compute,
            output_bytes: host.output,
        },
        layers: layers(&laid_out, &placed),
        devices: parts
            .into_iter()
            .enumerate()
            .map(|(gpu, parts)| DeviceParts { name: format!("CUDA{gpu}"), parts })
            .collect(),
    })
}

/// The flags that the engine goes on with on these GPUs, and what `--fit` has to do with it.
///
/// # Errors
/// GPUs that are not there, and whatever the engine refuses.
pub(crate) fn decided(
    model: &ModelFacts,
    arguments: &Arguments,
    devices: &[Device],
) -> Result<(Placed, Option<FitTold>), EstimateError> {
    let Placed { flags, numbers } = arguments.on(devices)?;
    if !arguments.fit.on {
        return Ok((Placed { flags, numbers }, None));
    }
    let found = foretell(model, &flags, &arguments.fit)?;
    let told = told(&found, &flags, &arguments.fit, &numbers);
    Ok((Placed { flags: found.flags, numbers }, Some(told)))
}

/// Nothing with `-sm tensor`: every GPU has a part of each layer.
fn layers(laid_out: &Layout, placed: &Placed) -> Vec<i32> {
    match placed.flags.split_mode {
        SplitMode::Tensor => Vec::new(),
        _ => laid_out.settled.units.iter().map(|unit| number(*unit, placed)).collect(),
    }
}

fn number(unit: Place, placed: &Placed) -> i32 {
    match unit {
        Place::Host => -1,
        Place::Gpu(device) => i32::try_from(placed.numbers[device]).expect("at most sixteen GPUs"),
    }
}

/// Parts of every GPU there is.
fn by_number(laid_out: &Layout, placed: &Placed, gpus: usize) -> Vec<Parts> {
    let mut parts = vec![Parts::default(); gpus];
    for (bytes, &number) in laid_out.devices.iter().zip(&placed.numbers) {
        parts[number] = Parts {
            weights_bytes: bytes.weights,
            kv_bytes: bytes.kv_cache,
            compute_bytes: bytes.compute,
            output_bytes: 0,
        };
    }
    parts
}

/// How far each GPU's sum moves, by another split or another fit, when free memory is less by the engine's own CUDA context: on all GPUs, and on each alone.
fn uncertainty(
    model: &ModelFacts,
    arguments: &Arguments,
    gpus: &[Gpu],
    parts: &[Parts],
) -> Result<Vec<u64>, EstimateError> {
    let mut most = vec![0; gpus.len()];
    let split_by_it = gpus.len() > 1 && arguments.flags.tensor_split.iter().all(|share| *share == 0.0);
    if !(split_by_it || arguments.fit.on) || gpus.iter().all(|gpu| gpu.free_is_final) {
        return Ok(most);
    }
    let less = |gpu: &Gpu, wanted: bool| {
        let context = || DriverContext::expected(Some(gpu.device.capability), gpu.measured_context).high;
        let taken = if wanted && !gpu.free_is_final { context() } else { Bytes::ZERO };
        // Not to nothing: without any free memory there is nothing to split by.
        Device { free: Bytes(gpu.device.free).saturating_sub(taken).0.max(1), ..gpu.device }
    };
    for alone in std::iter::once(None).chain((0..gpus.len()).map(Some)) {
        let devices = gpus.iter().enumerate().map(|(at, gpu)| less(gpu, alone.is_none_or(|one| one == at)));
        let (placed, _) = decided(model, arguments, &devices.collect::<Vec<_>>())?;
        let moved = by_number(&layout(model, &placed.flags)?, &placed, gpus.len());
        for (most, (ours, moved)) in most.iter_mut().zip(parts.iter().zip(&moved)) {
            *most = u64::max(*most, ours.sum().abs_diff(moved.sum()));
        }
    }
    Ok(most)
}

/// What would keep the start from being as described.
fn problems(
    arguments: &Arguments,
    devices: &[Device],
    placed: &Placed,
    parts: &[Parts],
    extra: &[Extra],
    fit: Option<&FitTold>,
) -> Vec<String> {
    let mut found: Vec<String> = extra.iter().flat_map(|extra| extra.problems.clone()).collect();
    let counted = extra.iter().map(|extra| extra.part).filter(|part| *part != ExtraKind::Lora).map(ExtraKind::words);
    let counted: Vec<_> = counted.collect();
    let mut tight = false;
    for (position, &gpu) in placed.numbers.iter().enumerate() {
        let beside = extra.iter().map(|extra| extra.devices[gpu].parts.sum());
        let needed = beside.fold(parts[gpu].sum(), u64::saturating_add);
        let margin = arguments.fit.target_mib(position).saturating_mul(MIB);
        tight |= needed.saturating_add(margin) > devices[gpu].free;
        let free = devices[gpu].free;
        if needed > free {
            let short = Bytes(needed - free);
            found.push(format!("CUDA{gpu} lacks {short}: {} are needed and {} are free.", Bytes(needed), Bytes(free)));
        }
    }
    found.extend(fit.and_then(|fit| fit.summary.clone()));
    if fit.is_some() && tight && !counted.is_empty() {
        found.push(format!(
            "--fit, which is on, leaves room for the {} as well; what it changes for that is not foretold.",
            counted.join(" and the ")
        ));
    }
    if fit.is_some() && placed.numbers.is_empty() {
        found.push(
            "Without GPUs --fit, which is on, looks at the host's RAM; here that is taken to be enough.".to_owned(),
        );
    }
    found
}
