//! The reader from outside: files in, facts or a sentence out. No network, no GPU, no real weights.

mod caching;
mod crafted;
mod folders;
mod heads;
mod library;
mod published;
mod reading;
mod safetensors;
mod shards;
mod verdicts;
mod written;
