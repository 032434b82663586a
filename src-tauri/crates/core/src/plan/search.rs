//! The best contiguous split of units (layers, then the output) over GPUs. Pure numbers: no model, no engine.
//!
//! **Objective**, in this order: everything fits; as many GPUs as can take part do; the smallest free memory of any
//! used GPU is as large as possible. Where nothing fits, the largest lack of any GPU is as small as possible.
//!
//! **Exactness.** For a number of used GPUs and a demanded headroom, every end that the first `d` GPUs can reach with `j`
//! of them used is marked, over all choices of cuts and of GPUs that get nothing. What is possible at a headroom is
//! possible at any smaller one, so bisection over whole bytes finds the largest. (Filling each GPU as far as it goes would
//! be quicker, and wrong: a later GPU that must take a unit may then meet a heavier one than it can hold.)

/// Compute buffer of a GPU by its part in the pipeline, bytes.
///
/// From a few layers on it does not depend on where the cuts lie: the buffer is the peak of one layer's work, which
/// repeats, plus what crosses into the device. Only these parts differ.
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
    /// The larger of both, part by part.
    pub(super) fn or_more(self, other: Self) -> Self {
        Self {
            only: self.only.max(other.only),
            first: self.first.max(other.first),
            middle: self.middle.max(other.middle),
            last: self.last.max(other.last),
            output_only: self.output_only.max(other.output_only),
        }
    }

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

impl ByRole {
    /// The part that a GPU plays in its turn.
    fn of(&mut self, turn: Turn, output_alone: bool) -> &mut u64 {
        match (turn.at + 1 == turn.of, turn.at == 0) {
            (true, true) => &mut self.only,
            (true, false) if output_alone => &mut self.output_only,
            (true, false) => &mut self.last,
            (false, true) => &mut self.first,
            (false, false) => &mut self.middle,
        }
    }
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
        let mut compute = self.compute;
        let compute = *compute.of(turn, from + 1 >= self.units());
        self.fixed(from, to).saturating_add(compute)
    }

    /// Of those, all but compute buffers.
    fn fixed(&self, from: usize, to: usize) -> u64 {
        let shared = if from + 1 < self.units() { self.every_layer } else { 0 };
        (self.before[to] - self.before[from]).saturating_add(shared)
    }

    /// How a split fares with the compute buffers that its used GPUs really have, and those by part.
    pub(super) fn exactly(&self, rooms: &[i128], split: &[u32], compute: &[u64]) -> (i128, ByRole) {
        let of = split.iter().filter(|&&units| units > 0).count();
        let mut by_role = ByRole::default();
        let mut least = i128::MAX;
        let (mut from, mut at) = (0, 0);
        for (&room, &units) in rooms.iter().zip(split).filter(|&(_, &units)| units > 0) {
            let to = from + usize::try_from(units).expect("a share is at most the number of units");
            let own = compute.get(at).copied().unwrap_or(0);
            least = least.min(room - i128::from(self.fixed(from, to).saturating_add(own)));
            let slot = by_role.of(Turn { at, of }, from + 1 >= self.units());
            *slot = own.max(*slot);
            (from, at) = (to, at + 1);
        }
        (least, by_role)
    }

    /// Free bytes on the tightest used GPU under a given split; `None` when the split uses no GPU.
    pub(super) fn headroom(&self, rooms: &[i128], split: &[u32]) -> Option<i128> {
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

    /// For each unit, one past the last that a GPU with `room` can hold from it on; the unit itself when it holds none.
    fn ends(&self, room: i128, turn: Turn) -> Vec<usize> {
        let units = self.units();
        let mut end = 0;
        // A window that fits still fits without its first unit, so ends never fall.
        let from_each = (0..units).map(|from| {
            end = end.max(from);
            while end < units && i128::from(self.bytes(from, end + 1, turn)) <= room {
                end += 1;
            }
            end
        });
        from_each.collect()
    }

    /// A split over exactly `used` GPUs that leaves `headroom` on each of them.
    fn fill(&self, rooms: &[i128], used: usize, headroom: i128) -> Option<Vec<u32>> {
        let (gpus, units) = (rooms.len(), self.units());
        let mut marks = Marks::new(gpus, used, units);
        marks.set(0, 0, 0);
        let mut holds = Vec::with_capacity(gpus);
        for (gpu, &room) in rooms.iter().enumerate() {
            // Middle turns are alike: one table serves them all.
            let of = |at| self.ends(room - headroom, Turn { at, of: used });
            let tables = [of(0), if used > 2 { of(1) } else { Vec::new() }, of(used - 1)];
            for at in 0..=used.min(gpu) {
                marks.carry(gpu, at);
                if at < used {
                    marks.extend(gpu, at, &tables[table_of(at, used)]);
                }
            }
            holds.push(tables);
        }
        marks.get(gpus, used, units).then(|| {
            let mut split = vec![0; gpus];
            let (mut at, mut to) = (used, units);
            for gpu in (0..gpus).rev() {
                if marks.get(gpu, at, to) {
                    continue;
                }
                let ends = &holds[gpu][table_of(at - 1, used)];
                let from = (0..to).rev().find(|&from| marks.get(gpu, at - 1, from) && to <= ends[from]);
                let from = from.expect("a mark is made from an earlier one");
                split[gpu] = u32::try_from(to - from).expect("models have at most 512 layers");
                (at, to) = (at - 1, from);
            }
            split
        })
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
        Some(Found { split, headroom: low })
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
        counts
            .filter_map(|used| self.best_over(rooms, used))
            .reduce(|best, other| if other.headroom > best.headroom { other } else { best })
    }
}

