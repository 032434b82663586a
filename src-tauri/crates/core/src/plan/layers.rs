//! Whole layers on GPUs, and where system RAM may be used first layers or experts there: the best placement of one choice.
//!
//! The search needs compute buffers before it knows the placement, so it takes them by the part that a GPU plays, as
//! `ground.rs` does: none at first, then what the placement that it found really takes, until one fits as thought. The first
//! answer thus bounds every other from below: with no compute buffers at all, nothing is faster and nothing leaves more.

use crate::engine::llama_cpp::refused::Refused;
use crate::plan::arrangement::Arrangement;
use crate::plan::ground::Ground;
use crate::plan::placement::{ByRole, Placement, Problem, RamRoom, UnitBytes};
use crate::plan::request::Choice;
use crate::speed::{Costs, StageCosts};

/// How often the search starts over with larger compute buffers before it is given up.
const ROUNDS_MAX: u32 = 12;

/// What a placement is sought for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// The shortest decode step that fits.
    Fastest,
    /// The most free on the GPU with the least; then the fastest.
    Roomiest,
}

/// What a search came to.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The best placement that fits, as the engine lays it out.
    pub(super) best: Option<Placed>,
    /// What the search first found, without compute buffers; absent: nothing fits even so.
    pub(super) bound: Option<Placement>,
    /// Placements covered.
    pub(super) covered: f64,
}

/// A placement, weighed exactly.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) arrangement: Arrangement,
    /// Time of a decode step, seconds.
    pub(super) seconds: f64,
    /// Free bytes on the used GPU with the least.
    pub(super) headroom: i128,
}

/// One choice of a request, as numbers.
pub(super) struct Layers<'g, 'a> {
    ground: &'g Ground<'a>,
    choice: Choice,
    bytes: Vec<UnitBytes>,
    costs: Costs,
    /// First layers whose experts the request keeps in RAM.
    pinned: u32,
    /// System RAM, less what the pinned experts take there.
    ram: Option<RamRoom>,
    all_gpus: bool,
}

impl<'g, 'a> Layers<'g, 'a> {
    /// Sums up what each unit takes. Where no speed is known, time stands for bytes in system RAM, so that the fastest
    /// placement is the one that keeps least there.
    pub(super) fn new(ground: &'g Ground<'a>, choice: Choice) -> Result<Self, Refused> {
        let request = ground.request;
        let weights = ground.prepared.weights()?;
        let cache = ground.cache_before(choice)?;
        let of = |sums: &[u64], unit: usize| sums[unit + 1] - sums[unit];
        let mut bytes: Vec<UnitBytes> = (0..weights.before.len() - 1)
            .map(|unit| {
                let experts = of(&weights.experts_before, unit);
                UnitBytes { fixed: of(&weights.before, unit) - experts, experts, cache: of(&cache, unit) }
            })
            .collect();
        let mut costs = match ground.speeds() {
            Ok(speeds) => speeds.costs(request, choice, ground.settled(choice)?.0.flash_attention),
            Err(_) => bytes_in_ram(&bytes, request.devices.len()),
        };
        let mut taken = 0_u64;
        if let Some(layers) = request.experts_in_ram {
            for (unit, own) in bytes.iter_mut().enumerate() {
                if unit < layers as usize {
                    taken = taken.saturating_add(own.experts);
                } else {
                    own.fixed = own.fixed.saturating_add(own.experts);
                }
                own.experts = 0;
            }
            keep_experts(&mut costs.alone, layers);
            keep_experts(&mut costs.several, layers);
        }
        let ram = request.ram.map(|ram| RamRoom { bytes: ram.bytes.0.saturating_sub(taken), experts_only: false });
        let pinned = request.experts_in_ram.unwrap_or(0).min(ground.units() - 1);
        Ok(Self { ground, choice, bytes, costs, pinned, ram, all_gpus: request.all_gpus })
    }

    /// The best placement on GPUs alone.
    pub(super) fn on_gpus(&self, aim: Aim) -> Result<Answer, Refused> {
        self.search(aim, None)
    }

    /// The best placement on all GPUs together.
    pub(super) fn over_all_gpus(mut self, aim: Aim) -> Result<Answer, Refused> {
        self.all_gpus = true;
        self.search(aim, None)
    }

    /// The fastest placement with system RAM; `None` where the request gives none.
    pub(super) fn with_ram(&self) -> Result<Option<Answer>, Refused> {
        self.ram.map(|ram| self.search(Aim::Fastest, Some(ram))).transpose()
    }

