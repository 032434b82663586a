//! The best placement of a model's units (layers in order, then the output) on GPUs and system RAM, found exactly.
//! Pure numbers: no model, no engine.
//!
//! **Placements.** Some GPUs, in the order in which the engine uses them; to each a run of neighbouring units; before the first
//! of them, where RAM may hold layers, the first layers of the model; and, where RAM may hold experts, those of the first
//! layers of each run. The output is always on a GPU.

mod every;
mod price;
mod role;

pub use role::ByRole;
pub(in crate::plan) use role::Turn;

use crate::speed::Costs;

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
    /// What the engine may take on each GPU, bytes; negative where others already hold more than there is.
    pub rooms: Vec<i128>,
    /// System RAM that may be used; absent: none.
    pub ram: Option<RamRoom>,
    /// Times of a decode step, for as many GPUs and units.
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

impl Problem<'_> {
    /// The placement with the shortest decode step among those that fit; absent where none fits.
    #[must_use]
    pub fn fastest(&self) -> Option<Placement> {
        let mut best: Option<Placement> = None;
        every::each(self, &mut |placement| {
            let better = best.as_ref().is_none_or(|best| placement.seconds < best.seconds);
            if placement.headroom >= 0 && better {
                best = Some(placement);
            }
        });
        best
    }

    /// The placement that leaves most on the used GPU with the least, and of those the fastest. Where its headroom is negative
    /// nothing fits, and no placement lacks less. Absent where there is no placement at all.
    #[must_use]
    pub fn roomiest(&self) -> Option<Placement> {
        let mut best: Option<Placement> = None;
        every::each(self, &mut |placement| {
            let better = |best: &Placement| (placement.headroom, -placement.seconds) > (best.headroom, -best.seconds);
            if best.as_ref().is_none_or(better) {
                best = Some(placement);
            }
        });
        best
    }

    /// How many placements the answers stand for, those that do not fit included.
    #[must_use]
    pub fn covered(&self) -> f64 {
        let mut covered = 0.0;
        every::each(self, &mut |_| covered += 1.0);
        covered
    }
}
