//! The best contiguous split of units (layers, then the output) over GPUs. Pure numbers: no model, no engine.
//!
//! **Objective**, in this order: everything fits; as many GPUs as can take part do; the smallest free memory of any
//! used GPU is as large as possible. Where nothing fits, the largest lack of any GPU is as small as possible.
//!
//! **Exactness.** For a number of used GPUs `c` and a demanded headroom `h`, let `far(d, j)` be the most units that the
//! first `d` GPUs can hold when `j` of them are used, each keeping `h` free and each leaving a unit to every later one.
//! Reaching further is never worse: the rest, and with it every later GPU's load, only shrinks. So filling each GPU as
//! far as it goes decides whether `(c, h)` is possible, and `far` runs over all choices of which GPUs get nothing. What
//! is possible at `h` is possible at any smaller one, so bisection over whole bytes finds the largest.

use crate::plan::request::GPUS_MAX;

/// Units per GPU; those beyond the request's GPUs stay zero.
type Split = [u32; GPUS_MAX];

/// Compute buffer of a GPU by its part in the pipeline, bytes.
///
/// It does not depend on where the cuts lie: the buffer is the peak of one layer's work, which repeats, plus what crosses
/// into the device. Only these parts differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ByRole {
    /// The only GPU.
    pub(super) only: u64,
    /// The first of several: it also receives embeddings.
    pub(super) first: u64,
    /// Neither first nor last.
    pub(super) middle: u64,
    /// The last of several, with at least one layer.
    pub(super) last: u64,
    /// The last of several, with the output alone.
    pub(super) output_only: u64,
}

impl ByRole {
    /// The value at `step` of `steps` on the straight line from here to `end`.
    pub(super) fn towards(self, end: Self, step: u64, steps: u64) -> Self {
        let at = |from: u64, to: u64| {
            let (from, to) = (i128::from(from), i128::from(to));
            let value = from + (to - from) * i128::from(step) / i128::from(steps.max(1));
            u64::try_from(value).expect("a value between two u64 is one")
        };
        Self {
            only: at(self.only, end.only),
            first: at(self.first, end.first),
            middle: at(self.middle, end.middle),
            last: at(self.last, end.last),
            output_only: at(self.output_only, end.output_only),
        }
    }
}

/// What a split must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    /// Weights and KV cache of units before each unit; one entry more than units.
    pub(super) before: Vec<u64>,
    /// Weights of which each GPU with a layer has its own copy.
    pub(super) every_layer: u64,
    /// Compute buffers.
    pub(super) compute: ByRole,
}

/// A split and how it fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Units per GPU.
    pub(super) split: Vec<u32>,
    /// Free bytes on the used GPU with the least; negative: what is lacking.
    pub(super) headroom: i128,
}

/// A GPU's turn among those used.
#[derive(Clone, Copy)]
struct Turn {
    /// Position among the used GPUs.
    at: usize,
    /// How many are used.
    of: usize,
}

impl Demand {
    fn units(&self) -> usize {
        self.before.len() - 1
    }

    /// Bytes of units `from..to` on the GPU whose turn it is.
    fn bytes(&self, from: usize, to: usize, turn: Turn) -> u64 {
        let output = self.units() - 1;
        let shared = if from < output { self.every_layer } else { 0 };
        let compute = match (turn.at + 1 == turn.of, turn.at == 0) {
            (true, true) => self.compute.only,
            (true, false) if from >= output => self.compute.output_only,
            (true, false) => self.compute.last,
            (false, true) => self.compute.first,
            (false, false) => self.compute.middle,
        };
        (self.before[to] - self.before[from]).saturating_add(shared).saturating_add(compute)
    }

