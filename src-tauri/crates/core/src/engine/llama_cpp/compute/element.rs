//! Element types as the compute graph needs them: identity, block and bytes. All of ggml's types are possible in weights.

use crate::model::GgmlType;
use crate::plan::CacheType;

/// An element type. Two are the same type where `code` is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// ggml's number of the type (`enum ggml_type`).
    pub(super) code: u32,
    /// Values per block; 1 where not quantised.
    pub(super) block: u64,
    /// Bytes per block.
    pub(super) bytes: u64,
}

impl Element {
    pub(super) const F32: Self = Self { code: 0, block: 1, bytes: 4 };
    pub(super) const F16: Self = Self { code: 1, block: 1, bytes: 2 };
    pub(super) const I32: Self = Self { code: 26, block: 1, bytes: 4 };
    pub(super) const I64: Self = Self { code: 27, block: 1, bytes: 8 };

    /// Stored in blocks of several values.
    pub(super) fn quantised(self) -> bool {
        self.block > 1
    }

    /// Bytes of `values` values in a row (`ggml_row_size`).
    pub(super) fn row(self, values: u64) -> u64 {
        values.saturating_mul(self.bytes) / self.block
    }

    /// Strides of a contiguous tensor.
    pub(super) fn strides(self, ne: [u64; 4]) -> [u64; 4] {
        let row = self.row(ne[0]);
        let plane = row.saturating_mul(ne[1]);
        [self.bytes, row, plane, plane.saturating_mul(ne[2])]
    }

    /// The type of a weight, where it is one we know.
    pub(super) fn of_weight(ty: GgmlType) -> Option<Self> {
        let (block, bytes) = ty.block()?;
        Some(Self { code: ty.0, block, bytes })
    }

    /// The type of a cache half.
    pub(super) fn of_cache(cache: CacheType) -> Self {
        let code = match cache {
            CacheType::F32 => GgmlType::F32,
            CacheType::F16 => GgmlType::F16,
            CacheType::Bf16 => GgmlType::BF16,
            CacheType::Q8_0 => GgmlType::Q8_0,
            CacheType::Q5_1 => GgmlType::Q5_1,
            CacheType::Q5_0 => GgmlType::Q5_0,
            CacheType::Q4_1 => GgmlType::Q4_1,
            CacheType::Q4_0 => GgmlType::Q4_0,
            CacheType::Iq4Nl => GgmlType::IQ4_NL,
        }
        .0;
        let block = cache.block();
        Self { code, block: block.values, bytes: block.bytes }
    }
}
