//! Where frames come from: the NVIDIA driver's management library in a process of its own, and a simulator.
//!
//! Invariants, each held by a test in `tests/`: a card that does not answer marks only itself, and recovers when it
//! answers; a library that does not answer at all costs a child process, never the host; an error or an insane value
//! is a reason in place of a reading, never a number. Deliberately absent: creating processes (the host hands in a
//! [`Spawner`]), reading environment variables, and keeping frames.

mod clock;
mod nvml;
mod protocol;
mod sampler;
mod sampler_process;
mod sim;
mod source;
mod ticks;

pub use clock::{Clock, SystemClock};
pub use nvml::NvmlSource;
pub use sampler::{
    ChildPipes, INTERVAL_MAX, INTERVAL_MIN, PATIENCE_MIN, Sampler, SamplerChoice, SamplerConfig, SamplerEvent, Spawner,
};
pub use sampler_process::{SAMPLER_ENTRY, child_main};
pub use sim::{SimSource, known_cards};
pub use source::{GPUS_MAX, Source, SourceError};
