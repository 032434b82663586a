//! Published rows: cards, model, setting, and what was measured.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dualgpuopt_core::plan::CacheType;
use dualgpuopt_core::speed::llama_cpp::{Coefficients, Rates, Sharing, Stage, rates_with};
use dualgpuopt_core::speed::work::WeightKind;
use dualgpuopt_core::speed::{Build, CardSpeed, Link, MemoryKind, Setting, Work};

use crate::models::{Shape, kinds};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Build of the rows of May 2024, and of rows that name neither build nor date (spring 2026).
const OF_2024: u32 = 2800;
const UNNAMED: u32 = 9000;

/// Rows whose cards did not run as sold, or whose file is not known.
const LEFT_OUT: [(&str, &str); 6] = [
    ("Y78", "first build for the model"),
    ("Y79", "file not said"),
    ("Y241", "before the change that the thread is about"),
    ("Y252", "before the change that the thread is about"),
    ("Y261", "before the change that the thread is about"),
    ("Y267", "before the change that the thread is about"),
];

/// Rows of which only the prompt's speed is left out.
const LEFT_OUT_PREFILL: [(&str, &str); 7] = [
    ("X54", "prompts ten times slower than on the card's sister"),
    ("X83", "as X54, four of them"),
    ("X60", "prompts slower than with fewer bits on one card"),
    ("Y116", "faster the longer the prompt: a part was cached"),
    ("Y118", "as Y116"),
    ("Y120", "as Y116"),
    ("Y275", "first state of a change: four times slower than layer by layer"),
];

/// A cap below this share of the card's power changes its clocks.
const POWER_KEPT: f64 = 0.8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Decode,
    Prefill,
}

/// How the model is shared out.
#[derive(Clone, Debug)]
pub(crate) enum Split {
    Layers(Vec<f64>),
    Tensor(Vec<f64>),
}

/// A card as the table has it.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) speed: CardSpeed,
    pub(crate) memory: f64,
    pub(crate) watts: Option<f64>,
}

/// One measured rate.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) phase: Phase,
    pub(crate) cards: Vec<Card>,
    pub(crate) work: Work,
    pub(crate) setting: Setting,
    pub(crate) split: Split,
    /// Tokens per second.
    pub(crate) measured: f64,
    pub(crate) class: &'static str,
    /// Weight in the fit: rows of the same card, model and kind share out a little more than one row's.
    pub(crate) weight: f64,
    /// Rows of one kind of machine share this.
    pub(crate) machine: String,
    /// Where it was published: rows of one source and kind of machine are of one machine.
    pub(crate) source: String,
    model: &'static str,
}

static CARDS: LazyLock<Vec<Card>> =
    LazyLock::new(|| crate::csv(include_str!("../../src/card/cards.csv")).iter().filter_map(card).collect());

