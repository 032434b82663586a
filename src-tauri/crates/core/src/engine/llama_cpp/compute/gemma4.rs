//! Graph of Gemma 4: shared caches, per-layer embeddings, experts beside a dense part. Also what Gemma 3n shares with it.
//!
//! Engine: `src/models/gemma4.cpp`.

use crate::engine::llama_cpp::arch::Activation;
use crate::engine::llama_cpp::compute::attention::{Caches, Keys, attend, caches};
use crate::engine::llama_cpp::compute::blocks::{
    DENSE, Drop, embed, feed_forward, heads, loose_norm, norm, output, project, rms, rope,
};
use crate::engine::llama_cpp::compute::build::Builder;
use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::experts::{Experts, experts_by};
use crate::engine::llama_cpp::compute::graph::TensorId;
use crate::engine::llama_cpp::compute::weights::{Name, Part};

/// Builds the graph with the layers named, in order; `layers` ends with the model's last.
pub(super) fn build(b: &mut Builder<'_>, layers: &[usize]) {
    let mut x = embed(b);
    let caches = caches(b);
    let has_inputs = b.has_global(Name::PerLayerTokenEmbd, Part::Weight);
    let inputs = has_inputs.then(|| per_layer_inputs(b, x, b.model.numbers.per_layer));
    for &layer in layers {
        b.begin_layer(layer);
        let h = norm(b, Name::AttnNorm, x);
        let y = gemma_attention(b, &caches, h);
        let y = norm(b, Name::PostAttentionNorm, y);
        let y = b.add(y, x);
        let z = if b.has(Name::FfnGateInp, Part::Weight) { dense_and_experts(b, y) } else { dense(b, y) };
        let z = loose_norm(b, Name::PostFfwNorm, z);
        x = b.add(z, y);
        if let Some(inputs) = inputs {
            let gate = project(b, Name::InpGate, x);
            let gate = b.unary(gate);
            let own = slice(b, inputs);
            let z = b.mul(gate, own);
            let z = project(b, Name::Proj, z);
            let z = norm(b, Name::PostNorm, z);
            x = b.add(x, z);
        }
        if b.has(Name::LayerOutputScale, Part::Weight) {
            let scale = b.weight(Name::LayerOutputScale, Part::Weight);
            x = b.mul(x, scale);
        }
    }
    output(b, x, Drop::BehindKept);
}

fn dense(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let z = norm(b, Name::FfnNorm, x);
    feed_forward(b, z, DENSE, Activation::Gated)
}

fn dense_and_experts(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let every = dense(b, x);
    let every = norm(b, Name::PostFfwNorm1, every);
    let z = norm(b, Name::PreFfwNorm2, x);
    let normed = rms(b, x);
    let small = b.scale(normed);
    let scale = b.weight(Name::FfnGateInp, Part::Scale);
    let scaled = b.mul(small, scale);
    let logits = project(b, Name::FfnGateInp, scaled);
    let routed = experts_by(b, z, logits, Experts::NORMALISED);
    let routed = norm(b, Name::PostFfwNorm2, routed);
    b.add(every, routed)
}

/// Attention with normed heads; later layers read the cache of an earlier one and make no K and V.
pub(super) fn gemma_attention(b: &mut Builder<'_>, caches: &Caches, h: TensorId) -> TensorId {
    let shape = b.heads();
    let factors = if b.model.arch.layers[b.layer()].rope_factors { b.rope_factors(Name::RopeFreqs) } else { None };
    let q = project(b, Name::AttnQ, h);
    let q = heads(b, q, shape.key_length, shape.heads);
    let q = norm(b, Name::AttnQNorm, q);
    let q = rope(b, q, factors);
    let new = shape.owns_cache().then(|| {
        let k = project(b, Name::AttnK, h);
        let v = if b.has(Name::AttnV, Part::Weight) { project(b, Name::AttnV, h) } else { k };
        let k = heads(b, k, shape.key_length, shape.heads_kv);
        let k = norm(b, Name::AttnKNorm, k);
        let k = rope(b, k, factors);
        let v = heads(b, v, shape.value_length, shape.heads_kv);
        [k, rms(b, v)]
    });
    attend(b, caches, q, Keys { new, gate: None })
}

/// Inputs of every layer, `[width, tokens, layers]`: a table's rows, and a projection of the embedded tokens.
pub(super) fn per_layer_inputs(b: &mut Builder<'_>, x: TensorId, width: u64) -> TensorId {
    let (layers, tokens) = (b.model.arch.layers.len() as u64, b.batch.tokens);
    let ids = b.input(Element::I32, [tokens, 1, 1, 1]);
    let table = b.global(Name::PerLayerTokenEmbd, Part::Weight);
    let rows = b.get_rows(table, ids);
    let rows = b.reshape(rows, [width, layers, tokens, 1]);
    let rows = b.scale(rows);
    b.expand(rows);
    let weight = b.global(Name::PerLayerModelProj, Part::Weight);
    let projected = b.mul_mat(weight, x);
    let projected = b.scale(projected);
    let projected = b.reshape(projected, [width, layers, tokens, 1]);
    let normed = rms(b, projected);
    let weight = b.global(Name::PerLayerProjNorm, Part::Weight);
    let normed = b.mul(normed, weight);
    let sum = b.add(normed, rows);
    let sum = b.scale(sum);
    let by_layer = b.swap_heads(sum);
    let ne = b.ne(by_layer);
    b.cont(by_layer, ne)
}

/// One plane of a tensor; which one changes nothing here.
pub(super) fn slice(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let [width, rows, ..] = b.ne(x);
    b.view(x, &[width, rows], &[width])
}
