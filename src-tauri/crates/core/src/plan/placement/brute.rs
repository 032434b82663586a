//! Every placement of small problems, accounted for unit by unit, against what the search finds.

use std::iter;

use super::{ByRole, Placement, Problem, RamRoom, UnitBytes};
use crate::speed::{Costs, StageCosts};

/// Where a unit is: on the GPU of a turn, with or without its experts, or in system RAM (before all turns).
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Ram,
    Gpu { turn: usize, experts_away: bool },
}

/// Numbers one after another, always the same from the same seed (Vigna's SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// One below a bound.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// A whole time, so that sums in any order are equal.
    fn time(&mut self, bound: u64) -> f64 {
        let time = u32::try_from(self.below(bound)).expect("bounds are small");
        f64::from(time)
    }

    fn times(&mut self, count: usize, bound: u64) -> Vec<f64> {
        iter::repeat_with(|| self.time(bound)).take(count).collect()
    }

    fn square(&mut self, rows: usize, columns: usize, bound: u64) -> Vec<Vec<f64>> {
        iter::repeat_with(|| self.times(columns, bound)).take(rows).collect()
    }

    /// Times for GPUs and units; experts in RAM may be quicker, too.
    pub(super) fn stage(&mut self, gpus: usize, bytes: &[UnitBytes]) -> StageCosts {
        let units = bytes.len();
        let on_device = self.square(gpus, units, 20);
        let mut experts_in_ram = self.square(gpus, units, 40);
        for (away, whole) in experts_in_ram.iter_mut().zip(&on_device) {
            for ((away, whole), unit) in away.iter_mut().zip(whole).zip(bytes) {
                if unit.experts == 0 {
                    *away = *whole;
                }
            }
        }
        StageCosts {
            on_device,
            experts_in_ram,
            device: self.times(gpus, 5),
            hop: self.square(gpus, gpus, 8),
            in_ram: self.times(units, 60),
            from_ram: self.times(gpus, 8),
            step: self.time(10),
        }
    }
}

/// A problem that owns its times.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) costs: Costs,
    pub(super) bytes: Vec<UnitBytes>,
    pub(super) every_layer: u64,
    pub(super) compute: ByRole,
    pub(super) rooms: Vec<i128>,
    pub(super) ram: Option<RamRoom>,
    pub(super) all_gpus: bool,
}

impl Case {
    pub(super) fn problem(&self) -> Problem<'_> {
        Problem {
            bytes: self.bytes.clone(),
            every_layer: self.every_layer,
            compute: self.compute,
            rooms: self.rooms.clone(),
            ram: self.ram,
            costs: &self.costs,
            all_gpus: self.all_gpus,
        }
    }

    /// One in so many GPUs and layers; some GPUs may be alike, some layers without experts.
    pub(super) fn any(dice: &mut Dice, gpus: usize, layers: usize, with_ram: bool) -> Self {
        let moe = dice.below(3) > 0;
        let unit = |dice: &mut Dice, output: bool| UnitBytes {
            fixed: 1 + dice.below(12),
            experts: if moe && !output && dice.below(5) > 0 { dice.below(25) } else { 0 },
            cache: dice.below(6),
        };
        let bytes: Vec<UnitBytes> = (0..=layers).map(|at| unit(dice, at == layers)).collect();
        let all: u64 = bytes.iter().map(|unit| unit.fixed + unit.experts + unit.cache).sum();
        let [only, first, middle, last, less] = [0; 5].map(|_| dice.below(12));
        let compute = ByRole { only, first, middle, last, output_only: last.min(less) };
        // From far too little to more than enough for all.
        let scale = 1 + all * (1 + dice.below(10)) / 5;
        let room = |dice: &mut Dice| i128::from(dice.below(scale)) + i128::from(dice.below(30)) - 5;
        let mut rooms: Vec<i128> = (0..gpus).map(|_| room(dice)).collect();
        let ram = with_ram.then(|| RamRoom { bytes: dice.below(all + 1), experts_only: dice.below(3) == 0 });
        let mut costs = Costs { alone: dice.stage(gpus, &bytes), several: dice.stage(gpus, &bytes) };
        if gpus > 1 && dice.below(2) > 0 {
            rooms[1] = rooms[0];
            for stage in [&mut costs.alone, &mut costs.several] {
                make_alike(stage);
            }
        }
        Self { costs, bytes, every_layer: dice.below(4), compute, rooms, ram, all_gpus: dice.below(4) == 0 }
    }
}

