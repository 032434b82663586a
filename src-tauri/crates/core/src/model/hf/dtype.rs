//! Element types of safetensors files: names and bits.
//!
//! Source: `enum Dtype` in safetensors/src/tensor.rs (safetensors 0.6 to 0.8).

use std::fmt;

/// An element type by its name in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// One of the format's types, as an index into [`TYPES`].
    Known(KnownType),
    /// A name that we do not know; sized by its offsets.
    Other(Box<str>),
}

/// One of the format's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KnownType(usize);

/// Name and bits of an element.
const TYPES: [(&str, u64); 22] = [
    ("BOOL", 8),
    ("F4", 4), // two values a byte
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

impl DType {
    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match TYPES.iter().position(|(known, _)| *known == name) {
            Some(index) => Self::Known(KnownType(index)),
            None => Self::Other(name.into()),
        }
    }

    /// The name in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(known) => TYPES[known.0].0,
            Self::Other(name) => name,
        }
    }

    /// Bits of one element; `None` for a type we do not know.
    #[must_use]
    pub fn bits(&self) -> Option<u64> {
        match self {
            Self::Known(known) => Some(TYPES[known.0].1),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
