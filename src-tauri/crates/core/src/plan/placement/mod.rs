//! The best placement of a model's units (layers in order, then the output) on GPUs and system RAM, found exactly.
//! Pure numbers: no model, no engine.
//!
//! **Placements.** Some GPUs, in the order in which the engine uses them; to each a run of neighbouring units; before the first
//! of them, where RAM may hold layers, the first layers of the model; and, where RAM may hold experts, those of the first
//! layers of each run. The output is always on a GPU.
//!
//! **Exactness.** Whatever a placement does from some unit on depends only on the GPUs used before, the last of them, and the
//! RAM that is left; so of all ways to come there, those stay that no other beats, and every other is answered for. Times are
//! finite and not negative; nothing else is assumed of them: experts may be quicker in RAM, a hop may cost more than two others.
//! The work grows with the sets of GPUs that are not alike: at most 2ⁿ.

mod alike;
#[cfg(test)]
mod brute;
mod covered;
mod gpus_only;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod milp;
mod price;
mod rest;
mod role;
mod tables;
mod way;
mod widest;
mod with_ram;

pub use role::ByRole;
pub(in crate::plan) use role::Turn;

use crate::speed::{Costs, StageCosts};
use alike::Alike;
use gpus_only::gpus_only;
use rest::Rest;
use tables::Tables;
use widest::widest;
use with_ram::with_ram;

/// Memory of a unit, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitBytes {
    /// Weights without routed experts.
    pub fixed: u64,
    /// Routed experts, which system RAM may hold.
    pub experts: u64,
    /// KV cache and recurrent state.
    pub cache: u64,
}

impl UnitBytes {
    /// Everything, bytes.
    fn all(self) -> u64 {
        self.fixed.saturating_add(self.experts).saturating_add(self.cache)
    }
}

/// System RAM for a part of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamRoom {
    /// How much of it, bytes.
    pub bytes: u64,
    /// Whether it takes experts only, and no whole layers.
    pub experts_only: bool,
}

/// What is to be placed, and where it can be.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    /// Memory of each unit: the layers in order, then the output.
    pub bytes: Vec<UnitBytes>,
    /// Bytes of which each GPU with a layer holds a copy.
    pub every_layer: u64,
    /// Compute buffers.
    pub compute: ByRole,
    /// What the engine may take on each GPU, of at most sixteen, bytes; negative where others already hold more than there is.
    pub rooms: Vec<i128>,
    /// System RAM that may be used; absent: none.
    pub ram: Option<RamRoom>,
    /// Times of a decode step for as many GPUs and units, finite and not negative.
    pub costs: &'a Costs,
    /// Whether every GPU takes part.
    pub all_gpus: bool,
}

/// Where each unit is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// GPUs used, by their number in the problem, in the order in which the engine uses them.
    pub order: Vec<u32>,
    /// Units on each, in that order; at least one.
    pub split: Vec<u32>,
    /// First layers that lie whole in system RAM.
    pub layers_in_ram: u32,
    /// Of each GPU used, in that order: first layers of its run whose experts lie in system RAM.
    pub experts_in_ram: Vec<u32>,
    /// Time of a decode step, as [`Problem::seconds`].
    pub seconds: f64,
    /// Free bytes on the used GPU with the least, as [`Problem::headroom`].
    pub headroom: i128,
}

/// Times that differ by less than this part of them count as the same: sums of a few hundred numbers, taken in another
/// order, differ by less than 10⁻¹² of themselves.
const TIE: f64 = 1e-9;

/// The search looks for headrooms within this, bytes. No machine has as much.
const FREE_MAX: i64 = 1 << 60;

