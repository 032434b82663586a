//! Larger problems as mixed-integer linear programs, solved by microlp, against what the search finds.
//!
//! A placement is a path through a network in which each arc is a GPU's run of units with a number of experts in RAM, or one more
//! layer in RAM. That a GPU comes at most once is a row each; RAM is one row. Every run that the GPU has room for is an arc:
//! nothing here knows of windows, fronts, or fewest experts in RAM. (With memory as rows, and units as arcs, the relaxation is so
//! loose that single problems take minutes.)

use std::collections::BTreeMap;

use good_lp::{Expression, ProblemVariables, Solution, SolverModel, Variable, constraint, microlp, variable};

use super::RamRoom;
use super::brute::{Case, Dice};

/// Where a path is, with how many units held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    /// First layers in RAM.
    Ram(usize),
    /// A GPU's run has ended.
    Ended(usize, usize),
    /// A GPU is about to begin as one of several, not the first.
    Next(usize, usize),
    /// Everything is held.
    End,
}

/// A network that grows arc by arc.
#[derive(Default)]
struct Network {
    variables: ProblemVariables,
    seconds: Expression,
    /// What flows out of each node less what flows in.
    flow: BTreeMap<Node, Expression>,
    /// How often each GPU is used.
    used: Vec<Expression>,
    ram: Expression,
}

impl Network {
    fn arc(&mut self, from: Node, to: Node, seconds: f64, ram: u64) -> Variable {
        let arc = self.variables.add(variable().binary());
        self.seconds.add_mul(seconds, arc);
        self.ram.add_mul(float(ram), arc);
        self.flow.entry(from).or_default().add_mul(1.0, arc);
        self.flow.entry(to).or_default().add_mul(-1.0, arc);
        arc
    }

    /// Every run of a GPU that it has room for, from a node with so many units held.
    fn runs(&mut self, case: &Case, only: bool, gpu: usize, from: Node, held: usize) {
        let (costs, all) = (if only { &case.costs.alone } else { &case.costs.several }, case.bytes.len());
        let first = matches!(from, Node::Ram(_));
        let entry = if first && held > 0 { costs.from_ram[gpu] } else { 0.0 };
        for to in held + 1..=all {
            let compute = match (first, to == all) {
                (true, last) if last != only => continue,
                (true, true) => case.compute.only,
                (true, false) => case.compute.first,
                (false, false) => case.compute.middle,
                (false, true) if held + 1 == all => case.compute.output_only,
                (false, true) => case.compute.last,
            };
            let shared = if held + 1 == all { 0 } else { case.every_layer };
            let ends = if to == all { Node::End } else { Node::Ended(gpu, to) };
            for kept_from in held..=to {
                let away = kept_from > held;
                if away && (case.ram.is_none() || case.bytes[kept_from - 1].experts == 0) {
                    continue;
                }
                let ram: u64 = case.bytes[held..kept_from].iter().map(|unit| unit.experts).sum();
                let units: u64 = case.bytes[held..to].iter().map(|unit| unit.fixed + unit.experts + unit.cache).sum();
                if i128::from(units - ram + shared + compute) > case.rooms[gpu] {
                    continue;
                }
                let seconds = costs.experts_in_ram[gpu][held..kept_from].iter().sum::<f64>()
                    + costs.on_device[gpu][kept_from..to].iter().sum::<f64>();
                let arc = self.arc(from, ends, entry + costs.device[gpu] + seconds, ram);
                self.used[gpu].add_mul(1.0, arc);
            }
        }
    }
}

fn float(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes).expect("the cases are small"))
}

/// The network of placements on one GPU (`only`) or on several.
fn network(case: &Case, only: bool) -> Network {
    let costs = if only { &case.costs.alone } else { &case.costs.several };
    let (gpus, units) = (case.rooms.len(), case.bytes.len());
    let mut network = Network { used: vec![Expression::default(); gpus], ..Network::default() };
    let in_ram = if case.ram.is_some_and(|ram| !ram.experts_only) { units - 1 } else { 0 };
    for (at, unit) in case.bytes[..in_ram].iter().enumerate() {
        network.arc(Node::Ram(at), Node::Ram(at + 1), costs.in_ram[at], unit.fixed + unit.experts + unit.cache);
    }
    for gpu in 0..gpus {
        for held in 0..=in_ram {
            network.runs(case, only, gpu, Node::Ram(held), held);
        }
        for held in (1..units).filter(|_| !only) {
            for before in (0..gpus).filter(|before| *before != gpu) {
                network.arc(Node::Ended(before, held), Node::Next(gpu, held), costs.hop[before][gpu], 0);
            }
            network.runs(case, only, gpu, Node::Next(gpu, held), held);
        }
    }
    network
}

/// The shortest time of a path that fits.
fn shortest(case: &Case, only: bool) -> Option<f64> {
    let network = network(case, only);
    let step = if only { case.costs.alone.step } else { case.costs.several.step };
    let mut model = network.variables.minimise(network.seconds.clone()).using(microlp);
    let mut flow = network.flow;
    flow.entry(Node::Ram(0)).or_default();
    flow.entry(Node::End).or_default();
    for (node, flow) in flow {
        let net = match node {
            Node::Ram(0) => 1.0,
            Node::End => -1.0,
            _ => 0.0,
        };
        model.add_constraint(constraint!(flow == net));
    }
    for used in network.used {
        model.add_constraint(if case.all_gpus { constraint!(used == 1) } else { constraint!(used <= 1) });
    }
    if let Some(RamRoom { bytes, .. }) = case.ram {
        model.add_constraint(constraint!(network.ram <= float(bytes)));
    }
    let solution = model.solve().ok()?;
    Some(step + solution.eval(&network.seconds))
}

fn oracle(case: &Case) -> Option<f64> {
    let alone = if case.all_gpus && case.rooms.len() > 1 { None } else { shortest(case, true) };
    let several = shortest(case, false);
    match (alone, several) {
        (Some(alone), Some(several)) => Some(alone.min(several)),
        (alone, several) => alone.or(several),
    }
}

#[test]
fn two_hundred_larger_searches_find_what_linear_programs_find() {
    let (mut fits, mut with_ram) = (0, 0);
    for number in 0..200 {
        let mut dice = Dice(1_000_000 + number);
        // Of a run with experts there are as many kinds as it has layers, so problems with RAM are smaller.
        let ram = number % 4 == 0;
        let gpus = 3 + if ram { 0 } else { usize::try_from(dice.below(3)).expect("few") };
        let layers = 20 + if ram { 0 } else { usize::try_from(dice.below(21)).expect("few") };
        let case = Case::any(&mut dice, gpus, layers, ram);
        let (found, expected) = (case.problem().fastest(), oracle(&case));
        match (&found, expected) {
            (Some(found), Some(expected)) => {
                assert!((found.seconds - expected).abs() < 1e-6, "case {number}: {found:?} {expected}");
                fits += 1;
                with_ram += usize::from(case.problem().ram_taken(found) > 0);
            }
            (found, expected) => {
                assert!(found.is_none() && expected.is_none(), "case {number}: {found:?} {expected:?}")
            }
        }
    }
    // The cases are of every kind.
    assert!(fits > 100 && fits < 200 && with_ram > 20, "{fits} {with_ram}");
}
