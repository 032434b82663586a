//! How fast a command line of vLLM runs on some GPUs: tensor × pipeline parallel, by bytes read, products made and sums passed on.
//!
//! The constants are fitted by hand to the few runs that are published with their cards and settings (club-3090's
//! BENCHMARKS.md and issue 873: RTX 3090 and RTX 5090, one card and two), so intervals are wide. Absent: guessing tokens ahead, several
//! requests at once, kernels of other quantisations than theirs.

use crate::engine::vllm::arguments::Arguments;
use crate::engine::vllm::gpu::Gpu;
use crate::engine::vllm::refused::Refused;
use crate::engine::vllm::settle::{Settled, settle};
use crate::engine::vllm::weights::{Rank, weights};
use crate::model::hf::{HfConfig, HfLayer, HfModel, LayerKind};
use crate::plan::SpeedPart;
use crate::speed::start::Question;
use crate::speed::told::{SpeedTold, ToldRates};
use crate::speed::work::float;
use crate::speed::{CardSpeed, Link, Predicted};

/// Share of a card's bandwidth that reading weights and cache reaches. Fitted.
const BANDWIDTH_SHARE: f64 = 0.85;
/// Time of a layer's kernels beyond reading, µs at [`LAUNCH_MHZ`]; CUDA graphs are on. Fitted.
const LAYER_US: f64 = 48.0;
/// Boost clock of the card that [`LAYER_US`] is of, MHz.
const LAUNCH_MHZ: f64 = 1695.0;
/// A sum over two ranks by custom all-reduce where they reach each other's memory, µs. Fitted to 288.1 tokens/s.
const REDUCE_P2P_US: f64 = 8.6;
/// The same by NCCL through system RAM, µs. Fitted to 222.8 tokens/s on the same cards.
const REDUCE_HOST_US: f64 = 21.3;
/// Sums per layer: after attention and after the feed-forward part.
const REDUCES: f64 = 2.0;
/// Share of the tensor cores' rate that prompts reach in dense models. Fitted.
const PREFILL_DENSE: f64 = 0.6;
/// The same with routed experts. Fitted.
const PREFILL_EXPERTS: f64 = 0.24;
/// Half widths of the intervals of decode and prefill, natural logarithms. Not from left-out cards, for which there are too few
/// rows: the worst residuals of the rows that the constants are fitted to are 0.07 and 0.31, with bytes that were not measured.
const WIDTHS: [f64; 2] = [0.35, 0.65];
/// Shortest time that is counted with, seconds.
const TIME_MIN: f64 = 1e-7;
/// What the numbers rest on.
const BASIS: &str =
    "From the cards' datasheets, fitted to five published runs on RTX 3090 and RTX 5090: one measured run is better.";

/// What a stage's ranks have to do.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stage {
    /// Positions of its ranks' cards.
    cards: Vec<CardSpeed>,
    /// Bytes that one token reads on the rank with most: weights.
    weights: f64,
    /// Bytes that it reads there of the cache.
    cache: f64,
    /// Products of one token of a prompt on a rank, attention to earlier tokens left out.
    products: f64,
    /// Layers.
    layers: f64,
}

/// Parts of the time of a token, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Parts {
    weights: f64,
    cache: f64,
    kernels: f64,
    reduces: f64,
    hops: f64,
}

/// How fast `arguments` run a model on `gpus`, which are `CUDA0`, `CUDA1` and so on, each with its speed where that is known.
#[must_use]
pub fn speed_of_serve(
    model: &HfModel,
    arguments: &Arguments,
    gpus: &[(Gpu, Option<CardSpeed>)],
    question: Question,
) -> SpeedTold {
    told(model, arguments, gpus, question).unwrap_or_else(|why| SpeedTold::Why { why })
}

