//! Who belongs to a process tree, from `/proc`, and signals to them.
//!
//! A process id says nothing for long: the kernel gives it to somebody else once its process was reaped. So a process is
//! its id *and* its start time, and the start time is read again right before each signal. What remains is the microsecond
//! between that look and the signal, in which the kernel would have to go once round all process ids.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Most processes looked at. Linux itself allows no more (`PID_MAX_LIMIT`).
const PROCESSES_MAX: usize = 4 * 1024 * 1024;

/// Most bytes of an environment that are searched for the mark. Linux allows 2 MiB for arguments and environment.
const ENVIRON_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A process at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Process id.
    pub(crate) pid: i32,
    parent: i32,
    /// Process group.
    pub(crate) group: i32,
    /// Clock ticks from boot to its start.
    pub(crate) start: u64,
}

/// The process as it is now; absent where it is gone.
pub(crate) fn look(pid: i32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields of `/proc/<pid>/stat` (proc_pid_stat(5)). The name, in parentheses, may contain anything: what counts starts
/// after the last `)`.
fn parse_stat(stat: &str) -> Option<Process> {
    let pid = stat.split(' ').next()?.parse().ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let field: Vec<&str> = rest.split(' ').collect();
    Some(Process {
        pid,
        parent: field.get(1)?.parse().ok()?,
        group: field.get(2)?.parse().ok()?,
        start: field.get(19)?.parse().ok()?,
    })
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(PROCESSES_MAX)
}

/// Descendants of `root`, without `root`. A snapshot; new ones may come any time. Dead ones that wait to be reaped are in: a
/// process whose first thread has ended looks dead while others of its threads run.
pub(crate) fn descendants(root: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in pids().filter_map(look) {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for process in children.remove(&parent).into_iter().flatten() {
            if seen.insert(process.pid) {
                parents.push(process.pid);
                found.push(process);
            }
        }
    }
    found
}

/// Processes of ours whose environment carries `mark` under `name`. Not for a tree that a warden still holds: there
/// descendants are the truth.
pub(crate) fn marked(name: &str, mark: &str) -> Vec<Process> {
    let wanted = format!("{name}={mark}");
    let carries = |pid: &i32| {
        let mut environ = Vec::new();
        let read = fs::File::open(format!("/proc/{pid}/environ"))
            .and_then(|file| file.take(ENVIRON_BYTES_MAX).read_to_end(&mut environ));
        read.is_ok() && environ.split(|byte| *byte == 0).any(|var| var == wanted.as_bytes())
    };
    pids().filter(carries).filter_map(look).collect()
}

/// Sends `signal` if the process is still the one that was seen. That it is gone, or not ours to signal, is no error here:
/// the caller looks again until the tree is empty.
pub(crate) fn send(process: &Process, signal: Signal) {
    if look(process.pid).is_some_and(|now| now.start == process.start) {
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn;
    use std::ffi::OsStr;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_the_fields() {
        let stat = "42 (a) S 1 (b)) S 7 42 9 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        let process = Process { pid: 42, parent: 7, group: 42, start: 12345 };
        assert_eq!(parse_stat(stat), Some(process));
        for broken in ["", "42", "42 (a", "42 (a) S", "x (a) S 7 42"] {
            assert_eq!(parse_stat(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_child_is_found_by_descent_and_a_changed_start_time_protects_it() {
        let own = i32::try_from(std::process::id()).expect("Linux ids are positive i32");
        let mut cat = spawn::piped(OsStr::new("cat"), &[""; 0]).expect("cat is everywhere");
        let pid = i32::try_from(cat.child.id()).expect("Linux ids are positive i32");
        let seen = descendants(own).into_iter().find(|process| process.pid == pid).expect("our child");
        send(&Process { start: seen.start + 1, ..seen }, Signal::SIGKILL);
        assert!(cat.child.try_wait().expect("our child").is_none(), "a stranger would have been killed");
        send(&seen, Signal::SIGKILL);
        cat.child.wait().expect("our child");
        assert!(look(pid).is_none());
    }
}
