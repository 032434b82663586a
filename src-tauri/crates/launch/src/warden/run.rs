//! The warden's life. One thread decides (this one); others only wait for one thing each and tell it: orders, signals, ends
//! of children, the engine's two outputs. All of them end with the process.

use std::io::{BufRead, BufReader, Read, stdin, stdout};
use std::process::{Child, ExitCode};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use dualgpuopt_core::command::LaunchSpec;
use dualgpuopt_core::session::{Exit, LogStream};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid, setsid};

use super::outbox::Outbox;
use super::protocol::{Order, PROTOCOL_LINE_BYTES_MAX, Said};
use super::{engine, tree};
use crate::log::Splitter;

/// Grace for what an engine leaves behind after it has ended by itself. Shorter than that of a wished stop: nobody asked them to
/// save anything, and the user waits to learn why the engine died.
const LEFTOVER_GRACE: Duration = Duration::from_secs(2);

/// Time between two rounds of force, at first and at most. A process stuck in a driver dies only when the driver lets go.
const KILL_ROUND_MIN: Duration = Duration::from_millis(10);
const KILL_ROUND_MAX: Duration = Duration::from_millis(500);

/// How long the engine's outputs may stay open after the last process of the tree. They close with it, unless somebody
/// outside holds a copy.
const DRAIN_MAX: Duration = Duration::from_millis(500);

enum Event {
    Order(Order),
    /// The end of our input: the app is gone.
    AppGone,
    /// Somebody asked this very process to end (the machine shuts down).
    Asked,
    EngineEnded(Exit),
    /// No child is left, and as orphans come to us, no descendant.
    TreeEmpty,
    /// One of the engine's outputs closed.
    OutputClosed,
}

/// Held while signalling and while reaping, so that no child of ours is reaped (and its id given away) in between.
type Reaping = Arc<Mutex<()>>;

pub(super) fn run() -> ExitCode {
    // Fails only where we lead a group already; then a shell started us by hand.
    let _ = setsid();
    let adopts_orphans = set_child_subreaper(true).is_ok();
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    // Before any thread, so that all have it.
    if signals.thread_block().is_err() {
        return ExitCode::FAILURE;
    }
    let (events, inbox) = channel();
    let outbox = Arc::new(Outbox::default());
    let writer = thread::spawn({
        let outbox = Arc::clone(&outbox);
        move || outbox.write_to(stdout())
    });
    spawn_waiter(&events, move |events| while signals.wait().is_ok() && events.send(Event::Asked).is_ok() {});
    spawn_waiter(&events, read_orders);
    let Ok(Event::Order(Order::Start { spec, grace_ms })) = inbox.recv() else {
        return ExitCode::FAILURE;
    };
    let code = guard(&spec, Duration::from_millis(grace_ms), adopts_orphans, &events, &inbox, &outbox);
    outbox.close();
    // An app that is there but does not read is waited for; one that is gone breaks the pipe.
    let _ = writer.join();
    code
}

fn spawn_waiter(events: &Sender<Event>, wait: impl FnOnce(Sender<Event>) + Send + 'static) {
    let events = events.clone();
    thread::spawn(move || wait(events));
}

/// From the engine's start to the end of its tree.
fn guard(
    spec: &LaunchSpec,
    grace: Duration,
    adopts_orphans: bool,
    events: &Sender<Event>,
    inbox: &Receiver<Event>,
    outbox: &Arc<Outbox>,
) -> ExitCode {
    let mark = engine::mark();
    let child = match engine::start(spec, &mark) {
        Ok(child) => child,
        Err(error) => {
            outbox.push(Said::CannotStart { kind: engine::refusal(&error), message: error.to_string() });
            return ExitCode::FAILURE;
        }
    };
    let containment = if adopts_orphans { "sub-reaper, own session" } else { "own session only" }.to_owned();
    outbox.push(Said::Started { pid: child.id(), containment, mark });
    let engine = read_outputs(child, events, outbox);
    let reaping = Reaping::default();
    spawn_waiter(events, {
        let reaping = Arc::clone(&reaping);
        move |events| reap(engine, &reaping, &events)
    });
    let (exit, open_outputs) = watch(inbox, &reaping, engine, grace);
    drain(inbox, open_outputs);
    outbox.push(Said::Exited { exit, dropped: 0 });
    ExitCode::SUCCESS
}

/// Reads the engine's outputs for as long as they are open, whatever the app does: the engine never waits for a reader.
fn read_outputs(mut child: Child, events: &Sender<Event>, outbox: &Arc<Outbox>) -> Pid {
    let outputs: [(LogStream, Option<Box<dyn Read + Send>>); 2] = [
        (LogStream::Out, child.stdout.take().map(|pipe| Box::new(pipe) as _)),
        (LogStream::Err, child.stderr.take().map(|pipe| Box::new(pipe) as _)),
    ];
    for (stream, pipe) in outputs {
        let outbox = Arc::clone(outbox);
        let pipe = pipe.expect("both outputs were asked for as pipes");
        spawn_waiter(events, move |events| {
            read_output(pipe, stream, &outbox);
            let _ = events.send(Event::OutputClosed);
        });
    }
    Pid::from_raw(i32::try_from(child.id()).expect("Linux process ids are positive i32"))
}

