//! A described machine, a child process that reads it, and a watch over what the sampler says.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use dualgpuopt_core::gpu::{Frame, GpuSample, Machine, SourceHealth};
use dualgpuopt_gpu::{ChildPipes, Sampler, SamplerChoice, SamplerConfig, SamplerEvent, Spawner, SystemClock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Hands the child's arguments over, as JSON.
const ARGUMENTS: &str = "DUALGPUOPT_TEST_CHILD_ARGS";
/// No wait in these tests is meant to last; one this long is a failure.
const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const INTERVAL: Duration = Duration::from_millis(80);
pub(crate) const FIRST: &str = "GPU-11111111-1111-1111-1111-111111111111";
pub(crate) const SECOND: &str = "GPU-22222222-2222-2222-2222-222222222222";

/// The child's arguments, where this process is one.
pub(crate) fn child_arguments() -> Option<Vec<String>> {
    let text = env::var_os(ARGUMENTS)?.into_string().expect("JSON is UTF-8");
    Some(serde_json::from_str(&text).expect("the spawner wrote it"))
}

/// The library that stands in for NVIDIA's.
pub(crate) fn library() -> PathBuf {
    if let Some(path) = env::var_os("DUALGPUOPT_TEST_NVML_LIBRARY") {
        return path.into();
    }
    let program = env::current_exe().expect("Linux tells a program its path");
    let beside = program.ancestors().skip(1).take(2).map(|folder| folder.join("libnvidia_ml.so"));
    let found = beside.into_iter().find(|path| path.is_file());
    found.expect("libnvidia_ml.so is not beside the tests: run `cargo build -p dualgpuopt-test-nvml` first")
}

pub(crate) fn card(uuid: &str, bus: u32) -> Value {
    const GIB: u64 = 1 << 30;
    json!({
        "uuid": uuid, "name": "NVIDIA GeForce RTX 3090", "pci_bus_id": format!("00000000:{bus:02X}:00.0"),
        "memory": { "total": 24 * GIB, "reserved": GIB / 2, "used": 2 * GIB, "free": 21 * GIB + GIB / 2 },
        "utilization": [63, 40], "temperature_c": 51, "power_mw": 201_500, "power_limit_mw": 350_000,
        "fans_percent": [40, 45], "clocks_mhz": { "sm": 1695, "memory": 9751 },
        "pcie": { "generation": 4, "generation_max": 4, "width": 8, "width_max": 16,
                  "receive_kb_per_s": 1500, "send_kb_per_s": 20 },
        "performance_state": 2, "event_reasons": 4, "compute_capability": [8, 6],
    })
}

pub(crate) fn two_cards() -> Value {
    json!({
        "driver_version": "570.133.07", "nvml_version": "12.570.133.07", "cuda_version": 12080,
        "cards": [card(FIRST, 1), card(SECOND, 2)],
    })
}

/// Runs the child in this very test program, with a described machine.
#[derive(Clone)]
pub(crate) struct Bench {
    folder: Arc<TempDir>,
    children: Arc<Mutex<Vec<Arc<Mutex<Child>>>>>,
    killable: bool,
    pub(crate) patience: Duration,
}

impl Bench {
    pub(crate) fn new(machine: &Value) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let bench = Self { folder, children: Arc::default(), killable: true, patience: Duration::from_millis(300) };
        bench.describe(machine);
        bench
    }

    /// Children that no signal of the sampler's ends, as in D state.
    pub(crate) fn unkillable(machine: &Value) -> Self {
        let mut bench = Self::new(machine);
        bench.killable = false;
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the description in one step.
    #[expect(clippy::disallowed_methods, reason = "a test writes its own temporary file")]
    pub(crate) fn describe(&self, machine: &Value) {
        fs::write(self.path("new.json"), machine.to_string()).expect("a writable folder");
        fs::rename(self.path("new.json"), self.path("machine.json")).expect("a writable folder");
    }

    pub(crate) fn spawned(&self) -> usize {
        self.children.lock().expect("no test thread panics with the lock").len()
    }

    /// Sends a signal to the newest child.
    pub(crate) fn signal(&self, signal: Signal) {
        let children = self.children.lock().expect("no test thread panics with the lock");
        let id = children.last().expect("a child was started").lock().expect("as above").id();
        kill(Pid::from_raw(id.try_into().expect("a pid")), signal).expect("the child is ours");
    }

    pub(crate) fn all_ended(&self) -> bool {
        let children = self.children.lock().expect("no test thread panics with the lock");
        children.iter().all(|child| matches!(child.lock().expect("as above").try_wait(), Ok(Some(_))))
    }

    pub(crate) fn start(&self) -> Watch {
        self.start_with(Some(library()), INTERVAL)
    }

    pub(crate) fn start_with(&self, library: Option<PathBuf>, interval: Duration) -> Watch {
        let choice = SamplerChoice::Nvml { library };
        Watch::start(SamplerConfig { choice, interval, recovery_max: 3, patience_min: self.patience }, self)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if Arc::strong_count(&self.children) == 1 {
            for child in self.children.lock().expect("no test thread panics with the lock").iter() {
                end(child);
            }
        }
    }
}

fn end(child: &Mutex<Child>) {
    let mut child = child.lock().expect("no test thread panics with the lock");
    // A child that has ended by itself is only reaped.
    let _ = child.kill();
    let _ = child.wait();
}

impl Spawner for Bench {
    #[expect(clippy::disallowed_methods, reason = "the real spawner lives above this crate; this one serves its tests")]
    fn spawn(&self, args: &[String]) -> io::Result<ChildPipes> {
        let mut child = Command::new(env::current_exe()?)
            .args(["child_entry", "--exact", "--nocapture"])
            .env(ARGUMENTS, serde_json::to_string(args)?)
            .env("DUALGPUOPT_TEST_NVML", self.path("machine.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let pid = child.id();
        let child = Arc::new(Mutex::new(child));
        self.children.lock().expect("no test thread panics with the lock").push(Arc::clone(&child));
        let killable = self.killable;
        let kill = move || {
            if killable {
                end(&child);
            }
        };
        let stdout = SkipHeader { stdout: BufReader::new(stdout), header: true };
        Ok(ChildPipes { stdin: Box::new(stdin), stdout: Box::new(stdout), kill: Box::new(kill), pid })
    }
}

/// The test harness prints `running 1 test` before the child speaks.
struct SkipHeader<R> {
    stdout: BufReader<R>,
    header: bool,
}

impl<R: Read> Read for SkipHeader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.header {
            let seen = self.stdout.fill_buf()?;
            let place = seen.iter().position(|&byte| byte == b'{');
            self.header = place.is_none() && !seen.is_empty();
            let skipped = place.unwrap_or(seen.len());
            self.stdout.consume(skipped);
        }
        self.stdout.read(out)
    }
}

/// A sampler, and what it has said.
pub(crate) struct Watch {
    pub(crate) sampler: Sampler,
    events: Receiver<SamplerEvent>,
    pub(crate) healths: Vec<SourceHealth>,
    pub(crate) machine: Option<Machine>,
    seq: u64,
    _bench: Bench,
}

impl Watch {
    pub(crate) fn start(config: SamplerConfig, bench: &Bench) -> Self {
        let (tell, events) = channel();
        // The receiver goes first when a test ends.
        let sink = move |event| drop(tell.send(event));
        let sampler = Sampler::start(config, Box::new(bench.clone()), Arc::new(SystemClock), sink);
        let sampler = sampler.expect("a valid configuration");
        Self { sampler, events, healths: Vec::new(), machine: None, seq: 0, _bench: bench.clone() }
    }

    /// The next event; frames must count up by one.
    pub(crate) fn event(&mut self) -> SamplerEvent {
        let event = self.events.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("silence after {:?}", self.healths));
        match &event {
            SamplerEvent::Machine(machine) => self.machine = Some(machine.clone()),
            SamplerEvent::Health(health) => self.healths.push(health.clone()),
            SamplerEvent::Frame(frame) => {
                assert_eq!(frame.seq, self.seq + 1, "frames are numbered without a break");
                self.seq = frame.seq;
            }
        }
        event
    }

    pub(crate) fn frame(&mut self, fits: impl Fn(&Frame) -> bool) -> Frame {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < DEADLINE {
            match self.event() {
                SamplerEvent::Frame(frame) if fits(&frame) => return frame,
                SamplerEvent::Frame(frame) => last = Some(frame),
                _ => {}
            }
        }
        panic!("no such frame; the last was {last:#?}");
    }

    pub(crate) fn health(&mut self, fits: impl Fn(&SourceHealth) -> bool) -> SourceHealth {
        loop {
            if let SamplerEvent::Health(health) = self.event()
                && fits(&health)
            {
                return health;
            }
        }
    }

    pub(crate) fn live(&mut self) {
        self.health(|health| *health == SourceHealth::Live);
    }
}

pub(crate) fn sample<'a>(frame: &'a Frame, uuid: &str) -> &'a GpuSample {
    frame.gpus.iter().find(|sample| sample.gpu.0 == uuid).expect("the card is in the frame")
}

/// Waits for what the file system shows, where there is no event to wait for.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}
