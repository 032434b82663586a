//! Weights of each unit (layers, then the output) on a GPU, summed up so that any run of units is one subtraction.

use crate::engine::llama_cpp::arch::Arch;
use crate::engine::llama_cpp::flags::Place;
use crate::engine::llama_cpp::refused::Refused;
use crate::engine::llama_cpp::weights::{Part, TOKEN_EMBEDDING, bytes_at, is_expert, lacks_kernel, part_of};
use crate::model::ModelFacts;

/// Weights of a model that lies on GPUs as a whole, but for the embeddings that are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnitWeights {
    /// Bytes of all units before each unit; one entry more than units.
    pub(crate) before: Vec<u64>,
    /// Of those, routed experts.
    pub(crate) experts_before: Vec<u64>,
    /// Bytes of the rope factors, of which each GPU has a copy that has a layer which reads them.
    pub(crate) factors: u64,
    /// Layers that read them before each unit; one entry more than units.
    readers_before: Vec<usize>,
}

impl UnitWeights {
    /// Sums up a model's weights.
    ///
    /// # Errors
    /// Tensors that belong to no part, and unknown element types.
    pub(super) fn new(model: &ModelFacts, arch: &Arch) -> Result<Self, Refused> {
        let gpu = Place::Gpu(0);
        let output = arch.layer_count;
        let mut own = vec![0_u64; output + 1];
        let mut experts = vec![0_u64; output + 1];
        let mut factors = 0_u64;
        for tensor in &model.tensors {
            let part = part_of(arch, &tensor.name)?;
            let sum = match part {
                Part::Layer(layer) if layer >= arch.layers.len() => continue,
                Part::Layer(_) if lacks_kernel(model, arch, &tensor.name, tensor.dims) => continue,
                Part::Layer(layer) => &mut own[layer],
                Part::Output => &mut own[output],
                Part::Input if arch.tied && tensor.name == TOKEN_EMBEDDING => &mut own[output],
                Part::Input => continue,
                Part::RopeFactors => &mut factors,
            };
            let bytes = bytes_at(tensor, gpu)?;
            *sum = sum.saturating_add(bytes);
            if let Part::Layer(layer) = part
                && is_expert(&tensor.name)
            {
                experts[layer] = experts[layer].saturating_add(bytes);
            }
        }
        let (mut before, mut experts_before, mut readers_before) = (vec![0_u64], vec![0_u64], vec![0]);
        let (mut bytes, mut of_experts, mut readers) = (0_u64, 0_u64, 0);
        for (unit, (own, experts)) in own.into_iter().zip(experts).enumerate() {
            bytes = bytes.saturating_add(own);
            of_experts = of_experts.saturating_add(experts);
            readers += usize::from(arch.layers.get(unit).is_some_and(|layer| layer.rope_factors));
            before.push(bytes);
            experts_before.push(of_experts);
            readers_before.push(readers);
        }
        Ok(Self { before, experts_before, factors, readers_before })
    }

    /// Number of units.
    pub(super) fn count(&self) -> usize {
        self.before.len() - 1
    }

    /// Bytes of the units `begin..end` on one GPU.
    pub(super) fn between(&self, begin: usize, end: usize) -> u64 {
        let reads = self.readers_before[end] > self.readers_before[begin];
        let factors = if reads { self.factors } else { 0 };
        (self.before[end] - self.before[begin]).saturating_add(factors)
    }

    /// Bytes of the output part where it is among the units before `end`.
    pub(super) fn output_before(&self, end: usize) -> u64 {
        let units = self.count();
        if end == units { self.before[units] - self.before[units - 1] } else { 0 }
    }
}
