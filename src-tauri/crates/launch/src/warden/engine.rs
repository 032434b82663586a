//! Starting the engine: own session, no input, both outputs to us, dies with the warden.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use dualgpuopt_core::command::LaunchSpec;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid, setsid};

use super::protocol::Refusal;
use super::{TREE_MARK, tree};
use crate::spawn;

/// Value of [`TREE_MARK`] for this warden: unlike a process id alone it does not come again before the next boot.
pub(super) fn mark() -> String {
    let own = getpid().as_raw();
    let start = tree::look(own).map_or(0, |process| process.start);
    format!("{own}-{start}")
}

/// Starts the engine. Must be called on the main thread: the engine dies with the *thread* that made it.
///
/// # Errors
/// Why the system refuses.
pub(super) fn start(spec: &LaunchSpec, mark: &str) -> io::Result<Child> {
    let mut command = spawn::command(OsStr::new(&spec.program), &spec.args)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(spec.env.iter().map(|var| (&var.name, &var.value))).env(TREE_MARK, mark);
    let warden = getpid();
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls are allowed. It makes
    // four system calls (setsid, pthread_sigmask, prctl, getppid) and neither allocates nor takes a lock; `warden` is
    // copied in. Held by the tests of whole trees in tests/it.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            // The warden waits for its signals with a mask; a mask survives exec.
            SigSet::empty().thread_set_mask()?;
            set_pdeathsig(Signal::SIGKILL)?;
            // The warden may have been killed before the line above took effect.
            if getppid() == warden { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
    command.spawn()
}

/// The kind of a refusal.
pub(super) fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR) => Refusal::NotFound,
        Some(Errno::EACCES | Errno::EPERM) => Refusal::NotAllowed,
        Some(Errno::ENOEXEC) => Refusal::WrongFormat,
        _ => Refusal::Other,
    }
}
