//! The command line of `vllm serve` for a model on GPUs, in the flags of the version at hand.
//!
//! How the GPUs share the model: as many ranks per layer as it can be cut into, stages for the rest, as far as the engine
//! accepts it and one request fits. Source of what it accepts: `settle`, `splits` and `estimate` of this folder.

use crate::command::{EnvVar, LaunchSpec};
use crate::engine::flags_by_version::{Engine, FlagProblem, FlagTable, Version};
use crate::engine::vllm::arguments::{Arguments, CacheType, ModelLength};
use crate::engine::vllm::estimate::estimate;
use crate::engine::vllm::gpu::Gpu;
use crate::engine::vllm::refused::Refused;
use crate::model::hf::HfModel;
use crate::plan::{CacheType as Wanted, ContextWish};

/// Where `vllm serve` says that its model is loaded. Source: vllm/entrypoints/serve/instrumentator/health.py.
const HEALTH_PATH: &str = "/health";

/// Most of a GPU that is asked for, hundredths of its memory: the engine's own counting leaves out what grows while serving.
const UTILISATION_MAX: u64 = 95;

/// What is started, and what is wanted of it.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The model's folder, as it is written into the command.
    pub model_path: &'a str,
    /// What the user calls it.
    pub title: &'a str,
    /// The engine's program.
    pub program: &'a str,
    /// Address to listen on.
    pub host: &'a str,
    /// Port to listen on.
    pub port: u16,
    /// Context wanted.
    pub context: ContextWish,
    /// Requests at once.
    pub parallel: u32,
    /// Type of the KV cache wanted; the larger of its halves.
    pub cache: Wanted,
}

/// A GPU that the engine may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its UUID.
    pub uuid: String,
    /// Its number in the order of the bus.
    pub index: u32,
    /// Memory to keep free on it, bytes.
    pub reserve: u64,
    /// What vLLM finds there.
    pub gpu: Gpu,
}

/// How to start the version of vLLM that has the flags of `table`, and what it cannot be told.
///
/// # Errors
/// Why no way to share the model over these GPUs is accepted: one reason for each way, most ranks per layer first.
pub fn command(
    start: Start<'_>,
    model: &HfModel,
    gpus: &[Chosen],
    table: &FlagTable,
) -> Result<(LaunchSpec, Vec<FlagProblem>), Vec<Refused>> {
    let (arguments, length) = shared(start, model, gpus)?;
    let mut args = vec!["serve".to_owned(), start.model_path.to_owned()];
    let mut problems = Vec::new();
    let mut flag = |name: &str, value: String, without| match table.has(name) {
        true => args.extend([name.to_owned(), value]),
        false => problems.push(FlagProblem::missing(table, name, None, without)),
    };
    flag("--tensor-parallel-size", arguments.tensor_parallel.to_string(), "GPUs cannot share layers");
    flag("--pipeline-parallel-size", arguments.pipeline_parallel.to_string(), "GPUs cannot take layers in turn");
    flag("--gpu-memory-utilization", format!("{:.2}", arguments.utilisation), "memory cannot be kept free");
    flag("--max-model-len", length.to_string(), "the context cannot be set");
    flag("--max-num-seqs", start.parallel.to_string(), "the requests at once cannot be set");
    if arguments.cache_type == CacheType::Fp8 {
        flag("--kv-cache-dtype", "fp8".to_owned(), "the KV cache stays in 16 bits");
    }
    flag("--host", start.host.to_owned(), "it listens on every address");
    flag("--port", start.port.to_string(), "it listens on its own port");
    if start.cache.is_quantised() && start.cache != Wanted::Q8_0 {
        let what = format!("keeps its KV cache in 16 bits or 8; 8 (fp8) stand for {}", start.cache.flag());
        problems.push(FlagProblem::Never { engine: table.words(), what });
    }
    let visible: Vec<String> = if takes_uuids(table) {
        gpus.iter().map(|gpu| gpu.uuid.clone()).collect()
    } else {
        let what = "names GPUs by number only; CUDA_VISIBLE_DEVICES holds their numbers in the order of the bus";
        problems.push(FlagProblem::Never { engine: table.words(), what: what.to_owned() });
        gpus.iter().map(|gpu| gpu.index.to_string()).collect()
    };
    let env =
        vec![EnvVar::new("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), EnvVar::new("CUDA_VISIBLE_DEVICES", &visible.join(","))];
    let spec = LaunchSpec {
        title: start.title.to_owned(),
        program: start.program.to_owned(),
        args,
        env,
        host: start.host.to_owned(),
        port: start.port,
        health_path: HEALTH_PATH.to_owned(),
    };
    Ok((spec, problems))
}

/// Whether `CUDA_VISIBLE_DEVICES` may hold UUIDs. vLLM 0.10 reads whole numbers from it (`device_id_to_physical_device_id` in
/// vllm/platforms/interface.py), 0.33 both (`device_control_id_to_physical_device_id` in vllm/platforms/cuda.py); versions
/// between were not looked at, and get numbers.
fn takes_uuids(table: &FlagTable) -> bool {
    table.version >= Version::read(Engine::Vllm, "0.33.0")
}

/// The first way to share the model that the engine accepts, and the context that fits for certain.
fn shared(start: Start<'_>, model: &HfModel, gpus: &[Chosen]) -> Result<(Arguments, u64), Vec<Refused>> {
    let found: Vec<Gpu> = gpus.iter().map(|gpu| gpu.gpu.clone()).collect();
    let count = u64::try_from(gpus.len()).unwrap_or(u64::MAX);
    let mut reasons = Vec::new();
    for tensor in (1..=count).rev().filter(|tensor| count.is_multiple_of(*tensor)) {
        let arguments = Arguments {
            tensor_parallel: tensor,
            pipeline_parallel: count / tensor,
            utilisation: utilisation(gpus),
            model_length: match start.context {
                ContextWish::Largest => ModelLength::Fit,
                ContextWish::Tokens(tokens) => ModelLength::Tokens(u64::from(tokens)),
            },
            sequences_max: Some(u64::from(start.parallel)),
            cache_type: if start.cache.is_quantised() { CacheType::Fp8 } else { CacheType::Auto },
            ..Arguments::new()
        };
        match estimate(model, &arguments, &found) {
            Ok(estimate) => return Ok((arguments, estimate.vllm.max_model_len.low)),
            Err(refused) => reasons.push(refused),
        }
    }
    Err(reasons)
}

/// Share of every GPU's memory that the engine may take, whole hundredths: what is free on the fullest, less its reserve.
#[expect(clippy::cast_precision_loss, reason = "at most 95")]
fn utilisation(gpus: &[Chosen]) -> f64 {
    let hundredths = gpus.iter().map(|chosen| {
        let free = chosen.gpu.free.low.saturating_sub(chosen.reserve);
        free / (chosen.gpu.total.high / 100).max(1)
    });
    hundredths.min().unwrap_or(0).clamp(1, UTILISATION_MAX) as f64 / 100.0
}
