//! Whether a model fits and how far, without the plan: for lists of many models.

use crate::engine::llama_cpp::prepared::Prepared;
use crate::model::ModelFacts;
use crate::plan::arrangement::Arrangement;
use crate::plan::assemble::assemble;
use crate::plan::decide::decide;
use crate::plan::error::PlanError;
use crate::plan::ground::Ground;
use crate::plan::limit::reach;
use crate::plan::request::problems;
use crate::plan::solve::{choice, wished};
use crate::plan::{ContextWish, PlanRequest};
use crate::units::Bytes;

/// A plan's verdict in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brief {
    /// It fits.
    Fits {
        /// Largest context that fits with the request's cache types, tokens; what [`crate::plan::Plan::context_limit`] says.
        context_limit: u32,
    },
    /// It does not fit.
    TooLarge {
        /// How much is lacking on the device that lacks most; what the plan's verdict says.
        short: Bytes,
    },
}

/// The verdict that [`crate::plan::plan`] comes to, at a part of its cost: the limits of other cache types are not sought.
///
/// # Errors
/// As [`crate::plan::plan`].
pub fn brief(model: &ModelFacts, request: &PlanRequest) -> Result<Brief, PlanError> {
    let problems = problems(model, request);
    if !problems.is_empty() {
        return Err(PlanError::Request(problems));
    }
    let prepared = Prepared::new(model)?;
    let ground = Ground::new(&prepared, request)?;
    let limit = || reach(&ground, request.cache_k, request.cache_v);
    // Where a context is given, the limit is only sought once it is known to fit.
    let sought = if request.context == ContextWish::Largest { Some(limit()?) } else { None };
    let choice = choice(request, sought.map_or(0, |reach| wished(request, reach)));
    // Layer by layer in the order given is quickly told; where that lacks something, another way may not.
    let by_memory = if ground.is_plain() { Some(ground.weigh(choice)?) } else { None };
    let arrangement = match by_memory.filter(|weighed| weighed.fits()) {
        Some(weighed) => Arrangement::by_split(&weighed.found.split),
        None => decide(&ground, choice)?.arrangement,
    };
    let laid_out = assemble(&ground, choice, &arrangement)?;
    let short = laid_out.devices.iter().map(|device| device.memory.short).max().unwrap_or(Bytes::ZERO);
    if short > Bytes::ZERO {
        return Ok(Brief::TooLarge { short });
    }
    Ok(Brief::Fits { context_limit: sought.map_or_else(limit, Ok)?.all })
}
