//! Joins the sampler, which needs a process, to the launch crate, which alone may make one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use dualgpuopt_gpu::{ChildPipes, Spawner};
use shared_child::SharedChild;

/// Starts the host's own program with the sampler's hidden entry.
pub(crate) struct SamplerSpawner {
    pub(crate) program: PathBuf,
}

impl Spawner for SamplerSpawner {
    fn spawn(&self, args: &[String]) -> io::Result<ChildPipes> {
        let started = dualgpuopt_launch::spawn::piped(self.program.as_os_str(), args)?;
        let child = Arc::new(SharedChild::new(started.child)?);
        let (pid, killed) = (child.id(), Arc::clone(&child));
        // Waits so that no zombie stays. A child that a driver call holds ends when that call does.
        thread::Builder::new().name("sampler-wait".to_owned()).spawn(move || {
            if let Err(error) = child.wait() {
                tracing::warn!("The sampler's end could not be waited for: {error}.");
            }
        })?;
        let kill = Box::new(move || {
            if let Err(error) = killed.kill() {
                tracing::warn!("The sampler could not be killed: {error}.");
            }
        });
        Ok(ChildPipes { stdin: Box::new(started.stdin), stdout: Box::new(started.stdout), kill, pid })
    }
}
