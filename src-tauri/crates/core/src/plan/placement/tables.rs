//! A problem as running sums, and the runs of units that one GPU can hold.

use super::{ByRole, Problem};
use crate::speed::StageCosts;

/// Amounts are cut off here, bytes: sums of a few of them stay within 64 bits. No machine has as much.
const BYTES_MAX: i64 = 1 << 60;

/// The part that a GPU plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The only GPU.
    Only,
    /// The first of several.
    First,
    /// Neither first nor last.
    Middle,
    /// The last of several.
    Last,
}

/// A run of units on a GPU, and what it costs besides taking part and handing over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// One past its last unit.
    pub(super) to: usize,
    /// One past its last layer with experts in system RAM; its first unit where there is none.
    pub(super) experts_to: usize,
    /// System RAM for experts, bytes.
    pub(super) ram: i64,
    /// Time, seconds.
    pub(super) seconds: f64,
}

/// A problem in running sums, for one or for several GPUs.
#[derive(Debug)]
pub(super) struct Tables<'a> {
    /// Times, from which those of runs are summed up.
    pub(super) costs: &'a StageCosts,
    /// Bytes of all units before each one; one entry more than units.
    pub(super) before: Vec<i64>,
    /// Time of the units before each one when they lie in system RAM, seconds.
    pub(super) host: Vec<f64>,
    /// System RAM that may be used, bytes.
    pub(super) ram: i64,
    /// Most first layers that system RAM may hold.
    pub(super) host_max: usize,
    /// Bytes before each unit that could be moved to RAM as experts.
    experts: Vec<i64>,
    /// By GPU: room, bytes.
    rooms: Vec<i64>,
    /// By GPU: times.
    times: Vec<Times>,
    every_layer: i64,
    compute: ByRole,
}

/// Times of one GPU's runs.
#[derive(Debug)]
struct Times {
    /// Of the units before each one, whole on it.
    whole: Vec<f64>,
    /// What the experts before each unit add when they lie in system RAM.
    away: Vec<f64>,
    /// From each unit the next before which that sum is less: keeping experts in RAM up to there is quicker.
    quicker: Vec<Option<usize>>,
}

impl<'a> Tables<'a> {
    /// The problem with times of one (`alone`) or several GPUs, if so many bytes were to stay free on every GPU used.
    pub(super) fn new(problem: &Problem<'_>, costs: &'a StageCosts, free: i64) -> Self {
        let may_leave = |experts: u64| if problem.ram.is_some() { experts } else { 0 };
        let whole_layers = problem.ram.is_some_and(|ram| !ram.experts_only);
        let experts = running(problem.bytes.iter().map(|unit| may_leave(unit.experts)));
        let times = costs.on_device.iter().zip(&costs.experts_in_ram);
        Self {
            costs,
            before: running(problem.bytes.iter().map(|unit| unit.all())),
            host: sums(costs.in_ram.iter().copied()),
            ram: problem.ram.map_or(0, |ram| bounded(ram.bytes)),
            host_max: if whole_layers { problem.bytes.len().saturating_sub(1) } else { 0 },
            rooms: problem.rooms.iter().map(|room| bounded_room(*room) - free).collect(),
            times: times.map(|(whole, away)| Times::new(whole, away, &experts)).collect(),
            experts,
            every_layer: bounded(problem.every_layer),
            compute: problem.compute,
        }
    }

    /// Units.
    pub(super) fn units(&self) -> usize {
        self.before.len() - 1
    }

    /// GPUs.
    pub(super) fn gpus(&self) -> usize {
        self.rooms.len()
    }

    /// Time of the units before each one when they lie whole on a GPU, seconds.
    pub(super) fn whole(&self, gpu: usize) -> &[f64] {
        &self.times[gpu].whole
    }

    /// Bytes that units beginning with `from` may take on a GPU.
    pub(super) fn room(&self, gpu: usize, role: Role, from: usize) -> i64 {
        let output_alone = from + 1 >= self.units();
        let compute = match role {
            Role::Only => self.compute.only,
            Role::First => self.compute.first,
            Role::Middle => self.compute.middle,
            Role::Last if output_alone => self.compute.output_only,
            Role::Last => self.compute.last,
        };
        self.rooms[gpu] - bounded(compute) - if output_alone { 0 } else { self.every_layer }
    }

    /// Tells the runs of a GPU from one unit to those of `ends` that it can reach: each with as few experts in RAM as fit, and
    /// with more where that is quicker. Any other run takes at least as long and as much RAM as one of these.
    pub(super) fn runs(
        &self,
        gpu: usize,
        role: Role,
        from: usize,
        ends: std::ops::Range<usize>,
        mut tell: impl FnMut(Run),
    ) {
        let (room, times) = (self.room(gpu, role, from), &self.times[gpu]);
        let mut least = from;
        for to in ends {
            let over = self.before[to] - self.before[from] - room;
            if over > self.experts[to] - self.experts[from] {
                // A longer run lacks at least as much.
                return;
            }
            while self.experts[least] - self.experts[from] < over {
                least += 1;
            }
            if self.experts[least] - self.experts[from] > self.ram {
                return;
            }
            let whole = times.whole[to] - times.whole[from];
            let mut next = Some(least);
            while let Some(experts_to) = next.filter(|next| *next <= to) {
                let seconds = whole + (times.away[experts_to] - times.away[from]);
                tell(Run { to, experts_to, ram: self.experts[experts_to] - self.experts[from], seconds });
                next = times.quicker[experts_to];
            }
        }
    }
}

impl Times {
    /// `experts`: bytes before each unit that could leave.
    fn new(whole: &[f64], away: &[f64], experts: &[i64]) -> Self {
        let added = whole.iter().zip(away).zip(experts.windows(2));
        let away = sums(added.map(|((whole, away), experts)| if experts[0] < experts[1] { away - whole } else { 0.0 }));
        let mut quicker = vec![None; away.len()];
        for at in (0..away.len()).rev() {
            let mut next = at + 1;
            while away.get(next).is_some_and(|sum| *sum >= away[at]) {
                next = quicker[next].unwrap_or(away.len());
            }
            quicker[at] = Some(next).filter(|next| *next < away.len());
        }
        Self { whole: sums(whole.iter().copied()), away, quicker }
    }
}

/// A number of bytes of which a few can be added up.
fn bounded(bytes: u64) -> i64 {
    i64::try_from(bytes).map_or(BYTES_MAX, |bytes| bytes.min(BYTES_MAX))
}

fn bounded_room(room: i128) -> i64 {
    i64::try_from(room.clamp((-BYTES_MAX).into(), BYTES_MAX.into())).expect("clamped to 61 bits")
}

/// The sum before each, and all.
fn running(bytes: impl Iterator<Item = u64>) -> Vec<i64> {
    let mut sum = 0_u64;
    let after = bytes.map(|bytes| {
        sum = sum.saturating_add(bytes);
        bounded(sum)
    });
    std::iter::once(0).chain(after).collect()
}

/// The sum before each, and all.
fn sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let after = values.map(|value| {
        sum += value;
        sum
    });
    std::iter::once(0.0).chain(after).collect()
}
