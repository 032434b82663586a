//! The largest context that fits.
//!
//! Whole layers on GPUs in the request's order are quickly told ([`largest`]). Where the request fixes something else, or
//! gives system RAM, or GPUs differ so that another order may hold more, arrangements are decided for one context after
//! another ([`reach`]).

use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::CONTEXT_STEP;
use crate::plan::arrangement::Arrangement;
use crate::plan::ground::Ground;
use crate::plan::layers::{Aim, Layers};
use crate::plan::placement::ByRole;
use crate::plan::request::Choice;
use crate::plan::{CacheLimit, CacheType, PlanMode, tensors};

/// Cache types whose limits every plan tells: the default, and the two that people choose to save memory.
const LIMITS_TOLD: [CacheType; 3] = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0];

/// The context to plan for when none fits, tokens: the least that the engine makes.
pub(super) const CONTEXT_LEAST: u32 = 256;

/// Every so many steps an interval is halved, lest a bent line makes many small ones.
const HALVE_EVERY: u32 = 4;

/// Most GPUs for which every order is tried.
const ORDERS_OF: usize = 4;

/// The largest contexts that fit, tokens; zero where none does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    /// Without system RAM for layers or experts, unless the request fixes some there.
    pub(super) on_gpus: u32,
    /// With all that the request allows.
    pub(super) all: u32,
}

/// The largest contexts that fit with these cache types, tokens.
pub(super) fn reach(ground: &Ground<'_>, cache_k: CacheType, cache_v: CacheType) -> Result<Reach, Refused> {
    ground.check(cache_k, cache_v)?;
    let choice = |steps: u64| Choice { context: steps * CONTEXT_STEP, cache_k, cache_v };
    let request = ground.request;
    let by_layers = request.split.is_none() && request.mode != Some(PlanMode::Tensor);
    let on_gpus = if ground.is_plain() {
        let own = largest(ground, cache_k, cache_v)?;
        let unlike = ground.rooms.iter().any(|room| *room != ground.rooms[0]);
        if by_layers && unlike && ground.rooms.len() <= ORDERS_OF {
            climb(ground, own, |steps| Layers::new(ground, choice(steps))?.fits())?
        } else {
            own
        }
    } else {
        climb(ground, 0, |steps| holds(ground, choice(steps)))?
    };
    let with_ram = |steps: u64| {
        let answer = Layers::new(ground, choice(steps))?.with_ram()?;
        Ok(answer.is_some_and(|answer| answer.best.is_some()))
    };
    let all = if by_layers && request.ram.is_some() { climb(ground, on_gpus, with_ram)? } else { on_gpus };
    Ok(Reach { on_gpus, all })
}

/// Whether what the request fixes holds a choice.
fn holds(ground: &Ground<'_>, choice: Choice) -> Result<bool, Refused> {
    if let Some(pinned) = Arrangement::pinned(ground.request, ground.units()) {
        let bytes = ground.bytes(choice, &pinned)?;
        return Ok(ground.headroom(&pinned, &bytes).0 >= 0);
    }
    if ground.request.mode == Some(PlanMode::Tensor) {
        return Ok(tensors::best(ground, choice, Aim::Roomiest)?.is_some());
    }
    Layers::new(ground, choice)?.fits()
}

/// The largest context that holds, tokens, where those up to `low` do and memory never falls when context grows. Up to the
/// trained length.
fn climb(ground: &Ground<'_>, low: u32, holds: impl Fn(u64) -> Result<bool, Refused>) -> Result<u32, Refused> {
    let trained = (ground.prepared.model().context_trained / CONTEXT_STEP).max(1);
    let (mut yes, mut no) = (u64::from(low) / CONTEXT_STEP, trained + 1);
    // Mostly there is no more to gain, or everything.
    let mut probe = yes + 1;
    while yes + 1 < no {
        if holds(probe)? {
            yes = probe;
        } else {
            no = probe;
        }
        probe = if probe < trained && yes == probe && no > trained { trained } else { yes + (no - yes) / 2 };
    }
    Ok(tokens(yes))
}

