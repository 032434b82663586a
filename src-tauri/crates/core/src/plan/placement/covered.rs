//! How many placements there are.

use super::Problem;

/// Placements of a problem, whether they fit or not: first layers in RAM, GPUs in an order, cuts, and experts in RAM. Beyond
/// 2⁵³ the number is rounded.
pub(super) fn covered(problem: &Problem<'_>) -> f64 {
    let (gpus, units) = (problem.rooms.len(), problem.bytes.len());
    let host_max = if problem.ram.is_some_and(|ram| !ram.experts_only) { units.saturating_sub(1) } else { 0 };
    // Ways to share the first units out over so many GPUs, each a number of ways for the order in which these come.
    let mut ways: Vec<f64> = (0..=units).map(|held| if held <= host_max { 1.0 } else { 0.0 }).collect();
    let (mut orders, mut all) = (1.0, 0.0);
    for used in 1..=gpus.min(units) {
        ways = longer(problem, &ways);
        orders *= number(gpus + 1 - used);
        if !problem.all_gpus || used == gpus {
            all += orders * ways[units];
        }
    }
    all
}

/// With one GPU more.
fn longer(problem: &Problem<'_>, ways: &[f64]) -> Vec<f64> {
    let mut longer = vec![0.0; ways.len()];
    for (from, ways) in ways.iter().enumerate() {
        let mut choices = 1.0;
        for (unit, sum) in problem.bytes.iter().zip(&mut longer[1..]).skip(from) {
            // The run keeps all experts, or those of layers up to any that has some are in RAM.
            if problem.ram.is_some() && unit.experts > 0 {
                choices += 1.0;
            }
            *sum += ways * choices;
        }
    }
    longer
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("there are at most sixteen GPUs"))
}