    /// Free bytes on the tightest used GPU under a given split; `None` when the split uses no GPU.
    fn headroom(&self, rooms: &[i128], split: &[u32]) -> Option<i128> {
        let of = split.iter().filter(|&&units| units > 0).count();
        let (mut from, mut at) = (0, 0);
        let mut least = None;
        for (&room, &units) in rooms.iter().zip(split).filter(|&(_, &units)| units > 0) {
            let to = from + usize::try_from(units).expect("a share is at most the number of units");
            let free = room - i128::from(self.bytes(from, to, Turn { at, of }));
            least = Some(least.map_or(free, |other: i128| other.min(free)));
            (from, at) = (to, at + 1);
        }
        least
    }

    /// How far the GPU with `room` reaches from unit `from`, at most to `cap`; `None` when it cannot hold one unit.
    fn reach(&self, room: i128, from: usize, cap: usize, turn: Turn) -> Option<usize> {
        let fits = |to: usize| i128::from(self.bytes(from, to, turn)) <= room;
        if from >= cap || !fits(from + 1) {
            return None;
        }
        let (mut low, mut high) = (from + 1, cap);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        Some(low)
    }

    /// A split over exactly `used` GPUs that leaves `headroom` on each of them.
    fn fill(&self, rooms: &[i128], used: usize, headroom: i128) -> Option<Split> {
        let units = self.units();
        // Per number of GPUs used so far: units covered, and how many each GPU took.
        let mut far: [Option<(usize, Split)>; GPUS_MAX + 1] = [None; GPUS_MAX + 1];
        far[0] = Some((0, [0; GPUS_MAX]));
        for (device, &room) in rooms.iter().enumerate() {
            for at in (0..used.min(device + 1)).rev() {
                let Some((from, mut split)) = far[at] else { continue };
                let turn = Turn { at, of: used };
                let cap = units - (used - at - 1);
                let Some(to) = self.reach(room - headroom, from, cap, turn) else { continue };
                if far[at + 1].is_none_or(|(other, _)| to > other) {
                    split[device] = u32::try_from(to - from).expect("models have at most 512 layers");
                    far[at + 1] = Some((to, split));
                }
            }
        }
        far[used].filter(|&(covered, _)| covered == units).map(|(_, split)| split)
    }

    /// The split over exactly `used` GPUs with the largest headroom.
    fn best_over(&self, rooms: &[i128], used: usize) -> Option<Found> {
        let all = i128::from(*self.before.last()?) + i128::from(self.every_layer);
        let by_role = [self.compute.only, self.compute.first, self.compute.middle, self.compute.last];
        // At `low` any GPU can hold everything; above `high` none can hold anything.
        let mut low = rooms.iter().min()? - all - i128::from(by_role.into_iter().max()?);
        let mut high = *rooms.iter().max()?;
        let mut split = self.fill(rooms, used, low)?;
        while low < high {
            let middle = low + (high - low + 1) / 2;
            match self.fill(rooms, used, middle) {
                Some(found) => (split, low) = (found, middle),
                None => high = middle - 1,
            }
        }
        Some(Found { split: split[..rooms.len()].to_vec(), headroom: low })
    }

    /// The most GPUs over which some split fits.
    fn most_used(&self, rooms: &[i128]) -> Option<usize> {
        (1..=rooms.len().min(self.units())).rev().find(|&used| self.fill(rooms, used, 0).is_some())
    }

    /// Whether the given split fits, or any where none is given.
    pub(super) fn fits(&self, rooms: &[i128], split: Option<&[u32]>) -> bool {
        match split {
            Some(split) => self.headroom(rooms, split).is_some_and(|headroom| headroom >= 0),
            None => self.most_used(rooms).is_some(),
        }
    }

    /// The best split.
    pub(super) fn best(&self, rooms: &[i128]) -> Option<Found> {
        if let Some(used) = self.most_used(rooms) {
            return self.best_over(rooms, used);
        }
        let counts = (1..=rooms.len().min(self.units())).rev();
        counts.filter_map(|used| self.best_over(rooms, used)).reduce(|best, other| {
            if other.headroom > best.headroom { other } else { best }
        })
    }
}
