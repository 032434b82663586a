//! The best contiguous split of units (layers, then the output) over GPUs. Pure numbers: no model, no engine.
//!
//! **Objective**, in this order: everything fits; as many GPUs as can take part do; the smallest free memory of any
//! used GPU is as large as possible. Where nothing fits, the largest lack of any GPU is as small as possible.
//!
//! **Exactness.** For every number of GPUs considered, of them used, and units held, the largest headroom is worked out from
//! those of one GPU less: all cuts and all GPUs that get nothing are weighed, none is tried twice. (Filling each GPU as far as
//! it goes would be quicker, and wrong: a later GPU that must take a unit may then meet a heavier one than it can hold.)

use crate::plan::placement::{ByRole, Turn};

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

impl Found {
    /// What makes one split better than another: it fits, over more GPUs, with more left.
    pub(super) fn rank(&self) -> (bool, usize, i128) {
        let fits = self.headroom >= 0;
        (fits, if fits { used(&self.split) } else { 0 }, self.headroom)
    }
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

    /// Free bytes on the tightest used GPU under a given split; `None` when the split uses no GPU.
    pub(super) fn headroom(&self, rooms: &[i128], split: &[u32]) -> Option<i128> {
        let of = used(split);
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

    /// The best split.
    pub(super) fn best(&self, rooms: &[i128]) -> Option<Found> {
        let weighed = Weighed::new(self, rooms);
        let by_used = || (1..=weighed.most).rev();
        let most = by_used().find(|&used| weighed.ends[used].headroom >= 0);
        let used = most.or_else(|| {
            by_used().reduce(
                |best, used| {
                    if weighed.ends[used].headroom > weighed.ends[best].headroom { used } else { best }
                },
            )
        })?;
        Some(Found { split: weighed.split(used), headroom: weighed.ends[used].headroom.into() })
    }
}

/// How many GPUs a split uses.
pub(super) fn used(split: &[u32]) -> usize {
    split.iter().filter(|&&units| units > 0).count()
}

/// A way to hold some first units: the headroom that it leaves, and where the last GPU used begins.
#[derive(Clone, Copy)]
struct Way {
    headroom: i64,
    gpu: u32,
    from: u32,
}

impl Way {
    /// There is none.
    const NONE: Self = Self { headroom: i64::MIN, gpu: u32::MAX, from: u32::MAX };

    /// Takes another way where that leaves more.
    fn improve(&mut self, headroom: i64, gpu: u32, from: usize) {
        if headroom > self.headroom {
            *self = Self { headroom, gpu, from: index(from) };
        }
    }

