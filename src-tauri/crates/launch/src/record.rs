//! What is known of one session: shared between its task, which alone writes, and whoever asks.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dualgpuopt_core::session::{LogBatch, LogLevel, LogLine, LogStream, SessionState, SessionView};
use tokio::sync::watch;

use crate::ring::Ring;
use crate::{Clock, LaunchEvent, Sink, log};

/// Most lines in one batch.
pub const LOG_BATCH_LINES_MAX: usize = 500;

/// A session's view and log.
pub(crate) struct Record {
    /// Guards against reading half a change; never held while the sink is called. A lock and not a message, because
    /// listing sessions must not wait for their tasks.
    view: Mutex<SessionView>,
    /// Likewise.
    ring: Mutex<Ring>,
    ended: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data, whole between any two statements that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Record {
    pub(crate) fn new(view: SessionView) -> Self {
        Self { view: Mutex::new(view), ring: Mutex::default(), ended: watch::Sender::new(false) }
    }

    /// The session as it stands.
    pub(crate) fn view(&self) -> SessionView {
        lock(&self.view).clone()
    }

    /// The end of a session whose task panicked. With the task its line to the warden was dropped, so the tree is being
    /// stopped. The one change of state outside the task, and outside the table: a defect follows no table.
    pub(crate) fn broken(&self, now_ms: u64) -> SessionView {
        let mut view = lock(&self.view);
        view.state = SessionState::Failed {
            message: "A defect of ours ended the watching of this session; the engine is being stopped.".into(),
            hint: "Start it again, and report this.".into(),
        };
        view.ended_at_ms = Some(now_ms);
        self.ended.send_replace(true);
        view.clone()
    }

    /// Kept lines from `from_seq` on.
    pub(crate) fn log(&self, from_seq: u64, max: usize) -> LogBatch {
        let session = lock(&self.view).id;
        let ring = lock(&self.ring);
        LogBatch { session, lines: ring.from(from_seq, max), dropped: ring.dropped }
    }

    /// Applies `look` to the newest lines, the newest first.
    pub(crate) fn with_newest<T>(&self, look: impl FnOnce(&mut dyn Iterator<Item = &LogLine>) -> T) -> T {
        look(&mut lock(&self.ring).newest())
    }

    /// Waits for the end.
    pub(crate) async fn wait_ended(&self) {
        // The sender lives in this very record.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

/// The writing end of a record, held by the session's task.
pub(crate) struct Writer {
    pub(crate) record: Arc<Record>,
    clock: Clock,
    sink: Sink,
    pending: Vec<LogLine>,
    next_seq: u64,
    dropped: u64,
}

impl Writer {
    pub(crate) fn new(record: Arc<Record>, clock: Clock, sink: Sink) -> Self {
        Self { record, clock, sink, pending: Vec::new(), next_seq: 0, dropped: 0 }
    }

    /// Wall-clock milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    pub(crate) fn state(&self) -> SessionState {
        lock(&self.record.view).state.clone()
    }

    /// Changes the view without changing its state, and tells.
    pub(crate) fn change(&self, change: impl FnOnce(&mut SessionView)) {
        let view = {
            let mut view = lock(&self.record.view);
            change(&mut view);
            view.clone()
        };
        (self.sink)(LaunchEvent::State(view));
    }

    /// Goes to the next state and tells, after the log lines that led there.
    pub(crate) fn become_state(&mut self, next: SessionState) {
        self.flush();
        let now_ms = self.now_ms();
        let ended = next.ended();
        self.change(|view| {
            assert!(view.state.may_become(&next), "illegal step of a session: {:?} to {next:?}", view.state);
            if next == SessionState::Ready {
                view.ready_at_ms = Some(now_ms);
            }
            if ended {
                view.ended_at_ms = Some(now_ms);
            }
            view.state = next;
        });
        if ended {
            self.record.ended.send_replace(true);
        }
    }

    /// Adds a line of the engine. `dropped` counts the lines lost before it, since the start.
    pub(crate) fn line(&mut self, stream: LogStream, text: String, truncated: bool, dropped: u64) {
        let level = log::level(&text);
        self.next_seq += self.count_dropped(dropped);
        self.push(stream, level, text, truncated);
    }

    /// Adds a line of ours.
    pub(crate) fn say(&mut self, level: LogLevel, text: String) {
        self.push(LogStream::App, level, text, false);
    }

    /// Takes over the count of lost lines; gives how many are new.
    pub(crate) fn count_dropped(&mut self, dropped: u64) -> u64 {
        let new = dropped.saturating_sub(self.dropped);
        self.dropped += new;
        lock(&self.record.ring).dropped = self.dropped;
        new
    }

    fn push(&mut self, stream: LogStream, level: LogLevel, text: String, truncated: bool) {
        let line = LogLine { seq: self.next_seq, at_ms: self.now_ms(), stream, level, text, truncated };
        self.next_seq += 1;
        lock(&self.record.ring).push(line.clone());
        self.pending.push(line);
        if self.pending.len() >= LOG_BATCH_LINES_MAX {
            self.flush();
        }
    }

    /// Whether lines wait to be told.
    pub(crate) fn pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Tells the lines that wait.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let session = lock(&self.record.view).id;
        let lines = std::mem::take(&mut self.pending);
        (self.sink)(LaunchEvent::Log(LogBatch { session, lines, dropped: self.dropped }));
    }
}

/// A program's file name, for sentences.
pub(crate) fn name_of(program: &str) -> String {
    Path::new(program).file_name().map_or_else(|| program.to_owned(), |name| name.to_string_lossy().into_owned())
}
