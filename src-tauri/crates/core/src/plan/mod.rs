//! From a model and budgets to a placement that the engine will really make.
//!
//! Absent: layers or experts kept in system RAM, `-sm tensor`, the choice among subsets of GPUs for speed, other engines.

mod assemble;
mod brief;
mod cache;
mod error;
mod explain;
mod ground;
mod limit;
pub mod placement;
mod request;
mod search;
mod types;
mod verdict;

use crate::model::ModelFacts;

pub use brief::{Brief, brief};
pub use cache::Block;
pub use error::{PlanError, RequestProblem};
pub use explain::{Explanation, explain};
pub use request::{CONTEXT_MAX, GPUS_MAX, MICRO_BATCH_MAX, MICRO_BATCH_MIN, PARALLEL_MAX, batch};
pub use types::{
    Alternative, Alternatives, CacheLimit, CacheType, Certificate, ContextWish, DeviceBudget, DevicePlan, Fix, Goal,
    HostPlan, MemoryParts, Plan, PlanMode, PlanRequest, PlanSpeed, RamBudget, Rejected, SpeedPart, Verdict,
};

use assemble::assemble;
use ground::Ground;
use limit::{CONTEXT_LEAST, by_cache, largest};
use request::{Choice, problems};
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
    let ground = Ground::new(model, request)?;
    let limits_by_cache = by_cache(&ground)?;
    let told = limits_by_cache.iter().find(|told| told.cache == request.cache_k && told.cache == request.cache_v);
    let context_limit = match told {
        Some(told) => told.context_limit,
        None => largest(&ground, request.cache_k, request.cache_v)?,
    };
    let choice = choice(request, context_limit);
    let split = ground.weigh(choice)?.found.split;
    let laid_out = assemble(&ground, choice, &split)?;

    let context = u32::try_from(laid_out.context).unwrap_or(u32::MAX);
    let context_trained = u32::try_from(model.context_trained).unwrap_or(u32::MAX);
    let alternatives = verdict::Known { context, context_limit, by_cache: &limits_by_cache };
    Ok(Plan {
        verdict: verdict(request, &laid_out.devices, &alternatives),
        context,
        context_limit,
        context_trained,
        notes: notes(request, &laid_out.devices, context, context_trained),
        limits_by_cache,
        devices: laid_out.devices,
        host: laid_out.host,
        mode: PlanMode::Layer,
        order: (0..).zip(&split).filter(|(_, units)| **units > 0).map(|(at, _)| at).collect(),
        layers_in_ram: 0,
        experts_in_ram: Vec::new(),
        speed: None,
        certificate: None,
        split,
        request: request.clone(),
    })
}

/// What is planned for: the context wanted, or the largest that fits.
fn choice(request: &PlanRequest, context_limit: u32) -> Choice {
    let tokens = match request.context {
        ContextWish::Tokens(tokens) => tokens,
        ContextWish::Largest if context_limit > 0 => context_limit,
        ContextWish::Largest => CONTEXT_LEAST,
    };
    Choice { context: u64::from(tokens), cache_k: request.cache_k, cache_v: request.cache_v }
}
