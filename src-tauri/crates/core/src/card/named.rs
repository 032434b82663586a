//! Cards by names as people write them: `RTX 5060 Ti 16GB`, `Tesla V100-SXM2-16GB`, `A100 80GB PCIe`, `rtx4090`.
//!
//! A name stands for a card when it has all the words that tell the card from others, and no word that the card has not. A
//! name that leaves several is refused with their names, never decided.

use super::table::{Card, cards};
use crate::units::GIB;

/// Words that all cards share, and that nobody needs.
const BRANDS: [&str; 2] = ["nvidia", "geforce"];
/// Words that do not tell cards apart, and may be left out.
const OPTIONAL: [&str; 14] = [
    "rtx",
    "gtx",
    "tesla",
    "quadro",
    "generation",
    "blackwell",
    "workstation",
    "edition",
    "gpu",
    "pcie",
    "sxm",
    "hbm",
    "hbm2",
    "hbm3",
];
/// Cards in a module, whose names do not say so.
const MODULES: [&str; 3] = ["NVIDIA H100 80GB HBM3", "NVIDIA H200", "NVIDIA B200"];
/// How far memory as written may lie from memory as in the table, GiB: 15 GB are said of a Tesla T4, as its driver shows.
const MEMORY_TOLERANCE_GIB: u64 = 1;

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// No card is called so; cards whose names hold what was written.
    Unknown(Vec<Card>),
    /// Several are.
    Ambiguous(Vec<Card>),
}

/// A name in words, without its brand and its memory.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    words: Vec<String>,
    memory_gib: Option<u64>,
}

/// The first card of the table that NVML calls so; *NVIDIA* and *GeForce* may be left out, and case does not count.
#[must_use]
pub fn card(name: &str) -> Option<Card> {
    let wanted = Words::of(name);
    cards().find(|card| Words::of(card.name) == wanted)
}

/// The card that a name stands for.
///
/// # Errors
/// A name of no card, or of several.
pub(super) fn resolve(name: &str) -> Result<Card, Unnamed> {
    if let Some(card) = card(name) {
        return Ok(card);
    }
    let wanted = Words::of(name);
    let mut found: Vec<Card> = Vec::new();
    for card in cards().filter(|card| wanted.stands_for(card)) {
        // Cards that NVML calls alike are one name; the first of them is the commoner.
        if !found.iter().any(|first| first.name == card.name) {
            found.push(card);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Unnamed::Unknown(near(&wanted))),
        _ => Err(Unnamed::Ambiguous(found)),
    }
}

/// Cards whose words begin as those written do.
fn near(wanted: &Words) -> Vec<Card> {
    let begins =
        |card: &Words| wanted.words.iter().all(|word| card.words.iter().any(|other| other.starts_with(word.as_str())));
    cards().filter(|card| !wanted.words.is_empty() && begins(&Words::of(card.name))).collect()
}

impl Words {
    fn of(name: &str) -> Self {
        let lower = name.to_lowercase().replace(['-', '_', '(', ')', '/'], " ");
        let mut found = Self { words: Vec::new(), memory_gib: None };
        let mut rest = lower.split_whitespace().flat_map(parted).peekable();
        while let Some(word) = rest.next() {
            let apart = rest.peek().is_some_and(|next| ["gb", "gib", "g"].contains(next));
            if let Some(gib) = word.parse().ok().filter(|_| apart).or_else(|| memory(word)) {
                found.memory_gib = Some(gib);
                if apart {
                    rest.next();
                }
            } else if !BRANDS.contains(&word) {
                found.words.push(word.to_owned());
            }
        }
        found
    }

    fn stands_for(&self, card: &Card) -> bool {
        let mut theirs = Self::of(card.name).words;
        if MODULES.contains(&card.name) {
            theirs.push("sxm".to_owned());
        }
        let has = |words: &[String], word: &str| words.iter().any(|other| alike(other, word));
        let gib = card.memory / GIB;
        self.memory_gib.is_none_or(|wanted| wanted.abs_diff(gib) <= MEMORY_TOLERANCE_GIB)
            && self.words.iter().any(|word| !OPTIONAL.contains(&word.as_str()))
            && self.words.iter().all(|word| has(&theirs, word))
            && theirs.iter().all(|word| has(&self.words, word) || optional(word))
    }
}

/// Whether two words mean the same: those of modules are taken without their number.
fn alike(one: &str, other: &str) -> bool {
    one == other || (one.starts_with("sxm") && other.starts_with("sxm"))
}

fn optional(word: &str) -> bool {
    OPTIONAL.contains(&word) || word.starts_with("sxm")
}

