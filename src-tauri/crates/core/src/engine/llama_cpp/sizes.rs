//! What a tensor takes in a buffer of a GPU or of the host.

use crate::engine::llama_cpp::flags::Place;

/// Alignment of tensors in a CUDA buffer. Source: `ggml_backend_cuda_buffer_type_get_alignment`.
const GPU_ALIGN: u64 = 128;

/// Alignment of tensors in a CPU buffer. Source: `TENSOR_ALIGNMENT` of `ggml-backend.cpp`.
const HOST_ALIGN: u64 = 32;

/// Rows of quantised tensors are padded to this many values on a GPU, the last row only.
/// Source: `MATRIX_ROW_PADDING`, `ggml_backend_cuda_buffer_type_get_alloc_size`.
const GPU_ROW_VALUES: u64 = 512;

/// Values and bytes of one block of an element type; plain types have one value per block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    pub(super) values: u64,
    pub(super) bytes: u64,
    pub(super) quantised: bool,
}

impl Packing {
    /// Bytes of a row of `values`, saturating: sizes from a header are not to be trusted.
    pub(super) fn row(self, values: u64) -> u64 {
        (values / self.values.max(1)).saturating_mul(self.bytes)
    }
}

/// Bytes that a tensor of `bytes` with rows of `row_values` takes at `place`.
pub(super) fn allocated(place: Place, bytes: u64, row_values: u64, packing: Packing) -> u64 {
    match place {
        Place::Host => round_up(bytes, HOST_ALIGN),
        Place::Gpu(_) => {
            let over = row_values % GPU_ROW_VALUES;
            let padding = if packing.quantised && over != 0 { packing.row(GPU_ROW_VALUES - over) } else { 0 };
            round_up(bytes.saturating_add(padding), GPU_ALIGN)
        }
    }
}

fn round_up(bytes: u64, step: u64) -> u64 {
    bytes.checked_next_multiple_of(step).unwrap_or(u64::MAX)
}
