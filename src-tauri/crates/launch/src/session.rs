//! One session: a task that owns the line to its warden, takes orders, asks for readiness and drives the states.

use std::future::pending;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use dualgpuopt_core::command::LaunchSpec;
use dualgpuopt_core::session::{Exit, LogLevel, SessionState};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::link::Link;
use crate::reason::{self, Reason};
use crate::record::{Writer, name_of};
use crate::warden::protocol::{Order, Refusal, Said};
use crate::{ready, sweep};

/// Longest time that a log line waits for company.
const LOG_BATCH_WAIT: Duration = Duration::from_millis(50);

/// How long after the force the end may take. A process that a driver holds outlives even that.
const FORCE_MAX: Duration = Duration::from_secs(10);

type Probe = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A session before it runs.
pub(crate) struct Session {
    pub(crate) warden_program: PathBuf,
    pub(crate) spec: LaunchSpec,
    pub(crate) grace: Duration,
    pub(crate) writer: Writer,
    /// Orders to stop; true: by force.
    pub(crate) orders: mpsc::Receiver<bool>,
}

/// What the session knows of a running warden.
struct Running {
    link: Link,
    began: Instant,
    /// Mark of the tree and the engine's process id, once it runs.
    tree: Option<(String, u32)>,
    probe: Option<Probe>,
    flush_at: Option<Instant>,
    /// When the end is overdue, once asked for.
    overdue: Option<Instant>,
    /// Nobody is left who could give orders.
    abandoned: bool,
}

/// How the watching ended.
enum End {
    Exited(Exit),
    CannotStart(Refusal, String),
    /// The warden went away without a last word.
    WardenGone,
    /// Not even force helped in time.
    Overdue,
}

impl Session {
    /// From Starting to an end.
    pub(crate) async fn run(mut self) {
        let first = Order::Start { spec: self.spec.clone(), grace_ms: millis(self.grace) };
        let link = match Link::start(&self.warden_program, &first).await {
            Ok(link) => link,
            Err(error) => {
                let message = format!(
                    "The process that watches over engines ({}) could not be started: {error}.",
                    self.warden_program.display()
                );
                return self.fail(Reason { message, hint: "Install the app again.".into() });
            }
        };
        let mut running = Running {
            link,
            began: Instant::now(),
            tree: None,
            probe: None,
            flush_at: None,
            overdue: None,
            abandoned: false,
        };
        let end = loop {
            if let Some(end) = self.step(&mut running).await {
                break end;
            }
        };
        self.finish(running, end).await;
    }

    /// Waits for the next thing to happen, and deals with it.
    async fn step(&mut self, running: &mut Running) -> Option<End> {
        let probe = running.probe.is_some();
        if !self.writer.pending() {
            running.flush_at = None;
        } else if running.flush_at.is_none() {
            running.flush_at = Some(Instant::now() + LOG_BATCH_WAIT);
        }
        tokio::select! {
            said = running.link.heard.recv() => return match said {
                None => Some(End::WardenGone),
                Some(Said::Exited { exit, dropped }) => {
                    self.writer.count_dropped(dropped);
                    Some(End::Exited(exit))
                }
                Some(Said::CannotStart { kind, message }) => Some(End::CannotStart(kind, message)),
                Some(Said::Log { stream, text, truncated, dropped }) => {
                    self.writer.line(stream, text, truncated, dropped);
                    None
                }
                Some(Said::Started { pid, containment, mark }) => {
                    self.started(running, pid, containment, mark);
                    None
                }
            },
            order = self.orders.recv(), if !running.abandoned => {
                running.abandoned = order.is_none();
                self.stop(running, order.unwrap_or(false)).await;
            }
            answer = poll(&mut running.probe), if probe => self.answered(running, answer),
            () = at(running.flush_at) => self.writer.flush(),
            () = at(running.overdue) => return Some(End::Overdue),
        }
        None
    }

    fn started(&mut self, running: &mut Running, pid: u32, containment: String, mark: String) {
        self.writer.say(LogLevel::Info, format!("Started {}, PID {pid}", name_of(&self.spec.program)));
        running.tree = Some((mark, pid));
        let starting = self.writer.state() == SessionState::Starting;
        self.writer.change(|view| {
            view.pid = Some(pid);
            view.containment = Some(containment);
        });
        if starting {
            self.writer.become_state(SessionState::Loading);
            let spec = self.spec.clone();
            running.probe = Some(Box::pin(async move { ready::ready(&spec).await }));
        }
    }

