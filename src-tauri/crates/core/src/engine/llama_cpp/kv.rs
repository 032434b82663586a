//! The KV cache and the output buffer, in bytes.
//!
//! Source: `llama_kv_cache` and `llama_context::output_reserve`, tree of 6 October 2026. Absent: sliding windows,
//! recurrent state and compressed (MLA) caches.

use crate::engine::llama_cpp::flags::{Flags, Place};
use crate::engine::llama_cpp::settled::Settled;
use crate::engine::llama_cpp::sizes::{Packing, allocated};
use crate::engine::llama_cpp::weights::loaded_layers;
use crate::model::{LayerFacts, ModelFacts};
use crate::plan::CacheType;

/// Bytes of the KV cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvCache {
    /// Per GPU, in the order of `Flags::devices`.
    pub devices: Vec<u64>,
    /// On the host: layers of the CPU, or all with `-nkvo`.
    pub host: u64,
}

/// Bytes of the KV cache of every layer, on the layer's device.
#[must_use]
pub fn kv_cache(model: &ModelFacts, flags: &Flags, settled: &Settled) -> KvCache {
    let v_row = padded_v_row(model, settled);
    let mut sum = KvCache { devices: vec![0; flags.devices.len()], host: 0 };
    for (layer, &unit) in model.layers.iter().zip(&settled.units).take(loaded_layers(model)) {
        let place = if flags.kv_offload { unit } else { Place::Host };
        let bytes = layer_bytes(layer, v_row, flags, settled, place);
        match place {
            Place::Host => sum.host = sum.host.saturating_add(bytes),
            Place::Gpu(device) => sum.devices[device] = sum.devices[device].saturating_add(bytes),
        }
    }
    sum
}

/// Bytes of one layer's cache on a GPU.
pub(crate) fn layer_bytes_on_gpu(model: &ModelFacts, layer: &LayerFacts, flags: &Flags, settled: &Settled) -> u64 {
    layer_bytes(layer, padded_v_row(model, settled), flags, settled, Place::Gpu(0))
}

/// Without flash attention V lies transposed, and every layer's rows are as long as the longest.
fn padded_v_row(model: &ModelFacts, settled: &Settled) -> Option<u64> {
    if settled.flash_attention { None } else { model.layers.iter().map(v_row).max() }
}

fn v_row(layer: &LayerFacts) -> u64 {
    layer.heads_kv.saturating_mul(layer.value_length)
}

fn layer_bytes(layer: &LayerFacts, v_padded: Option<u64>, flags: &Flags, settled: &Settled, place: Place) -> u64 {
    let cells = settled.context_per_stream.saturating_mul(settled.streams);
    let k = half_bytes(layer.heads_kv.saturating_mul(layer.key_length), cells, flags.cache_k, place);
    let v = half_bytes(v_padded.unwrap_or_else(|| v_row(layer)), cells, flags.cache_v, place);
    k.saturating_add(v)
}

fn half_bytes(row_values: u64, cells: u64, cache: CacheType, place: Place) -> u64 {
    let block = cache.block();
    let packing = Packing { values: block.values, bytes: block.bytes, quantised: cache.is_quantised() };
    allocated(place, packing.row(row_values).saturating_mul(cells), row_values, packing)
}

/// Bytes of the output buffer on the host (pinned): one row of logits per slot, and one of embeddings where those are
/// asked for.
#[must_use]
pub fn output_buffer(model: &ModelFacts, flags: &Flags, settled: &Settled) -> u64 {
    /// Bytes of an `f32`.
    const VALUE: u64 = 4;
    let row = if flags.embedding { model.vocab.saturating_add(model.embedding) } else { model.vocab };
    row.saturating_mul(VALUE).saturating_mul(settled.parallel)
}
