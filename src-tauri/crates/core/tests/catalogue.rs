//! The catalogue's headers beside real ones: recorded heads of published files.

mod support;

use std::collections::BTreeSet;

use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::catalogue::{CatalogueModel, Family, Quantisation, facts, find, models};
use dualgpuopt_core::plan::{Brief, CacheType, ContextWish, DeviceBudget, Goal, PlanRequest, Verdict, brief, plan};
use dualgpuopt_core::units::Bytes;

/// Recorded head, and the catalogue's name for its model. Heads in types that the catalogue does not offer (Q4_0) are absent.
const HEADS: [(&str, &str, Quantisation); 33] = [
    ("command-r-35b-q4_k_m", "Command R 35B", Quantisation::Q4KM),
    ("command-r7b-q4_k_m", "Command R7B", Quantisation::Q4KM),
    ("deepseek-v2-236b-iq4_xs", "DeepSeek V2", Quantisation::Iq4Xs),
    ("deepseek-v2-lite-q4_k_m", "DeepSeek V2 Lite", Quantisation::Q4KM),
    ("gemma-2-9b-q4_k_m", "Gemma 2 9B", Quantisation::Q4KM),
    ("gemma-3-1b-q8_0", "Gemma 3 1B", Quantisation::Q8_0),
    ("gemma-3-27b-q4_k_m", "Gemma 3 27B", Quantisation::Q4KM),
    ("glm-4-9b-0414-q4_k_m", "GLM 4 9B 0414", Quantisation::Q4KM),
    ("gpt-oss-120b-mxfp4", "gpt-oss 120B", Quantisation::Mxfp4),
    ("gpt-oss-20b-mxfp4", "gpt-oss 20B", Quantisation::Mxfp4),
    ("granite-3.3-8b-q4_k_m", "Granite 3.3 8B", Quantisation::Q4KM),
    ("olmo2-7b-q4_k_m", "OLMo 2 7B", Quantisation::Q4KM),
    ("phi-3-mini-4k-q4_k_m", "Phi 3 mini 4k", Quantisation::Q4KM),
    ("phi-4-mini-q4_k_m", "Phi 4 mini", Quantisation::Q4KM),
    ("qwen3-30b-a3b-q4_k_m", "Qwen3 30B A3B 2507", Quantisation::Q4KM),
    ("seed-oss-36b-q4_k_m", "Seed OSS 36B", Quantisation::Q4KM),
    ("smollm3-3b-q4_k_m", "SmolLM3 3B", Quantisation::Q4KM),
    ("llama-3.1-8b-f16", "Llama 3.1 8B", Quantisation::F16),
    ("llama-3.1-8b-q4_k_m", "Llama 3.1 8B", Quantisation::Q4KM),
    ("llama-3.1-8b-q8_0", "Llama 3.1 8B", Quantisation::Q8_0),
    ("llama-3.2-1b-q8_0", "Llama 3.2 1B", Quantisation::Q8_0),
    ("llama-3.2-3b-q4_k_m", "Llama 3.2 3B", Quantisation::Q4KM),
    ("llama-3.3-70b-iq4_xs", "Llama 3.3 70B", Quantisation::Iq4Xs),
    ("llama-3.3-70b-q4_k_m", "Llama 3.3 70B", Quantisation::Q4KM),
    ("ministral-3-8b-q4_k_m", "Ministral 3 8B", Quantisation::Q4KM),
    ("mistral-7b-v0.3-q5_k_m", "Mistral 7B v0.3", Quantisation::Q5KM),
    ("mistral-small-24b-q4_k_m", "Mistral Small 24B", Quantisation::Q4KM),
    ("mixtral-8x7b-q4_k_m", "Mixtral 8x7B", Quantisation::Q4KM),
    ("qwen2.5-0.5b-q8_0", "Qwen2.5 0.5B", Quantisation::Q8_0),
    ("qwen2.5-7b-q4_k_m", "Qwen2.5 7B", Quantisation::Q4KM),
    ("qwen2.5-32b-q4_k_m", "Qwen2.5 32B", Quantisation::Q4KM),
    ("qwen3-32b-q6_k", "Qwen3 32B", Quantisation::Q6K),
    ("qwen3-8b-q4_k_m", "Qwen3 8B", Quantisation::Q4KM),
];

