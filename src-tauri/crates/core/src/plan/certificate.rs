//! What proves a plan, and why other ways to share the model are not it.

use crate::engine::llama_cpp::flags::{Flags, Place};
use crate::engine::llama_cpp::settle::settle_as;
use crate::plan::arrangement::Arrangement;
use crate::plan::decide::{Decision, given, seconds};
use crate::plan::error::PlanError;
use crate::plan::ground::Ground;
use crate::plan::layers::{Aim, Layers};
use crate::plan::request::Choice;
use crate::plan::speeds::rate_for;
use crate::plan::{Certificate, Goal, PlanMode, Rejected, tensors};
use crate::units::{Bytes, thousands};

/// Rates nearer than this count as equal: a thousandth, far below what can be measured.
const ALIKE: f64 = 1e-3;

/// The certificate of a decision; `None` where nothing was sought. `limit`: the longest context that fits, tokens.
pub(super) fn certificate(
    ground: &Ground<'_>,
    choice: Choice,
    decision: &Decision,
    limit: u32,
) -> Result<Option<Certificate>, PlanError> {
    let Some(found) = decision.bound.filter(|_| decision.fits) else { return Ok(None) };
    let request = ground.request;
    let (bound, reached) = match request.goal {
        Goal::Fastest | Goal::Throughput => {
            let tokens = if request.goal == Goal::Throughput { f64::from(request.parallel) } else { 1.0 };
            let us = |seconds: f64| seconds * 1e6 / tokens;
            let (Some(bound), Some(reached)) = (found.seconds, seconds(ground, decision.speed.as_ref())) else {
                return Ok(None);
            };
            (us(bound.min(reached)), us(reached))
        }
        Goal::Context => (-f64::from(limit), -f64::from(limit)),
        Goal::Headroom => {
            let bound = found.headroom.unwrap_or(decision.headroom);
            (-as_f64(bound), -as_f64(decision.headroom))
        }
    };
    let words = words(request.goal, bound, reached, found.covered);
    let others = others(ground, choice, decision)?;
    Ok(Some(Certificate { bound, reached, covered: found.covered, words, others }))
}

fn words(goal: Goal, bound: f64, reached: f64, covered: f64) -> String {
    let of = format!("Of {} ways to share the model", counted(covered));
    match goal {
        Goal::Context => format!("{of} none holds more than {} tokens of context.", counted(-reached)),
        Goal::Headroom => {
            let more = bytes(reached - bound);
            if more == Bytes::ZERO {
                format!("{of} none leaves more on the tightest GPU.")
            } else {
                format!("{of} none leaves more than {more} more on the tightest GPU.")
            }
        }
        Goal::Fastest | Goal::Throughput => {
            let gain = if reached > 0.0 { 1.0 - bound / reached } else { 0.0 };
            if gain < ALIKE {
                format!("{of} none is predicted to be faster.")
            } else {
                format!("{of} none is predicted to be faster by more than {}.", percent(gain))
            }
        }
    }
}

/// Other ways that come to mind, best first, and why each is not the plan.
fn others(ground: &Ground<'_>, choice: Choice, decision: &Decision) -> Result<Vec<Rejected>, PlanError> {
    let gpus = ground.request.devices.len();
    let units = ground.units();
    let mut named: Vec<(Option<String>, Arrangement)> = Vec::new();
    for at in 0..gpus {
        let mut split = vec![0; gpus];
        split[at] = units;
        named.push((None, Arrangement::by_split(&split)));
    }
    if gpus > 1 {
        if let Some(split) = default_split(ground, choice)? {
            let words =
                |arrangement: &Arrangement| format!("llama.cpp's own choice, {}", arrangement.words(ground.request));
            let default = Arrangement::by_split(&split);
            named.push((Some(words(&default)), default));
        }
        let even = even(units, gpus);
        named.push((None, Arrangement::by_split(&even)));
        let allowed = ground.request.mode != Some(PlanMode::Layer) && tensors::possible(choice);
        named.extend(allowed.then(|| (None, Arrangement::by_tensors((0..gpus).collect()))));
        if decision.arrangement.mode == PlanMode::Tensor || decision.arrangement.order.len() == 1 {
            let all = Layers::new(ground, choice)?.over_all_gpus(Aim::Fastest)?;
            named.extend(all.best.map(|placed| (None, placed.arrangement)));
        }
    }
    let mut seen = vec![decision.arrangement.clone()];
    let mut others: Vec<Rejected> = Vec::new();
    for (what, arrangement) in named {
        if seen.contains(&arrangement) {
            continue;
        }
        if arrangement.mode == PlanMode::Tensor && tensors::headroom(ground, choice, &arrangement)?.is_none() {
            continue;
        }
        let mut other = rejected(ground, choice, decision, &arrangement)?;
        other.what = what.unwrap_or(other.what);
        others.push(other);
        seen.push(arrangement);
    }
    others.sort_by(|one, other| other.decode.unwrap_or(0.0).total_cmp(&one.decode.unwrap_or(0.0)));
    Ok(others)
}

