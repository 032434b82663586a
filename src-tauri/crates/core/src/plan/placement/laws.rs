//! What holds of every problem, whatever its numbers.

use proptest::prelude::*;

use super::brute::{Case, Dice};
use super::{Placement, Problem};
use crate::speed::StageCosts;

fn any_case() -> impl Strategy<Value = Case> {
    (any::<u64>(), 1_usize..5, 1_usize..16, any::<bool>())
        .prop_map(|(seed, gpus, layers, ram)| Case::any(&mut Dice(seed), gpus, layers, ram))
}

/// The least time there is; infinite where nothing fits.
fn least(problem: &Problem<'_>) -> f64 {
    problem.fastest().map_or(f64::INFINITY, |fastest| fastest.seconds)
}

fn most_headroom(problem: &Problem<'_>) -> Option<i128> {
    problem.roomiest().map(|roomiest| roomiest.headroom)
}

/// Every time of a stage.
fn times(stage: &mut StageCosts) -> Vec<&mut f64> {
    let squares = [&mut stage.on_device, &mut stage.experts_in_ram, &mut stage.hop];
    let rows = [&mut stage.device, &mut stage.in_ram, &mut stage.from_ram];
    let all = squares.into_iter().flatten().chain(rows).flatten();
    all.chain([&mut stage.step]).collect()
}

/// A case with its GPUs in another order.
fn reordered(case: &Case, order: &[usize]) -> Case {
    let pick = |rows: &[Vec<f64>]| order.iter().map(|gpu| rows[*gpu].clone()).collect::<Vec<_>>();
    let pick_times = |times: &[f64]| order.iter().map(|gpu| times[*gpu]).collect::<Vec<_>>();
    let stage = |stage: &StageCosts| StageCosts {
        on_device: pick(&stage.on_device),
        experts_in_ram: pick(&stage.experts_in_ram),
        device: pick_times(&stage.device),
        hop: pick(&stage.hop).iter().map(|row| pick_times(row)).collect(),
        from_ram: pick_times(&stage.from_ram),
        ..stage.clone()
    };
    let mut other = case.clone();
    other.costs.alone = stage(&case.costs.alone);
    other.costs.several = stage(&case.costs.several);
    other.rooms = order.iter().map(|gpu| case.rooms[*gpu]).collect();
    other
}

/// Whether a placement is one: every unit once, no GPU twice, and its numbers its own.
fn is_sound(problem: &Problem<'_>, placement: &Placement) -> bool {
    let held = placement.layers_in_ram + placement.split.iter().sum::<u32>();
    let mut gpus = placement.order.clone();
    gpus.sort_unstable();
    gpus.dedup();
    gpus.len() == placement.order.len()
        && usize::try_from(held).is_ok_and(|held| held == problem.bytes.len())
        && placement.split.iter().zip(&placement.experts_in_ram).all(|(units, away)| *units > 0 && away <= units)
        && placement.split.len() == gpus.len()
        && placement.experts_in_ram.len() == gpus.len()
        && (!problem.all_gpus || gpus.len() == problem.rooms.len())
        && placement.headroom == problem.headroom(placement)
        && (placement.seconds - problem.seconds(placement)).abs() < 1e-9
}

proptest! {
    #[test]
    fn nothing_is_put_where_there_is_no_room(case in any_case()) {
        let problem = case.problem();
        for placement in problem.fastest().iter().chain(&problem.roomiest()) {
            prop_assert!(is_sound(&problem, placement), "{placement:?}");
            prop_assert!(problem.ram_taken(placement) <= case.ram.map_or(0, |ram| ram.bytes));
        }
        prop_assert!(problem.fastest().is_none_or(|fastest| fastest.headroom >= 0));
        // Something fits for one goal where it does for the other.
        let fits = most_headroom(&problem).is_some_and(|most| most >= 0);
        prop_assert_eq!(fits, problem.fastest().is_some());
    }

    #[test]
    fn more_room_never_makes_the_best_worse(case in any_case(), gpu in any::<prop::sample::Index>(), more in 1_u32..40) {
        let mut roomier = case.clone();
        *gpu.get_mut(&mut roomier.rooms) += i128::from(more);
        prop_assert!(least(&roomier.problem()) <= least(&case.problem()));
        prop_assert!(most_headroom(&roomier.problem()) >= most_headroom(&case.problem()));
        if let Some(ram) = &mut roomier.ram {
            ram.bytes += u64::from(more);
            prop_assert!(least(&roomier.problem()) <= least(&case.problem()));
            prop_assert!(most_headroom(&roomier.problem()) >= most_headroom(&case.problem()));
        }
    }

    #[test]
    fn quicker_hardware_never_makes_the_best_slower(case in any_case(), which in prop::collection::vec(any::<bool>(), 200)) {
        let mut quicker = case.clone();
        for stage in [&mut quicker.costs.alone, &mut quicker.costs.several] {
            for (time, halve) in times(stage).into_iter().zip(which.iter().cycle()) {
                *time *= if *halve { 0.5 } else { 1.0 };
            }
        }
        // A unit without experts takes the same with them in RAM.
        for stage in [&mut quicker.costs.alone, &mut quicker.costs.several] {
            for (away, whole) in stage.experts_in_ram.iter_mut().zip(&stage.on_device) {
                for ((away, whole), unit) in away.iter_mut().zip(whole).zip(&case.bytes) {
                    *away = if unit.experts == 0 { *whole } else { *away };
                }
            }
        }
        prop_assert!(least(&quicker.problem()) <= least(&case.problem()));
    }

    #[test]
    fn the_order_in_which_gpus_are_given_does_not_matter(
        (case, order) in any_case().prop_flat_map(|case| {
            let order = Just((0..case.rooms.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(case), order)
        })
    ) {
        let other = reordered(&case, &order);
        let reached = |placement: Option<Placement>| placement.map(|placement| (placement.seconds, placement.headroom));
        prop_assert_eq!(reached(case.problem().fastest()), reached(other.problem().fastest()));
        prop_assert_eq!(reached(case.problem().roomiest()), reached(other.problem().roomiest()));
        prop_assert!((case.problem().covered() - other.problem().covered()).abs() < 0.5);
    }

    #[test]
    fn no_time_is_below_the_bound(case in any_case()) {
        let problem = case.problem();
        match problem.bound() {
            Some(bound) => prop_assert!(bound <= least(&problem) * (1.0 + 1e-9)),
            None => prop_assert!(problem.fastest().is_none()),
        }
    }
}
