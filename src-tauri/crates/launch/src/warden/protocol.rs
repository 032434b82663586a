//! What app and warden say to each other: one JSON object per line, over the warden's standard input and output.

use dualgpuopt_core::command::LaunchSpec;
use dualgpuopt_core::session::{Exit, LogStream};
use serde::{Deserialize, Serialize};

/// Longest line either side takes, bytes. A launch with as many arguments as Linux allows (2 MiB) fits; a log line of 16
/// KiB, escaped, is far below.
pub(crate) const PROTOCOL_LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// App to warden. The end of the input means that the app is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Start the engine. Said once, first.
    Start {
        /// What to start.
        spec: LaunchSpec,
        /// Milliseconds between the polite and the forced stop if the app goes away.
        grace_ms: u64,
    },
    /// Stop the tree politely, and by force after the grace.
    Stop {
        /// Milliseconds of grace.
        grace_ms: u64,
    },
    /// Stop the tree by force, now.
    Kill,
}

/// Warden to app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub(crate) enum Said {
    /// The engine runs.
    Started {
        /// Its process id.
        pid: u32,
        /// How its tree is contained, in words.
        containment: String,
        /// Value of [`super::TREE_MARK`] in the tree's environment.
        mark: String,
    },
    /// A line of the engine's log.
    Log {
        /// Which of its outputs.
        stream: LogStream,
        /// The text, without escapes.
        text: String,
        /// Whether it was cut.
        truncated: bool,
        /// Lines dropped so far, all of them before this one.
        dropped: u64,
    },
    /// The engine ended and nothing of its tree is left. Said last.
    Exited {
        /// How the engine itself ended.
        exit: Exit,
        /// Lines dropped in all.
        dropped: u64,
    },
    /// The engine could not be started. Said last.
    CannotStart {
        /// Why, as a kind.
        kind: Refusal,
        /// Why, as the system says it.
        message: String,
    },
}

/// Why the system refuses to start a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// The program, or the interpreter that its first line names, is not there.
    NotFound,
    /// No right to run it.
    NotAllowed,
    /// Not a program of this machine: another architecture, or a text without an interpreter line.
    WrongFormat,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_one_line_and_comes_back_the_same() {
        let spec = LaunchSpec {
            title: "a\nb".into(),
            program: "/bin/x".into(),
            args: vec!["\u{2028}\r\n\"".into()],
            env: Vec::new(),
            host: "127.0.0.1".into(),
            port: 1,
            health_path: "/health".into(),
        };
        for order in [Order::Start { spec, grace_ms: 5 }, Order::Stop { grace_ms: u64::MAX }, Order::Kill] {
            let line = serde_json::to_string(&order).expect("plain data");
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(serde_json::from_str::<Order>(&line).expect("our own line"), order);
        }
    }
}
