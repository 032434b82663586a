//! Why an engine cannot be started, found before anything was started.

use std::io;

/// A launch that was refused. Each message is one sentence that stands alone.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Engines cannot be contained here yet.
    #[error("Starting engines is not supported on this system yet; only Linux is.")]
    NotSupported,
    /// The program is given by a relative path, whose meaning depends on where the app was started.
    #[error("The engine's program must be an absolute path, and {program:?} is not.")]
    ProgramNotAbsolute {
        /// As given.
        program: String,
    },
    /// There is no such file, or its folder cannot be entered.
    #[error("The engine's program {program} cannot be found: {source}.")]
    ProgramMissing {
        /// As given.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// A folder, a device.
    #[error("The engine's program {program} is not a file.")]
    ProgramNotFile {
        /// As given.
        program: String,
    },
    /// No execute permission for us.
    #[error("The engine's program {program} is not executable; `chmod +x` makes it so.")]
    ProgramNotExecutable {
        /// As given.
        program: String,
    },
    /// A string that no process can be given.
    #[error("{what} cannot be passed to a program: {why}.")]
    BadText {
        /// Which: `argument 3`, `the variable PATH`.
        what: String,
        /// Why.
        why: &'static str,
    },
    /// The host is neither an IP address nor `localhost`.
    #[error("The engine cannot listen on {host:?}: an IP address such as 127.0.0.1 is needed.")]
    BadHost {
        /// As given.
        host: String,
    },
    /// Somebody listens there already, or another session is about to.
    #[error("Port {port} on {host} is already in use{}.", first_free_words(*.free))]
    PortTaken {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// A free one above it, if any.
        free: Option<u16>,
    },
    /// The system refuses the port for another reason.
    #[error("Port {port} on {host} cannot be used: {source}.")]
    PortRefused {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// As many sessions as are kept.
    #[error("There are already {max} sessions; take ended ones off the list first.")]
    TooManySessions {
        /// The bound.
        max: usize,
    },
}

fn first_free_words(free: Option<u16>) -> String {
    free.map(|port| format!("; {port} is free")).unwrap_or_default()
}

/// A session that is not there, or not in a state for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No session of that name.
    #[error("There is no session {0}.")]
    Unknown(u32),
    /// It still runs.
    #[error("Session {0} has not ended; stop it first.")]
    NotEnded(u32),
}
