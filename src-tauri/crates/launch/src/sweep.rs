//! What is left of a tree whose warden is gone. Only for that case: a living warden knows its tree better.

use std::time::Duration;

/// How long a killed process may take to vanish before it counts as left.
const VANISH_MAX: Duration = Duration::from_secs(3);

/// Pause between two rounds.
const ROUND: Duration = Duration::from_millis(20);

/// Kills every process that carries the mark until none is found. Gives those that stay.
pub(crate) async fn sweep(mark: Option<String>) -> Vec<u32> {
    let Some(mark) = mark else { return Vec::new() };
    let until = tokio::time::Instant::now() + VANISH_MAX;
    loop {
        let mark = mark.clone();
        let left = tokio::task::spawn_blocking(move || kill_marked(&mark)).await.unwrap_or_default();
        if left.is_empty() || tokio::time::Instant::now() >= until {
            return left;
        }
        tokio::time::sleep(ROUND).await;
    }
}

#[cfg(target_os = "linux")]
fn kill_marked(mark: &str) -> Vec<u32> {
    use crate::warden::{TREE_MARK, tree};
    let found = tree::marked(TREE_MARK, mark);
    for process in &found {
        tree::send(process, nix::sys::signal::Signal::SIGKILL);
    }
    found.iter().filter_map(|process| u32::try_from(process.pid).ok()).collect()
}

#[cfg(not(target_os = "linux"))]
fn kill_marked(_: &str) -> Vec<u32> {
    Vec::new()
}

/// Whether a process of this id is there.
#[cfg(target_os = "linux")]
pub(crate) fn alive(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| crate::warden::tree::look(pid).is_some())
}

/// Nothing runs where nothing can be started.
#[cfg(not(target_os = "linux"))]
pub(crate) fn alive(_: u32) -> bool {
    false
}
