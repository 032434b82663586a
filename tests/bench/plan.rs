//! How long a person waits: reading a 70B model's header and planning it, cold and again.
//!
//! *Cold* is a new cache in a warm process; the file's pages are in the system's memory after the first round.

use std::path::PathBuf;

use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{CacheType, ContextWish, DeviceBudget, PlanRequest, plan};
use dualgpuopt_core::units::Bytes;
use dualgpuopt_model::ModelCache;
use dualgpuopt_test_support::places;

fn main() {
    divan::main();
}

fn file() -> PathBuf {
    places::model("llama-3.3-70b-q4_k_m.gguf")
}

fn facts() -> ModelFacts {
    dualgpuopt_model::probe(&file()).expect("the model can be read").facts
}

fn request(gpus: u32, context: ContextWish) -> PlanRequest {
    let device = |index| DeviceBudget {
        gpu: GpuId(format!("GPU-{index}")),
        index,
        name: "RTX 3090".to_owned(),
        total: Bytes::gib(24),
        others: Bytes::mib(700),
        reserve: Bytes::mib(512),
        capability: Some(860),
    };
    PlanRequest {
        context,
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: 512,
        devices: (0..gpus).map(device).collect(),
        split: None,
    }
}

/// Reads the header with nothing kept.
#[divan::bench]
fn read_header_70b() {
    dualgpuopt_model::probe(&file()).expect("the model can be read");
}

/// Reads the header, plans the largest context on two cards.
#[divan::bench]
fn read_and_plan_70b_cold(bencher: divan::Bencher<'_, '_>) {
    let (file, request) = (file(), request(2, ContextWish::Largest));
    bencher.bench_local(|| {
        let probe = ModelCache::new().probe(&file).expect("the model can be read");
        plan(&probe.facts, &request).expect("the model can be planned")
    });
}

/// The same header from the cache.
#[divan::bench]
fn read_header_70b_cached(bencher: divan::Bencher<'_, '_>) {
    let (file, cache) = (file(), ModelCache::new());
    cache.probe(&file).expect("the model can be read");
    bencher.bench_local(|| cache.probe(&file).expect("the model can be read"));
}

/// Plans for a context, as each step of the slider does.
#[divan::bench(args = [1, 2, 4, 8])]
fn plan_70b(bencher: divan::Bencher<'_, '_>, gpus: u32) {
    let (facts, request) = (facts(), request(gpus, ContextWish::Tokens(16_384)));
    bencher.bench_local(|| plan(&facts, &request).expect("the model can be planned"));
}
