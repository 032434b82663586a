//! Why no plan could be made at all. A plan that does not fit is not an error: see [`crate::plan::Verdict`].

use crate::engine::llama_cpp::refused::Refused;
use crate::error::{AppError, Code};
use crate::gpu::GpuId;
use crate::plan::CacheType;
use crate::plan::request::{CONTEXT_MAX, GPUS_MAX, MICRO_BATCH_MAX, MICRO_BATCH_MIN, PARALLEL_MAX};

/// No plan exists for this model and request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The request contradicts itself or names numbers out of range. Every problem found.
    #[error("{}", sentences(.0))]
    Request(Vec<RequestProblem>),
    /// The engine refuses, or its memory is not known.
    #[error(transparent)]
    Engine(#[from] Refused),
    /// The engine would place layers elsewhere than planned: a defect of ours.
    #[error("The tensor split {split:?} does not give the layers it was made for.")]
    SplitNotKept {
        /// Units per used GPU.
        split: Vec<u32>,
    },
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestProblem {
    /// No GPU.
    #[error("No GPU is chosen.")]
    NoGpus,
    /// Too many GPUs.
    #[error("{given} GPUs are chosen; at most {GPUS_MAX} can work together.")]
    TooManyGpus {
        /// How many.
        given: usize,
    },
    /// A GPU named twice.
    #[error("GPU {gpu} is chosen twice.")]
    SameGpuTwice {
        /// Which.
        gpu: GpuId,
    },
    /// A context of no tokens, or beyond what is counted.
    #[error("The context is {tokens} tokens; it must be 1 to {CONTEXT_MAX}.")]
    Context {
        /// Asked for.
        tokens: u32,
    },
    /// Parallel sequences out of range.
    #[error("{given} parallel requests are asked for; it must be 1 to {PARALLEL_MAX}.")]
    Parallel {
        /// Asked for.
        given: u32,
    },
    /// Micro-batch out of range.
    #[error("The micro-batch is {given} tokens; it must be {MICRO_BATCH_MIN} to {MICRO_BATCH_MAX}.")]
    MicroBatch {
        /// Asked for.
        given: u32,
    },
    /// A fixed split with a share too few or too many.
    #[error("The split has {given} numbers for {gpus} GPUs.")]
    SplitLength {
        /// Numbers given.
        given: usize,
        /// GPUs.
        gpus: usize,
    },
    /// A fixed split that does not share out every unit.
    #[error("The split shares out {given} units; the model has {units} (its layers and the output).")]
    SplitSum {
        /// Units shared out.
        given: u64,
        /// Units there are.
        units: u64,
    },
    /// An order that does not go with the split.
    #[error("The order of GPUs must name each GPU that has a share in the split once, and none else.")]
    Order,
    /// A cache type that no CUDA kernel reads.
    #[error("A KV cache of type {} would move attention to the CPU; q4_0 takes as many bits and stays on the GPU.", .cache.flag())]
    CacheOnCpu {
        /// The type.
        cache: CacheType,
    },
}

fn sentences(problems: &[RequestProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl From<PlanError> for AppError {
    fn from(error: PlanError) -> Self {
        let message = error.to_string();
        match error {
            PlanError::Request(_) => Self::new(Code::BadRequest, message),
            PlanError::SplitNotKept { .. } => Self::new(Code::Internal, message),
            PlanError::Engine(refused) => Self::new(code_of(&refused), message),
        }
    }
}

/// A model that cannot be planned is not the request's fault.
fn code_of(refused: &Refused) -> Code {
    match refused {
        Refused::Unsupported { .. } | Refused::UnknownType { .. } | Refused::Compute { .. } => Code::ModelUnsupported,
        Refused::UnexpectedTensor { .. } => Code::ModelInvalid,
        _ => Code::BadRequest,
    }
}
