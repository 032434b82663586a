//! What a given placement takes: time, memory that stays free, system RAM.

use std::ops::Range;

use super::role::Turn;
use super::{Placement, Problem};

/// One GPU's run of units in a placement.
struct Run {
    /// Which GPU.
    gpu: usize,
    /// Its turn among those used.
    turn: Turn,
    /// Its units.
    units: Range<usize>,
    /// Those of them whose experts stay in RAM, the first ones.
    experts_in_ram: Range<usize>,
}

/// The runs of a placement, in the engine's order.
fn runs(placement: &Placement) -> impl Iterator<Item = Run> {
    let of = placement.order.len();
    let mut begin = at(placement.layers_in_ram);
    let shares = placement.order.iter().zip(&placement.split).zip(&placement.experts_in_ram);
    shares.enumerate().map(move |(turn, ((&gpu, &units), &experts))| {
        let units = begin..begin + at(units);
        begin = units.end;
        let experts_in_ram = units.start..units.start + at(experts);
        Run { gpu: at(gpu), turn: Turn { at: turn, of }, units, experts_in_ram }
    })
}

fn at(number: u32) -> usize {
    number as usize // 32 bits fit everywhere this runs
}

impl Problem<'_> {
    /// Time of one decode step under a placement, seconds.
    ///
    /// # Panics
    /// Where the placement names a GPU or a unit that the problem does not have.
    #[must_use]
    pub fn seconds(&self, placement: &Placement) -> f64 {
        let costs = if placement.order.len() == 1 { &self.costs.alone } else { &self.costs.several };
        let host = at(placement.layers_in_ram);
        let mut seconds = costs.step + costs.in_ram[..host].iter().sum::<f64>();
        let mut before: Option<usize> = None;
        for run in runs(placement) {
            seconds += costs.device[run.gpu];
            seconds += match before {
                Some(gpu) => costs.hop[gpu][run.gpu],
                None if host > 0 => costs.from_ram[run.gpu],
                None => 0.0,
            };
            seconds += costs.experts_in_ram[run.gpu][run.experts_in_ram.clone()].iter().sum::<f64>();
            seconds += costs.on_device[run.gpu][run.experts_in_ram.end..run.units.end].iter().sum::<f64>();
            before = Some(run.gpu);
        }
        seconds
    }

    /// Free bytes on the used GPU with the least under a placement; negative: what is lacking there. The largest number
    /// where the placement uses no GPU.
    ///
    /// # Panics
    /// Where the placement names a GPU or a unit that the problem does not have.
    #[must_use]
    pub fn headroom(&self, placement: &Placement) -> i128 {
        runs(placement).map(|run| self.rooms[run.gpu] - self.taken(&run)).min().unwrap_or(i128::MAX)
    }

    /// System RAM that a placement takes for whole layers and for experts, bytes.
    ///
    /// # Panics
    /// Where the placement names a unit that the problem does not have.
    #[must_use]
    pub fn ram_taken(&self, placement: &Placement) -> u64 {
        let host = self.bytes[..at(placement.layers_in_ram)].iter().map(|unit| unit.all());
        let experts = runs(placement).flat_map(|run| &self.bytes[run.experts_in_ram]).map(|unit| unit.experts);
        host.chain(experts).fold(0, u64::saturating_add)
    }

    /// Bytes that a run takes on its GPU.
    fn taken(&self, run: &Run) -> i128 {
        let units = self.bytes[run.units.clone()].iter().map(|unit| i128::from(unit.all())).sum::<i128>();
        let away = self.bytes[run.experts_in_ram.clone()].iter().map(|unit| i128::from(unit.experts)).sum::<i128>();
        let output_alone = run.units.start + 1 >= self.bytes.len();
        let shared = if output_alone { 0 } else { self.every_layer };
        let mut compute = self.compute;
        units - away + i128::from(shared) + i128::from(*compute.of(run.turn, output_alone))
    }
}
