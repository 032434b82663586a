//! What is asked of the planner, and what it answers.

use serde::{Deserialize, Serialize};

use crate::engine::driver_context::{DriverContext, MeasuredContext};
use crate::gpu::GpuId;
use crate::speed::{CardSpeed, Predicted};
use crate::units::Bytes;

/// Element type of a KV cache half, as the engine names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum CacheType {
    /// 32-bit float.
    F32,
    /// 16-bit float, the default.
    #[default]
    F16,
    /// bfloat16.
    Bf16,
    /// 8.5 bits a value.
    Q8_0,
    /// 6 bits a value.
    Q5_1,
    /// 5.5 bits a value.
    Q5_0,
    /// 5 bits a value.
    Q4_1,
    /// 4.5 bits a value.
    Q4_0,
    /// 4.5 bits a value, non-linear.
    Iq4Nl,
}

/// How much context is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
#[serde(tag = "kind", content = "tokens", rename_all = "snake_case")]
pub enum ContextWish {
    /// The largest that fits, up to the trained length.
    Largest,
    /// This many tokens.
    Tokens(u32),
}

/// What one GPU may be used for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
pub struct DeviceBudget {
    /// Which GPU.
    pub gpu: GpuId,
    /// Its number in the machine's order, for display.
    pub index: u32,
    /// Its name, for display.
    pub name: String,
    /// All memory of the card.
    pub total: Bytes,
    /// Memory that others hold now: processes, driver and firmware.
    pub others: Bytes,
    /// Memory to keep free on top.
    pub reserve: Bytes,
    /// CUDA compute capability × 100, such as 860; absent when unknown.
    pub capability: Option<u32>,
    /// What the engine's process was seen to take on it outside its buffers; absent: never measured.
    pub measured_context: Option<MeasuredContext>,
    /// What of the card decides speed; absent: unknown, and no speed is predicted with it.
    pub speed: Option<CardSpeed>,
}

impl DeviceBudget {
    /// What the engine's process is expected to take on it outside its buffers.
    #[must_use]
    pub fn driver_context(&self) -> DriverContext {
        DriverContext::expected(self.capability, self.measured_context)
    }
}

/// What the best plan is the best at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Most tokens per second of one request.
    #[default]
    Fastest,
    /// Most tokens per second of all parallel requests together.
    Throughput,
    /// The longest context.
    Context,
    /// The most memory left on the GPU with the least.
    Headroom,
}

/// How a model is shared out over GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum PlanMode {
    /// Whole layers per GPU; one GPU alone where that is best.
    #[default]
    Layer,
    /// Every matrix over all GPUs.
    Tensor,
}

/// System RAM that a plan may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
pub struct RamBudget {
    /// How much of it.
    pub bytes: Bytes,
    /// How fast the CPU reads it, MB/s; absent: not measured, and taken to be that of two channels of DDR4-3200.
    pub bandwidth_mb_s: Option<u32>,
}

/// A question to the planner: the model goes in beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
pub struct PlanRequest {
    /// Context wanted.
    pub context: ContextWish,
    /// Type of the K cache.
    pub cache_k: CacheType,
    /// Type of the V cache.
    pub cache_v: CacheType,
    /// Parallel sequences (slots), 1 to 64; their contexts are shared out of the one above.
    pub parallel: u32,
    /// Tokens per micro-batch, 32 to 4096.
    pub micro_batch: u32,
    /// The GPUs that may be used. One to sixteen.
    pub devices: Vec<DeviceBudget>,
    /// Units (layers, then the output) per device, in the order of `devices`, fixed by the user; absent: found by the planner.
    /// With `ram`, first layers that are missing in the sum stay in RAM. With `mode` tensor: shares, of which zero leaves a
    /// GPU out.
    pub split: Option<Vec<u32>>,
    /// Positions in `devices` of the GPUs that `split` uses, in the order in which the engine sees them; absent: as in
    /// `devices`.
    #[serde(default)]
    pub order: Option<Vec<u32>>,
    /// What the plan should be best at.
    pub goal: Goal,
    /// How GPUs share the model; absent: chosen by the planner.
    pub mode: Option<PlanMode>,
    /// System RAM for layers or experts; absent: none of the model stays there but the token embedding.
    pub ram: Option<RamBudget>,
    /// Whether every GPU must take part; else the planner may leave some out.
    pub all_gpus: bool,
    /// Layers whose experts stay in RAM, fixed by the user; absent: found by the planner.
    pub experts_in_ram: Option<u32>,
    /// Tokens already in the cache for which decode speed is told.
    pub depth: u32,
}