/// Why an arrangement is not the plan.
pub(super) fn rejected(
    ground: &Ground<'_>,
    choice: Choice,
    decision: &Decision,
    other: &Arrangement,
) -> Result<Rejected, PlanError> {
    let request = ground.request;
    let bytes = ground.bytes(choice, other)?;
    let (headroom, tightest) = ground.headroom(other, &bytes);
    let what = other.words(request);
    if headroom < 0 {
        let lacking = Bytes(u64::try_from(-headroom).unwrap_or(u64::MAX));
        let why = format!("GPU {} lacks {lacking}.", request.devices[tightest].index);
        return Ok(Rejected { what, why, decode: None });
    }
    let fared = given(ground, choice, other.clone(), None)?;
    let rate = |decision: &Decision| decision.speed.as_ref().map(|speed| rate_for(request.goal, speed).value);
    let spare = |headroom: i128| Bytes(u64::try_from(headroom).unwrap_or(0));
    let less_room = || format!("leaves {} instead of {}", spare(headroom), spare(decision.headroom));
    let why = match (rate(&fared), rate(decision)) {
        (Some(own), Some(best)) if best > 0.0 => {
            let loss = 1.0 - own / best;
            if loss > ALIKE {
                let added: Vec<_> = other.order.iter().filter(|at| !decision.arrangement.order.contains(at)).collect();
                let rates = format!("{} instead of {} tokens/s", number(own), number(best));
                if decision.arrangement.order.len() == 1
                    && other.order.len() > 1
                    && added.len() + 1 == other.order.len()
                {
                    let gpus: Vec<_> = added.iter().map(|at| format!("GPU {}", request.devices[**at].index)).collect();
                    format!("Adding {} costs {} tokens/s: {rates}.", gpus.join(" and "), number(best - own))
                } else {
                    format!("{} slower: {rates}.", percent(loss))
                }
            } else if loss < -ALIKE {
                format!("{} faster, but it {}.", percent(-loss), less_room())
            } else {
                format!("As fast, and {}.", less_room())
            }
        }
        _ => format!("It {}.", less_room()),
    };
    Ok(Rejected { what, why, decode: fared.speed.map(|speed| speed.decode.value) })
}

/// Units per GPU that the engine makes by itself, by free memory. `None` where no GPU has any.
pub(super) fn default_split(ground: &Ground<'_>, choice: Choice) -> Result<Option<Vec<u32>>, PlanError> {
    let gpus = ground.request.devices.len();
    let mut all = Arrangement::by_split(&vec![1; gpus]);
    all.shares = vec![0; gpus];
    let flags = Flags { tensor_split: Vec::new(), ..all.flags(ground.request, choice) };
    let Ok(settled) = settle_as(ground.prepared.model(), ground.prepared.known_caches()?, None, &flags) else {
        return Ok(None);
    };
    let mut split = vec![0; gpus];
    for unit in settled.units {
        if let Place::Gpu(at) = unit {
            split[at] += 1;
        }
    }
    Ok(Some(split))
}

/// As near to equal as whole units allow, the first GPUs with one more.
fn even(units: u32, gpus: usize) -> Vec<u32> {
    let count = u32::try_from(gpus).expect("at most sixteen GPUs");
    (0..count).map(|at| units / count + u32::from(at < units % count)).collect()
}

fn number(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

fn percent(part: f64) -> String {
    let part = part * 100.0;
    if part < 10.0 { format!("{part:.1} %") } else { format!("{part:.0} %") }
}

/// A whole number in words; large ones as a power of ten.
fn counted(number: f64) -> String {
    if number >= 1e9 { format!("{number:.1e}") } else { thousands(whole(number)) }
}

fn bytes(number: f64) -> Bytes {
    Bytes(whole(number))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..2^53")]
fn whole(number: f64) -> u64 {
    number.clamp(0.0, 9.0e15) as u64
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a GPU are exact to 2^53")]
fn as_f64(bytes: i128) -> f64 {
    bytes as f64
}
