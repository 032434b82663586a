//! From a model and budgets to the arrangement that is best for a goal, as the engine will really make it.
//!
//! Absent: other engines' plans.

mod alternatives;
mod arrangement;
mod assemble;
mod brief;
mod cache;
mod certificate;
mod decide;
mod error;
mod explain;
mod fixes;
mod ground;
mod layers;
mod limit;
pub mod placement;
mod request;
mod search;
mod solve;
mod speeds;
mod tensors;
mod types;
mod verdict;
mod why_not;

use crate::engine::llama_cpp::prepared::Prepared;
use crate::model::ModelFacts;

pub use alternatives::alternatives;
pub use brief::{Brief, brief};
pub use cache::Block;
pub use error::{PlanError, RequestProblem};
pub use explain::{Explanation, explain};
pub use request::{CONTEXT_MAX, GPUS_MAX, MICRO_BATCH_MAX, MICRO_BATCH_MIN, PARALLEL_MAX, batch};
pub use types::{
    Alternative, Alternatives, CacheLimit, CacheType, Certificate, ContextWish, DeviceBudget, DevicePlan, Fix, Goal,
    HostPlan, MemoryParts, Plan, PlanMode, PlanRequest, PlanSpeed, RamBudget, Rejected, SpeedPart, Verdict,
};

pub use why_not::{OtherWay, why_not};

use assemble::assemble;
use certificate::certificate;
use fixes::Known;
use ground::Ground;
use limit::{by_cache, reach};
use request::problems;
use solve::{Solved, solve_within};
use verdict::{notes, verdict};

/// Plans a model on the GPUs of a request: which layers go where, how much context fits, and what every part takes.
///
/// A request that does not fit still gets a plan, with what is lacking and what would help.
///
/// # Errors
/// A request that contradicts itself, and models or modes that the engine refuses or whose memory is not known.
pub fn plan(model: &ModelFacts, request: &PlanRequest) -> Result<Plan, PlanError> {
    let problems = problems(model, request);
    if !problems.is_empty() {
        return Err(PlanError::Request(problems));
    }
    let prepared = Prepared::new(model)?;
    let ground = Ground::new(&prepared, request)?;
    let limits_by_cache = by_cache(&ground)?;
    let Solved { choice, reach, decision } = solve_within(&ground, reach(&ground, request.cache_k, request.cache_v)?)?;
    let arrangement = &decision.arrangement;
    let laid_out = assemble(&ground, choice, arrangement)?;

    let context = u32::try_from(laid_out.context).unwrap_or(u32::MAX);
    let context_trained = u32::try_from(model.context_trained).unwrap_or(u32::MAX);
    let known = Known {
        prepared: &prepared,
        request,
        devices: &laid_out.devices,
        context: u32::try_from(choice.context).unwrap_or(u32::MAX),
        context_limit: reach.all,
        by_cache: &limits_by_cache,
    };
    let mut notes = notes(request, &laid_out.devices, context, context_trained);
    notes.extend(ground.speeds().err().cloned());
    Ok(Plan {
        verdict: verdict(&laid_out.devices, context, || known.fixes()),
        context,
        context_limit: reach.all,
        context_trained,
        notes,
        devices: laid_out.devices,
        host: laid_out.host,
        mode: arrangement.mode,
        order: arrangement.order.iter().map(|&at| u32::try_from(at).expect("at most sixteen GPUs")).collect(),
        layers_in_ram: arrangement.layers_in_ram,
        experts_in_ram: arrangement.experts_in_ram.clone(),
        certificate: certificate(&ground, choice, &decision, reach.all)?,
        split: arrangement.split(request.devices.len()),
        speed: decision.speed,
        limits_by_cache,
        request: request.clone(),
    })
}