fn card(row: &BTreeMap<String, String>) -> Option<Card> {
    let number = |name: &str| row[name].parse::<f64>().ok();
    let memory = match row["memory_type"].get(..3) {
        Some("HBM") => MemoryKind::Hbm,
        Some("LPD") => MemoryKind::Unified,
        _ => MemoryKind::Gddr,
    };
    let (generation, lanes) = slot(&row["pcie"]).into_iter().next()?;
    let speed = CardSpeed {
        bandwidth_mb_s: whole(number("bandwidth_gb_s")? * 1e3),
        memory,
        sms: whole(number("sm_count")?),
        boost_mhz: whole(number("boost_mhz")?),
        capability: whole(number("compute_capability")? * 100.0),
        geforce: row["nvml_name"].contains("GeForce"),
        link: Link { generation, lanes, p2p: false, nvlink: false },
    };
    let name = row["nvml_name"].replace("NVIDIA ", "").replace("GeForce ", "");
    Some(Card { name, speed, memory: number("memory_gib")?, watts: number("tdp_w") })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a checked table")]
fn whole(number: f64) -> u32 {
    number.round() as u32
}

/// Every `PCIe G.0 xN` and further `xN` of a text.
fn slot(text: &str) -> Vec<(u8, u8)> {
    let (mut generation, mut slots) = (3, Vec::new());
    for word in text.split([' ', '+', ',', '(']) {
        if let Some(number) = word.strip_suffix(".0").and_then(|number| number.parse().ok()) {
            generation = number;
        } else if let Some(lanes) = word.strip_prefix('x').and_then(|lanes| lanes.parse().ok()) {
            slots.push((generation, lanes));
        }
    }
    slots
}

/// A card by the name a row gives it.
pub(crate) fn card_named(name: &str) -> Option<Card> {
    let short = name.trim();
    let short = ["12GB", "16GB", "24GB", "32GB", "48GB", "10GB", "15GB"]
        .iter()
        .find_map(|size| short.strip_suffix(size))
        .unwrap_or(short)
        .trim();
    let alias = match short {
        "A100 PCIe" => "A100 80GB PCIe",
        "A100 SXM" => "A100-SXM4-80GB",
        "RTX 4000 Ada" | "RTX 5000 Ada" => return card_named(&format!("{short} Generation")),
        "Tesla V100-PCIE-" | "V100" => "Tesla V100-PCIE-32GB",
        "Tesla V100-SXM2-" => "Tesla V100-SXM2-16GB",
        "P40" => "Tesla P40",
        "RTX 8000" => "Quadro RTX 8000",
        other => other,
    };
    CARDS.iter().find(|card| card.name == alias || card.name == format!("RTX {alias}")).cloned()
}

impl Row {
    /// What the model says for it, tokens per second.
    pub(crate) fn predicted(&self, k: &Coefficients) -> f64 {
        let rates = self.rates(k);
        self.of(&rates).value
    }

    pub(crate) fn of(&self, rates: &Rates) -> dualgpuopt_core::speed::Predicted {
        if self.phase == Phase::Decode { rates.decode } else { rates.prefill }
    }

    pub(crate) fn rates(&self, k: &Coefficients) -> Rates {
        run(k, &self.work, &self.cards, &self.split, &self.setting)
    }
}

/// The rates of a placement.
pub(crate) fn run(k: &Coefficients, work: &Work, cards: &[Card], split: &Split, setting: &Setting) -> Rates {
    let devices: Vec<CardSpeed> = cards.iter().map(|card| card.speed).collect();
    match split {
        Split::Layers(shares) => rates_with(k, work, &devices, Sharing::Layers(&stages(work, shares)), setting),
        Split::Tensor(shares) => {
            let order: Vec<usize> = (0..cards.len()).collect();
            rates_with(k, work, &devices, Sharing::Tensor { order: &order, shares }, setting)
        }
    }
}

/// Units in proportion to shares, as the engine cuts them.
pub(crate) fn stages(work: &Work, shares: &[f64]) -> Vec<Stage> {
    let sum: f64 = shares.iter().sum();
    let units = work.units() as f64;
    let place = |unit: usize| {
        let at = unit as f64 / units;
        let mut before = 0.0;
        let found = shares.iter().position(|share| {
            before += share / sum;
            at < before
        });
        Stage::Gpu(found.unwrap_or(shares.len() - 1))
    };
    (0..work.units()).map(place).collect()
}

/// Every row of the model's engine that ran as cards are sold and without drafts, each rate a row.
pub(crate) fn usable() -> Vec<Row> {
    let mut rows = of_2024();
    rows.extend(of_2025());
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    let key = |row: &Row| format!("{:?}{}{}{:?}", row.phase, row.machine, row.model, row.work.main_kind());
    for row in &rows {
        *counts.entry(key(row)).or_default() += 1.0;
    }
    for row in &mut rows {
        row.weight = counts[&key(row)].powf(-0.35);
    }
    rows
}

fn of_2024() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in crate::table("llama-bench-2024.csv") {
        let count: usize = line["count"].parse().expect("a count");
        let cards = vec![card_named(&line["gpu"]).expect("the card is in the table"); count];
        let shape = Shape::of(&line["model"]).expect("the model is in the table");
        let file = line["file_gib"].parse::<f64>().expect("a size") * GIB;
        let base = Setting { build: Build(Some(OF_2024)), flash_attention: false, ..Setting::default() };
        // Tokens are made one after the other, so the cache is half full on average.
        for (column, tokens) in [("512", 512), ("4096", 4096), ("8192", 8192)] {
            let decode = Setting { depth: tokens / 2, ..base.clone() };
            let prefill = Setting { prompt: tokens, ..base.clone() };
            for (phase, prefix, setting) in [(Phase::Decode, "tg", decode), (Phase::Prefill, "pp", prefill)] {
                let name = format!("{prefix}{column}");
                let Some(measured) = line[&name].parse::<f64>().ok().filter(|rate| *rate > 0.0) else { continue };
                if phase == Phase::Prefill && out_of(&LEFT_OUT_PREFILL, &line["id"]) {
                    continue;
                }
                rows.push(row(
                    &line["id"],
                    phase,
                    &cards,
                    shape,
                    &line["quant"],
                    file,
                    setting,
                    by_memory(&cards),
                    measured,
                ));
            }
        }
    }
    rows
}

