//! Plans: what they promise, and what holds for every one of them.

mod support;

use std::sync::LazyLock;

use dualgpuopt_core::engine::llama_cpp::command::launch_spec;
use dualgpuopt_core::engine::llama_cpp::flags::{Device, Flags, Place};
use dualgpuopt_core::engine::llama_cpp::settle::settle;
use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{
    CacheType, ContextWish, DeviceBudget, Fix, Goal, Plan, PlanError, PlanRequest, Verdict, plan,
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
        measured_context: None,
        speed: None,
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
        order: None,
        goal: Goal::default(),
        mode: None,
        ram: None,
        all_gpus: false,
        experts_in_ram: None,
        depth: 0,
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
    let ask = PlanRequest { context: ContextWish::Tokens(32_768), ..request(&[RTX_3090, RTX_3090]) };
    insta::assert_json_snapshot!(planned(&LLAMA_70B, &ask).verdict, @r#"
    {
      "kind": "does_not_fit",
      "short": 2586697984,
      "gpu": 0,
      "reason": "At 32,768 tokens GPU 0 lacks 2.41 GiB: weights 19.57 GiB, KV cache 5.12 GiB, compute 552.1 MiB, driver 392.0 MiB, memory in use 300.0 MiB and reserve 512.0 MiB exceed its 24.00 GiB.",
      "fixes": [
        {
          "kind": "cache",
          "cache": "q4_0",
          "tokens": 32768
        },
        {
          "kind": "ram",
          "expert_layers": 0,
          "layers": 7,
          "bytes": 4748083456
        },
        {
          "kind": "context",
          "tokens": 17664
        },
        {
          "kind": "cache",
          "cache": "q8_0",
          "tokens": 32512
        }
      ]
    }
    "#);
}

#[test]
fn a_model_too_large_for_any_context_still_says_why() {
    let plan = planned(&LLAMA_70B, &request(&[RTX_3090]));
    assert_eq!(plan.context_limit, 0);
    let Verdict::DoesNotFit { reason, fixes, short, .. } = plan.verdict else { panic!("42 GB do not fit on 24 GiB") };
    assert!(reason.contains("weights") && short > Bytes::gib(15), "{reason}");
    // No context fits, so only system RAM is left: about as much as is lacking.
    assert!(matches!(fixes[..], [Fix::Ram { layers: 30..=40, expert_layers: 0, .. }]), "{fixes:?}");
}

#[test]
fn a_card_that_cannot_hold_its_fixed_costs_gets_nothing_and_is_hidden() {
    let plan = planned(&QWEN3_8B, &request(&[Bytes::gib(1), RTX_3090]));
    assert_eq!(plan.split, [0, 37]);
    assert!(fits(&plan));
    let spec = launch_spec("model.gguf", "Qwen3 8B", &plan, "llama-server", "127.0.0.1", 8080);
    let visible = spec.env.iter().find(|var| var.name == "CUDA_VISIBLE_DEVICES").expect("GPUs are named");
    assert_eq!(visible.value, plan.devices[1].gpu.0);
    assert!(!spec.args.iter().any(|arg| arg == "--tensor-split"));
    assert!(spec.args.windows(2).any(|pair| pair == ["--split-mode", "none"]));
}

#[test]
fn a_split_fixed_by_the_user_is_kept_even_where_another_fits_better() {
    let ask = PlanRequest { split: Some(vec![7, 30]), ..request(&[RTX_3090, RTX_3090]) };
    let plan = planned(&QWEN3_8B, &ask);
    assert_eq!(plan.split, [7, 30]);
    assert_eq!((plan.devices[0].layer_end, plan.devices[1].layer_end), (7, 36));
    assert!(plan.devices[1].has_output && !plan.devices[0].has_output);
}

#[test]
fn a_path_that_looks_like_a_flag_is_made_a_path() {
    let plan = planned(&LLAMA_1B, &request(&[RTX_3090]));
    let spec = launch_spec("-model.gguf", "a model", &plan, "llama-server", "127.0.0.1", 8080);
    assert_eq!(spec.args[..2], ["-m", "./-model.gguf"]);
}

#[test]
fn a_quantised_v_cache_switches_flash_attention_on() {
    let ask = PlanRequest { cache_v: CacheType::Q8_0, ..request(&[RTX_3090]) };
    let spec = launch_spec("m.gguf", "a model", &planned(&LLAMA_1B, &ask), "llama-server", "127.0.0.1", 8080);
    assert!(spec.args.windows(2).any(|pair| pair == ["-fa", "on"]));
}

#[test]
fn every_fault_of_a_request_is_named() {
    let mut ask = request(&[RTX_3090, RTX_3090]);
    ask.devices[1].gpu = ask.devices[0].gpu.clone();
    (ask.parallel, ask.micro_batch, ask.context) = (0, 8, ContextWish::Tokens(0));
    ask.cache_k = CacheType::Iq4Nl;
    ask.split = Some(vec![1, 2]);
    let Err(PlanError::Request(problems)) = plan(&LLAMA_1B, &ask) else { panic!("the request is wrong") };
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(matches!(plan(&LLAMA_1B, &request(&[])), Err(PlanError::Request(_))));
}

#[test]
fn an_architecture_that_is_not_described_is_refused_by_name() {
    let strange = ModelFacts { arch: "strange".into(), ..LLAMA_1B.clone() };
    let error = plan(&strange, &request(&[RTX_3090])).expect_err("no graph is known for it");
    assert!(error.to_string().contains("\"strange\""), "{error}");
}

/// Models whose layers differ (windows, shared caches, experts, recurrent layers, compressed attention), and plain ones of
/// every shape.
static OTHERS: LazyLock<Vec<ModelFacts>> = LazyLock::new(|| {
    let names = [
        "deepseek-v2-lite-q4_k_m",
        "falcon-h1-7b-q4_k_m",
        "gemma-3-27b-q4_k_m",
        "gemma-3n-e4b-q8_0",
        "gemma-4-e4b-q4_k_m",
        "gpt-oss-20b-mxfp4",
        "jamba-mini-52b-q4_k_m",
        "lfm2-1.2b-q8_0",
        "llama-4-scout-109b-q4_k_m",
        "mamba-2.8b-q8_0",
        "minicpm3-4b-q4_k_m",
        "qwen3-next-80b-a3b-q4_k_m",
        "command-r-35b-q4_k_m",
        "glm-4-9b-0414-q4_k_m",
        "granite-3.3-8b-q4_k_m",
        "nemotron-mini-4b-q4_k_m",
        "olmo2-7b-q4_k_m",
        "phi-4-mini-q4_k_m",
        "qwen3-30b-a3b-q4_k_m",
        "starcoder2-15b-q4_k_m",
    ];
    names.map(support::model).into()
});

/// The request with caches that the model can have on a GPU.
fn suited(model: &ModelFacts, mut ask: PlanRequest) -> PlanRequest {
    match model.arch.as_str() {
        "deepseek2" => ask.cache_v = ask.cache_k,
        "minicpm3" => ask.cache_v = CacheType::F16,
        _ => {}
    }
    ask
}

#[test]
fn every_recorded_model_that_writes_text_is_planned_as_the_engine_lays_it_out() {
    let mut planned_models = 0;
    for name in support::names() {
        let model = support::model(&name);
        let ask = suited(&model, request(&[RTX_3090, Bytes::gib(16), Bytes::gib(48)]));
        let plan = match plan(&model, &ask) {
            Ok(plan) => plan,
            Err(error) => {
                assert_eq!(model.arch, "bert", "{name}: {error}");
                continue;
            }
        };
        // The largest model takes more than these cards hold; all others fit.
        assert_eq!(fits(&plan), name != "deepseek-v2-236b-iq4_xs", "{name}");
        assert_eq!(plan.split.iter().sum::<u32>() as usize, model.layers.len() + 1, "{name}");
        planned_models += 1;
    }
    assert_eq!(planned_models, 55);
}

fn any_model_at_all() -> impl Strategy<Value = &'static ModelFacts> {
    prop_oneof![any_model(), prop::sample::select(OTHERS.iter().collect::<Vec<_>>())]
}

