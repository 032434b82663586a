//! What each layer attends to. Rules per class are those of transformers 4.57 (`configuration_*.py`, `modeling_*.py`).

use serde_json::Value;

use crate::model::facts::{CONTEXT_MAX, LAYERS_MAX};
use crate::model::hf::fields::Fields;

/// What a layer keeps of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// K and V of every token.
    Full,
    /// K and V of the last `window` tokens.
    Sliding {
        /// Tokens.
        window: u64,
    },
    /// K and V of the tokens since the last multiple of `chunk`.
    Chunked {
        /// Tokens.
        chunk: u64,
    },
    /// K and V of an image's tokens, not of the text's.
    Cross,
    /// A state of fixed size (Mamba, linear attention, convolution).
    Recurrent,
    /// A state of fixed size, and K and V of every token beside it.
    Hybrid,
    /// Nothing: a feed-forward part alone.
    Stateless,
}

impl LayerKind {
    /// Whether the layer keeps K and V of the text's tokens.
    #[must_use]
    pub const fn has_kv(self) -> bool {
        matches!(self, Self::Full | Self::Sliding { .. } | Self::Chunked { .. } | Self::Hybrid)
    }
}

/// One layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HfLayer {
    /// What it keeps.
    pub kind: LayerKind,
    /// Key/value heads; zero where it keeps no K and V.
    pub heads_kv: u64,
    /// Values per head.
    pub head_length: u64,
}

/// The kind of each of `count` layers.
pub(super) fn kinds(fields: &mut Fields<'_>, model_type: &str, count: usize) -> Vec<LayerKind> {
    let window = window(fields, model_type);
    let sliding = window.map_or(LayerKind::Full, |window| LayerKind::Sliding { window });
    let chunk = fields.number(&["attention_chunk_size"], 1..=CONTEXT_MAX);
    let chunked = chunk.map_or(LayerKind::Full, |chunk| LayerKind::Chunked { chunk });
    if let Some(kinds) = by_list(fields, count, sliding, chunked) {
        return kinds;
    }
    if let Some(kinds) = by_pattern(fields, count, sliding) {
        return kinds;
    }
    if let Some(cross) = fields.array("cross_attention_layers") {
        let is_cross = |layer: usize| cross.iter().any(|value| value.as_u64() == u64::try_from(layer).ok());
        return (0..count).map(|layer| if is_cross(layer) { LayerKind::Cross } else { LayerKind::Full }).collect();
    }
    by_class(fields, model_type, count, sliding, chunked)
}

/// The sliding window, where it is in force.
fn window(fields: &mut Fields<'_>, model_type: &str) -> Option<u64> {
    // Qwen2 configurations carry a window that is switched off.
    if fields.flag("use_sliding_window") == Some(false) {
        return None;
    }
    let window = fields.number(&["sliding_window", "sliding_window_size"], 1..=CONTEXT_MAX);
    // Gemma3TextConfig and Gemma2Config: sliding_window = 4096.
    window.or_else(|| matches!(model_type, "gemma2" | "gemma3_text" | "gemma3n_text").then_some(4096))
}

/// `layer_types` and its older names: one word per layer.
fn by_list(fields: &mut Fields<'_>, count: usize, sliding: LayerKind, chunked: LayerKind) -> Option<Vec<LayerKind>> {
    let key = ["layer_types", "layers_block_type", "block_types"]
        .into_iter()
        .find(|key| matches!(fields.get(&[key]), Some((_, Value::Array(_)))))?;
    let words = fields.array(key)?;
    if words.len() != count {
        // Griffin's block_types is a pattern that repeats.
        if key != "block_types" || words.is_empty() {
            fields.say(key, &format!("has {} values, but must have {count}: one per layer", words.len()));
            return None;
        }
    }
    let mut unknown = None;
    let kinds = words
        .iter()
        .cycle()
        .take(count)
        .map(|word| match word.as_str().unwrap_or_default() {
            "full_attention" | "attention" | "global" | "full" | "minimax_m2" => LayerKind::Full,
            "sliding_attention" | "local" | "sliding" => sliding,
            "chunked_attention" => chunked,
            "linear_attention" | "mamba" | "mamba2" | "recurrent" | "conv" | "lightning_attention" => {
                LayerKind::Recurrent
            }
            "hybrid" => LayerKind::Hybrid,
            "mlp" | "moe" => LayerKind::Stateless,
            _ => {
                unknown.get_or_insert(word);
                LayerKind::Full
            }
        })
        .collect();
    if let Some(word) = unknown {
        fields.say(
            key,
            &format!("has the layer type {word}, which is not known; such layers are counted with full attention"),
        );
    }
    Some(kinds)
}

