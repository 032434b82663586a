//! Cuts the graph into splits, one backend each, and makes the copies of what crosses between them; then lists what the
//! allocator sees, in its order.
//!
//! Source: pass 5 of `ggml_backend_sched_split_graph` and the graph copy after it (ggml-backend.cpp).

use crate::engine::llama_cpp::compute::assign::{assign, memory};
use crate::engine::llama_cpp::compute::fusion::{self, Hold};
use crate::engine::llama_cpp::compute::graph::{Backend, Graph, Op, Tensor, TensorId, UNASSIGNED};

/// One step of the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The tensor is still needed here.
    Hold(TensorId),
    /// The tensor comes to life here: a node, or a copy at the start of its split.
    Make(TensorId),
    /// The next layer begins.
    Layer,
}

/// What the allocator works on.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Backend of each tensor.
    pub(super) of: Vec<Backend>,
    /// Tensors that are allocated before anything else, in order.
    pub(super) leaves: Vec<TensorId>,
    /// Steps in order.
    pub(super) steps: Vec<Step>,
}

struct Split {
    backend: Backend,
    /// Range in `Graph::nodes`.
    start: usize,
    end: usize,
    /// What is copied at its start, and into what: of several copies, number 0.
    inputs: Vec<(TensorId, TensorId)>,
}

/// Plans the graph's run on GPUs 0 to `cpu` − 1 and the CPU. Operands that cross are replaced by their copies.
/// Nothing where an op can run on none of them.
pub(super) fn schedule(graph: &mut Graph, cpu: Backend, copies: usize, fuses: bool) -> Option<Schedule> {
    let of = assign(graph, cpu);
    if graph.nodes.iter().any(|node| of[node.at()] == UNASSIGNED) {
        return None;
    }
    let backends = usize::from(cpu) + 1;
    let copied = vec![TensorId::NONE; of.len() * backends];
    let mut cutter = Cutter { graph, of, copied, backends, copies, first_leaves: Vec::new(), splits: Vec::new() };
    cutter.cut();
    let Cutter { graph, of, mut first_leaves, splits, .. } = cutter;
    if copies > 1 {
        // The other copies follow number 0 in the list of tensors.
        for split in &splits {
            for (_, copy) in &split.inputs {
                first_leaves.extend((copy.0..).take(copies).map(TensorId));
            }
        }
    }
    first_leaves.extend(&graph.leaves);
    let steps = list(graph, &splits, cpu, fuses);
    Some(Schedule { of, leaves: first_leaves, steps })
}

struct Cutter<'a> {
    graph: &'a mut Graph,
    of: Vec<Backend>,
    /// Copy of each original tensor on each backend.
    copied: Vec<TensorId>,
    backends: usize,
    copies: usize,
    /// All copies of graph inputs, where there are several.
    first_leaves: Vec<TensorId>,
    splits: Vec<Split>,
}

impl Cutter<'_> {
    fn cut(&mut self) {
        if self.copies > 1 {
            for index in 0..self.graph.leaves.len() {
                self.multiply_input(self.graph.leaves[index]);
            }
        }
        let nodes = std::mem::take(&mut self.graph.nodes);
        let first = nodes.iter().find(|id| !self.graph.at(**id).op.is_view());
        let Some(backend) = first.map(|id| self.of[id.at()]) else { return };
        let mut split = Split { backend, start: 0, end: nodes.len(), inputs: Vec::new() };
        for (index, &id) in nodes.iter().enumerate() {
            if self.graph.at(id).op.is_view() {
                continue;
            }
            let backend = self.of[id.at()];
            if backend != split.backend || (!split.inputs.is_empty() && self.needs_foreign_weight(id, backend)) {
                split.end = index;
                let next = Split { backend, start: index, end: nodes.len(), inputs: Vec::new() };
                self.splits.push(std::mem::replace(&mut split, next));
            }
            self.cross(id, &mut split);
        }
        self.splits.push(split);
        self.graph.nodes = nodes;
    }

    /// Whether the node reads a weight from another backend's memory.
    fn needs_foreign_weight(&self, id: TensorId, backend: Backend) -> bool {
        self.graph.at(id).sources().any(|source| self.graph.at(source).weight && self.foreign(source, backend))
    }

    fn foreign(&self, source: TensorId, backend: Backend) -> bool {
        self.of[source.at()] != backend && memory(self.graph, &self.of, source) != backend
    }

    /// Replaces the node's operands that lie elsewhere by copies.
    fn cross(&mut self, id: TensorId, split: &mut Split) {
        let node = *self.graph.at(id);
        for (index, source) in node.sources().enumerate() {
            if self.foreign(source, split.backend) {
                let slot = source.at() * self.backends + usize::from(split.backend);
                if !self.copied[slot].is_some() {
                    self.copied[slot] = self.copy(source, split.backend, self.copies);
                    split.inputs.push((source, self.copied[slot]));
                }
                self.graph.tensors[id.at()].src[index] = self.copied[slot];
            }
        }
    }

    /// A graph input has one tensor per copy on its own backend too, used or not; it is the first of them.
    fn multiply_input(&mut self, input: TensorId) {
        if !self.graph.at(input).input {
            return;
        }
        let backend = self.of[input.at()];
        self.graph.tensors[input.at()].output = true;
        let others = self.copy(input, backend, self.copies - 1);
        self.first_leaves.push(input);
        self.first_leaves.extend((others.0..).take(self.copies - 1).map(TensorId));
    }

    /// `count` tensors with the layout of `source`; gives the first. Where there are several, all stay for ever.
    fn copy(&mut self, source: TensorId, backend: Backend, count: usize) -> TensorId {
        let of = *self.graph.at(source);
        let several = self.copies > 1;
        let copy = Tensor { nb: of.nb, input: several, output: several, ..Tensor::new(Op::Leaf, of.element, of.ne) };
        let first = self.graph.push(copy);
        self.of.push(backend);
        for _ in 1..count {
            self.graph.push(copy);
            self.of.push(backend);
        }
        first
    }
}

/// Steps in order: what crosses into a split, then its nodes, with what the backend's fusions keep alive.
fn list(graph: &mut Graph, splits: &[Split], cpu: Backend, fuses: bool) -> Vec<Step> {
    let mut steps = Vec::with_capacity(graph.nodes.len() * 5 / 4);
    let mut order = std::mem::take(&mut graph.nodes);
    let mut layers = graph.layer_starts.iter().peekable();
    let mut holds: Vec<Hold> = Vec::new();
    for split in splits {
        for &(original, copy) in &split.inputs {
            steps.push(Step::Hold(original));
            steps.push(Step::Make(copy));
        }
        let nodes = &mut order[split.start..split.end];
        holds.clear();
        if fuses && split.backend != cpu {
            fusion::optimise(graph, nodes, &mut holds);
        }
        let mut holds = holds.iter().peekable();
        for (offset, &id) in nodes.iter().enumerate() {
            while layers.next_if(|start| **start == split.start + offset).is_some() {
                steps.push(Step::Layer);
            }
            steps.push(Step::Make(id));
            while let Some(hold) = holds.next_if(|hold| hold.after == offset) {
                steps.push(Step::Hold(hold.tensor));
            }
        }
    }
    graph.nodes = order;
    steps
}
