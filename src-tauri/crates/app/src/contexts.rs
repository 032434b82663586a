//! CUDA contexts of engines that were started here: measured when an engine is ready, kept, and given to later plans.
//!
//! A start is measured from outside: by how much memory in use rose, less the engine's own buffers. Whatever could have
//! changed memory meanwhile (another session of ours, a source that was changed, samples that do not settle) ends the
//! measuring without a result; the next start is another chance.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use dualgpuopt_core::engine::driver_context::{MeasuredContext, NotMeasured, measured};
use dualgpuopt_core::engine::llama_cpp::explain::Part;
use dualgpuopt_core::engine::llama_cpp::reported::{Home, from_log};
use dualgpuopt_core::gpu::{Frame, GpuFacts, GpuId, Machine, Metric, SourceKind};
use dualgpuopt_core::plan::Plan;
use dualgpuopt_core::session::{LogStream, SessionId, SessionState};
use dualgpuopt_core::units::Bytes;
use dualgpuopt_gpu::{Clock as _, SystemClock};
use dualgpuopt_launch::LOG_LINES_MAX;
use dualgpuopt_store::{ContextKey, ContextsFile, KeptContext};

use crate::api::{AppEvent, HistoryQuery};
use crate::commands::blocking;
use crate::planning::whole;
use crate::{App, Inner, Listener, lock};

/// How far back samples before a start are asked to be steady, milliseconds, and how many sampling intervals at least.
const BEFORE_MS: u64 = 5_000;
const BEFORE_INTERVALS: u64 = 3;
/// Samples after readiness that must agree.
const AFTER: usize = 2;
/// Samples after readiness until it is given up: warming up may still load kernels in the first ones.
const AFTER_MAX: usize = 10;

/// What was measured, in memory and on disk. Written when a measurement ends, read by every plan.
#[derive(Debug)]
pub(crate) struct Contexts {
    file: Option<ContextsFile>,
    // Plain data, held for moments; a message to an owner would only make plans wait.
    known: Mutex<Vec<KeptContext>>,
}

impl Contexts {
    /// What is kept in a folder; absent: nothing is kept.
    pub(crate) fn open(dir: Option<&Path>) -> Self {
        let file = dir.map(ContextsFile::new);
        let known = file.as_ref().map_or_else(Vec::new, |file| {
            file.read().unwrap_or_else(|error| {
                tracing::warn!("{error}");
                Vec::new()
            })
        });
        Self { file, known: Mutex::new(known) }
    }

    fn of(&self, key: &ContextKey) -> Option<MeasuredContext> {
        let known = lock(&self.known);
        let found = known.iter().find(|known| known.key == *key)?;
        Some(MeasuredContext { bytes: Bytes(found.bytes), at_ms: found.at_ms })
    }

    /// Keeps a measurement. Waits for the disk.
    fn keep(&self, context: KeptContext) {
        match self.file.as_ref().map(|file| file.keep(context.clone())) {
            Some(Ok(kept)) => *lock(&self.known) = kept,
            // It holds in this run at least.
            Some(Err(error)) => {
                tracing::warn!("{error}");
                lock(&self.known).insert(0, context);
            }
            None => lock(&self.known).insert(0, context),
        }
    }
}

/// A GPU of a start that is being measured.
struct Watched {
    gpu: GpuId,
    key: ContextKey,
    /// The engine's buffers on it, as planned.
    planned: Bytes,
    before: Vec<Bytes>,
    after: Vec<Bytes>,
}

/// A start that is being measured. Made before the engine runs.
pub(crate) struct Watch {
    events: Listener,
    /// In the order in which the engine counts its GPUs.
    gpus: Vec<Watched>,
}

impl App {
    /// What the engine that is set was measured to take on a GPU outside its buffers.
    #[must_use]
    pub fn measured_context(&self, machine: &Machine, gpu: &GpuFacts) -> Option<MeasuredContext> {
        let program = lock(&self.inner.engine).program.clone()?;
        self.inner.contexts.of(&key(machine, gpu, &program)?)
    }

