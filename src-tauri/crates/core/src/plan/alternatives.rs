//! The plans worth considering: those that no other beats in everything that people weigh, which is generation, reading a
//! prompt, the longest context, bits of the cache, and memory left.
//!
//! What the request does not fix is varied: how GPUs share the model, which of them, bits of the cache, tokens per
//! micro-batch, and system RAM where that is given. Each one found carries a request that fixes all of it.

use crate::engine::llama_cpp::prepared::Prepared;
use crate::model::ModelFacts;
use crate::plan::arrangement::Arrangement;
use crate::plan::assemble::assemble;
use crate::plan::certificate::default_split;
use crate::plan::decide::{Decision, decide};
use crate::plan::error::PlanError;
use crate::plan::fixes::bits;
use crate::plan::ground::Ground;
use crate::plan::layers::{Aim, Layers};
use crate::plan::limit::reach;
use crate::plan::request::{Choice, flags, problems};
use crate::plan::solve::{Solved, solve_within};
use crate::plan::speeds::rate_for;
use crate::plan::{Alternative, Alternatives, CacheType, ContextWish, Goal, PlanMode, PlanRequest, tensors};
use crate::units::Bytes;

/// Most plans told.
const PLANS_MAX: usize = 10;

/// Cache types that are tried beside the request's.
const CACHES: [CacheType; 3] = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0];

/// Micro-batches that are tried beside the request's, tokens.
const MICRO_BATCHES: [u32; 4] = [256, 512, 1024, 2048];

/// Rates within this part of each other are no reason to prefer one plan; nothing predicted is surer than a hundredth.
const ALIKE: f64 = 0.01;

/// The plans worth considering for a request, the best for its goal first.
///
/// # Errors
/// Those of [`crate::plan::plan`] for the request itself. A variant that the engine refuses is left out.
pub fn alternatives(model: &ModelFacts, request: &PlanRequest) -> Result<Alternatives, PlanError> {
    let problems = problems(model, request);
    if !problems.is_empty() {
        return Err(PlanError::Request(problems));
    }
    let prepared = Prepared::new(model)?;
    Ground::new(&prepared, request)?.check(request.cache_k, request.cache_v)?;
    let mut found: Vec<Alternative> = Vec::new();
    for (cache_k, cache_v) in caches(request) {
        for micro_batch in micro_batches(request) {
            let varied = PlanRequest { cache_k, cache_v, micro_batch, ..request.clone() };
            for plan in of_flags(&prepared, &varied) {
                if found.iter().all(|other| other.request != plan.request) {
                    found.push(plan);
                }
            }
        }
    }
    let all = found.len();
    let mut front: Vec<Alternative> =
        found.iter().filter(|plan| found.iter().all(|other| !beats(other, plan))).cloned().collect();
    front.sort_by(|one, other| for_goal(request.goal, other).total_cmp(&for_goal(request.goal, one)));
    let plans = most_varied(front);
    let hidden = u32::try_from(all - plans.len()).unwrap_or(u32::MAX);
    Ok(Alternatives { plans, hidden })
}

fn caches(request: &PlanRequest) -> Vec<(CacheType, CacheType)> {
    let own = (request.cache_k, request.cache_v);
    let mut caches = vec![own];
    caches.extend(CACHES.map(|cache| (cache, cache)).iter().filter(|pair| **pair != own));
    caches
}

fn micro_batches(request: &PlanRequest) -> Vec<u32> {
    let mut all = vec![request.micro_batch];
    all.extend(MICRO_BATCHES.iter().filter(|tokens| **tokens != request.micro_batch));
    all
}

