//! The warden: a small process of ours between the app and one engine. It owns the engine's process tree and makes sure
//! that nothing of it outlives the app. It is this same program, started with [`WARDEN_ENTRY`].
//!
//! Who ends, and what then:
//! - *The engine* ends: what it left behind is ended (politely, then by force), then the app is told.
//! - *The app* ends, however it ends: the warden reads the end of its input and stops the tree, with the grace it was given.
//!   Nothing else of the app need work for that.
//! - *The warden* ends, which only a kill by force from outside can cause: the engine is killed by the kernel
//!   (`PR_SET_PDEATHSIG`, tied to the warden's main thread, which is the one that lives as long as the warden), and the app
//!   looks for the rest of the tree by the mark in its environment ([`TREE_MARK`]) and kills it. What is given up: a
//!   program of the engine that moved to its own session and threw away its environment, when the warden is killed by
//!   force; and any such program when app and warden are killed by force in the same instant.
//!
//! The warden runs in a session of its own, so that Ctrl-C and the closing of a terminal do not reach it: they reach the
//! app, which decides. The engine runs in another, without terminal and without input.
//!
//! Absent here: readiness, meaning of log lines, any policy but *stop with the app*.

#[cfg(target_os = "linux")]
mod engine;
#[cfg(target_os = "linux")]
mod exec;
#[cfg(target_os = "linux")]
mod outbox;
pub(crate) mod protocol;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
pub(crate) mod tree;

use std::process::ExitCode;

/// First argument that turns a host program into the warden. Not for people.
pub const WARDEN_ENTRY: &str = "__warden";

/// Environment variable that marks every process of a tree; its value is the warden's process id and start time. Found
/// again in `/proc/<pid>/environ`.
pub const TREE_MARK: &str = "DUALGPUOPT_TREE";

/// The warden, from its start to the end of the tree. Called first thing in `main` of every host program when the first
/// argument is [`WARDEN_ENTRY`].
#[must_use]
pub fn warden_main() -> ExitCode {
    #[cfg(target_os = "linux")]
    return run::run();
    #[cfg(not(target_os = "linux"))]
    return ExitCode::FAILURE;
}