/// `rtx4090ti` as `rtx 4090 ti`: letters that people write onto the number.
fn parted(word: &str) -> Vec<&str> {
    let starts = ["rtx", "gtx"];
    let (start, rest) = starts.iter().find_map(|start| Some((*start, word.strip_prefix(start)?))).unwrap_or(("", word));
    let ends = ["ti", "super", "d"];
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let ending = ends.iter().find_map(|end| Some((rest.strip_suffix(end).filter(|start| number(start))?, *end)));
    match ending {
        Some((number, end)) => [start, number, end].into_iter().filter(|part| !part.is_empty()).collect(),
        None => [start, rest].into_iter().filter(|part| !part.is_empty()).collect(),
    }
}

/// `16gb` as 16.
fn memory(word: &str) -> Option<u64> {
    word.strip_suffix("gb").or_else(|| word.strip_suffix("gib"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MIB;

    fn found(name: &str) -> (&'static str, u64) {
        let card = resolve(name).unwrap_or_else(|why| panic!("{name}: {why:?}"));
        (card.name, card.memory / MIB / 1024)
    }

    #[test]
    fn names_that_nvml_gives_are_those_cards() {
        for card in cards() {
            assert_eq!(super::card(card.name).map(|found| found.name), Some(card.name));
            assert_eq!(resolve(card.name).map(|found| found.name), Ok(card.name));
            let brief = card.name.replace("NVIDIA ", "").replace("GeForce ", "");
            assert_eq!(resolve(&brief).map(|found| found.name), Ok(card.name), "{brief}");
        }
    }

    #[test]
    fn names_are_taken_as_people_write_them() {
        for (written, name, gib) in [
            ("geforce rtx 4090", "NVIDIA GeForce RTX 4090", 24),
            (" rtx  4090 ", "NVIDIA GeForce RTX 4090", 24),
            ("4090", "NVIDIA GeForce RTX 4090", 24),
            ("rtx4070ti", "NVIDIA GeForce RTX 4070 Ti", 12),
            ("3080 Ti", "NVIDIA GeForce RTX 3080 Ti", 12),
            ("RTX 5060 Ti 16GB", "NVIDIA GeForce RTX 5060 Ti", 16),
            ("RTX 5060 Ti 8 GB", "NVIDIA GeForce RTX 5060 Ti", 8),
            ("RTX 3060 12GB", "NVIDIA GeForce RTX 3060", 12),
            ("RTX 3080 12GB", "NVIDIA GeForce RTX 3080", 12),
            ("RTX 3080", "NVIDIA GeForce RTX 3080", 10),
            ("RTX 4090 (24 GiB)", "NVIDIA GeForce RTX 4090", 24),
            ("V100-SXM2-16GB", "Tesla V100-SXM2-16GB", 16),
            ("V100 SXM2 32 GB", "Tesla V100-SXM2-32GB", 32),
            ("V100 PCIe", "Tesla V100-PCIE-32GB", 32),
            ("Tesla T4 15GB", "Tesla T4", 16),
            ("T4", "Tesla T4", 16),
            ("P40", "Tesla P40", 24),
            ("A100 80GB PCIe", "NVIDIA A100 80GB PCIe", 80),
            ("A100 PCIe 40GB", "NVIDIA A100-PCIE-40GB", 40),
            ("A100 SXM", "NVIDIA A100-SXM4-80GB", 80),
            ("H100 SXM5", "NVIDIA H100 80GB HBM3", 80),
            ("H100 PCIe", "NVIDIA H100 PCIe", 80),
            ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation", 48),
            ("RTX 6000", "Quadro RTX 6000", 24),
            ("RTX PRO 6000 Max-Q", "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 96),
            ("RTX PRO 6000 Server", "NVIDIA RTX PRO 6000 Blackwell Server Edition", 96),
            ("RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96),
            ("RTX 5090 Laptop", "NVIDIA GeForce RTX 5090 Laptop GPU", 24),
            ("A6000", "NVIDIA RTX A6000", 48),
            ("Quadro RTX 8000", "Quadro RTX 8000", 48),
            ("RTX A2000 12 GB", "NVIDIA RTX A2000 12GB", 12),
            ("RTX A2000", "NVIDIA RTX A2000", 6),
        ] {
            assert_eq!(found(written), (name, gib), "{written}");
        }
    }

    #[test]
    fn what_is_no_card_is_none_and_what_is_several_lists_them() {
        let names = |cards: Vec<Card>| cards.into_iter().map(|card| card.name).collect::<Vec<_>>();
        for written in ["RTX 9999", "RTX 409", "RTX 4090 48GB", "RTX 3090 Super", "RTX", "16GB", "", "Ti"] {
            assert!(matches!(resolve(written), Err(Unnamed::Unknown(_))), "{written}: {:?}", resolve(written));
        }
        let Err(Unnamed::Ambiguous(several)) = resolve("A100") else { panic!("three cards are called A100") };
        assert_eq!(names(several), ["NVIDIA A100-PCIE-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"]);
        let Err(Unnamed::Unknown(near)) = resolve("RTX 409") else { panic!("no card is called RTX 409") };
        assert_eq!(names(near)[0], "NVIDIA GeForce RTX 4090");
    }
}
