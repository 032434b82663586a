//! Reading a prompt: micro-batches through the units of one GPU, and through a pipeline of several.

use crate::speed::card::MemoryKind;
use crate::speed::llama_cpp::gpu::{Family, Gpu, smooth_max};
use crate::speed::work::{AttentionWork, ByKind, UnitWork, WeightKind, Work, float};

/// Operations of one product and one sum.
const OPERATIONS: f64 = 2.0;

/// A micro-batch: how many tokens, and how many are cached before it on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MicroBatch {
    pub(crate) tokens: f64,
    pub(crate) before: f64,
}

/// How a prompt is cut: micro-batches of equal length, and their number.
pub(crate) fn cut(prompt: u64, depth: u64, micro_batch: u64) -> (MicroBatch, f64) {
    let prompt = prompt.max(1);
    let count = prompt.div_ceil(micro_batch.clamp(1, prompt));
    let tokens = float(prompt) / float(count);
    (MicroBatch { tokens, before: float(depth) + (float(prompt) - tokens) / 2.0 }, float(count))
}

/// Time for `count` micro-batches through stages that take these times each: one after the other, but for the share of the
/// work that overlaps. A pipeline of n stages that overlaps fully takes `sum + (count - 1) × longest`.
pub(crate) fn pipeline(stages: &[f64], count: f64, overlap: f64) -> f64 {
    let sum: f64 = stages.iter().sum();
    let longest = stages.iter().copied().fold(0.0, f64::max);
    let piped = sum + (count - 1.0).max(0.0) * longest;
    overlap * piped + (1.0 - overlap) * sum * count
}

impl Gpu<'_> {
    /// A micro-batch through a unit, `share` of which lies here, seconds. The output is worked out for the last token alone.
    pub(crate) fn prefill_unit(self, work: &Work, unit: &UnitWork, batch: MicroBatch, share: f64, last: bool) -> f64 {
        let k = self.coefficients;
        let launches = self.kernels(unit) * k.launch_prefill_us * 1e-6;
        if last {
            return launches;
        }
        let dense = self.product_time(&unit.dense, batch.tokens);
        let recurrent =
            if unit.recurrent { batch.tokens * work.embedding * k.recurrent_clocks / self.clocks() } else { 0.0 };
        let attention = unit.attention.map_or(0.0, |attention| self.attention_time(&attention, batch));
        share * (dense + self.experts_time(work, unit, batch.tokens) + recurrent + attention) + launches
    }

    /// Multiplying weights by `tokens` columns.
    pub(crate) fn product_time(self, weights: &ByKind, tokens: f64) -> f64 {
        let columns = tokens + self.coefficients.half_tokens;
        WeightKind::ALL
            .iter()
            .map(|&kind| OPERATIONS * weights[kind as usize].values * columns / self.rate(kind))
            .sum::<f64>()
    }

    /// Routed experts: each gets its part of the tokens, and all that are touched are read again for each micro-batch.
    fn experts_time(self, work: &Work, unit: &UnitWork, tokens: f64) -> f64 {
        if !unit.routes() {
            return 0.0;
        }
        let k = self.coefficients;
        let per_expert = tokens * work.experts_used;
        let columns = per_expert + k.half_expert_tokens;
        let (mut products, mut bytes) = (0.0, 0.0);
        for kind in WeightKind::ALL {
            let weights = unit.experts[kind as usize];
            products += OPERATIONS * weights.values * columns / (self.rate(kind) * k.rate_experts);
            bytes += weights.bytes;
        }
        let touched = work.experts_touched(tokens);
        let read = bytes * touched / (f64::from(self.card.bandwidth_mb_s.max(1)) * 1e6 * k.prefill_eta);
        smooth_max(products * touched, read, k.overlap)
    }

    fn attention_time(self, attention: &AttentionWork, batch: MicroBatch) -> f64 {
        let k = self.coefficients;
        let rate = if self.setting.flash_attention { k.attention_rate } else { k.attention_rate_plain };
        let seen = batch.before + batch.tokens / 2.0;
        let seen = attention.window.map_or(seen, |window| seen.min(window));
        let lengths = attention.key_length + attention.value_length;
        let operations = OPERATIONS * batch.tokens * seen * attention.heads * lengths;
        operations / (rate * self.rate_family() * self.clocks())
    }

    /// Operations per second for weights of a kind.
    fn rate(self, kind: WeightKind) -> f64 {
        let k = self.coefficients;
        let native = Family::of(self.card.capability) == Family::Blackwell;
        let kind = match kind {
            WeightKind::Float => k.rate_float,
            WeightKind::Eight => k.rate_eight,
            WeightKind::Four => 1.0,
            WeightKind::Fp4 if native => k.rate_fp4 * k.rate_fp4_native,
            WeightKind::Fp4 => k.rate_fp4,
            WeightKind::Low => k.rate_low,
        };
        let early = if self.setting.build.is_early() { k.rate_early } else { 1.0 };
        let professional =
            if !self.card.geforce && self.card.memory == MemoryKind::Gddr { k.rate_professional } else { 1.0 };
        k.rate * kind * early * professional * self.rate_family() * self.clocks()
    }

    fn rate_family(self) -> f64 {
        let k = self.coefficients;
        match Family::of(self.card.capability) {
            Family::Pascal => k.rate_pascal,
            Family::Volta => k.rate_volta,
            Family::Turing => k.rate_turing,
            Family::AmpereDatacentre => k.rate_ampere_datacentre,
            Family::Ampere => k.rate_ampere,
            Family::Ada => k.rate_ada,
            Family::Hopper => k.rate_hopper,
            Family::Blackwell => k.rate_blackwell,
        }
    }
}
