//! Watches the sampler process: passes its frames on, notices silence and death, replaces it, and gives up in the end.
//!
//! Owner of its state: the sampling thread. Silence is measured on a clock that stands still while the machine sleeps,
//! so that waking up is no false alarm.

use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use dualgpuopt_core::gpu::{Frame, GpuSample, Machine, SourceHealth};
use dualgpuopt_core::reading::Why;

use super::{ChildPipes, Input, SamplerChoice, SamplerConfig, SamplerEvent, Spawner, Wishes};
use crate::clock::Clock;
use crate::protocol::{self, Message, ReadError};
use crate::sampler_process::{INTERVAL_ARGUMENT, LIBRARY_ARGUMENT, SAMPLER_ENTRY};
use crate::ticks::Ticks;

/// Silence of so many intervals is a hang.
const PATIENCE_INTERVALS: u32 = 3;
/// A driver that has just been loaded may take seconds per card to start; a start gets so many patiences.
const PATIENCES_TO_START: u32 = 5;
/// A child that lived for so many patiences was sound: what follows is a new story.
const PATIENCES_TO_TRUST: u32 = 10;
/// The first pause before a replacement is this part of a patience; each further one is twice as long.
const PAUSE_PART: u32 = 4;
/// Doublings of that pause, at most.
const PAUSE_DOUBLINGS_MAX: u32 = 6;

pub(super) struct Supervisor<S> {
    config: SamplerConfig,
    spawner: Box<dyn Spawner>,
    clock: Arc<dyn Clock>,
    inputs: SyncSender<Input>,
    sink: S,
    phase: Phase,
    child: Option<ChildPipes>,
    generation: u64,
    /// Children that were killed and whose pipe has not closed: stuck in the driver, as far as we can know.
    abandoned: Vec<u64>,
    /// Failures in a row.
    failures: u32,
    health: SourceHealth,
    machine: Option<Machine>,
    /// The newest samples, for when each GPU last answered.
    last: Vec<GpuSample>,
    seq: u64,
    /// Frames without values that are sent while no child sends any.
    blanks: Option<Ticks>,
}

enum Phase {
    /// Waiting for the child's next line, since that instant.
    Listening { since: Instant, live_since: Option<Instant> },
    /// The next child is started at that instant.
    Pausing { until: Instant },
    /// Absent or given up.
    Off,
}

impl<S: FnMut(SamplerEvent)> Supervisor<S> {
    pub(super) fn new(
        config: SamplerConfig,
        spawner: Box<dyn Spawner>,
        clock: Arc<dyn Clock>,
        inputs: SyncSender<Input>,
        sink: S,
    ) -> Self {
        Self {
            config,
            spawner,
            clock,
            inputs,
            sink,
            phase: Phase::Off,
            child: None,
            generation: 0,
            abandoned: Vec::new(),
            failures: 0,
            health: SourceHealth::Starting,
            machine: None,
            last: Vec::new(),
            seq: 0,
            blanks: None,
        }
    }

    pub(super) fn run(mut self, wishes: &Wishes, inputs: &Receiver<Input>) {
        (self.sink)(SamplerEvent::Health(self.health.clone()));
        self.spawn();
        while !wishes.stop.load(Ordering::Acquire) {
            if wishes.retry.swap(false, Ordering::AcqRel) {
                self.retry();
            }
            let next = self.next_instant();
            let input = match next {
                Some(at) => inputs.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match input {
                Ok(Input::Child { generation, heard }) => self.hear(generation, heard),
                Ok(Input::Wake) | Err(_) => {}
            }
            self.look_at_the_time();
        }
        self.abandon();
    }

    fn patience(&self) -> Duration {
        self.config.patience_min.max(self.config.interval * PATIENCE_INTERVALS)
    }

    /// How long the child may be silent now.
    fn silence_max(&self, live_since: Option<Instant>) -> Duration {
        if live_since.is_some() { self.patience() } else { self.patience() * PATIENCES_TO_START }
    }

    fn next_instant(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Listening { since, live_since } => Some(since + self.silence_max(live_since)),
            Phase::Pausing { until } => Some(until),
            Phase::Off => None,
        };
        [phase, self.blanks.as_ref().map(Ticks::next)].into_iter().flatten().min()
    }

