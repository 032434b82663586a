//! Leaves out layers that repeat: what a long run of equal layers does to the buffers, a short one shows.
//!
//! A run keeps its first and last [`EDGE`] layers. The rest may go because the scheduler's passes reach at most two layers
//! into a run from either side: each of its four sweeps carries one backend over a layer's border, and a layer, having
//! weights, ends every sweep with a backend of its own. So the layers in the middle are scheduled alike, and if one of them
//! leaves the allocator as it found it, so do any number of them. The allocator checks that at every seam; where it does
//! not hold, the whole graph is built.

use crate::engine::llama_cpp::compute::graph::Backend;
use crate::engine::llama_cpp::compute::model::{ComputeModel, Likeness};
use crate::engine::llama_cpp::compute::setting::Setting;

/// Layers kept at each end of a run: two that the sweeps reach, and two to compare.
const EDGE: usize = 4;

/// The layers to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// Layers in order, the last one always among them.
    pub(super) layers: Vec<usize>,
    /// Positions in `layers` in front of which some were left out.
    pub(super) seams: Vec<usize>,
}

/// Every layer.
pub(super) fn unfolded(model: &ComputeModel) -> Folded {
    Folded { layers: (0..model.layers.len()).collect(), seams: Vec::new() }
}

/// The layers without the middle of runs.
pub(super) fn folded(model: &ComputeModel, set: &Setting) -> Folded {
    // The last layer keeps only rows with outputs: it is never part of a run.
    let last = model.layers.len() - 1;
    let mut folded = Folded { layers: Vec::new(), seams: Vec::new() };
    let mut start = 0;
    while start < last {
        let end = (start + 1..last).find(|layer| !repeats(model, set, *layer)).unwrap_or(last);
        if end - start > 2 * EDGE {
            folded.layers.extend(start..start + EDGE);
            folded.seams.push(folded.layers.len());
            folded.layers.extend(end - EDGE..end);
        } else {
            folded.layers.extend(start..end);
        }
        start = end;
    }
    folded.layers.push(last);
    folded
}

/// Whether the graph treats a layer as it treats the one before.
fn repeats(model: &ComputeModel, set: &Setting, layer: usize) -> bool {
    let (own, before) = (set.units[layer], set.units[layer - 1]);
    let types_matter = own == set.cpu || set.overrides;
    let alike = match model.likeness[layer] {
        Likeness::Different => false,
        Likeness::Shapes => !types_matter,
        Likeness::Types => true,
    };
    let place = |index: Option<usize>| index.map(|index| set.places[index]);
    let same_places = |backend: Backend| {
        !set.overrides
            || backend == own && model.table(layer - 1).pairs(model.table(layer)).all(|(a, b)| place(a) == place(b))
    };
    alike && own == before && same_places(before)
}
