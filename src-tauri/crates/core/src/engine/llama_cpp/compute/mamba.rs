//! Mamba and Mamba-2: projection, short convolution, selective scan.
//!
//! Follows `build_mamba_layer` and `build_mamba2_layer` (`models/mamba-base.cpp`).

use crate::engine::llama_cpp::compute::blocks::{norm, project};
use crate::engine::llama_cpp::compute::build::{Builder, CacheRole};
use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::graph::{Op, TensorId};
use crate::engine::llama_cpp::compute::state::{Slots, before, behind, convolve, state_in_op, tokens_each};
use crate::engine::llama_cpp::compute::weights::{Name, Part};

/// The selective scan: every output, and behind them the new state, in one row.
fn scan(b: &mut Builder<'_>, state: TensorId, rest: [TensorId; 6]) -> TensorId {
    let values = b.graph.at(rest[0]).elements().saturating_add(b.graph.at(state).elements());
    let [x, dt, a, from, to, slots] = rest;
    b.node(Op::SsmScan, Element::F32, [values, 1, 1, 1], &[state, x, dt, a, from, to, slots])
}

/// The convolution with its bias, then SiLU.
fn convolved(b: &mut Builder<'_>, x: TensorId) -> TensorId {
    let taps = b.weight(Name::SsmConv1d, Part::Weight);
    let y = convolve(b, x, taps);
    let bias = b.weight(Name::SsmConv1d, Part::Bias);
    let y = b.add(y, bias);
    b.unary(y)
}

/// Mamba-2 of the layer begun.
pub(super) fn mamba2(b: &mut Builder<'_>, of: Slots, x: TensorId) -> TensorId {
    let (n, slots, tokens, each) = (b.model.numbers.clone(), b.set.slots, b.batch.tokens, tokens_each(b));
    let (inner, state, heads, groups) = (n.inner, n.state, n.ranks.max(1), n.groups.max(1));
    let head = inner / heads;
    let channels = inner + 2 * groups * state;
    let before = before(b, of, channels);
    let z = project(b, Name::SsmIn, x);
    let row = b.ne(z)[0];
    let z = b.reshape(z, [row, each, slots, 1]);
    let plane = row.saturating_mul(each);
    let gate = b.view(z, &[head, heads, each, slots], &[head, row, plane]);
    let inputs = b.view(z, &[channels, each, slots], &[row, plane]);
    let dt = b.view(z, &[heads, each, slots], &[row, plane]);
    let y = behind(b, &before, inputs, false);
    let y = convolved(b, y);
    let plane = channels.saturating_mul(each);
    let x = b.view(y, &[head, heads, each, slots], &[head, channels, plane]);
    let from = b.view(y, &[state, groups, each, slots], &[state, channels, plane]);
    let to = b.view(y, &[state, groups, each, slots], &[state, channels, plane]);
    let dt_ne = b.ne(dt);
    let dt = b.cont(dt, dt_ne);
    let bias = b.weight(Name::SsmDt, Part::Bias);
    let dt = b.add(dt, bias);

    let values = state * inner;
    let cache = b.cache(CacheRole::State, Element::F32, [values, slots, 1, 1]);
    let y = state_in_op(b, of, cache, values, |b, rows, main| {
        let states = b.reshape(rows, [state, head, heads, slots]);
        let a = b.weight(Name::SsmA, Part::Weight);
        scan(b, states, [x, dt, a, from, to, main])
    });
    let new = b.view(y, &[values, slots, 1], &[values, values * slots]);
    let into = b.view(cache, &[values, slots, 1], &[values, values * slots]);
    let stored = b.copy_into(new, into);
    b.expand(stored);

    let y = b.view(y, &[head, heads, each, slots], &[head, inner, inner.saturating_mul(each)]);
    let skip = b.weight(Name::SsmD, Part::Weight);
    let skipped = b.mul(x, skip);
    let y = b.add(y, skipped);
    let gate_ne = b.ne(gate);
    let gate = b.cont(gate, gate_ne);
    let mut y = b.glu(gate, y);
    if b.has(Name::SsmNorm, Part::Weight) {
        let grouped = b.reshape(y, [inner / groups, groups, each, slots]);
        y = norm(b, Name::SsmNorm, grouped);
    }
    let y = b.reshape(y, [inner, tokens, 1, 1]);
    project(b, Name::SsmOut, y)
}

/// Mamba of the layer begun.
pub(super) fn mamba(b: &mut Builder<'_>, of: Slots, x: TensorId) -> TensorId {
    let (n, slots, each) = (b.model.numbers.clone(), b.set.slots, tokens_each(b));
    let (inner, state, rank) = (n.inner, n.state, n.ranks);
    let before = before(b, of, inner);
    let width = b.ne(x)[0];
    let x = b.reshape(x, [width, each, slots, 1]);
    let both = project(b, Name::SsmIn, x);
    let strides = [2 * inner, (2 * inner).saturating_mul(each)];
    let inputs = b.view(both, &[inner, each, slots], &strides);
    let gate = b.view(both, &[inner, each, slots], &strides);
    let y = behind(b, &before, inputs, true);
    let y = convolved(b, y);
    let selection = project(b, Name::SsmX, y);
    let row = rank + 2 * state;
    let plane = row.saturating_mul(each);
    let dt = b.view(selection, &[rank, each, slots], &[row, plane]);
    let mut from = b.view(selection, &[state, 1, each, slots], &[state, row, plane]);
    let mut to = b.view(selection, &[state, 1, each, slots], &[state, row, plane]);
    let dt = if b.has(Name::SsmDtNorm, Part::Weight) {
        from = norm(b, Name::SsmBNorm, from);
        to = norm(b, Name::SsmCNorm, to);
        norm(b, Name::SsmDtNorm, dt)
    } else {
        let ne = b.ne(dt);
        b.cont(dt, ne)
    };
    let dt = project(b, Name::SsmDt, dt);
    let bias = b.weight(Name::SsmDt, Part::Bias);
    let dt = b.add(dt, bias);
    let x = b.reshape(y, [1, inner, each, slots]);

    let values = state * inner;
    let cache = b.cache(CacheRole::State, Element::F32, [values, slots, 1, 1]);
    let out = state_in_op(b, of, cache, values, |b, rows, main| {
        let states = b.reshape(rows, [state, 1, inner, slots]);
        let a = b.weight(Name::SsmA, Part::Weight);
        scan(b, states, [x, dt, a, from, to, main])
    });
    let new = b.view(out, &[values * slots], &[]);
    let into = b.view(cache, &[values * slots], &[]);
    let stored = b.copy_into(new, into);
    b.expand(stored);

    let result = b.view(out, &[inner, each, slots], &[inner, inner.saturating_mul(each)]);
    let skip = b.weight(Name::SsmD, Part::Weight);
    let skipped = b.mul(y, skip);
    let result = b.add(result, skipped);
    let gate_ne = b.ne(gate);
    let gate = b.cont(gate, gate_ne);
    let y = b.glu(gate, result);
    let y = project(b, Name::SsmOut, y);
    let width = b.ne(y)[0];
    b.reshape(y, [width, b.batch.tokens, 1, 1])
}