    /// Prepares to measure a start of `program` with a plan; `None` where nothing can be learnt. Waits for a second sample
    /// where there is only one and nothing was measured yet, for two sampling intervals at most.
    pub(crate) async fn watch_start(&self, plan: &Plan, machine: &Machine, program: &str) -> Option<Watch> {
        let moving = |state: &SessionState| !state.ended() && *state != SessionState::Ready;
        if machine.source == SourceKind::Simulated
            || self.inner.launcher.list().iter().any(|session| moving(&session.state))
        {
            return None;
        }
        // As the engine numbers them.
        let used = plan.order.iter().filter_map(|&at| plan.devices.get(at as usize)); // at most sixteen GPUs
        let keys: Option<Vec<_>> = used
            .map(|device| {
                let facts = machine.gpus.iter().find(|gpu| gpu.id == device.gpu)?;
                let memory = device.memory;
                let planned = memory.weights + memory.kv_cache + memory.compute;
                Some((device.gpu.clone(), key(machine, facts, program)?, planned))
            })
            .collect();
        let (keys, mut events) = (keys?, self.events());
        let ids: Vec<_> = keys.iter().map(|(gpu, ..)| gpu).collect();
        let mut before = self.used_before(&ids);
        let known = keys.iter().all(|(_, key, _)| self.inner.contexts.of(key).is_some());
        if !known && before.iter().any(|samples| samples.len() < 2) {
            let patience = self.inner.deps.environment.poll_interval * 2;
            // Without another sample in time the start goes on, and is not measured.
            let _ = tokio::time::timeout(patience, next_frame(&mut events)).await;
            before = self.used_before(&ids);
        }
        let gpus = keys.into_iter().zip(before);
        let gpus = gpus.map(|((gpu, key, planned), before)| Watched { gpu, key, planned, before, after: Vec::new() });
        Some(Watch { gpus: gpus.collect(), events })
    }

    /// Memory in use on GPUs over the last moments, oldest first.
    fn used_before(&self, gpus: &[&GpuId]) -> Vec<Vec<Bytes>> {
        let interval_ms = self.inner.deps.environment.poll_interval.as_millis();
        let window = BEFORE_MS.max(u64::try_from(interval_ms).unwrap_or(u64::MAX).saturating_mul(BEFORE_INTERVALS));
        let window_ms = Some(u32::try_from(window).unwrap_or(u32::MAX));
        let query = HistoryQuery { window_ms, points: 5000, metrics: vec![Metric::MemoryUsed] };
        let history = lock(&self.inner.telemetry).history(&query);
        let of = |gpu: &&GpuId| {
            let series = history.series.iter().find(|series| series.gpu == **gpu);
            series.into_iter().flat_map(|series| series.values.iter().flatten().map(|used| whole(*used))).collect()
        };
        gpus.iter().map(of).collect()
    }

    /// Measures a start in the background, until its engine is ready and memory has settled.
    pub(crate) fn measure(&self, watch: Watch, session: SessionId) {
        let inner = Arc::downgrade(&self.inner);
        tokio::spawn(async move {
            let Some(watch) = settled(watch, session).await else { return };
            if let Some(inner) = inner.upgrade() {
                let app = App { inner };
                if let Err(error) = blocking(move || app.conclude(watch, session)).await {
                    tracing::warn!("{}", error.message);
                }
            }
        });
    }

    /// Works the contexts out and keeps them. Waits for the disk.
    fn conclude(&self, watch: Watch, session: SessionId) {
        let told = self.inner.told_buffers(session);
        for (number, gpu) in watch.gpus.into_iter().enumerate() {
            let buffers = told.get(number).copied().flatten().unwrap_or(gpu.planned);
            match measured(&gpu.before, &gpu.after, buffers) {
                Ok(bytes) => {
                    let at_ms = SystemClock.now().wall_ms;
                    tracing::info!("The engine takes {bytes} outside its buffers on the {}.", gpu.key.gpu);
                    self.inner.contexts.keep(KeptContext { key: gpu.key, bytes: bytes.0, at_ms });
                }
                Err(why) => tracing::debug!("The CUDA context on {} was not measured: {why}.", gpu.gpu),
            }
        }
    }
}

