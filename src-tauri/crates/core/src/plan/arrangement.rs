//! Where each part of a model lies, and the engine's flags that put it there.

use crate::engine::llama_cpp::flags::{Device, Flags, Place, SplitMode, TensorOverride};
use crate::plan::placement::Placement;
use crate::plan::request::{Choice, batch};
use crate::plan::{Plan, PlanMode, PlanRequest};
use crate::speed::llama_cpp::Stage;

/// Routed experts of one layer, as the engine's own `-ncmoe` writes them behind the layer's number. Source: `common/arg.cpp`,
/// `LLM_FFN_EXPS_REGEX`.
const EXPERTS: &str = r"ffn_(up|down|gate|gate_up)_(ch|)exps";

/// Where each part of a model lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrangement {
    pub(super) mode: PlanMode,
    /// Positions in the request of the GPUs used, in the engine's order.
    pub(super) order: Vec<usize>,
    /// Units of each, in that order; by tensors: its share.
    pub(super) shares: Vec<u32>,
    /// First layers that lie whole in system RAM.
    pub(super) layers_in_ram: u32,
    /// Layers whose experts lie in system RAM, ascending.
    pub(super) experts_in_ram: Vec<u32>,
}

impl Arrangement {
    /// Units by layers on the GPUs of a split in the request's order.
    pub(super) fn by_split(split: &[u32]) -> Self {
        let (order, shares) = split.iter().copied().enumerate().filter(|(_, units)| *units > 0).unzip();
        Self { mode: PlanMode::Layer, order, shares, layers_in_ram: 0, experts_in_ram: Vec::new() }
    }

    /// Every matrix in even shares over these GPUs.
    pub(super) fn by_tensors(order: Vec<usize>) -> Self {
        let shares = vec![1; order.len()];
        Self { mode: PlanMode::Tensor, order, shares, layers_in_ram: 0, experts_in_ram: Vec::new() }
    }

    /// What the request fixes by its split; `None` where it fixes none.
    pub(super) fn pinned(request: &PlanRequest, units: u32) -> Option<Self> {
        let split = request.split.as_ref()?;
        let mut found = Self::by_split(split);
        if let Some(order) = &request.order {
            found.order = order.iter().map(|&at| at as usize).collect(); // at most sixteen GPUs
            found.shares = found.order.iter().map(|&at| split[at]).collect();
        }
        if request.mode == Some(PlanMode::Tensor) {
            return Some(Self { mode: PlanMode::Tensor, ..found });
        }
        found.layers_in_ram = units.saturating_sub(found.shares.iter().sum());
        found.experts_in_ram = (found.layers_in_ram..request.experts_in_ram.unwrap_or(0).min(units - 1)).collect();
        Some(found)
    }

    /// A placement that the search found; `pinned`: first layers whose experts the request keeps in RAM.
    pub(super) fn placed(placement: &Placement, pinned: u32) -> Self {
        let mut begin = placement.layers_in_ram;
        let mut experts: Vec<u32> = (begin..pinned).collect();
        for (units, moved) in placement.split.iter().zip(&placement.experts_in_ram) {
            experts.extend(begin..begin + moved);
            begin += units;
        }
        experts.sort_unstable();
        experts.dedup();
        Self {
            mode: PlanMode::Layer,
            order: placement.order.iter().map(|&at| at as usize).collect(), // at most sixteen GPUs
            shares: placement.split.clone(),
            layers_in_ram: placement.layers_in_ram,
            experts_in_ram: experts,
        }
    }

