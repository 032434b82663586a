//! llama.cpp: its flags, what it makes of them, and what it then allocates, in bytes.

pub mod compute;
pub mod flags;
pub mod settled;
