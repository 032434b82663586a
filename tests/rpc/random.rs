//! Random plans: a plan of the planner for a split of its own, with GPUs in another order and parts of the model in RAM.

use dualgpuopt_core::gpu::GpuId;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_core::plan::{CacheType, ContextWish, DeviceBudget, Goal, Plan, PlanMode, PlanRequest, plan};
use dualgpuopt_core::units::Bytes;

/// Most GPUs of a plan.
const GPUS_MAX: u64 = 4;

/// Numbers from a seed (xorshift64*, Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }

    fn small(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(u64::from(end))).expect("below a u32")
    }

    /// A plan for a model of so many layers, in which every part is drawn.
    pub(crate) fn plan(&mut self, model: &ModelFacts, layers: u32) -> Plan {
        let gpus = usize::try_from(1 + self.below(GPUS_MAX)).expect("few GPUs");
        let units = layers + 1;
        let base = plan(model, &request(gpus, self.cuts(units, gpus))).expect("the request is sound");
        let layers_in_ram = if self.below(3) == 0 { 1 + self.small(layers - 4) } else { 0 };
        let split = self.cuts(units - layers_in_ram, gpus);
        let mut order: Vec<u32> = (0..).take(gpus).collect();
        for at in (1..order.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).expect("few GPUs");
            order.swap(at, other);
        }
        let experts_in_ram = match self.below(3) {
            0 => Vec::new(),
            1 => (layers_in_ram..layers_in_ram + 1 + self.small(layers - layers_in_ram)).collect(),
            _ => (layers_in_ram..layers).filter(|_| self.below(2) == 0).collect(),
        };
        Plan { split, order, layers_in_ram, experts_in_ram, mode: PlanMode::Layer, ..base }
    }

    /// Cuts `units` into a part for each GPU, none empty.
    fn cuts(&mut self, units: u32, gpus: usize) -> Vec<u32> {
        let mut split = vec![1; gpus];
        for _ in 0..units - u32::try_from(gpus).expect("few GPUs") {
            let at = usize::try_from(self.below(gpus as u64)).expect("few GPUs");
            split[at] += 1;
        }
        split
    }
}

fn request(gpus: usize, split: Vec<u32>) -> PlanRequest {
    let card = |index: u32| DeviceBudget {
        gpu: GpuId(format!("GPU-{index}")),
        index,
        name: "stand-in".into(),
        total: Bytes::gib(24),
        others: Bytes::ZERO,
        reserve: Bytes::ZERO,
        capability: Some(860),
        measured_context: None,
        speed: None,
    };
    PlanRequest {
        context: ContextWish::Tokens(512),
        cache_k: CacheType::F16,
        cache_v: CacheType::F16,
        parallel: 1,
        micro_batch: 64,
        devices: (0..).take(gpus).map(card).collect(),
        split: Some(split),
        goal: Goal::default(),
        mode: Some(PlanMode::Layer),
        ram: None,
        all_gpus: true,
        experts_in_ram: None,
        depth: 0,
    }
}
