//! ggml element types.
