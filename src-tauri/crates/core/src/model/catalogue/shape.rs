//! What of a model's configuration decides its tensors.

/// A family of models: tensors of the same names and shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Llama, Mistral, Mixtral and what shares their form.
    Llama,
    /// Ministral 3.
    Mistral3,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3.
    Qwen3,
    /// Qwen 3 with experts.
    Qwen3Moe,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3.
    Gemma3,
    /// Phi 3 and 4.
    Phi3,
    /// DeepSeek V2.
    DeepSeek2,
    /// gpt-oss.
    GptOss,
    /// GLM 4 of 2025.
    Glm4,
    /// Command R.
    CommandR,
    /// Command R7B.
    Cohere2,
    /// OLMo 2.
    Olmo2,
    /// Granite 3.
    Granite,
    /// SmolLM 3.
    SmolLm3,
    /// Seed OSS.
    SeedOss,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 17] = [
        Self::Llama,
        Self::Mistral3,
        Self::Qwen2,
        Self::Qwen3,
        Self::Qwen3Moe,
        Self::Gemma2,
        Self::Gemma3,
        Self::Phi3,
        Self::DeepSeek2,
        Self::GptOss,
        Self::Glm4,
        Self::CommandR,
        Self::Cohere2,
        Self::Olmo2,
        Self::Granite,
        Self::SmolLm3,
        Self::SeedOss,
    ];

    /// `general.architecture`.
    #[must_use]
    pub const fn arch(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral3 => "mistral3",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3moe",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
            Self::DeepSeek2 => "deepseek2",
            Self::GptOss => "gpt-oss",
            Self::Glm4 => "glm4",
            Self::CommandR => "command-r",
            Self::Cohere2 => "cohere2",
            Self::Olmo2 => "olmo2",
            Self::Granite => "granite",
            Self::SmolLm3 => "smollm3",
            Self::SeedOss => "seed_oss",
        }
    }

    /// The family of an architecture's name.
    #[must_use]
    pub fn from_arch(arch: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.arch() == arch)
    }

    /// Whether every model of the family has experts, never, or either.
    #[must_use]
    pub const fn experts(self) -> Option<bool> {
        match self {
            Self::Llama => None,
            Self::Qwen3Moe | Self::DeepSeek2 | Self::GptOss => Some(true),
            _ => Some(false),
        }
    }
}

/// Experts of a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experts {
    /// Experts per layer.
    pub count: u64,
    /// Used per token.
    pub used: u64,
    /// Width of one.
    pub feed_forward: u64,
    /// Experts that every token passes.
    pub shared: u64,
    /// Layers at the start without experts.
    pub dense_layers: u64,
}

/// Latent attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latent {
    /// Width of the compressed Q; zero where it is not compressed.
    pub q_rank: u64,
    /// Width of the compressed K and V.
    pub kv_rank: u64,
    /// Values per head that carry positions.
    pub rope: u64,
    /// Values per K head that do not.
    pub nope: u64,
    /// Values per V head.
    pub value: u64,
}

/// Tables of position factors that a file carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeTable {
    /// None.
    None,
    /// One factor per frequency (Llama 3.1).
    Frequencies,
    /// Two tables, for short and long contexts (Phi).
    Factors {
        /// Context before stretching, tokens.
        original: u64,
    },
}

/// The numbers of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelShape {
    /// As people call it.
    pub name: String,
    /// Its family.
    pub family: Family,
    /// Layers.
    pub layers: u64,
    /// Width of the residual stream.
    pub embedding: u64,
    /// Attention heads.
    pub heads: u64,
    /// Key/value heads; with latent attention 1.
    pub heads_kv: u64,
    /// Values per head.
    pub head_length: u64,
    /// Width of the feed-forward part.
    pub feed_forward: u64,
    /// Tokens of the vocabulary.
    pub vocab: u64,
    /// Trained context, tokens.
    pub context: u64,
    /// Whether the output projection is the token embedding.
    pub tied: bool,
    /// Sliding window, tokens, in the layers that have one.
    pub window: Option<u64>,
    /// Experts.
    pub experts: Option<Experts>,
    /// Latent attention.
    pub latent: Option<Latent>,
    /// Position tables.
    pub rope: RopeTable,
    /// Values per head that carry positions, where not all do.
    pub rope_length: Option<u64>,
    /// Factors by key, such as `logit_scale`; they decide operations, not shapes.
    pub scales: Vec<(String, f64)>,
}

impl ModelShape {
    /// Values per head that carry positions.
    #[must_use]
    pub fn rope_length(&self) -> u64 {
        self.rope_length.or(self.latent.map(|latent| latent.rope)).unwrap_or(self.head_length)
    }
}
