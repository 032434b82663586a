//! What one GPU takes for one unit of a decode step: weights, launches, cache. Seconds.

use crate::speed::card::{CardSpeed, MemoryKind};
use crate::speed::llama_cpp::coefficients::Coefficients;
use crate::speed::setting::Setting;
use crate::speed::work::{AttentionWork, ByKind, UnitWork, WeightKind, Work};

/// Kernels per weight tensor: a product is quantising its input and the product itself, a norm or bias one and what joins
/// it to the residual stream. Counted in the engine's graphs of Llama, Qwen and Gemma: 18 to 28 kernels on 9 to 13 tensors.
const KERNELS_PER_TENSOR: f64 = 2.0;

/// How kernels are launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launches {
    /// One GPU.
    Alone,
    /// GPUs take turns, layer by layer.
    Several,
    /// All GPUs work on every matrix.
    Tensor,
}

/// Cards that share a coefficient, by compute capability × 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Pascal,
    Volta,
    Turing,
    AmpereDatacentre,
    Ampere,
    Ada,
    Hopper,
    Blackwell,
}

impl Family {
    pub(crate) fn of(capability: u32) -> Self {
        match capability {
            0..700 => Self::Pascal,
            700..750 => Self::Volta,
            750..800 => Self::Turing,
            800..860 => Self::AmpereDatacentre,
            860..890 => Self::Ampere,
            890..900 => Self::Ada,
            900..1000 => Self::Hopper,
            _ => Self::Blackwell,
        }
    }
}

/// Times of one unit, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct UnitTime {
    /// Reading weights and multiplying.
    pub(crate) weights: f64,
    /// Launching kernels.
    pub(crate) launches: f64,
    /// Reading the cache.
    pub(crate) cache: f64,
}

impl UnitTime {
    pub(crate) fn sum(self) -> f64 {
        self.weights + self.launches + self.cache
    }
}

/// A card with all that its speed at one setting depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gpu<'a> {
    pub(crate) card: CardSpeed,
    pub(crate) coefficients: &'a Coefficients,
    pub(crate) setting: &'a Setting,
}