    fn look_at_the_time(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::Listening { since, live_since } if now >= since + self.silence_max(live_since) => {
                let seconds = self.silence_max(live_since).as_secs_f64();
                self.fail(&format!("The NVIDIA driver did not answer for {seconds:.1} s."));
            }
            Phase::Pausing { until } if now >= until => self.spawn(),
            _ => {}
        }
        if self.blanks.as_mut().is_some_and(|blanks| blanks.take(now)) {
            self.blank_frame();
        }
    }

    fn hear(&mut self, generation: u64, heard: Result<Message, ReadError>) {
        let over = heard.is_err();
        if generation == self.generation && self.child.is_some() {
            self.hear_child(heard);
        }
        if over {
            // Its pipe has closed: it is not stuck.
            self.abandoned.retain(|&stuck| stuck != generation);
        }
    }

    fn hear_child(&mut self, heard: Result<Message, ReadError>) {
        let now = Instant::now();
        if let Phase::Listening { since, .. } = &mut self.phase {
            *since = now;
        }
        match heard {
            Ok(Message::Machine(machine)) => {
                if self.machine.as_ref() != Some(&machine) {
                    self.machine = Some(machine.clone());
                    (self.sink)(SamplerEvent::Machine(machine));
                }
            }
            Ok(Message::Frame(frame)) => {
                if let Phase::Listening { live_since, .. } = &mut self.phase {
                    live_since.get_or_insert(now);
                }
                self.blanks = None;
                self.set_health(SourceHealth::Live);
                self.pass_on(frame);
            }
            Ok(Message::Absent { message, looked_for }) => {
                self.give_up(SourceHealth::Absent { message, looked_for });
            }
            Ok(Message::Failed { message }) => self.fail(&message),
            Err(ReadError::Ended) => self.fail("The process that reads the NVIDIA driver ended unexpectedly."),
            Err(error) => {
                self.fail(&format!("The process that reads the NVIDIA driver cannot be understood: {error}."))
            }
        }
    }

    /// Numbers the frame, and adds what a new child cannot know: when its silent GPUs last answered.
    fn pass_on(&mut self, mut frame: Frame) {
        self.seq += 1;
        frame.seq = self.seq;
        for sample in frame.gpus.iter_mut().filter(|sample| sample.answered_at.is_none()) {
            sample.answered_at = self.last.iter().find(|last| last.gpu == sample.gpu).and_then(|last| last.answered_at);
        }
        self.last.clone_from(&frame.gpus);
        (self.sink)(SamplerEvent::Frame(frame));
    }

    /// A frame in which every GPU has timed out.
    fn blank_frame(&mut self) {
        let blank = |sample: &GpuSample| GpuSample::missing(sample.gpu.clone(), sample.answered_at, Why::TimedOut);
        let gpus: Vec<_> = self.last.iter().map(blank).collect();
        if gpus.is_empty() {
            return;
        }
        self.pass_on(Frame { seq: 0, at: self.clock.now(), gpus, problems: Vec::new() });
    }

    /// The child hung, crashed or refused: replace it after a pause, or give up.
    fn fail(&mut self, message: &str) {
        let trusted = matches!(self.phase, Phase::Listening { live_since: Some(since), .. }
            if since.elapsed() >= self.patience() * PATIENCES_TO_TRUST);
        self.failures = if trusted { 1 } else { self.failures + 1 };
        self.abandon();
        if self.failures > self.config.recovery_max {
            self.blank_frame();
            self.give_up(SourceHealth::Failed { message: message.to_owned() });
            return;
        }
        tracing::warn!(attempt = self.failures, "{message}");
        let doublings = (self.failures - 1).min(PAUSE_DOUBLINGS_MAX);
        let now = Instant::now();
        self.phase = Phase::Pausing { until: now + self.patience() / PAUSE_PART * 2_u32.pow(doublings) };
        self.blanks.get_or_insert_with(|| Ticks::new(now, self.config.interval));
        self.set_health(SourceHealth::Recovering {
            message: message.to_owned(),
            attempt: self.failures,
            attempts_max: self.config.recovery_max,
        });
    }

    fn give_up(&mut self, health: SourceHealth) {
        // The host hears it as health and tells the user; the log is for whoever looks closer.
        tracing::debug!(?health, "the source was given up");
        self.abandon();
        self.phase = Phase::Off;
        self.blanks = None;
        self.set_health(health);
    }

    fn retry(&mut self) {
        if matches!(self.phase, Phase::Off | Phase::Pausing { .. }) {
            self.failures = 0;
            self.set_health(SourceHealth::Starting);
            self.spawn();
        }
    }

    fn set_health(&mut self, health: SourceHealth) {
        if self.health != health {
            self.health = health.clone();
            (self.sink)(SamplerEvent::Health(health));
        }
    }

    /// Ends the child as far as that can be done, and waits for nothing.
    fn abandon(&mut self) {
        if let Some(ChildPipes { stdin, mut kill, .. }) = self.child.take() {
            drop(stdin);
            kill();
            self.abandoned.push(self.generation);
        }
    }

    fn spawn(&mut self) {
        let stuck = u32::try_from(self.abandoned.len()).unwrap_or(u32::MAX);
        if stuck > 0 && stuck >= self.config.recovery_max {
            let message = format!(
                "{stuck} processes hang in the NVIDIA driver and cannot be ended. A reboot is needed before the GPUs can be read."
            );
            self.give_up(SourceHealth::Failed { message });
            return;
        }
        self.generation += 1;
        match self.spawner.spawn(&self.arguments()).and_then(|child| self.listen(child)) {
            Ok(child) => {
                tracing::debug!(pid = child.pid, "sampler process started");
                self.child = Some(child);
                self.phase = Phase::Listening { since: Instant::now(), live_since: None };
            }
            Err(error) => self.fail(&format!("The process that reads the NVIDIA driver would not start: {error}.")),
        }
    }

    fn arguments(&self) -> Vec<String> {
        let interval = self.config.interval.as_millis().to_string();
        let mut arguments = vec![SAMPLER_ENTRY.to_owned(), INTERVAL_ARGUMENT.to_owned(), interval];
        if let SamplerChoice::Nvml { library: Some(path) } = &self.config.choice {
            arguments.extend([LIBRARY_ARGUMENT.to_owned(), path.to_string_lossy().into_owned()]);
        }
        arguments
    }

    /// Starts the thread that hears the child. It is never joined: a stuck child's pipe may never close.
    fn listen(&self, mut child: ChildPipes) -> std::io::Result<ChildPipes> {
        let stdout = std::mem::replace(&mut child.stdout, Box::new(std::io::empty()));
        let (inputs, generation) = (self.inputs.clone(), self.generation);
        let hear = move || {
            let (mut input, mut buffer) = (BufReader::new(stdout), Vec::new());
            loop {
                let heard = protocol::read(&mut input, &mut buffer);
                let last = heard.is_err();
                if inputs.send(Input::Child { generation, heard }).is_err() || last {
                    return;
                }
            }
        };
        match thread::Builder::new().name("sampler-pipe".to_owned()).spawn(hear) {
            Ok(_) => Ok(child),
            Err(error) => {
                (child.kill)();
                Err(error)
            }
        }
    }
}
