//! The most that can stay free on the used GPU with the least, with nothing in system RAM.
//!
//! For each set of GPUs and units held by them: the most, from those of the sets with one GPU less.

use super::alike::Alike;
use super::tables::{Role, Tables};

/// The largest headroom of any placement without RAM, bytes; of those with every GPU if so asked. Absent where there is none.
pub(super) fn widest(tables: &Tables<'_>, alike: &Alike, all: bool) -> Option<i64> {
    let (gpus, units, before) = (tables.gpus(), tables.units(), &tables.before);
    let everyone = (1_u32 << gpus) - 1;
    let mut rows = vec![vec![i64::MIN; units]; alike.sets().len()];
    let mut best = None;
    for &used in alike.sets() {
        let entering = rows[alike.place(used)].clone();
        for gpu in (0..gpus).filter(|gpu| alike.next(used, *gpu)) {
            let together = used | 1 << gpu;
            if !all || together == everyone {
                let ends = if used == 0 {
                    Some(tables.room(gpu, Role::Only, 0) - before[units])
                } else {
                    let own = |from: usize| tables.room(gpu, Role::Last, from) - (before[units] - before[from]);
                    (1..units).map(|from| entering[from].min(own(from))).max()
                };
                best = best.max(ends.filter(|headroom| *headroom > i64::MIN));
            }
            if together == everyone {
                continue;
            }
            let row = &mut rows[alike.place(together)];
            if used == 0 {
                let room = tables.room(gpu, Role::First, 0);
                (1..units).for_each(|to| row[to] = row[to].max(room - before[to]));
            } else {
                extend(tables, gpu, &entering, row);
            }
        }
    }
    best
}

/// Betters what stays free after a further run that is not the last, by its end.
fn extend(tables: &Tables<'_>, gpu: usize, entering: &[i64], row: &mut [i64]) {
    let room = tables.room(gpu, Role::Middle, 0);
    for (to, best) in row.iter_mut().enumerate() {
        for from in (1..to).rev() {
            let own = room - (tables.before[to] - tables.before[from]);
            // Beginning earlier it holds more, and leaves less.
            if own <= *best {
                break;
            }
            *best = own.min(entering[from]).max(*best);
        }
    }
}
