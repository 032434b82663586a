use serde_json::{Value, json};

use super::*;

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100,
        "max_position_embeddings": 2048,
    })
}

fn with(changes: Value) -> Value {
    let mut config = llama();
    let object = config.as_object_mut().expect("an object");
    for (key, value) in changes.as_object().expect("an object") {
        object.insert(key.clone(), value.clone());
    }
    config
}

fn sound(changes: Value) -> HfConfig {
    let (config, problems) = HfConfig::read(&with(changes));
    assert_eq!(problems, Vec::<String>::new());
    config.expect("without problems there are facts")
}

/// The problems of a configuration that yields no facts.
fn refused(changes: Value) -> String {
    let (config, problems) = HfConfig::read(&with(changes));
    assert_eq!(config, None);
    problems.join(" ")
}

#[test]
fn a_plain_configuration_is_read() {
    let config = sound(json!({}));
    assert_eq!((config.architecture.as_str(), config.model_type.as_str()), ("LlamaForCausalLM", "llama"));
    assert_eq!(config.layers, vec![HfLayer { kind: LayerKind::Full, heads_kv: 2, head_length: 16 }; 4]);
    assert_eq!((config.embedding, config.heads, config.feed_forward, config.vocab), (64, 4, 128, 100));
    assert_eq!(
        (config.context_trained, config.experts, config.mla, config.tied_output),
        (Some(2048), None, None, None)
    );
}

#[test]
fn missing_kv_heads_are_heads_and_null_is_missing() {
    for value in [json!(null), json!(4)] {
        assert_eq!(sound(json!({"num_key_value_heads": value})).layers[0].heads_kv, 4);
    }
    assert_eq!(sound(json!({"head_dim": 32, "sliding_window": null})).layers[0].head_length, 32);
}

#[test]
fn every_wrong_number_is_named() {
    let said =
        refused(json!({"hidden_size": "4096", "num_hidden_layers": -3, "num_attention_heads": 0, "vocab_size": 0.5}));
    for part in [
        "'hidden_size' is the text \"4096\", but must be a whole number",
        "'num_hidden_layers' is -3,",
        "'num_attention_heads' is 0,",
        "'vocab_size' is 0.5,",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(refused(json!({"num_hidden_layers": 1_000_000_000u64})).contains("between 1 and 512"));
    assert!(refused(json!({"num_key_value_heads": 0})).contains("'num_key_value_heads' is 0"));
    assert!(refused(json!({"num_key_value_heads": [2, 2]})).contains("has 2 values, but must have 4"));
    let (config, problems) = HfConfig::read(&json!([1, 2]));
    assert!(config.is_none() && problems[0].contains("no JSON object"));
    let (config, problems) = HfConfig::read(&json!({"model_type": "nothing-known"}));
    assert!(config.is_none() && problems.iter().any(|problem| problem.contains("'hidden_size' is missing")));
}

#[test]
fn what_is_only_odd_is_a_doubt() {
    let (config, problems) = HfConfig::read(&with(json!({"num_key_value_heads": 3})));
    assert_eq!(config.expect("facts").layers[0].heads_kv, 3);
    assert!(problems[0].contains("does not divide the 4 attention heads"), "{problems:?}");
}

#[test]
fn a_language_model_inside_another_is_found_and_its_class_fills_the_gaps() {
    let (config, problems) = HfConfig::read(&json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {"hidden_size": 1152},
        "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34, "sliding_window": 1024},
    }));
    let config = config.expect("facts");
    assert_eq!((config.heads, config.vocab, config.towers.as_slice()), (8, 262_208, ["vision"].as_slice()));
    assert_eq!(config.layers[4], HfLayer { kind: LayerKind::Sliding { window: 1024 }, heads_kv: 4, head_length: 256 });
    assert_eq!(config.layers[5].kind, LayerKind::Full);
    assert!(
        problems[0].contains("leaves out num_attention_heads, vocab_size; the defaults of 'gemma3_text'"),
        "{problems:?}"
    );
}

