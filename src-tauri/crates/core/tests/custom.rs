//! Models typed by hand: validated like files, all problems at once.

use dualgpuopt_core::model::custom::{CustomModel, read};
use proptest::prelude::*;

fn llama() -> CustomModel {
    CustomModel {
        arch: "llama".to_owned(),
        quant: "Q4_K_M".to_owned(),
        layers: Some(32),
        embedding: Some(4096),
        heads: Some(32),
        heads_kv: Some(8),
        feed_forward: Some(14336),
        vocab: Some(128_256),
        context: Some(131_072),
        ..CustomModel::default()
    }
}

/// Fields with a problem, and all sentences.
fn problems(form: &CustomModel) -> (Vec<String>, String) {
    let found = read(form).expect_err("there are problems");
    (
        found.iter().map(|p| p.field.clone()).collect(),
        found.iter().map(|p| p.message.as_str()).collect::<Vec<_>>().join(" "),
    )
}

#[test]
fn numbers_of_a_published_model_make_that_model() {
    let (facts, doubts) = read(&llama()).expect("sound");
    assert_eq!(
        (facts.parameters, facts.quant.as_str(), facts.name.as_str()),
        (8_030_261_248, "Q4_K_M", "Custom llama")
    );
    assert_eq!((facts.layers[0].key_length, doubts.len()), (128, 0));
}

#[test]
fn every_problem_is_found_at_once() {
    let form = CustomModel {
        arch: "lama".to_owned(),
        quant: "Q9".to_owned(),
        layers: Some(0),
        embedding: Some(1 << 40),
        heads: None,
        heads_kv: Some(0),
        vocab: None,
        ..llama()
    };
    let (fields, said) = problems(&form);
    assert_eq!(fields, ["arch", "quant", "layers", "embedding", "heads", "heads_kv", "vocab"]);
    assert!(said.contains("The architecture 'lama' is not one of llama, mistral3"), "{said}");
    assert!(said.contains("The number of layers is 0, but must be between 1 and 512."), "{said}");
    assert!(said.contains("The number of attention heads is missing."), "{said}");
}

#[test]
fn numbers_must_fit_one_another() {
    let at = |form: CustomModel| problems(&form).0;
    assert_eq!(at(CustomModel { heads_kv: Some(7), ..llama() }), ["heads_kv"]);
    assert_eq!(at(CustomModel { heads: Some(33), heads_kv: None, ..llama() }), ["head_length"]);
    assert!(read(&CustomModel { heads: Some(33), heads_kv: None, head_length: Some(128), ..llama() }).is_ok());
    assert_eq!(at(CustomModel { experts: Some(8), experts_used: Some(9), ..llama() }), ["experts_used"]);
    assert_eq!(
        at(CustomModel { arch: "qwen2".to_owned(), experts: Some(8), experts_used: Some(2), ..llama() }),
        ["experts"]
    );
    assert_eq!(at(CustomModel { arch: "gemma3".to_owned(), ..llama() }), ["window"]);
    assert_eq!(at(CustomModel { window: Some(4096), ..llama() }), ["window"]);
    assert_eq!(at(CustomModel { quant: "mxfp4".to_owned(), ..llama() }), ["quant"]);
    assert_eq!(at(CustomModel { kv_rank: Some(512), ..llama() }), ["kv_rank"]);
    assert_eq!(
        at(CustomModel { arch: "deepseek2".to_owned(), ..llama() }),
        ["experts", "kv_rank", "rope_length", "value_length"]
    );
    let huge = CustomModel { layers: Some(512), embedding: Some(1 << 20), feed_forward: Some(1 << 24), ..llama() };
    assert_eq!(at(huge), ["layers"]);
}

fn number() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        (0u64..600).prop_map(Some),
        (5u32..64).prop_map(|bit| Some(1u64 << bit)),
        Just(Some(u64::MAX))
    ]
}

proptest! {
    /// Whatever is typed: a model that a file could hold, or at least one problem.
    #[test]
    fn any_form_is_a_model_or_has_a_problem(
        arch in prop_oneof![Just("llama"), Just("deepseek2"), Just("gpt-oss"), Just("gemma3"), Just("phi3"), Just("qwen3moe")],
        quant in prop_oneof![Just("F16"), Just("Q4_K_M"), Just("IQ4_XS"), Just("MXFP4")],
        n in proptest::collection::vec(number(), 18),
    ) {
        let form = CustomModel {
            name: String::new(), arch: arch.to_owned(), quant: quant.to_owned(), layers: n[0], embedding: n[1], heads: n[2],
            heads_kv: n[3], head_length: n[4], feed_forward: n[5], vocab: n[6], context: n[7], tied: n[8].is_some(), window: n[9],
            experts: n[10], experts_used: n[11], expert_feed_forward: n[12], experts_shared: n[13], dense_layers: n[14],
            kv_rank: n[15], q_rank: n[16], rope_length: n[17], value_length: n[4],
        };
        match read(&form) {
            Ok((facts, _)) => prop_assert!(facts.parameters > 0),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }

    /// Small sound numbers always make a model.
    #[test]
    fn sound_numbers_are_taken(layers in 1u64..12, heads in 1u64..9, share in 1u64..5, length in 1u64..130, wide in 1u64..700, vocab in 1u64..1000) {
        let form = CustomModel {
            layers: Some(layers), heads: Some(heads * share), heads_kv: Some(heads), head_length: Some(length), embedding: Some(wide),
            feed_forward: Some(wide * 3), vocab: Some(vocab), ..llama()
        };
        let (facts, _) = read(&form).expect("sound");
        prop_assert_eq!(facts.layers.len() as u64, layers);
    }
}