/// The largest context that fits on GPUs in the request's order, tokens: a multiple of 256 up to the trained length, or zero.
///
/// Memory never falls when context grows, so one boundary is sought. Weights and cache are quickly told for any context;
/// compute buffers are dear, and nearly a straight line. So they are worked out where the boundary must lie by what is known of
/// them: at first where weights and cache alone would fill the GPUs, then along the line through both nearest contexts.
pub(super) fn largest(ground: &Ground<'_>, cache_k: CacheType, cache_v: CacheType) -> Result<u32, Refused> {
    ground.check(cache_k, cache_v)?;
    let choice = |steps: u64| Choice { context: steps * CONTEXT_STEP, cache_k, cache_v };
    let trained = (ground.prepared.model().context_trained / CONTEXT_STEP).max(1);
    let alike = ground.layers_alike();

    // Every context up to `low` fits, none from `high` on. Compute buffers above `low` are at least `floor`.
    let (mut low, mut high) = (0, trained + 1);
    let mut floor = ByRole::default();
    let mut above: Option<(u64, ByRole)> = None;
    let mut turn = 0_u32;
    loop {
        // Where layers differ, another split may need less than the one that was weighed.
        if low == 0 || alike {
            high = 1 + last_that_fits(low, high - 1, |steps| ground.expected(choice(steps), floor))?;
        }
        if high - low <= 1 {
            return Ok(tokens(low));
        }
        turn += 1;
        let probe = match above {
            None => high - 1,
            Some(_) if turn.is_multiple_of(HALVE_EVERY) => low + (high - low) / 2,
            Some((at, ceiling)) => {
                let line = |steps| if low == 0 { ceiling } else { floor.towards(ceiling, steps - low, at - low) };
                let last = last_that_fits(low, high - 1, |steps| ground.expected(choice(steps), line(steps)))?;
                last.max(low + 1)
            }
        };
        let weighed = ground.weigh(choice(probe))?;
        if weighed.fits() {
            (low, floor) = (probe, weighed.compute);
        } else {
            high = probe;
            above = Some((probe, weighed.compute));
        }
    }
}

/// The last step up to `high` that leaves something free, where those up to `low` do and what is free never grows.
fn last_that_fits(low: u64, high: u64, free: impl Fn(u64) -> Result<i128, Refused>) -> Result<u64, Refused> {
    if low == high {
        return Ok(low);
    }
    let mut lacking = free(high)?;
    if lacking >= 0 {
        return Ok(high);
    }
    let (mut yes, mut no) = (low, high);
    let mut left = None;
    let mut turn = 0_u32;
    while no - yes > 1 {
        turn += 1;
        let between = no - yes;
        let probe = match left {
            // On the line between what is free here and what is lacking there.
            Some(left) if !turn.is_multiple_of(HALVE_EVERY) => {
                let part = i128::from(between) * left / (left - lacking);
                yes + u64::try_from(part).unwrap_or(1).clamp(1, between - 1)
            }
            Some(_) => yes + between / 2,
            None => yes + 1,
        };
        let found = free(probe)?;
        if found >= 0 {
            (yes, left) = (probe, Some(found));
        } else {
            (no, lacking) = (probe, found);
        }
    }
    Ok(yes)
}

fn tokens(steps: u64) -> u32 {
    u32::try_from(steps * CONTEXT_STEP).unwrap_or(u32::MAX - u32::MAX % 256)
}

/// The limit under every cache type that is told; those that the model's heads do not allow on a GPU are left out.
pub(super) fn by_cache(ground: &Ground<'_>) -> Result<Vec<CacheLimit>, Refused> {
    let mut limits = Vec::new();
    for cache in LIMITS_TOLD {
        match reach(ground, cache, cache) {
            Ok(reach) => limits.push(CacheLimit { cache, context_limit: reach.all }),
            Err(Refused::CacheBlock { .. } | Refused::AttentionOnCpu { .. }) => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(limits)
}
