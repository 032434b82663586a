//! Attention with a KV cache: write K and V, then attend over all cells, with or without flash attention.
//!
//! Follows `llm_graph_context::build_attn` and `build_attn_mha` (`llama-graph.cpp`) and `llama_kv_cache::cpy_k`, `cpy_v`,
//! `get_k`, `get_v` (`llama-kv-cache.cpp`). Absent: sliding windows, latent attention, sinks, soft caps.

use crate::engine::llama_cpp::compute::blocks::linear;
use crate::engine::llama_cpp::compute::build::Builder;
use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::graph::{Op, TensorId};
use crate::engine::llama_cpp::compute::weights::Name;

/// Inputs of the attention, shared by all layers of one cache.
pub(super) struct CacheInputs {
    /// Cell of each new K row.
    k_cells: TensorId,
    /// Cell of each new V row, or of each V value where V is stored transposed.
    v_cells: TensorId,
    /// What each token may see.
    mask: TensorId,
    /// Hadamard matrix that evens out K before it is quantised.
    k_rotation: Option<TensorId>,
    /// The same for V.
    v_rotation: Option<TensorId>,
}

/// Head sizes must be a multiple of this for the Hadamard rotation; it is also V's matrix.
const ROTATION_UNIT: u64 = 64;

/// The largest power of two, at least 64, that divides the head size.
fn rotation_size(head: u64) -> u64 {
    1 << head.trailing_zeros().min(32)
}

/// Makes the inputs for the model's cache.
pub(super) fn cache_inputs(b: &mut Builder<'_>) -> CacheInputs {
    let (set, tokens) = (b.set, b.batch.tokens);
    let first = &b.model.layers[0];
    let v_row_max = b.model.layers.iter().map(|l| l.value_length * l.heads_kv).max().unwrap_or(0);
    let v_indices = if set.v_transposed { tokens.saturating_mul(v_row_max) } else { tokens };
    let k_cells = b.input(Element::I64, [tokens, 1, 1, 1]);
    let v_cells = b.input(Element::I64, [v_indices, 1, 1, 1]);
    let mask_element = if set.flash { Element::F16 } else { Element::F32 };
    let mask = b.input(mask_element, [set.cells, tokens / set.streams, 1, set.streams]);
    let rotates = |element: Element, head: u64| element.quantised() && head.is_multiple_of(ROTATION_UNIT);
    let k_rotation = rotates(set.cache_k, first.key_length).then(|| {
        let n = rotation_size(first.key_length);
        b.input(Element::F32, [n, n, 1, 1])
    });
    let v_rotation =
        rotates(set.cache_v, first.value_length).then(|| b.input(Element::F32, [ROTATION_UNIT, ROTATION_UNIT, 1, 1]));
    CacheInputs { k_cells, v_cells, mask, k_rotation, v_rotation }
}

/// Multiplies every head by the rotation.
fn rotate(b: &mut Builder<'_>, matrix: Option<TensorId>, x: TensorId) -> TensorId {
    let Some(matrix) = matrix else { return x };
    let (size, ne) = (b.ne(matrix)[0], b.ne(x));
    let pieces = b.graph.at(x).elements() / size;
    let flat = b.reshape(x, [size, pieces, 1, 1]);
    let turned = b.mul_mat(matrix, flat);
    b.reshape(turned, ne)
}

/// Attention of the layer begun over `q`, `k`, `v` of shape `[head, heads, tokens]`, with the output projection.
pub(super) fn attention(b: &mut Builder<'_>, c: &CacheInputs, q: TensorId, k: TensorId, v: TensorId) -> TensorId {
    let q = rotate(b, c.k_rotation, q);
    let k = rotate(b, c.k_rotation, k);
    let v = rotate(b, c.v_rotation, v);
    b.expand(q);
    b.expand(v);
    b.expand(k);
    let k = store_k(b, c, k);
    let v = store_v(b, c, v);
    let q = by_stream(b, q);
    let y = if b.set.flash { flash(b, c, q, k, v) } else { plain(b, c, q, k, v) };
    b.expand(y);
    let y = rotate(b, c.v_rotation, y);
    linear(b, Name::AttnOutput, y)
}

