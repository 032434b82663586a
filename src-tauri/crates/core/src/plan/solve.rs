//! A request, decided: the context planned for, and the arrangement.

use crate::plan::decide::{Decision, decide, given};
use crate::plan::error::PlanError;
use crate::plan::ground::Ground;
use crate::plan::limit::{CONTEXT_LEAST, Reach, reach};
use crate::plan::request::Choice;
use crate::plan::{ContextWish, Goal, PlanRequest};

/// What a request comes to, without its words.
#[derive(Clone, Debug)]
pub(super) struct Solved {
    pub(super) choice: Choice,
    pub(super) reach: Reach,
    pub(super) decision: Decision,
}

/// Solves.
pub(super) fn solve(ground: &Ground<'_>) -> Result<Solved, PlanError> {
    let request = ground.request;
    solve_within(ground, reach(ground, request.cache_k, request.cache_v)?)
}

/// Solves where the largest contexts are known.
pub(super) fn solve_within(ground: &Ground<'_>, reach: Reach) -> Result<Solved, PlanError> {
    let request = ground.request;
    let choice = choice(request, wished(request, reach));
    let far = Choice { context: reach.all.into(), ..choice };
    // What holds the longest context holds every shorter one.
    let decision = if request.goal == Goal::Context && choice.context < far.context {
        let decision = decide(ground, far)?;
        given(ground, choice, decision.arrangement, decision.bound)?
    } else {
        decide(ground, choice)?
    };
    Ok(Solved { choice, reach, decision })
}

/// The context to plan for where the largest is wanted: system RAM is slow, so only the longest context is worth it.
pub(super) fn wished(request: &PlanRequest, reach: Reach) -> u32 {
    if request.goal == Goal::Context || reach.on_gpus == 0 { reach.all } else { reach.on_gpus }
}

/// What is planned for: the context wanted, or the largest that fits.
pub(super) fn choice(request: &PlanRequest, largest: u32) -> Choice {
    let tokens = match request.context {
        ContextWish::Tokens(tokens) => tokens,
        ContextWish::Largest if largest > 0 => largest,
        ContextWish::Largest => CONTEXT_LEAST,
    };
    Choice { context: u64::from(tokens), cache_k: request.cache_k, cache_v: request.cache_v }
}
