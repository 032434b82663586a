//! What can be said of a tensor table without knowing the architecture: what every engine refuses, and what is doubtful.

use std::collections::BTreeMap;

use crate::model::facts::LayerFacts;
use crate::model::ggml::GgmlType;
use crate::model::header::{ModelHeader, TensorFacts};
use crate::model::hparams::{FactsError, Hparams};

/// Refuses tables that no engine loads, whatever the architecture.
pub(super) fn check_tensors(
    header: &ModelHeader,
    hp: &Hparams<'_>,
    embedding: u64,
    layers: &[LayerFacts],
) -> Result<(), FactsError> {
    let count = layers.len() as u64;
    for tensor in &header.tensors {
        if tensor.elements() == 0 {
            return Err(FactsError::EmptyTensor { tensor: tensor.name.clone(), shape: shape(tensor) });
        }
        let Some(layer) = tensor.layer() else { continue };
        let Some((index, facts)) = usize::try_from(layer).ok().and_then(|index| Some((index, layers.get(index)?)))
        else {
            return Err(FactsError::LayerBeyond { tensor: tensor.name.clone(), layer, layers: count });
        };
        if facts.heads == 0 && tensor.name.ends_with(".attn_q.weight") {
            let key = hp.full("attention.head_count");
            return Err(FactsError::NoHeads { layer: index, tensor: tensor.name.clone(), key });
        }
    }
    match token_embedding(header).filter(|tensor| tensor.dims[0] != embedding) {
        Some(tensor) => Err(FactsError::Shape {
            tensor: tensor.name.clone(),
            shape: shape(tensor),
            must: embedding,
            key: hp.full("embedding_length"),
        }),
        None => Ok(()),
    }
}

/// The token embedding, where the table has one.
pub(super) fn token_embedding(header: &ModelHeader) -> Option<&TensorFacts> {
    header.tensors.iter().find(|tensor| tensor.name == "token_embd.weight")
}

/// One doubt per unknown type.
pub(super) fn unknown_types(tensors: &[TensorFacts]) -> Vec<String> {
    let mut unknown = BTreeMap::<GgmlType, (usize, &str)>::new();
    for tensor in tensors.iter().filter(|tensor| tensor.ty.block().is_none()) {
        unknown.entry(tensor.ty).or_insert((0, &tensor.name)).0 += 1;
    }
    unknown
        .into_iter()
        .map(|(ty, (count, first))| {
            let others = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            format!(
                "The tensor '{first}'{others} has the unknown {ty}; its size is taken from its place in the file, and the \
                 engine may refuse it."
            )
        })
        .collect()
}

/// Attention weights whose shape is not what heads and lengths say. Engines check it per architecture; here it is a doubt.
pub(super) fn odd_shapes(tensors: &[TensorFacts], layers: &[LayerFacts]) -> Vec<String> {
    let mut doubts = Vec::new();
    for tensor in tensors {
        let layer = tensor.layer().and_then(|layer| usize::try_from(layer).ok()).and_then(|layer| layers.get(layer));
        let Some(layer) = layer else { continue };
        let must = match tensor.name.rsplit_once(".attn_").map(|(_, part)| part) {
            Some("k.weight") => layer.heads_kv * layer.key_length,
            Some("v.weight") => layer.heads_kv * layer.value_length,
            _ => continue,
        };
        if tensor.dims[1] != must {
            doubts.push(format!(
                "The tensor '{}' has the shape {}, but heads and head length make {must} rows; engines may refuse the file.",
                tensor.name,
                shape(tensor)
            ));
        }
    }
    // A wrong head count shows in every layer; one sentence is enough to say so.
    doubts.truncate(1);
    doubts
}

fn shape(tensor: &TensorFacts) -> String {
    let shown = usize::try_from(tensor.n_dims.clamp(1, 4)).unwrap_or(4);
    tensor.dims[..shown].iter().map(u64::to_string).collect::<Vec<_>>().join(" × ")
}
