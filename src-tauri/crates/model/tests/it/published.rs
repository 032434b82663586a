//! Published models of every family and quantisation: `tests/fixtures/make_hf.py` writes them, `make build-tests` runs it.

use std::fs;
use std::path::{Path, PathBuf};

use dualgpuopt_core::model::hf::{HfModel, LayerKind};

use crate::safetensors::hf;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../.cache/hf")
}

struct Published {
    model: HfModel,
    parameters: u64,
    bytes: u64,
}

fn published() -> Vec<Published> {
    let list = folder().join("published.tsv");
    let text = fs::read_to_string(&list)
        .unwrap_or_else(|error| panic!("{}: {error}; `make build-tests` makes it", list.display()));
    text.lines()
        .skip(1)
        .map(|line| {
            let [name, parameters, _, bytes] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let model = hf(&folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).model;
            let number = |text: &str| text.parse().expect("a number");
            Published { model, parameters: number(parameters), bytes: number(bytes) }
        })
        .collect()
}

fn named(name: &str) -> HfModel {
    hf(&folder().join(name)).expect("the model is sound").model
}

#[test]
fn bytes_are_those_of_the_tensors_and_parameters_those_published() {
    let all = published();
    assert!(all.len() >= 80, "{} models", all.len());
    for Published { model, parameters, bytes } in all {
        assert_eq!(model.weights().0, bytes, "{}", model.name);
        let off = model.parameters.abs_diff(parameters);
        assert!(off * 200 <= parameters, "{}: {} instead of {parameters}", model.name, model.parameters);
        let config = model.config.as_ref().expect("the configuration is sound");
        let quantised = model
            .weight_bytes
            .keys()
            .any(|dtype| dtype.bits().expect("known types") < 16 || dtype.name().starts_with('I'));
        assert_eq!(config.quantisation.is_some(), quantised, "{}", model.name);
        let doubts: Vec<_> = model.problems.iter().filter(|problem| !problem.contains("leaves out")).collect();
        assert!(doubts.is_empty(), "{}: {doubts:?}", model.name);
    }
}

#[test]
fn quantisations_are_named_as_people_name_them() {
    for (name, quant) in [
        ("Qwen--Qwen2.5-7B-Instruct-AWQ", "AWQ 4-bit"),
        ("Qwen--Qwen2.5-7B-Instruct-GPTQ-Int8", "GPTQ 8-bit"),
        ("deepseek-ai--DeepSeek-V3", "FP8"),
        ("RedHatAI--Llama-3.3-70B-Instruct-FP8-dynamic", "FP8"),
        ("RedHatAI--Qwen3-8B-NVFP4", "NVFP4"),
        ("nvidia--Llama-3.1-8B-Instruct-FP4", "NVFP4"),
        ("RedHatAI--Llama-3.3-70B-Instruct-quantized.w8a8", "compressed-tensors 8-bit"),
        ("openai--gpt-oss-20b", "MXFP4"),
        ("unsloth--Llama-3.2-1B-bnb-4bit", "bitsandbytes 4-bit"),
        ("meta-llama--Llama-2-7b-hf", "F16"),
        ("meta-llama--Llama-3.1-8B", "BF16"),
    ] {
        assert_eq!(named(name).quant(), quant, "{name}");
    }
}

#[test]
fn layers_keep_what_their_class_keeps() {
    let counts = |name: &str| {
        let config = named(name).config.expect("a sound configuration");
        let of = |test: &dyn Fn(LayerKind) -> bool| config.layers.iter().filter(|layer| test(layer.kind)).count();
        (
            of(&|kind| kind == LayerKind::Full),
            of(&|kind| matches!(kind, LayerKind::Sliding { .. })),
            of(&|kind| kind == LayerKind::Cross),
        )
    };
    assert_eq!(counts("google--gemma-2-9b"), (21, 21, 0));
    assert_eq!(counts("google--gemma-3-27b-it"), (10, 52, 0));
    assert_eq!(counts("openai--gpt-oss-20b"), (12, 12, 0));
    assert_eq!(counts("mistralai--Mistral-7B-v0.1"), (0, 32, 0));
    assert_eq!(counts("Qwen--Qwen2.5-7B-Instruct"), (28, 0, 0));
    assert_eq!(counts("CohereForAI--c4ai-command-r7b-12-2024"), (8, 24, 0));
    assert_eq!(counts("meta-llama--Llama-3.2-11B-Vision-Instruct"), (32, 0, 8));
    let v3 = named("deepseek-ai--DeepSeek-V3").config.expect("a sound configuration");
    let (mla, experts) = (v3.mla.expect("latent"), v3.experts.expect("experts"));
    assert_eq!((mla.kv_rank, mla.rope, v3.nextn_layers), (512, 64, 1));
    assert_eq!((experts.count, experts.used, experts.shared, experts.dense_layers), (256, 8, 1, 3));
}

/// DeepSeek-V3's page gives its values by type: BF16 3,918,786,560, F8_E4M3 680,571,043,840, F32 41,555,600.
#[test]
fn bytes_by_type_are_those_that_a_page_gives() {
    let model = named("deepseek-ai--DeepSeek-V3");
    let bytes: Vec<_> = model.weight_bytes.iter().map(|(dtype, bytes)| (dtype.name(), bytes.0)).collect();
    assert_eq!(bytes, [("F8_E4M3", 680_571_043_840), ("BF16", 2 * 3_918_786_560), ("F32", 4 * 41_555_600)]);
}