fn told(
    model: &HfModel,
    arguments: &Arguments,
    gpus: &[(Gpu, Option<CardSpeed>)],
    question: Question,
) -> Result<SpeedTold, String> {
    let config = model.config.as_ref().ok_or_else(|| format!("The model {} has no configuration.", model.name))?;
    let seen: Vec<Gpu> = gpus.iter().map(|(gpu, _)| gpu.clone()).collect();
    let settled = settle(model, config, arguments, &seen).map_err(|why: Refused| why.to_string())?;
    let stages = stages(model, config, arguments, &settled, gpus, question.depth)?;
    let width = float(config.embedding) * float(settled.value_bytes);
    let parts = decode(&stages, width);
    let steps = float(question.prompt.max(1).div_ceil(settled.batched_tokens.max(1)));
    let moe = config.experts.is_some();
    let prefill = float(question.prompt.max(1)) / prefill(&stages, float(question.prompt.max(1)), steps, width, moe);
    let mut notes = Vec::new();
    if settled.graphs.is_none() {
        notes.push("CUDA graphs are off, which costs speed that is not counted.".to_owned());
    }
    if arguments.offloaded > 0 {
        notes.push("Weights that are left in RAM are counted as if they were on the GPUs.".to_owned());
    }
    Ok(SpeedTold::Rates(Box::new(ToldRates {
        prefill_tokens_per_s: around(prefill, WIDTHS[1]),
        decode_tokens_per_s: around(1.0 / parts.sum().max(TIME_MIN), WIDTHS[0]),
        throughput_tokens_per_s: None,
        prompt_tokens: question.prompt,
        depth_tokens: question.depth,
        parts: parts.in_words(),
        basis: BASIS.to_owned(),
        notes,
    })))
}

fn stages(
    model: &HfModel,
    config: &HfConfig,
    arguments: &Arguments,
    settled: &Settled,
    gpus: &[(Gpu, Option<CardSpeed>)],
    depth: u64,
) -> Result<Vec<Stage>, String> {
    let mut found = vec![Stage::default(); settled.stages.len()];
    for ((gpu, speed), (stage, tensor)) in gpus.iter().zip(settled.ranks()) {
        let speed = speed.ok_or_else(|| {
            format!("{} is described by its memory alone, or its card is not known, so its speed is not.", gpu.name)
        })?;
        let rank = Rank { tensor, stage, capability: gpu.capability };
        let held = weights(model, config, settled, &rank, false, arguments.offloaded);
        let used = config.experts.map_or(1.0, |it| float(it.used) / float(it.count.max(1)));
        let last = stage + 1 == settled.stages.len();
        let output = if last && model.tied_output() { held.embedding.value } else { held.output.value };
        let bytes = float(held.layers.value) + float(held.experts.value) * used.min(1.0) + float(output);
        let layers = settled.stages[stage].clone().filter_map(|layer| usize::try_from(layer).ok());
        let layers: Vec<&HfLayer> = layers.filter_map(|layer| config.layers.get(layer)).collect();
        let entry = &mut found[stage];
        entry.cards.push(speed);
        entry.weights = entry.weights.max(bytes);
        entry.cache = layers.iter().map(|layer| cache_read(config, settled, layer, depth)).sum();
        entry.products = layers.iter().map(|layer| products(config, layer)).sum::<f64>() / float(settled.tensor.max(1));
        entry.layers = float(u64::try_from(layers.len()).unwrap_or(u64::MAX));
    }
    Ok(found)
}

/// Bytes of a layer's cache that a token behind `depth` others reads on a rank.
fn cache_read(config: &HfConfig, settled: &Settled, layer: &HfLayer, depth: u64) -> f64 {
    let tokens = match layer.kind {
        LayerKind::Stateless | LayerKind::Recurrent => 0,
        LayerKind::Sliding { window } => depth.min(window),
        LayerKind::Chunked { chunk } => depth.min(chunk),
        LayerKind::Full | LayerKind::Hybrid | LayerKind::Cross => depth,
    };
    let values = match config.mla {
        Some(mla) => float(mla.kv_rank) + float(mla.rope),
        None => float((layer.heads_kv / settled.tensor.max(1)).max(1)) * float(layer.head_length) * 2.0,
    };
    float(tokens) * values * float(settled.cache_bytes)
}

/// Products of a token in a layer, by the model's widths: projections of attention, and the feed-forward part or the experts
/// that it uses.
fn products(config: &HfConfig, layer: &HfLayer) -> f64 {
    let width = float(config.embedding);
    let heads = float(config.heads);
    let attention = match config.mla {
        Some(mla) => {
            let query = heads * (float(mla.nope) + float(mla.rope));
            let queries = mla.q_rank.map_or(width * query, |rank| float(rank) * (width + query));
            let keys = float(mla.kv_rank) * (width + heads * (float(mla.nope) + float(mla.value)));
            queries + keys + width * float(mla.rope) + width * heads * float(mla.value)
        }
        None => width * float(layer.head_length) * 2.0 * (heads + float(layer.heads_kv)),
    };
    let forward = config.experts.map_or(float(config.feed_forward), |experts| {
        (float(experts.used) + float(experts.shared)) * float(experts.feed_forward)
    });
    attention + 3.0 * width * forward
}

