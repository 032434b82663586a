//! How fast llama.cpp runs a model on some cards, from physics: bytes over bandwidth, products over clocks, kernels launched,
//! links crossed.
//!
//! A decode step is a sum over units and crossings, so [`costs`] hands its terms to the search and [`rates`] sums up the same
//! terms. Within a unit, memory and compute run at the same time and the slower hides most of the other. Numbers that no
//! datasheet has are fitted ([`Coefficients`]). Absent: power limits below a card's own, overclocking, drafts.

mod coefficients;
mod gpu;
mod interval;
mod link;
mod prefill;
mod prompt;
mod step;
#[cfg(test)]
mod tests;

pub use coefficients::{Belief, Coefficients, beliefs, beliefs_in};
pub use interval::Confidence;

use crate::plan::SpeedPart;
use crate::speed::Predicted;
use crate::speed::calibration::Calibration;
use crate::speed::card::{CardSpeed, MemoryKind};
use crate::speed::costs::{Costs, StageCosts};
use crate::speed::llama_cpp::gpu::Launches;
use crate::speed::llama_cpp::interval::{Phase, calibrated, predicted};
use crate::speed::llama_cpp::step::{Parts, Step};
use crate::speed::setting::Setting;
use crate::speed::work::{WeightKind, Work, float};

/// Where a unit lies. Numbers are positions among the devices given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Whole on a GPU.
    Gpu(usize),
    /// Whole in system RAM, worked on by the CPU.
    Ram,
    /// On a GPU, its experts in system RAM.
    GpuExpertsInRam(usize),
}

/// How the model is shared out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sharing<'a> {
    /// Units whole at their places: one stage per unit.
    Layers(&'a [Stage]),
    /// Every matrix over GPUs.
    Tensor {
        /// Positions of the GPUs among the devices given.
        order: &'a [usize],
        /// What each has, in that order; only their proportions count.
        shares: &'a [f64],
    },
}

/// How fast a placement runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Generation of one request, tokens per second.
    pub decode: Predicted,
    /// Generation of all parallel requests together, tokens per second.
    pub throughput: Predicted,
    /// Reading a prompt, tokens per second.
    pub prefill: Predicted,
    /// Where the time of a generated token goes, largest first.
    pub parts: Vec<SpeedPart>,
    /// What the prediction rests on, one sentence.
    pub basis: String,
}

/// Times of one decode step for every placement by layers; a step makes a token of each of `setting.parallel` sequences.
#[must_use]
pub fn costs(work: &Work, devices: &[CardSpeed], setting: &Setting) -> Costs {
    let coefficients = Coefficients::current();
    let step = Step { work, devices, setting, coefficients, sequences: sequences(setting) };
    Costs { alone: stage_costs(&step, Launches::Alone), several: stage_costs(&step, Launches::Several) }
}

/// How fast a placement runs: one request alone, and `setting.parallel` at once.
#[must_use]
pub fn rates(work: &Work, devices: &[CardSpeed], sharing: Sharing<'_>, setting: &Setting) -> Rates {
    rates_with(Coefficients::current(), work, devices, sharing, setting)
}

/// As [`rates`], with other coefficients.
#[must_use]
pub fn rates_with(
    coefficients: &Coefficients,
    work: &Work,
    devices: &[CardSpeed],
    sharing: Sharing<'_>,
    setting: &Setting,
) -> Rates {
    let one = Step { work, devices, setting, coefficients, sequences: 1.0 };
    let all = Step { sequences: sequences(setting), ..one };
    let parts = decode(&one, sharing);
    let confidence = confidence(work, devices, sharing);
    let prompt = float(setting.prompt.max(1)) / prompt_time(&one, sharing).max(TIME_MIN);
    Rates {
        decode: predicted(1.0 / parts.sum().max(TIME_MIN), confidence, Phase::Decode),
        throughput: predicted(all.sequences / decode(&all, sharing).sum().max(TIME_MIN), confidence, Phase::Decode),
        prefill: predicted(prompt, confidence, Phase::Prefill),
        parts: in_words(&parts),
        basis: confidence.basis().to_owned(),
    }
}

/// Shortest time of a step that is counted with, seconds: no engine is faster, and no rate is infinite.
const TIME_MIN: f64 = 1e-7;

impl Rates {
    /// The same, moved by what was measured on these cards with this engine; the intervals then narrow.
    #[must_use]
    pub fn calibrated(self, calibration: &Calibration) -> Self {
        let Calibration { decode, prefill, measured } = *calibration;
        if measured == 0 {
            return self;
        }
        Self {
            decode: calibrated(self.decode, decode, measured),
            throughput: calibrated(self.throughput, decode, measured),
            prefill: calibrated(self.prefill, prefill, measured),
            basis: format!("Moved by {measured} measured runs on these cards."),
            ..self
        }
    }

    /// Why these are faster or slower at decode than `other`, in words: the part that differs most.
    #[must_use]
    pub fn reason(&self, other: &Self) -> String {
        let us = |rates: &Self, what: &str| rates.parts.iter().find(|part| part.what == what).map_or(0.0, |it| it.us);
        let differences = Parts::default().named().map(|(what, _)| (what, us(self, what) - us(other, what)));
        let faster = self.decode.value >= other.decode.value;
        let side = differences.into_iter().filter(|(_, by)| (*by < 0.0) == faster);
        match side.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())) {
            Some((what, by)) if by < 0.0 => format!("{what} takes {:.2} ms less per token", -by / 1e3),
            Some((what, by)) => format!("{what} takes {:.2} ms more per token", by / 1e3),
            None => "both take as long in every part".to_owned(),
        }
    }
}