    /// A lower end of the decode step over all placements with system RAM, seconds.
    pub(super) fn bound_with_ram(&self) -> Option<f64> {
        let problem = self.problem(ByRole::default(), self.ground.rooms.clone(), Some(self.ram?));
        problem.fastest().map(|placement| placement.seconds)
    }

    /// Where nothing fits: the placement on GPUs that would lack least without compute buffers.
    pub(super) fn least_lacking(&self) -> Arrangement {
        let problem = self.problem(ByRole::default(), self.ground.rooms.clone(), None);
        let found = problem.roomiest().expect("a request has a GPU and a model has units, so some placement exists");
        Arrangement::placed(&found, self.pinned)
    }

    /// Whether a placement on GPUs alone holds everything.
    pub(super) fn fits(&self) -> Result<bool, Refused> {
        Ok(self.search(Aim::Roomiest, None)?.best.is_some())
    }

    fn problem(&self, compute: ByRole, rooms: Vec<i128>, ram: Option<RamRoom>) -> Problem<'_> {
        let every_layer = self.ground.prepared.weights().map_or(0, |weights| weights.factors);
        let (costs, all_gpus) = (&self.costs, self.all_gpus);
        Problem { bytes: self.bytes.clone(), every_layer, compute, rooms, ram, costs, all_gpus }
    }

    fn search(&self, aim: Aim, ram: Option<RamRoom>) -> Result<Answer, Refused> {
        let mut problem = self.problem(ByRole::default(), self.ground.rooms.clone(), ram);
        let covered = problem.covered();
        let mut bound = None;
        let mut best: Option<Placed> = None;
        for _ in 0..ROUNDS_MAX {
            let found = match aim {
                Aim::Fastest => problem.fastest(),
                Aim::Roomiest => problem.roomiest().filter(|found| found.headroom >= 0),
            };
            let Some(found) = found else { break };
            let placed = self.weigh(&found, &mut problem)?;
            let as_thought = placed.headroom >= if aim == Aim::Fastest { 0 } else { found.headroom };
            bound.get_or_insert(found);
            let better = best.as_ref().is_none_or(|best| match aim {
                Aim::Fastest => placed.seconds < best.seconds,
                Aim::Roomiest => placed.headroom > best.headroom,
            });
            if placed.headroom >= 0 && better {
                best = Some(placed);
            }
            if as_thought {
                break;
            }
        }
        Ok(Answer { best, bound, covered })
    }

    /// Lays a placement out, and counts in what its compute buffers take. Where the engine needs more for another reason
    /// (tensors that cross to the CPU), that GPU's room is thought smaller.
    fn weigh(&self, found: &Placement, problem: &mut Problem<'_>) -> Result<Placed, Refused> {
        let arrangement = Arrangement::placed(found, self.pinned);
        let bytes = self.ground.bytes(self.choice, &arrangement)?;
        let (headroom, tightest) = self.ground.headroom(&arrangement, &bytes);
        let before = problem.compute;
        let units = problem.bytes.len();
        let mut end = arrangement.layers_in_ram as usize;
        for (at, (&own, bytes)) in arrangement.shares.iter().zip(&bytes).enumerate() {
            let output_alone = end + 1 == units;
            end += own as usize;
            problem.compute.raise(at, arrangement.order.len(), output_alone, bytes.compute);
        }
        if problem.compute == before && headroom < 0 {
            problem.rooms[tightest] += headroom;
        }
        Ok(Placed { arrangement, seconds: found.seconds, headroom })
    }
}

/// The experts of the first layers are in system RAM, wherever the layers lie.
fn keep_experts(costs: &mut StageCosts, layers: u32) {
    for (on, without) in costs.on_device.iter_mut().zip(&costs.experts_in_ram) {
        for (on, without) in on.iter_mut().zip(without).take(layers as usize) {
            *on = *without;
        }
    }
}

/// Bytes that each unit keeps in system RAM, as costs.
fn bytes_in_ram(bytes: &[UnitBytes], gpus: usize) -> Costs {
    let stage = StageCosts {
        on_device: vec![vec![0.0; bytes.len()]; gpus],
        experts_in_ram: vec![bytes.iter().map(|unit| as_cost(unit.experts)).collect(); gpus],
        device: vec![0.0; gpus],
        hop: vec![vec![0.0; gpus]; gpus],
        in_ram: bytes.iter().map(|unit| as_cost(unit.fixed) + as_cost(unit.experts) + as_cost(unit.cache)).collect(),
        from_ram: vec![0.0; gpus],
        step: 0.0,
    };
    Costs { alone: stage.clone(), several: stage }
}

#[expect(clippy::cast_precision_loss, reason = "only compared, and exact to 8 PiB")]
fn as_cost(bytes: u64) -> f64 {
    bytes as f64
}