/// One letter per layer, or a period.
fn by_pattern(fields: &mut Fields<'_>, count: usize, sliding: LayerKind) -> Option<Vec<LayerKind>> {
    // Nemotron-H: M Mamba-2, * attention, - feed-forward, E experts.
    if let Some(Value::String(pattern)) = fields.get(&["hybrid_override_pattern"]).map(|(_, value)| value) {
        let kinds: Vec<LayerKind> = pattern
            .chars()
            .map(|letter| match letter {
                'M' => LayerKind::Recurrent,
                '*' => LayerKind::Full,
                _ => LayerKind::Stateless,
            })
            .collect();
        if kinds.len() == count {
            return Some(kinds);
        }
        fields.say(
            "hybrid_override_pattern",
            &format!("has {} letters, but must have {count}: one per layer", kinds.len()),
        );
        return None;
    }
    let every = |period: u64, offset: u64, hit: LayerKind, miss: LayerKind| {
        (0..count as u64).map(|layer| if layer % period == offset { hit } else { miss }).collect()
    };
    // EXAONE 4: one letter per layer of a group, L local and G global.
    if let Some((_, Value::String(letters))) = fields.get(&["sliding_window_pattern"]) {
        let letters: Vec<char> = letters.chars().collect();
        let global = |layer: usize| letters.get(layer % letters.len().max(1)) == Some(&'G') || layer + 1 == count;
        return Some((0..count).map(|layer| if global(layer) { LayerKind::Full } else { sliding }).collect());
    }
    // Gemma 3 and Cohere 2: the last of each period is global.
    if let Some(period) = fields.number(&["sliding_window_pattern", "_sliding_window_pattern"], 1..=LAYERS_MAX) {
        return Some(every(period, period - 1, LayerKind::Full, sliding));
    }
    // Qwen3-Next: the last of each period is full attention.
    if let Some(period) = fields.number(&["full_attention_interval"], 1..=LAYERS_MAX) {
        return Some(every(period, period - 1, LayerKind::Full, LayerKind::Recurrent));
    }
    // Jamba.
    let period = fields.number(&["attn_layer_period"], 1..=LAYERS_MAX)?;
    let offset = fields.number(&["attn_layer_offset"], 0..=LAYERS_MAX).unwrap_or(0);
    Some(every(period, offset, LayerKind::Full, LayerKind::Recurrent))
}

/// Rules that are in the class's code and not in the file.
fn by_class(
    fields: &mut Fields<'_>,
    model_type: &str,
    count: usize,
    sliding: LayerKind,
    chunked: LayerKind,
) -> Vec<LayerKind> {
    let choose = |full: &dyn Fn(usize) -> bool, other| {
        (0..count).map(|layer| if full(layer) { LayerKind::Full } else { other }).collect()
    };
    match model_type {
        "gemma2" => choose(&|layer| layer % 2 == 1, sliding),
        "gemma3_text" => choose(&|layer| layer % 6 == 5, sliding),
        "gemma3n_text" => choose(&|layer| layer % 5 == 4, sliding),
        "cohere2" => choose(&|layer| layer % 4 == 3, sliding),
        "gpt_oss" => choose(&|layer| layer % 2 == 1, sliding),
        // Llama4TextConfig: no_rope_layer_interval = 4; the layers without positions are global.
        "llama4_text" => choose(&|layer| layer % 4 == 3, chunked),
        "mamba" | "mamba2" | "falcon_mamba" | "rwkv" | "rwkv7" => vec![LayerKind::Recurrent; count],
        "falcon_h1" => vec![LayerKind::Hybrid; count],
        "qwen2" | "qwen2_moe" | "qwen3" | "qwen3_moe" => {
            // Layers before max_window_layers are full (Qwen2Config.layer_types).
            let first = fields.number(&["max_window_layers"], 0..=LAYERS_MAX);
            let first = first.and_then(|first| usize::try_from(first).ok()).unwrap_or(28);
            // Without use_sliding_window the window is off in these classes.
            let on = fields.flag("use_sliding_window") == Some(true);
            choose(&|layer| !on || layer < first, sliding)
        }
        _ => vec![sliding; count],
    }
}
