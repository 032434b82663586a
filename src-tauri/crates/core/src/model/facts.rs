//! Architecture facts read off a header: what the planner needs, per layer.

use serde::{Deserialize, Serialize};

use crate::model::header::{ModelHeader, TensorFacts};
use crate::units::Bytes;

/// One transformer block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFacts {
    /// Attention heads (queries).
    pub heads: u64,
    /// Key/value heads.
    pub heads_kv: u64,
    /// Values per K head.
    pub key_length: u64,
    /// Values per V head.
    pub value_length: u64,
}

/// A model as the planner sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    /// `general.name`, or the file's stem where that is missing.
    pub name: String,
    /// `general.architecture`.
    pub arch: String,
    /// The file's quantisation in words (`Q4_K_M`), from `general.file_type`, else the type that holds most weight bytes.
    pub quant: String,
    /// Context length the model was trained for, tokens.
    pub context_trained: u64,
    /// Width of the residual stream (`n_embd`).
    pub embedding: u64,
    /// Width of the feed-forward part (`n_ff`); the largest over all layers.
    pub feed_forward: u64,
    /// Number of tokens in the vocabulary.
    pub vocab: u64,
    /// Layers in order; `layers.len()` is `block_count`.
    pub layers: Vec<LayerFacts>,
    /// Whether the output projection is the token embedding (no `output.weight`).
    pub tied_output: bool,
    /// The tensor table.
    pub tensors: Vec<TensorFacts>,
    /// Parameters: elements of all weight tensors.
    pub parameters: u64,
    /// Bytes of all files.
    pub file_bytes: Bytes,
    /// Number of files.
    pub shards: u32,
}
