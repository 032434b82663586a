//! A Hugging Face model put together from its configuration and its files' headers.

use std::collections::BTreeMap;

use crate::model::hf::config::HfConfig;
use crate::model::hf::dtype::DType;
use crate::model::hf::layers::LayerKind;
use crate::model::hf::parameters;
use crate::units::Bytes;

/// One tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HfTensor {
    /// Name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Element type as stored.
    pub dtype: DType,
    /// Shape as stored, outermost first; empty for a single value. Packed weights have the shape of their words.
    pub shape: Box<[u64]>,
    /// Bytes in the file, from the offsets.
    pub bytes: u64,
}

impl HfTensor {
    /// Number of stored elements; saturates, though a header's reader refuses shapes that come near.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product, dim| product.saturating_mul(*dim))
    }

    /// The layer `N` of a name `….layers.N.…`, `….h.N.…` or `….blocks.N.…` of the language model; `None` for others.
    #[must_use]
    pub fn layer(&self) -> Option<u64> {
        const TOWERS: [&str; 4] = ["vision", "visual", "audio", "image"];
        if TOWERS.iter().any(|word| self.name.contains(word)) {
            return None;
        }
        let mut parts = self.name.split('.');
        parts.find(|part| matches!(*part, "layers" | "h" | "blocks"))?;
        parts.next()?.parse().ok()
    }
}

/// A model in the form in which it is published on Hugging Face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HfModel {
    /// The folder's name, or the published one where the folder's place tells it.
    pub name: String,
    /// What the configuration says; absent where it is missing or cannot be read, and then `problems` says why.
    pub config: Option<HfConfig>,
    /// All tensors of all files, by name.
    pub tensors: Vec<HfTensor>,
    /// Bytes of the weights by stored type, scales and other companions included.
    pub weight_bytes: BTreeMap<DType, Bytes>,
    /// Parameters: packed weights count what they hold, scales and tables that come with them nothing, a shared output
    /// projection once.
    pub parameters: u64,
    /// Bytes of all weight files, headers included.
    pub file_bytes: Bytes,
    /// Number of weight files.
    pub shards: u32,
    /// What is doubtful, one sentence each.
    pub problems: Vec<String>,
}

impl HfModel {
    /// Puts a model together. `problems` are those found so far; further ones are added.
    #[must_use]
    pub fn assemble(
        name: String,
        config: Option<HfConfig>,
        mut tensors: Vec<HfTensor>,
        file_bytes: Bytes,
        shards: u32,
        mut problems: Vec<String>,
    ) -> Self {
        tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut weight_bytes = BTreeMap::<DType, Bytes>::new();
        for tensor in &tensors {
            match weight_bytes.get_mut(&tensor.dtype) {
                Some(sum) => *sum += Bytes(tensor.bytes),
                None => {
                    weight_bytes.insert(tensor.dtype.clone(), Bytes(tensor.bytes));
                }
            }
        }
        for dtype in weight_bytes.keys().filter(|dtype| dtype.bits().is_none()) {
            problems.push(format!(
                "The tensor type '{dtype}' is not known; such tensors are sized by their place in the file."
            ));
        }
        if let Some(config) = &config {
            contradictions(config, &tensors, &mut problems);
        }
        let parameters = parameters::count(&tensors, config.as_ref(), &mut problems);
        Self { name, config, tensors, weight_bytes, parameters, file_bytes, shards, problems }
    }

    /// A tensor by its full name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&HfTensor> {
        by_name(&self.tensors, name)
    }

    /// Bytes of all tensors, headers excluded.
    #[must_use]
    pub fn weights(&self) -> Bytes {
        self.weight_bytes.values().copied().sum()
    }

    /// The quantisation as models are named (`AWQ 4-bit`, `FP8`), else the type that holds most bytes (`BF16`).
    #[must_use]
    pub fn quant(&self) -> String {
        if let Some(quantisation) = self.config.as_ref().and_then(|config| config.quantisation.as_ref()) {
            return quantisation.to_string();
        }
        let most = self.weight_bytes.iter().max_by_key(|(_, bytes)| **bytes);
        most.map_or_else(|| "no weights".to_owned(), |(dtype, _)| dtype.to_string())
    }

    /// Whether the output projection is the token embedding: as the configuration says, else by the tensors.
    #[must_use]
    pub fn tied_output(&self) -> bool {
        let said = self.config.as_ref().and_then(|config| config.tied_output);
        said.unwrap_or_else(|| !self.tensors.iter().any(|tensor| is_output(&tensor.name)))
    }
}

/// A tensor of a list sorted by name.
pub(super) fn by_name<'a>(tensors: &'a [HfTensor], name: &str) -> Option<&'a HfTensor> {
    tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok().map(|index| &tensors[index])
}

/// The output projection's weight.
pub(super) fn is_output(name: &str) -> bool {
    name == "lm_head.weight" || name.ends_with(".lm_head.weight")
}

/// Where configuration and headers contradict each other: the first of each kind, as a doubt.
fn contradictions(config: &HfConfig, tensors: &[HfTensor], problems: &mut Vec<String>) {
    let layers = config.layers.len() as u64;
    let beyond = tensors
        .iter()
        .filter_map(HfTensor::layer)
        .max()
        .filter(|last| *last >= layers.saturating_add(config.nextn_layers.max(1)));
    if let Some(last) = beyond {
        problems.push(format!(
            "The files hold weights of layer {last} (counted from 0), but config.json says {layers} layers."
        ));
    }
    let embedding = tensors.iter().find(|tensor| {
        tensor.name.ends_with("embed_tokens.weight")
            || tensor.name.ends_with("wte.weight")
            || tensor.name.ends_with("word_embeddings.weight")
    });
    if let Some(embedding) = embedding
        && let [_, width] = *embedding.shape
        && width != config.embedding
        && embedding.dtype.bits().is_some_and(|bits| bits >= 16)
    {
        problems.push(format!(
            "The tensor '{}' is {width} wide, but config.json gives the model the width {}.",
            embedding.name, config.embedding
        ));
    }
    if config.mla.is_some() {
        return;
    }
    let odd = tensors.iter().find_map(|tensor| {
        if !tensor.name.ends_with("self_attn.k_proj.weight") || tensor.dtype.bits()? < 8 {
            return None;
        }
        let layer = config.layers.get(usize::try_from(tensor.layer()?).ok()?)?;
        let must = layer.heads_kv.saturating_mul(layer.head_length);
        let plain = tensor.shape.len() == 2 && tensor.shape[1] == config.embedding && layer.kind != LayerKind::Cross;
        (plain && tensor.shape[0] != must).then_some((tensor, must))
    });
    if let Some((tensor, must)) = odd {
        problems.push(format!(
            "The tensor '{}' has {} rows, but the heads of config.json make {must}.",
            tensor.name, tensor.shape[0]
        ));
    }
}
