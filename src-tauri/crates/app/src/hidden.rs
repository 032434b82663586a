//! The hidden entries: both programs can run as the sampler's or an engine's own small process.

use std::process::ExitCode;

/// Runs a hidden entry if the arguments name one. Hosts call this before anything else; `None` means an ordinary start.
#[must_use]
pub fn run_hidden_entry() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    let first = args.next()?;
    if first == dualgpuopt_gpu::SAMPLER_ENTRY {
        Some(dualgpuopt_gpu::child_main(&args.collect::<Vec<_>>()))
    } else if first == dualgpuopt_launch::WARDEN_ENTRY {
        Some(dualgpuopt_launch::warden_main())
    } else {
        None
    }
}
