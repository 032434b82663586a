//! ggml element types: their names, and how many bytes a row of them takes.
//!
//! Numbers from `enum ggml_type` in ggml.h, names from `type_traits` in ggml.c, block sizes from the `static_assert`s in
//! ggml-common.h, all of llama.cpp's tree of 6 October 2026. Nothing here reads or converts values.

use std::fmt;

/// An element type by its number in the file. Any number is a `GgmlType`; whether we know it is asked with
/// [`GgmlType::block`] and [`GgmlType::is_removed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GgmlType(pub u32);

/// What is known of one type number.
enum Entry {
    /// In use: name, elements per block, bytes per block, whether it is quantised.
    Known(&'static str, u64, u64, bool),
    /// Once in use; files with it are no longer read by any engine.
    Removed(&'static str),
}
use Entry::{Known, Removed};

/// By number; its length is `GGML_TYPE_COUNT`.
static TYPES: [Entry; 43] = [
    Known("F32", 1, 4, false),
    Known("F16", 1, 2, false),
    Known("Q4_0", 32, 18, true), // block_q4_0: f16 scale + 16
    Known("Q4_1", 32, 20, true), // block_q4_1: f16 scale and minimum + 16
    Removed("Q4_2"),
    Removed("Q4_3"),
    Known("Q5_0", 32, 22, true),     // block_q5_0
    Known("Q5_1", 32, 24, true),     // block_q5_1
    Known("Q8_0", 32, 34, true),     // block_q8_0
    Known("Q8_1", 32, 36, true),     // block_q8_1
    Known("Q2_K", 256, 84, true),    // block_q2_K
    Known("Q3_K", 256, 110, true),   // block_q3_K
    Known("Q4_K", 256, 144, true),   // block_q4_K
    Known("Q5_K", 256, 176, true),   // block_q5_K
    Known("Q6_K", 256, 210, true),   // block_q6_K
    Known("Q8_K", 256, 292, true),   // block_q8_K
    Known("IQ2_XXS", 256, 66, true), // block_iq2_xxs
    Known("IQ2_XS", 256, 74, true),  // block_iq2_xs
    Known("IQ3_XXS", 256, 98, true), // block_iq3_xxs
    Known("IQ1_S", 256, 50, true),   // block_iq1_s
    Known("IQ4_NL", 32, 18, true),   // block_iq4_nl
    Known("IQ3_S", 256, 110, true),  // block_iq3_s
    Known("IQ2_S", 256, 82, true),   // block_iq2_s
    Known("IQ4_XS", 256, 136, true), // block_iq4_xs
    Known("I8", 1, 1, false),
    Known("I16", 1, 2, false),
    Known("I32", 1, 4, false),
    Known("I64", 1, 8, false),
    Known("F64", 1, 8, false),
    Known("IQ1_M", 256, 56, true), // block_iq1_m
    Known("BF16", 1, 2, false),
    Removed("Q4_0_4_4"),
    Removed("Q4_0_4_8"),
    Removed("Q4_0_8_8"),
    Known("TQ1_0", 256, 54, true), // block_tq1_0
    Known("TQ2_0", 256, 66, true), // block_tq2_0
    Removed("IQ4_NL_4_4"),
    Removed("IQ4_NL_4_8"),
    Removed("IQ4_NL_8_8"),
    Known("MXFP4", 32, 17, true), // block_mxfp4: E8M0 scale + 16
    Known("NVFP4", 64, 36, true), // block_nvfp4: four UE4M3 scales + 32
    Known("Q1_0", 128, 18, true), // block_q1_0
    Known("Q2_0", 64, 18, true),  // block_q2_0
];

impl GgmlType {
    /// 32-bit float.
    pub const F32: Self = Self(0);
    /// 16-bit float.
    pub const F16: Self = Self(1);
    /// 4.5 bits a value, blocks of 32.
    pub const Q4_0: Self = Self(2);
    /// 5 bits a value, blocks of 32.
    pub const Q4_1: Self = Self(3);
    /// 5.5 bits a value, blocks of 32.
    pub const Q5_0: Self = Self(6);
    /// 6 bits a value, blocks of 32.
    pub const Q5_1: Self = Self(7);
    /// 8.5 bits a value, blocks of 32.
    pub const Q8_0: Self = Self(8);
    /// 4.5 bits a value, super-blocks of 256.
    pub const Q4_K: Self = Self(12);
    /// 5.5 bits a value, super-blocks of 256.
    pub const Q5_K: Self = Self(13);
    /// 6.5625 bits a value, super-blocks of 256.
    pub const Q6_K: Self = Self(14);
    /// 4.5 bits a value, non-linear, blocks of 32.
    pub const IQ4_NL: Self = Self(20);
    /// 32-bit integer.
    pub const I32: Self = Self(26);
    /// 64-bit integer.
    pub const I64: Self = Self(27);
    /// bfloat16.
    pub const BF16: Self = Self(30);

    fn entry(self) -> Option<&'static Entry> {
        TYPES.get(usize::try_from(self.0).ok()?)
    }

    /// The type's name, such as `Q4_K`; `None` for a number we do not know. Removed types have their old name.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|entry| match entry {
            Known(name, ..) | Removed(name) => *name,
        })
    }

    /// Elements and bytes of one block; `None` for removed and unknown types.
    #[must_use]
    pub fn block(self) -> Option<(u64, u64)> {
        match self.entry()? {
            Known(_, elements, bytes, _) => Some((*elements, *bytes)),
            Removed(_) => None,
        }
    }

    /// Whether values are stored in blocks with shared scales. False for floats, integers, removed and unknown types.
    #[must_use]
    pub fn is_quantised(self) -> bool {
        matches!(self.entry(), Some(Known(_, _, _, true)))
    }

    /// Whether the type was taken out of the format, so that no engine reads it any more.
    #[must_use]
    pub fn is_removed(self) -> bool {
        matches!(self.entry(), Some(Removed(_)))
    }

    /// Bytes of a row of `ne0` elements (`ggml_row_size`). `None` when the type has no known block, `ne0` is not a
    /// multiple of the block, or the result exceeds 64 bits.
    #[must_use]
    pub fn row_bytes(self, ne0: u64) -> Option<u64> {
        let (elements, bytes) = self.block()?;
        if !ne0.is_multiple_of(elements) {
            return None;
        }
        (ne0 / elements).checked_mul(bytes)
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_size_that_ggml_gives_them() {
        for (ty, ne0, bytes) in [
            (GgmlType::F32, 4096, Some(16_384)),
            (GgmlType::BF16, 3, Some(6)),
            (GgmlType::Q4_K, 4096, Some(2304)),
            (GgmlType::Q6_K, 14_336, Some(11_760)),
            (GgmlType(23), 256, Some(136)),
            (GgmlType(39), 2880, Some(1530)),
            (GgmlType::Q4_K, 4000, None),
            (GgmlType(4), 256, None),
            (GgmlType(200), 256, None),
            (GgmlType(27), u64::MAX, None),
        ] {
            assert_eq!(ty.row_bytes(ne0), bytes, "{ty} × {ne0}");
        }
    }

    #[test]
    fn every_number_below_the_count_is_either_known_or_removed() {
        for number in 0..43 {
            let ty = GgmlType(number);
            assert_ne!(ty.block().is_some(), ty.is_removed(), "{ty}");
            assert!(ty.name().is_some());
        }
        assert_eq!(GgmlType(43).to_string(), "type 43");
        assert!(!GgmlType(43).is_removed() && GgmlType(43).block().is_none());
    }

    #[test]
    fn quantised_types_take_less_than_ten_bits_a_value_and_share_blocks() {
        for number in 0..43 {
            if let Some((elements, bytes)) = GgmlType(number).block() {
                assert_eq!(GgmlType(number).is_quantised(), elements > 1);
                assert!(elements == 1 || bytes * 8 < elements * 10, "{}", GgmlType(number));
            }
        }
    }
}
