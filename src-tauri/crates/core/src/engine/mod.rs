//! How each engine lays out memory and how it is started. One folder per engine.

pub mod driver_context;
pub mod flags_by_version;
pub mod llama_cpp;
pub mod vllm;
