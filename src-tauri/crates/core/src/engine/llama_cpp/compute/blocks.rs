//! Blocks that several architectures share: embedding, norms, projections, feed-forward, experts, output.
//!
//! Each follows the engine's own (`llama-graph.cpp`): `build_inp_embd`, `build_norm`, `build_lora_mm`, `build_ffn`,
//! `build_moe_ffn`. Attention has a file of its own.

use crate::engine::llama_cpp::compute::build::Builder;
use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::graph::{Op, TensorId};
use crate::engine::llama_cpp::compute::weights::{Name, Part};

/// Token embedding. The engine reserves for tokens, embeddings and a mix of both in one batch; the mixed path computes rows
/// that nothing reads.
pub(super) fn embed(b: &mut Builder<'_>) -> TensorId {
    let (width, tokens) = (b.model.embedding, b.batch.tokens);
    let table = b.global(Name::TokenEmbd).expect("checked when the model was read");
    let ids = b.input(Element::I32, [tokens, 1, 1, 1]);
    let given = b.input(Element::F32, [width, tokens, 1, 1]);
    let embedded = b.get_rows(table, ids);
    let mixed_ids = b.input(Element::I32, [tokens, 1, 1, 1]);
    let mixed_slots = b.input(Element::I64, [tokens, 1, 1, 1]);
    let mixed = b.input(Element::F32, [width, tokens, 1, 1]);
    b.expand(embedded);
    b.expand(given);
    let into = b.like(Op::Dup, &[mixed]);
    let rows = b.get_rows(table, mixed_ids);
    let mixed = b.set_rows(into, rows, mixed_slots);
    b.expand(mixed);
    embedded
}

/// A projection with the bias it may have.
pub(super) fn linear(b: &mut Builder<'_>, name: Name, x: TensorId) -> TensorId {
    let weight = b.weight(name, Part::Weight);
    let y = b.mul_mat(weight, x);
    biased(b, name, y)
}

fn biased(b: &mut Builder<'_>, name: Name, y: TensorId) -> TensorId {
    if !b.has(name, Part::Bias) {
        return y;
    }
    let bias = b.weight(name, Part::Bias);
    b.add(y, bias)
}

/// A norm inside a layer; the engine pins its first node to the layer's backend.
pub(super) fn norm(b: &mut Builder<'_>, name: Name, x: TensorId) -> TensorId {
    let normed = b.like(Op::RmsNorm, &[x]);
    b.pin_to_layer(normed);
    let weight = b.weight(name, Part::Weight);
    let y = b.mul(normed, weight);
    biased(b, name, y)
}

/// Gated feed-forward: `down(silu(gate(x)) · up(x))`.
pub(super) fn feed_forward(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let gate = linear(b, Name::FfnGate, x);
    let up = linear(b, Name::FfnUp, x);
    let y = b.like(Op::Glu, &[gate, up]);
    linear(b, Name::FfnDown, y)
}

/// Experts chosen by softmax over the router's logits, their weights normalised to sum 1.
pub(super) fn experts(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let (used, [width, tokens, ..]) = (b.model.experts_used, b.ne(x));
    let logits = linear(b, Name::FfnGateInp, x);
    let probabilities = b.like(Op::SoftMax, &[logits]);
    let count = b.ne(probabilities)[0];
    let order = b.arg_sort(probabilities);
    let ids = b.view(order, [used, tokens, 1, 1], [count, count * tokens, count * tokens]);
    let by_expert = b.reshape(probabilities, [1, count, tokens, 1]);
    let chosen = b.get_rows(by_expert, ids);
    let row = b.reshape(chosen, [used, tokens, 1, 1]);
    let sum = b.sum_rows(row);
    let floor = b.like(Op::Clamp, &[sum]);
    let normed = b.like(Op::Div, &[row, floor]);
    let weights = b.reshape(normed, [1, used, tokens, 1]);
    b.expand(weights);

    let x = b.reshape(x, [width, 1, tokens, 1]);
    let up = expert(b, Name::FfnUpExps, x, ids);
    let gate = expert(b, Name::FfnGateExps, x, ids);
    let y = b.like(Op::Glu, &[gate, up]);
    let y = expert(b, Name::FfnDownExps, y, ids);
    let y = b.mul(y, weights);
    b.expand(y);
    sum_of_experts(b, y)
}

fn expert(b: &mut Builder<'_>, name: Name, x: TensorId, ids: TensorId) -> TensorId {
    let weight = b.weight(name, Part::Weight);
    b.mul_mat_id(weight, x, ids)
}

/// Adds the `[width, used, tokens]` results of the experts, one view each.
fn sum_of_experts(b: &mut Builder<'_>, y: TensorId) -> TensorId {
    let [width, used, tokens, _] = b.ne(y);
    let row = width * used;
    let mut sum = TensorId::NONE;
    let views: Vec<TensorId> = (0..used)
        .map(|_| {
            let view = b.view(y, [width, tokens, 1, 1], [row, row * tokens, row * tokens]);
            b.expand(view);
            view
        })
        .collect();
    for view in views {
        if sum.is_some() {
            sum = b.add(sum, view);
            b.expand(sum);
        } else {
            sum = view;
        }
    }
    if used == 1 { b.cont(sum, [width, tokens, 1, 1]) } else { sum }
}

/// Final norm and output projection. No layer, so nothing is pinned.
pub(super) fn output(b: &mut Builder<'_>, x: TensorId) {
    b.end_layers();
    let normed = b.like(Op::RmsNorm, &[x]);
    let weight = b.weight(Name::OutputNorm, Part::Weight);
    let y = b.mul(normed, weight);
    let y = biased(b, Name::OutputNorm, y);
    b.mark_output(y);
    let projection = b.output_projection();
    let logits = b.mul_mat(projection, y);
    b.mark_output(logits);
    b.expand(logits);
}
