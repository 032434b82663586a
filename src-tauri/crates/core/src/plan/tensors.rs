//! Every matrix over several GPUs (`-sm tensor`), in the engine's even shares: which GPUs, and whether they hold it.

use crate::engine::llama_cpp::refused::Refused;
use crate::plan::arrangement::Arrangement;
use crate::plan::ground::Ground;
use crate::plan::layers::Aim;
use crate::plan::request::Choice;
use crate::plan::speeds::rate_for;
use crate::plan::{CacheType, PlanSpeed};

/// Up to so many GPUs every subset is tried; of more, for each number those with most bandwidth, and those with most room.
const SUBSETS_OF: usize = 4;

/// A tensor split that fits.
#[derive(Clone, Debug)]
pub(super) struct ByTensors {
    pub(super) arrangement: Arrangement,
    /// Absent where a card's speed is unknown.
    pub(super) speed: Option<PlanSpeed>,
    /// Free bytes on the GPU with the least.
    pub(super) headroom: i128,
}

/// Whether the engine could cut this model's matrices up with such a cache. It keeps a quantised cache off `-sm tensor`.
pub(super) fn possible(choice: Choice) -> bool {
    let whole = |cache: CacheType| !cache.is_quantised();
    whole(choice.cache_k) && whole(choice.cache_v)
}

/// Every candidate: positions in the request, ascending.
pub(super) fn candidates(ground: &Ground<'_>) -> Vec<Vec<usize>> {
    let gpus = ground.request.devices.len();
    let least = if ground.request.all_gpus { gpus } else { 2 };
    let mut found: Vec<Vec<usize>> = if gpus <= SUBSETS_OF {
        let members = |mask: u32| (0..gpus).filter(|at| mask & (1 << at) > 0).collect::<Vec<_>>();
        (1_u32..1 << gpus).map(members).collect()
    } else {
        let bandwidth = |at: &usize| ground.request.devices[*at].speed.map_or(0, |speed| speed.bandwidth_mb_s);
        let mut fastest: Vec<usize> = (0..gpus).collect();
        let mut roomiest = fastest.clone();
        fastest.sort_by_key(|at| std::cmp::Reverse(bandwidth(at)));
        roomiest.sort_by_key(|at| std::cmp::Reverse(ground.rooms[*at]));
        let first = |most: &[usize], count: usize| {
            let mut chosen = most[..count].to_vec();
            chosen.sort_unstable();
            chosen
        };
        (2..=gpus).flat_map(|count| [first(&fastest, count), first(&roomiest, count)]).collect()
    };
    found.retain(|members| members.len() >= least.max(2));
    found.sort();
    found.dedup();
    found
}

/// The best candidate that fits. `None`: the engine refuses, or none fits.
pub(super) fn best(ground: &Ground<'_>, choice: Choice, aim: Aim) -> Result<Option<ByTensors>, Refused> {
    if !possible(choice) {
        return Ok(None);
    }
    let flash_attention = ground.settled(choice)?.0.flash_attention;
    let mut all: Vec<(Arrangement, Option<PlanSpeed>)> = candidates(ground)
        .into_iter()
        .map(|members| {
            let arrangement = Arrangement::by_tensors(members);
            let speed = ground.speeds().ok();
            let speed =
                speed.map(|speeds| speeds.of_arrangement(ground.request, choice, flash_attention, &arrangement));
            (arrangement, speed)
        })
        .collect();
    let rate =
        |speed: &Option<PlanSpeed>| speed.as_ref().map_or(0.0, |speed| rate_for(ground.request.goal, speed).value);
    all.sort_by(|(_, one), (_, other)| rate(other).total_cmp(&rate(one)));
    let mut roomiest: Option<ByTensors> = None;
    for (arrangement, speed) in all {
        let Some(headroom) = headroom(ground, choice, &arrangement)? else { return Ok(None) };
        let found = ByTensors { arrangement, speed, headroom };
        if headroom >= 0 && aim == Aim::Fastest {
            return Ok(Some(found));
        }
        if headroom >= 0 && roomiest.as_ref().is_none_or(|best| headroom > best.headroom) {
            roomiest = Some(found);
        }
    }
    Ok(roomiest)
}

/// Free bytes on the GPU with the least; `None` where the engine does not cut this model up.
pub(super) fn headroom(
    ground: &Ground<'_>,
    choice: Choice,
    arrangement: &Arrangement,
) -> Result<Option<i128>, Refused> {
    match ground.bytes(choice, arrangement) {
        Ok(bytes) => Ok(Some(ground.headroom(arrangement, &bytes).0)),
        Err(
            Refused::TensorSplit { .. }
            | Refused::Unsupported { .. }
            | Refused::Compute { .. }
            | Refused::TensorSplitPartly
            | Refused::TensorSplitWithoutFlashAttention,
        ) => Ok(None),
        Err(refused) => Err(refused),
    }
}
