//! GPUs that can be exchanged for each other without changing anything.

use super::Problem;
use crate::speed::StageCosts;

/// Of each GPU, the set of those before it that are like it.
///
/// A placement that uses one of several alike can use the first of them instead, so it is enough to weigh those that use the
/// first ones, in their order: of eight GPUs that are all alike, eight sets instead of 255.
#[derive(Debug)]
pub(super) struct Alike(Vec<u32>);

impl Alike {
    pub(super) fn new(problem: &Problem<'_>) -> Self {
        let costs = [&problem.costs.alone, &problem.costs.several];
        let alike = |a: usize, b: usize| {
            problem.rooms[a] == problem.rooms[b] && costs.iter().all(|costs| exchangeable(costs, a, b))
        };
        let before = |gpu| (0..gpu).filter(|other| alike(*other, gpu)).fold(0, |set, other| set | 1 << other);
        Self((0..problem.rooms.len()).map(before).collect())
    }

    /// Whether a GPU is the one to use next of those like it when these are used.
    pub(super) fn next(&self, used: u32, gpu: usize) -> bool {
        used & (1 << gpu) == 0 && self.0[gpu] & !used == 0
    }
}

/// Whether exchanging two GPUs leaves every time as it is.
fn exchangeable(costs: &StageCosts, a: usize, b: usize) -> bool {
    let hop = &costs.hop;
    let others = (0..hop.len()).filter(|other| ![a, b].contains(other));
    costs.device[a] == costs.device[b]
        && costs.from_ram[a] == costs.from_ram[b]
        && hop[a][b] == hop[b][a]
        && others.into_iter().all(|other| hop[a][other] == hop[b][other] && hop[other][a] == hop[other][b])
        && costs.on_device[a] == costs.on_device[b]
        && costs.experts_in_ram[a] == costs.experts_in_ram[b]
}
