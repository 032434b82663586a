//! Which backend can run an op, and what batch makes it worth moving weights for.
//!
//! Source: `ggml_backend_cuda_device_supports_op`, `ggml_cuda_get_best_fattn_kernel` and
//! `ggml_backend_cuda_device_offload_op` (ggml-cuda.cu, fattn.cu). GPUs run every op used here but some flash attention.

use crate::engine::llama_cpp::compute::graph::{Backend, Graph, Op, Tensor, UNASSIGNED};
use crate::model::GgmlType;

/// Cells of the cache must be a multiple of this for the kernels of uneven or long heads (`FATTN_KQ_STRIDE`).
const CELLS_STEP: u64 = 256;

/// Batches of at least this many rows are computed on a GPU even where the weights lie on the host
/// (`GGML_OP_OFFLOAD_MIN_BATCH`).
pub(super) const OFFLOAD_ROWS: u64 = 32;

/// Whether `backend` can run the node with its operands where they lie.
pub(super) fn can(graph: &Graph, cpu: Backend, backend: Backend, node: &Tensor) -> bool {
    let reachable = node.sources().all(|source| {
        let home = graph.at(source).home;
        home == UNASSIGNED || home == cpu || home == backend
    });
    reachable && (backend == cpu || node.op != Op::FlashAttention || gpu_flash_attention(graph, node))
}

/// Rows that count for the offload of an op.
pub(super) fn batch_rows(node: &Tensor) -> u64 {
    match node.op {
        Op::GetRows => 0,
        Op::MulMat => node.ne[1],
        Op::MulMatId => node.ne[2],
        _ => node.rows(),
    }
}

fn gpu_flash_attention(graph: &Graph, node: &Tensor) -> bool {
    let [q, k, v] = [0, 1, 2].map(|index| graph.at(node.src[index]));
    let types = [k, v].iter().all(|t| {
        let known = [
            GgmlType::F32,
            GgmlType::F16,
            GgmlType::BF16,
            GgmlType::Q4_0,
            GgmlType::Q4_1,
            GgmlType::Q5_0,
            GgmlType::Q5_1,
            GgmlType::Q8_0,
        ];
        known.contains(&GgmlType(t.element.code))
    });
    let shared = q.ne[2] / k.ne[2].max(1); // query heads per K head
    let whole = k.ne[1].is_multiple_of(CELLS_STEP);
    let sizes = match (k.ne[0], v.ne[0]) {
        (40 | 64 | 72 | 80 | 96 | 112 | 128 | 256, v) => k.ne[0] == v,
        (192, 128) => shared.is_multiple_of(8) && whole,
        (320, 256) => shared.is_multiple_of(32) && whole,
        (512 | 576, 512) => shared >= 2 && whole,
        _ => false,
    };
    types && sizes
}