fn of_2025() -> Vec<Row> {
    let mut rows = Vec::new();
    for line in crate::table("llama-bench-2025.csv") {
        if line["engine"] != "llama.cpp"
            || !["none", ""].contains(&line["spec"].as_str())
            || out_of(&LEFT_OUT, &line["id"])
        {
            continue;
        }
        let Some(cards) = cards_of(&line) else { continue };
        let Some(shape) = Shape::of(&line["model"]) else { continue };
        let quant = if line["quant"].is_empty() { "Q4_K_M" } else { &line["quant"] };
        let stated = line["file_gib"].parse::<f64>().ok().map(|size| size * GIB);
        let Some(file) = stated.or_else(|| shape.file_bytes(quant)) else { continue };
        let tensor = line["split"] == "tensor";
        let split = match line["split"].split_once("-ts ") {
            Some((_, shares)) => Split::Layers(shares.split(':').map(|it| it.parse().expect("a share")).collect()),
            None if tensor => Split::Tensor(cards.iter().map(|card| card.memory).collect()),
            None => by_memory(&cards),
        };
        for (phase, column) in [(Phase::Decode, "tg_tps"), (Phase::Prefill, "pp_tps")] {
            let Some(measured) = line[column].parse::<f64>().ok() else { continue };
            if phase == Phase::Prefill && out_of(&LEFT_OUT_PREFILL, &line["id"]) {
                continue;
            }
            let setting = setting_of(&line, phase);
            let row = row(&line["id"], phase, &cards, shape, quant, file, setting, split.clone(), measured);
            rows.push(Row { source: line["source"].clone(), ..row });
        }
    }
    rows
}

fn out_of(list: &[(&str, &str)], id: &str) -> bool {
    list.iter().any(|(out, _)| *out == id)
}

/// A row's cards with their links; `None` where one is not known or did not run as sold.
fn cards_of(line: &BTreeMap<String, String>) -> Option<Vec<Card>> {
    let count: usize = line["count"].parse().ok()?;
    let strange = ["Laptop", "CMP", "overclock"];
    if strange.iter().any(|word| line["gpu"].contains(word) || line["note"].contains(word)) {
        return None;
    }
    let names: Vec<&str> = line["gpu"].split('+').collect();
    let mut cards: Vec<Card> = if names.len() > 1 {
        names.iter().map(|name| card_named(name)).collect::<Option<_>>()?
    } else {
        vec![card_named(&line["gpu"])?; count]
    };
    let cap = line["power_cap_w"].parse::<f64>().ok();
    if cards.iter().any(|card| matches!((cap, card.watts), (Some(cap), Some(own)) if cap < own * POWER_KEPT)) {
        return None;
    }
    linked(&mut cards, &line["link"]);
    Some(cards)
}