fn read_output(mut pipe: impl Read, stream: LogStream, outbox: &Outbox) {
    let mut splitter = Splitter::default();
    let mut chunk = vec![0; 64 * 1024];
    let say = |line: crate::log::Line| {
        outbox.push(Said::Log { stream, text: line.text, truncated: line.truncated, dropped: 0 });
    };
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => splitter.push(&chunk[..count], say),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    splitter.finish().into_iter().for_each(say);
}

/// Reads orders until the input ends. A line that is none counts as the end: whoever wrote it is not our app.
fn read_orders(events: Sender<Event>) {
    let mut input = BufReader::new(stdin());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(PROTOCOL_LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let order = read.ok().and_then(|_| serde_json::from_slice(&line).ok());
        let Some(order) = order else {
            let _ = events.send(Event::AppGone);
            return;
        };
        if events.send(Event::Order(order)).is_err() {
            return;
        }
    }
}

/// Reaps children, adopted ones included, until none is left.
fn reap(engine: Pid, reaping: &Reaping, events: &Sender<Event>) {
    loop {
        // Looks without reaping, so that the wait itself needs no lock.
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) => continue,
            // A child is waiting; nix has no name for the real-time signal that ended it, and answers EINVAL.
            Ok(_) | Err(_) => {}
        }
        let guard = reaping.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = waitpid(None, Some(WaitPidFlag::WNOHANG));
        drop(guard);
        let exit = match ended {
            Ok(WaitStatus::Exited(pid, code)) if pid == engine => Exit { code: Some(code), signal: None },
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == engine => {
                Exit { code: None, signal: Some(signal as i32) }
            }
            Err(_) if tree::look(engine.as_raw()).is_none() => Exit { code: None, signal: None },
            _ => continue,
        };
        let _ = events.send(Event::EngineEnded(exit));
    }
    let _ = events.send(Event::TreeEmpty);
}

/// Where the tree stands.
enum Phase {
    Running,
    /// Asked to end; by force from the instant on.
    Ending(Instant),
    /// Being killed; the pause before the next round.
    Killing(Duration),
}

/// Decides until the tree is empty. Gives how the engine ended and how many of its outputs are still open.
fn watch(inbox: &Receiver<Event>, reaping: &Reaping, engine: Pid, grace: Duration) -> (Exit, u32) {
    let mut phase = Phase::Running;
    let mut exit = Exit { code: None, signal: None };
    let mut open_outputs: u32 = 2;
    loop {
        let event = match &phase {
            Phase::Running => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Phase::Ending(until) => inbox.recv_timeout(until.saturating_duration_since(Instant::now())),
            Phase::Killing(pause) => inbox.recv_timeout(*pause),
        };
        let wished = match event {
            Ok(Event::TreeEmpty) | Err(RecvTimeoutError::Disconnected) => return (exit, open_outputs),
            Ok(Event::OutputClosed) => {
                open_outputs = open_outputs.saturating_sub(1);
                continue;
            }
            Ok(Event::Order(Order::Stop { grace_ms })) => Some(Duration::from_millis(grace_ms)),
            Ok(Event::AppGone | Event::Asked) => Some(grace),
            Ok(Event::EngineEnded(how)) => {
                exit = how;
                Some(LEFTOVER_GRACE)
            }
            Ok(Event::Order(Order::Kill)) | Err(RecvTimeoutError::Timeout) => None,
            Ok(Event::Order(Order::Start { .. })) => continue,
        };
        phase = match (phase, wished) {
            (Phase::Running, Some(grace)) => {
                ask_to_end(reaping, engine);
                Phase::Ending(Instant::now() + grace)
            }
            // Asked once is enough: llama-server takes a second request as *at once, without cleaning up*.
            (Phase::Ending(until), Some(grace)) => Phase::Ending(until.min(Instant::now() + grace)),
            (Phase::Killing(pause), Some(_)) => Phase::Killing(pause),
            (Phase::Running | Phase::Ending(_), None) => {
                kill_all(reaping);
                Phase::Killing(KILL_ROUND_MIN)
            }
            (Phase::Killing(pause), None) => {
                kill_all(reaping);
                Phase::Killing((pause * 2).min(KILL_ROUND_MAX))
            }
        };
    }
}

/// Asks every process of the tree to end, once each: the engine's group in one go (no fork slips through), then those that
/// left the group. A stopped process would not hear it, so all are continued.
fn ask_to_end(reaping: &Reaping, engine: Pid) {
    let _guard = reaping.lock().unwrap_or_else(PoisonError::into_inner);
    let members = tree::descendants(getpid().as_raw());
    // While one of ours is in the group, no stranger's group can have its number.
    if members.iter().any(|process| process.group == engine.as_raw()) {
        for signal in [Signal::SIGTERM, Signal::SIGCONT] {
            let _ = nix::sys::signal::killpg(engine, signal);
        }
    }
    for process in members.iter().filter(|process| process.group != engine.as_raw()) {
        tree::send(process, Signal::SIGTERM);
        tree::send(process, Signal::SIGCONT);
    }
}

/// One round of force. Those that fork meanwhile are caught by the next.
fn kill_all(reaping: &Reaping) {
    let _guard = reaping.lock().unwrap_or_else(PoisonError::into_inner);
    for process in tree::descendants(getpid().as_raw()) {
        tree::send(&process, Signal::SIGKILL);
    }
}

/// Lets the readers finish what the tree wrote last.
fn drain(inbox: &Receiver<Event>, mut open_outputs: u32) {
    let until = Instant::now() + DRAIN_MAX;
    while open_outputs > 0 {
        match inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Event::OutputClosed) => open_outputs -= 1,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
