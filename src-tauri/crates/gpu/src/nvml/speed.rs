//! What a card says of its speed, once: bus, clocks, SMs and how it reaches other cards.

use dualgpuopt_core::gpu::SpeedFacts;
use nvml_wrapper::enum_wrappers::device::{Clock, P2pCapabilitiesIndex, P2pStatus};
use nvml_wrapper::structs::device::CudaComputeCapability;
use nvml_wrapper::{Device, Nvml};

use super::{known, sane};
use crate::source::GPUS_MAX;

/// `NVML_NVLINK_MAX_LINKS` of `nvml.h`: most links that a card has.
const NVLINKS_MAX: u32 = 18;

/// What the card at `index` says. Whatever fails is absent.
pub(super) fn facts(
    nvml: &Nvml,
    device: &Device<'_>,
    index: u32,
    capability: Option<&CudaComputeCapability>,
) -> SpeedFacts {
    let clock = |kind| known(device.max_clock_info(kind), sane::clock).filter(|mhz| *mhz > 0);
    let cores = device.num_cores().ok();
    SpeedFacts {
        memory_bus_bits: known(device.memory_bus_width(), sane::bus_width),
        memory_clock_max_mhz: clock(Clock::Memory),
        sm_clock_max_mhz: clock(Clock::SM),
        sms: cores.zip(capability).and_then(|(cores, it)| sms(cores, it.major, it.minor)),
        p2p: p2p(nvml, device, index),
        nvlink: nvlink(device),
    }
}

/// SMs by their cores. Source: `_ConvertSMVer2Cores` of helper_cuda.h in NVIDIA's CUDA samples.
fn sms(cores: u32, major: i32, minor: i32) -> Option<u32> {
    let cores_per_sm = match (major, minor) {
        (6, 0) | (7, _) | (8, 0) => 64,
        (5, _) | (6 | 8, _) | (9.., _) => 128,
        _ => return None,
    };
    Some(cores / cores_per_sm).filter(|sms| *sms > 0 && cores.is_multiple_of(cores_per_sm))
}

/// Whether it reads the memory of every other card directly; absent where there is no other, or one does not say.
fn p2p(nvml: &Nvml, device: &Device<'_>, index: u32) -> Option<bool> {
    let count = nvml.device_count().ok()?.min(u32::try_from(GPUS_MAX).unwrap_or(u32::MAX));
    let mut all = None;
    for other in (0..count).filter(|other| *other != index) {
        let other = nvml.device_by_index(other).ok()?;
        let status = device.p2p_status(&other, P2pCapabilitiesIndex::Read).ok()?;
        all = Some(all.unwrap_or(true) && status == P2pStatus::Ok);
    }
    all
}

/// Whether any link is up; absent where the card does not tell of even the first.
fn nvlink(device: &Device<'_>) -> Option<bool> {
    let mut links = (0..NVLINKS_MAX).map_while(|link| device.link_wrapper_for(link).is_active().ok()).peekable();
    links.peek()?;
    Some(links.any(|active| active))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_by_sm() {
        // Tesla P100, GTX 1080 Ti, T4, A100, RTX 3090, RTX 4090, H100 SXM, RTX 5090.
        for (cores, major, minor, expected) in [
            (3584, 6, 0, 56),
            (3584, 6, 1, 28),
            (2560, 7, 5, 40),
            (6912, 8, 0, 108),
            (10_496, 8, 6, 82),
            (16_384, 8, 9, 128),
            (16_896, 9, 0, 132),
            (21_760, 12, 0, 170),
        ] {
            assert_eq!(sms(cores, major, minor), Some(expected), "{cores} {major}.{minor}");
        }
        assert_eq!((sms(100, 8, 6), sms(0, 8, 6), sms(2880, 3, 5)), (None, None, None));
    }
}
