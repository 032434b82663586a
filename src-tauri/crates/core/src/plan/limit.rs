//! The largest context that fits.

use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::settle::CONTEXT_STEP;
use crate::plan::ground::Ground;
use crate::plan::request::{Choice, room};
use crate::plan::search::ByRole;
use crate::plan::{CacheLimit, CacheType};

/// Cache types whose limits every plan tells: the default, and the two that people choose to save memory.
const LIMITS_TOLD: [CacheType; 3] = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0];

/// The context to plan for when none fits, tokens: the least that the engine makes.
pub(super) const CONTEXT_LEAST: u32 = 256;

/// The largest context that fits with these cache types, tokens: a multiple of 256 up to the trained length, or zero.
///
/// Memory never falls when context grows, so one boundary is sought. Compute buffers are dear to work out and nearly a
/// straight line in context: between two contexts where they are known the line tells where the boundary must lie, and
/// only there they are worked out again. Every answer rests on buffers worked out for it and for the next step.
pub(super) fn largest(ground: &Ground<'_>, cache_k: CacheType, cache_v: CacheType) -> Result<u32, Refused> {
    ground.check(cache_k, cache_v)?;
    let rooms: Vec<i128> = ground.request.devices.iter().map(room).collect();
    let choice = |steps: u64| Choice { context: steps * CONTEXT_STEP, cache_k, cache_v };
    let fits_by = |steps: u64, compute: ByRole| -> Result<bool, Refused> {
        Ok(ground.demand(choice(steps), compute)?.fits(&rooms, ground.request.split.as_deref()))
    };
    let fits = |steps: u64| -> Result<bool, Refused> { ground.fits(choice(steps)) };

    let mut high = (ground.model.context_trained / CONTEXT_STEP).max(1);
    let mut high_compute = ground.compute(choice(high))?;
    if fits(high)? {
        return Ok(tokens(high));
    }
    let mut low = 1;
    let mut low_compute = ground.compute(choice(low))?;
    if !fits(low)? {
        return Ok(0);
    }
    let mut turn = 0_u32;
    while high - low > 1 {
        turn += 1;
        let line = |steps: u64| low_compute.towards(high_compute, steps - low, high - low);
        let probe = if turn.is_multiple_of(HALVE_EVERY) {
            low + (high - low) / 2
        } else {
            // The last step that fits by the line, but one that is not known yet.
            let (mut yes, mut no) = (low, high);
            while no - yes > 1 {
                let middle = yes + (no - yes) / 2;
                if fits_by(middle, line(middle))? { yes = middle } else { no = middle }
            }
            yes.max(low + 1)
        };
        let compute = ground.compute(choice(probe))?;
        if fits(probe)? {
            (low, low_compute) = (probe, compute);
        } else {
            (high, high_compute) = (probe, compute);
        }
    }
    Ok(tokens(low))
}

/// Every so many steps the interval is halved, lest a bent line makes many small ones.
const HALVE_EVERY: u32 = 4;

fn tokens(steps: u64) -> u32 {
    u32::try_from(steps * CONTEXT_STEP).unwrap_or(u32::MAX - u32::MAX % 256)
}

/// The limit under every cache type that is told; those that the model's heads do not allow on a GPU are left out.
pub(super) fn by_cache(ground: &Ground<'_>) -> Result<Vec<CacheLimit>, Refused> {
    let mut limits = Vec::new();
    for cache in LIMITS_TOLD {
        match largest(ground, cache, cache) {
            Ok(context_limit) => limits.push(CacheLimit { cache, context_limit }),
            Err(Refused::CacheBlock { .. } | Refused::AttentionOnCpu { .. }) => {}
            Err(refused) => return Err(refused),
        }
    }
    Ok(limits)
}
