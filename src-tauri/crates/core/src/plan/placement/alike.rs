//! GPUs that can be exchanged for each other without changing anything.

use super::Problem;
use crate::speed::StageCosts;

/// Which sets of GPUs are worth weighing.
///
/// A placement that uses one of several alike can use the first of them instead, so it is enough to weigh those that use the
/// first ones, in their order: of eight GPUs that are all alike, eight sets instead of 255.
#[derive(Debug)]
pub(super) struct Alike {
    /// Of each GPU, the set of those before it that are like it.
    before: Vec<u32>,
    /// The sets to weigh, each after those that it holds; the first is empty.
    sets: Vec<u32>,
    /// Of each set, how many to weigh come before it.
    places: Vec<u32>,
}

impl Alike {
    pub(super) fn new(problem: &Problem<'_>) -> Self {
        let costs = [&problem.costs.alone, &problem.costs.several];
        let alike = |a: usize, b: usize| {
            problem.rooms[a] == problem.rooms[b] && costs.iter().all(|costs| exchangeable(costs, a, b))
        };
        let before = |gpu| (0..gpu).filter(|other| alike(*other, gpu)).fold(0, |set, other| set | 1 << other);
        let before: Vec<u32> = (0..problem.rooms.len()).map(before).collect();
        let whole = |set: &u32| (0..before.len()).all(|gpu| set & (1 << gpu) == 0 || before[gpu] & !set == 0);
        let (mut sets, mut places) = (Vec::new(), Vec::new());
        for set in 0..1_u32 << before.len() {
            places.push(u32::try_from(sets.len()).expect("at most sixteen GPUs"));
            if whole(&set) {
                sets.push(set);
            }
        }
        Self { before, sets, places }
    }

    /// The sets to weigh, each after those that it holds; the first is empty and the last has every GPU.
    pub(super) fn sets(&self) -> &[u32] {
        &self.sets
    }

    /// The place of a set among those to weigh.
    pub(super) fn place(&self, set: u32) -> usize {
        self.places[set as usize] as usize // at most sixteen GPUs
    }

    /// Whether a GPU is the one to use next of those like it when these are used.
    pub(super) fn next(&self, used: u32, gpu: usize) -> bool {
        used & (1 << gpu) == 0 && self.before[gpu] & !used == 0
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
