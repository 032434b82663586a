//! Tests across crates and through the built programs, in one binary.

#![expect(clippy::disallowed_methods, reason = "tests start the built programs and write their own scratch files")]

mod bindings;
mod cli;
mod contexts;
mod engine;
mod estimate;
mod estimate_vllm;
mod export;
mod extra;
mod models;
mod serve;
mod telemetry;
mod tidy;
mod verify;