/// The memory of one device, by part. `free` is what remains after all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct MemoryParts {
    /// Weights as the engine allocates them, output projection included.
    pub weights: Bytes,
    /// KV cache.
    pub kv_cache: Bytes,
    /// Compute buffer of the engine's scheduler.
    pub compute: Bytes,
    /// Output projection and final norms; a part of `weights`, given apart.
    pub output: Bytes,
    /// Routed experts; a part of `weights`, given apart.
    pub experts: Bytes,
    /// CUDA context, modules and pools of the engine's process: the most that is expected. Not counted on the host.
    pub driver_context: Bytes,
    /// Held by others now.
    pub others: Bytes,
    /// Kept free on purpose.
    pub reserve: Bytes,
    /// What is left; zero when it does not fit.
    pub free: Bytes,
    /// What is lacking; zero when it fits.
    pub short: Bytes,
}

/// One GPU's share of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct DevicePlan {
    /// Which GPU.
    pub gpu: GpuId,
    /// Its number in the machine's order.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// All memory of the card.
    pub total: Bytes,
    /// First layer on this device; equals `layer_end` when it has none.
    pub layer_begin: u32,
    /// One past the last layer on this device.
    pub layer_end: u32,
    /// Whether the output projection lies here.
    pub has_output: bool,
    /// What the engine's process takes on this card outside its buffers when it uses it, and how that is known.
    pub driver_context: DriverContext,
    /// Memory by part.
    pub memory: MemoryParts,
}

/// How fast a plan runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct PlanSpeed {
    /// Generation of one request, tokens per second.
    pub decode: Predicted,
    /// Generation of all parallel requests together, tokens per second.
    pub throughput: Predicted,
    /// Reading a prompt, tokens per second.
    pub prefill: Predicted,
    /// Where the time of a generated token goes, largest first.
    pub parts: Vec<SpeedPart>,
    /// What the prediction rests on, one sentence.
    pub basis: String,
}

/// A part of the time of a generated token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct SpeedPart {
    /// What takes it, in words.
    pub what: String,
    /// How long, microseconds.
    pub us: f64,
}

/// What proves that no plan is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Certificate {
    /// No placement takes less than this for what the goal counts: microseconds per token (fastest, throughput), minus the
    /// context in tokens, or minus the least free bytes.
    pub bound: f64,
    /// What the plan takes, in the same unit.
    pub reached: f64,
    /// Placements that the search covered.
    pub covered: f64,
    /// The proof in one sentence.
    pub words: String,
    /// Other ways to share the model, best first, and why each is not the plan.
    pub others: Vec<Rejected>,
}

/// A way that was not taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Rejected {
    /// The placement in words: `GPU 0 alone`, `by layers 40 | 41`, `by tensors`.
    pub what: String,
    /// Why not, one sentence with its cost.
    pub why: String,
    /// Its decode speed where it fits, tokens per second.
    pub decode: Option<f64>,
}

/// One of the plans that no other beats in everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Alternative {
    /// In words: `By layers 40 | 41, KV q8_0`.
    pub title: String,
    /// The request that gives exactly this plan: every choice pinned.
    pub request: PlanRequest,
    /// Largest context that fits so, tokens.
    pub context_limit: u32,
    /// Whether that reaches the context asked for.
    pub reaches_context: bool,
    /// Its speed; absent where a card's speed is unknown.
    pub speed: Option<PlanSpeed>,
    /// System RAM for the model, beyond what every plan keeps there.
    pub ram: Bytes,
    /// Free memory of the tightest GPU used.
    pub spare: Bytes,
}