fn sequences(setting: &Setting) -> f64 {
    float(setting.parallel.max(1))
}

fn stage_costs(step: &Step<'_>, how: Launches) -> StageCosts {
    let (devices, units) = (0..step.devices.len(), &step.work.units);
    let table = |cost: &dyn Fn(usize, usize) -> f64| -> Vec<Vec<f64>> {
        devices.clone().map(|device| (0..units.len()).map(|unit| cost(device, unit)).collect()).collect()
    };
    let hop = |from: usize| devices.clone().map(|to| if from == to { 0.0 } else { step.hop().sum() }).collect();
    StageCosts {
        on_device: table(&|device, unit| step.on_device(device, &units[unit], how).sum()),
        experts_in_ram: table(&|device, unit| step.experts_in_ram(device, &units[unit], how).sum()),
        device: vec![0.0; step.devices.len()],
        hop: devices.clone().map(hop).collect(),
        in_ram: units.iter().map(|unit| step.in_ram(unit).sum()).collect(),
        from_ram: vec![step.from_ram().sum(); step.devices.len()],
        step: step.once().sum(),
    }
}

/// One decode step, part by part.
fn decode(step: &Step<'_>, sharing: Sharing<'_>) -> Parts {
    let mut sum = step.once();
    let units = &step.work.units;
    match sharing {
        Sharing::Layers(stages) => {
            let how = if gpus_used(stages) > 1 { Launches::Several } else { Launches::Alone };
            let mut before = None;
            for (unit, stage) in units.iter().zip(stages) {
                let (parts, gpu) = match *stage {
                    Stage::Gpu(device) => (step.on_device(device, unit, how), Some(device)),
                    Stage::GpuExpertsInRam(device) => (step.experts_in_ram(device, unit, how), Some(device)),
                    Stage::Ram => (step.in_ram(unit), None),
                };
                sum += parts;
                match (before, gpu) {
                    (Some(None), Some(_)) => sum += step.from_ram(),
                    (Some(Some(from)), Some(to)) if from != to => sum += step.hop(),
                    _ => {}
                }
                before = Some(gpu);
            }
        }
        Sharing::Tensor { order, shares } => {
            let shares = in_proportion(shares);
            for (at, unit) in units.iter().enumerate() {
                sum += step.shared(order, &shares, unit, at + 1 == units.len());
            }
        }
    }
    sum
}

fn prompt_time(step: &Step<'_>, sharing: Sharing<'_>) -> f64 {
    match sharing {
        Sharing::Layers(_) => prompt::time(step, sharing),
        Sharing::Tensor { order, shares } => {
            prompt::time(step, Sharing::Tensor { order, shares: &in_proportion(shares) })
        }
    }
}

/// Shares that add up to one; equal ones where they say nothing.
fn in_proportion(shares: &[f64]) -> Vec<f64> {
    let sound = |share: &f64| if share.is_finite() { share.max(0.0) } else { 0.0 };
    let sum: f64 = shares.iter().map(sound).sum();
    let equal = 1.0 / float(u64::try_from(shares.len().max(1)).unwrap_or(1));
    shares.iter().map(|share| if sum > 0.0 { sound(share) / sum } else { equal }).collect()
}

fn gpus_used(stages: &[Stage]) -> usize {
    let mut used: Vec<usize> = stages
        .iter()
        .filter_map(|stage| match *stage {
            Stage::Gpu(device) | Stage::GpuExpertsInRam(device) => Some(device),
            Stage::Ram => None,
        })
        .collect();
    used.sort_unstable();
    used.dedup();
    used.len()
}

/// How sure a prediction is, by what it is about.
fn confidence(work: &Work, devices: &[CardSpeed], sharing: Sharing<'_>) -> Confidence {
    let Sharing::Layers(stages) = sharing else { return Confidence::Shared };
    if stages.iter().any(|stage| !matches!(stage, Stage::Gpu(_))) {
        return Confidence::Shared;
    }
    if gpus_used(stages) > 1 {
        return Confidence::Several;
    }
    let usual = |card: &CardSpeed| card.geforce && card.memory == MemoryKind::Gddr && card.capability >= 700;
    let plain = !work.routes() && !matches!(work.main_kind(), WeightKind::Low | WeightKind::Fp4);
    let card = stages.iter().find_map(|stage| match *stage {
        Stage::Gpu(device) => devices.get(device),
        _ => None,
    });
    if plain && card.is_some_and(usual) { Confidence::Plain } else { Confidence::Unusual }
}

fn in_words(parts: &Parts) -> Vec<SpeedPart> {
    let taken = parts.named().into_iter().filter(|(_, seconds)| *seconds > 0.0);
    let mut words: Vec<_> =
        taken.map(|(what, seconds)| SpeedPart { what: what.to_owned(), us: seconds * 1e6 }).collect();
    words.sort_by(|a, b| b.us.total_cmp(&a.us));
    words
}
