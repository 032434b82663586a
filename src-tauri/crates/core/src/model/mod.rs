//! What a model file says, and what follows for planning.

pub mod facts;
pub mod ggml;
pub mod header;

pub use facts::{LayerFacts, ModelFacts};
pub use ggml::GgmlType;
pub use header::{MetaValue, ModelHeader, TensorFacts};
