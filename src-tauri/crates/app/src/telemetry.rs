//! The newest frame, the machine, and the history: written by the sampler's sink alone, read by everybody.

use std::time::Duration;

use dualgpuopt_core::gpu::{Frame, Machine, SourceHealth};
use dualgpuopt_core::history::History;
use dualgpuopt_gpu::SamplerEvent;

use crate::api::{AppEvent, HistoryQuery, HistorySeries, HistoryView, SourceChoice, SourceView};

/// Fewest and most points of a history answer.
const POINTS: (u32, u32) = (2, 5000);

/// What is known of the GPUs now.
#[derive(Debug)]
pub(crate) struct Telemetry {
    pub(crate) choice: SourceChoice,
    pub(crate) health: SourceHealth,
    pub(crate) machine: Option<Machine>,
    pub(crate) frame: Option<Frame>,
    history: History,
}

impl Telemetry {
    pub(crate) fn new(choice: SourceChoice, interval: Duration) -> Self {
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Self { choice, health: SourceHealth::Starting, machine: None, frame: None, history: History::new(interval_ms) }
    }

    /// Takes one sampler event in; gives back what listeners should hear.
    pub(crate) fn apply(&mut self, event: SamplerEvent) -> AppEvent {
        match event {
            SamplerEvent::Frame(frame) => {
                self.history.push(&frame);
                self.frame = Some(frame.clone());
                AppEvent::Frame(frame)
            }
            SamplerEvent::Machine(machine) => {
                self.machine = Some(machine);
                AppEvent::Source(self.source())
            }
            SamplerEvent::Health(health) => {
                self.health = health;
                AppEvent::Source(self.source())
            }
        }
    }

    pub(crate) fn source(&self) -> SourceView {
        SourceView { choice: self.choice.clone(), health: self.health.clone(), machine: self.machine.clone() }
    }

    pub(crate) fn history(&self, query: &HistoryQuery) -> HistoryView {
        let points = usize::try_from(query.points.clamp(POINTS.0, POINTS.1)).unwrap_or(usize::MAX);
        let Some(frame) = &self.frame else {
            return HistoryView { mono_ms: vec![], wall_ms: vec![], series: vec![], last_seq: 0 };
        };
        let columns = self.history.query(frame.at, query.window_ms.map(u64::from), points, &query.metrics);
        HistoryView {
            mono_ms: columns.at.iter().map(|stamp| stamp.mono_ms).collect(),
            wall_ms: columns.at.iter().map(|stamp| stamp.wall_ms).collect(),
            series: columns
                .series
                .into_iter()
                .map(|s| HistorySeries { gpu: s.gpu, metric: s.metric, values: s.values })
                .collect(),
            last_seq: columns.last_seq,
        }
    }
}
