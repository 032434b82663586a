//! What a configuration leaves out: published multimodal configurations name only what differs from their class's default.
//!
//! Source: the configuration classes of transformers 4.57 (`configuration_<model_type>.py`).

/// Defaults of one class; zero where the class derives the number from others.
pub(super) struct ClassDefaults {
    pub(super) model_type: &'static str,
    pub(super) hidden: u64,
    pub(super) feed_forward: u64,
    pub(super) layers: u64,
    pub(super) heads: u64,
    pub(super) heads_kv: u64,
    pub(super) head_length: u64,
    pub(super) vocab: u64,
    pub(super) context: u64,
}

const fn class(model_type: &'static str, sizes: [u64; 3], heads: [u64; 3], vocab: u64, context: u64) -> ClassDefaults {
    let [hidden, feed_forward, layers] = sizes;
    let [heads, heads_kv, head_length] = heads;
    ClassDefaults { model_type, hidden, feed_forward, layers, heads, heads_kv, head_length, vocab, context }
}

/// Classes that occur inside multimodal configurations.
const CLASSES: [ClassDefaults; 8] = [
    class("llama", [4096, 11008, 32], [32, 0, 0], 32000, 2048),
    class("mistral", [4096, 14336, 32], [32, 8, 0], 32000, 131_072),
    class("qwen2", [4096, 22016, 32], [32, 32, 0], 151_936, 32768),
    class("gemma", [3072, 24576, 28], [16, 16, 256], 256_000, 8192),
    class("gemma2", [2304, 9216, 26], [8, 4, 256], 256_000, 8192),
    class("gemma3_text", [2304, 9216, 26], [8, 4, 256], 262_208, 131_072),
    class("phi3", [3072, 8192, 32], [32, 0, 0], 32064, 4096),
    class("mllama_text_model", [4096, 14336, 40], [32, 8, 0], 128_256, 131_072),
];

pub(super) fn of(model_type: &str) -> Option<&'static ClassDefaults> {
    CLASSES.iter().find(|class| class.model_type == model_type)
}
