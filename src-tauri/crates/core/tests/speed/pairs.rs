//! Pairs of placements on real rigs: which is faster, and why.

use std::collections::BTreeMap;

use dualgpuopt_core::plan::CacheType;
use dualgpuopt_core::speed::llama_cpp::{Coefficients, Rates};
use dualgpuopt_core::speed::{Setting, Work};

use crate::models::Shape;
use crate::rows::{Card, Split, card_named, linked, run};

/// Pairs that come out right, of 28. Of the others two differ by less than 3 % as measured, and one by a library (NCCL) that the
/// model does not know of.
pub(crate) const RIGHT_MIN: usize = 25;

/// A card's memory that layers can take, as share: the rest is contexts and buffers.
const FILLED: f64 = 0.85;

/// Verdicts with reasons: of the pairs whose winner came out right, and of the others.
pub(crate) fn judged() -> (Vec<String>, Vec<String>) {
    let verdicts = crate::table("splits.csv").into_iter().map(|pair| {
        let [(a, measured_a), (b, measured_b)] = ["a", "b"].map(|side| {
            let measured: f64 = pair[&format!("tg_{side}")].parse().expect("a rate");
            (predicted(&pair, &pair[&format!("mode_{side}")]), measured)
        });
        let (better, worse) = if b.decode.value > a.decode.value { (&b, &a) } else { (&a, &b) };
        let apart = a.decode.value.total_cmp(&b.decode.value).is_ne();
        let right = apart && (b.decode.value > a.decode.value) == (measured_b > measured_a);
        let names = format!("{}: {} {} against {}", pair["id"], pair["gpus"], pair["mode_a"], pair["mode_b"]);
        let rates = format!("{:.1} and {:.1} for {measured_a} and {measured_b}", a.decode.value, b.decode.value);
        (right, format!("{names}: {rates}: {}", better.reason(worse)))
    });
    let (right, wrong): (Vec<_>, Vec<_>) = verdicts.partition(|(right, _)| *right);
    let texts = |list: Vec<(bool, String)>| list.into_iter().map(|(_, text)| text).collect();
    (texts(right), texts(wrong))
}

fn predicted(pair: &BTreeMap<String, String>, mode: &str) -> Rates {
    let text = &pair["gpus"];
    let mut cards = cards(text);
    linked(&mut cards, if mode.contains("P2P") { mode } else { text });
    let quant = if pair["quant"].is_empty() { "Q4_K_M" } else { &pair["quant"] };
    // One pair names no model but that it fits on the larger card.
    let model = if pair["model"].starts_with('(') { "Qwen3.5-27B" } else { &pair["model"] };
    let shape = Shape::of(model).expect("the model is in the table");
    let bytes = shape.file_bytes(quant).or_else(|| shape.file_bytes("Q4_K_M")).expect("there is such a quantisation");
    let work = shape.work(quant, bytes);
    let cache = if pair["source"].contains("bench-of-us") { CacheType::Q8_0 } else { CacheType::F16 };
    let depth = pair["depth_tokens"].parse::<u64>().expect("a depth") + 500;
    let setting = Setting { depth, cache_k: cache, cache_v: cache, ..Setting::default() };
    let memory: Vec<f64> = cards.iter().map(|card| card.memory).collect();
    let split = if mode.contains("tensor") || mode.contains("P2P") {
        Split::Tensor(memory)
    } else if mode.contains("alone") {
        let alone = |card: &Card| {
            mode.contains(
                card.name.trim_start_matches("RTX ").trim_start_matches("Tesla ").split('-').next().unwrap_or(""),
            )
        };
        cards = vec![cards.iter().find(|card| alone(card)).expect("the card is in the rig").clone()];
        Split::Layers(vec![1.0])
    } else if let Some((_, shares)) = mode.split_once("-ts ") {
        Split::Layers(shares.split(':').map(|it| it.parse().expect("a share")).collect())
    } else if mode.contains("tuned") {
        Split::Layers(fastest_first(&cards, bytes))
    } else {
        Split::Layers(memory)
    };
    fits(&work, &split);
    run(Coefficients::current(), &work, &cards, &split, &setting)
}

/// A split has something for every card.
fn fits(work: &Work, split: &Split) {
    let (Split::Layers(shares) | Split::Tensor(shares)) = split;
    assert!(work.units() > shares.len() && shares.iter().all(|share| *share > 0.0));
}

/// As much as fits on the card with most bandwidth, then on the next.
fn fastest_first(cards: &[Card], bytes: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..cards.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(cards[at].speed.bandwidth_mb_s));
    let mut left = bytes;
    let mut shares = vec![0.0; cards.len()];
    for at in order {
        shares[at] = left.min(cards[at].memory * FILLED * f64::from(1 << 30)).max(1.0);
        left -= shares[at];
    }
    shares
}

/// `4x Tesla P40 24GB (…)`, `RTX 3090 24GB + 2x RTX 3060 12GB`.
fn cards(text: &str) -> Vec<Card> {
    let named = text.split('(').next().unwrap_or_default();
    let each = |part: &str| {
        let part = part.trim();
        let (count, name) = match part.split_once("x ") {
            Some((count, name)) => (count.parse().expect("a count"), name),
            None => (1, part),
        };
        vec![card_named(name).unwrap_or_else(|| panic!("{name} is in the table")); count]
    };
    named.split(" + ").flat_map(each).collect()
}
