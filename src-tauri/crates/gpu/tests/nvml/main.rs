//! The real NVML path, from the C library to the sampler's events, over a library that describes its cards.

mod cards;
mod faults;
mod processes;
mod support;

/// Not a test: the program that the others start as the sampler process.
#[test]
fn child_entry() {
    if let Some(args) = support::child_arguments() {
        assert_eq!(args[0], dualgpuopt_gpu::SAMPLER_ENTRY);
        let _ = dualgpuopt_gpu::child_main(&args[1..]);
    }
}
