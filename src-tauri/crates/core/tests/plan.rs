//! Plans: what they promise, and what holds for every one of them.

mod support;

use std::sync::LazyLock;
use std::time::Instant;

use dualgpuopt_core::engine::llama_cpp::command::launch_spec;
use dualgpuopt_core::engine::llama_cpp::flags::{Device, Flags, Place};
use dualgpuopt_core::engine::llama_cpp::settle::settle;
use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{
    CacheType, ContextWish, DRIVER_CONTEXT, DeviceBudget, Fix, Plan, PlanError, PlanRequest, Verdict, plan,
};
use dualgpuopt_core::units::Bytes;
use proptest::prelude::*;

static LLAMA_70B: LazyLock<ModelFacts> = LazyLock::new(|| support::model("llama-3.3-70b-q4_k_m"));
static QWEN3_8B: LazyLock<ModelFacts> = LazyLock::new(|| support::model("qwen3-8b-q4_k_m"));
static LLAMA_1B: LazyLock<ModelFacts> = LazyLock::new(|| support::model("llama-3.2-1b-q8_0"));
static QWEN2_7B: LazyLock<ModelFacts> = LazyLock::new(|| support::model("qwen2.5-7b-q4_k_m"));

fn card(index: u32, total: Bytes) -> DeviceBudget {
    DeviceBudget {
        gpu: GpuId(format!("GPU-{index:08x}-0000-4000-8000-000000000000")),
        index,
        name: "NVIDIA GeForce RTX 3090".into(),
        total,
        others: Bytes::mib(300),
        reserve: Bytes::mib(512),
        capability: Some(860),
    }
}

fn request(totals: &[Bytes]) -> PlanRequest {
    PlanRequest {
        context: ContextWish::Largest,
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: 512,
        devices: (0..).zip(totals).map(|(index, &total)| card(index, total)).collect(),
        split: None,
    }
}

fn planned(model: &ModelFacts, request: &PlanRequest) -> Plan {
    plan(model, request).expect("a sound request for a known model can be planned")
}

fn fits(plan: &Plan) -> bool {
    matches!(plan.verdict, Verdict::Fits { .. })
}

const RTX_3090: Bytes = Bytes::gib(24);

#[test]
fn seventy_billion_on_two_rtx_3090() {
    let plan = planned(&LLAMA_70B, &request(&[RTX_3090, RTX_3090]));
    insta::assert_json_snapshot!(plan);
    let spec = launch_spec(
        "/models/Llama 3.3 70B Q4_K_M.gguf",
        "Llama 3.3 70B",
        &plan,
        "/usr/local/bin/llama-server",
        "127.0.0.1",
        8080,
    );
    insta::assert_snapshot!(spec.posix().expect("no NUL bytes"));
}

#[test]
fn what_does_not_fit_says_what_is_lacking_and_what_helps() {
    let mut ask = request(&[RTX_3090, RTX_3090]);
    ask.context = ContextWish::Tokens(16_384);
    let plan = planned(&LLAMA_70B, &ask);
    insta::assert_json_snapshot!(plan.verdict);
}

#[test]
fn timing() {
    for (model, gpus) in [(&LLAMA_70B, 2), (&LLAMA_70B, 4), (&LLAMA_70B, 16), (&QWEN3_8B, 1)] {
        let ask = request(&vec![RTX_3090; gpus]);
        planned(model, &ask);
        let begin = Instant::now();
        for _ in 0..20 {
            planned(model, &ask);
        }
        eprintln!("{} x{gpus}: {:?}", model.name, begin.elapsed() / 20);
    }
}
