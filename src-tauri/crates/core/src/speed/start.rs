//! How fast a command line of llama.cpp runs on some GPUs.
//!
//! The engine's own rules place the units, `--fit` included; what overrides move is counted unit by unit, as far as the speed
//! model tells such places apart. Absent: guessing tokens ahead, which depends on the text.

use crate::engine::llama_cpp::arguments::{Arguments, Placed};
use crate::engine::llama_cpp::estimate::{EstimateError, decided};
use crate::engine::llama_cpp::flags::{Device, Flags, Place, SplitMode};
use crate::engine::llama_cpp::homes::{UnitHome, homes};
use crate::engine::llama_cpp::prepared::Prepared;
use crate::engine::llama_cpp::settled::Settled;
use crate::model::ModelFacts;
use crate::speed::llama_cpp::{Sharing, Stage, rates};
use crate::speed::told::{SpeedTold, ToldRates};
use crate::speed::{Build, CardSpeed, Setting, Work};

/// What is asked of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Tokens of the prompt whose reading is predicted, at least 1.
    pub prompt: u64,
    /// Tokens already in the cache.
    pub depth: u64,
    /// The engine's build.
    pub build: Build,
    /// What the CPU reads from system RAM, MB/s; absent: not measured.
    pub ram_bandwidth_mb_s: Option<u32>,
}

/// Why no speed can be told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum NoSpeed {
    #[error(
        "CUDA{0} is described by its memory alone, or its card is not known, so its speed is not: name the card, such as RTX 4090@free=22GiB."
    )]
    UnknownCard(usize),
    #[error("The KV cache stays in system RAM (-nkvo), and how fast the CPU then attends is not described.")]
    CacheInRam,
    #[error("With --embedding no tokens are made.")]
    Embeds,
    #[error(transparent)]
    Estimate(#[from] EstimateError),
}

impl From<crate::engine::llama_cpp::refused::Refused> for NoSpeed {
    fn from(refused: crate::engine::llama_cpp::refused::Refused) -> Self {
        Self::Estimate(refused.into())
    }
}

/// How fast `arguments` run a model on `gpus`, which are `CUDA0`, `CUDA1` and so on, each with its speed where that is known.
#[must_use]
pub fn speed_of_start(
    model: &ModelFacts,
    arguments: &Arguments,
    gpus: &[(Device, Option<CardSpeed>)],
    question: Question,
) -> SpeedTold {
    told(model, arguments, gpus, question).unwrap_or_else(|why| SpeedTold::Why { why: why.to_string() })
}

fn told(
    model: &ModelFacts,
    arguments: &Arguments,
    gpus: &[(Device, Option<CardSpeed>)],
    question: Question,
) -> Result<SpeedTold, NoSpeed> {
    let devices: Vec<Device> = gpus.iter().map(|(device, _)| *device).collect();
    let (placed, _) = decided(model, arguments, &devices)?;
    let flags = &placed.flags;
    if flags.embedding {
        return Err(NoSpeed::Embeds);
    }
    let prepared = Prepared::new(model)?;
    let settled = prepared.parts(flags)?.settled;
    if !flags.kv_offload && settled.units.iter().any(|unit| *unit != Place::Host) {
        return Err(NoSpeed::CacheInRam);
    }
    let work = Work::of(&prepared)?;
    let setting = setting(flags, &settled, question);
    let units = homes(&prepared, flags, &settled)?;
    let used = used(flags, &units);
    let cards = speeds(gpus, &placed, &used)?;
    let at = |device: usize| used.iter().position(|other| *other == device);
    let rates = if flags.split_mode == SplitMode::Tensor && !used.is_empty() {
        let order: Vec<usize> = (0..used.len()).collect();
        rates(&work, &cards, Sharing::Tensor { order: &order, shares: &shares(flags, &used) }, &setting)
    } else {
        let stages: Vec<Stage> = units.iter().map(|home| stage(home, at)).collect();
        rates(&work, &cards, Sharing::Layers(&stages), &setting)
    };
    let together = arguments.flags.parallel.is_some_and(|parallel| parallel > 1);
    Ok(SpeedTold::Rates(Box::new(ToldRates {
        prefill_tokens_per_s: rates.prefill,
        decode_tokens_per_s: rates.decode,
        throughput_tokens_per_s: together.then_some(rates.throughput),
        prompt_tokens: question.prompt,
        depth_tokens: question.depth,
        parts: rates.parts,
        basis: rates.basis,
        notes: notes(arguments, &units),
    })))
}