/// The plans of one choice of flags, by every way to share the model that comes to mind.
fn of_flags(prepared: &Prepared<'_>, request: &PlanRequest) -> Vec<Alternative> {
    let Ok(ground) = Ground::new(prepared, request) else { return Vec::new() };
    // A cache that the engine refuses for this model makes no plan.
    let Ok(reach) = reach(&ground, request.cache_k, request.cache_v) else { return Vec::new() };
    let Ok(Solved { choice, decision, .. }) = solve_within(&ground, reach) else { return Vec::new() };
    let ways = ways(&ground, choice, &decision).unwrap_or_default();
    ways.iter().filter_map(|way| alternative(prepared, request, choice, way)).collect()
}

/// The decision itself, each GPU alone, the best over all GPUs, llama.cpp's default, tensors, and system RAM.
fn ways(ground: &Ground<'_>, choice: Choice, decision: &Decision) -> Result<Vec<Arrangement>, PlanError> {
    let request = ground.request;
    let mut ways = vec![decision.arrangement.clone()];
    if request.split.is_some() {
        return Ok(ways);
    }
    let gpus = request.devices.len();
    if request.mode != Some(PlanMode::Tensor) {
        if !request.all_gpus && ground.is_plain() {
            ways.extend((0..gpus).map(|at| {
                let mut split = vec![0; gpus];
                split[at] = ground.units();
                Arrangement::by_split(&split)
            }));
        }
        let layers = Layers::new(ground, choice)?;
        if request.ram.is_some() {
            ways.extend(layers.with_ram()?.and_then(|answer| answer.best).map(|placed| placed.arrangement));
        }
        if gpus > 1 {
            ways.extend(layers.over_all_gpus(Aim::Fastest)?.best.map(|placed| placed.arrangement));
            ways.extend(Layers::new(ground, choice)?.over_all_gpus(Aim::Roomiest)?.best.map(|it| it.arrangement));
            if ground.is_plain() {
                ways.extend(default_split(ground, choice)?.map(|split| Arrangement::by_split(&split)));
            }
        }
    }
    if request.mode != Some(PlanMode::Layer) && tensors::possible(choice) {
        for members in tensors::candidates(ground) {
            let way = Arrangement::by_tensors(members);
            if tensors::headroom(ground, choice, &way)?.is_some() {
                ways.push(way);
            }
        }
    }
    let mut distinct: Vec<Arrangement> = Vec::new();
    for way in ways {
        if !distinct.contains(&way) {
            distinct.push(way);
        }
    }
    Ok(distinct)
}

/// A way with everything fixed, where it fits at some context.
fn alternative(
    prepared: &Prepared<'_>,
    request: &PlanRequest,
    choice: Choice,
    way: &Arrangement,
) -> Option<Alternative> {
    // Experts of layers here and there cannot be fixed by a number: such a way is told where it is the planner's own.
    let pinned = pinned(request, way).unwrap_or_else(|| request.clone());
    let ground = Ground::new(prepared, &pinned).ok()?;
    let reach = reach(&ground, pinned.cache_k, pinned.cache_v).ok()?;
    let wanted = match request.context {
        ContextWish::Tokens(tokens) => tokens,
        ContextWish::Largest => u32::try_from(choice.context).ok()?,
    };
    if reach.all == 0 {
        return None;
    }
    let reaches_context = reach.all >= wanted;
    let tokens = wanted.min(reach.all);
    let at = Choice { context: tokens.into(), ..choice };
    let decision = decide(&ground, at).ok().filter(|decision| decision.fits && decision.arrangement == *way)?;
    let host = assemble(&ground, at, way).ok()?.host;
    let device = pinned.devices.first()?;
    let embedding = prepared.layout(&flags(&pinned, at, &[device], &[1])).ok()?.host.weights;
    let mut title = way.words(request);
    if let Some(first) = title.get(..1) {
        title = format!("{}{}", first.to_uppercase(), &title[1..]);
    }
    let cache = if pinned.cache_k == pinned.cache_v {
        pinned.cache_k.flag().to_owned()
    } else {
        format!("{} and {}", pinned.cache_k.flag(), pinned.cache_v.flag())
    };
    title = format!("{title}, KV {cache}, micro-batch {}", pinned.micro_batch);
    Some(Alternative {
        title,
        request: PlanRequest { context: ContextWish::Tokens(tokens), ..pinned.clone() },
        context_limit: reach.all,
        reaches_context,
        speed: decision.speed,
        ram: (host.weights + host.kv_cache).saturating_sub(Bytes(embedding)),
        spare: Bytes(u64::try_from(decision.headroom).unwrap_or(0)),
    })
}

