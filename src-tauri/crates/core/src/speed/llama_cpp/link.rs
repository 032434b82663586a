//! What crossing between GPUs, and between GPU and system RAM, takes. Seconds.

use crate::speed::card::{CardSpeed, Link};
use crate::speed::llama_cpp::coefficients::Coefficients;
use crate::speed::setting::Setting;

/// Bytes per second of one PCIe lane of the first generation, after its 8b/10b code (PCI-SIG); each further generation
/// doubles it but for the change of code from the second to the third.
const LANE: [f64; 7] = [0.25e9, 0.5e9, 0.985e9, 1.969e9, 3.938e9, 7.563e9, 15.125e9];

/// Bytes per second of NVLink between two neighbours, one way: the least that was sold, two links of the first kind
/// (NVIDIA's whitepapers: 20 GB/s a link on Pascal, 25 GB/s from Volta on).
const NVLINK: f64 = 50e9;

/// Bytes per second that two channels of DDR4-3200 give: 2 × 8 bytes × 3.2 GT/s (JESD79-4).
const RAM_ASSUMED: f64 = 51.2e9;

/// Bytes of one value of the activations that are summed up (`f32`).
const ACTIVATION_BYTES: f64 = 4.0;

/// Sums of the activations in each layer when every matrix is shared: after attention, and after the feed-forward part.
pub(crate) const REDUCES_PER_LAYER: f64 = 2.0;

/// Bytes per second of a slot.
fn pcie(link: Link) -> f64 {
    let generation = usize::from(link.generation.clamp(1, 7));
    LANE[generation - 1] * f64::from(link.lanes.clamp(1, 16))
}

/// Bytes per second from system RAM to a GPU.
pub(crate) fn upload(card: &CardSpeed, k: &Coefficients) -> f64 {
    pcie(card.link) * k.pcie_eta
}

/// Bytes per second of the CPU's memory.
pub(crate) fn ram(setting: &Setting, k: &Coefficients) -> f64 {
    setting.ram_bandwidth_mb_s.map_or(RAM_ASSUMED, |rate| f64::from(rate.max(1)) * 1e6) * k.ram_eta
}

/// Seconds to sum up `values` activations over GPUs that share every matrix: latency and bytes over the slowest link. Each
/// GPU sends and gets 2 (n - 1) / n of them, as in a ring.
pub(crate) fn reduce<'a>(cards: impl Iterator<Item = &'a CardSpeed> + Clone, values: f64, k: &Coefficients) -> f64 {
    let count = f64::from(u32::try_from(cards.clone().count()).unwrap_or(u32::MAX));
    if count < 2.0 {
        return 0.0;
    }
    let all = |holds: fn(&Link) -> bool| cards.clone().all(|card| holds(&card.link));
    let slowest = cards.clone().map(|card| pcie(card.link)).fold(f64::INFINITY, f64::min) * k.pcie_eta;
    let (latency, rate) = if all(|link| link.nvlink) {
        (k.reduce_nvlink_us, NVLINK.max(slowest))
    } else if all(|link| link.p2p) {
        (k.reduce_p2p_us, slowest)
    } else {
        (k.reduce_host_us, slowest * k.pcie_host)
    };
    latency * 1e-6 + values * ACTIVATION_BYTES * 2.0 * (count - 1.0) / count / rate
}
