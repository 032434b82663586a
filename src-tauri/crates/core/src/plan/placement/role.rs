//! Compute buffers by the part that a GPU plays in the pipeline.

/// Compute buffer of a GPU by its part in the pipeline, bytes.
///
/// From a few layers on it does not depend on where the cuts lie: the buffer is the peak of one layer's work, which
/// repeats, plus what crosses into the device. Only these parts differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByRole {
    /// The only GPU.
    pub only: u64,
    /// The first of several: it also receives embeddings.
    pub first: u64,
    /// Neither first nor last.
    pub middle: u64,
    /// The last of several, with at least one layer.
    pub last: u64,
    /// The last of several, with the output alone.
    pub output_only: u64,
}

/// A GPU's turn among those used.
#[derive(Clone, Copy, Debug)]
pub(in crate::plan) struct Turn {
    /// Position among the used GPUs.
    pub(in crate::plan) at: usize,
    /// How many are used.
    pub(in crate::plan) of: usize,
}

impl ByRole {
    /// Counts in what a GPU needs: the one at a position among those used.
    pub(in crate::plan) fn raise(&mut self, at: usize, of: usize, output_alone: bool, bytes: u64) {
        let own = self.of(Turn { at, of }, output_alone);
        *own = bytes.max(*own);
        // The output alone never takes more than the output behind layers.
        self.last = self.last.max(self.output_only);
    }

    /// The value at `step` of `steps` on the straight line from here to `end`.
    pub(in crate::plan) fn towards(self, end: Self, step: u64, steps: u64) -> Self {
        let at = |from: u64, to: u64| {
            let (from, to) = (i128::from(from), i128::from(to));
            let value = from + (to - from) * i128::from(step) / i128::from(steps.max(1));
            u64::try_from(value).expect("a value between two u64 is one")
        };
        Self {
            only: at(self.only, end.only),
            first: at(self.first, end.first),
            middle: at(self.middle, end.middle),
            last: at(self.last, end.last),
            output_only: at(self.output_only, end.output_only),
        }
    }

    /// The part that a GPU plays in its turn.
    pub(in crate::plan) fn of(&mut self, turn: Turn, output_alone: bool) -> &mut u64 {
        match (turn.at + 1 == turn.of, turn.at == 0) {
            (true, true) => &mut self.only,
            (true, false) if output_alone => &mut self.output_only,
            (true, false) => &mut self.last,
            (false, true) => &mut self.first,
            (false, false) => &mut self.middle,
        }
    }
}
