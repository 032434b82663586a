//! From the driver's numbers to readings. What no card can be is *not supported*, never a number.
//!
//! Drivers answer with success and nonsense: all ones for "not available", 0 or 255 °C after resume, utilisation above
//! 100, memory used beyond the total. Pure.

use dualgpuopt_core::gpu::Metric;
use dualgpuopt_core::reading::{Reading, Why};

/// Hotter than any chip survives; 255 and 510 were seen.
const TEMPERATURE_C_MAX: i64 = 150;
/// An RTX 5090 draws 575 W, a B200 1000 W.
const POWER_MW_MAX: u32 = 3_000_000;
/// Fans may exceed their nominal maximum.
const FAN_PERCENT_MAX: u32 = 200;
const CLOCK_MHZ_MAX: u32 = 20_000;
/// Eight stacks of HBM4 with 2,048 bits each (JESD270-4), and as much again.
const BUS_BITS_MAX: u32 = 32_768;
/// PCIe 7 is the newest generation with a number.
const PCIE_GENERATION_MAX: u32 = 7;
/// PCI Express Base Specification: x32 is the widest link.
const PCIE_LANES_MAX: u32 = 32;
/// PCIe 7.0 x16 moves 256 GB/s a direction.
const PCIE_KB_PER_S_MAX: u32 = 512_000_000;
const PERFORMANCE_STATE_MAX: u32 = 15;
/// A double holds every integer below this; `nvml.h` uses the lowest dozen bits.
const MASK_BITS: u64 = (1 << 53) - 1;

const INSANE: Reading = Reading::Missing(Why::NotSupported);

fn within(value: u32, low: u32, high: u32) -> Reading {
    if (low..=high).contains(&value) { Reading::Value(f64::from(value)) } else { INSANE }
}

/// Utilisation in percent.
pub(super) fn percent(value: u32) -> Reading {
    within(value, 0, 100)
}

/// Core temperature in °C. A chip that runs is warmer than 0.
pub(super) fn temperature(value: i64) -> Reading {
    if (1..=TEMPERATURE_C_MAX).contains(&value) {
        within(u32::try_from(value).unwrap_or(0), 1, u32::MAX)
    } else {
        INSANE
    }
}

/// Power in watts from milliwatts. A card that answers draws some.
pub(super) fn power(milliwatts: u32) -> Reading {
    if (1..=POWER_MW_MAX).contains(&milliwatts) { Reading::Value(f64::from(milliwatts) / 1000.0) } else { INSANE }
}

/// Fan speed in percent; 0 is the zero-rpm mode.
pub(super) fn fan(value: u32) -> Reading {
    within(value, 0, FAN_PERCENT_MAX)
}

/// A clock in MHz.
pub(super) fn clock(value: u32) -> Reading {
    within(value, 0, CLOCK_MHZ_MAX)
}

/// Width of a memory bus in bits.
pub(super) fn bus_width(value: u32) -> Reading {
    within(value, 1, BUS_BITS_MAX)
}

/// PCIe generation.
pub(super) fn pcie_generation(value: u32) -> Reading {
    within(value, 1, PCIE_GENERATION_MAX)
}

/// PCIe lanes.
pub(super) fn pcie_width(value: u32) -> Reading {
    within(value, 1, PCIE_LANES_MAX)
}

/// PCIe traffic in bytes/s from KB/s (1000 bytes).
pub(super) fn pcie_traffic(kilobytes: u32) -> Reading {
    if kilobytes <= PCIE_KB_PER_S_MAX { Reading::Value(f64::from(kilobytes) * 1000.0) } else { INSANE }
}

/// Performance state; 32 is NVML's "unknown".
pub(super) fn performance_state(value: u32) -> Reading {
    within(value, 0, PERFORMANCE_STATE_MAX)
}

/// Clock event reasons.
pub(super) fn mask(bits: u64) -> Reading {
    if bits == u64::MAX { INSANE } else { whole(bits & MASK_BITS) }
}

/// Memory as either version of the call says it, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) free: u64,
    pub(super) used: u64,
    /// Version 1 counts it as used and does not say it.
    pub(super) reserved: Option<u64>,
}

/// The four memory metrics. Where a part exceeds the total, no part of that answer is believed.
pub(super) fn memory(memory: Memory) -> [(Metric, Reading); 4] {
    let Memory { total, free, used, reserved } = memory;
    let known = reserved.unwrap_or(0);
    let sane = total > 0 && total <= MASK_BITS && [used, free, known].into_iter().all(|part| part <= total);
    let reading = |value: Option<u64>| value.filter(|_| sane).map_or(INSANE, whole);
    [
        (Metric::MemoryTotal, reading(Some(total))),
        (Metric::MemoryFree, reading(Some(free))),
        (Metric::MemoryUsed, reading(Some(used))),
        (Metric::MemoryReserved, reading(reserved)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "callers keep it within 53 bits")]
fn whole(value: u64) -> Reading {
    Reading::Value(value as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_not_supported_and_sense_passes() {
        for insane in [
            temperature(0),
            temperature(255),
            temperature(-3),
            temperature(510),
            percent(101),
            percent(u32::MAX),
            power(0),
            power(u32::MAX),
            fan(u32::MAX),
            clock(u32::MAX),
            pcie_generation(0),
            pcie_generation(u32::MAX),
            pcie_width(0),
            pcie_traffic(u32::MAX),
            performance_state(32),
            mask(u64::MAX),
        ] {
            assert_eq!(insane, INSANE);
        }
        assert_eq!(temperature(45), Reading::Value(45.0));
        assert_eq!(power(31_250), Reading::Value(31.25));
        assert_eq!(fan(0), Reading::Value(0.0));
        assert_eq!(fan(104), Reading::Value(104.0));
        assert_eq!(pcie_traffic(1500), Reading::Value(1_500_000.0));
        assert_eq!(mask(0x24), Reading::Value(36.0));
    }

    #[test]
    fn memory_is_believed_whole_or_not_at_all() {
        let good = Memory { total: 24, free: 20, used: 3, reserved: Some(1) };
        assert!(memory(good).iter().all(|(_, reading)| reading.value().is_some()));
        for bad in [
            Memory { used: 25, ..good },
            Memory { free: u64::MAX, ..good },
            Memory { total: u64::MAX, ..good },
            Memory { total: 0, free: 0, used: 0, reserved: None },
        ] {
            assert!(memory(bad).iter().all(|(_, reading)| *reading == INSANE), "{bad:?}");
        }
        let first = Memory { reserved: None, ..good };
        assert_eq!(memory(first)[3], (Metric::MemoryReserved, INSANE));
    }
}
