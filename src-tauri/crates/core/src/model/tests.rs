//! Facts from headers: defaults, limits and refusals.

use crate::model::header::{MetaValue, ModelHeader, TensorFacts};
use crate::model::{FactsError, GgmlType, ModelFacts};

fn tensor(name: &str, dims: [u64; 4]) -> TensorFacts {
    TensorFacts { name: name.to_owned(), ty: GgmlType::F32, n_dims: 2, dims, bytes: 4 * dims.iter().product::<u64>() }
}

/// A header of four layers, width 64, with `changes` made to its keys.
fn header(changes: &[(&str, Option<MetaValue>)]) -> ModelHeader {
    let mut header = ModelHeader { version: 3, shards: 1, file_bytes: 1 << 20, ..ModelHeader::default() };
    header.meta.insert("general.architecture".to_owned(), MetaValue::Text("llama".to_owned()));
    for (key, value) in [("block_count", 4), ("context_length", 4096), ("embedding_length", 64), ("vocab_size", 100)] {
        header.meta.insert(format!("llama.{key}"), MetaValue::Unsigned(value));
    }
    header.meta.insert("llama.attention.head_count".to_owned(), MetaValue::Unsigned(4));
    for (key, value) in changes {
        match value {
            Some(value) => header.meta.insert((*key).to_owned(), value.clone()),
            None => header.meta.remove(*key),
        };
    }
    header.tensors = vec![tensor("token_embd.weight", [64, 100, 1, 1]), tensor("output_norm.weight", [64, 1, 1, 1])];
    header
}

fn read(changes: &[(&str, Option<MetaValue>)]) -> Result<(ModelFacts, Vec<String>), FactsError> {
    ModelFacts::from_header(&header(changes), "file")
}

fn refused(changes: &[(&str, Option<MetaValue>)]) -> String {
    read(changes).expect_err("a refusal").to_string()
}

fn number(value: u64) -> Option<MetaValue> {
    Some(MetaValue::Unsigned(value))
}

fn numbers(values: &[f64]) -> Option<MetaValue> {
    Some(MetaValue::Numbers(values.to_vec()))
}

#[test]
fn what_is_not_said_has_the_engines_default() {
    let (facts, doubts) = read(&[]).expect("the header is sound");
    assert!(doubts.is_empty(), "{doubts:?}");
    assert_eq!(facts.layers.len(), 4);
    let layer = &facts.layers[3];
    assert_eq!((layer.heads, layer.heads_kv, layer.key_length, layer.value_length), (4, 4, 16, 16));
    assert_eq!((facts.name.as_str(), facts.quant.as_str(), facts.vocab), ("file", "F32", 100));
    assert_eq!((facts.feed_forward, facts.experts, facts.experts_used, facts.nextn_layers), (0, 0, 0, 0));
    assert_eq!((facts.parameters, facts.tied_output), (6464, true));
    assert_eq!(facts.hp("embedding_length"), Some(&MetaValue::Unsigned(64)));
}

#[test]
fn lengths_follow_the_heads_of_the_first_layer_as_in_the_engine() {
    let heads = [("llama.attention.head_count", numbers(&[8.0, 4.0, 0.0, 4.0]))];
    let (facts, _) = read(&heads).expect("the header is sound");
    let layers: Vec<_> = facts.layers.iter().map(|layer| (layer.heads, layer.heads_kv, layer.key_length)).collect();
    assert_eq!(layers, [(8, 8, 8), (4, 4, 8), (0, 0, 8), (4, 4, 8)]);
    let (facts, _) = read(&[("llama.attention.head_count", number(0))]).expect("models without attention exist");
    assert_eq!((facts.layers[0].heads, facts.layers[0].key_length), (0, 0));
}

#[test]
fn limits_are_the_engines() {
    assert!(read(&[("llama.block_count", number(512))]).is_ok());
    assert_eq!(
        refused(&[("llama.block_count", number(513))]),
        "the key 'llama.block_count' is 513, but must be between 1 and 512."
    );
    let experts = |count, used| [("llama.expert_count", number(count)), ("llama.expert_used_count", number(used))];
    let (facts, _) = read(&experts(8, 8)).expect("all experts may be used");
    assert_eq!((facts.experts, facts.experts_used), (8, 8));
    assert_eq!(refused(&experts(8, 9)), "the key 'llama.expert_used_count' is 9, but must be between 0 and 8.");
    assert_eq!(
        refused(&experts(8, 0)),
        "the key 'llama.expert_used_count' is 0, but must be between 1 and 8 in some layer (there are 8 experts)."
    );
    assert_eq!(refused(&experts(0, 2)), "the key 'llama.expert_used_count' is 2, but must be 0.");
    assert!(refused(&experts(1025, 2)).contains("between 0 and 1024"));
    assert!(refused(&[("llama.nextn_predict_layers", number(5))]).contains("between 0 and 4"));
}

#[test]
fn keys_that_are_missing_or_of_another_kind_are_named() {
    for key in ["llama.block_count", "llama.context_length", "llama.embedding_length", "general.architecture"] {
        assert!(refused(&[(key, None)]).contains(&format!("the key '{key}' is missing")));
        let kind = refused(&[(key, Some(MetaValue::Signed(4)))]);
        assert!(
            kind.contains(&format!("the key '{key}' must be")) && kind.contains("is a signed whole number"),
            "{kind}"
        );
    }
    let fraction = refused(&[("llama.feed_forward_length", numbers(&[1.0, 2.0, 2.5, 3.0]))]);
    assert!(fraction.contains("must be an array of unsigned whole numbers"), "{fraction}");
}

#[test]
fn the_vocabulary_is_the_tokens_else_the_key_else_the_embeddings_rows() {
    let vocab = |changes: &[_]| read(changes).map(|(facts, doubts)| (facts.vocab, doubts.len())).expect("sound");
    let tokens = ("tokenizer.ggml.tokens", Some(MetaValue::Skipped { len: 90 }));
    assert_eq!(vocab(&[("llama.vocab_size", None)]), (100, 0));
    assert_eq!(vocab(&[("llama.vocab_size", number(99))]), (99, 1));
    assert_eq!(vocab(&[tokens.clone(), ("llama.vocab_size", number(100))]), (90, 1));
}

#[test]
fn the_token_embedding_must_be_as_wide_as_the_model() {
    assert_eq!(
        refused(&[("llama.embedding_length", number(32))]),
        "the tensor 'token_embd.weight' has the shape 64 × 100, but its first dimension must be 32 (the key \
         'llama.embedding_length')."
    );
}
