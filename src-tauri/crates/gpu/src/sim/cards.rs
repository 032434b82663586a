//! Cards that the simulator knows, from their makers' public specifications.
//!
//! Source: NVIDIA's product pages and data sheets ("GeForce RTX 30/40/50 Series" comparison, "RTX A6000", "L40S",
//! "A100 80GB PCIe", "H100 PCIe"), boost clock as the highest SM clock. The memory clock is half the data rate per
//! pin, as NVML shows it (HBM: as in the data sheet). Memory is the nominal capacity; drivers report up to 1 % less.

/// A card's public facts.
#[derive(Debug)]
pub(super) struct Card {
    /// Short names, normalised; the first is the one shown in lists.
    pub(super) short: &'static [&'static str],
    /// As the driver names it.
    pub(super) name: &'static str,
    pub(super) memory_gib: u32,
    pub(super) power_limit_w: f64,
    pub(super) sm_clock_max_mhz: f64,
    pub(super) memory_clock_max_mhz: f64,
    pub(super) pcie_generation_max: u32,
    pub(super) pcie_width_max: u32,
    pub(super) compute_capability: (u32, u32),
    /// Whether it has a fan of its own; cards for servers are cooled by the chassis.
    pub(super) fan: bool,
}

/// One row of the table: names, memory GiB, power W, SM and memory MHz, PCIe generation and lanes, capability, fan.
macro_rules! cards {
    ($( $short:expr, $name:literal, $gib:literal, $watts:literal, $sm:literal, $mem:literal, $gen:literal x $lanes:literal, $cc:expr, $fan:literal; )+) => {
        &[$( Card {
            short: &$short, name: $name, memory_gib: $gib, power_limit_w: $watts, sm_clock_max_mhz: $sm,
            memory_clock_max_mhz: $mem, pcie_generation_max: $gen, pcie_width_max: $lanes, compute_capability: $cc,
            fan: $fan,
        } ),+]
    };
}

/// All cards known.
#[rustfmt::skip]
pub(super) const CARDS: &[Card] = cards! {
    ["3060", "306012gb"], "NVIDIA GeForce RTX 3060", 12, 170.0, 1777.0, 7501.0, 4 x 16, (8, 6), true;
    ["3070"], "NVIDIA GeForce RTX 3070", 8, 220.0, 1725.0, 7001.0, 4 x 16, (8, 6), true;
    ["3080", "308010gb"], "NVIDIA GeForce RTX 3080", 10, 320.0, 1710.0, 9501.0, 4 x 16, (8, 6), true;
    ["3090"], "NVIDIA GeForce RTX 3090", 24, 350.0, 1695.0, 9751.0, 4 x 16, (8, 6), true;
    ["3090ti"], "NVIDIA GeForce RTX 3090 Ti", 24, 450.0, 1860.0, 10501.0, 4 x 16, (8, 6), true;
    ["4060ti16gb", "4060ti"], "NVIDIA GeForce RTX 4060 Ti", 16, 165.0, 2535.0, 9001.0, 4 x 8, (8, 9), true;
    ["4070"], "NVIDIA GeForce RTX 4070", 12, 200.0, 2475.0, 10501.0, 4 x 16, (8, 9), true;
    ["4070tisuper"], "NVIDIA GeForce RTX 4070 Ti SUPER", 16, 285.0, 2610.0, 10501.0, 4 x 16, (8, 9), true;
    ["4080"], "NVIDIA GeForce RTX 4080", 16, 320.0, 2505.0, 11201.0, 4 x 16, (8, 9), true;
    ["4090"], "NVIDIA GeForce RTX 4090", 24, 450.0, 2520.0, 10501.0, 4 x 16, (8, 9), true;
    ["5070ti"], "NVIDIA GeForce RTX 5070 Ti", 16, 300.0, 2452.0, 14001.0, 5 x 16, (12, 0), true;
    ["5080"], "NVIDIA GeForce RTX 5080", 16, 360.0, 2617.0, 15001.0, 5 x 16, (12, 0), true;
    ["5090"], "NVIDIA GeForce RTX 5090", 32, 575.0, 2407.0, 14001.0, 5 x 16, (12, 0), true;
    ["a6000"], "NVIDIA RTX A6000", 48, 300.0, 1800.0, 8001.0, 4 x 16, (8, 6), true;
    ["l40s"], "NVIDIA L40S", 48, 350.0, 2520.0, 9001.0, 4 x 16, (8, 9), false;
    ["a100", "a10080gb"], "NVIDIA A100 80GB PCIe", 80, 300.0, 1410.0, 1512.0, 4 x 16, (8, 0), false;
    ["h100", "h10080gb", "h100pcie"], "NVIDIA H100 PCIe", 80, 350.0, 1755.0, 1593.0, 5 x 16, (9, 0), false;
};

/// The card of a name: case, spaces, dashes, `NVIDIA`, `GeForce` and `RTX` do not matter.
pub(super) fn find(name: &str) -> Option<&'static Card> {
    let mut plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(64).collect();
    for prefix in ["nvidia", "geforce", "rtx"] {
        if let Some(rest) = plain.strip_prefix(prefix) {
            plain = rest.to_owned();
        }
    }
    CARDS.iter().find(|card| card.short.contains(&plain.as_str()))
}