fn named(name: &str) -> &'static CatalogueModel {
    models().iter().find(|model| model.shape.name == name).unwrap_or_else(|| panic!("{name} is not in the catalogue"))
}

/// Every tensor by name, type, shape and bytes, in the file's order, and the hyper-parameters that planning uses.
fn held_against(head: &str, name: &str, quantisation: Quantisation) {
    let real = support::model(head);
    let (ours, doubts) = facts(&named(name).shape, quantisation).expect("the catalogue is sound");
    assert_eq!(doubts, Vec::<String>::new(), "{name}");
    for (ours, real) in ours.tensors.iter().zip(&real.tensors) {
        assert_eq!(ours, real, "{head}");
    }
    assert_eq!(ours.tensors.len(), real.tensors.len(), "{head}");
    assert_eq!(ours.layers, real.layers, "{head}");
    assert_eq!(
        (&ours.arch, &ours.quant, ours.vocab, ours.embedding),
        (&real.arch, &real.quant, real.vocab, real.embedding)
    );
    assert_eq!(
        (ours.context_trained, ours.feed_forward, ours.experts, ours.experts_used, ours.tied_output, ours.parameters),
        (real.context_trained, real.feed_forward, real.experts, real.experts_used, real.tied_output, real.parameters)
    );
    let missing: Vec<_> = real
        .hparams
        .iter()
        .filter(|(key, value)| {
            let mine = ours.hparams.get(*key).map(|mine| (mine.as_f64(), value.as_f64()));
            let same = mine.is_some_and(|(mine, real)| {
                mine.zip(real).is_some_and(|(mine, real)| (mine - real).abs() <= 1e-6 * real.abs())
            });
            !same && !key.contains("epsilon")
        })
        .collect();
    assert!(missing.is_empty(), "{head}: {missing:?}");
    // What cannot be planned yet is refused for both alike.
    let request = request();
    let planned = plan(&real, &request).ok();
    assert!(planned.is_some() || !["llama", "mistral3", "qwen2", "qwen3"].contains(&real.arch.as_str()), "{head}");
    assert_eq!(plan(&ours, &request).ok(), planned, "{head}");
}

/// Two cards of 24 GiB.
fn request() -> PlanRequest {
    let device = |index: u32| DeviceBudget {
        gpu: GpuId(format!("GPU-{index}")),
        index,
        name: "RTX 3090".to_owned(),
        total: Bytes::gib(24),
        others: Bytes::mib(300),
        reserve: Bytes::mib(512),
        capability: Some(860),
        measured_context: None,
        speed: None,
    };
    PlanRequest {
        context: ContextWish::Tokens(8192),
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: 512,
        devices: vec![device(0), device(1)],
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

/// Every recorded head whose model the catalogue has; the rest of the list waits for heads of its families.
#[test]
fn tables_are_those_of_real_files() {
    let recorded = |head: &str| support::folder().join(format!("heads/{head}.gguf")).exists();
    let compared: Vec<_> = HEADS.into_iter().filter(|(head, ..)| recorded(head)).collect();
    assert!(compared.len() >= 16, "{} heads", compared.len());
    for (head, name, quantisation) in compared {
        held_against(head, name, quantisation);
    }
}

#[test]
fn every_model_in_every_quantisation_is_a_sound_file() {
    let mut combinations = 0;
    let mut families = BTreeSet::new();
    let mut names = BTreeSet::new();
    for model in models() {
        assert!(names.insert(&model.shape.name), "{} is there twice", model.shape.name);
        assert!(model.source.split('/').count() == 2, "{}", model.source);
        families.insert(model.shape.family.arch());
        let mut last = u64::MAX;
        for quantisation in model.quantisations() {
            let (facts, doubts) = facts(&model.shape, *quantisation)
                .unwrap_or_else(|error| panic!("{} {}: {error}", model.shape.name, quantisation.name()));
            assert_eq!(doubts, Vec::<String>::new(), "{}", model.shape.name);
            assert_eq!(facts.quant, quantisation.name());
            assert!(facts.file_bytes.0 < last, "{} is not smaller in {}", model.shape.name, quantisation.name());
            last = facts.file_bytes.0;
            combinations += 1;
        }
    }
    assert!(names.len() >= 60 && combinations >= 400, "{} models, {combinations} files", names.len());
    assert_eq!(families.len(), Family::ALL.len());
}

#[test]
fn every_model_is_found_by_its_id() {
    for model in models() {
        let id = model.id();
        assert!(id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c)), "{id}");
        assert_eq!(find(&format!(" {} ", id.to_uppercase())), Some(model), "{id}");
    }
    assert_eq!(find("nothing"), None);
    for quantisation in Quantisation::ALL {
        assert_eq!(Quantisation::named(&quantisation.name().to_lowercase()), Some(quantisation));
    }
}

