//! Builds a model's graph once, to find out whether its tensors are those of the architecture.

use crate::engine::llama_cpp::compute::Unplanned;
use crate::engine::llama_cpp::compute::model::ComputeModel;
use crate::engine::llama_cpp::compute::setting::Setting;
use crate::engine::llama_cpp::compute::weights::Name;

/// Builds the graph on one GPU.
///
/// # Errors
/// Tensors that are missing, do not fit, or have no place in the graph.
pub(super) fn build(model: &ComputeModel) -> Result<(), Unplanned> {
    let set = Setting::trial(model);
    let layers: Vec<usize> = (0..model.arch.layers.len()).collect();
    let mut b = model.graph(&set, set.batches[0], &layers);
    if let Some(fault) = b.fault.take() {
        return Err(fault);
    }
    let strange = b.unused().map(|index| &model.weights[index]).find(|weight| match (weight.name, weight.layer) {
        // Which of them serve depends on the context; what classifies is not computed.
        (Name::RopeFactorsLong | Name::RopeFactorsShort | Name::Cls | Name::ClsOutput, None) => false,
        // The token embedding serves as output projection on another device.
        (Name::TokenEmbd, None) => false,
        // Layers that read another's cache have these tensors all the same.
        (Name::AttnK | Name::AttnV | Name::AttnKNorm, Some(layer)) => {
            model.attention(layer).is_none_or(|attention| attention.owns_cache())
        }
        _ => true,
    });
    match strange {
        Some(weight) => Err(Unplanned::Tensor { name: weight.text.clone() }),
        None => Ok(()),
    }
}