/// The request with every choice fixed; `None` where experts in system RAM are not those of the first layers.
fn pinned(request: &PlanRequest, way: &Arrangement) -> Option<PlanRequest> {
    let experts = way.experts_in_ram.last().map(|last| last + 1);
    if !(way.layers_in_ram..experts.unwrap_or(way.layers_in_ram)).eq(way.experts_in_ram.iter().copied()) {
        return None;
    }
    let order = way.order.iter().map(|&at| u32::try_from(at).expect("at most sixteen GPUs")).collect();
    Some(PlanRequest {
        mode: Some(way.mode),
        split: Some(way.split(request.devices.len())),
        order: (!way.order.is_sorted()).then_some(order),
        experts_in_ram: experts,
        ..request.clone()
    })
}

/// Whether a plan is at least as good as another in everything, and better in something.
fn beats(plan: &Alternative, other: &Alternative) -> bool {
    let (mine, its) = (weighed(plan), weighed(other));
    let pairs = || mine.iter().zip(its);
    pairs().all(|(mine, its)| *mine >= its * (1.0 - ALIKE)) && pairs().any(|(mine, its)| *mine > its * (1.0 + ALIKE))
}

/// What people weigh, more is better: generation, reading a prompt, longest context, bits of the cache, memory left.
fn weighed(plan: &Alternative) -> [f64; 5] {
    let rate = |of: fn(&crate::plan::PlanSpeed) -> f64| plan.speed.as_ref().map_or(0.0, of);
    let request = &plan.request;
    [
        rate(|speed| speed.decode.value),
        rate(|speed| speed.prefill.value),
        f64::from(plan.context_limit),
        as_f64(bits(request.cache_k) + bits(request.cache_v)),
        as_f64(plan.spare.0),
    ]
}

/// How good a plan is for a goal; those that do not reach the context wanted come behind all others.
fn for_goal(goal: Goal, plan: &Alternative) -> f64 {
    let value = match goal {
        Goal::Fastest | Goal::Throughput => {
            plan.speed.as_ref().map_or(as_f64(plan.spare.0), |speed| rate_for(goal, speed).value)
        }
        Goal::Context => f64::from(plan.context_limit),
        Goal::Headroom => as_f64(plan.spare.0),
    };
    // Below one, in the same order.
    if plan.reaches_context { 1.0 + value } else { value / (1.0 + value) }
}

/// The first, the best of each kind, and then as many as there is room for; in the order given.
fn most_varied(plans: Vec<Alternative>) -> Vec<Alternative> {
    let mut kept = vec![false; plans.len()];
    if let Some(first) = kept.first_mut() {
        *first = true;
    }
    for kind in 0..5 {
        let best = (0..plans.len())
            .rev()
            .max_by(|one, other| weighed(&plans[*one])[kind].total_cmp(&weighed(&plans[*other])[kind]));
        if let Some(best) = best {
            kept[best] = true;
        }
    }
    let mut room = PLANS_MAX.saturating_sub(kept.iter().filter(|kept| **kept).count());
    for kept in kept.iter_mut().filter(|kept| !**kept) {
        if room == 0 {
            break;
        }
        *kept = true;
        room -= 1;
    }
    plans.into_iter().zip(kept).filter_map(|(plan, kept)| kept.then_some(plan)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "only compared, and exact to 8 PiB")]
fn as_f64(number: u64) -> f64 {
    number as f64
}
