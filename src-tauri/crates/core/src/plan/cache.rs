//! Element types of the KV cache: their blocks and their names.

use crate::plan::CacheType;

/// How a type packs values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Values per block.
    pub values: u64,
    /// Bytes per block.
    pub bytes: u64,
}

impl CacheType {
    /// Every type, widest first.
    pub const ALL: [Self; 9] =
        [Self::F32, Self::F16, Self::Bf16, Self::Q8_0, Self::Q5_1, Self::Q5_0, Self::Q4_1, Self::Q4_0, Self::Iq4Nl];

    /// Its block. Source: `ggml-common.h`, sizes of `block_q8_0`, `block_q5_1`, `block_q5_0`, `block_q4_1`, `block_q4_0`
    /// and `block_iq4_nl`.
    #[must_use]
    pub const fn block(self) -> Block {
        match self {
            Self::F32 => Block { values: 1, bytes: 4 },
            Self::F16 | Self::Bf16 => Block { values: 1, bytes: 2 },
            Self::Q8_0 => Block { values: 32, bytes: 34 },
            Self::Q5_1 => Block { values: 32, bytes: 24 },
            Self::Q5_0 => Block { values: 32, bytes: 22 },
            Self::Q4_1 => Block { values: 32, bytes: 20 },
            Self::Q4_0 | Self::Iq4Nl => Block { values: 32, bytes: 18 },
        }
    }

    /// Whether values share a scale by blocks. A quantised V cache needs flash attention.
    #[must_use]
    pub const fn is_quantised(self) -> bool {
        self.block().values > 1
    }

    /// Its name on llama.cpp's command line (`-ctk`, `-ctv`).
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q5_1 => "q5_1",
            Self::Q5_0 => "q5_0",
            Self::Q4_1 => "q4_1",
            Self::Q4_0 => "q4_0",
            Self::Iq4Nl => "iq4_nl",
        }
    }
}
