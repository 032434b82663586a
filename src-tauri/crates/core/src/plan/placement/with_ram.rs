//! The fastest way over several GPUs and system RAM.
//!
//! As without RAM, but the runs share the RAM, so for each set of GPUs, the last of them, and the units held there may be several
//! ways worth going on with: none of them faster with no more RAM than another. Those that cannot end within the
//! time allowed, whatever follows, are dropped.

use super::alike::Alike;
use super::rest::Rest;
use super::tables::{Role, Run, Tables};
use super::way::{Leg, Way};

/// A way to hold some first units.
#[derive(Clone, Copy, Debug)]
struct Begun {
    seconds: f64,
    /// System RAM taken, bytes.
    ram: i64,
    /// Its last run, by its place among those kept; absent: there is none yet.
    trail: Option<usize>,
}

/// A run, and the one before it.
struct Trail {
    leg: Leg,
    before: Option<usize>,
}

/// Ways to hold the same units with the same GPUs, none better than another in both time and RAM: by RAM, growing.
type Front = Vec<Begun>;

struct Search<'t, 'a> {
    tables: &'t Tables<'a>,
    alike: &'t Alike,
    rest: Rest,
    seconds_max: f64,
    /// For each set of GPUs and last GPU of it, by the units held; empty where nothing is held.
    fronts: Vec<Vec<Front>>,
    trails: Vec<Trail>,
    best: Option<Begun>,
}

/// The fastest way over two or more GPUs that takes no longer than `seconds_max`; over all of them if so asked.
pub(super) fn with_ram(tables: &Tables<'_>, alike: &Alike, all: bool, seconds_max: f64) -> Option<Way> {
    let gpus = tables.gpus();
    if gpus < 2 || tables.units() < 2 {
        return None;
    }
    let rest = Rest::new(tables);
    if rest.least() > seconds_max {
        return None;
    }
    let everyone = (1_u32 << gpus) - 1;
    let fronts = vec![Vec::new(); alike.sets().len() * gpus];
    let mut search = Search { tables, alike, rest, seconds_max, fronts, trails: Vec::new(), best: None };
    for &used in alike.sets() {
        for gpu in (0..gpus).filter(|gpu| alike.next(used, *gpu)) {
            let together = used | 1 << gpu;
            let ends = used > 0 && (!all || together == everyone);
            for from in 0..tables.units() {
                let entering = if used == 0 { search.begin(gpu, from) } else { search.enter(used, gpu, from) };
                if entering.is_empty() {
                    continue;
                }
                if ends {
                    search.end(gpu, from, &entering);
                }
                if together != everyone {
                    search.extend(together, gpu, from, &entering);
                }
            }
        }
    }
    let best = search.best?;
    Some(Way { seconds: best.seconds, legs: search.legs(best) })
}

impl Begun {
    /// With a run more, where the RAM is enough.
    fn and(&self, tables: &Tables<'_>, gpu: usize, run: &Run) -> Option<Self> {
        let ram = self.ram + run.ram;
        let seconds = self.seconds + tables.costs.device[gpu] + run.seconds;
        (ram <= tables.ram).then_some(Self { seconds, ram, trail: self.trail })
    }
}

impl Search<'_, '_> {
    fn row(&self, used: u32, last: usize) -> usize {
        self.alike.place(used) * self.tables.gpus() + last
    }

    /// The way with the first units in RAM, for a first GPU.
    fn begin(&self, gpu: usize, from: usize) -> Front {
        let (tables, costs) = (self.tables, self.tables.costs);
        if from > tables.host_max || tables.before[from] > tables.ram {
            return Vec::new();
        }
        let entry = if from > 0 { costs.from_ram[gpu] } else { 0.0 };
        vec![Begun { seconds: costs.step + tables.host[from] + entry, ram: tables.before[from], trail: None }]
    }

    /// The ways on which a GPU can begin with a unit after those used.
    fn enter(&self, used: u32, gpu: usize, from: usize) -> Front {
        let mut front = Vec::new();
        for last in 0..self.tables.gpus() {
            let hop = self.tables.costs.hop[last][gpu];
            for begun in self.fronts[self.row(used, last)].get(from).into_iter().flatten() {
                keep(&mut front, Begun { seconds: begun.seconds + hop, ..*begun });
            }
        }
        front
    }

    /// Ends ways with a last run.
    fn end(&mut self, gpu: usize, from: usize, entering: &Front) {
        let (tables, units) = (self.tables, self.tables.units());
        tables.runs(gpu, Role::Last, from, units..units + 1, |run| {
            for way in entering.iter().filter_map(|begun| begun.and(tables, gpu, &run)) {
                if way.seconds <= self.seconds_max {
                    self.seconds_max = way.seconds;
                    let trail = self.trail(Leg { gpu, from, experts_to: run.experts_to, to: run.to }, way.trail);
                    self.best = Some(Begun { trail, ..way });
                }
            }
        });
    }

    /// Extends ways by a run that is not the last.
    fn extend(&mut self, together: u32, gpu: usize, from: usize, entering: &Front) {
        let (tables, units, row) = (self.tables, self.tables.units(), self.row(together, gpu));
        let role = if together.count_ones() == 1 { Role::First } else { Role::Middle };
        let further = tables.gpus() - together.count_ones() as usize;
        tables.runs(gpu, role, from, from + 1..units, |run| {
            let rest = self.rest.after(gpu, run.to, further);
            for way in entering.iter().filter_map(|begun| begun.and(tables, gpu, &run)) {
                if way.seconds + rest > self.seconds_max {
                    continue;
                }
                let fronts = &mut self.fronts[row];
                fronts.resize(units, Vec::new());
                let trail = Some(self.trails.len());
                if keep(&mut fronts[run.to], Begun { trail, ..way }) {
                    self.trail(Leg { gpu, from, experts_to: run.experts_to, to: run.to }, way.trail);
                }
            }
        });
    }

    fn trail(&mut self, leg: Leg, before: Option<usize>) -> Option<usize> {
        self.trails.push(Trail { leg, before });
        Some(self.trails.len() - 1)
    }

    /// The runs of a way.
    fn legs(&self, way: Begun) -> Vec<Leg> {
        let before = |trail: &Option<usize>| trail.and_then(|at| self.trails[at].before);
        let trails = std::iter::successors(Some(way.trail), |trail| Some(before(trail))).map_while(|trail| trail);
        let mut legs: Vec<Leg> = trails.map(|at| self.trails[at].leg).collect();
        legs.reverse();
        legs
    }
}

/// Takes a way in unless another there is as good in both, and drops those that it is as good as in both.
fn keep(front: &mut Front, way: Begun) -> bool {
    let at = front.partition_point(|other| other.ram <= way.ram);
    if at > 0 && front[at - 1].seconds <= way.seconds {
        return false;
    }
    // Those with as much RAM or more that are no faster: behind it, and the one with just as much before it.
    let begin = front[..at].iter().rposition(|other| other.ram < way.ram).map_or(0, |last| last + 1);
    let worse = front[at..].iter().take_while(|other| other.seconds >= way.seconds).count();
    front.splice(begin..at + worse, [way]);
    true
}
