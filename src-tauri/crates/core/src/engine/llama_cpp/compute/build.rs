//! Makes nodes. A call makes a tensor; it enters the order only through [`Builder::expand`], as in
//! `ggml_build_forward_expand`: depth first, sources left to right, a node after its sources, each once.
//!
//! The shapes are ggml's own (`ggml.c`, the function of the same name as the op). Nothing here knows an architecture.

use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::graph::{Backend, Graph, Op, SOURCES_MAX, Tensor, TensorId, UNASSIGNED};
use crate::engine::llama_cpp::compute::model::{ComputeModel, LayerShape};
use crate::engine::llama_cpp::compute::setting::{Batch, Setting};
use crate::engine::llama_cpp::compute::weights::{Name, Part};

/// A graph under construction, with the model, the flags and the batch it is for.
pub(super) struct Builder<'a> {
    /// The model.
    pub(super) model: &'a ComputeModel,
    /// What the flags made of it.
    pub(super) set: &'a Setting,
    /// The batch.
    pub(super) batch: Batch,
    /// The graph so far.
    pub(super) graph: Graph,
    /// The layer that unqualified weights belong to; absent in front of the first and behind the last.
    layer: Option<usize>,
    /// Leaf of each weight, once it was asked for.
    weight_leaves: Vec<TensorId>,
    /// Leaf of the rope factors on each backend: the engine copies them to every device with a layer that uses them.
    rope_leaves: Vec<TensorId>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(model: &'a ComputeModel, set: &'a Setting, batch: Batch) -> Self {
        Self {
            model,
            set,
            batch,
            graph: Graph::default(),
            layer: None,
            weight_leaves: vec![TensorId::NONE; model.weights.len()],
            rope_leaves: vec![TensorId::NONE; usize::from(set.cpu) + 1],
        }
    }

    /// Starts layer `index`: its number names the weights asked for.
    pub(super) fn begin_layer(&mut self, index: usize) {
        self.layer = Some(index);
        self.graph.layer_starts.push(self.graph.nodes.len());
    }

    /// Ends the last layer.
    pub(super) fn end_layers(&mut self) {
        self.layer = None;
        self.graph.layer_starts.push(self.graph.nodes.len());
    }

    /// Head counts and sizes of the layer begun.
    pub(super) fn shape(&self) -> &'a LayerShape {
        &self.model.layers[self.layer.expect("a layer was begun")]
    }

    /// The backend of the layer begun.
    fn layer_backend(&self) -> Backend {
        self.set.units[self.layer.expect("a layer was begun")]
    }

    pub(super) fn ne(&self, id: TensorId) -> [u64; 4] {
        self.graph.at(id).ne
    }

    /// A stride in values of `f32`.
    pub(super) fn stride(&self, id: TensorId, dimension: usize) -> u64 {
        self.graph.at(id).nb[dimension] / Element::F32.bytes
    }

    // --- leaves ---

    /// A graph input: filled by the engine, on the CPU.
    pub(super) fn input(&mut self, element: Element, ne: [u64; 4]) -> TensorId {
        self.graph.push(Tensor { input: true, ..Tensor::new(Op::Leaf, element, ne) })
    }

    /// Whether the layer begun (or the model, outside of layers) has this tensor.
    pub(super) fn has(&self, name: Name, part: Part) -> bool {
        self.model.find(self.layer, name, part).is_some()
    }

    /// A weight of the layer begun, or of the model outside of layers.
    pub(super) fn weight(&mut self, name: Name, part: Part) -> TensorId {
        let index = self.model.find(self.layer, name, part).expect("checked when the model was read");
        self.weight_at(index)
    }

    /// A weight of the model, wherever we are.
    pub(super) fn global(&mut self, name: Name) -> Option<TensorId> {
        let index = self.model.find(None, name, Part::Weight)?;
        Some(self.weight_at(index))
    }

    fn weight_at(&mut self, index: usize) -> TensorId {
        if !self.weight_leaves[index].is_some() {
            self.weight_leaves[index] = self.weight_copy(index, self.set.places[index]);
        }
        self.weight_leaves[index]
    }

    /// The weight on a given backend, as a tensor of its own.
    fn weight_copy(&mut self, index: usize, home: Backend) -> TensorId {
        let weight = &self.model.weights[index];
        self.graph.push(Tensor { home, weight: true, ..Tensor::new(Op::Leaf, weight.element, weight.ne) })
    }

    /// The output projection: its own tensor, or a second copy of the token embedding on the output's device.
    pub(super) fn output_projection(&mut self) -> TensorId {
        if let Some(own) = self.global(Name::Output) {
            return own;
        }
        let index = self.model.find(None, Name::TokenEmbd, Part::Weight).expect("checked when the model was read");
        let home = self.set.tied_output;
        if home == self.set.places[index] { self.weight_at(index) } else { self.weight_copy(index, home) }
    }

    /// The rope factors for the layer begun, where the model has any.
    pub(super) fn rope_factors(&mut self) -> Option<TensorId> {
        let index = self.model.find(None, Name::RopeFreqs, Part::Weight)?;
        let home = self.set.rope_factors.unwrap_or_else(|| self.layer_backend());
        let slot = usize::from(home);
        if !self.rope_leaves[slot].is_some() {
            self.rope_leaves[slot] = self.weight_copy(index, home);
        }
        Some(self.rope_leaves[slot])
    }

    /// A cache of the layer begun: `[row, cells, streams]`.
    pub(super) fn cache(&mut self, element: Element, row: u64) -> TensorId {
        let home = if self.set.kv_on_host { self.set.cpu } else { self.layer_backend() };
        let ne = [row, self.set.cells, self.set.streams, 1];
        self.graph.push(Tensor { home, ..Tensor::new(Op::Leaf, element, ne) })
    }

    // --- nodes with memory of their own ---

    pub(super) fn node(&mut self, op: Op, element: Element, ne: [u64; 4], sources: &[TensorId]) -> TensorId {
        let mut src = [TensorId::NONE; SOURCES_MAX];
        src[..sources.len()].copy_from_slice(sources);
        self.graph.push(Tensor { src, ..Tensor::new(op, element, ne) })
    }

    /// An op whose result has the shape of its first operand.
    pub(super) fn like(&mut self, op: Op, sources: &[TensorId]) -> TensorId {
        let first = self.graph.at(sources[0]);
        let (element, ne) = (first.element, first.ne);
        self.node(op, element, ne, sources)
    }

    pub(super) fn mul_mat(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let (a_ne, b_ne) = (self.ne(a), self.ne(b));
        self.node(Op::MulMat, Element::F32, [a_ne[1], b_ne[1], b_ne[2], b_ne[3]], &[a, b])
    }

    pub(super) fn mul_mat_id(&mut self, a: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        let ne = [self.ne(a)[1], self.ne(ids)[0], self.ne(b)[2], 1];
        self.node(Op::MulMatId, Element::F32, ne, &[a, b, ids])
    }

    pub(super) fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.like(Op::Add, &[a, b])
    }

    pub(super) fn mul(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.like(Op::Mul, &[a, b])
    }

    pub(super) fn get_rows(&mut self, a: TensorId, rows: TensorId) -> TensorId {
        let ids = self.ne(rows);
        self.node(Op::GetRows, Element::F32, [self.ne(a)[0], ids[0], ids[1], ids[2]], &[a, rows])
    }

    pub(super) fn sum_rows(&mut self, a: TensorId) -> TensorId {
        let ne = self.ne(a);
        self.node(Op::SumRows, Element::F32, [1, ne[1], ne[2], ne[3]], &[a])
    }

    pub(super) fn arg_sort(&mut self, a: TensorId) -> TensorId {
        let ne = self.ne(a);
        self.node(Op::ArgSort, Element::I32, ne, &[a])
    }

    /// A contiguous copy in a shape of the same number of elements.
    pub(super) fn cont(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let element = self.graph.at(a).element;
        self.node(Op::Cont, element, ne, &[a])
    }

    // --- views ---

    fn view_of(&mut self, op: Op, a: TensorId, ne: [u64; 4], nb: [u64; 4], sources: &[TensorId]) -> TensorId {
        let of = self.graph.at(a);
        let (element, base) = (of.element, if of.base.is_some() { of.base } else { a });
        let mut src = [TensorId::NONE; SOURCES_MAX];
        src[..sources.len()].copy_from_slice(sources);
        self.graph.push(Tensor { nb, src, base, ..Tensor::new(op, element, ne) })
    }

    /// A window; `strides` of dimensions 1 to 3 in values.
    pub(super) fn view(&mut self, a: TensorId, ne: [u64; 4], strides: [u64; 3]) -> TensorId {
        let element = self.graph.at(a).element;
        let nb = [element.bytes, element.row(strides[0]), element.row(strides[1]), element.row(strides[2])];
        self.view_of(Op::View, a, ne, nb, &[a])
    }

    pub(super) fn reshape(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let nb = self.graph.at(a).element.strides(ne);
        self.view_of(Op::Reshape, a, ne, nb, &[a])
    }

    /// Swaps dimensions 1 and 2.
    pub(super) fn swap_heads(&mut self, a: TensorId) -> TensorId {
        let of = self.graph.at(a);
        let ([n0, n1, n2, n3], [b0, b1, b2, b3]) = (of.ne, of.nb);
        self.view_of(Op::Permute, a, [n0, n2, n1, n3], [b0, b2, b1, b3], &[a])
    }

    /// Swaps dimensions 0 and 1.
    pub(super) fn transpose(&mut self, a: TensorId) -> TensorId {
        let of = self.graph.at(a);
        let ([n0, n1, n2, n3], [b0, b1, b2, b3]) = (of.ne, of.nb);
        self.view_of(Op::Transpose, a, [n1, n0, n2, n3], [b1, b0, b2, b3], &[a])
    }

    /// Writes rows of `x` into `into`; the result is a view of `into`.
    pub(super) fn set_rows(&mut self, into: TensorId, x: TensorId, rows: TensorId) -> TensorId {
        let (ne, nb) = (self.graph.at(into).ne, self.graph.at(into).nb);
        self.view_of(Op::SetRows, into, ne, nb, &[x, rows, into])
    }

    // --- marks ---

    /// Pins a node to the backend of the layer begun, where this batch pins norms.
    pub(super) fn pin_to_layer(&mut self, id: TensorId) {
        let pin = if self.batch.pin_norms { self.layer_backend() } else { UNASSIGNED };
        self.graph.tensors[id.at()].pin = pin;
    }

    pub(super) fn pin_to_cpu(&mut self, id: TensorId) {
        self.graph.tensors[id.at()].pin = self.set.cpu;
    }

    pub(super) fn mark_output(&mut self, id: TensorId) {
        self.graph.tensors[id.at()].output = true;
    }

    /// Puts a tensor, and what it needs, into the order of the graph.
    pub(super) fn expand(&mut self, id: TensorId) {
        let tensor = &mut self.graph.tensors[id.at()];
        if tensor.listed {
            return;
        }
        tensor.listed = true;
        let (op, sources) = (tensor.op, tensor.sources());
        for source in sources {
            self.expand(source);
        }
        if op == Op::Leaf { self.graph.leaves.push(id) } else { self.graph.nodes.push(id) }
    }
}