#[test]
fn windows_are_per_layer_and_off_where_switched_off() {
    let kinds = |changes| sound(changes).layers.iter().map(|layer| layer.kind).collect::<Vec<_>>();
    let sliding = LayerKind::Sliding { window: 8 };
    let full = LayerKind::Full;
    assert_eq!(kinds(json!({"model_type": "mistral", "sliding_window": 8})), [sliding; 4]);
    assert_eq!(kinds(json!({"model_type": "qwen2", "sliding_window": 8, "use_sliding_window": false})), [full; 4]);
    assert_eq!(kinds(json!({"model_type": "gemma2", "sliding_window": 8})), [sliding, full, sliding, full]);
    let listed = json!({"sliding_window": 8, "layer_types": ["full_attention", "sliding_attention", "linear_attention", "hybrid"]});
    assert_eq!(kinds(listed), [full, sliding, LayerKind::Recurrent, LayerKind::Hybrid]);
    assert_eq!(
        kinds(json!({"model_type": "qwen3_next", "full_attention_interval": 2})),
        [LayerKind::Recurrent, full, LayerKind::Recurrent, full]
    );
    assert_eq!(
        kinds(json!({"hybrid_override_pattern": "M-*E"})),
        [LayerKind::Recurrent, LayerKind::Stateless, full, LayerKind::Stateless]
    );
    assert_eq!(
        kinds(json!({"model_type": "mllama_text_model", "cross_attention_layers": [1, 3]})),
        [full, LayerKind::Cross, full, LayerKind::Cross]
    );
    let (_, problems) = HfConfig::read(&with(json!({"layer_types": ["a", "b", "c", "d"]})));
    assert!(problems[0].contains("layer type \"a\", which is not known"), "{problems:?}");
}

#[test]
fn experts_and_latent_attention() {
    let config = sound(json!({
        "n_routed_experts": 64, "num_experts_per_tok": 6, "n_shared_experts": 2, "moe_intermediate_size": 32,
        "first_k_dense_replace": 1, "kv_lora_rank": 512, "q_lora_rank": null, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
    }));
    assert_eq!(config.experts, Some(HfExperts { count: 64, used: 6, shared: 2, feed_forward: 32, dense_layers: 1 }));
    assert_eq!(config.mla, Some(HfMla { kv_rank: 512, q_rank: None, rope: 64, nope: 128, value: 128 }));
    assert_eq!(config.layers[0].head_length, 192);
    let (_, problems) = HfConfig::read(&with(json!({"num_experts": 8, "num_experts_per_tok": 9})));
    assert!(
        problems[0].contains("'num_experts_per_tok' is 9, but must be a whole number between 1 and 8"),
        "{problems:?}"
    );
}

#[test]
fn quantisations_are_told_apart() {
    let named = |quantisation| {
        let config = sound(json!({"quantization_config": quantisation}));
        let quantisation = config.quantisation.expect("one is stated");
        (quantisation.to_string(), quantisation.group, quantisation.block)
    };
    assert_eq!(
        named(json!({"quant_method": "awq", "bits": 4, "group_size": 128})),
        ("AWQ 4-bit".to_owned(), Some(128), None)
    );
    assert_eq!(
        named(json!({"quant_method": "gptq", "bits": 8, "group_size": -1})),
        ("GPTQ 8-bit".to_owned(), None, None)
    );
    assert_eq!(
        named(json!({"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]})),
        ("FP8".to_owned(), None, Some([128, 128]))
    );
    assert_eq!(named(json!({"quant_method": "mxfp4"})), ("MXFP4".to_owned(), Some(32), None));
    assert_eq!(
        named(json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"})).0,
        "bitsandbytes 4-bit"
    );
    let group = |format: &str, bits: u32| {
        json!({"quant_method": "compressed-tensors", "format": format,
        "config_groups": {"group_0": {"weights": {"num_bits": bits, "group_size": null}, "input_activations": null}}})
    };
    assert_eq!(named(group("float-quantized", 8)).0, "FP8");
    assert_eq!(named(group("nvfp4-pack-quantized", 4)).0, "NVFP4");
    assert_eq!(named(group("pack-quantized", 4)).0, "compressed-tensors 4-bit");
    let (_, problems) = HfConfig::read(&with(json!({"quantization_config": {"bits": 4}})));
    assert!(problems[0].contains("'quantization_config.quant_method' is missing"), "{problems:?}");
}

fn tensor(name: &str, dtype: &str, shape: &[u64]) -> HfTensor {
    let dtype = DType::from_name(dtype);
    let bytes = shape.iter().product::<u64>() * dtype.bits().unwrap_or(8) / 8;
    HfTensor { name: name.to_owned(), dtype, shape: shape.into(), bytes }
}

/// Parameters of tensors under a quantisation, and the problems.
fn counted(quantisation: Value, tensors: Vec<HfTensor>) -> (u64, Vec<String>) {
    let config = sound(json!({"quantization_config": quantisation}));
    let model = HfModel::assemble("m".to_owned(), Some(config), tensors, crate::units::Bytes(0), 1, Vec::new());
    (model.parameters, model.problems)
}

#[test]
fn packed_weights_count_what_they_hold() {
    let parameters = |quantisation, tensors| counted(quantisation, tensors).0;
    // Each is a linear layer of 256 inputs and 512 outputs.
    let awq = vec![
        tensor("a.qweight", "I32", &[256, 64]),
        tensor("a.qzeros", "I32", &[2, 64]),
        tensor("a.scales", "F16", &[2, 512]),
    ];
    assert_eq!(parameters(json!({"quant_method": "awq", "bits": 4, "group_size": 128}), awq), 256 * 512);
    let gptq = |rows| {
        vec![
            tensor("a.qweight", "I32", &[rows, 512]),
            tensor("a.qzeros", "I32", &[2, 64]),
            tensor("a.scales", "F16", &[2, 512]),
            tensor("a.g_idx", "I32", &[256]),
        ]
    };
    assert_eq!(parameters(json!({"quant_method": "gptq", "bits": 4, "group_size": 128}), gptq(32)), 256 * 512);
    // A layer that has other bits than the file at large, as some tools write it.
    assert_eq!(parameters(json!({"quant_method": "gptq", "bits": 4, "group_size": 128}), gptq(64)), 256 * 512);
    assert_eq!(parameters(json!({"quant_method": "gptq", "bits": 3, "group_size": -1}), gptq(24)), 256 * 512);
    let nf4 = vec![
        tensor("a.weight", "U8", &[65536, 1]),
        tensor("a.weight.absmax", "U8", &[2048]),
        tensor("a.weight.quant_state.bitsandbytes__nf4", "U8", &[80]),
    ];
    assert_eq!(parameters(json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), nf4), 256 * 512);
    let int8 = vec![tensor("a.weight", "I8", &[512, 256]), tensor("a.SCB", "F32", &[512])];
    assert_eq!(parameters(json!({"quant_method": "bitsandbytes", "load_in_8bit": true}), int8), 256 * 512);
    let mxfp4 = vec![
        tensor("a.gate_up_proj_blocks", "U8", &[1, 512, 8, 16]),
        tensor("a.gate_up_proj_scales", "U8", &[1, 512, 8]),
    ];
    assert_eq!(parameters(json!({"quant_method": "mxfp4"}), mxfp4), 256 * 512);
    let fp8 = vec![tensor("a.weight", "F8_E4M3", &[512, 256]), tensor("a.weight_scale_inv", "F32", &[4, 2])];
    assert_eq!(parameters(json!({"quant_method": "fp8", "weight_block_size": [128, 128]}), fp8), 256 * 512);
    let group = json!({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4, "group_size": 128}}}});
    let packed = vec![
        tensor("a.weight_packed", "I32", &[512, 32]),
        tensor("a.weight_scale", "BF16", &[512, 2]),
        tensor("a.weight_shape", "I64", &[2]),
    ];
    assert_eq!(parameters(group, packed), 256 * 512);
}

