//! The fastest way over several GPUs with nothing in system RAM.
//!
//! For each set of GPUs, the last of them, and the units held: the least time, from those of the sets with one GPU less. Where
//! a GPU's run ends at a later unit it cannot begin at an earlier one, for its room is the same; so the best beginning is the
//! least of a window that only moves forward, and all ends of a run together take time linear in the units.

use std::collections::VecDeque;

use super::alike::Alike;
use super::tables::{Role, Tables};
use super::way::{Leg, Way};

/// The least times of holding the first units, by set of GPUs and the last of them.
struct Least<'t, 'a> {
    tables: &'t Tables<'a>,
    alike: &'t Alike,
    /// For each set and last GPU of it, by the units held; empty where nothing can be held. Infinite: cannot be held.
    rows: Vec<Vec<f64>>,
}

/// The end of a way: the GPUs before the last run, the GPU of that, and its first unit.
#[derive(Clone, Copy)]
struct End {
    seconds: f64,
    used: u32,
    gpu: usize,
    from: usize,
}

/// The fastest way over two or more GPUs; all of them if so asked.
pub(super) fn gpus_only(tables: &Tables<'_>, alike: &Alike, all: bool) -> Option<Way> {
    let gpus = tables.gpus();
    if gpus < 2 || tables.units() < 2 {
        return None;
    }
    let everyone = (1_u32 << gpus) - 1;
    let mut least = Least { tables, alike, rows: vec![Vec::new(); alike.sets().len() * gpus] };
    let mut best: Option<End> = None;
    let mut entering = Vec::new();
    for &used in alike.sets() {
        for gpu in (0..gpus).filter(|gpu| alike.next(used, *gpu)) {
            let together = used | 1 << gpu;
            if used > 0 && !least.enter(used, gpu, &mut entering) {
                continue;
            }
            if used > 0 && (!all || together == everyone) {
                let end = least.end(used, gpu, &entering);
                best = end.filter(|end| best.is_none_or(|best| end.seconds < best.seconds)).or(best);
                if let Some(best) = best.filter(|best| best.seconds <= 0.0) {
                    // Nothing takes less than no time.
                    return Some(least.way(best));
                }
            }
            if together != everyone {
                let row = if used == 0 { least.begin(gpu) } else { least.extend(gpu, &entering) };
                if row.iter().any(|seconds| seconds.is_finite()) {
                    *least.row(together, gpu) = row;
                }
            }
        }
    }
    Some(least.way(best?))
}

impl Least<'_, '_> {
    fn row(&mut self, used: u32, last: usize) -> &mut Vec<f64> {
        let begin = self.alike.place(used) * self.tables.gpus();
        &mut self.rows[begin + last]
    }

    /// The sets' rows with the last GPU of each.
    fn lasts(&self, used: u32) -> impl Iterator<Item = (usize, &[f64])> {
        let begin = self.alike.place(used) * self.tables.gpus();
        let rows = self.rows[begin..begin + self.tables.gpus()].iter().map(Vec::as_slice).enumerate();
        rows.filter(|(_, row)| !row.is_empty())
    }

    /// Times at which a GPU can begin after those used, by the units that they hold. False where they can hold nothing.
    fn enter(&self, used: u32, gpu: usize, entering: &mut Vec<f64>) -> bool {
        let units = self.tables.units();
        entering.clear();
        entering.resize(units, f64::INFINITY);
        let mut any = false;
        for (last, row) in self.lasts(used) {
            let hop = self.tables.costs.hop[last][gpu];
            for (least, seconds) in entering.iter_mut().zip(row) {
                *least = least.min(seconds + hop);
            }
            any = true;
        }
        any
    }

    /// Times of the first run, by its end.
    fn begin(&self, gpu: usize) -> Vec<f64> {
        let tables = self.tables;
        let (room, fixed) = (tables.room(gpu, Role::First, 0), tables.costs.step + tables.costs.device[gpu]);
        let seconds = |to: usize| {
            let fits = to > 0 && tables.before[to] <= room;
            if fits { fixed + tables.whole(gpu)[to] } else { f64::INFINITY }
        };
        (0..tables.units()).map(seconds).collect()
    }