fn setting(flags: &Flags, settled: &Settled, question: Question) -> Setting {
    Setting {
        build: question.build,
        flash_attention: settled.flash_attention,
        cache_k: flags.cache_k,
        cache_v: flags.cache_v,
        depth: question.depth,
        prompt: question.prompt,
        micro_batch: settled.micro_batch,
        batch: settled.batch,
        parallel: settled.parallel,
        ram_bandwidth_mb_s: question.ram_bandwidth_mb_s,
    }
}

/// Positions in the engine's list of the GPUs that work, in that order.
fn used(flags: &Flags, units: &[UnitHome]) -> Vec<usize> {
    let all = 0..flags.devices.len();
    if flags.split_mode == SplitMode::Tensor {
        let given = flags.tensor_split.iter().any(|share| *share > 0.0);
        let share = |device: &usize| flags.tensor_split.get(*device).is_some_and(|share| *share > 0.0);
        return all.filter(|device| !given || share(device)).collect();
    }
    all.filter(|device| units.iter().any(|home| home.place == Place::Gpu(*device))).collect()
}

fn speeds(gpus: &[(Device, Option<CardSpeed>)], placed: &Placed, used: &[usize]) -> Result<Vec<CardSpeed>, NoSpeed> {
    let of = |device: &usize| {
        let number = placed.numbers[*device];
        gpus[number].1.ok_or(NoSpeed::UnknownCard(number))
    };
    used.iter().map(of).collect()
}

fn shares(flags: &Flags, used: &[usize]) -> Vec<f64> {
    let share = |device: &usize| flags.tensor_split.get(*device).copied().filter(|share| *share > 0.0);
    used.iter().map(|device| f64::from(share(device).unwrap_or(1.0))).collect()
}

/// A unit whose weights lie in several places counts as if all of a kind were where most of it is.
fn stage(home: &UnitHome, at: impl Fn(usize) -> Option<usize>) -> Stage {
    match home.place {
        Place::Gpu(device) if !home.rest.mostly_in_ram() => match at(device) {
            Some(device) if home.experts.mostly_in_ram() => Stage::GpuExpertsInRam(device),
            Some(device) => Stage::Gpu(device),
            None => Stage::Ram,
        },
        _ => Stage::Ram,
    }
}

fn notes(arguments: &Arguments, units: &[UnitHome]) -> Vec<String> {
    let mut found = Vec::new();
    if !arguments.companions.guesses().is_empty() {
        found.push("Guessing tokens ahead is not counted: what it gains depends on the text.".to_owned());
    }
    let mixed = |home: &&UnitHome| home.place != Place::Host && (home.experts.is_mixed() || home.rest.is_mixed());
    let count = units.iter().filter(mixed).count();
    if count > 0 {
        found.push(format!(
            "Overrides move a part of the weights of {count} layers; each counts as if all were where most of them are."
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::llama_cpp::homes::Spread;

    fn home(place: Place, experts: [u64; 2], rest: [u64; 2]) -> UnitHome {
        let spread = |[all, in_ram]: [u64; 2]| Spread { all, in_ram, elsewhere: 0 };
        UnitHome { place, experts: spread(experts), rest: spread(rest) }
    }

    #[test]
    fn a_unit_counts_where_most_of_it_is() {
        let of = |home: UnitHome| stage(&home, |device| (device == 2).then_some(0));
        let gpu = Place::Gpu(2);
        assert_eq!(of(home(gpu, [0, 0], [10, 0])), Stage::Gpu(0));
        assert_eq!(of(home(gpu, [90, 90], [10, 0])), Stage::GpuExpertsInRam(0));
        assert_eq!(of(home(gpu, [90, 30], [10, 0])), Stage::Gpu(0));
        assert_eq!(of(home(gpu, [0, 0], [10, 9])), Stage::Ram);
        assert_eq!(of(home(Place::Host, [0, 0], [10, 10])), Stage::Ram);
    }

    #[test]
    fn shares_are_those_given_and_else_equal() {
        let device = Device { free: 1, capability: 860 };
        let mut flags = Flags { split_mode: SplitMode::Tensor, ..Flags::new(vec![device; 3]) };
        assert_eq!(used(&flags, &[]), [0, 1, 2]);
        assert_eq!(shares(&flags, &[0, 1, 2]), [1.0; 3]);
        flags.tensor_split = vec![3.0, 0.0, 1.0];
        assert_eq!(used(&flags, &[]), [0, 2]);
        assert_eq!(shares(&flags, &[0, 2]), [3.0, 1.0]);
    }
}
