//! llama.cpp: its flags, what it makes of them, and what it then allocates, in bytes.

pub mod arch;
pub mod arguments;
pub mod command;
pub mod compute;
pub mod estimate;
pub mod evaluator;
pub mod explain;
pub mod extra;
pub mod fit;
pub mod flags;
pub mod homes;
mod host_only;
pub mod kv;
pub mod layout;
mod overrides;
pub mod prepared;
pub mod refused;
pub mod reported;
pub mod settle;
pub mod settled;
mod sizes;
mod tensor_split;
mod units;
pub mod verify;
pub mod weights;