/// One token.
fn decode(stages: &[Stage], width: f64) -> Parts {
    let mut sum = Parts::default();
    for (at, stage) in stages.iter().enumerate() {
        let slowest = stage.cards.iter().map(bandwidth).fold(f64::INFINITY, f64::min);
        let clock = stage.cards.iter().map(|card| f64::from(card.boost_mhz.max(1))).fold(f64::INFINITY, f64::min);
        sum.weights += stage.weights / slowest;
        sum.cache += stage.cache / slowest;
        sum.kernels += stage.layers * LAYER_US * 1e-6 * LAUNCH_MHZ / clock;
        sum.reduces += stage.layers * REDUCES * reduce(&stage.cards, width);
        if at > 0 {
            sum.hops += latency(&stage.cards) + width / link(&stage.cards);
        }
    }
    sum
}

/// A prompt of `tokens` in `steps`, which follow each other through the stages as in a pipeline.
fn prefill(stages: &[Stage], tokens: f64, steps: f64, width: f64, moe: bool) -> f64 {
    let share = if moe { PREFILL_EXPERTS } else { PREFILL_DENSE };
    let time = |stage: &Stage| {
        let rate = stage.cards.iter().map(operations).fold(f64::INFINITY, f64::min) * share;
        let kernels = steps * stage.layers * LAYER_US * 1e-6;
        2.0 * stage.products * tokens / rate
            + kernels
            + stage.layers * REDUCES * steps * reduce(&stage.cards, width * tokens / steps)
    };
    let times: Vec<f64> = stages.iter().map(time).collect();
    let longest = times.iter().copied().fold(0.0, f64::max);
    let all = times.iter().sum::<f64>() / steps + longest * (steps - 1.0) / steps;
    all.max(TIME_MIN)
}

/// Bytes per second that reading reaches.
fn bandwidth(card: &CardSpeed) -> f64 {
    f64::from(card.bandwidth_mb_s.max(1)) * 1e6 * BANDWIDTH_SHARE
}

/// Operations per second of the tensor cores with 16-bit numbers and 32-bit sums: SMs × clock × operations per SM and clock.
/// Source: NVIDIA's whitepapers of GA100, GA102, AD102, GH100; GeForce cards have half the rate of professional ones.
fn operations(card: &CardSpeed) -> f64 {
    let per_clock = match (card.capability, card.geforce) {
        (900..1200, _) => 4096.0,
        (800, _) => 2048.0,
        (_, true) => 512.0,
        (_, false) => 1024.0,
    };
    f64::from(card.sms.max(1)) * f64::from(card.boost_mhz.max(1)) * 1e6 * per_clock
}

/// A sum of `bytes` over ranks, seconds: each sends and gets 2 (n - 1) / n of them, as in a ring.
fn reduce(cards: &[CardSpeed], bytes: f64) -> f64 {
    let count = float(u64::try_from(cards.len()).unwrap_or(u64::MAX));
    if count < 2.0 {
        return 0.0;
    }
    latency(cards) + bytes * 2.0 * (count - 1.0) / count / link(cards)
}

fn direct(cards: &[CardSpeed]) -> bool {
    cards.iter().all(|card| card.link.p2p || card.link.nvlink)
}

/// Seconds until ranks have heard of each other.
fn latency(cards: &[CardSpeed]) -> f64 {
    (if direct(cards) { REDUCE_P2P_US } else { REDUCE_HOST_US }) * 1e-6
}

/// Bytes per second between ranks. Through system RAM they cross twice.
fn link(cards: &[CardSpeed]) -> f64 {
    let slowest = cards.iter().map(|card| pcie(card.link)).fold(f64::INFINITY, f64::min);
    if direct(cards) { slowest } else { slowest / 2.0 }
}

/// Bytes per second of a slot, one way: rates per lane of the PCI Express specifications, after their codes.
fn pcie(link: Link) -> f64 {
    const LANE: [f64; 7] = [0.25e9, 0.5e9, 0.985e9, 1.969e9, 3.938e9, 7.563e9, 15.125e9];
    LANE[usize::from(link.generation.clamp(1, 7)) - 1] * f64::from(link.lanes.clamp(1, 16))
}

