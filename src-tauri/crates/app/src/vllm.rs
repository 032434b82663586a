//! What a command line of vLLM would allocate here: the model's folder is read, and GPUs are taken as they are now or as they
//! are described.

use std::path::Path;

use dualgpuopt_core::engine::vllm::arguments::Arguments;
use dualgpuopt_core::engine::vllm::estimate::{Estimate, estimate};
use dualgpuopt_core::engine::vllm::gpu::Gpu;
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::model::hf::HfModel;
use dualgpuopt_core::speed::start::Question;
use dualgpuopt_core::speed::told::SpeedTold;
use dualgpuopt_core::speed::vllm::speed_of_serve;
use dualgpuopt_model::{ModelCache, Opened};

use crate::estimating::{self, Candidate};
use crate::models;

/// Reads the model of a command line. Blocks on its files.
///
/// # Errors
/// [`Code::BadRequest`] where none is named; [`Code::ModelUnsupported`] for a GGUF file; [`Code::FileUnreadable`] or
/// [`Code::ModelInvalid`].
pub fn read_model(arguments: &Arguments) -> Result<HfModel, AppError> {
    let Some(model) = &arguments.model else {
        return Err(AppError::new(Code::BadRequest, "The command line names no model.").hint("Name its folder."));
    };
    let path = std::path::absolute(Path::new(model))
        .map_err(|error| AppError::new(Code::FileUnreadable, format!("{model}: {error}")).caused_by(&error))?;
    if !path.exists() {
        let message = format!("{model} is no folder here.");
        let hint =
            "vLLM would download a model of that name; for an estimate, name the folder that it was downloaded to.";
        return Err(AppError::new(Code::FileUnreadable, message).hint(hint));
    }
    match ModelCache::new().open(&path).map_err(|error| models::refused(&error))? {
        Opened::Hf(probe) => Ok(probe.model.clone()),
        Opened::Gguf(_) => {
            let message =
                format!("{model} is a GGUF file, which vLLM 0.33 loads only with the plugin vllm-gguf-plugin.");
            Err(AppError::new(Code::ModelUnsupported, message).hint("Name a folder in the form of Hugging Face."))
        }
    }
}

/// The GPUs that `CUDA_VISIBLE_DEVICES` leaves, in its order; and a doubt about their order, where there is one.
///
/// # Errors
/// [`Code::BadRequest`]: an entry that is no GPU here.
pub fn visible(arguments: &Arguments, all: Vec<Candidate>) -> Result<(Vec<Candidate>, Option<String>), AppError> {
    estimating::visible_among(arguments.visible.as_deref(), arguments.bus_order, all)
}

/// What a command line allocates for a model on GPUs.
///
/// # Errors
/// Whatever the engine refuses, and models whose memory is not described.
pub fn estimate_on(model: &HfModel, arguments: &Arguments, gpus: &[Candidate]) -> Result<Estimate, AppError> {
    let gpus: Vec<Gpu> = gpus.iter().enumerate().map(|(number, gpu)| seen(number, gpu)).collect();
    Ok(estimate(model, arguments, &gpus)?)
}

/// How fast a command line runs a model on GPUs, or why that cannot be told.
#[must_use]
pub fn speed_on(model: &HfModel, arguments: &Arguments, gpus: &[Candidate], question: Question) -> SpeedTold {
    let gpus: Vec<_> = gpus.iter().enumerate().map(|(number, gpu)| (seen(number, gpu), gpu.speed)).collect();
    speed_of_serve(model, arguments, &gpus, question)
}

/// A GPU as vLLM finds it.
fn seen(number: usize, candidate: &Candidate) -> Gpu {
    let name = candidate.name.as_deref().map_or(String::new(), |name| format!(" {name}"));
    Gpu {
        name: format!("CUDA{number}{name}"),
        total: candidate.total,
        free: candidate.free,
        capability: candidate.gpu.device.capability,
    }
}
