//! What the CUDA backend keeps alive longer than the graph asks for, so that it may fuse several ops into one kernel.
//!
//! Source: `ggml_backend_cuda_graph_optimize` (ggml-cuda.cu). Here: routing of experts and their weighted sum. Absent: the
//! reordering for shared experts, which no architecture described so far has.

use crate::engine::llama_cpp::compute::graph::{Graph, Op, TensorId};

/// A tensor is needed until after the node at an offset in the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) after: usize,
    pub(super) tensor: TensorId,
}

/// Experts whose weighted sum is one kernel.
const SUM_EXPERTS: std::ops::RangeInclusive<usize> = 2..=15;

/// Routing over a normalised softmax, in the order of its nodes.
const ROUTING: [Op; 10] = [
    Op::SoftMax,
    Op::Reshape,
    Op::ArgSort,
    Op::View,
    Op::GetRows,
    Op::Reshape,
    Op::SumRows,
    Op::Clamp,
    Op::Div,
    Op::Reshape,
];

/// Most experts that the routing kernel takes, where their number is a power of two.
const ROUTED_MAX: u64 = 512;

/// Collects the holds of one split's nodes, in order.
pub(super) fn holds(graph: &Graph, nodes: &[TensorId], into: &mut Vec<Hold>) {
    let op = |offset: usize| nodes.get(offset).map(|id| graph.at(*id).op);
    for offset in 0..nodes.len() {
        match op(offset) {
            Some(Op::SoftMax) => routing(graph, nodes, offset, into),
            Some(Op::Mul) if op(offset + 1) == Some(Op::View) => weighted_sum(graph, nodes, offset, into),
            _ => {}
        }
    }
    into.sort_by_key(|hold| hold.after);
}

/// The members of a routing group and their operands stay until the node after the group.
fn routing(graph: &Graph, nodes: &[TensorId], start: usize, into: &mut Vec<Hold>) {
    let Some(group) = nodes.get(start..start + ROUTING.len()) else { return };
    let ops = group.iter().map(|id| graph.at(*id).op);
    let experts = graph.at(group[0]).ne[0];
    let counts = (experts.is_power_of_two() && experts <= ROUTED_MAX) || [288, 576].contains(&experts);
    let after = start + ROUTING.len();
    if !ops.eq(ROUTING) || !counts || after >= nodes.len() {
        return;
    }
    for &member in group {
        into.push(Hold { after, tensor: member });
        into.extend(graph.at(member).sources().map(|tensor| Hold { after, tensor }));
    }
}

/// Experts' results and weights stay until they are summed up: one product, a view of it per expert, one sum less.
fn weighted_sum(graph: &Graph, nodes: &[TensorId], start: usize, into: &mut Vec<Hold>) {
    let product = nodes[start];
    let rest = &nodes[start + 1..];
    let views = rest.iter().take_while(|id| graph.at(**id).op == Op::View && graph.at(**id).base == product).count();
    let sums = rest[views..].iter().take(views.saturating_sub(1)).take_while(|id| graph.at(**id).op == Op::Add).count();
    if !SUM_EXPERTS.contains(&views) || sums + 1 != views {
        return;
    }
    let after = start + views + sums;
    into.extend(graph.at(product).sources().map(|tensor| Hold { after, tensor }));
}
