//! The reader from outside: files in, facts or a sentence out. No network, no GPU, no real weights.

mod caching;
mod heads;
mod reading;
mod shards;
mod verdicts;
mod written;
