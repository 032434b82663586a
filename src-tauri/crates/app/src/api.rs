//! The one registry of commands, and what they take and give. Hosts (the window, the HTTP bridge) and the TypeScript
//! bindings are generated from it, so none of them can drift.

mod commands;
mod library;

use dualgpuopt_core::engine::llama_cpp::explain::Line;
use dualgpuopt_core::gpu::{Frame, GpuId, Machine, Metric, SourceHealth};
use dualgpuopt_core::plan::{CacheType, ContextWish, Goal, Plan, PlanMode, RamBudget};
use dualgpuopt_core::session::{LogBatch, SessionId, SessionView};
use dualgpuopt_core::settings::Environment;
use dualgpuopt_core::units::Bytes;
use serde::{Deserialize, Serialize};

pub use commands::{CommandForm, CommandView};
pub use library::{
    CatalogueQuant, CatalogueRow, CustomView, Fit, LibraryFolder, LibraryModel, LibraryView, ModelRef, ModelState,
};

/// Calls back with every command: name, arguments, result. Each is a method of [`crate::App`] that returns
/// `Result<_, AppError>`.
#[macro_export]
macro_rules! for_each_command {
    ($callback:ident) => {
        $callback! {
            /// Everything a fresh window needs to draw itself.
            overview() -> $crate::api::Overview;
            /// Chooses where GPU readings come from.
            select_source(choice: $crate::api::SourceChoice) -> ();
            /// Kept readings of a window of time, thinned to a number of points.
            history(query: $crate::api::HistoryQuery) -> $crate::api::HistoryView;
            /// Reads what is known of a model: a file's header, the catalogue, or numbers typed by hand.
            open_model(model: $crate::api::ModelRef) -> $crate::api::ModelView;
            /// Checks a model typed by hand; every problem, or the model.
            check_custom(model: dualgpuopt_core::model::custom::CustomModel) -> $crate::api::CustomView;
            /// Looks for models in the library's folders and marks which fit on this machine as it is now.
            library() -> $crate::api::LibraryView;
            /// Adds a folder to the library.
            add_library_folder(path: String) -> $crate::api::LibraryView;
            /// Takes a folder that was added off the library.
            remove_library_folder(path: String) -> $crate::api::LibraryView;
            /// Well-known models in the quantisations that they come in, and which fit on this machine as it is now.
            catalogue() -> Vec<$crate::api::CatalogueRow>;
            /// Plans a model on this machine as it is now.
            plan(ask: $crate::api::PlanAsk) -> $crate::api::PlanView;
            /// The plans worth considering for an ask, the best for its goal first.
            alternatives(ask: $crate::api::PlanAsk) -> dualgpuopt_core::plan::Alternatives;
            /// Commands that start a plan, for every engine that loads the model, in every form.
            commands(ask: $crate::api::PlanAsk) -> Vec<$crate::api::CommandView>;
            /// Sets the engine's program, or looks for it again when `path` is absent.
            set_engine(path: Option<String>) -> $crate::api::EngineView;
            /// Plans once more against the machine as it is now, and starts the engine.
            start(ask: $crate::api::PlanAsk) -> dualgpuopt_core::session::SessionView;
            /// Stops a session's whole process tree: politely, then by force after the grace period, or at once.
            stop(session: dualgpuopt_core::session::SessionId, force: bool) -> ();
            /// Takes an ended session off the list.
            forget(session: dualgpuopt_core::session::SessionId) -> ();
            /// Log lines of a session that are still kept, from `from_seq` on, `max` at most.
            session_log(session: dualgpuopt_core::session::SessionId, from_seq: u64, max: u32) -> dualgpuopt_core::session::LogBatch;
        }
    };
}

/// Where GPU readings should come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceChoice {
    /// The NVIDIA driver.
    Nvml,
    /// The built-in simulator.
    Simulated {
        /// Cards by short name (`3090`, `4090`, `3060`); empty means two RTX 3090.
        cards: Vec<String>,
    },
}

