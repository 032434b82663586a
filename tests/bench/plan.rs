//! How long a person waits: reading a 70B model's header and planning it, cold and again.
//!
//! *Cold* is a new cache in a warm process; the file's pages are in the system's memory after the first round. One row
//! drops them before each round.

use std::fs::File;
use std::path::PathBuf;

use dualgpuopt_app::api::{ModelRef, PlanAsk, SourceChoice};
use dualgpuopt_app::{App, Deps};
use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{CacheType, ContextWish, DeviceBudget, Goal, PlanRequest, plan};
use dualgpuopt_core::settings::Environment;
use dualgpuopt_core::units::Bytes;
use dualgpuopt_model::ModelCache;
use dualgpuopt_test_support::places;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

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
        measured_context: None,
        speed: None,
    };
    PlanRequest {
        context,
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: 512,
        devices: (0..gpus).map(device).collect(),
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

/// Reads the header from the disk: the file's pages are dropped from the system's memory before each round.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn read_header_70b_from_disk(bencher: divan::Bencher<'_, '_>) {
    let file = file();
    let descriptor = File::open(&file).expect("the model can be opened");
    let drop_pages =
        || posix_fadvise(&descriptor, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("advice is taken");
    bencher
        .with_inputs(drop_pages)
        .bench_local_values(|()| dualgpuopt_model::probe(&file).expect("the model can be read"));
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

/// The same question to the whole app again: header and plan from its caches, the machine as it is now.
#[divan::bench]
fn plan_70b_again_through_the_app(bencher: divan::Bencher<'_, '_>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let deps = Deps {
        program: std::env::current_exe().expect("a benchmark knows its own path"),
        config_dir: None,
        environment: Environment::default(),
        source: SourceChoice::Simulated { cards: vec![] },
        engine: None,
        places: vec![],
    };
    let app = runtime.block_on(async { App::begin(deps) }).expect("the simulator has these cards");
    let ask = PlanAsk {
        model: ModelRef::File { path: file().to_string_lossy().into_owned() },
        context: ContextWish::Largest,
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: 512,
        gpus: vec![],
        split: None,
        order: None,
        added: vec![],
        only_added: false,
        goal: Goal::default(),
        mode: None,
        ram: None,
        all_gpus: false,
        experts_in_ram: None,
        depth: 0,
        port: Some(8080),
    };
    while runtime.block_on(app.plan(ask.clone())).is_err() {
        std::thread::yield_now();
    }
    bencher.bench_local(|| runtime.block_on(app.plan(ask.clone())).expect("planned before"));
    runtime.block_on(app.shut_down());
}

/// Plans for a context, as each step of the slider does.
#[divan::bench(args = [1, 2, 4, 8])]
fn plan_70b(bencher: divan::Bencher<'_, '_>, gpus: u32) {
    let (facts, request) = (facts(), request(gpus, ContextWish::Tokens(16_384)));
    bencher.bench_local(|| plan(&facts, &request).expect("the model can be planned"));
}
