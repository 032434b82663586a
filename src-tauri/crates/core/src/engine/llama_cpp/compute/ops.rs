//! Ops of graphs. The shapes are ggml's own (`ggml.c`, the function of the same name as the op).

use crate::engine::llama_cpp::compute::Unplanned;
use crate::engine::llama_cpp::compute::build::Builder;
use crate::engine::llama_cpp::compute::element::Element;
use crate::engine::llama_cpp::compute::graph::{Op, SOURCES_MAX, Tensor, TensorId};

impl Builder<'_> {
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
        self.demand(a, a_ne[0] == b_ne[0], b_ne);
        self.node(Op::MulMat, Element::F32, [a_ne[1], b_ne[1], b_ne[2], b_ne[3]], &[a, b])
    }

    pub(super) fn mul_mat_id(&mut self, a: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        self.demand(a, self.ne(a)[0] == self.ne(b)[0], self.ne(b));
        let ne = [self.ne(a)[1], self.ne(ids)[0], self.ne(b)[2], 1];
        self.node(Op::MulMatId, Element::F32, ne, &[a, b, ids])
    }

    pub(super) fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.broadcast(Op::Add, a, b)
    }

    pub(super) fn mul(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.broadcast(Op::Mul, a, b)
    }

    pub(super) fn sub(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.broadcast(Op::Sub, a, b)
    }

    pub(super) fn div(&mut self, a: TensorId, b: TensorId) -> TensorId {
        self.broadcast(Op::Div, a, b)
    }

    /// An op on two operands of which the second is repeated to the shape of the first.
    fn broadcast(&mut self, op: Op, a: TensorId, b: TensorId) -> TensorId {
        let (a_ne, b_ne) = (self.ne(a), self.ne(b));
        let repeats = a_ne.iter().zip(b_ne).all(|(n, m)| n.is_multiple_of(m));
        self.demand(b, repeats, a_ne);
        self.like(op, &[a, b])
    }

    pub(super) fn scale(&mut self, a: TensorId) -> TensorId {
        self.like(Op::Scale, &[a])
    }

    pub(super) fn unary(&mut self, a: TensorId) -> TensorId {
        self.like(Op::Unary, &[a])
    }

    pub(super) fn sigmoid(&mut self, a: TensorId) -> TensorId {
        self.like(Op::Sigmoid, &[a])
    }

    /// Caps values: scale, tanh, scale.
    pub(super) fn cap(&mut self, a: TensorId) -> TensorId {
        let small = self.scale(a);
        let bent = self.unary(small);
        self.scale(bent)
    }

    /// A gated unit over two operands.
    pub(super) fn glu(&mut self, gate: TensorId, up: TensorId) -> TensorId {
        self.like(Op::Glu, &[gate, up])
    }

    /// A gated unit whose gate is the first half of its operand.
    pub(super) fn glu_of_halves(&mut self, a: TensorId) -> TensorId {
        let [n0, n1, n2, n3] = self.ne(a);
        self.node(Op::Glu, Element::F32, [n0 / 2, n1, n2, n3], &[a])
    }

    pub(super) fn add_id(&mut self, a: TensorId, b: TensorId, ids: TensorId) -> TensorId {
        self.like(Op::AddId, &[a, b, ids])
    }

    /// `a` over and over until it has the shape.
    pub(super) fn repeat(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        self.node(Op::Repeat, Element::F32, ne, &[a])
    }

    /// `b` behind `a` along a dimension.
    pub(super) fn concat(&mut self, a: TensorId, b: TensorId, dimension: usize) -> TensorId {
        let mut ne = self.ne(a);
        ne[dimension] += self.ne(b)[dimension];
        self.node(Op::Concat, Element::F32, ne, &[a, b])
    }

    /// `a` with `more` zeros at the end of every row.
    pub(super) fn pad(&mut self, a: TensorId, more: u64) -> TensorId {
        let [n0, n1, n2, n3] = self.ne(a);
        self.node(Op::Pad, Element::F32, [n0 + more, n1, n2, n3], &[a])
    }

    /// `a` in another element type.
    pub(super) fn cast(&mut self, a: TensorId, element: Element) -> TensorId {
        let ne = self.ne(a);
        self.node(Op::Copy, element, ne, &[a])
    }

    pub(super) fn mean(&mut self, a: TensorId) -> TensorId {
        let ne = self.ne(a);
        self.node(Op::Mean, Element::F32, [1, ne[1], ne[2], ne[3]], &[a])
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

    /// A window of up to four dimensions; strides of dimensions 1 to 3 in values. Those not given are as in `ggml_view_1d` to
    /// `ggml_view_4d`: the dimensions before without a gap. Where a window begins changes nothing here.
    pub(super) fn view(&mut self, a: TensorId, ne: &[u64], strides: &[u64]) -> TensorId {
        let element = self.graph.at(a).element;
        let mut full = [1; 4];
        full[..ne.len()].copy_from_slice(ne);
        let mut nb = [element.bytes, element.row(full[0]), 0, 0];
        for dimension in 1..4 {
            nb[dimension] = match strides.get(dimension - 1) {
                Some(stride) => element.row(*stride),
                None if dimension == 1 => nb[1],
                None => nb[dimension - 1].saturating_mul(full[dimension - 1]),
            };
        }
        self.view_of(Op::View, a, full, nb, &[a])
    }

    pub(super) fn reshape(&mut self, a: TensorId, ne: [u64; 4]) -> TensorId {
        let elements = ne.iter().fold(1_u64, |product, n| product.saturating_mul(*n));
        self.demand(a, elements == self.graph.at(a).elements(), ne);
        let nb = self.graph.at(a).element.strides(ne);
        self.view_of(Op::Reshape, a, ne, nb, &[a])
    }

    /// Dimension `i` becomes dimension `to[i]`.
    pub(super) fn permute(&mut self, a: TensorId, to: [usize; 4]) -> TensorId {
        let of = *self.graph.at(a);
        let (mut ne, mut nb) = ([0; 4], [0; 4]);
        for (from, to) in to.into_iter().enumerate() {
            (ne[to], nb[to]) = (of.ne[from], of.nb[from]);
        }
        self.view_of(Op::Permute, a, ne, nb, &[a])
    }

    /// Swaps dimensions 1 and 2.
    pub(super) fn swap_heads(&mut self, a: TensorId) -> TensorId {
        self.permute(a, [0, 2, 1, 3])
    }

    /// Scaled where it lies.
    pub(super) fn scale_in_place(&mut self, a: TensorId) -> TensorId {
        let (ne, nb) = (self.graph.at(a).ne, self.graph.at(a).nb);
        self.view_of(Op::Scale, a, ne, nb, &[a])
    }

    /// Copies `x` into `into`; the result is a view of `into`.
    pub(super) fn copy_into(&mut self, x: TensorId, into: TensorId) -> TensorId {
        let (ne, nb) = (self.graph.at(into).ne, self.graph.at(into).nb);
        self.view_of(Op::Copy, into, ne, nb, &[x, into])
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

    /// Notes a fault where a weight (or what came of it) does not fit its op.
    fn demand(&mut self, operand: TensorId, fits: bool, other: [u64; 4]) {
        if fits || self.fault.is_some() {
            return;
        }
        let mut culprit = operand;
        while let Some(source) = self.graph.at(culprit).sources().next() {
            culprit = source;
        }
        let name = self.name_of(culprit).unwrap_or("of an input").to_owned();
        self.note(Unplanned::Shape { name, found: self.ne(culprit), other });
    }
}