/// For each family, smallest and largest, on cards that hold it and on cards that do not.
#[test]
fn a_brief_is_what_the_plan_says() {
    let mut seen = [0, 0, 0];
    for (total, ids) in [
        (12, &["llama-3.2-1b", "gemma-3-27b", "qwen3-8b", "phi-3-mini-4k", "gpt-oss-20b", "granite-3.3-8b"][..]),
        (24, &["llama-3.3-70b", "deepseek-v2-lite", "qwen3-30b-a3b", "command-r7b", "mixtral-8x7b", "glm-4-9b-0414"]),
    ] {
        for id in ids {
            let model = find(id).expect("it is in the catalogue");
            for quantisation in model.quantisations().iter().step_by(4) {
                let (facts, _) = facts(&model.shape, *quantisation).expect("sound");
                let mut request = request();
                request.context = ContextWish::Tokens(u32::try_from(facts.context_trained.min(8192)).expect("small"));
                request.devices.iter_mut().for_each(|device| device.total = Bytes::gib(total));
                let planned = plan(&facts, &request);
                let expected = planned.map(|plan| match plan.verdict {
                    Verdict::Fits { .. } => Brief::Fits { context_limit: plan.context_limit },
                    Verdict::DoesNotFit { short, .. } => Brief::TooLarge { short },
                });
                let found = brief(&facts, &request);
                assert_eq!(found, expected, "{id} {}", quantisation.name());
                seen[match found {
                    Ok(Brief::Fits { .. }) => 0,
                    Ok(Brief::TooLarge { .. }) => 1,
                    Err(_) => 2,
                }] += 1;
            }
        }
    }
    assert!(seen[0] > 3 && seen[1] > 3, "{seen:?}");
}

/// Published numbers of parameters (model pages on Hugging Face), where the GGUF holds the same tensors.
#[test]
fn parameters_are_those_published() {
    for (name, published) in [
        ("Llama 3.1 405B", 405_853_388_800),
        ("Llama 2 13B", 13_015_864_320),
        ("Mistral Large 123B", 122_610_069_504),
        ("Mixtral 8x22B", 140_620_634_112),
        ("Qwen2.5 72B", 72_706_203_648),
        ("Qwen3 0.6B", 596_049_920),
        ("Qwen3 235B A22B", 235_093_634_560),
        ("Gemma 2 27B", 27_227_128_320_u64),
        ("Gemma 3 1B", 999_885_952),
        ("Phi 4 14B", 14_659_507_200),
        ("DeepSeek V2", 235_741_434_880),
        ("DeepSeek V2 Lite", 15_706_484_224),
        ("gpt-oss 20B", 20_914_757_184),
        ("gpt-oss 120B", 116_829_156_672),
        ("GLM 4 9B 0414", 9_400_279_040),
        ("Command R 35B", 34_980_831_232),
        ("OLMo 2 7B", 7_298_617_344),
    ] {
        let model = named(name);
        let (facts, _) = facts(&model.shape, model.quantisations()[0]).expect("the catalogue is sound");
        // Tables of position factors are no parameters; everything else counts. GLM's converter drops biases.
        assert!(
            facts.parameters.abs_diff(published) * 1000 < published,
            "{name}: {} instead of {published}",
            facts.parameters
        );
    }
}
