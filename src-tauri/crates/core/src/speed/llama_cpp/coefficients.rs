//! The numbers of the speed model, fitted to published measurements.
//!
//! `coefficients.tsv` holds for each its value, what was believed before any row was seen, and how far off that belief may be
//! (standard deviation of the logarithm; 0: held fixed). `core/tests/speed.rs` fits them anew and fails where the file is stale.
//! A family of cards without rows of its own so keeps what is common to all, instead of whatever its neighbours happen to say.

use std::sync::LazyLock;

/// Makes the struct and the list of its fields' names from one table.
macro_rules! coefficients {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// The numbers of the speed model.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Coefficients { $($(#[$doc])* pub $name: f64,)* }

        impl Coefficients {
            /// Every name, in the order of [`Self::values`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Every value.
            #[must_use]
            pub fn values(&self) -> Vec<f64> {
                vec![$(self.$name),*]
            }

            /// Takes up values in the order of [`Self::NAMES`]; `None` where there are fewer or more.
            #[must_use]
            pub fn of(values: &[f64]) -> Option<Self> {
                let mut values = values.iter().copied();
                let found = Self { $($name: values.next()?,)* };
                values.next().is_none().then_some(found)
            }
        }
    };
}

coefficients! {
    /// Share of the bandwidth that reading floats reaches.
    eta_float
    /// The same for 8-bit weights.
    eta_eight
    /// The same for weights of 4 to 7 bits.
    eta_four
    /// The same for MXFP4 and NVFP4.
    eta_fp4
    /// The same for weights below 4 bits.
    eta_low
    /// Factor on the share for routed experts.
    eta_experts
    /// Factor on the share for experts of which each GPU has a slice: their rows are short.
    tensor_experts
    /// Factor on the share for HBM.
    memory_hbm
    /// Factor on the share for memory shared with the CPU.
    memory_unified
    /// Clocks of one multiprocessor to unpack and multiply one float.
    clocks_float
    /// The same for 8-bit weights.
    clocks_eight
    /// The same for weights of 4 to 7 bits.
    clocks_four
    /// The same for MXFP4 and NVFP4.
    clocks_fp4
    /// The same for weights below 4 bits.
    clocks_low
    /// Factor on clocks for Pascal.
    clocks_pascal
    /// Factor on clocks for Volta.
    clocks_volta
    /// Factor on clocks for Turing.
    clocks_turing
    /// Factor on clocks for compute capability 8.0.
    clocks_ampere_datacentre
    /// Factor on clocks for compute capability 8.6 and 8.7.
    clocks_ampere
    /// Factor on clocks for Ada.
    clocks_ada
    /// Factor on clocks for Hopper.
    clocks_hopper
    /// Factor on clocks for Blackwell.
    clocks_blackwell
    /// Factor on clocks in builds before summer 2024.
    clocks_early
    /// The same for floats.
    clocks_early_float
    /// Share of the clocks that each further sequence of a step costs again.
    clocks_column
    /// Exponent of the smooth maximum of memory and compute: large means that the slower hides the other.
    overlap
    /// Microseconds per kernel, launched one by one.
    launch_us
    /// Microseconds per kernel in a CUDA graph.
    launch_graph_us
    /// Factor on launches in builds before summer 2024, which fused less.
    launch_early
    /// Factor on launches for Pascal.
    launch_pascal
    /// Factor on launches for Volta.
    launch_volta
    /// Factor on launches for Turing.
    launch_turing
    /// Factor on launches for compute capability 8.0.
    launch_ampere_datacentre
    /// Factor on launches for compute capability 8.6 and 8.7.
    launch_ampere
    /// Factor on launches for Ada.
    launch_ada
    /// Factor on launches for Hopper.
    launch_hopper
    /// Factor on launches for Blackwell.
    launch_blackwell
    /// Factor on launches in a graph where several GPUs take turns.
    launch_several
    /// Factor on launches in a graph where all GPUs work on every matrix.
    launch_tensor
    /// Kernels of a layer with routed experts, beyond those its tensors say.
    kernels_routed
    /// Kernels of a layer with recurrent state, beyond those its tensors say.
    kernels_recurrent
    /// Microseconds per step outside the layers: sampling, synchronising, reading logits.
    step_us
    /// Share of the bandwidth that reading the KV cache reaches with flash attention.
    cache_eta
    /// The same without.
    cache_eta_plain
    /// Clocks of one multiprocessor per query value and cached token, with flash attention.
    cache_clocks
    /// The same without.
    cache_clocks_plain
    /// Microseconds for handing a token's activations to the next GPU.
    hop_us
    /// Microseconds for summing up a token's activations over GPUs joined by NVLink.
    reduce_nvlink_us
    /// The same over PCIe with peer-to-peer access.
    reduce_p2p_us
    /// The same over PCIe through system RAM.
    reduce_host_us
    /// Share of its bandwidth at which the CPU reads weights.
    ram_eta
    /// Microseconds per layer that the CPU works on.
    ram_layer_us
    /// Microseconds for handing activations between GPU and CPU, one way.
    ram_handover_us
    /// Operations per clock of one multiprocessor when a prompt is read.
    rate
    /// Factor on the rate in builds before summer 2024.
    rate_early
    /// Factor on the rate for floats.
    rate_float
    /// Factor on the rate for 8-bit weights.
    rate_eight
    /// Factor on the rate for MXFP4 and NVFP4.
    rate_fp4
    /// The same on Blackwell, which multiplies them as they are.
    rate_fp4_native
    /// Factor on the rate for weights below 4 bits.
    rate_low
    /// Factor on the rate for routed experts.
    rate_experts
    /// Factor on the rate for Pascal.
    rate_pascal
    /// Factor on the rate for Volta.
    rate_volta
    /// Factor on the rate for Turing.
    rate_turing
    /// Factor on the rate for compute capability 8.0.
    rate_ampere_datacentre
    /// Factor on the rate for compute capability 8.6 and 8.7.
    rate_ampere
    /// Factor on the rate for Ada.
    rate_ada
    /// Factor on the rate for Hopper.
    rate_hopper
    /// Factor on the rate for Blackwell.
    rate_blackwell
    /// Factor on the rate for professional cards with GDDR, which a tighter power limit clocks down.
    rate_professional
    /// Tokens of a micro-batch at which half the rate is reached.
    half_tokens
    /// Tokens per expert at which half the rate is reached.
    half_expert_tokens
    /// Operations of attention per clock of one multiprocessor, with flash attention.
    attention_rate
    /// The same without.
    attention_rate_plain
    /// Clocks of one multiprocessor per token and value of the residual stream in a recurrent layer.
    recurrent_clocks
    /// Microseconds per kernel and micro-batch when a prompt is read.
    launch_prefill_us
    /// Share of the bandwidth at which experts are read again for each micro-batch.
    prefill_eta
    /// Layers per GPU at which half of the pipeline's gain is lost: launches ahead fill the queue.
    pipeline_layers
    /// How sharply.
    pipeline_power
    /// Share of PCIe's bandwidth that copies reach.
    pcie_eta
    /// Factor on it where copies between GPUs pass through system RAM.
    pcie_host
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// The coefficient's name.
    pub name: &'static str,
    /// What the fit found.
    pub value: f64,
    /// What was believed before.
    pub prior: f64,
    /// How far off, as standard deviation of the logarithm; 0: held fixed.
    pub spread: f64,
}