    fn answered(&mut self, running: &mut Running, answer: Result<(), String>) {
        running.probe = None;
        match answer {
            Ok(()) => {
                let seconds = running.began.elapsed().as_secs_f64();
                self.writer.say(LogLevel::Info, format!("Ready after {seconds:.1} s"));
                self.writer.become_state(SessionState::Ready);
            }
            Err(why) => self.writer.say(LogLevel::Error, format!("Cannot ask the engine whether it is ready: {why}")),
        }
    }

    async fn stop(&mut self, running: &mut Running, force: bool) {
        let stopping = matches!(self.writer.state(), SessionState::Stopping { .. });
        if stopping && !force {
            return;
        }
        let grace = if force { Duration::ZERO } else { self.grace };
        running.probe = None;
        running.overdue = Some(Instant::now() + grace + FORCE_MAX);
        if force {
            self.writer.say(LogLevel::Info, "Stopping by force".into());
        } else {
            self.writer.say(LogLevel::Info, format!("Stopping; by force in {} s", grace.as_secs_f64()));
        }
        if !stopping {
            let force_at_ms = self.writer.now_ms().saturating_add(millis(grace));
            self.writer.become_state(SessionState::Stopping { force_at_ms });
        }
        let order = if force { Order::Kill } else { Order::Stop { grace_ms: millis(grace) } };
        if let Err(error) = running.link.order(&order).await {
            // The end of what it says, or the overdue end, follows.
            tracing::warn!(%error, "the warden does not take an order");
        }
    }

    async fn finish(mut self, running: Running, end: End) {
        let name = name_of(&self.spec.program);
        let state = self.writer.state();
        match end {
            End::Exited(exit) => {
                running.link.close().await;
                if matches!(state, SessionState::Stopping { .. }) {
                    let force = exit.signal == Some(9);
                    self.writer.say(LogLevel::Info, if force { "Stopped by force" } else { "Stopped" }.into());
                    return self.writer.become_state(SessionState::Stopped { exit });
                }
                let ready = state == SessionState::Ready;
                let why = self.writer.record.with_newest(|newest| reason::ended(&name, exit, ready, newest));
                self.fail(why);
            }
            End::CannotStart(kind, message) => {
                running.link.close().await;
                self.fail(cannot_start(&name, kind, &message));
            }
            End::WardenGone => {
                running.link.kill().await;
                let left = sweep::sweep(running.tree.map(|(mark, _)| mark)).await;
                let message = format!("The process that watches over {name} was killed, and {name} with it.");
                self.fail(Reason { message, hint: left_words(&left) });
            }
            End::Overdue => {
                let pid = running.tree.as_ref().map(|(_, pid)| *pid);
                running.link.kill().await;
                let mut left = sweep::sweep(running.tree.map(|(mark, _)| mark)).await;
                left.retain(|left| Some(*left) != pid);
                left.extend(pid.filter(|pid| sweep::alive(*pid)));
                let message = format!("{name} did not end, even by force.");
                self.fail(Reason { message, hint: left_words(&left) });
            }
        }
    }

    fn fail(&mut self, why: Reason) {
        self.writer.say(LogLevel::Error, why.message.clone());
        self.writer.become_state(SessionState::Failed { message: why.message, hint: why.hint });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

async fn poll(probe: &mut Option<Probe>) -> Result<(), String> {
    match probe {
        Some(probe) => probe.await,
        None => pending().await,
    }
}

fn cannot_start(name: &str, kind: Refusal, message: &str) -> Reason {
    let hint = match kind {
        Refusal::NotFound => "The program is gone, or is a script whose interpreter (its first line) is missing.",
        Refusal::NotAllowed => "Check the file's permissions, and that its disk is not mounted noexec.",
        Refusal::WrongFormat => "It is no program of this machine: take the build for this system and processor.",
        Refusal::Other => "",
    };
    Reason { message: format!("{name} could not be started: {message}."), hint: hint.to_owned() }
}

fn left_words(left: &[u32]) -> String {
    if left.is_empty() {
        return "Nothing of it is left; start it again.".into();
    }
    let pids: Vec<String> = left.iter().map(u32::to_string).collect();
    format!(
        "Still there, probably held by the GPU driver: PID {}. They end when the driver lets go, at the latest with a reboot.",
        pids.join(", ")
    )
}
