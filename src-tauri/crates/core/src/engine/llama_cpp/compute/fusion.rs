//! What the CUDA backend moves and keeps alive so that it may fuse several ops into one kernel: shared experts, routing, the
//! weighted sum of experts.
//!
//! Source: `ggml_backend_cuda_graph_optimize` (ggml-cuda.cu).

use crate::engine::llama_cpp::compute::graph::{Graph, Op, TensorId};

/// A tensor is needed until after the node at an offset in the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) after: usize,
    pub(super) tensor: TensorId,
}

/// Experts whose weighted sum is one kernel.
const SUM_EXPERTS: std::ops::RangeInclusive<usize> = 2..=15;

/// Most experts that the routing kernel takes, where their number is a power of two.
const ROUTED_MAX: u64 = 512;

/// Other numbers of experts that it takes.
const ROUTED_ALSO: [u64; 2] = [288, 576];

/// Reorders one split's nodes and collects its holds, in order.
pub(super) fn optimise(graph: &Graph, nodes: &mut [TensorId], into: &mut Vec<Hold>) {
    shared_experts(graph, nodes, into);
    let op = |offset: usize| nodes.get(offset).map(|id| graph.at(*id).op);
    for offset in 0..nodes.len() {
        match op(offset) {
            Some(Op::SoftMax | Op::Sigmoid) => routing(graph, nodes, offset, into),
            Some(Op::Mul) if op(offset + 1) == Some(Op::View) => weighted_sum(graph, nodes, offset, into),
            _ => {}
        }
    }
    into.sort_by_key(|hold| hold.after);
}

/// Two products of one input and their gated unit, at three offsets in a row.
#[derive(Clone, Copy)]
struct Pair {
    at: usize,
}

impl Pair {
    /// The pair at an offset, where there is one with products of this op.
    fn at(graph: &Graph, nodes: &[TensorId], at: usize, product: Op) -> Option<Self> {
        let [first, second, unit] = nodes.get(at..at + 3)? else { return None };
        let ops = [*first, *second, *unit].map(|id| graph.at(id).op);
        let mut of_unit = graph.at(*unit).sources();
        let both = of_unit.all(|source| source == *first || source == *second);
        (ops == [product, product, Op::Glu] && both).then_some(Self { at })
    }

    fn products(self, nodes: &[TensorId]) -> [TensorId; 2] {
        [nodes[self.at], nodes[self.at + 1]]
    }
}

/// The shared expert's products move directly behind those of the chosen experts, so that one kernel may do both. The
/// chosen experts' input and numbers then stay until its gated unit.
fn shared_experts(graph: &Graph, nodes: &mut [TensorId], into: &mut Vec<Hold>) {
    let mut offset = 0;
    while offset < nodes.len() {
        let Some(routed) = Pair::at(graph, nodes, offset, Op::MulMatId) else {
            offset += 1;
            continue;
        };
        offset += 3;
        let ahead = (offset..nodes.len()).take_while(|at| Pair::at(graph, nodes, *at, Op::MulMatId).is_none());
        let found = ahead
            .filter_map(|at| Pair::at(graph, nodes, at, Op::MulMat))
            .find(|pair| alike(graph, nodes, routed, *pair));
        let Some(shared) = found else { continue };
        nodes[offset..shared.at + 3].rotate_right(3);
        let [product, _] = routed.products(nodes);
        let [_, input, ids, ..] = graph.at(product).src;
        let after = offset + 2;
        into.extend([input, ids].map(|tensor| Hold { after, tensor }));
        offset += 3;
    }
}

/// Whether one kernel can do both pairs: quantised weights of one type and width, one input.
fn alike(graph: &Graph, nodes: &[TensorId], routed: Pair, shared: Pair) -> bool {
    let weights = |pair: Pair| pair.products(nodes).map(|product| graph.at(graph.at(product).src[0]));
    let same_weights = weights(routed).iter().zip(weights(shared)).all(|(a, b)| {
        a.weight && b.weight && a.element.quantised() && a.element == b.element && a.ne[..2] == b.ne[..2]
    });
    let inputs = |pair: Pair| pair.products(nodes).map(|product| graph.at(product).src[1]);
    let ([first, second], [own, other]) = (inputs(routed), inputs(shared));
    let reshaped = graph.at(first);
    let same_input =
        first == second && own == other && (first == own || (reshaped.op == Op::Reshape && reshaped.src[0] == own));
    same_weights && same_input
}

/// The members of a routing group and their operands stay until the node after the group.
fn routing(graph: &Graph, nodes: &[TensorId], start: usize, into: &mut Vec<Hold>) {
    let Some(length) = routing_length(graph, &nodes[start..]) else { return };
    let group = &nodes[start..start + length];
    let experts = graph.at(group[0]).ne[0];
    let counts = (experts.is_power_of_two() && experts <= ROUTED_MAX) || ROUTED_ALSO.contains(&experts);
    let after = start + length;
    if !counts || after >= nodes.len() {
        return;
    }
    for &member in group {
        into.push(Hold { after, tensor: member });
        into.extend(graph.at(member).sources().map(|tensor| Hold { after, tensor }));
    }
}

/// How many nodes from the first on are a routing group: probabilities, the choice, the weights of the chosen, their
/// normalisation and scale.
fn routing_length(graph: &Graph, nodes: &[TensorId]) -> Option<usize> {
    let op = |offset: usize| nodes.get(offset).map(|id| graph.at(*id).op);
    let follow = |from: usize, ops: &[Op]| ops.iter().enumerate().all(|(i, wanted)| op(from + i) == Some(*wanted));
    let mut length = 1;
    if !follow(length, &[Op::Reshape]) {
        return None;
    }
    length += 1;
    if follow(length, &[Op::Add]) {
        length += 1;
    }
    // What is sorted must be the probabilities, with the bias they may have; llama4 sorts logits.
    let sorted = if length > 2 { nodes[length - 1] } else { nodes[0] };
    let sorts_them = nodes.get(length).is_some_and(|sort| graph.at(*sort).src[0] == sorted);
    if !follow(length, &[Op::ArgSort, Op::View, Op::GetRows]) || !sorts_them {
        return None;
    }
    length += 3;
    const NORMALISATION: [Op; 5] = [Op::Reshape, Op::SumRows, Op::Clamp, Op::Div, Op::Reshape];
    if follow(length, &NORMALISATION[..1]) {
        if !follow(length, &NORMALISATION) {
            return Some(length);
        }
        length += NORMALISATION.len();
    }
    if follow(length, &[Op::Scale]) {
        length += 1;
    }
    Some(length)
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
