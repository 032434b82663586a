//! vLLM: its flags, what it makes of them, and what it then allocates.
//!
//! Source: vLLM 0.33.0 (commit 4ba787ec9), as packaged. vLLM measures most of what it uses instead of computing it: it
//! loads the weights, runs the model once on the largest batch, captures CUDA graphs, and gives what is left of
//! `--gpu-memory-utilization` × the GPU's total to the KV cache. What follows from shapes is computed here (weights per
//! rank, KV blocks); what is measured there is an interval here, wider than anything said of llama.cpp, each end with its
//! source. Absent: recurrent layers, adapters, drafters, data and context parallelism.

pub mod arguments;
pub mod bounds;
pub mod command;
pub mod estimate;
pub mod explain;
pub mod gpu;
pub mod kv;
pub mod loaded;
pub mod profile;
pub mod refused;
pub mod role;
pub mod settle;
pub mod splits;
pub mod stages;
pub mod weights;
