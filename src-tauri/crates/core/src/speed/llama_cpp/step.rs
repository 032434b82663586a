//! One decode step, part by part: a unit in each place where it may lie, and the crossings between places. Seconds.

use std::ops::AddAssign;

use crate::speed::card::CardSpeed;
use crate::speed::llama_cpp::coefficients::Coefficients;
use crate::speed::llama_cpp::gpu::{Gpu, Launches, UnitTime};
use crate::speed::llama_cpp::link;
use crate::speed::setting::Setting;
use crate::speed::work::{AttentionWork, UnitWork, Work, float};

/// Where the time of a step goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    /// Reading weights on GPUs and multiplying.
    pub(crate) weights: f64,
    /// Launching kernels.
    pub(crate) launches: f64,
    /// Reading the KV cache on GPUs.
    pub(crate) cache: f64,
    /// What the CPU does, reading system RAM.
    pub(crate) ram: f64,
    /// Handing activations from place to place.
    pub(crate) hops: f64,
    /// Summing up activations over GPUs.
    pub(crate) reduces: f64,
    /// What every step costs once.
    pub(crate) step: f64,
}

impl Parts {
    pub(crate) fn sum(&self) -> f64 {
        self.weights + self.launches + self.cache + self.ram + self.hops + self.reduces + self.step
    }

    /// Each part with its name.
    pub(crate) fn named(&self) -> [(&'static str, f64); 7] {
        [
            ("reading weights", self.weights),
            ("launching kernels", self.launches),
            ("reading the KV cache", self.cache),
            ("work of the CPU in system RAM", self.ram),
            ("handing activations on", self.hops),
            ("summing up over GPUs", self.reduces),
            ("sampling and synchronising", self.step),
        ]
    }
}

impl AddAssign for Parts {
    fn add_assign(&mut self, other: Self) {
        self.weights += other.weights;
        self.launches += other.launches;
        self.cache += other.cache;
        self.ram += other.ram;
        self.hops += other.hops;
        self.reduces += other.reduces;
        self.step += other.step;
    }
}

impl From<UnitTime> for Parts {
    fn from(time: UnitTime) -> Self {
        Self { weights: time.weights, launches: time.launches, cache: time.cache, ..Self::default() }
    }
}

/// A model, cards and a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) work: &'a Work,
    pub(crate) devices: &'a [CardSpeed],
    pub(crate) setting: &'a Setting,
    pub(crate) coefficients: &'a Coefficients,
    /// Sequences of which the step makes a token each.
    pub(crate) sequences: f64,
}

impl<'a> Step<'a> {
    pub(crate) fn gpu(&self, device: usize) -> Gpu<'a> {
        Gpu { card: self.devices[device], coefficients: self.coefficients, setting: self.setting }
    }

    /// A unit whole on a GPU.
    pub(crate) fn on_device(&self, device: usize, unit: &UnitWork, how: Launches) -> Parts {
        self.gpu(device).unit(self.work, unit, how, self.sequences, 1.0).into()
    }

    /// A unit on a GPU, its experts in system RAM.
    pub(crate) fn experts_in_ram(&self, device: usize, unit: &UnitWork, how: Launches) -> Parts {
        if !unit.routes() {
            return self.on_device(device, unit, how);
        }
        let bytes: f64 = unit.experts.iter().map(|weights| weights.bytes).sum();
        let here = self.gpu(device).unit_without_experts(unit, how, self.sequences);
        let ram = self.cpu(bytes * self.work.experts_touched(self.sequences));
        Parts { ram, hops: 2.0 * self.handover(), ..here.into() }
    }

    /// A unit whole in system RAM, cache included.
    pub(crate) fn in_ram(&self, unit: &UnitWork) -> Parts {
        let touched = self.work.experts_touched(self.sequences);
        let dense: f64 = unit.dense.iter().map(|weights| weights.bytes).sum();
        let experts: f64 = unit.experts.iter().map(|weights| weights.bytes * touched).sum();
        let cache = unit.attention.map_or(0.0, |attention| self.cache_bytes(&attention) * self.sequences);
        Parts { ram: self.cpu(dense + experts + cache), ..Parts::default() }
    }

    /// Activations from one GPU to the next.
    pub(crate) fn hop(&self) -> Parts {
        Parts { hops: self.coefficients.hop_us * 1e-6, ..Parts::default() }
    }

    /// Activations from system RAM to a GPU.
    pub(crate) fn out_of_ram(&self) -> Parts {
        Parts { hops: self.handover(), ..Parts::default() }
    }

    /// What every step costs once.
    pub(crate) fn once(&self) -> Parts {
        Parts { step: self.coefficients.step_us * 1e-6, ..Parts::default() }
    }

    /// A unit of which every GPU has its share. The slowest says when it is done; the sums wait for it.
    pub(crate) fn shared(&self, order: &[usize], shares: &[f64], unit: &UnitWork, is_output: bool) -> Parts {
        let here = |(&device, &share): (&usize, &f64)| {
            self.gpu(device).unit(self.work, unit, Launches::Tensor, self.sequences, share)
        };
        let slowest = order.iter().zip(shares).map(here).max_by(|a, b| a.sum().total_cmp(&b.sum()));
        let cards = order.iter().map(|&device| &self.devices[device]);
        let values = self.work.embedding * self.sequences;
        let sums = if is_output { 1.0 } else { link::REDUCES_PER_LAYER };
        let reduces = sums * link::reduce(cards, values, self.coefficients);
        Parts { reduces, ..slowest.unwrap_or_default().into() }
    }

    fn cpu(&self, bytes: f64) -> f64 {
        let k = self.coefficients;
        bytes / link::ram(self.setting, k) + k.ram_layer_us * 1e-6
    }

    fn handover(&self) -> f64 {
        self.coefficients.ram_handover_us * 1e-6
    }

    fn cache_bytes(&self, attention: &AttentionWork) -> f64 {
        let depth = float(self.setting.depth);
        let tokens = attention.window.map_or(depth, |window| depth.min(window));
        let [k, v] = self.setting.cache_bytes();
        tokens * (attention.k_row * k + attention.v_row * v)
    }
}
