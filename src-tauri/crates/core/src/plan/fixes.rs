//! The least changes that make a plan fit, each of them planned before it is offered.
//!
//! **Order**: first what costs neither context nor quality of answers (memory that others hold, smaller pieces of the prompt),
//! then fewer bits in the cache at the full context, then speed (system RAM), then requests at once, then context.

use crate::engine::llama_cpp::prepared::Prepared;
use crate::plan::ground::Ground;
use crate::plan::request::{MICRO_BATCH_MIN, flags};
use crate::plan::solve::{Solved, solve};
use crate::plan::{CacheLimit, CacheType, ContextWish, DevicePlan, Fix, PlanMode, PlanRequest, RamBudget};
use crate::units::Bytes;

/// Most fixes offered.
const FIXES_MAX: usize = 6;

/// What is known when fixes are sought.
pub(super) struct Known<'a> {
    pub(super) prepared: &'a Prepared<'a>,
    pub(super) request: &'a PlanRequest,
    /// The plan that does not fit, device by device.
    pub(super) devices: &'a [DevicePlan],
    /// Context that was planned for, tokens.
    pub(super) context: u32,
    /// Largest context that fits with the cache types asked for; zero: none.
    pub(super) context_limit: u32,
    /// The same for other cache types.
    pub(super) by_cache: &'a [CacheLimit],
}

impl Known<'_> {
    /// The fixes, best first.
    pub(super) fn fixes(&self) -> Vec<Fix> {
        let mut fixes = Vec::new();
        fixes.extend(self.others());
        fixes.extend(self.micro_batch());
        let [full, less] = self.caches();
        fixes.extend(full);
        fixes.extend(self.ram());
        fixes.extend(self.parallel());
        if self.context_limit > 0 {
            fixes.push(Fix::Context { tokens: self.context_limit });
        }
        fixes.extend(less);
        fixes.truncate(FIXES_MAX);
        fixes
    }

    /// The same question with the context that was wanted.
    fn same(&self) -> PlanRequest {
        PlanRequest { context: ContextWish::Tokens(self.context), ..self.request.clone() }
    }

    /// What a changed request comes to, where that fits.
    fn tried(&self, request: &PlanRequest) -> Option<Solved> {
        let ground = Ground::new(self.prepared, request).ok()?;
        solve(&ground).ok().filter(|solved| solved.decision.fits)
    }

    /// Memory that others hold on the GPU that lacks most: as much as is lacking, where freeing it there is enough.
    fn others(&self) -> Option<Fix> {
        let worst = self.devices.iter().max_by_key(|device| device.memory.short)?;
        let bytes = worst.memory.short;
        if bytes > worst.memory.others {
            return None;
        }
        let mut request = self.same();
        let device = request.devices.iter_mut().find(|device| device.gpu == worst.gpu)?;
        device.others = device.others.saturating_sub(bytes);
        self.tried(&request).map(|_| Fix::Others { gpu: worst.index, bytes })
    }

    /// The largest smaller micro-batch that fits.
    fn micro_batch(&self) -> Option<Fix> {
        let halves = std::iter::successors(Some(self.request.micro_batch / 2), |tokens| Some(tokens / 2));
        let mut smaller = halves.take_while(|tokens| *tokens >= MICRO_BATCH_MIN);
        smaller.find_map(|micro_batch| {
            self.tried(&PlanRequest { micro_batch, ..self.same() })?;
            Some(Fix::MicroBatch { tokens: micro_batch })
        })
    }

    /// Smaller caches: those that hold the whole context, least loss first; and those that hold more of it than the present one.
    fn caches(&self) -> [Vec<Fix>; 2] {
        let now = bits(self.request.cache_k) + bits(self.request.cache_v);
        let narrower = self.by_cache.iter().filter(|limit| 2 * bits(limit.cache) < now && limit.context_limit > 0);
        let (full, less): (Vec<&CacheLimit>, Vec<&CacheLimit>) =
            narrower.partition(|limit| limit.context_limit >= self.context);
        let fix = |limit: &CacheLimit| Fix::Cache { cache: limit.cache, tokens: limit.context_limit.min(self.context) };
        let further = less.into_iter().filter(|limit| limit.context_limit > self.context_limit);
        [full.into_iter().map(fix).collect(), further.map(fix).collect()]
    }

    /// Layers or experts in system RAM, as few as the fastest plan needs there.
    fn ram(&self) -> Option<Fix> {
        if self.request.split.is_some() || self.request.mode == Some(PlanMode::Tensor) || self.request.ram.is_some() {
            return None;
        }
        let all = Bytes(self.prepared.model().file_bytes.0.saturating_mul(2));
        let ram = Some(RamBudget { bytes: all, bandwidth_mb_s: None });
        let request = PlanRequest { ram, ..self.same() };
        let ground = Ground::new(self.prepared, &request).ok()?;
        let solved = solve(&ground).ok().filter(|solved| solved.decision.fits)?;
        let arrangement = &solved.decision.arrangement;
        let layout = self.prepared.layout(&arrangement.flags(&request, solved.choice)).ok()?;
        // What every plan keeps there: the embedding of tokens.
        let device = self.request.devices.first()?;
        let embedding = self.prepared.layout(&flags(self.request, solved.choice, &[device], &[1])).ok()?.host.weights;
        let bytes = Bytes((layout.host.weights + layout.host.kv_cache).saturating_sub(embedding));
        let expert_layers = u32::try_from(arrangement.experts_in_ram.len()).ok()?;
        Some(Fix::Ram { expert_layers, layers: arrangement.layers_in_ram, bytes })
    }

    /// The most requests at once, fewer than now, that fit.
    fn parallel(&self) -> Option<Fix> {
        let halves = std::iter::successors(Some(self.request.parallel / 2), |requests| Some(requests / 2));
        halves.take_while(|requests| *requests > 0).find_map(|parallel| {
            self.tried(&PlanRequest { parallel, ..self.same() })?;
            Some(Fix::Parallel { requests: parallel })
        })
    }
}

/// Bits of 32 values; only compared.
pub(super) fn bits(cache: CacheType) -> u64 {
    let block = cache.block();
    block.bytes * 8 * (32 / block.values)
}