impl SourceChoice {
    /// The choice that a host's `--mock` (absent, alone, or with cards) and the environment make together: the cards
    /// named, else as many as the environment wants, else the driver.
    #[must_use]
    pub fn from_flag(mock: Option<&[String]>, environment: &Environment) -> Self {
        let named: Vec<String> = mock.unwrap_or_default().iter().filter(|card| !card.is_empty()).cloned().collect();
        match environment.gpu_count.map(usize::try_from) {
            _ if mock.is_none() && !environment.mock_gpu => Self::Nvml,
            Some(Ok(count)) if named.is_empty() => Self::Simulated { cards: vec!["3090".to_owned(); count] },
            _ => Self::Simulated { cards: named },
        }
    }
}

/// The state of the product at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Overview {
    /// Our version.
    pub version: String,
    /// Source chosen.
    pub choice: SourceChoice,
    /// How the source is doing.
    pub health: SourceHealth,
    /// The machine, once the source has described it.
    pub machine: Option<Machine>,
    /// The newest frame.
    pub frame: Option<Frame>,
    /// Time between frames, milliseconds.
    pub interval_ms: u32,
    /// The engine found.
    pub engine: EngineView,
    /// All sessions, oldest first.
    pub sessions: Vec<SessionView>,
    /// Models opened before, newest first, a dozen at most.
    pub recent_models: Vec<RecentModel>,
}

/// A model that was opened before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct RecentModel {
    /// Absolute path of the file (the first shard).
    pub path: String,
    /// Its name.
    pub name: String,
    /// Its quantisation.
    pub quant: String,
    /// Bytes of all files.
    pub file_bytes: Bytes,
    /// Whether the file is there now.
    pub present: bool,
}

/// The engine's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct EngineView {
    /// Absolute path of `llama-server`, where one was found or set.
    pub program: Option<String>,
    /// Whether the user set it (else it was found on `PATH`).
    pub set_by_user: bool,
    /// What is wrong, one sentence; absent when it can be run.
    pub problem: Option<String>,
}

/// Which readings, over which time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct HistoryQuery {
    /// How far back from now, milliseconds; absent: all that is kept.
    pub window_ms: Option<u32>,
    /// Most points per series, 2 to 5000.
    pub points: u32,
    /// Which metrics.
    pub metrics: Vec<Metric>,
}

/// Kept readings, as columns over one time axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct HistoryView {
    /// Monotonic milliseconds of each point.
    pub mono_ms: Vec<u64>,
    /// Wall-clock milliseconds of each point.
    pub wall_ms: Vec<u64>,
    /// One per GPU and metric.
    pub series: Vec<HistorySeries>,
    /// Sequence number of the newest frame that is in.
    pub last_seq: u64,
}

/// One metric of one GPU over the time axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct HistorySeries {
    /// Which GPU.
    pub gpu: GpuId,
    /// Which metric.
    pub metric: Metric,
    /// A value per point; absent where there was none.
    pub values: Vec<Option<f64>>,
}

/// A model as shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct ModelView {
    /// Which model. The path of a file is absolute, and that of the first shard.
    pub source: ModelRef,
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Quantisation in words.
    pub quant: String,
    /// Parameters.
    pub parameters: u64,
    /// Layers.
    pub layers: u32,
    /// Trained context length, tokens.
    pub context_trained: u32,
    /// Bytes of all files.
    pub file_bytes: Bytes,
    /// Number of files.
    pub shards: u32,
    /// Doubts about the file, one sentence each.
    pub problems: Vec<String>,
}

/// Whether and how a GPU takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct GpuChoice {
    /// Which GPU.
    pub gpu: GpuId,
    /// Whether it may be used.
    pub used: bool,
    /// Memory to keep free on it.
    pub reserve: Bytes,
    /// The most that a plan may take on it; absent: all that is free.
    #[serde(default)]
    pub most: Option<Bytes>,
}

