//! Graph of Gemma 3n: several residual streams that are predicted and corrected, per-layer inputs, shared caches.
//!
//! Engine: `src/models/gemma3n.cpp`.

use crate::engine::llama_cpp::arch::Graph;
use crate::engine::llama_cpp::compute::attention::{Caches, caches};
use crate::engine::llama_cpp::compute::blocks::{Drop, embed, loose_norm, norm, output, pick, project};
use crate::engine::llama_cpp::compute::build::Builder;
use crate::engine::llama_cpp::compute::gemma4::{gemma_attention, per_layer_inputs, slice};
use crate::engine::llama_cpp::compute::graph::{Op, TensorId};
use crate::engine::llama_cpp::compute::model::ComputeModel;
use crate::engine::llama_cpp::compute::weights::{Name, Part};

/// Layers whose feed-forward part keeps only its largest values. Source: `f_sparsity_std_mul` in `models/gemma3n.cpp`.
const SPARSE_LAYERS: usize = 10;

/// Whether a layer's feed-forward part keeps only its largest values.
pub(super) fn is_sparse(model: &ComputeModel, layer: usize) -> bool {
    model.traits.graph == Graph::Gemma3n && layer < SPARSE_LAYERS
}

/// Builds the graph with the layers named, in order; `layers` ends with the model's last.
pub(super) fn build(b: &mut Builder<'_>, layers: &[usize]) {
    let x = embed(b);
    let caches = caches(b);
    let inputs_norm = b.global(Name::PerLayerProjNorm, Part::Weight);
    let inputs = per_layer_inputs(b, x, b.ne(inputs_norm)[0]);
    let mut x = streams(b, x);
    for &layer in layers {
        b.begin_layer(layer);
        let predicted = predict(b, x);
        let active = active_stream(b, &caches, predicted);
        x = correct(b, predicted, active, inputs);
    }
    b.end_layers();
    let y = one_stream(b, x);
    let y = b.scale(y);
    let y = pick(b, y);
    output(b, y, Drop::Before);
}

/// The length of every row.
fn magnitude(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let squares = b.like(Op::Sqr, &[x]);
    let sum = b.sum_rows(squares);
    b.like(Op::Sqrt, &[sum])
}

/// `x` with rows of a given length.
fn with_magnitude(b: &mut Builder<'_>, x: TensorId, length: TensorId) -> TensorId {
    let scaled = b.mul(x, length);
    let own = magnitude(b, x);
    b.div(scaled, own)
}

/// All residual streams: the embedded tokens, and projections of them of the same length.
fn streams(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let weight = b.global(Name::AltupProj, Part::Weight);
    let ([width, tokens, ..], others) = (b.ne(x), b.ne(weight)[2]);
    let copies = b.repeat(x, [width, tokens, others, 1]);
    let projected = b.mul_mat(weight, copies);
    let length = magnitude(b, x);
    let projected = with_magnitude(b, projected, length);
    b.concat(x, projected, 2)
}

/// All streams but the first.
fn others(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let [width, tokens, streams, _] = b.ne(x);
    b.view(x, &[width, tokens, streams.saturating_sub(1)], &[width, width.saturating_mul(tokens)])
}

/// The stream's router.
fn router(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let normed = norm(b, Name::AltupRouterNorm, x);
    let small = b.scale(normed);
    let routed = project(b, Name::AltupRouter, small);
    b.unary(routed)
}

/// Every stream predicted from all of them.
fn predict(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let [_, tokens, count, _] = b.ne(x);
    let first = slice(b, x);
    let modes = router(b, first);
    let mix = project(b, Name::AltupPredictCoef, modes);
    let mix = b.reshape(mix, [count, count, tokens, 1]);
    let by_stream = b.permute(x, [1, 2, 0, 3]);
    let ne = b.ne(by_stream);
    let by_stream = b.cont(by_stream, ne);
    let mixed = b.mul_mat(by_stream, mix);
    let mixed = b.swap_heads(mixed);
    let ne = b.ne(mixed);
    let mixed = b.cont(mixed, ne);
    b.add(mixed, x)
}

/// What attention and the feed-forward part make of the first predicted stream.
fn active_stream(b: &mut Builder<'_>, caches: &Caches, predicted: TensorId) -> TensorId {
    let active = slice(b, predicted);
    let h = norm(b, Name::AttnNorm, active);
    let low = project(b, Name::LaurelL, h);
    let low = project(b, Name::LaurelR, low);
    let low = norm(b, Name::LaurelPostNorm, low);
    let laurel = b.add(low, h);
    let y = gemma_attention(b, caches, h);
    let y = norm(b, Name::PostAttentionNorm, y);
    let y = b.add(y, active);
    let y = b.add(y, laurel);
    let y = b.scale(y);
    let z = norm(b, Name::FfnNorm, y);
    let up = project(b, Name::FfnUp, z);
    let mut gate = project(b, Name::FfnGate, z);
    if is_sparse(b.model, b.layer()) {
        gate = largest(b, gate);
    }
    let gate = b.unary(gate);
    let z = b.mul(up, gate);
    let z = project(b, Name::FfnDown, z);
    let z = loose_norm(b, Name::PostFfwNorm, z);
    b.add(z, y)
}

/// Values beyond a number of standard deviations, the others zero.
fn largest(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let mean = b.mean(x);
    let away = b.sub(x, mean);
    let squares = b.like(Op::Sqr, &[away]);
    let sum = b.sum_rows(squares);
    let variance = b.scale(sum);
    let deviation = b.like(Op::Sqrt, &[variance]);
    let deviation = b.scale(deviation);
    let limit = b.add(mean, deviation);
    let beyond = b.sub(x, limit);
    b.unary(beyond)
}

/// Every predicted stream corrected by the active one; all but the first get the layer's input.
fn correct(b: &mut Builder<'_>, predicted: TensorId, active: TensorId, inputs: TensorId) -> TensorId {
    let [width, tokens, count, _] = b.ne(predicted);
    let modes = router(b, active);
    let first = slice(b, predicted);
    let error = b.sub(active, first);
    let mix = project(b, Name::AltupCorrectCoef, modes);
    let mix = b.scale(mix);
    let mix = b.transpose(mix);
    let mix = b.cont(mix, [1, tokens, count, 1]);
    let errors = b.repeat(error, [width, tokens, count, 1]);
    let errors = b.mul(errors, mix);
    let corrected = b.add(errors, predicted);
    let first = slice(b, corrected);
    let scale = b.weight(Name::AltupCorrectScale, Part::Weight);
    let scaled = b.mul(first, scale);
    let gate = project(b, Name::InpGate, scaled);
    let gate = b.unary(gate);
    let own = slice(b, inputs);
    let z = b.mul(gate, own);
    let z = project(b, Name::Proj, z);
    let z = norm(b, Name::PostNorm, z);
    let first = slice(b, corrected);
    let others = others(b, corrected);
    let others = b.add(others, z);
    b.concat(first, others, 2)
}

/// The sum of all streams, turned back to the length of the first.
fn one_stream(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let first = slice(b, x);
    let length = magnitude(b, first);
    let others = others(b, x);
    let weight = b.global(Name::AltupUnembdProj, Part::Weight);
    let count = b.ne(weight)[2];
    let projected = b.mul_mat(weight, others);
    let projected = with_magnitude(b, projected, length);
    let mut sum = slice(b, x);
    for _ in 0..count {
        let other = slice(b, projected);
        sum = b.add(sum, other);
    }
    sum
}