impl Gpu<'_> {
    /// One unit of a step that makes a token of each of `sequences`; `share` of it lies here.
    pub(crate) fn unit(self, work: &Work, unit: &UnitWork, how: Launches, sequences: f64, share: f64) -> UnitTime {
        let experts = (work.experts_touched(sequences), work.experts_used * sequences);
        self.unit_with(unit, how, sequences, share, experts)
    }

    /// One unit whose experts are elsewhere.
    pub(crate) fn unit_without_experts(self, unit: &UnitWork, how: Launches, sequences: f64) -> UnitTime {
        self.unit_with(unit, how, sequences, 1.0, (0.0, 0.0))
    }

    fn unit_with(
        self,
        unit: &UnitWork,
        how: Launches,
        sequences: f64,
        share: f64,
        (touched, used): (f64, f64),
    ) -> UnitTime {
        let k = self.coefficients;
        let sliced = if how == Launches::Tensor { k.tensor_experts } else { 1.0 };
        let bytes = self.read_time(&unit.dense) + touched * self.read_time(&unit.experts) / (k.eta_experts * sliced);
        let dense = self.columns_time(&unit.dense, sequences);
        let experts = self.multiply_time(&unit.experts) * used / (k.eta_experts * sliced);
        UnitTime {
            weights: share * smooth_max(bytes, dense + experts, k.overlap),
            launches: self.kernels(unit) * self.launch(how),
            cache: unit.attention.map_or(0.0, |it| share * sequences * self.cache_time(&it)),
        }
    }

    /// Clocks of all multiprocessors per second.
    pub(crate) fn clocks(self) -> f64 {
        f64::from(self.card.sms.max(1)) * f64::from(self.card.boost_mhz.max(1)) * 1e6
    }

    /// Bytes per second that one sequence can count with.
    pub(crate) fn bandwidth(self) -> f64 {
        let k = self.coefficients;
        let reached = match self.card.memory {
            MemoryKind::Gddr => 1.0,
            MemoryKind::Hbm => k.memory_hbm,
            MemoryKind::Unified => k.memory_unified,
        };
        f64::from(self.card.bandwidth_mb_s.max(1)) * 1e6 * reached
    }

    /// Kernels of a unit.
    pub(crate) fn kernels(self, unit: &UnitWork) -> f64 {
        let k = self.coefficients;
        let routed = if unit.routes() { k.kernels_routed } else { 0.0 };
        let recurrent = if unit.recurrent { k.kernels_recurrent } else { 0.0 };
        unit.tensors * KERNELS_PER_TENSOR + routed + recurrent
    }

    fn read_time(self, weights: &ByKind) -> f64 {
        let eta = |kind: WeightKind| {
            let k = self.coefficients;
            match kind {
                WeightKind::Float => k.eta_float,
                WeightKind::Eight => k.eta_eight,
                WeightKind::Four => k.eta_four,
                WeightKind::Fp4 => k.eta_fp4,
                WeightKind::Low => k.eta_low,
            }
        };
        let bytes: f64 = WeightKind::ALL.iter().map(|&kind| weights[kind as usize].bytes / eta(kind)).sum();
        bytes / self.bandwidth()
    }

    /// Multiplying one matrix by a column per sequence: in the kernels for single tokens, or in those for prompts where they
    /// are faster.
    fn columns_time(self, weights: &ByKind, sequences: f64) -> f64 {
        let one = self.multiply_time(weights);
        let further = (sequences - 1.0).max(0.0) * self.coefficients.clocks_column;
        (one * (1.0 + further)).min(one.max(self.product_time(weights, sequences)))
    }

    fn multiply_time(self, weights: &ByKind) -> f64 {
        let k = self.coefficients;
        let early = self.setting.build.is_early();
        let clocks = |kind: WeightKind| {
            let clocks = match kind {
                WeightKind::Float => k.clocks_float,
                WeightKind::Eight => k.clocks_eight,
                WeightKind::Four => k.clocks_four,
                WeightKind::Fp4 => k.clocks_fp4,
                WeightKind::Low => k.clocks_low,
            };
            match (early, kind) {
                (false, _) => clocks,
                (true, WeightKind::Float) => clocks * k.clocks_early_float,
                (true, _) => clocks * k.clocks_early,
            }
        };
        let clocks: f64 = WeightKind::ALL.iter().map(|&kind| weights[kind as usize].values * clocks(kind)).sum();
        clocks * self.clocks_factor() / self.clocks()
    }

    fn clocks_factor(self) -> f64 {
        let k = self.coefficients;
        match Family::of(self.card.capability) {
            Family::Pascal => k.clocks_pascal,
            Family::Volta => k.clocks_volta,
            Family::Turing => k.clocks_turing,
            Family::AmpereDatacentre => k.clocks_ampere_datacentre,
            Family::Ampere => k.clocks_ampere,
            Family::Ada => k.clocks_ada,
            Family::Hopper => k.clocks_hopper,
            Family::Blackwell => k.clocks_blackwell,
        }
    }

    /// Seconds per kernel.
    fn launch(self, how: Launches) -> f64 {
        let k = self.coefficients;
        let family = match Family::of(self.card.capability) {
            Family::Pascal => k.launch_pascal,
            Family::Volta => k.launch_volta,
            Family::Turing => k.launch_turing,
            Family::AmpereDatacentre => k.launch_ampere_datacentre,
            Family::Ampere => k.launch_ampere,
            Family::Ada => k.launch_ada,
            Family::Hopper => k.launch_hopper,
            Family::Blackwell => k.launch_blackwell,
        };
        let early = if self.setting.build.is_early() { k.launch_early } else { 1.0 };
        let one_by_one = k.launch_us * early;
        let each = if self.setting.build.has_graphs(self.card.capability) {
            let turns = match how {
                Launches::Alone => 1.0,
                Launches::Several => k.launch_several,
                Launches::Tensor => k.launch_tensor,
            };
            (k.launch_graph_us * turns).min(one_by_one)
        } else {
            one_by_one
        };
        each * family * 1e-6
    }

    /// Reading the cache of one sequence in one layer.
    fn cache_time(self, attention: &AttentionWork) -> f64 {
        let k = self.coefficients;
        let (eta, clocks) = if self.setting.flash_attention {
            (k.cache_eta, k.cache_clocks)
        } else {
            (k.cache_eta_plain, k.cache_clocks_plain)
        };
        let depth = crate::speed::work::float(self.setting.depth);
        let tokens = attention.window.map_or(depth, |window| depth.min(window));
        let [k_bytes, v_bytes] = self.setting.cache_bytes();
        let bytes = tokens * (attention.k_row * k_bytes + attention.v_row * v_bytes);
        let products = tokens * attention.heads * (attention.key_length + attention.value_length);
        bytes / (self.bandwidth() * eta) + products * clocks * self.clocks_factor() / self.clocks()
    }
}

/// A maximum without a kink: two things that run at the same time, of which the slower hides most of the other.
pub(crate) fn smooth_max(a: f64, b: f64, exponent: f64) -> f64 {
    let most = a.max(b);
    if most <= 0.0 {
        return 0.0;
    }
    most * ((a / most).powf(exponent) + (b / most).powf(exponent)).powf(1.0 / exponent)
}
