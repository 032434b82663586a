//! What is known of GPUs: facts that stay, samples that pass, and frames that hold them together.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reading::{Reading, Why};
use crate::time::Stamp;
use crate::units::Bytes;

/// A GPU's identity: its UUID as the driver gives it (`GPU-…`). Index and bus order may change; this does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, specta::Type)]
#[serde(transparent)]
pub struct GpuId(pub String);

impl fmt::Display for GpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Declares the metrics once: variant and wire name, which ends in its unit.
macro_rules! metrics {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal; )+) => {
        /// One measured quantity of a GPU. The wire name ends in its unit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, specta::Type)]
        pub enum Metric { $( $(#[$doc])* #[serde(rename = $name)] $variant, )+ }

        impl Metric {
            /// Every metric, in display order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The name on the wire and in files.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),+ } }
        }
    };
}

metrics! {
    /// Memory held by processes, without the driver's reserve (NVML memory v2 `used`).
    MemoryUsed = "memory_used_bytes";
    /// Memory nobody holds.
    MemoryFree = "memory_free_bytes";
    /// All memory of the card.
    MemoryTotal = "memory_total_bytes";
    /// Memory kept by driver and firmware.
    MemoryReserved = "memory_reserved_bytes";
    /// Share of the last sample period in which some kernel ran.
    GpuUtilization = "gpu_utilization_percent";
    /// Share of the last sample period in which device memory was read or written (bandwidth activity, not fill).
    MemoryUtilization = "memory_utilization_percent";
    /// Core temperature.
    Temperature = "temperature_c";
    /// Board power draw.
    Power = "power_w";
    /// Power limit in force.
    PowerLimit = "power_limit_w";
    /// Intended fan speed, share of maximum; may exceed 100. The largest of all fans.
    Fan = "fan_percent";
    /// Streaming-multiprocessor clock.
    SmClock = "sm_clock_mhz";
    /// Memory clock.
    MemoryClock = "memory_clock_mhz";
    /// PCIe generation in use now; falls at idle by design.
    PcieGeneration = "pcie_generation";
    /// PCIe lanes in use now.
    PcieWidth = "pcie_width_lanes";
    /// Bytes received over PCIe.
    PcieReceive = "pcie_receive_bytes_per_s";
    /// Bytes sent over PCIe.
    PcieSend = "pcie_send_bytes_per_s";
    /// Performance state, 0 (highest) to 15.
    PerformanceState = "performance_state";
    /// Clock event reasons as the driver's bit mask; see [`throttle_words`].
    ThrottleReasons = "throttle_reasons_mask";
}

/// What a clock event mask means, in words; empty when nothing holds the clocks down.
///
/// Source: `nvml.h`, `nvmlClocksEventReason*`. Idle (0x1) and unknown-to-us bits are not throttling;
/// unknown bits read "other".
#[must_use]
pub fn throttle_words(mask: u64) -> Vec<&'static str> {
    const NAMES: [(u64, &str); 8] = [
        (0x2, "application clocks"),
        (0x4, "power cap"),
        (0x8, "hardware slowdown"),
        (0x10, "sync boost"),
        (0x20, "software thermal"),
        (0x40, "hardware thermal"),
        (0x80, "power brake"),
        (0x100, "display clocks"),
    ];
    const KNOWN: u64 = 0x1ff;
    let mut words: Vec<_> = NAMES.iter().filter(|(bit, _)| mask & bit != 0).map(|&(_, word)| word).collect();
    if mask & !KNOWN != 0 {
        words.push("other");
    }
    words
}

/// What holds the clocks down, for a reader of text: the words of [`throttle_words`], `nothing`, or why it is not known.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bit mask below 2^53, never negative")]
pub fn throttle_text(reading: Reading) -> String {
    match reading {
        Reading::Value(mask) => {
            let words = throttle_words(mask as u64);
            if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
        }
        Reading::Missing(why) => why.words().to_owned(),
    }
}

/// What does not change while the driver is loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct GpuFacts {
    /// Identity.
    pub id: GpuId,
    /// Position in the source's order (PCI bus order for NVML). Display only.
    pub index: u32,
    /// Marketing name, such as `NVIDIA GeForce RTX 3090`.
    pub name: String,
    /// PCI address `00000000:01:00.0`; absent for simulated cards without one.
    pub pci_bus_id: Option<String>,
    /// All memory of the card; absent where the driver does not say (unified memory).
    pub memory_total: Option<Bytes>,
    /// CUDA compute capability `(major, minor)`.
    pub compute_capability: Option<(u32, u32)>,
    /// Highest PCIe generation of card and slot together.
    pub pcie_generation_max: Option<u32>,
    /// Most PCIe lanes of card and slot together.
    pub pcie_width_max: Option<u32>,
    /// What its driver says of its speed.
    #[serde(default)]
    pub speed_facts: SpeedFacts,
}