/// Which of the tables of first, middle and last turn serves a turn; a GPU alone has the last.
fn table_of(at: usize, used: usize) -> usize {
    if at + 1 == used { 2 } else { usize::from(at > 0) }
}

/// Which units the first GPUs can end before, by how many of them are used.
struct Marks {
    marks: Vec<bool>,
    used: usize,
    units: usize,
}

impl Marks {
    fn new(gpus: usize, used: usize, units: usize) -> Self {
        Self { marks: vec![false; (gpus + 1) * (used + 1) * (units + 1)], used, units }
    }

    fn row(&self, gpus: usize, used: usize) -> usize {
        (gpus * (self.used + 1) + used) * (self.units + 1)
    }

    fn get(&self, gpus: usize, used: usize, end: usize) -> bool {
        self.marks[self.row(gpus, used) + end]
    }

    fn set(&mut self, gpus: usize, used: usize, end: usize) {
        let row = self.row(gpus, used);
        self.marks[row + end] = true;
    }

    /// GPU `gpu` gets nothing: what its predecessors reached stays reached.
    fn carry(&mut self, gpu: usize, used: usize) {
        for end in 0..=self.units {
            if self.get(gpu, used, end) {
                self.set(gpu + 1, used, end);
            }
        }
    }

    /// GPU `gpu` gets at least one unit, from wherever `used` of its predecessors end. Marks each end once.
    fn extend(&mut self, gpu: usize, used: usize, ends: &[usize]) {
        let mut marked = 0;
        for (from, &far) in ends.iter().enumerate() {
            if self.get(gpu, used, from) {
                for end in (from + 1).max(marked)..=far {
                    self.set(gpu + 1, used + 1, end);
                }
                marked = marked.max(far + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every way to share `units` out over `gpus`, in order.
    fn every_split(gpus: usize, units: u32) -> Vec<Vec<u32>> {
        if gpus == 1 {
            return vec![vec![units]];
        }
        let shares =
            (0..=units).flat_map(|own| every_split(gpus - 1, units - own).into_iter().map(move |rest| (own, rest)));
        shares.map(|(own, rest)| [vec![own], rest].concat()).collect()
    }

    fn used(split: &[u32]) -> usize {
        split.iter().filter(|&&units| units > 0).count()
    }

    /// The objective, spelled out over every split there is: fits, then GPUs used, then headroom.
    fn best_of_all(demand: &Demand, rooms: &[i128], units: u32) -> (bool, usize, i128) {
        let rank = |split: &Vec<u32>| {
            let headroom = demand.headroom(rooms, split).expect("some GPU is used");
            if headroom >= 0 { (true, used(split), headroom) } else { (false, 0, headroom) }
        };
        every_split(rooms.len(), units).iter().map(rank).max().expect("there is a split")
    }

    prop_compose! {
        fn any_demand()(
            units in prop::collection::vec(1_u64..40, 2..7),
            every_layer in 0_u64..3,
            compute in prop::array::uniform5(0_u64..20),
        ) -> Demand {
            let mut before = vec![0];
            before.extend(units.iter().scan(0, |sum, bytes| { *sum += bytes; Some(*sum) }));
            // The output alone never takes more than the output behind layers.
            let [only, first, middle, last, less] = compute;
            Demand { before, every_layer, compute: ByRole { only, first, middle, last, output_only: last.min(less) } }
        }
    }

    proptest! {
        #[test]
        fn no_split_is_better_than_the_one_found(
            demand in any_demand(),
            rooms in prop::collection::vec(-10_i128..120, 1..5),
        ) {
            let units = u32::try_from(demand.units()).expect("few");
            let found = demand.best(&rooms).expect("there is a split");
            prop_assert_eq!(found.split.iter().sum::<u32>(), units);
            prop_assert_eq!(demand.headroom(&rooms, &found.split), Some(found.headroom));
            let (fits, most, headroom) = best_of_all(&demand, &rooms, units);
            prop_assert_eq!(demand.fits(&rooms, None), fits);
            prop_assert_eq!(found.headroom, headroom);
            prop_assert!(!fits || used(&found.split) == most);
        }
    }
}