/// The table, in the order of [`Coefficients::NAMES`].
pub fn beliefs() -> impl Iterator<Item = Belief> {
    beliefs_in(include_str!("coefficients.tsv"))
}

/// A table like ours. Lines that are not sound are left out.
pub fn beliefs_in(text: &'static str) -> impl Iterator<Item = Belief> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut cells = line.split('\t');
        let name = cells.next()?;
        let mut number = || cells.next()?.parse::<f64>().ok().filter(|number| number.is_finite());
        Some(Belief { name, value: number()?, prior: number()?, spread: number()? })
    })
}

static CURRENT: LazyLock<Coefficients> = LazyLock::new(|| {
    let values: Vec<f64> = beliefs().map(|belief| belief.value).collect();
    Coefficients::of(&values).expect("coefficients.tsv has one line per name, which a test holds")
});

impl Coefficients {
    /// Those that the fit found.
    #[must_use]
    pub fn current() -> &'static Self {
        &CURRENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_one_line_per_name_in_order_and_every_number_is_sound() {
        let names: Vec<_> = beliefs().map(|belief| belief.name).collect();
        assert_eq!(names, Coefficients::NAMES);
        assert!(beliefs().all(|it| it.value > 0.0 && it.prior > 0.0 && (0.0..=1.0).contains(&it.spread)));
        assert!(beliefs().all(|it| it.spread > 0.0 || it.value.to_bits() == it.prior.to_bits()));
        assert_eq!(Coefficients::of(&Coefficients::current().values()).as_ref(), Some(Coefficients::current()));
    }
}