impl Inner {
    /// Bytes of the engine's buffers by its own number of each GPU, as its log tells. The log tells them from verbosity 4
    /// on; below it (the server's default) the plan's take their place, which follow the engine's rules.
    fn told_buffers(&self, session: SessionId) -> Vec<Option<Bytes>> {
        let log = self.launcher.log(session, 0, LOG_LINES_MAX).map(|batch| batch.lines).unwrap_or_default();
        let engine = log.iter().filter(|line| line.stream != LogStream::App).map(|line| line.text.as_str());
        let mut told: Vec<(Bytes, bool)> = Vec::new();
        for buffer in from_log(engine) {
            let Home::Gpu(number) = buffer.home else { continue };
            if number < dualgpuopt_core::plan::GPUS_MAX {
                told.resize(told.len().max(number + 1), (Bytes::ZERO, false));
                told[number].0 += Bytes(buffer.bytes);
                // It is the last buffer that a start makes: with it, the others were told too.
                told[number].1 |= buffer.part == Part::Compute;
            }
        }
        told.into_iter().map(|(bytes, whole)| whole.then_some(bytes)).collect()
    }
}

/// The start with its samples after readiness; `None` when it came to nothing.
async fn settled(mut watch: Watch, session: SessionId) -> Option<Watch> {
    let mut ready = false;
    // The first one may have been taken before the engine was ready.
    next_sample(&mut watch.events, session, &mut ready).await?;
    let mut frames: Vec<Frame> = Vec::new();
    while frames.len() < AFTER_MAX {
        frames.push(next_sample(&mut watch.events, session, &mut ready).await?);
        let newest = &frames[frames.len().saturating_sub(AFTER)..];
        for gpu in &mut watch.gpus {
            let used = newest.iter().filter_map(|frame| frame.sample(&gpu.gpu)?.get(Metric::MemoryUsed).value());
            gpu.after = used.map(whole).collect();
        }
        let learnt = |gpu: &Watched| measured(&gpu.before, &gpu.after, gpu.planned);
        if watch
            .gpus
            .iter()
            .all(|gpu| !matches!(learnt(gpu), Err(NotMeasured::Unsteady | NotMeasured::TooLittle { .. })))
        {
            break;
        }
    }
    Some(watch)
}

/// The next frame while the session is ready; `None` once the session has ended or something else happened that changes
/// memory.
async fn next_sample(events: &mut Listener, session: SessionId, ready: &mut bool) -> Option<Frame> {
    loop {
        match events.next().await? {
            AppEvent::Frame(frame) if *ready => return Some(frame),
            AppEvent::Session(view) if view.id == session => match view.state {
                SessionState::Ready => *ready = true,
                SessionState::Starting | SessionState::Loading => {}
                SessionState::Stopping { .. } | SessionState::Stopped { .. } | SessionState::Failed { .. } => {
                    return None;
                }
            },
            AppEvent::Session(_) | AppEvent::Source(_) | AppEvent::Resync => return None,
            AppEvent::Frame(_) | AppEvent::SessionGone(_) | AppEvent::Log(_) | AppEvent::Engine(_) => {}
        }
    }
}

async fn next_frame(events: &mut Listener) {
    while let Some(event) = events.next().await {
        if matches!(event, AppEvent::Frame(_)) {
            return;
        }
    }
}

/// What a measurement holds for; `None` where driver or program are not known.
fn key(machine: &Machine, gpu: &GpuFacts, program: &str) -> Option<ContextKey> {
    let changed = std::fs::metadata(program).and_then(|meta| meta.modified()).ok()?;
    let changed = changed.duration_since(UNIX_EPOCH).ok()?.as_millis();
    Some(ContextKey {
        gpu: gpu.name.clone(),
        driver: machine.driver_version.clone()?,
        program: program.to_owned(),
        program_changed_ms: u64::try_from(changed).unwrap_or(u64::MAX),
    })
}
