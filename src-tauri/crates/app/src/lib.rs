//! What the product does, without any host: commands in, events out.
//!
//! [`App`] owns the state: telemetry (written by the sampler's sink), settings, and the engine that was found. Sessions
//! are owned by the launcher. There is no Tauri, no HTTP and no terminal here. Hosts subscribe to [`App::events`]; a
//! listener that is too slow misses events and is told so by [`api::AppEvent::Resync`].

#![deny(missing_docs)]

pub mod api;
mod commands;
mod contexts;
pub mod display;
mod engine;
pub mod environment;
pub mod estimating;
mod hidden;
mod library;
mod marks;
mod models;
pub mod naming;
mod planning;
pub mod ram;
mod spawner;
mod starting;
mod subject;
mod telemetry;
pub mod verifying;
pub mod vllm;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::settings::Environment;
use dualgpuopt_gpu::{
    Clock as _, PATIENCE_MIN, Sampler, SamplerChoice, SamplerConfig, SimSource, SourceError, SystemClock,
};
use dualgpuopt_launch::{LaunchEvent, Launcher};
use dualgpuopt_model::library::Place;
use dualgpuopt_store::{Settings, SettingsFile, StoreError};
use tokio::sync::broadcast;

use crate::api::{AppEvent, EngineView, SourceChoice};
use crate::contexts::Contexts;
pub use crate::hidden::run_hidden_entry;
use crate::library::Shelf;
pub use crate::marks::FIT_CONTEXT;
use crate::planning::InUse;
pub use crate::planning::NO_GPUS;
use crate::planning::{PlanKey, Planned};
use crate::subject::Subjects;
use crate::telemetry::Telemetry;

/// Events that wait for a listener before it counts as too slow.
const EVENTS_WAITING_MAX: usize = 1024;
/// Plans kept; a plan with its explanation is some ten KiB.
const PLANS_KEPT_MAX: u64 = 512;

/// What a host hands in.
#[derive(Clone, Debug)]
pub struct Deps {
    /// The program that has the hidden entries for the sampler and the warden: the host's own executable.
    pub program: PathBuf,
    /// Folder for settings; absent: nothing is kept.
    pub config_dir: Option<PathBuf>,
    /// What the environment says.
    pub environment: Environment,
    /// Where GPU readings come from at the start.
    pub source: SourceChoice,
    /// Engine's program set for this run only; absent: by settings, then `PATH`.
    pub engine: Option<String>,
    /// Folders of programs that keep models; the user's own are added from the settings.
    pub places: Vec<Place>,
}

/// The product's state and doings. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    deps: Deps,
    // Plain data behind std mutexes, held for a few microseconds and never across an await: the writers are threads
    // (the sampler) as well as tasks, so one owner task with a channel would only add a hop to every read.
    telemetry: Mutex<Telemetry>,
    in_use: Mutex<InUse>,
    settings_file: Option<SettingsFile>,
    settings: Mutex<Settings>,
    engine: Mutex<EngineView>,
    flags: engine::FlagTables,
    sampler: Mutex<Option<Sampler>>,
    launcher: Launcher,
    subjects: Subjects,
    shelf: Shelf,
    contexts: Contexts,
    plans: moka::sync::Cache<PlanKey, Arc<Planned>>,
    events: broadcast::Sender<AppEvent>,
}

impl App {
    /// Starts everything that runs in the background. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for simulated cards that do not exist. A machine without GPUs is no error here.
    pub fn begin(deps: Deps) -> Result<Self, AppError> {
        let (events, _) = broadcast::channel(EVENTS_WAITING_MAX);
        let now_ms = SystemClock.now().wall_ms;
        let (file, settings) = match &deps.config_dir {
            Some(dir) => {
                let (file, settings, told) = SettingsFile::open(dir, now_ms);
                for sentence in told {
                    tracing::warn!("{sentence}");
                }
                (Some(file), settings)
            }
            None => (None, Settings::default()),
        };
        let engine = engine::find(deps.engine.as_deref().or(settings.engine.as_deref()), &environment::path_dirs());
        let sink_events = events.clone();
        let launcher = Launcher::new(
            deps.program.clone(),
            Arc::new(|| SystemClock.now().wall_ms),
            Arc::new(move |event| {
                let event = match event {
                    LaunchEvent::State(view) => AppEvent::Session(view),
                    LaunchEvent::Log(batch) => AppEvent::Log(batch),
                };
                // An error only says that nobody listens.
                let _ = sink_events.send(event);
            }),
        );
        let subjects = Subjects::new();
        let app = Self {
            inner: Arc::new(Inner {
                telemetry: Mutex::new(Telemetry::new(deps.source.clone(), deps.environment.poll_interval)),
                in_use: Mutex::default(),
                settings_file: file,
                settings: Mutex::new(settings),
                engine: Mutex::new(engine),
                flags: engine::FlagTables::new(),
                sampler: Mutex::new(None),
                launcher,
                shelf: Shelf::new(subjects.files.clone()),
                subjects,
                contexts: Contexts::open(deps.config_dir.as_deref()),
                plans: moka::sync::Cache::new(PLANS_KEPT_MAX),
                events,
                deps,
            }),
        };
        app.sample_from(app.inner.deps.source.clone())?;
        Ok(app)
    }

