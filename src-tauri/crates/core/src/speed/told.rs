//! A predicted speed as `estimate` tells it.

use serde::Serialize;

use crate::plan::SpeedPart;
use crate::speed::Predicted;

/// A speed, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SpeedTold {
    /// It can be told.
    Rates(Box<ToldRates>),
    /// It cannot.
    Why {
        /// One sentence.
        why: String,
    },
}

/// Speeds of one request alone, but for `throughput_tokens_per_s`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ToldRates {
    /// Reading a prompt of `prompt_tokens` behind `depth_tokens`.
    pub prefill_tokens_per_s: Predicted,
    /// Making tokens behind `depth_tokens`.
    pub decode_tokens_per_s: Predicted,
    /// Making tokens for all requests at once; absent where not several were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput_tokens_per_s: Option<Predicted>,
    /// Length of the prompt.
    pub prompt_tokens: u64,
    /// Tokens already in the cache.
    pub depth_tokens: u64,
    /// Where the time of a token that is made goes, largest first.
    pub parts: Vec<SpeedPart>,
    /// What the numbers rest on, one sentence.
    pub basis: String,
    /// What is not counted, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