/// Makes the second GPU like the first.
fn make_alike(stage: &mut StageCosts) {
    stage.on_device[1] = stage.on_device[0].clone();
    stage.experts_in_ram[1] = stage.experts_in_ram[0].clone();
    stage.device[1] = stage.device[0];
    stage.from_ram[1] = stage.from_ram[0];
    stage.hop[1][0] = stage.hop[0][1];
    for other in 2..stage.device.len() {
        stage.hop[1][other] = stage.hop[0][other];
        stage.hop[other][1] = stage.hop[other][0];
    }
}

/// Every order of every set of GPUs.
fn orders(gpus: usize) -> Vec<Vec<usize>> {
    let mut orders: Vec<Vec<usize>> = vec![vec![]];
    let mut begin = 0;
    while begin < orders.len() {
        let longer = (0..gpus).filter(|gpu| !orders[begin].contains(gpu));
        let longer: Vec<_> = longer.map(|gpu| [orders[begin].clone(), vec![gpu]].concat()).collect();
        orders.extend(longer);
        begin += 1;
    }
    orders.split_off(1)
}

/// Tells every assignment of units to turns, unit by unit.
fn each(case: &Case, turns: usize, places: &mut Vec<Place>, tell: &mut impl FnMut(&[Place])) {
    let (at, units) = (places.len(), case.bytes.len());
    let last = places.last().copied();
    if at == units {
        if matches!(last, Some(Place::Gpu { turn, .. }) if turn + 1 == turns) {
            tell(places);
        }
        return;
    }
    let mut next = Vec::new();
    if last.is_none_or(|last| last == Place::Ram) && at + 1 < units && case.ram.is_some_and(|ram| !ram.experts_only) {
        next.push(Place::Ram);
    }
    let turn_before = last.and_then(|last| if let Place::Gpu { turn, .. } = last { Some(turn) } else { None });
    let movable = case.ram.is_some() && case.bytes[at].experts > 0;
    for turn in [turn_before, Some(turn_before.map_or(0, |turn| turn + 1))].into_iter().flatten() {
        if turn >= turns {
            continue;
        }
        next.push(Place::Gpu { turn, experts_away: false });
        // The first layers with experts of a run: none stays before one that leaves.
        let begins = Some(turn) != turn_before;
        let run = places
            .iter()
            .zip(&case.bytes)
            .filter(|(place, _)| matches!(place, Place::Gpu { turn: t, .. } if *t == turn));
        let all_away = begins
            || run
                .filter(|(_, unit)| unit.experts > 0)
                .all(|(place, _)| matches!(place, Place::Gpu { experts_away: true, .. }));
        if movable && all_away {
            next.push(Place::Gpu { turn, experts_away: true });
        }
    }
    for place in next {
        places.push(place);
        each(case, turns, places, tell);
        places.pop();
    }
}

/// Time, least free bytes, and RAM of an assignment.
fn account(case: &Case, order: &[usize], places: &[Place]) -> (f64, i128, u64) {
    let costs = if order.len() == 1 { &case.costs.alone } else { &case.costs.several };
    let mut free: Vec<i128> = order.iter().map(|gpu| case.rooms[*gpu]).collect();
    let (mut seconds, mut ram, units) = (costs.step, 0, places.len());
    for (at, (place, unit)) in places.iter().zip(&case.bytes).enumerate() {
        match *place {
            Place::Ram => {
                ram += unit.fixed + unit.experts + unit.cache;
                seconds += costs.in_ram[at];
            }
            Place::Gpu { turn, experts_away } => {
                let times = if experts_away { &costs.experts_in_ram } else { &costs.on_device };
                seconds += times[order[turn]][at];
                free[turn] -= i128::from(unit.fixed + unit.cache);
                if experts_away { ram += unit.experts } else { free[turn] -= i128::from(unit.experts) }
            }
        }
    }
    for turn in 0..order.len() {
        let of_turn = |place: &Place| matches!(place, Place::Gpu { turn: own, .. } if *own == turn);
        let layers = places[..units - 1].iter().filter(|place| of_turn(place)).count();
        let compute = match (turn == 0, turn + 1 == order.len()) {
            (true, true) => case.compute.only,
            (true, false) => case.compute.first,
            (false, false) => case.compute.middle,
            (false, true) if layers == 0 => case.compute.output_only,
            (false, true) => case.compute.last,
        };
        free[turn] -= i128::from(compute) + if layers > 0 { i128::from(case.every_layer) } else { 0 };
        seconds += costs.device[order[turn]];
    }
    seconds += order.windows(2).map(|pair| costs.hop[pair[0]][pair[1]]).sum::<f64>();
    if places[0] == Place::Ram {
        seconds += costs.from_ram[order[0]];
    }
    (seconds, free.into_iter().min().expect("a GPU is used"), ram)
}

