//! A machine of simulated cards. The same seed at the same times gives the same numbers, however often it is asked.
//!
//! The simulated work is a small model: it holds a few hundred MiB, so that plans made on simulated cards have nearly
//! all of the memory. Deliberately absent: engines that are really started do not show up here.

mod body;
mod cards;
mod load;
mod random;

use std::collections::BTreeMap;

use dualgpuopt_core::gpu::{Frame, GpuFacts, GpuId, GpuSample, Machine, Metric, SourceKind, SpeedFacts};
use dualgpuopt_core::reading::{Reading, Why};
use dualgpuopt_core::time::Stamp;
use dualgpuopt_core::units::Bytes;

use crate::source::{GPUS_MAX, Source, SourceError};
use body::Body;
use cards::{CARDS, Card};
use load::{Phase, Work};
use random::Random;

/// Time moves in steps of this length, whatever the times at which frames are asked for.
const STEP_MS: u64 = 100;
/// After a longer pause (suspend) only this much is lived through: an hour settles everything.
const PAUSE_MS_MAX: u64 = 3_600_000;
/// Share of memory that driver and firmware keep.
const RESERVED: f64 = 0.016;

/// Simulated cards.
#[derive(Debug)]
pub struct SimSource {
    cards: Vec<(&'static Card, GpuFacts, Body)>,
    work: Work,
    /// How far the simulation has come, in monotonic milliseconds.
    lived_ms: Option<u64>,
    seq: u64,
}

impl SimSource {
    /// Cards by short name, such as `3090` or `RTX 4060 Ti`; none means two RTX 3090.
    ///
    /// # Errors
    /// A name that no card has, or more than [`GPUS_MAX`] cards.
    pub fn new(names: &[String], seed: u64) -> Result<Self, SourceError> {
        if names.len() > GPUS_MAX {
            return Err(SourceError::TooManyCards { asked: names.len() });
        }
        let default = ["3090".to_owned(), "3090".to_owned()];
        let names = if names.is_empty() { &default } else { names };
        let mut cards = Vec::with_capacity(names.len());
        for (index, name) in (0_u32..).zip(names) {
            let card = cards::find(name)
                .ok_or_else(|| SourceError::UnknownCard { name: name.clone(), known: known_cards() })?;
            let random = Random::new(seed ^ (u64::from(index) + 1).wrapping_mul(0x2545_f491_4f6c_dd1d));
            cards.push((card, facts(card, index), Body::idle(card, random, index == 0)));
        }
        Ok(Self { cards, work: Work::new(Random::new(seed)), lived_ms: None, seq: 0 })
    }

    fn live_until(&mut self, now_ms: u64) {
        let mut lived = self.lived_ms.unwrap_or(now_ms);
        if now_ms.saturating_sub(lived) > PAUSE_MS_MAX {
            lived = now_ms - PAUSE_MS_MAX;
        }
        #[expect(clippy::cast_precision_loss, reason = "a constant of 100")]
        let step_s = STEP_MS as f64 / 1000.0;
        while lived + STEP_MS <= now_ms {
            lived += STEP_MS;
            let phase = self.work.advance(step_s);
            for (card, _, body) in &mut self.cards {
                body.advance(card, phase, step_s);
            }
        }
        self.lived_ms = Some(lived);
    }
}

impl Source for SimSource {
    fn machine(&mut self) -> Result<Machine, SourceError> {
        Ok(Machine {
            source: SourceKind::Simulated,
            gpus: self.cards.iter().map(|(_, facts, _)| facts.clone()).collect(),
            driver_version: None,
            cuda_version: None,
            nvml_version: None,
        })
    }

    fn poll(&mut self, at: Stamp) -> Frame {
        self.live_until(at.mono_ms);
        self.seq += 1;
        let sample = |(card, facts, body): &(&'static Card, GpuFacts, Body)| GpuSample {
            gpu: facts.id.clone(),
            answered_at: Some(at),
            metrics: metrics(card, body),
        };
        Frame { seq: self.seq, at, gpus: self.cards.iter().map(sample).collect(), problems: Vec::new() }
    }
}

/// Short names of all cards that the simulator knows.
#[must_use]
pub fn known_cards() -> Vec<String> {
    CARDS.iter().map(|card| card.short[0].to_owned()).collect()
}

fn facts(card: &Card, index: u32) -> GpuFacts {
    // In UUID form, and the same for the same card in the same place; `s` tells that no real card has it.
    let model: String = card.short[0].chars().take(5).collect();
    GpuFacts {
        id: GpuId(format!("GPU-sim{model:0>5}-0000-4000-8000-{:012x}", index + 1)),
        index,
        name: card.name.to_owned(),
        pci_bus_id: None,
        memory_total: Some(Bytes::gib(u64::from(card.memory_gib))),
        compute_capability: Some(card.compute_capability),
        pcie_generation_max: Some(card.pcie_generation_max),
        pcie_width_max: Some(card.pcie_width_max),
        // The rest is in the product's own table, by the card's name.
        speed_facts: SpeedFacts { p2p: Some(false), nvlink: Some(false), ..SpeedFacts::default() },
    }
}

fn metrics(card: &Card, body: &Body) -> BTreeMap<Metric, Reading> {
    const MIB: f64 = 1_048_576.0;
    let total = f64::from(card.memory_gib) * 1024.0 * MIB;
    let reserved = (total * RESERVED / MIB).round() * MIB;
    let used = body.memory_mib.round() * MIB;
    let idle = body.phase == Phase::Idle;
    let (sm_mhz, memory_mhz, generation, state) = if idle {
        (210.0, 405.0, 1.0, 8.0)
    } else {
        // A card at its power limit lowers its clock; 4 % is typical of small excess.
        let sm = card.sm_clock_max_mhz * if body.capped { 0.96 } else { 1.0 };
        (sm.round(), card.memory_clock_max_mhz, f64::from(card.pcie_generation_max), 2.0)
    };
    // nvml.h: nvmlClocksEventReasonGpuIdle 0x1, nvmlClocksEventReasonSwPowerCap 0x4.
    let reasons = if idle { 1.0 } else { f64::from(u8::from(body.capped)) * 4.0 };
    let number = |metric: Metric| match metric {
        Metric::MemoryUsed => used,
        Metric::MemoryFree => total - reserved - used,
        Metric::MemoryTotal => total,
        Metric::MemoryReserved => reserved,
        Metric::GpuUtilization => body.gpu_percent.round(),
        Metric::MemoryUtilization => body.memory_percent.round(),
        Metric::Temperature => body.temperature_c.round(),
        // Milliwatts, as the driver counts, and never above the limit by rounding.
        Metric::Power => (body.power_w * 1000.0).floor() / 1000.0,
        Metric::PowerLimit => card.power_limit_w,
        Metric::Fan => body.fan_percent.round(),
        Metric::SmClock => sm_mhz,
        Metric::MemoryClock => memory_mhz,
        Metric::PcieGeneration => generation,
        Metric::PcieWidth => f64::from(card.pcie_width_max),
        Metric::PcieReceive => (body.receive_mb_per_s * 1000.0).round() * 1000.0,
        Metric::PcieSend => (body.send_mb_per_s * 1000.0).round() * 1000.0,
        Metric::PerformanceState => state,
        Metric::ThrottleReasons => reasons,
    };
    let reading = |metric: Metric| match metric {
        Metric::Fan if !card.fan => Reading::Missing(Why::NotSupported),
        _ => Reading::Value(number(metric)),
    };
    Metric::ALL.iter().map(|&metric| (metric, reading(metric))).collect()
}

#[cfg(test)]
mod tests;
