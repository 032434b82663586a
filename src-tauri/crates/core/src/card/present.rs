//! What of a GPU that is here decides speed: what its driver says of it first, and the table by its name for the rest.

use super::table::{Card, cards, is_geforce, p2p_by_driver};
use crate::gpu::GpuFacts;
use crate::speed::{CardSpeed, Link, MemoryKind};

/// Buses of high-bandwidth memory have 1,024 data lines per stack (JESD235), those of GDDR at most 512 in all.
const HBM_BUS_BITS_MIN: u32 = 1024;
/// Share of the highest SM clock that GeForce cards are sold with as their boost: 0.81 for an RTX 3090 (1,695 of 2,100 MHz)
/// and an RTX 4090 (2,520 of 3,105 MHz); cards of the other lines have both the same. Taken for cards that the table lacks.
const GEFORCE_BOOST_PERCENT: u64 = 81;

/// What of a GPU decides speed; absent where neither its driver nor the table tells its bandwidth, SMs and clock.
///
/// The boost clock is the table's where it has the card: the driver tells the highest clock that the card may take, which
/// GeForce cards hold for moments only.
#[must_use]
pub fn speed_of(facts: &GpuFacts) -> Option<CardSpeed> {
    let row = row_of(facts);
    let row = row.as_ref();
    let told = &facts.speed_facts;
    let geforce = is_geforce(&facts.name);
    let slot = |said: Option<u32>| said.and_then(|said| u8::try_from(said).ok());
    Some(CardSpeed {
        bandwidth_mb_s: bandwidth(facts).or(row.map(|row| row.bandwidth_mb_s))?,
        memory: row.map(|row| row.memory_kind).or(told.memory_bus_bits.map(kind_of))?,
        sms: told.sms.or(row.map(|row| row.sms))?,
        boost_mhz: row.and_then(|row| row.boost_mhz).or(told.sm_clock_max_mhz.map(|mhz| boost(mhz, geforce)))?,
        capability: facts.capability().or(row.map(|row| row.capability))?,
        geforce,
        link: Link {
            generation: slot(facts.pcie_generation_max).or(row.map(|row| row.pcie_generation))?,
            lanes: slot(facts.pcie_width_max).or(row.map(|row| row.pcie_lanes))?,
            p2p: told.p2p.unwrap_or_else(|| p2p_by_driver(&facts.name)),
            nvlink: told.nvlink.unwrap_or(false),
        },
    })
}

/// The row of the table: of cards that NVML calls alike, the one whose memory is nearest.
fn row_of(facts: &GpuFacts) -> Option<Card> {
    let total = facts.memory_total.map(|bytes| bytes.0);
    let distance = |card: &Card| total.map_or(0, |total| card.memory.abs_diff(total));
    cards().filter(|card| card.name == facts.name).min_by_key(distance)
}

/// MB/s. The clock is half the rate at which data go over each pin, as NVML shows it.
fn bandwidth(facts: &GpuFacts) -> Option<u32> {
    let (bits, mhz) = (facts.speed_facts.memory_bus_bits?, facts.speed_facts.memory_clock_max_mhz?);
    let mb_s = u64::from(bits) * u64::from(mhz) * 2 / 8;
    u32::try_from(mb_s).ok().filter(|mb_s| *mb_s > 0)
}

fn kind_of(bus_bits: u32) -> MemoryKind {
    if bus_bits >= HBM_BUS_BITS_MIN { MemoryKind::Hbm } else { MemoryKind::Gddr }
}

fn boost(sm_clock_max_mhz: u32, geforce: bool) -> u32 {
    let percent = if geforce { GEFORCE_BOOST_PERCENT } else { 100 };
    u32::try_from(u64::from(sm_clock_max_mhz) * percent / 100).unwrap_or(sm_clock_max_mhz)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{GpuId, SpeedFacts};
    use crate::units::Bytes;

    fn facts(name: &str, gib: u64, speed_facts: SpeedFacts) -> GpuFacts {
        GpuFacts {
            id: GpuId("GPU-0".into()),
            index: 0,
            name: name.into(),
            pci_bus_id: None,
            memory_total: Some(Bytes::gib(gib)),
            compute_capability: Some((8, 6)),
            pcie_generation_max: Some(3),
            pcie_width_max: Some(8),
            speed_facts,
        }
    }

    #[test]
    fn the_drivers_words_come_first() {
        let told = SpeedFacts {
            memory_bus_bits: Some(384),
            memory_clock_max_mhz: Some(9751),
            sm_clock_max_mhz: Some(2100),
            sms: Some(82),
            p2p: Some(true),
            nvlink: Some(true),
        };
        let speed = speed_of(&facts("NVIDIA GeForce RTX 3090", 24, told)).expect("everything is told");
        assert_eq!((speed.bandwidth_mb_s, speed.sms, speed.boost_mhz), (936_096, 82, 1695));
        assert_eq!(speed.link, Link { generation: 3, lanes: 8, p2p: true, nvlink: true });
        // A card that the table lacks.
        let speed = speed_of(&facts("NVIDIA GeForce RTX 3095", 24, told)).expect("everything is told");
        assert_eq!((speed.memory, speed.boost_mhz, speed.geforce), (MemoryKind::Gddr, 1701, true));
        let told = SpeedFacts { memory_bus_bits: Some(5120), ..told };
        let speed = speed_of(&facts("NVIDIA X100", 80, told)).expect("everything is told");
        assert_eq!((speed.memory, speed.boost_mhz, speed.geforce), (MemoryKind::Hbm, 2100, false));
    }

    #[test]
    fn the_table_tells_what_the_driver_does_not() {
        let none = SpeedFacts::default();
        let speed = speed_of(&facts("NVIDIA GeForce RTX 3080", 12, none)).expect("it is in the table");
        assert_eq!((speed.bandwidth_mb_s, speed.sms, speed.link.p2p), (912_400, 70, false));
        let speed = speed_of(&facts("NVIDIA GeForce RTX 3080", 10, none)).expect("it is in the table");
        assert_eq!((speed.bandwidth_mb_s, speed.sms), (760_300, 68));
        assert!(speed_of(&facts("Tesla P40", 24, none)).expect("it is in the table").link.p2p);
        assert_eq!(speed_of(&facts("NVIDIA X100", 80, none)), None);
    }
}
