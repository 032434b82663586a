//! The least that the rest of a way can take: a search in which a GPU may come again and system RAM is not shared.
//!
//! Every real way is one of those that this search allows, so it never says too much.

use super::tables::{Role, Run, Tables};

/// Least times of holding all units from one on, as far as they are not known better, seconds.
#[derive(Debug)]
pub(super) struct Rest {
    /// By most further GPUs, last GPU before them, first unit. Infinite: cannot be.
    after: Vec<Vec<Vec<f64>>>,
    /// The least time of a step with several GPUs.
    least: f64,
}

impl Rest {
    pub(super) fn new(tables: &Tables<'_>) -> Self {
        let (gpus, units) = (tables.gpus(), tables.units());
        let nothing = vec![vec![f64::INFINITY; units]; gpus];
        let mut after = vec![nothing];
        for _ in 1..gpus {
            let further = after.last().expect("never empty");
            let own: Vec<Vec<f64>> = (0..gpus).map(|gpu| own(tables, gpu, &further[gpu])).collect();
            let best = |last: usize, from: usize| {
                let others = (0..gpus).filter(|gpu| *gpu != last);
                others.map(|gpu| tables.costs.hop[last][gpu] + own[gpu][from]).fold(f64::INFINITY, f64::min)
            };
            after.push((0..gpus).map(|last| (0..units).map(|from| best(last, from)).collect()).collect());
        }
        let least = least(tables, after.last().expect("never empty"));
        Self { after, least }
    }

    /// Units from `from` on after a run on `last`, on so many further GPUs at most.
    pub(super) fn after(&self, last: usize, from: usize, further: usize) -> f64 {
        self.after[further][last][from]
    }

    /// A step with several GPUs. Infinite: there can be none.
    pub(super) fn least(&self) -> f64 {
        self.least
    }
}

/// Everything from a unit on, which a GPU begins that is not the first one, by that unit. `further`: what comes after it.
fn own(tables: &Tables<'_>, gpu: usize, further: &[f64]) -> Vec<f64> {
    let units = tables.units();
    let mut own = vec![f64::INFINITY; units];
    for (from, least) in own.iter_mut().enumerate().skip(1) {
        let mut keep = |seconds: f64| *least = least.min(tables.costs.device[gpu] + seconds);
        tables.runs(gpu, Role::Last, from, units..units + 1, |run: Run| keep(run.seconds));
        tables.runs(gpu, Role::Middle, from, from + 1..units, |run: Run| keep(run.seconds + further[run.to]));
    }
    own
}

/// A whole step.
fn least(tables: &Tables<'_>, further: &[Vec<f64>]) -> f64 {
    let (units, costs) = (tables.units(), tables.costs);
    let mut least = f64::INFINITY;
    for from in (0..=tables.host_max).take_while(|from| tables.before[*from] <= tables.ram) {
        for (gpu, further) in further.iter().enumerate() {
            let entry = if from > 0 { costs.from_ram[gpu] } else { 0.0 };
            let fixed = costs.step + tables.host[from] + entry + costs.device[gpu];
            tables.runs(gpu, Role::First, from, from + 1..units, |run: Run| {
                least = least.min(fixed + run.seconds + further[run.to]);
            });
        }
    }
    least
}
