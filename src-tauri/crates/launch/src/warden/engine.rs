//! Starting the engine: own session, no input, both outputs to us, dies with the warden.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use dualgpuopt_core::command::LaunchSpec;
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{getpid, getppid, setsid};

use super::exec::Exec;
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
    let exec = Exec::new(&spec.program, &spec.args, environment(spec, mark).into_iter())?;
    let mut command = spawn::command(OsStr::new(&spec.program), &spec.args)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let warden = getpid();
    // SAFETY: the closure runs in the child between fork and exec, where only async-signal-safe calls are allowed. It makes
    // five system calls (setsid, sigprocmask, prctl, getppid, execve) and neither allocates nor takes a lock; what it uses
    // was made before and moved in. Held by the tests of whole trees in tests/it.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            // The warden waits for its signals with a mask; a mask survives exec.
            SigSet::empty().thread_set_mask()?;
            set_pdeathsig(Signal::SIGKILL)?;
            // The warden may have been killed before the line above took effect.
            if getppid() != warden {
                return Err(Errno::ESRCH.into());
            }
            Err(exec.exec())
        });
    }
    command.spawn()
}

/// Ours, with the launch's variables and the mark on top.
fn environment(spec: &LaunchSpec, mark: &str) -> BTreeMap<OsString, OsString> {
    let mut all: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    all.extend(spec.env.iter().map(|var| (OsString::from(&var.name), OsString::from(&var.value))));
    all.insert(TREE_MARK.into(), mark.into());
    all
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
