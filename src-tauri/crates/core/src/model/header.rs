//! The header of a model file as read: metadata and tensor table, without vocabulary and without weights.

use std::collections::BTreeMap;

use crate::model::ggml::GgmlType;

/// A metadata value. Long arrays (vocabularies) keep only their length.
#[derive(Clone, Debug, PartialEq)]
pub enum MetaValue {
    /// Any unsigned integer type.
    Unsigned(u64),
    /// Any signed integer type.
    Signed(i64),
    /// `f32` or `f64`.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string; invalid UTF-8 is replaced.
    Text(String),
    /// An array of numbers or booleans short enough to keep (at most [`ARRAY_KEPT_MAX`] elements).
    Numbers(Vec<f64>),
    /// A value that was skipped: an array of strings, an array longer than [`ARRAY_KEPT_MAX`], or a string longer than
    /// [`TEXT_KEPT_MAX`].
    Skipped {
        /// Number of elements; of a string, bytes.
        len: u64,
    },
}

/// Longest numeric array kept. Per-layer arrays have at most one element per layer, and engines take at most 512 layers.
pub const ARRAY_KEPT_MAX: u64 = 4096;

/// Longest string kept, bytes. Names and settings are far shorter; only chat templates come near.
pub const TEXT_KEPT_MAX: u64 = 64 << 10;

impl MetaValue {
    /// The value as a non-negative integer, where it is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(v) => Some(*v),
            Self::Signed(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// The value as a string.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(v) => Some(v),
            _ => None,
        }
    }

    /// What kind of value it is, in words that fit after "is".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) => "an unsigned whole number",
            Self::Signed(_) => "a signed whole number",
            Self::Float(_) => "a fraction",
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "a string",
            Self::Numbers(_) => "an array of numbers",
            Self::Skipped { .. } => "a long array or string",
        }
    }

    /// The value as a float, from any number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "hyper-parameters are far below 2^53")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Unsigned(v) => Some(*v as f64),
            Self::Signed(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }
}

/// One tensor of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorFacts {
    /// Name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Element type; may be one we do not know.
    pub ty: GgmlType,
    /// Number of dimensions, 0 (a single value) to 4.
    pub n_dims: u32,
    /// Shape, innermost first; unused dimensions are 1.
    pub dims: [u64; 4],
    /// Bytes of the data in the file: from type and shape. Where the type is unknown, from the offsets, and then up to
    /// one alignment (usually 32) too many.
    pub bytes: u64,
}

impl TensorFacts {
    /// Number of elements; saturates, though a header's reader refuses shapes that come near.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims.iter().fold(1, |product, dim| product.saturating_mul(*dim))
    }

    /// The layer `N` of a name `blk.N.…`; `None` for tensors that belong to no layer.
    #[must_use]
    pub fn layer(&self) -> Option<u64> {
        self.name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
    }
}

/// A whole model: one file, or all its shards together.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ModelHeader {
    /// GGUF version, 2 or 3.
    pub version: u32,
    /// Metadata of the first shard, by full key.
    pub meta: BTreeMap<String, MetaValue>,
    /// Tensors of all shards, in file order.
    pub tensors: Vec<TensorFacts>,
    /// Number of files.
    pub shards: u32,
    /// Bytes of all files together.
    pub file_bytes: u64,
}
