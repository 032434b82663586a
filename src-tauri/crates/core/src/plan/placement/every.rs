//! Every placement of a small problem, one after another.

use super::{Placement, Problem};

/// Calls `tell` with every placement within the system RAM.
pub(super) fn each(problem: &Problem<'_>, tell: &mut impl FnMut(Placement)) {
    let layers = problem.bytes.len().saturating_sub(1);
    let host_max = if problem.ram.is_some_and(|ram| !ram.experts_only) { layers } else { 0 };
    for host in 0..=host_max {
        let begun = Placement { layers_in_ram: number(host), ..Placement::default() };
        extend(problem, begun, host, tell);
    }
}

/// Goes on from a placement of the units before `from`.
fn extend(problem: &Problem<'_>, begun: Placement, from: usize, tell: &mut impl FnMut(Placement)) {
    let units = problem.bytes.len();
    if from == units {
        let within = problem.ram_taken(&begun) <= problem.ram.map_or(0, |ram| ram.bytes);
        if within && (!problem.all_gpus || begun.order.len() == problem.rooms.len()) {
            let (seconds, headroom) = (problem.seconds(&begun), problem.headroom(&begun));
            tell(Placement { seconds, headroom, ..begun });
        }
        return;
    }
    for gpu in (0..problem.rooms.len()).map(number).filter(|gpu| !begun.order.contains(gpu)) {
        for to in from + 1..=units {
            let own = &problem.bytes[from..to];
            let with_experts = (0..own.len()).filter(|&unit| problem.ram.is_some() && own[unit].experts > 0);
            for experts in std::iter::once(0).chain(with_experts.map(|unit| unit + 1)) {
                let mut more = begun.clone();
                more.order.push(gpu);
                more.split.push(number(to - from));
                more.experts_in_ram.push(number(experts));
                extend(problem, more, to, tell);
            }
        }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("models have at most 512 layers")
}