/// What the best placements reach, and how many placements there are.
#[derive(Debug, Default, PartialEq)]
struct Best {
    /// Time and headroom of the fastest that fits, and of those the roomiest.
    fastest: Option<(f64, i128)>,
    /// The same of the roomiest, and of those the fastest.
    roomiest: Option<(f64, i128)>,
    count: f64,
}

fn brute(case: &Case) -> Best {
    let mut best = Best::default();
    for order in orders(case.rooms.len()) {
        if case.all_gpus && order.len() < case.rooms.len() {
            continue;
        }
        each(case, order.len(), &mut Vec::new(), &mut |places| {
            best.count += 1.0;
            let (seconds, free, ram) = account(case, &order, places);
            if ram > case.ram.map_or(0, |ram| ram.bytes) {
                return;
            }
            if free >= 0 && best.fastest.is_none_or(|(s, f)| (seconds, -free) < (s, -f)) {
                best.fastest = Some((seconds, free));
            }
            if best.roomiest.is_none_or(|(s, f)| (-free, seconds) < (-f, s)) {
                best.roomiest = Some((seconds, free));
            }
        });
    }
    best
}

fn reached(placement: Option<&Placement>) -> Option<(f64, i128)> {
    placement.map(|placement| (placement.seconds, placement.headroom))
}

/// GPUs and layers of a case: mostly few, so that ten thousand take seconds.
fn size(number: u64) -> (usize, usize) {
    match number % 500 {
        0 => (4, 8),
        250 => (4, 12),
        1..3 => (3, 12),
        3..10 => (2, 12),
        10..60 => (4, 4),
        60..150 => (3, 6),
        150..300 => (2, 8),
        rest => (
            1 + usize::try_from(rest % 3).expect("less than three"),
            1 + usize::try_from(rest % 5).expect("less than five"),
        ),
    }
}

#[test]
fn ten_thousand_searches_find_what_trying_everything_finds() {
    let (mut fits, mut with_ram, mut several) = (0, 0, 0);
    for number in 0..10_000 {
        let mut dice = Dice(number);
        let (gpus, layers) = size(number);
        // With as many choices of RAM, the largest would take minutes.
        let ram = (gpus, layers) != (4, 12) && dice.below(2) > 0;
        let case = Case::any(&mut dice, gpus, layers, ram);
        let problem = case.problem();
        let (fastest, roomiest) = (problem.fastest(), problem.roomiest());
        let found =
            Best { fastest: reached(fastest.as_ref()), roomiest: reached(roomiest.as_ref()), count: problem.covered() };
        assert_eq!(found, brute(&case), "case {number}: {case:?} {fastest:?} {roomiest:?}");
        for placement in fastest.iter().chain(&roomiest) {
            assert!(problem.ram_taken(placement) <= case.ram.map_or(0, |ram| ram.bytes), "case {number}");
        }
        if let Some(fastest) = fastest {
            let bound = problem.bound().expect("something fits");
            assert!(bound <= fastest.seconds, "case {number}: {bound} {fastest:?}");
            fits += 1;
            with_ram += usize::from(problem.ram_taken(&fastest) > 0);
            several += usize::from(fastest.order.len() > 1);
        }
    }
    // The cases are of every kind.
    assert!(fits > 3_000 && fits < 9_000 && with_ram > 1_000 && several > 1_000, "{fits} {with_ram} {several}");
}