#[test]
fn what_cannot_be_unpacked_is_said() {
    let words = vec![tensor("a.qweight", "I32", &[256, 64])];
    let (parameters, problems) = counted(json!({"quant_method": "awq"}), words.clone());
    assert_eq!(parameters, 256 * 64);
    assert!(problems[0].contains("how many bits a packed weight has"), "{problems:?}");
    let (_, problems) = counted(json!({"quant_method": "hqq"}), words);
    assert!(problems[0].contains("The quantisation 'hqq' is not known"), "{problems:?}");
}

#[test]
fn a_shared_output_counts_once_and_contradictions_are_doubts() {
    let config = sound(json!({"tie_word_embeddings": true}));
    let tensors = vec![
        tensor("model.embed_tokens.weight", "BF16", &[100, 32]),
        tensor("lm_head.weight", "BF16", &[100, 32]),
        tensor("model.layers.9.self_attn.k_proj.weight", "BF16", &[32, 64]),
        tensor("model.layers.1.self_attn.k_proj.weight", "BF16", &[16, 64]),
    ];
    let model = HfModel::assemble("m".to_owned(), Some(config), tensors, crate::units::Bytes(0), 1, Vec::new());
    assert_eq!(model.parameters, 3200 + 2048 + 1024);
    assert_eq!((model.quant().as_str(), model.weights().0), ("BF16", 2 * (3200 * 2 + 2048 + 1024)));
    let said = model.problems.join(" ");
    assert!(said.contains("layer 9") && said.contains("is 32 wide") && said.contains("has 16 rows"), "{said}");
}

#[test]
fn every_type_of_the_format_has_its_bits_and_others_have_none() {
    for (name, bits) in [("F64", 64), ("BF16", 16), ("F8_E8M0", 8), ("F6_E2M3", 6), ("F4", 4), ("BOOL", 8), ("U16", 16)]
    {
        let dtype = DType::from_name(name);
        assert_eq!((dtype.name(), dtype.bits()), (name, Some(bits)));
    }
    assert_eq!(DType::from_name("Q9").bits(), None);
}
