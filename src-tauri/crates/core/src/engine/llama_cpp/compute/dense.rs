//! The graph of plain decoder-only transformers: llama, mistral3, qwen2, qwen3, and llama's mixture of experts.
//!
//! Biases and norms of single heads follow from the tensors that exist. Engine: `src/models/llama.cpp`, `mistral3.cpp`,
//! `qwen2.cpp`, `qwen3.cpp`.

use crate::engine::llama_cpp::compute::attention::{attention, cache_inputs};
use crate::engine::llama_cpp::compute::blocks::{embed, experts, feed_forward, linear, norm, output};
use crate::engine::llama_cpp::compute::build::Builder;
use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::graph::{Graph, Op, TensorId};
use crate::engine::llama_cpp::compute::weights::{Name, Part};

/// Builds the graph with the layers named, in order; `layers` ends with the model's last.
pub(super) fn dense(mut b: Builder<'_>, layers: &[usize]) -> Graph {
    let tokens = b.batch.tokens;
    let positions = b.input(Element::I32, [tokens, 1, 1, 1]);
    let output_rows = b.input(Element::I32, [b.batch.outputs, 1, 1, 1]);
    let temperature = b.model.attention_temperature.then(|| b.input(Element::F32, [1, 1, tokens, 1]));
    let mut x = embed(&mut b);
    let cache = cache_inputs(&mut b);
    for &layer in layers {
        b.begin_layer(layer);
        let h = norm(&mut b, Name::AttnNorm, x);
        let shape = b.shape();
        let q = heads(&mut b, Name::AttnQ, h, shape.key_length, shape.heads);
        let k = heads(&mut b, Name::AttnK, h, shape.key_length, shape.heads_kv);
        let v = heads(&mut b, Name::AttnV, h, shape.value_length, shape.heads_kv);
        let mut q = turned(&mut b, Name::AttnQNorm, q, positions);
        let k = turned(&mut b, Name::AttnKNorm, k, positions);
        if let Some(scale) = temperature {
            q = b.mul(q, scale);
        }
        let mut y = attention(&mut b, &cache, q, k, v);
        if layer + 1 == b.model.layers.len() {
            y = b.get_rows(y, output_rows);
            x = b.get_rows(x, output_rows);
        }
        let y = b.add(y, x);
        let z = norm(&mut b, Name::FfnNorm, y);
        let routed = b.has(Name::FfnGateInp, Part::Weight);
        let z = if routed { experts(&mut b, z) } else { feed_forward(&mut b, z) };
        x = b.add(z, y);
    }
    output(&mut b, x);
    b.graph
}

/// A projection cut into heads.
fn heads(b: &mut Builder<'_>, name: Name, x: TensorId, size: u64, count: u64) -> TensorId {
    let y = linear(b, name, x);
    b.reshape(y, [size, count, b.batch.tokens, 1])
}

/// The norm of single heads, where the layer has one, then rope.
fn turned(b: &mut Builder<'_>, name: Name, x: TensorId, positions: TensorId) -> TensorId {
    let x = if b.has(name, Part::Weight) { norm(b, name, x) } else { x };
    match b.rope_factors() {
        Some(factors) => b.like(Op::Rope, &[x, positions, factors]),
        None => b.like(Op::Rope, &[x, positions]),
    }
}
