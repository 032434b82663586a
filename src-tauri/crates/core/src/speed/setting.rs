//! How the engine is started, as far as speed depends on it.

use crate::plan::CacheType;

/// llama.cpp's build number; absent: the current one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Build(pub Option<u32>);

/// First build whose kernels for one token are those of today: CUDA graphs, fused rotations, faster products of floats.
/// They came over the summer of 2024; rows of May 2024 are without.
const MODERN: u32 = 3000;

/// First build with CUDA graphs on Volta and Turing (ggml-org/llama.cpp#25749, July 2026; b9986 is of 14 July).
const GRAPHS_ON_VOLTA: u32 = 10_050;

impl Build {
    /// Whether the build is from before the changes of summer 2024.
    #[must_use]
    pub fn is_early(self) -> bool {
        self.0.is_some_and(|build| build < MODERN)
    }

    /// Whether decode runs as a CUDA graph on a card of this compute capability (× 100): a step is then launched at once
    /// instead of kernel by kernel.
    #[must_use]
    pub fn has_graphs(self, capability: u32) -> bool {
        let since = match capability {
            800.. => MODERN,
            700..800 => GRAPHS_ON_VOLTA,
            _ => return false,
        };
        self.0.is_none_or(|build| build >= since)
    }
}

/// What of a start decides speed.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The engine's build.
    pub build: Build,
    /// Whether flash attention is on.
    pub flash_attention: bool,
    /// Type of the K cache.
    pub cache_k: CacheType,
    /// Type of the V cache.
    pub cache_v: CacheType,
    /// Tokens already in the cache of each sequence.
    pub depth: u64,
    /// Tokens of the prompt whose reading is predicted.
    pub prompt: u64,
    /// Tokens per micro-batch (`-ub`).
    pub micro_batch: u64,
    /// Tokens per batch (`-b`).
    pub batch: u64,
    /// Sequences at once.
    pub parallel: u64,
    /// What the CPU reads from system RAM, MB/s; absent: taken to be two channels of DDR4-3200.
    pub ram_bandwidth_mb_s: Option<u32>,
}

impl Setting {
    /// Bytes of one value in the K and in the V cache.
    #[must_use]
    pub fn cache_bytes(&self) -> [f64; 2] {
        [self.cache_k, self.cache_v].map(|cache| {
            let block = cache.block();
            super::work::float(block.bytes) / super::work::float(block.values)
        })
    }
}

impl Default for Setting {
    /// The engine's own defaults, one sequence, a prompt of 512 tokens and nothing before it.
    fn default() -> Self {
        Self {
            build: Build(None),
            flash_attention: true,
            cache_k: CacheType::F16,
            cache_v: CacheType::F16,
            depth: 0,
            prompt: 512,
            micro_batch: 512,
            batch: 2048,
            parallel: 1,
            ram_bandwidth_mb_s: None,
        }
    }
}
