//! Gives every tensor a backend, in the passes of `ggml_backend_sched_split_graph` (ggml-backend.cpp), 1 to 4.

use crate::engine::llama_cpp::compute::graph::{Backend, Graph, Op, Tensor, TensorId, UNASSIGNED};
use crate::engine::llama_cpp::compute::support::{OFFLOAD_ROWS, batch_rows, can};

/// The backend of each tensor of the graph, by tensor index. Tensors outside of the graph's order stay unassigned.
pub(super) fn assign(graph: &Graph, cpu: Backend) -> Vec<Backend> {
    let mut of = vec![UNASSIGNED; graph.tensors.len()];
    for &leaf in &graph.leaves {
        let tensor = graph.at(leaf);
        of[leaf.at()] = if tensor.home != UNASSIGNED { tensor.home } else { cpu };
    }
    for &id in &graph.nodes {
        of[id.at()] = first_choice(graph, cpu, graph.at(id));
    }
    sweep(graph, cpu, &mut of, graph.nodes.iter(), false);
    sweep(graph, cpu, &mut of, graph.nodes.iter().rev(), false);
    sweep(graph, cpu, &mut of, graph.nodes.iter(), true);
    sweep(graph, cpu, &mut of, graph.nodes.iter().rev(), true);
    for &id in &graph.nodes {
        if of[id.at()] == UNASSIGNED && !graph.at(id).op.is_view() {
            of[id.at()] = with_most_operands(graph, cpu, &of, graph.at(id));
        }
    }
    follow_views(graph, &mut of);
    of
}

/// Pass 1: what is pinned, what lies somewhere already, and what a weight decides.
fn first_choice(graph: &Graph, cpu: Backend, node: &Tensor) -> Backend {
    if node.pin != UNASSIGNED {
        return node.pin;
    }
    if node.base.is_some() && graph.at(node.base).home != UNASSIGNED {
        return graph.at(node.base).home;
    }
    // Rope factors are too small to decide where rope runs; sinks do not decide either.
    if matches!(node.op, Op::Rope | Op::FlashAttention) {
        return UNASSIGNED;
    }
    let Some(weight) = node.sources().map(|source| graph.at(source)).find(|source| source.weight) else {
        return UNASSIGNED;
    };
    let offloads = weight.home == cpu && batch_rows(node) >= OFFLOAD_ROWS;
    if let Some(gpu) = (0..cpu).find(|gpu| offloads && can(graph, cpu, *gpu, node)) {
        return gpu;
    }
    if can(graph, cpu, weight.home, node) { weight.home } else { UNASSIGNED }
}

/// Pass 2: neighbours share a backend. The CPU stops the spreading unless it spreads itself.
fn sweep<'a>(
    graph: &Graph,
    cpu: Backend,
    of: &mut [Backend],
    nodes: impl Iterator<Item = &'a TensorId>,
    cpu_spreads: bool,
) {
    let mut current = UNASSIGNED;
    for &id in nodes {
        let node = graph.at(id);
        if node.op.is_view() {
            continue;
        }
        let own = of[id.at()];
        if own == cpu && !cpu_spreads {
            current = UNASSIGNED;
        } else if own != UNASSIGNED {
            current = own;
        } else if current != UNASSIGNED && can(graph, cpu, current, node) {
            of[id.at()] = current;
        }
    }
}

/// Pass 3: the backend that can run the node and holds most of its operands, the first of equals.
fn with_most_operands(graph: &Graph, cpu: Backend, of: &[Backend], node: &Tensor) -> Backend {
    let mut best = (UNASSIGNED, 0);
    for backend in 0..=cpu {
        if !can(graph, cpu, backend, node) {
            continue;
        }
        let held = 1 + node.sources().filter(|source| memory(graph, of, *source) == backend).count();
        if held > best.1 {
            best = (backend, held);
        }
    }
    best.0
}

/// Pass 4: views follow what they view, operands without a backend follow their first user.
fn follow_views(graph: &Graph, of: &mut [Backend]) {
    for &id in &graph.nodes {
        let node = graph.at(id);
        if node.base.is_some() && of[id.at()] == UNASSIGNED {
            of[id.at()] = of[node.base.at()];
        }
        for source in node.sources() {
            if of[source.at()] == UNASSIGNED {
                let base = graph.at(source).base;
                of[source.at()] = if base.is_some() { of[base.at()] } else { of[id.at()] };
            }
        }
    }
}

/// The backend in whose memory a tensor is or will be.
pub(super) fn memory(graph: &Graph, of: &[Backend], id: TensorId) -> Backend {
    let tensor = graph.at(id);
    let owner = if tensor.base.is_some() { tensor.base } else { id };
    let home = graph.at(owner).home;
    if home != UNASSIGNED {
        home
    } else if of[id.at()] != UNASSIGNED {
        of[id.at()]
    } else {
        of[owner.at()]
    }
}