/// Gives cards the slots that a text names.
pub(crate) fn linked(cards: &mut [Card], text: &str) {
    let slots = slot(text);
    for (at, card) in cards.iter_mut().enumerate() {
        if let Some(&(generation, lanes)) = slots.get(at).or(slots.last()) {
            card.speed.link = Link { generation, lanes, ..card.speed.link };
        }
        card.speed.link.nvlink = text.contains("NVLink") && !text.contains("no NVLink");
        card.speed.link.p2p = text.contains("P2P") && !text.contains("no P2P") && !text.contains("P2P off");
    }
}

fn by_memory(cards: &[Card]) -> Split {
    Split::Layers(cards.iter().map(|card| card.memory).collect())
}

fn setting_of(line: &BTreeMap<String, String>, phase: Phase) -> Setting {
    let number = |name: &str| line[name].parse::<u64>().ok();
    let depth = number("depth").unwrap_or(0);
    let named = line["build"].trim_start_matches('b').split([' ', '(']).next().and_then(|it| it.parse().ok());
    let dated =
        line["date"].starts_with("2026-0") && line["date"].as_str() >= "2026-08" || line["date"].starts_with("2026-1");
    let build = Build(named.or((!dated).then_some(UNNAMED)));
    // In threads on one change `b` is the micro-batch; llama-sweep-bench reads one micro-batch at a time; notes on one DGX
    // Spark use what its guide says.
    let micro = match line["source"].split(['/', '#']).next() {
        Some("ggml-org") => number("b"),
        Some("ikawrakow") => number("pp_tokens"),
        _ => number("ub"),
    };
    let micro = micro.unwrap_or(if line["source"].contains("Spark") { 2048 } else { 512 });
    let cache = match line["kv"].as_str() {
        "q8_0" => CacheType::Q8_0,
        "q4_0" => CacheType::Q4_0,
        "bf16" => CacheType::Bf16,
        _ => CacheType::F16,
    };
    let base =
        Setting { build, cache_k: cache, cache_v: cache, flash_attention: line["fa"] != "0", ..Setting::default() };
    if phase == Phase::Decode {
        return Setting { depth: depth + number("tg_tokens").unwrap_or(128) / 2, ..base };
    }
    // Some reports time the tokens added to reach the depth; those begin with an empty cache.
    let to_depth = ["bench-of-us", "split-bench"].iter().any(|name| line["source"].contains(name)) && depth > 0;
    let prompt = number("pp_tokens").unwrap_or(512);
    let (prompt, depth) = if to_depth { (depth, 0) } else { (prompt, depth) };
    Setting { prompt, depth, micro_batch: micro.min(number("b").unwrap_or(2048)).max(1), ..base }
}

#[expect(clippy::too_many_arguments, reason = "a row is that many things")]
fn row(
    id: &str,
    phase: Phase,
    cards: &[Card],
    shape: Shape,
    quant: &str,
    file: f64,
    setting: Setting,
    split: Split,
    measured: f64,
) -> Row {
    let work = shape.work(quant, file);
    let names: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
    let early = setting.build.is_early();
    let class = class(cards, &work, &split, quant);
    let machine = format!("{} {early} {class}", names.join("+"));
    Row {
        id: id.to_owned(),
        phase,
        cards: cards.to_vec(),
        work,
        setting,
        split,
        measured,
        class,
        weight: 1.0,
        machine,
        source: String::new(),
        model: shape.name(),
    }
}

fn class(cards: &[Card], work: &Work, split: &Split, quant: &str) -> &'static str {
    match split {
        Split::Tensor(_) => crate::report::TENSOR,
        Split::Layers(_) if cards.len() > 1 => crate::report::SEVERAL,
        Split::Layers(_) if !cards[0].speed.geforce => crate::report::PROFESSIONAL,
        Split::Layers(_) if kinds(quant).0 == WeightKind::Low => crate::report::LOW,
        Split::Layers(_) if work.routes() => crate::report::ROUTED,
        Split::Layers(_) => crate::report::DENSE,
    }
}
