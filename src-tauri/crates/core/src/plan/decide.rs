//! Which arrangement a choice gets: the best for the request's goal among whole layers, layers with system RAM, and tensors.

use crate::plan::arrangement::Arrangement;
use crate::plan::error::PlanError;
use crate::plan::ground::Ground;
use crate::plan::layers::{Aim, Answer, Layers, Placed};
use crate::plan::request::Choice;
use crate::plan::speeds::rate_for;
use crate::plan::tensors::{self, ByTensors};
use crate::plan::{Goal, PlanMode, PlanSpeed};

/// What was decided for a choice.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) arrangement: Arrangement,
    /// Whether it fits; else no arrangement does, or the request fixed this one.
    pub(super) fits: bool,
    /// Free bytes on the used GPU with the least.
    pub(super) headroom: i128,
    /// Absent where a card's speed is unknown.
    pub(super) speed: Option<PlanSpeed>,
    /// What nothing beats; absent where nothing was sought.
    pub(super) bound: Option<Bound>,
}

/// What no arrangement that the search covered beats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// The shortest decode step, seconds; absent where time was not the aim.
    pub(super) seconds: Option<f64>,
    /// The most free on the GPU with the least, bytes; absent where that was not the aim.
    pub(super) headroom: Option<i128>,
    /// Arrangements covered.
    pub(super) covered: f64,
}

/// Decides.
pub(super) fn decide(ground: &Ground<'_>, choice: Choice) -> Result<Decision, PlanError> {
    let request = ground.request;
    if let Some(pinned) = Arrangement::pinned(request, ground.units()) {
        return given(ground, choice, pinned, None);
    }
    let timed = ground.speeds().is_ok();
    let aim = if request.goal == Goal::Headroom || !timed { Aim::Roomiest } else { Aim::Fastest };
    let by_tensors = match request.mode {
        Some(PlanMode::Layer) => None,
        None if !timed => None,
        Some(PlanMode::Tensor) | None => tensors::best(ground, choice, aim)?,
    };
    if request.mode == Some(PlanMode::Tensor) {
        return only_tensors(ground, choice, by_tensors);
    }
    let layers = Layers::new(ground, choice)?;
    if !timed && ground.is_plain() {
        let by_memory = ground.weigh(choice)?;
        let arrangement = Arrangement::by_split(&by_memory.found.split);
        if by_memory.fits() {
            return given(ground, choice, arrangement, None);
        }
        // Another order may hold it, or system RAM a part.
        let other = match layers.on_gpus(aim)?.best {
            None => layers.with_ram()?.and_then(|answer| answer.best),
            found => found,
        };
        return given(ground, choice, other.map_or(arrangement, |placed| placed.arrangement), None);
    }
    let mut answers = vec![layers.on_gpus(aim)?];
    let faster_with_ram = || {
        let reached = best_of(&answers, aim).map_or(f64::INFINITY, |placed| placed.seconds);
        aim == Aim::Fastest && layers.bound_with_ram().is_some_and(|bound| bound < reached)
    };
    if best_of(&answers, aim).is_none() || faster_with_ram() {
        answers.extend(layers.with_ram()?);
    }
    let bound = bound(ground, aim, &answers, by_tensors.as_ref());
    let found = match best_of(&answers, aim).cloned() {
        None if ground.is_plain() => fitting_by_memory(ground, choice)?,
        found => found.map(|placed| placed.arrangement),
    };
    let arrangement = match (found, by_tensors) {
        (Some(arrangement), None) => arrangement,
        (None, Some(tensors)) => tensors.arrangement,
        (Some(arrangement), Some(tensors)) => {
            let by_layers = given(ground, choice, arrangement, bound)?;
            if better(ground, aim, &tensors, &by_layers) {
                tensors.arrangement
            } else {
                return Ok(by_layers);
            }
        }
        (None, None) => least_lacking(ground, choice, &layers)?,
    };
    given(ground, choice, arrangement, bound)
}

