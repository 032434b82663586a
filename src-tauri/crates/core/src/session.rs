//! A session: one launched engine and its process tree, from queue to end. Only legal transitions exist.

use serde::{Deserialize, Serialize};

use crate::command::LaunchSpec;

/// Names a session for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, specta::Type)]
#[serde(transparent)]
pub struct SessionId(pub u32);

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct Exit {
    /// Exit code, where it ended by itself.
    pub code: Option<i32>,
    /// Signal number, where one ended it.
    pub signal: Option<i32>,
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SessionState {
    /// The process is being made.
    Starting,
    /// The process runs; the engine is loading the model.
    Loading,
    /// The health endpoint says yes.
    Ready,
    /// Asked to end; forced at `force_at_ms`.
    Stopping {
        /// Wall-clock milliseconds at which it will be forced.
        force_at_ms: u64,
    },
    /// Ended because it was asked to.
    Stopped {
        /// How.
        exit: Exit,
    },
    /// Ended by itself, or never started.
    Failed {
        /// What happened, one sentence.
        message: String,
        /// What to do, one sentence; may be empty.
        hint: String,
    },
}

impl SessionState {
    /// Whether the session has ended.
    #[must_use]
    pub const fn ended(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::Failed { .. })
    }

    /// Whether `next` may follow. The driver asserts this; a test walks every pair.
    #[must_use]
    pub const fn may_become(&self, next: &Self) -> bool {
        use SessionState::{Failed, Loading, Ready, Starting, Stopped, Stopping};
        match (self, next) {
            (Starting, Loading | Stopping { .. } | Failed { .. })
            | (Loading, Ready | Stopping { .. } | Failed { .. })
            | (Ready, Stopping { .. } | Failed { .. })
            | (Stopping { .. }, Stopped { .. } | Failed { .. }) => true,
            (Stopped { .. } | Failed { .. } | Starting | Loading | Ready | Stopping { .. }, _) => false,
        }
    }
}

/// A session as shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// What was launched.
    pub spec: LaunchSpec,
    /// Where it stands.
    pub state: SessionState,
    /// Process id of the engine, once it runs.
    pub pid: Option<u32>,
    /// Wall-clock milliseconds of the start.
    pub started_at_ms: u64,
    /// Wall-clock milliseconds when it became ready.
    pub ready_at_ms: Option<u64>,
    /// Wall-clock milliseconds of the end.
    pub ended_at_ms: Option<u64>,
    /// How the process tree is contained, in words ("sub-reaper, own session").
    pub containment: Option<String>,
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// The engine's standard output.
    Out,
    /// The engine's standard error.
    Err,
    /// Ours: started, ready, stopped.
    App,
}

/// How grave a log line is, as far as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Ordinary.
    Info,
    /// A warning.
    Warning,
    /// An error.
    Error,
}

/// One line of a session's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct LogLine {
    /// Counts up by one per line of the session; a gap means that lines were dropped.
    pub seq: u64,
    /// Wall-clock milliseconds at which it was read.
    pub at_ms: u64,
    /// Where from.
    pub stream: LogStream,
    /// How grave.
    pub level: LogLevel,
    /// The text, without escape sequences and line end, valid UTF-8.
    pub text: String,
    /// Whether the line was longer than the cap and was cut.
    pub truncated: bool,
}

/// Lines of one session that arrived together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct LogBatch {
    /// Whose.
    pub session: SessionId,
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// Lines dropped so far because nobody could take them.
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    use super::SessionState::{Failed, Loading, Ready, Starting, Stopped, Stopping};
    use super::*;

    fn every_state() -> Vec<SessionState> {
        vec![
            Starting,
            Loading,
            Ready,
            Stopping { force_at_ms: 20_000 },
            Stopped { exit: Exit { code: Some(0), signal: None } },
            Failed { message: "It ended.".into(), hint: String::new() },
        ]
    }

    /// Rows: from. Columns: to. In the order of [`every_state`].
    const LEGAL: [[bool; 6]; 6] = [
        [false, true, false, true, false, true],
        [false, false, true, true, false, true],
        [false, false, false, true, false, true],
        [false, false, false, false, true, true],
        [false, false, false, false, false, false],
        [false, false, false, false, false, false],
    ];

    #[test]
    fn every_pair_of_states_is_legal_or_not_as_the_table_says() {
        for (from, row) in every_state().iter().zip(LEGAL) {
            for (to, legal) in every_state().iter().zip(row) {
                assert_eq!(from.may_become(to), legal, "{from:?} -> {to:?}");
            }
        }
    }

    #[test]
    fn nothing_follows_an_end_and_every_other_state_has_a_way_to_one() {
        let states = every_state();
        for state in &states {
            let goes_on = states.iter().any(|next| state.may_become(next));
            assert_eq!(state.ended(), !goes_on, "{state:?}");
            assert!(state.ended() || states.iter().any(|next| next.ended() && state.may_become(next)), "{state:?}");
        }
    }
}
