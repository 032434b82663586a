//! llama.cpp: its flags, what it makes of them, and what it then allocates, in bytes.

pub mod arch;
pub mod command;
pub mod compute;
pub mod flags;
pub mod kv;
pub mod layout;
pub mod refused;
pub mod settle;
pub mod settled;
mod sizes;
mod tensor_split;
pub mod weights;
