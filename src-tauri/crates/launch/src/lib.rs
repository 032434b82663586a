//! Starts, watches and stops engines. The only crate of the product that makes processes.
//!
//! [`Launcher`] holds the sessions. Each has a task of its own, which alone writes its state and log; each engine runs
//! under a [`warden`], a process of ours that holds its whole tree. Linux only for now: elsewhere everything compiles and
//! [`Launcher::start`] says that it is not supported.
//!
//! Absent: what arguments mean, GPUs, restarts, engines that outlive the app.

#![deny(missing_docs)]

pub mod ansi;
mod ask;
mod check;
mod error;
mod link;
pub mod log;
pub mod port;
mod ready;
mod reason;
mod record;
mod ring;
mod session;
pub mod spawn;
mod sweep;
pub mod warden;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dualgpuopt_core::command::{LaunchSpec, STOP_GRACE};
use dualgpuopt_core::session::{LogBatch, SessionId, SessionState, SessionView};
use tokio::sync::mpsc;

pub use ask::{Printed, ask};
pub use check::check_program;
pub use error::{LaunchError, SessionError};
pub use record::LOG_BATCH_LINES_MAX;
use record::{Record, Writer};
pub use ring::{LOG_BYTES_MAX, LOG_LINES_MAX};
use session::Session;
pub use warden::{WARDEN_ENTRY, warden_main};

/// Most sessions kept, ended ones included.
pub const SESSIONS_MAX: usize = 64;

/// Orders waiting for a session's task. More change nothing: the first one stops it, the first forced one forces it.
const ORDERS_WAITING_MAX: usize = 8;

/// Gives wall-clock milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Takes events. Called on the sessions' tasks: it must not wait.
pub type Sink = Arc<dyn Fn(LaunchEvent) + Send + Sync>;

/// What happens to sessions.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "an event is moved once, and at most twenty come a second")]
pub enum LaunchEvent {
    /// A session came up or changed.
    State(SessionView),
    /// New lines of its log: at most [`LOG_BATCH_LINES_MAX`], at most 50 ms old.
    Log(LogBatch),
}

/// All sessions. Dropping it stops every engine, in the background, with the grace.
pub struct Launcher {
    warden_program: PathBuf,
    grace: Duration,
    clock: Clock,
    sink: Sink,
    /// Guards the list, never a session; held for moments, never across an await.
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    last_id: u32,
    by_id: BTreeMap<u32, Held>,
}

struct Held {
    record: Arc<Record>,
    orders: mpsc::Sender<bool>,
}

impl Launcher {
    /// `warden_program` is a program of ours that calls [`warden_main`] when started with [`WARDEN_ENTRY`]: usually the
    /// running one itself.
    #[must_use]
    pub fn new(warden_program: PathBuf, clock: Clock, sink: Sink) -> Self {
        Self { warden_program, grace: STOP_GRACE, clock, sink, sessions: Mutex::default() }
    }

    /// The same with another time between the polite and the forced stop; also the one granted when the app goes away.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // Plain data, whole between any two statements that could panic.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an engine, after looking whether it can start at all. Returns once the session exists; the rest comes as
    /// events. Needs a tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the launch; nothing was started then.
    pub async fn start(&self, spec: LaunchSpec) -> Result<SessionId, LaunchError> {
        if !cfg!(target_os = "linux") {
            return Err(LaunchError::NotSupported);
        }
        let promised = self.promised_ports();
        let checked = spec.clone();
        // Files may lie on a disk that is slow to answer.
        tokio::task::spawn_blocking(move || check::check(&checked, &promised))
            .await
            .expect("the checks do not panic, and nobody cancels them")?;
        let (orders, inbox) = mpsc::channel(ORDERS_WAITING_MAX);
        let record = self.enter(&spec, orders)?;
        let view = record.view();
        let id = view.id;
        (self.sink)(LaunchEvent::State(view));
        let writer = Writer::new(Arc::clone(&record), Arc::clone(&self.clock), Arc::clone(&self.sink));
        let warden_program = self.warden_program.clone();
        let session = tokio::spawn(Session { warden_program, spec, grace: self.grace, writer, orders: inbox }.run());
        let (clock, sink) = (Arc::clone(&self.clock), Arc::clone(&self.sink));
        tokio::spawn(async move {
            if session.await.is_err_and(|error| error.is_panic()) {
                sink(LaunchEvent::State(record.broken(clock())));
            }
        });
        Ok(id)
    }