fn any_model() -> impl Strategy<Value = &'static ModelFacts> {
    prop_oneof![Just(&*LLAMA_1B), Just(&*QWEN2_7B), Just(&*QWEN3_8B), Just(&*LLAMA_70B)]
}

fn any_cache() -> impl Strategy<Value = CacheType> {
    prop_oneof![Just(CacheType::F16), Just(CacheType::Q8_0), Just(CacheType::Q4_0)]
}

fn any_request() -> impl Strategy<Value = PlanRequest> {
    let card_mib = prop::collection::vec(1024_u64..50_000, 1..5);
    let context = prop_oneof![Just(ContextWish::Largest), (1_u32..140_000).prop_map(ContextWish::Tokens)];
    (card_mib, context, any_cache(), any_cache(), 1_u32..5, prop_oneof![Just(128_u32), Just(512), Just(2048)]).prop_map(
        |(cards, context, cache_k, cache_v, parallel, micro_batch)| {
            let totals: Vec<_> = cards.into_iter().map(Bytes::mib).collect();
            PlanRequest { context, cache_k, cache_v, parallel, micro_batch, ..request(&totals) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The parts of every GPU add up to it, its limit and its verdict agree, and the split covers the model.
    #[test]
    fn a_plan_adds_up(model in any_model_at_all(), ask in any_request()) {
        let ask = suited(model, ask);
        let plan = planned(model, &ask);
        let mut lacking = Bytes::ZERO;
        let mut units = 0;
        for (device, &share) in plan.devices.iter().zip(&plan.split) {
            let m = device.memory;
            let sum = m.weights + m.kv_cache + m.compute + m.driver_context + m.others + m.reserve;
            prop_assert!(share == 0 || sum + m.free == Bytes(device.total.0 + m.short.0));
            prop_assert!(m.free == Bytes::ZERO || m.short == Bytes::ZERO);
            prop_assert!(m.output <= m.weights);
            prop_assert_eq!(m.driver_context, if share > 0 { device.driver_context.high } else { Bytes::ZERO });
            prop_assert_eq!(device.layer_end - device.layer_begin + u32::from(device.has_output), share);
            lacking = lacking.max(m.short);
            units += share;
        }
        prop_assert_eq!(units as usize, model.layers.len() + 1);
        prop_assert_eq!(fits(&plan), lacking == Bytes::ZERO);
        prop_assert!(plan.context >= 256 && plan.context.is_multiple_of(256));
        match ask.context {
            ContextWish::Largest if plan.context_limit > 0 => prop_assert!(fits(&plan)),
            ContextWish::Largest => prop_assert!(!fits(&plan)),
            ContextWish::Tokens(tokens) if tokens <= plan.context_limit => prop_assert!(fits(&plan)),
            ContextWish::Tokens(_) => {}
        }
        if let Verdict::DoesNotFit { reason, .. } = &plan.verdict {
            prop_assert!(reason.contains("lacks"));
        }
    }

    /// A limit is a limit: it fits, and the next step does not.
    #[test]
    fn the_limit_fits_and_the_next_step_does_not(model in any_model_at_all(), ask in any_request()) {
        let ask = suited(model, ask);
        let limit = planned(model, &ask).context_limit;
        let at = |tokens| planned(model, &PlanRequest { context: ContextWish::Tokens(tokens), ..ask.clone() });
        prop_assert!(limit == 0 || fits(&at(limit)));
        if u64::from(limit) + 256 <= model.context_trained {
            // A GPU with fewer than four units may take less than the search reckons with, never more.
            let next = at(limit + 256);
            prop_assert!(!fits(&next) || next.split.iter().any(|units| (1..4).contains(units)));
        }
    }

    /// More memory on any card never lowers the limit.
    #[test]
    fn more_memory_never_lowers_the_limit(model in any_model_at_all(), ask in any_request(), which in 0_usize..4, more in 1_u64..8192) {
        let ask = suited(model, ask);
        let mut richer = ask.clone();
        let which = which % richer.devices.len();
        richer.devices[which].total += Bytes::mib(more);
        prop_assert!(planned(model, &richer).context_limit >= planned(model, &ask).context_limit);
    }

    /// Under one split, no GPU takes less when context, cache bits or (for the cache) slots grow.
    #[test]
    fn memory_is_monotone(
        model in any_model_at_all(),
        ask in any_request(),
        cut in 1_u32..16,
        contexts in (1_u32..100_000, 1_u32..100_000),
    ) {
        let ask = suited(model, ask);
        let units = u32::try_from(model.layers.len() + 1).expect("few");
        let (small, large) = (contexts.0.min(contexts.1), contexts.0.max(contexts.1));
        let base = PlanRequest {
            context: ContextWish::Tokens(small),
            cache_k: CacheType::Q4_0,
            cache_v: if model.arch == "minicpm3" { CacheType::F16 } else { CacheType::Q4_0 },
            parallel: 1,
            split: Some(vec![cut, units - cut]),
            ..request(&[RTX_3090, RTX_3090])
        };
        let parts = |ask: &PlanRequest| -> Vec<_> { planned(model, ask).devices.into_iter().map(|d| d.memory).collect() };
        let least = parts(&base);
        let longer = parts(&PlanRequest { context: ContextWish::Tokens(large), ..base.clone() });
        let wider = parts(&PlanRequest { cache_k: ask.cache_k, cache_v: ask.cache_v, ..base.clone() });
        let more_slots = parts(&PlanRequest { parallel: 1 << (ask.parallel - 1), ..base });
        for gpu in 0..2 {
            prop_assert!(longer[gpu].kv_cache >= least[gpu].kv_cache && longer[gpu].compute >= least[gpu].compute);
            prop_assert!(wider[gpu].kv_cache >= least[gpu].kv_cache);
            prop_assert!(more_slots[gpu].kv_cache >= least[gpu].kv_cache);
        }
    }

    /// Whole numbers of units survive the engine's own rounding of `--tensor-split`.
    #[test]
    fn llama_cpp_makes_the_cut_that_it_is_told(cuts in prop::collection::vec(0_u32..40, 1..16)) {
        let units: u32 = cuts.iter().sum();
        prop_assume!(units >= 2);
        let layer = LLAMA_1B.layers[0].clone();
        let model = ModelFacts { layers: vec![layer; units as usize - 1], ..LLAMA_1B.clone() };
        let flags = Flags {
            tensor_split: cuts.iter().map(|&cut| f32::from(u16::try_from(cut).expect("small"))).collect(),
            ..Flags::new(vec![Device { free: 1 << 34, capability: 860 }; cuts.len()])
        };
        let told: Vec<_> =
            cuts.iter().enumerate().flat_map(|(gpu, &cut)| (0..cut).map(move |_| Place::Gpu(gpu))).collect();
        prop_assert_eq!(settle(&model, &flags).expect("sound flags").units, told);
    }
}