/// Writes K into the cache and gives the cache as `[head, cells, heads, streams]`.
fn store_k(b: &mut Builder<'_>, c: &CacheInputs, k: TensorId) -> TensorId {
    let (set, tokens, shape) = (b.set, b.batch.tokens, b.shape());
    let (head, heads) = (shape.key_length, shape.heads_kv);
    let row = head * heads;
    let cache = b.cache(set.cache_k, row);
    let into = one_stream(b, cache, [row, set.cells.saturating_mul(set.streams), 1, 1]);
    let rows = b.view(k, [row, tokens, 1, 1], [row, row * tokens, row * tokens]);
    let stored = b.set_rows(into, rows, c.k_cells);
    b.expand(stored);
    let plane = row.saturating_mul(set.cells);
    let all = b.view(cache, [head, heads, set.cells, set.streams], [head, row, plane]);
    b.swap_heads(all)
}

/// Writes V into the cache and gives the cache as `[head, cells, heads, streams]`, or with the first two swapped where it
/// is stored transposed.
fn store_v(b: &mut Builder<'_>, c: &CacheInputs, v: TensorId) -> TensorId {
    let (set, tokens, shape) = (b.set, b.batch.tokens, b.shape());
    let (head, heads, cells) = (shape.value_length, shape.heads_kv, set.cells);
    let row = head * heads;
    let cache = b.cache(set.cache_v, row);
    let plane = row.saturating_mul(cells);
    let all = if set.v_transposed {
        let values = b.reshape(v, [row, tokens, 1, 1]);
        let into = b.reshape(cache, [1, plane.saturating_mul(set.streams), 1, 1]);
        let values = b.reshape(values, [1, row * tokens, 1, 1]);
        let stored = b.set_rows(into, values, c.v_cells);
        b.expand(stored);
        b.view(cache, [cells, heads, head, set.streams], [cells.saturating_mul(head), cells, plane])
    } else {
        let into = one_stream(b, cache, [row, cells.saturating_mul(set.streams), 1, 1]);
        let rows = b.view(v, [row, tokens, 1, 1], [row, row * tokens, row * tokens]);
        let stored = b.set_rows(into, rows, c.v_cells);
        b.expand(stored);
        b.view(cache, [head, heads, cells, set.streams], [head, row, plane])
    };
    b.swap_heads(all)
}

/// The cache as one long stream, where it has several.
fn one_stream(b: &mut Builder<'_>, cache: TensorId, ne: [u64; 4]) -> TensorId {
    if b.set.streams > 1 { b.reshape(cache, ne) } else { cache }
}

/// Queries as `[head, tokens of a stream, heads, streams]`.
fn by_stream(b: &mut Builder<'_>, q: TensorId) -> TensorId {
    let (streams, [head, heads, tokens, _]) = (b.set.streams, b.ne(q));
    let each = tokens / streams;
    let (row, plane) = (b.stride(q, 1), b.stride(q, 2));
    let split = b.view(q, [head, heads, each, streams], [row, plane, plane.saturating_mul(each)]);
    b.swap_heads(split)
}

fn flash(b: &mut Builder<'_>, c: &CacheInputs, q: TensorId, k: TensorId, v: TensorId) -> TensorId {
    let (q_ne, head) = (b.ne(q), b.ne(v)[0]);
    let y = b.node(Op::FlashAttention, Element::F32, [head, q_ne[2], q_ne[1], q_ne[3]], &[q, k, v, c.mask]);
    b.reshape(y, [head * q_ne[2], q_ne[1] * q_ne[3], 1, 1])
}

fn plain(b: &mut Builder<'_>, c: &CacheInputs, q: TensorId, k: TensorId, v: TensorId) -> TensorId {
    let scores = b.mul_mat(k, q);
    let shares = b.like(Op::SoftMax, &[scores, c.mask]);
    let v = if b.set.v_transposed {
        v
    } else {
        let turned = b.transpose(v);
        let ne = b.ne(turned);
        b.cont(turned, ne)
    };
    let y = b.mul_mat(v, shares);
    let y = b.swap_heads(y);
    let ne = b.ne(y);
    let y = b.cont(y, [ne[0] * ne[1], ne[2] * ne[3], 1, 1]);
    if b.set.kv_on_host {
        b.pin_to_cpu(y);
    }
    y
}