    /// Listens to everything that happens from now on.
    #[must_use]
    pub fn events(&self) -> Listener {
        Listener(self.inner.events.subscribe())
    }

    /// Stops every session and the sampler. Returns when no process is left, after the grace period at the latest.
    pub async fn shut_down(&self) {
        self.inner.launcher.stop_all().await;
        let sampler = lock(&self.inner.sampler).take();
        drop(sampler);
    }

    fn tell(&self, event: AppEvent) {
        // An error only says that nobody listens.
        let _ = self.inner.events.send(event);
    }

    /// Stops every session at once, without the grace; for whoever cannot wait for [`Self::shut_down`].
    pub fn stop_by_force(&self) {
        for session in self.inner.launcher.list() {
            // One that has ended meanwhile needs no stopping.
            let _ = self.inner.launcher.stop(session.id, true);
        }
    }

    /// Engines that have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.launcher.list().iter().filter(|session| !session.state.ended()).count()
    }

    /// Changes the settings, here and on disk. Waits for the disk.
    fn change_settings(&self, change: impl Fn(&mut Settings)) -> Result<(), StoreError> {
        let kept = self.inner.settings_file.as_ref().map(|file| file.change(&change));
        match kept {
            Some(Ok(settings)) => *lock(&self.inner.settings) = settings,
            // It holds in this run at least.
            Some(Err(error)) => {
                change(&mut lock(&self.inner.settings));
                return Err(error);
            }
            None => change(&mut lock(&self.inner.settings)),
        }
        Ok(())
    }

    /// Changes the settings for good, or says that they hold in this run only. Waits for the disk.
    fn keep(&self, change: impl Fn(&mut Settings)) -> Result<(), AppError> {
        self.change_settings(change).map_err(|error| {
            AppError::new(Code::Store, error.to_string()).hint("It holds until the program ends.").caused_by(&error)
        })
    }

    /// Begins to sample from a source, in place of the one before.
    fn sample_from(&self, choice: SourceChoice) -> Result<(), AppError> {
        let environment = &self.inner.deps.environment;
        let library = || environment.nvml_library.clone().map(PathBuf::from);
        let config = SamplerConfig {
            choice: match &choice {
                SourceChoice::Nvml => SamplerChoice::Nvml { library: library() },
                SourceChoice::Simulated { cards } => SamplerChoice::Simulated { cards: cards.clone() },
            },
            interval: environment.poll_interval,
            recovery_max: environment.max_recovery,
            patience_min: PATIENCE_MIN,
        };
        if let SourceChoice::Simulated { cards } = &choice {
            // Unknown cards are refused while the source before still runs.
            SimSource::new(cards, 0).map_err(|error| refused(&error))?;
        }
        let mut sampler = lock(&self.inner.sampler);
        if let Some(same) = sampler.as_ref()
            && choice == SourceChoice::Nvml
            && lock(&self.inner.telemetry).choice == choice
        {
            same.retry();
            return Ok(());
        }
        // The one before must have fallen silent before the telemetry is emptied for the new one.
        drop(sampler.take());
        *lock(&self.inner.telemetry) = Telemetry::new(choice, environment.poll_interval);
        self.tell(AppEvent::Source(lock(&self.inner.telemetry).source()));
        let inner = Arc::downgrade(&self.inner);
        let sink = move |event| {
            if let Some(inner) = inner.upgrade() {
                let heard = lock(&inner.telemetry).apply(event);
                // An error only says that nobody listens.
                let _ = inner.events.send(heard);
            }
        };
        let spawner = Box::new(spawner::SamplerSpawner { program: self.inner.deps.program.clone() });
        let started = Sampler::start(config, spawner, Arc::new(SystemClock), sink);
        *sampler = Some(started.map_err(|error| refused(&error))?);
        Ok(())
    }
}

fn refused(error: &SourceError) -> AppError {
    AppError::new(Code::BadRequest, error.to_string()).caused_by(error)
}

/// A listener to the app's events.
pub struct Listener(broadcast::Receiver<AppEvent>);

impl Listener {
    /// The next event; `None` once the app is gone. Missed events become one [`AppEvent::Resync`].
    pub async fn next(&mut self) -> Option<AppEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(AppEvent::Resync),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Takes all that waits, unread; whether there was anything. For who only wants to know that something changed.
    pub fn drain(&mut self) -> bool {
        let mut anything = false;
        while !matches!(
            self.0.try_recv(),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed)
        ) {
            anything = true;
        }
        anything
    }
}

/// Locks plain data. A panic while it was held leaves it whole, since every write is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