    /// Puts a new session on the list.
    fn enter(&self, spec: &LaunchSpec, orders: mpsc::Sender<bool>) -> Result<Arc<Record>, LaunchError> {
        let mut sessions = self.sessions();
        if sessions.by_id.len() >= SESSIONS_MAX {
            return Err(LaunchError::TooManySessions { max: SESSIONS_MAX });
        }
        // Once more, under the lock: another start may have come between.
        if sessions.promised_ports().contains(&spec.port) {
            return Err(LaunchError::PortTaken { host: spec.host.clone(), port: spec.port, free: None });
        }
        sessions.last_id += 1;
        let id = sessions.last_id;
        let record = Arc::new(Record::new(SessionView {
            id: SessionId(id),
            spec: spec.clone(),
            state: SessionState::Starting,
            pid: None,
            started_at_ms: (self.clock)(),
            ready_at_ms: None,
            ended_at_ms: None,
            containment: None,
        }));
        sessions.by_id.insert(id, Held { record: Arc::clone(&record), orders });
        Ok(record)
    }

    fn promised_ports(&self) -> Vec<u16> {
        self.sessions().promised_ports()
    }

    /// The first loopback port from `from` on that neither anybody listens on nor a session of ours is about to.
    #[must_use]
    pub fn free_port(&self, from: u16) -> Option<u16> {
        port::first_free(from, &self.promised_ports())
    }

    /// Asks a session to stop its whole tree: politely, and by force after the grace; or by force at once. Asking again,
    /// or asking one that has ended, changes nothing, but that force may follow a polite request.
    ///
    /// # Errors
    /// There is no such session.
    pub fn stop(&self, id: SessionId, force: bool) -> Result<(), SessionError> {
        let sessions = self.sessions();
        let held = sessions.by_id.get(&id.0).ok_or(SessionError::Unknown(id.0))?;
        // Full: enough orders wait. Closed: it has ended.
        let _ = held.orders.try_send(force);
        Ok(())
    }

    /// Stops every session and waits until all have ended: at most the grace and, where a driver holds a process, about
    /// fifteen seconds more.
    pub async fn stop_all(&self) {
        let records: Vec<Arc<Record>> = {
            let sessions = self.sessions();
            for held in sessions.by_id.values() {
                let _ = held.orders.try_send(false);
            }
            sessions.by_id.values().map(|held| Arc::clone(&held.record)).collect()
        };
        for record in records {
            record.wait_ended().await;
        }
    }

    /// All sessions, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<SessionView> {
        self.sessions().by_id.values().map(|held| held.record.view()).collect()
    }

    /// Kept lines of a session's log from number `from_seq` on, `max` at most.
    ///
    /// # Errors
    /// There is no such session.
    pub fn log(&self, id: SessionId, from_seq: u64, max: usize) -> Result<LogBatch, SessionError> {
        let record = self.sessions().by_id.get(&id.0).map(|held| Arc::clone(&held.record));
        record.map(|record| record.log(from_seq, max)).ok_or(SessionError::Unknown(id.0))
    }

    /// Takes an ended session off the list.
    ///
    /// # Errors
    /// There is no such session, or it has not ended.
    pub fn forget(&self, id: SessionId) -> Result<(), SessionError> {
        let mut sessions = self.sessions();
        let held = sessions.by_id.get(&id.0).ok_or(SessionError::Unknown(id.0))?;
        if !held.record.view().state.ended() {
            return Err(SessionError::NotEnded(id.0));
        }
        sessions.by_id.remove(&id.0);
        Ok(())
    }
}

impl Sessions {
    /// Ports of sessions that have not ended.
    fn promised_ports(&self) -> Vec<u16> {
        let views = self.by_id.values().map(|held| held.record.view());
        views.filter(|view| !view.state.ended()).map(|view| view.spec.port).collect()
    }
}