/// What the user wants planned: an intention, held against the machine as it is when asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct PlanAsk {
    /// Which model.
    pub model: ModelRef,
    /// Context wanted.
    pub context: ContextWish,
    /// Type of the K cache.
    pub cache_k: CacheType,
    /// Type of the V cache.
    pub cache_v: CacheType,
    /// Parallel requests.
    pub parallel: u32,
    /// Tokens per micro-batch.
    pub micro_batch: u32,
    /// GPUs; those not named are used with the default reserve.
    pub gpus: Vec<GpuChoice>,
    /// Units per used GPU fixed by hand; as [`dualgpuopt_core::plan::PlanRequest::split`].
    pub split: Option<Vec<u32>>,
    /// Positions among the used GPUs of those that `split` uses, in the engine's order; absent: as they come.
    #[serde(default)]
    pub order: Option<Vec<u32>>,
    /// Cards to plan with beside this machine's, in words: `RTX 4090`, `RTX 3090@free=22GiB`. They count as the last GPUs.
    #[serde(default)]
    pub added: Vec<String>,
    /// Whether the plan is for `added` alone, as if this machine had no GPUs.
    #[serde(default)]
    pub only_added: bool,
    /// What the plan should be best at.
    #[serde(default)]
    pub goal: Goal,
    /// How GPUs share the model; absent: chosen by the planner.
    pub mode: Option<PlanMode>,
    /// System RAM for layers or experts; absent: none.
    pub ram: Option<RamBudget>,
    /// Whether every GPU must take part.
    #[serde(default)]
    pub all_gpus: bool,
    /// Layers whose experts stay in RAM, fixed by hand.
    pub experts_in_ram: Option<u32>,
    /// Tokens already in the cache for which decode speed is told.
    #[serde(default)]
    pub depth: u32,
    /// Port for the server; absent: the first free one from 8080 on.
    pub port: Option<u16>,
}

/// A plan, and the command that realises it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct PlanView {
    /// The model planned.
    pub model: ModelView,
    /// The plan.
    pub plan: Plan,
    /// Every byte of the plan: parts that are not empty with their formulas, GPUs in the plan's order, then the host.
    pub explanation: Vec<Line>,
    /// The command for a POSIX shell.
    pub command: String,
    /// Time the planner took, microseconds.
    pub planned_in_us: u32,
}

/// What happens, to whoever listens. Closed: hosts and the window know every kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum AppEvent {
    /// A new frame.
    Frame(Frame),
    /// The source, its health or its machine changed.
    Source(SourceView),
    /// A session came up or changed.
    Session(SessionView),
    /// A session was taken off the list.
    SessionGone(SessionId),
    /// New log lines.
    Log(LogBatch),
    /// The engine's program changed.
    Engine(EngineView),
    /// The listener was too slow and missed events: ask for the overview again.
    Resync,
}

/// The source, as an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct SourceView {
    /// Source chosen.
    pub choice: SourceChoice,
    /// How it is doing.
    pub health: SourceHealth,
    /// The machine, once described.
    pub machine: Option<Machine>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_cards_come_before_the_environments_count() {
        let four = Environment { gpu_count: Some(4), ..Environment::default() };
        let cards =
            |mock: Option<&[String]>, environment: &Environment| match SourceChoice::from_flag(mock, environment) {
                SourceChoice::Nvml => None,
                SourceChoice::Simulated { cards } => Some(cards.len()),
            };
        assert_eq!(cards(None, &four), None);
        assert_eq!(cards(None, &Environment { mock_gpu: true, ..four.clone() }), Some(4));
        assert_eq!(cards(Some(&[String::new()]), &four), Some(4));
        assert_eq!(cards(Some(&[String::new()]), &Environment::default()), Some(0));
        assert_eq!(cards(Some(&["4090".into(), "3060".into()]), &four), Some(2));
    }
}
