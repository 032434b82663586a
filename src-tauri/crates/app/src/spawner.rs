//! Joins the sampler, which needs a process, to the launch crate, which alone may make one.

use std::io;
use std::path::PathBuf;

use dualgpuopt_gpu::{ChildPipes, Spawner};

/// Starts the host's own program with the sampler's hidden entry.
pub(crate) struct SamplerSpawner {
    pub(crate) program: PathBuf,
}

impl Spawner for SamplerSpawner {
    fn spawn(&self, args: &[String]) -> io::Result<ChildPipes> {
        let child = dualgpuopt_launch::piped(&self.program, args)?;
        Ok(ChildPipes { pid: child.pid, stdin: child.stdin, stdout: child.stdout, kill: child.kill })
    }
}