/// The plans worth considering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Alternatives {
    /// At most ten, the best for the goal first.
    pub plans: Vec<Alternative>,
    /// How many more there are that another beats in every way, or beyond ten.
    pub hidden: u32,
}

/// System RAM that the engine allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct HostPlan {
    /// Weights that stay on the host (the token embedding).
    pub weights: Bytes,
    /// Compute buffer on the host.
    pub compute: Bytes,
    /// Output buffer for logits.
    pub output: Bytes,
    /// KV cache of layers in RAM.
    pub kv_cache: Bytes,
    /// Experts that stay in RAM; a part of `weights`.
    pub experts: Bytes,
}

/// Whether the plan fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    /// Every device has room.
    Fits {
        /// Free memory over all used devices.
        spare: Bytes,
        /// Number of the GPU with the least left.
        tightest: u32,
    },
    /// Some device lacks room.
    DoesNotFit {
        /// How much is lacking on the device that lacks most.
        short: Bytes,
        /// Number of that GPU.
        gpu: u32,
        /// Why, one sentence.
        reason: String,
        /// Least changes that make it fit, best first.
        fixes: Vec<Fix>,
    },
}

/// A change that makes the plan fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fix {
    /// Ask for less context.
    Context {
        /// Tokens that fit.
        tokens: u32,
    },
    /// Store the cache in fewer bits.
    Cache {
        /// Type of both halves.
        cache: CacheType,
        /// Tokens that then fit.
        tokens: u32,
    },
    /// Keep a part of the model in system RAM.
    Ram {
        /// Layers whose experts stay there; zero where whole layers do.
        expert_layers: u32,
        /// Whole layers that stay there.
        layers: u32,
        /// How much memory that takes.
        bytes: Bytes,
    },
    /// Use GPUs that are switched off.
    Gpus {
        /// Their numbers.
        indices: Vec<u32>,
    },
    /// Free memory that others hold on a GPU.
    Others {
        /// Its number.
        gpu: u32,
        /// How much must go.
        bytes: Bytes,
    },
    /// Read the prompt in smaller pieces.
    MicroBatch {
        /// Tokens per micro-batch.
        tokens: u32,
    },
    /// Fewer requests at once.
    Parallel {
        /// How many.
        requests: u32,
    },
}

/// A placement with its memory, or the reason why none exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Plan {
    /// Does it fit, and by how much.
    pub verdict: Verdict,
    /// Context planned for, tokens (rounded up as the engine does).
    pub context: u32,
    /// Largest context that fits under the same constraints; zero when not even the smallest does.
    pub context_limit: u32,
    /// Context the model was trained for.
    pub context_trained: u32,
    /// The same limit for other cache types.
    pub limits_by_cache: Vec<CacheLimit>,
    /// One entry per device of the request, in its order.
    pub devices: Vec<DevicePlan>,
    /// System RAM.
    pub host: HostPlan,
    /// Units per device, in the order of `devices`: layers, and one more for the output; by tensors: shares. In the order of
    /// `order` this is `--tensor-split`.
    pub split: Vec<u32>,
    /// How the GPUs share the model.
    pub mode: PlanMode,
    /// Positions in `devices` of the GPUs used, in the order in which the engine sees them.
    pub order: Vec<u32>,
    /// First layers that lie whole in RAM.
    pub layers_in_ram: u32,
    /// Layers whose experts lie in RAM, ascending.
    pub experts_in_ram: Vec<u32>,
    /// How fast it runs; absent where a card's speed or the model's work is unknown (a note then says so).
    pub speed: Option<PlanSpeed>,
    /// The proof that no plan is better; absent where the split is the user's own.
    pub certificate: Option<Certificate>,
    /// What the request was.
    pub request: PlanRequest,
    /// Things worth knowing, one sentence each.
    pub notes: Vec<String>,
}

/// How far a cache type reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct CacheLimit {
    /// Type of both halves.
    pub cache: CacheType,
    /// Largest context that fits; zero when none does.
    pub context_limit: u32,
}
