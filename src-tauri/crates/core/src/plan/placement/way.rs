//! A way to place everything, while it is searched for.

use super::tables::{Role, Tables};
use super::{Placement, Problem};

/// One GPU's run of units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    /// Which GPU.
    pub(super) gpu: usize,
    /// First unit.
    pub(super) from: usize,
    /// One past its last layer with experts in RAM, or `from`.
    pub(super) experts_to: usize,
    /// One past its last unit.
    pub(super) to: usize,
}

/// Runs that hold everything but the first layers, which are in RAM.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// Time of a decode step, summed up in another order than [`Problem::seconds`] does.
    pub(super) seconds: f64,
    /// In the engine's order.
    pub(super) legs: Vec<Leg>,
}

impl Way {
    /// As a placement, priced.
    pub(super) fn placement(&self, problem: &Problem<'_>) -> Placement {
        let legs = &self.legs;
        let mut placement = Placement {
            order: legs.iter().map(|leg| number(leg.gpu)).collect(),
            split: legs.iter().map(|leg| number(leg.to - leg.from)).collect(),
            layers_in_ram: legs.first().map_or(0, |leg| number(leg.from)),
            experts_in_ram: legs.iter().map(|leg| number(leg.experts_to - leg.from)).collect(),
            ..Placement::default()
        };
        placement.seconds = problem.seconds(&placement);
        placement.headroom = problem.headroom(&placement);
        placement
    }
}

/// The faster of two ways, where there are any.
pub(super) fn faster(one: Option<Way>, other: Option<Way>) -> Option<Way> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.seconds < one.seconds { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// The fastest way with one GPU.
pub(super) fn alone(tables: &Tables<'_>) -> Option<Way> {
    let (units, costs) = (tables.units(), tables.costs);
    let mut best: Option<Way> = None;
    for from in 0..=tables.host_max {
        let ram = tables.before[from];
        for gpu in (0..tables.gpus()).take_while(|_| ram <= tables.ram) {
            let entry = if from > 0 { costs.from_ram[gpu] } else { 0.0 };
            let fixed = costs.step + tables.host[from] + entry + costs.device[gpu];
            tables.runs(gpu, Role::Only, from, units..units + 1, |run| {
                let seconds = fixed + run.seconds;
                if ram + run.ram <= tables.ram && best.as_ref().is_none_or(|best| seconds < best.seconds) {
                    let leg = Leg { gpu, from, experts_to: run.experts_to, to: run.to };
                    best = Some(Way { seconds, legs: vec![leg] });
                }
            });
        }
    }
    best
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("models have at most 512 layers")
}