/// What a driver says of a card's speed. Each is absent where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct SpeedFacts {
    /// Width of the memory bus, bits.
    pub memory_bus_bits: Option<u32>,
    /// Highest memory clock, MHz: half the rate at which data go over each pin.
    pub memory_clock_max_mhz: Option<u32>,
    /// Highest clock of the SMs, MHz.
    pub sm_clock_max_mhz: Option<u32>,
    /// Streaming multiprocessors.
    pub sms: Option<u32>,
    /// Whether it can read the memory of every other GPU here without passing through system RAM; absent where it is alone.
    pub p2p: Option<bool>,
    /// Whether any NVLink of it is up.
    pub nvlink: Option<bool>,
}

/// Where frames come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// The NVIDIA driver's management library.
    Nvml,
    /// The built-in simulator; nothing is measured.
    Simulated,
}

/// The machine as its source describes it: changes only when cards or drivers do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Machine {
    /// The source.
    pub source: SourceKind,
    /// The cards, in the source's order.
    pub gpus: Vec<GpuFacts>,
    /// Driver version, such as `570.133.07`.
    pub driver_version: Option<String>,
    /// Highest CUDA version that the driver supports, such as `12.8`.
    pub cuda_version: Option<String>,
    /// Version of the management library.
    pub nvml_version: Option<String>,
}

/// One GPU at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct GpuSample {
    /// Which GPU.
    pub gpu: GpuId,
    /// When this GPU last answered; absent while it never has.
    pub answered_at: Option<Stamp>,
    /// Each metric's reading. A metric that is absent was not asked for.
    pub metrics: BTreeMap<Metric, Reading>,
}

impl GpuSample {
    /// A sample in which every metric is missing for one reason.
    #[must_use]
    pub fn missing(gpu: GpuId, answered_at: Option<Stamp>, why: Why) -> Self {
        let metrics = Metric::ALL.iter().map(|&metric| (metric, Reading::Missing(why))).collect();
        Self { gpu, answered_at, metrics }
    }

    /// The reading of a metric; one that was not asked for is *not supported*.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Reading {
        self.metrics.get(&metric).copied().unwrap_or(Reading::Missing(Why::NotSupported))
    }

    /// The one reason that all metrics share, when not a single one has a value.
    #[must_use]
    pub fn silent(&self) -> Option<Why> {
        let mut why = None;
        for reading in self.metrics.values() {
            match (reading, why) {
                (Reading::Value(_), _) => return None,
                (Reading::Missing(w), None) => why = Some(*w),
                (Reading::Missing(w), Some(first)) if first == *w => {}
                (Reading::Missing(_), Some(_)) => return None,
            }
        }
        why
    }
}

/// All GPUs at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Frame {
    /// Counts up by one with each frame of a source.
    pub seq: u64,
    /// When it was taken.
    pub at: Stamp,
    /// One sample per GPU, in the machine's order.
    pub gpus: Vec<GpuSample>,
    /// What went wrong while reading, in words for the user.
    pub problems: Vec<String>,
}

impl GpuFacts {
    /// Compute capability × 100, such as 860; absent when unknown.
    #[must_use]
    pub fn capability(&self) -> Option<u32> {
        self.compute_capability.map(|(major, minor)| major * 100 + minor * 10)
    }
}

impl Frame {
    /// The sample of one GPU.
    #[must_use]
    pub fn sample(&self, gpu: &GpuId) -> Option<&GpuSample> {
        self.gpus.iter().find(|sample| sample.gpu == *gpu)
    }
}

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SourceHealth {
    /// The first answer is awaited.
    Starting,
    /// Frames arrive.
    Live,
    /// There is no such source on this machine.
    Absent {
        /// What is missing, one sentence.
        message: String,
        /// What was looked for, and what came of each.
        looked_for: Vec<String>,
    },
    /// It stopped answering or crashed, and is being started again.
    Recovering {
        /// What happened, one sentence.
        message: String,
        /// Which attempt this is, from 1.
        attempt: u32,
        /// How many are made before giving up.
        attempts_max: u32,
    },
    /// It was given up; only the user can start it again.
    Failed {
        /// What happened, one sentence.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_end_in_their_unit_and_are_unique() {
        let mut names: Vec<_> = Metric::ALL.iter().map(|m| m.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }

    #[test]
    fn unknown_throttle_bits_are_kept_as_other() {
        assert_eq!(throttle_words(0x1), Vec::<&str>::new());
        assert_eq!(throttle_words(0x4 | 0x8000), vec!["power cap", "other"]);
    }

    #[test]
    fn a_sample_is_silent_only_when_every_metric_shares_one_reason() {
        let mut sample = GpuSample::missing(GpuId("GPU-a".into()), None, Why::TimedOut);
        assert_eq!(sample.silent(), Some(Why::TimedOut));
        sample.metrics.insert(Metric::Power, Reading::Value(30.0));
        assert_eq!(sample.silent(), None);
    }
}
