//! Headers that lie: whatever they say, there is an answer or a reason, never a panic.

mod support;

use std::sync::LazyLock;

use dualgpuopt_core::engine::llama_cpp::flags::{Device, Flags, FlashAttention, SplitMode};
use dualgpuopt_core::engine::llama_cpp::layout::parts;
use dualgpuopt_core::model::{MetaValue, ModelFacts, ModelHeader};
use proptest::prelude::*;
use proptest::sample::{Index, select};

static HEADERS: LazyLock<Vec<ModelHeader>> =
    LazyLock::new(|| support::names().iter().map(|name| support::header(name)).collect());

/// One thing done to a header.
#[derive(Clone, Debug)]
enum Lie {
    /// A hyper-parameter gets another value.
    Number(Index, u64),
    /// A hyper-parameter is gone.
    Gone(Index),
    /// A tensor is gone.
    NoTensor(Index),
    /// A tensor has another shape.
    Shape(Index, usize, u64),
    /// A tensor has another's name.
    Name(Index, Index),
    /// Another architecture.
    Arch(Index),
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![select(vec![0, 1, 2, 3, 7, 64, 255, 4096, 1 << 16, 1 << 20, 1 << 31, u64::MAX]), 0..10_000_u64]
}

fn any_lie() -> impl Strategy<Value = Lie> {
    prop_oneof![
        4 => (any::<Index>(), any_number()).prop_map(|(key, value)| Lie::Number(key, value)),
        1 => any::<Index>().prop_map(Lie::Gone),
        1 => any::<Index>().prop_map(Lie::NoTensor),
        2 => (any::<Index>(), 0..4_usize, any_number()).prop_map(|(t, d, n)| Lie::Shape(t, d, n)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Lie::Name(a, b)),
        1 => any::<Index>().prop_map(Lie::Arch),
    ]
}

fn told(header: &ModelHeader, lie: &Lie) -> ModelHeader {
    let mut header = header.clone();
    let keys: Vec<String> = header.meta.keys().filter(|key| !key.starts_with("general.")).cloned().collect();
    match lie {
        Lie::Number(key, value) if !keys.is_empty() => {
            header.meta.insert(key.get(&keys).clone(), MetaValue::Unsigned(*value));
        }
        Lie::Gone(key) if !keys.is_empty() => {
            header.meta.remove(key.get(&keys));
        }
        Lie::NoTensor(tensor) if header.tensors.len() > 1 => {
            header.tensors.remove(tensor.index(header.tensors.len()));
        }
        Lie::Shape(tensor, dimension, value) => {
            let at = tensor.index(header.tensors.len());
            header.tensors[at].dims[*dimension] = *value;
        }
        Lie::Name(from, to) => {
            let name = from.get(&header.tensors).name.clone();
            let at = to.index(header.tensors.len());
            header.tensors[at].name = name;
        }
        Lie::Arch(other) => {
            let (old, new) = (arch(&header), arch(other.get(&HEADERS)));
            header.meta = header
                .meta
                .into_iter()
                .map(|(key, value)| match key.strip_prefix(&format!("{old}.")) {
                    Some(rest) => (format!("{new}.{rest}"), value),
                    None => (key, value),
                })
                .collect();
            header.meta.insert("general.architecture".into(), MetaValue::Text(new));
        }
        _ => {}
    }
    header
}

fn arch(header: &ModelHeader) -> String {
    header.meta["general.architecture"].as_text().expect("headers name their architecture").to_owned()
}

fn any_flags() -> impl Strategy<Value = Flags> {
    let split = select(vec![SplitMode::None, SplitMode::Layer, SplitMode::Tensor]);
    let flash = select(vec![FlashAttention::Auto, FlashAttention::On, FlashAttention::Off]);
    (1..5_usize, split, flash, prop::option::of(0..60_u64), any::<bool>(), 1..5_u64).prop_map(
        |(gpus, split_mode, flash_attention, gpu_layers, kv_offload, slots)| Flags {
            split_mode,
            flash_attention,
            gpu_layers,
            kv_offload,
            parallel: Some(slots),
            context: 4096,
            ..Flags::new(vec![Device { free: 24 << 30, capability: 860 }; gpus])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_header_makes_it_panic(
        which in any::<Index>(),
        lies in prop::collection::vec(any_lie(), 1..4),
        flags in any_flags(),
    ) {
        let mut header = which.get(&HEADERS).clone();
        for lie in &lies {
            header = told(&header, lie);
        }
        if let Ok((facts, _)) = ModelFacts::from_header(&header, "liar") {
            // Whether it is an answer or a reason does not matter here.
            drop(parts(&facts, &flags));
        }
    }
}
