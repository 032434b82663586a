//! Explanations add up: to every recorded start as it is laid out (that layouts are what llama.cpp allocated is held by
//! `ground_truth.rs`), and to the plans that they explain.

mod support;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dualgpuopt_core::engine::llama_cpp::explain::{Line, Part, explain as explain_engine};
use dualgpuopt_core::engine::llama_cpp::layout::layout;
use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{CacheType, ContextWish, DeviceBudget, Goal, Plan, PlanRequest, explain, plan};
use dualgpuopt_core::units::Bytes;
use proptest::prelude::*;
use support::rows;

/// Most recorded rows that are explained, spread evenly over all of them.
const ROWS_MAX: usize = 600;

static QWEN3_8B: LazyLock<ModelFacts> = LazyLock::new(|| support::model("qwen3-8b-q4_k_m"));

/// Bytes by device (absent: host) and part, after a look at every line.
fn sums(lines: &[Line]) -> BTreeMap<(Option<usize>, Part), u64> {
    let mut sums = BTreeMap::new();
    for line in lines {
        assert_eq!(line.terms.iter().map(|term| term.bytes).sum::<Bytes>(), line.bytes, "{line:?}");
        assert!(line.bytes > Bytes::ZERO && !line.formula.is_empty(), "{line:?}");
        assert_eq!(sums.insert((line.device, line.part), line.bytes.0), None, "a part is explained once");
    }
    sums
}

#[test]
fn explained_parts_are_those_of_the_layout() {
    let rows = rows();
    let mut models = BTreeMap::new();
    let mut explained = 0;
    for row in rows.iter().step_by(rows.len().div_ceil(ROWS_MAX)) {
        let model = &*models.entry(row.model.clone()).or_insert_with(|| support::model(&row.model));
        let Ok(layout) = layout(model, &row.flags) else { continue };
        let sums = sums(&explain_engine(model, &row.flags, &layout).expect("it was laid out"));
        let of = |device, part| sums.get(&(device, part)).copied().unwrap_or(0);
        for (gpu, bytes) in layout.devices.iter().enumerate() {
            let ours = [Part::Weights, Part::KvCache, Part::Compute].map(|part| of(Some(gpu), part));
            let allocated = [bytes.weights, bytes.kv_cache, bytes.compute];
            assert_eq!(ours, allocated, "CUDA{gpu} of {} {}", row.model, row.record["flags"]);
        }
        let ours = [Part::Weights, Part::KvCache, Part::Compute, Part::Output].map(|part| of(None, part));
        let host = layout.host;
        let allocated = [host.weights, host.kv_cache, host.compute, host.output];
        assert_eq!(ours, allocated, "host of {} {}", row.model, row.record["flags"]);
        explained += 1;
    }
    assert!(explained >= 190, "only {explained} rows were explained");
}

fn request(context: ContextWish, cache: CacheType, parallel: u32, gib: &[u64]) -> PlanRequest {
    let device = |(index, &gib): (u32, &u64)| DeviceBudget {
        gpu: GpuId(format!("GPU-{index}")),
        index,
        name: "a card".into(),
        total: Bytes::gib(gib),
        others: Bytes::mib(300),
        reserve: Bytes::mib(512),
        capability: None,
        measured_context: None,
        speed: None,
    };
    PlanRequest {
        context,
        cache_k: cache,
        cache_v: cache,
        parallel,
        micro_batch: 512,
        devices: (0..).zip(gib).map(device).collect(),
        split: None,
        order: None,
        goal: Goal::default(),
        mode: None,
        ram: None,
        all_gpus: false,
        experts_in_ram: None,
        depth: 0,
    }
}

/// Every part of every device is the explained one, and nothing else is.
fn check(model: &ModelFacts, plan: &Plan) {
    let explanation = explain(model, plan).expect("it was planned");
    let sums = sums(&explanation.lines);
    let of = |device, part| Bytes(sums.get(&(device, part)).copied().unwrap_or(0));
    for (position, device) in plan.devices.iter().enumerate() {
        let (memory, at) = (&device.memory, |part| of(Some(position), part));
        assert_eq!(at(Part::Weights), memory.weights);
        assert_eq!(at(Part::KvCache), memory.kv_cache);
        assert_eq!(at(Part::Compute), memory.compute);
        let all: Bytes = sums.iter().filter(|((at, _), _)| *at == Some(position)).map(|(_, bytes)| Bytes(*bytes)).sum();
        assert_eq!(all + memory.free, device.total + memory.short);
    }
    let host = &plan.host;
    assert_eq!(
        [of(None, Part::Weights), of(None, Part::Compute), of(None, Part::Output)],
        [host.weights, host.compute, host.output]
    );
}

#[test]
fn a_plan_in_formulas() {
    let model = support::model("llama-3.1-8b-q8_0");
    let request = request(ContextWish::Tokens(32_768), CacheType::F16, 1, &[24]);
    let plan = plan(&model, &request).expect("one GPU");
    check(&model, &plan);
    let lines = explain(&model, &plan).expect("it was planned").lines;
    let formulas: Vec<_> = lines.iter().map(|line| format!("{}: {}", line.bytes, line.formula)).collect();
    insta::assert_snapshot!(formulas.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is planned is explained to the byte, whether it fits or not.
    #[test]
    fn every_plan_is_explained_to_the_byte(
        wish in prop_oneof![Just(ContextWish::Largest), (1_u32..200_000).prop_map(ContextWish::Tokens)],
        cache in prop::sample::select(vec![CacheType::F16, CacheType::Q8_0, CacheType::Q4_0]),
        parallel in 1_u32..6,
        gib in prop::collection::vec(2_u64..25, 1..4),
    ) {
        let plan = plan(&QWEN3_8B, &request(wish, cache, parallel, &gib)).expect("a sound request");
        check(&QWEN3_8B, &plan);
    }
}