    /// Times after a further run that is not the last, by its end.
    fn extend(&self, gpu: usize, entering: &[f64]) -> Vec<f64> {
        let (tables, whole) = (self.tables, self.tables.whole(gpu));
        let (room, fixed) = (tables.room(gpu, Role::Middle, 0), tables.costs.device[gpu]);
        let mut row = vec![f64::INFINITY; tables.units()];
        // Beginnings that are the best of all later ones; their times grow from front to back.
        let mut window: VecDeque<(usize, f64)> = VecDeque::new();
        for to in 2..tables.units() {
            let from = to - 1;
            let without = entering[from] - whole[from];
            if without.is_finite() {
                while window.back().is_some_and(|(_, other)| *other >= without) {
                    window.pop_back();
                }
                window.push_back((from, without));
            }
            while window.front().is_some_and(|(from, _)| tables.before[to] - tables.before[*from] > room) {
                window.pop_front();
            }
            if let Some((_, without)) = window.front() {
                row[to] = without + whole[to] + fixed;
            }
        }
        row
    }

    /// The best last run.
    fn end(&self, used: u32, gpu: usize, entering: &[f64]) -> Option<End> {
        let (tables, whole, units) = (self.tables, self.tables.whole(gpu), self.tables.units());
        let mut best: Option<End> = None;
        for from in (1..units).rev() {
            let (taken, room) = (tables.before[units] - tables.before[from], tables.room(gpu, Role::Last, from));
            if taken > room && from + 1 < units {
                // Beginning earlier it takes more.
                break;
            }
            let seconds = entering[from] + (whole[units] - whole[from]) + tables.costs.device[gpu];
            if taken <= room && seconds.is_finite() && best.is_none_or(|best| seconds < best.seconds) {
                best = Some(End { seconds, used, gpu, from });
            }
        }
        best
    }

    /// The way with a given end, found again from there.
    fn way(&self, end: End) -> Way {
        let leg = |gpu, from, to| Leg { gpu, from, experts_to: from, to };
        let mut legs = vec![leg(end.gpu, end.from, self.tables.units())];
        let (mut used, mut gpu, mut from) = (end.used, end.gpu, end.from);
        while used > 0 {
            let last = self.last(used, gpu, from).expect("a GPU begins where others end");
            let to = from;
            used &= !(1 << last);
            from =
                if used == 0 { 0 } else { self.beginning(used, last, to).expect("a run that ends begins somewhere") };
            legs.push(leg(last, from, to));
            gpu = last;
        }
        legs.reverse();
        Way { seconds: end.seconds, legs }
    }

    /// The last of the used GPUs on the fastest way for another to begin with a unit.
    fn last(&self, used: u32, gpu: usize, from: usize) -> Option<usize> {
        let time = |(last, row): (usize, &[f64])| (last, row[from] + self.tables.costs.hop[last][gpu]);
        let best = self.lasts(used).map(time).min_by(|one, other| one.1.total_cmp(&other.1))?;
        Some(best.0)
    }

    /// The first unit of a middle run on the fastest way to its end.
    fn beginning(&self, used: u32, gpu: usize, to: usize) -> Option<usize> {
        let (tables, whole) = (self.tables, self.tables.whole(gpu));
        let room = tables.room(gpu, Role::Middle, 0);
        let mut entering = Vec::new();
        self.enter(used, gpu, &mut entering);
        let fits = |from: &usize| tables.before[to] - tables.before[*from] <= room;
        let time = |from: usize| (from, entering[from] - whole[from]);
        let times = (1..to).filter(fits).map(time).filter(|(_, seconds)| seconds.is_finite());
        Some(times.min_by(|one, other| one.1.total_cmp(&other.1))?.0)
    }
}