fn around(value: f64, width: f64) -> Predicted {
    Predicted { value, low: value * (-width).exp(), high: value * width.exp() }
}

impl Parts {
    fn sum(self) -> f64 {
        self.weights + self.cache + self.kernels + self.reduces + self.hops
    }

    fn in_words(self) -> Vec<SpeedPart> {
        let named = [
            ("reading weights", self.weights),
            ("reading the KV cache", self.cache),
            ("launching kernels", self.kernels),
            ("summing up over GPUs", self.reduces),
            ("handing activations on", self.hops),
        ];
        let taken = named.into_iter().filter(|(_, seconds)| *seconds > 0.0);
        let mut words: Vec<_> = taken.map(|(what, s)| SpeedPart { what: what.to_owned(), us: s * 1e6 }).collect();
        words.sort_by(|a, b| b.us.total_cmp(&a.us));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::described;

    /// Qwen3.6-35B-A3B with 4-bit experts; attention, linear attention and output in 16 bits: 40 layers, width 2,048, 8 of
    /// 256 experts of width 512 and a shared one, 248,320 tokens. 2.5 GB, 1.0 GB and 0.6 GB are read per token.
    fn mixture(cards: &str) -> Stage {
        let cards: Vec<_> = described(cards).expect("sound").iter().filter_map(|gpu| gpu.speed).collect();
        let ranks = float(cards.len() as u64);
        Stage { weights: 4.2e9 / ranks, cache: 0.0, products: 2.4e9 / ranks, layers: 40.0, cards }
    }

    fn dense(cards: &str) -> Stage {
        // A model of 27B, 64 layers, 4.5 bits, with an output of 16 bits.
        let stage = mixture(cards);
        let ranks = float(stage.cards.len() as u64);
        Stage { weights: 17.1e9 / ranks, products: 25.6e9 / ranks, layers: 64.0, ..stage }
    }

    fn speed(stage: &Stage, width: f64) -> f64 {
        1.0 / decode(std::slice::from_ref(stage), width).sum()
    }

    #[test]
    fn published_runs_lie_within_the_intervals() {
        for (stage, measured) in [
            (mixture("RTX 5090"), 255.8),
            (mixture("RTX 5090@p2p,RTX 5090@p2p"), 288.1),
            (mixture("RTX 5090,RTX 5090"), 222.8),
            (mixture("RTX 3090@p2p,RTX 3090@p2p"), 179.5),
            (dense("RTX 3090@p2p,RTX 3090@p2p"), 62.4),
        ] {
            let value = speed(&stage, 4096.0);
            assert!((value / measured).ln().abs() < 0.1, "{value} for {measured}: {stage:?}");
        }
        for (stage, prompt, moe, measured) in [
            (mixture("RTX 5090@p2p,RTX 5090@p2p"), 10_000.0, true, 13_464.0),
            (mixture("RTX 5090,RTX 5090"), 10_000.0, true, 12_101.0),
            (mixture("RTX 3090@p2p,RTX 3090@p2p"), 10_000.0, true, 8_289.0),
            (dense("RTX 3090@p2p,RTX 3090@p2p"), 10_000.0, false, 1_651.0),
        ] {
            let value = prompt / prefill(std::slice::from_ref(&stage), prompt, 2.0, 4096.0, moe);
            assert!((value / measured).ln().abs() < 0.35, "{value} for {measured}: {stage:?}");
        }
    }

    #[test]
    fn peer_access_and_bandwidth_never_slow_down() {
        let slow = speed(&mixture("RTX 5090,RTX 5090"), 4096.0);
        assert!(speed(&mixture("RTX 5090@p2p,RTX 5090@p2p"), 4096.0) > slow);
        assert!(speed(&mixture("RTX 3090,RTX 3090"), 4096.0) < slow);
        // Two stages take what their sum takes, and a hop.
        let half = Stage { weights: 2.1e9, layers: 20.0, ..mixture("RTX 5090") };
        let both = decode(&[half.clone(), half], 4096.0);
        let one = decode(&[mixture("RTX 5090")], 4096.0);
        assert!(both.hops > 0.0 && (both.sum() - both.hops - one.sum()).abs() < 1e-9);
    }
}