/// How an arrangement fares.
pub(super) fn given(
    ground: &Ground<'_>,
    choice: Choice,
    arrangement: Arrangement,
    bound: Option<Bound>,
) -> Result<Decision, PlanError> {
    let bytes = ground.bytes(choice, &arrangement)?;
    let headroom = ground.headroom(&arrangement, &bytes).0;
    let speed = match ground.speeds() {
        Ok(speeds) => {
            let flash_attention = ground.settled(choice)?.0.flash_attention;
            Some(speeds.of_arrangement(ground.request, choice, flash_attention, &arrangement))
        }
        Err(_) => None,
    };
    Ok(Decision { arrangement, fits: headroom >= 0, headroom, speed, bound })
}

fn only_tensors(ground: &Ground<'_>, choice: Choice, best: Option<ByTensors>) -> Result<Decision, PlanError> {
    let all = || Arrangement::by_tensors((0..ground.request.devices.len()).collect());
    let bound = best.as_ref().map(|best| Bound {
        seconds: seconds(ground, best.speed.as_ref()),
        headroom: Some(best.headroom),
        covered: covered_by_tensors(ground),
    });
    given(ground, choice, best.map_or_else(all, |best| best.arrangement), bound)
}

/// The best answer of several searches.
fn best_of(answers: &[Answer], aim: Aim) -> Option<&Placed> {
    let placed = answers.iter().filter_map(|answer| answer.best.as_ref());
    match aim {
        Aim::Fastest => placed.min_by(|one, other| one.seconds.total_cmp(&other.seconds)),
        Aim::Roomiest => placed.max_by_key(|placed| placed.headroom),
    }
}

fn better(ground: &Ground<'_>, aim: Aim, tensors: &ByTensors, layers: &Decision) -> bool {
    let rate = |speed: Option<&PlanSpeed>| speed.map_or(0.0, |speed| rate_for(ground.request.goal, speed).value);
    match aim {
        Aim::Fastest => !layers.fits || rate(tensors.speed.as_ref()) > rate(layers.speed.as_ref()),
        Aim::Roomiest => tensors.headroom > layers.headroom,
    }
}

fn bound(ground: &Ground<'_>, aim: Aim, answers: &[Answer], tensors: Option<&ByTensors>) -> Option<Bound> {
    let relaxed = || answers.iter().filter_map(|answer| answer.bound.as_ref());
    let covered = answers.iter().map(|answer| answer.covered).sum::<f64>() + covered_by_tensors(ground);
    let of_tensors = tensors.and_then(|tensors| seconds(ground, tensors.speed.as_ref()));
    let found = match aim {
        Aim::Fastest => {
            let all = relaxed().map(|placement| placement.seconds).chain(of_tensors);
            Bound { seconds: all.reduce(f64::min), headroom: None, covered }
        }
        Aim::Roomiest => {
            let all = relaxed().map(|placement| placement.headroom).chain(tensors.map(|tensors| tensors.headroom));
            Bound { seconds: None, headroom: all.max(), covered }
        }
    };
    (found.seconds.is_some() || found.headroom.is_some()).then_some(found)
}

fn covered_by_tensors(ground: &Ground<'_>) -> f64 {
    let sought = ground.request.mode != Some(PlanMode::Layer) && ground.speeds().is_ok();
    let count = if sought { tensors::candidates(ground).len() } else { 0 };
    u16::try_from(count).map_or(f64::from(u16::MAX), f64::from)
}

/// Time of a decode step by a predicted speed: of one request, or where the goal is throughput of all together.
pub(super) fn seconds(ground: &Ground<'_>, speed: Option<&PlanSpeed>) -> Option<f64> {
    let request = ground.request;
    let tokens = if request.goal == Goal::Throughput { f64::from(request.parallel) } else { 1.0 };
    let rate = rate_for(request.goal, speed?).value;
    (rate > 0.0).then(|| tokens / rate)
}

/// The split by memory, where that fits after all: compute buffers by the part that a GPU plays may be thought too large.
fn fitting_by_memory(ground: &Ground<'_>, choice: Choice) -> Result<Option<Arrangement>, PlanError> {
    let by_memory = ground.weigh(choice)?;
    Ok(by_memory.fits().then(|| Arrangement::by_split(&by_memory.found.split)))
}

fn least_lacking(ground: &Ground<'_>, choice: Choice, layers: &Layers<'_, '_>) -> Result<Arrangement, PlanError> {
    if ground.is_plain() {
        return Ok(Arrangement::by_split(&ground.weigh(choice)?.found.split));
    }
    Ok(layers.least_lacking())
}
