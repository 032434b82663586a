//! The speed of a request's arrangements, where every card's speed and the model's work are known.

use crate::engine::llama_cpp::prepared::Prepared;
use crate::plan::arrangement::Arrangement;
use crate::plan::request::{Choice, batch};
use crate::plan::{Goal, PlanMode, PlanRequest, PlanSpeed};
use crate::speed::llama_cpp::{Sharing, costs, rates};
use crate::speed::setting::{Build, Setting};
use crate::speed::work::Work;
use crate::speed::{CardSpeed, Costs, Predicted};

/// Tokens of the prompt for which prefill is told; llama-bench's default (`-p`).
const PROMPT: u64 = 512;

/// A model's work and the cards' speeds.
#[derive(Debug)]
pub(super) struct Speeds {
    work: Work,
    cards: Vec<CardSpeed>,
}

impl Speeds {
    /// Reads them; else why there are none, one sentence.
    pub(super) fn of(prepared: &Prepared<'_>, request: &PlanRequest) -> Result<Self, String> {
        let unknown = request.devices.iter().filter(|device| device.speed.is_none());
        let unknown: Vec<_> = unknown.map(|device| format!("GPU {} ({})", device.index, device.name)).collect();
        if !unknown.is_empty() {
            return Err(format!(
                "The speed of {} is not known: layers are shared out by memory, so that most of it stays free.",
                unknown.join(" and ")
            ));
        }
        let work = Work::of(prepared)
            .map_err(|refused| format!("No speed is predicted, and layers are shared out by memory: {refused}"))?;
        Ok(Self { work, cards: request.devices.iter().filter_map(|device| device.speed).collect() })
    }

    /// Times of a decode step for the search; of one request, or where the goal is throughput of all.
    pub(super) fn costs(&self, request: &PlanRequest, choice: Choice, flash_attention: bool) -> Costs {
        let parallel = if request.goal == Goal::Throughput { request.parallel } else { 1 };
        let setting = Setting { parallel: parallel.into(), ..setting(request, choice, flash_attention) };
        costs(&self.work, &self.cards, &setting)
    }

    /// How fast an arrangement is.
    pub(super) fn of_arrangement(
        &self,
        request: &PlanRequest,
        choice: Choice,
        flash_attention: bool,
        arrangement: &Arrangement,
    ) -> PlanSpeed {
        let setting = setting(request, choice, flash_attention);
        let stages = arrangement.stages(self.work.units());
        let shares: Vec<f64> = arrangement.shares.iter().map(|&share| f64::from(share)).collect();
        let sharing = match (arrangement.mode, arrangement.order.len()) {
            (PlanMode::Tensor, 2..) => Sharing::Tensor { order: &arrangement.order, shares: &shares },
            _ => Sharing::Layers(&stages),
        };
        let found = rates(&self.work, &self.cards, sharing, &setting);
        PlanSpeed {
            decode: found.decode,
            throughput: found.throughput,
            prefill: found.prefill,
            parts: found.parts,
            basis: found.basis,
        }
    }
}

fn setting(request: &PlanRequest, choice: Choice, flash_attention: bool) -> Setting {
    Setting {
        build: Build(None),
        flash_attention,
        cache_k: choice.cache_k,
        cache_v: choice.cache_v,
        depth: request.depth.into(),
        prompt: PROMPT,
        micro_batch: request.micro_batch.into(),
        batch: batch(request.micro_batch).into(),
        parallel: request.parallel.into(),
        ram_bandwidth_mb_s: request.ram.and_then(|ram| ram.bandwidth_mb_s),
    }
}

/// The rate that a goal looks at.
pub(super) fn rate_for(goal: Goal, speed: &PlanSpeed) -> Predicted {
    if goal == Goal::Throughput { speed.throughput } else { speed.decode }
}