    /// Looks for a better way: `gpu` is the `used`th and goes on where one of the ways `behind` ends, which stand by their end.
    /// `left` is what it would leave if it held everything up to its own end; what comes before it is in `before`.
    fn search(&mut self, behind: &[Self], before: &[i64], left: i64, gpu: u32, used: usize) {
        // The first GPU used begins with the first unit, and those before the others have at least one unit each.
        let latest = if used == 1 { 1 } else { behind.len() };
        for from in (used - 1..latest.min(behind.len())).rev() {
            let own = left + before[from];
            // Beginning earlier it holds more, and leaves less.
            if own <= self.headroom {
                break;
            }
            self.improve(own.min(behind[from].headroom), gpu, from);
        }
    }
}

/// Amounts are cut off here, bytes: sums of a few of them stay within 64 bits. No machine has as much.
const BYTES_MAX: i64 = 1 << 60;

fn bounded(bytes: u64) -> i64 {
    i64::try_from(bytes).map_or(BYTES_MAX, |bytes| bytes.min(BYTES_MAX))
}

fn bounded_room(room: i128) -> i64 {
    i64::try_from(room.clamp((-BYTES_MAX).into(), BYTES_MAX.into())).expect("clamped to 61 bits")
}

/// The best ways to hold units, by how many GPUs are used.
struct Weighed {
    /// As [`Demand::before`].
    before: Vec<i64>,
    /// Most GPUs that can be used.
    most: usize,
    /// For each GPU, number used among those before it, and end: the best way that leaves more units to come.
    ways: Vec<Way>,
    /// For each number used: the best way to hold everything.
    ends: Vec<Way>,
}

impl Weighed {
    fn new(demand: &Demand, rooms: &[i128]) -> Self {
        let (gpus, units) = (rooms.len(), demand.units());
        let most = gpus.min(units);
        let row = units * most;
        let before = demand.before.iter().map(|bytes| bounded(*bytes)).collect();
        let ways = vec![Way::NONE; row * (gpus + 1)];
        let mut weighed = Self { before, most, ways, ends: vec![Way::NONE; most + 1] };
        if most > 0 {
            weighed.ways[0].headroom = i64::MAX;
        }
        let [shared, compute] = [bounded(demand.every_layer), bounded(demand.compute.last)];
        let [output_only, only] = [demand.compute.output_only, demand.compute.only].map(bounded);
        for (gpu, &room) in (0_u32..).zip(rooms) {
            let room = bounded_room(room);
            for used in 1..=most {
                let own = if used == 1 { only } else { compute };
                weighed.end(gpu, used, room - own - shared, room - output_only);
            }
            // The GPU gets nothing: what its predecessors hold stays held.
            let begin = gpu as usize * row; // at most sixteen GPUs
            weighed.ways.copy_within(begin..begin + row, begin + row);
            for used in 1..most {
                let own = bounded(if used == 1 { demand.compute.first } else { demand.compute.middle });
                weighed.extend(gpu, used, room - own - shared);
            }
        }
        weighed
    }

    fn units(&self) -> usize {
        self.before.len() - 1
    }

    /// Where the ways begin of the GPUs before `gpu`, `used` of them used; they stand by end.
    fn at(&self, gpu: u32, used: usize) -> usize {
        (gpu as usize * self.most + used) * self.units() // at most sixteen GPUs
    }

    /// The GPU is the last one used. It has `room` for units with a layer among them, or `room_for_output` for the output alone.
    fn end(&mut self, gpu: u32, used: usize, room: i64, room_for_output: i64) {
        let (units, begin) = (self.units(), self.at(gpu, used - 1));
        let (before, best) = (&self.ways[begin..begin + units], &mut self.ends[used]);
        let output = self.before[units] - self.before[units - 1];
        best.improve((room_for_output - output).min(before[units - 1].headroom), gpu, units - 1);
        best.search(&before[..units - 1], &self.before, room - self.before[units], gpu, used);
    }

    /// The GPU is one of those used, and more follow.
    fn extend(&mut self, gpu: u32, used: usize, room: i64) {
        let (units, begin, into) = (self.units(), self.at(gpu, used - 1), self.at(gpu + 1, used));
        let (before, here) = self.ways.split_at_mut(into);
        for end in used..units {
            here[end].search(&before[begin..begin + end], &self.before, room - self.before[end], gpu, used);
        }
    }

    /// The split of the best way to hold everything over this many GPUs.
    fn split(&self, used: usize) -> Vec<u32> {
        let mut split = vec![0; self.ways.len() / (self.units() * self.most) - 1];
        let (mut way, mut end) = (self.ends[used], index(self.units()));
        for used in (0..used).rev() {
            split[way.gpu as usize] = end - way.from; // at most sixteen GPUs
            end = way.from;
            way = self.ways[self.at(way.gpu, used) + end as usize]; // at most 513 units
        }
        split
    }
}

fn index(unit: usize) -> u32 {
    u32::try_from(unit).expect("models have at most 512 layers")
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
            prop_assert_eq!(found.headroom >= 0, fits);
            prop_assert_eq!(found.headroom, headroom);
            prop_assert!(!fits || used(&found.split) == most);
        }
    }
}