    /// That of a plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let order: Vec<usize> = plan.order.iter().map(|&at| at as usize).collect(); // at most sixteen GPUs
        Self {
            mode: plan.mode,
            shares: order.iter().map(|&at| plan.split[at]).collect(),
            order,
            layers_in_ram: plan.layers_in_ram,
            experts_in_ram: plan.experts_in_ram.clone(),
        }
    }

    /// Whether a part of the model lies in system RAM beside the token embedding.
    pub(super) fn uses_ram(&self) -> bool {
        self.layers_in_ram > 0 || !self.experts_in_ram.is_empty()
    }

    /// Units (or shares) per GPU of a request with so many, in its order.
    pub(super) fn split(&self, gpus: usize) -> Vec<u32> {
        let mut split = vec![0; gpus];
        for (&at, &own) in self.order.iter().zip(&self.shares) {
            split[at] = own;
        }
        split
    }

    /// The flags that make the engine do this.
    pub(super) fn flags(&self, request: &PlanRequest, choice: Choice) -> Flags {
        let devices = self.order.iter().map(|&at| &request.devices[at]).map(|device| Device {
            free: device.total.saturating_sub(device.others).0,
            capability: device.capability.unwrap_or(Device::CAPABILITY_ASSUMED),
        });
        let experts = self
            .experts_in_ram
            .iter()
            .map(|layer| TensorOverride { pattern: format!(r"blk\.{layer}\.{EXPERTS}"), place: Place::Host });
        let on_gpus: u32 = self.shares.iter().sum();
        Flags {
            context: choice.context,
            parallel: Some(u64::from(request.parallel)),
            batch: u64::from(batch(request.micro_batch)),
            micro_batch: u64::from(request.micro_batch),
            cache_k: choice.cache_k,
            cache_v: choice.cache_v,
            split_mode: match self.mode {
                _ if self.order.len() == 1 => SplitMode::None,
                PlanMode::Layer => SplitMode::Layer,
                PlanMode::Tensor => SplitMode::Tensor,
            },
            tensor_split: self.shares.iter().map(|&units| as_share(units)).collect(),
            gpu_layers: (self.layers_in_ram > 0).then(|| u64::from(on_gpus)),
            overrides: experts.collect(),
            ..Flags::new(devices.collect())
        }
    }

    /// Where each of so many units is computed; GPUs by their position in the request.
    pub(super) fn stages(&self, units: usize) -> Vec<Stage> {
        let mut stages = vec![Stage::Ram; self.layers_in_ram as usize]; // at most 512 layers
        for (&at, &own) in self.order.iter().zip(&self.shares) {
            stages.extend((0..own).map(|_| Stage::Gpu(at)));
        }
        for &layer in &self.experts_in_ram {
            if let Some(stage @ &mut Stage::Gpu(at)) = stages.get_mut(layer as usize) {
                *stage = Stage::GpuExpertsInRam(at);
            }
        }
        stages.truncate(units);
        stages
    }

    /// In words, with the GPUs' numbers: `GPU 0 alone`, `by layers 40 | 41`, `by tensors`.
    pub(super) fn words(&self, request: &PlanRequest) -> String {
        let mut words = match (self.mode, self.order.as_slice()) {
            (_, [only]) => format!("GPU {} alone", request.devices[*only].index),
            (PlanMode::Tensor, _) => "by tensors".to_owned(),
            (PlanMode::Layer, _) => {
                let shares: Vec<_> = self.shares.iter().map(u32::to_string).collect();
                format!("by layers {}", shares.join(" | "))
            }
        };
        let straight = self.order.is_sorted();
        if self.order.len() > 1 && (!straight || self.order.len() < request.devices.len()) {
            let gpus: Vec<_> = self.order.iter().map(|&at| request.devices[at].index.to_string()).collect();
            words = format!("{words} on GPUs {}", gpus.join(", "));
        }
        if self.layers_in_ram > 0 {
            words = format!("{words}, {} layers in RAM", self.layers_in_ram);
        }
        if !self.experts_in_ram.is_empty() {
            words = format!("{words}, experts of {} layers in RAM", self.experts_in_ram.len());
        }
        words
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 513 units; f32 is exact to 2^24")]
fn as_share(units: u32) -> f32 {
    units as f32
}