impl Problem<'_> {
    /// The placement with the shortest decode step among those that fit, and of those the one with the most headroom; absent
    /// where none fits.
    #[must_use]
    pub fn fastest(&self) -> Option<Placement> {
        let alike = Alike::new(self);
        let first = self.search(&alike, 0, self.reachable(&alike)?)?;
        let seconds_max = first.seconds * (1.0 + TIE);
        Some(self.widen(first, |free| self.search(&alike, free, seconds_max)))
    }

    /// The placement that leaves most on the used GPU with the least, and of those the fastest. Where its headroom is negative
    /// nothing fits, and no placement lacks less. Absent where there is no placement within the RAM at all.
    #[must_use]
    pub fn roomiest(&self) -> Option<Placement> {
        let alike = Alike::new(self);
        if self.ram.is_none() && !self.bytes.is_empty() {
            let free = widest(&Tables::new(self, &self.costs.several, 0), &alike, self.all_gpus)?;
            return self.search(&alike, free, f64::INFINITY);
        }
        let first = self.some(&alike, -FREE_MAX)?;
        let last = self.widen(first, |free| self.some(&alike, free));
        self.search(&alike, bounded_free(last.headroom), last.seconds * (1.0 + TIE))
    }

    /// How many placements the answers stand for, those that do not fit included.
    #[must_use]
    pub fn covered(&self) -> f64 {
        covered::covered(self)
    }

    /// A time that no placement that fits goes below, seconds, found without the search: GPUs may be used again, and each may
    /// have all of the RAM. Absent where nothing fits even so.
    #[must_use]
    pub fn bound(&self) -> Option<f64> {
        let alone = way::alone(&Tables::new(self, &self.costs.alone, 0)).map(|way| way.seconds);
        let alone = alone.filter(|_| !self.all_gpus || self.rooms.len() == 1);
        let several = Rest::new(&Tables::new(self, &self.costs.several, 0)).least();
        Some(alone.map_or(several, |alone| alone.min(several))).filter(|bound| bound.is_finite())
    }

    /// A time within which there is a placement, quickly found; infinite where that needs the search. Absent where nothing fits.
    fn reachable(&self, alike: &Alike) -> Option<f64> {
        if self.ram.is_none() {
            return Some(f64::INFINITY);
        }
        let some = self.some(alike, 0)?.seconds;
        let on_gpus = Problem { ram: None, ..self.clone() }.search(alike, 0, f64::INFINITY);
        Some(on_gpus.map_or(some, |way| way.seconds.min(some)) * (1.0 + TIE))
    }

    /// Some placement that leaves so many bytes on every GPU used, whatever its time.
    fn some(&self, alike: &Alike, free: i64) -> Option<Placement> {
        let costs = timeless(self.rooms.len(), self.bytes.len());
        let found = Problem { costs: &costs, ..self.clone() }.search(alike, free, f64::INFINITY)?;
        Some(Placement { seconds: self.seconds(&found), ..found })
    }

    /// The fastest placement that leaves so many bytes on every GPU used and takes no longer than that.
    fn search(&self, alike: &Alike, free: i64, seconds_max: f64) -> Option<Placement> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut best = None;
        if !self.all_gpus || self.rooms.len() == 1 {
            best = way::alone(&Tables::new(self, &self.costs.alone, free));
        }
        let limit = best.as_ref().map_or(seconds_max, |way| way.seconds.min(seconds_max));
        if limit <= 0.0 && best.is_some() {
            // Nothing takes less than no time.
            return best.map(|way| way.placement(self));
        }
        let tables = Tables::new(self, &self.costs.several, free);
        let several = match self.ram {
            Some(_) => with_ram(&tables, alike, self.all_gpus, limit),
            None => gpus_only(&tables, alike, self.all_gpus),
        };
        let best = way::faster(best, several).filter(|way| way.seconds <= seconds_max);
        best.map(|way| way.placement(self))
    }

    /// Of the placements that `find` finds, which leave so many bytes at least, the one that leaves most: by halving.
    fn widen(&self, first: Placement, find: impl Fn(i64) -> Option<Placement>) -> Placement {
        let mut best = first;
        let mut most = self.rooms.iter().copied().max().map_or(0, bounded_free);
        // Where times differ, often nothing leaves even a byte more.
        let mut step = 1;
        while bounded_free(best.headroom) < most {
            let least = bounded_free(best.headroom);
            match find(least + step.min(most - least)) {
                Some(found) => best = found,
                None => most = least + step.min(most - least) - 1,
            }
            step = (most - bounded_free(best.headroom) + 1) / 2;
        }
        best
    }
}

/// Times of nothing at all, for problems that ask for memory alone.
#[must_use]
pub fn timeless(gpus: usize, units: usize) -> Costs {
    let stage = StageCosts {
        on_device: vec![vec![0.0; units]; gpus],
        experts_in_ram: vec![vec![0.0; units]; gpus],
        device: vec![0.0; gpus],
        hop: vec![vec![0.0; gpus]; gpus],
        in_ram: vec![0.0; units],
        from_ram: vec![0.0; gpus],
        step: 0.0,
    };
    Costs { alone: stage.clone(), several: stage }
}

fn bounded_free(headroom: i128) -> i64 {
    i64::try_from(headroom.clamp((-FREE_MAX).into(), FREE_MAX.into())).expect("clamped to 61 bits")
}
