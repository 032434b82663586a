//! Command lines of a plan, in the flags of several versions of the engine.

mod support;

use std::sync::LazyLock;

use dualgpuopt_core::engine::flags_by_version::{Engine, FlagTable, Version};
use dualgpuopt_core::engine::llama_cpp::command::{Start, command};
use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{CacheType, ContextWish, DeviceBudget, Goal, Plan, PlanMode, PlanRequest, plan};
use dualgpuopt_core::units::Bytes;

static QWEN3_8B: LazyLock<ModelFacts> = LazyLock::new(|| support::model("qwen3-8b-q4_k_m"));

/// A plan over two GPUs, as the planner lays it out.
fn two_gpus() -> Plan {
    let card = |index| DeviceBudget {
        gpu: GpuId(format!("GPU-{index}")),
        index,
        name: "NVIDIA GeForce RTX 3090".into(),
        total: Bytes::gib(24),
        others: Bytes::ZERO,
        reserve: Bytes::ZERO,
        capability: Some(860),
        measured_context: None,
        speed: None,
    };
    let request = PlanRequest {
        context: ContextWish::Tokens(4096),
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: 512,
        devices: vec![card(0), card(1)],
        split: Some(vec![7, 30]),
        order: None,
        goal: Goal::default(),
        mode: Some(PlanMode::Layer),
        ram: None,
        all_gpus: true,
        experts_in_ram: None,
        depth: 0,
    };
    plan(&QWEN3_8B, &request).expect("the request is sound")
}

/// What a build is told beside the ordinary, and the problems.
fn told(plan: &Plan, build: u32) -> (String, Vec<String>) {
    let table = FlagTable::published(Engine::LlamaCpp, Some(&Version::build(build)));
    let start = Start { model_path: "m.gguf", title: "m", program: "llama-server", host: "127.0.0.1", port: 8080 };
    let (spec, problems) = command(start, plan, &table);
    let unknown: Vec<_> = spec.args.iter().filter(|arg| arg.starts_with('-') && !table.has(arg)).collect();
    assert!(unknown.is_empty() || problems.iter().any(|problem| problem.prevents()), "{unknown:?} in b{build}");
    let from = spec.args.iter().position(|arg| arg == "-ctv").expect("always there") + 2;
    let to = spec.args.iter().position(|arg| arg == "--host").expect("always there");
    (spec.args[from..to].join(" "), problems.iter().map(ToString::to_string).collect())
}

#[test]
fn each_build_is_told_in_its_own_flags() {
    let plan = two_gpus();
    let shares = "-ngl 999 --split-mode layer --tensor-split 7,30";
    assert_eq!(told(&plan, 4579), (format!("-fa {shares}"), vec![]));
    assert_eq!(told(&plan, 6327), (shares.to_owned(), vec![]));
    assert_eq!(told(&plan, 11_434), (format!("{shares} --fit off"), vec![]));
}

#[test]
fn parts_in_ram_and_gpus_in_another_order() {
    let plan =
        Plan { split: vec![7, 25], order: vec![1, 0], layers_in_ram: 5, experts_in_ram: vec![5, 6], ..two_gpus() };
    let shares = "-ngl 32 --split-mode layer --tensor-split 25,7";
    assert_eq!(told(&plan, 11_434).0, format!("{shares} --n-cpu-moe 7 --fit off"));
    let scattered = Plan { experts_in_ram: vec![6, 20], ..plan };
    let pattern = r"blk\.(6|20)\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU";
    assert_eq!(told(&scattered, 11_434).0, format!("{shares} --override-tensor {pattern} --fit off"));
}

#[test]
fn what_a_build_lacks_is_said() {
    let experts = Plan { experts_in_ram: vec![0, 1], ..two_gpus() };
    assert_eq!(
        told(&experts, 4579).1,
        [
            "llama.cpp b4579 has no --override-tensor, so experts cannot be kept in RAM; of the versions described here b6089 is the first with it."
        ]
    );
    let tensor = Plan { mode: PlanMode::Tensor, ..two_gpus() };
    assert_eq!(
        told(&tensor, 8672).1,
        [
            "llama.cpp b8672 has no --split-mode tensor, so the GPUs cannot share every matrix; of the versions described here b11434 is the first with it."
        ]
    );
    assert_eq!(told(&tensor, 11_434).1, Vec::<String>::new());
    let start = Start { model_path: "m", title: "m", program: "p", host: "h", port: 1 };
    let only_patterns = FlagTable::told(Some(Version::build(5500)), "-ot,   --override-tensor X\n").expect("a flag");
    let (_, problems) = command(start, &experts, &only_patterns);
    assert_eq!(
        problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["llama.cpp b5500 has no --n-cpu-moe; --override-tensor says the same here."]
    );
}
