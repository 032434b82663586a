//! The one sampling thread of a host: it owns the source, keeps the beat, and hands events to a sink.
//!
//! NVML is read by a child process that the thread watches and replaces (`supervisor.rs`); simulated cards are read
//! right here. Deliberately absent: keeping frames, and creating processes.

mod supervisor;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use dualgpuopt_core::gpu::{Frame, Machine, SourceHealth};

use crate::clock::Clock;
use crate::sim::SimSource;
use crate::source::{Source, SourceError};
use crate::ticks::Ticks;
use supervisor::Supervisor;

/// Shortest time between frames.
pub const INTERVAL_MIN: Duration = Duration::from_millis(20);
/// Longest time between frames.
pub const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// How long a source may say nothing, at least, before it is taken for stuck; three intervals if that is longer.
pub const PATIENCE_MIN: Duration = Duration::from_secs(3);
/// How long stopping may take at most; a thread in a sink that blocks is left behind.
const STOP_MAX: Duration = Duration::from_millis(1500);
/// The simulator's seed: the same cards do the same in every run.
const SIM_SEED: u64 = 0x5eed;
/// Most inputs that wait for the thread; senders wait beyond that.
const INPUTS_MAX: usize = 64;

/// Which source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SamplerChoice {
    /// The NVIDIA driver, read by a child process.
    Nvml {
        /// The library's path; absent: the driver's own.
        library: Option<PathBuf>,
    },
    /// Simulated cards.
    Simulated {
        /// Short names; none means two RTX 3090.
        cards: Vec<String>,
    },
}

/// How to sample.
#[derive(Clone, Debug)]
pub struct SamplerConfig {
    /// Which source.
    pub choice: SamplerChoice,
    /// Time between frames, [`INTERVAL_MIN`] to [`INTERVAL_MAX`].
    pub interval: Duration,
    /// How often a child that hung or crashed is replaced before giving up, and how many stuck ones there may be.
    pub recovery_max: u32,
    /// See [`PATIENCE_MIN`], which is the value for real use.
    pub patience_min: Duration,
}

/// What happens, in the order in which it does.
#[derive(Clone, Debug, PartialEq)]
pub enum SamplerEvent {
    /// The machine, before its first frame and whenever it changes.
    Machine(Machine),
    /// A frame. Sequence numbers count up by one, across restarts of the child too.
    Frame(Frame),
    /// The source's health has changed.
    Health(SourceHealth),
}

/// Starts sampler processes. The host's own program, called with `args`, must run [`crate::child_main`].
pub trait Spawner: Send {
    /// Starts one, with stdin and stdout as pipes. `args` begins with [`crate::SAMPLER_ENTRY`].
    ///
    /// # Errors
    /// Where the process cannot be started.
    fn spawn(&self, args: &[String]) -> io::Result<ChildPipes>;
}

/// A sampler process that runs.
pub struct ChildPipes {
    /// Its stdin; closing it asks the process to end.
    pub stdin: Box<dyn Write + Send>,
    /// Its stdout.
    pub stdout: Box<dyn Read + Send>,
    /// Kills it by force and returns at once, whether or not it is dead yet. Waiting for its end, so that no zombie
    /// stays, is the spawner's own affair, also for a process that ends by itself.
    pub kill: Box<dyn FnMut() + Send>,
    /// Its process id.
    pub pid: u32,
}

/// Sampling that goes on until this is dropped.
pub struct Sampler {
    wishes: Arc<Wishes>,
    wake: SyncSender<Input>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
}

/// What the host wants; beside the channel, which may be full.
#[derive(Default)]
struct Wishes {
    stop: AtomicBool,
    retry: AtomicBool,
}

/// What the thread waits for.
enum Input {
    /// A wish was set.
    Wake,
    /// A child said something, or will say nothing more.
    Child { generation: u64, heard: Result<crate::protocol::Message, crate::protocol::ReadError> },
}

impl Sampler {
    /// Starts sampling. `sink` is called from the sampling thread and should return soon.
    ///
    /// # Errors
    /// Simulated cards that do not exist, an interval out of range, or no thread to be had. That a machine has no
    /// NVIDIA driver is no error here: it is told as [`SourceHealth::Absent`].
    pub fn start(
        config: SamplerConfig,
        spawner: Box<dyn Spawner>,
        clock: Arc<dyn Clock>,
        sink: impl FnMut(SamplerEvent) + Send + 'static,
    ) -> Result<Self, SourceError> {
        checked_interval(config.interval)?;
        let (wake, inputs) = sync_channel(INPUTS_MAX);
        let (end, ended) = sync_channel(0);
        let wishes = Arc::new(Wishes::default());
        let (thread_wishes, thread_wake) = (Arc::clone(&wishes), wake.clone());
        let run: Box<dyn FnOnce() + Send> = match &config.choice {
            SamplerChoice::Simulated { cards } => {
                let source = SimSource::new(cards, SIM_SEED)?;
                Box::new(move || simulate(source, config.interval, &*clock, &thread_wishes, &inputs, sink))
            }
            SamplerChoice::Nvml { .. } => Box::new(move || {
                Supervisor::new(config, spawner, clock, thread_wake, sink).run(&thread_wishes, &inputs);
            }),
        };
        let spawned = thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            // Dropped when the thread ends, in whichever way: that is the sign.
            let _end: SyncSender<()> = end;
            run();
        });
        match spawned {
            Ok(_) => Ok(Self { wishes, wake, ended }),
            Err(error) => {
                Err(SourceError::Failed { message: format!("The sampling thread would not start: {error}.") })
            }
        }
    }

    /// Starts the source again after it was given up or found absent; does nothing while it lives.
    pub fn retry(&self) {
        self.wishes.retry.store(true, Ordering::Release);
        self.wake();
    }

    /// Stops sampling and ends the child. Takes less than 2 s, whatever the driver does.
    pub fn stop(self) {}

    fn wake(&self) {
        // A full channel wakes the thread by itself, and an ended thread needs no waking.
        let _ = self.wake.try_send(Input::Wake);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.wishes.stop.store(true, Ordering::Release);
        self.wake();
        if self.ended.recv_timeout(STOP_MAX) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the sampling thread is busy in its sink and was left behind");
        }
    }
}

/// The interval, where it is in range.
pub(crate) fn checked_interval(interval: Duration) -> Result<Duration, SourceError> {
    if (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
        return Ok(interval);
    }
    Err(SourceError::BadInterval {
        interval_ms: interval.as_millis(),
        min_ms: INTERVAL_MIN.as_millis(),
        max_ms: INTERVAL_MAX.as_millis(),
    })
}

/// Reads simulated cards until told to stop.
fn simulate(
    mut source: SimSource,
    interval: Duration,
    clock: &dyn Clock,
    wishes: &Wishes,
    inputs: &Receiver<Input>,
    mut sink: impl FnMut(SamplerEvent),
) {
    sink(SamplerEvent::Health(SourceHealth::Live));
    if let Ok(machine) = source.machine() {
        sink(SamplerEvent::Machine(machine));
    }
    let mut ticks = Ticks::new(Instant::now(), interval);
    while !wishes.stop.load(Ordering::Acquire) {
        if ticks.take(Instant::now()) {
            sink(SamplerEvent::Frame(source.poll(clock.now())));
        }
        // Woken or timed out, the loop looks at the wishes and at the time.
        let _ = inputs.recv_timeout(ticks.next().saturating_duration_since(Instant::now()));
    }
}
