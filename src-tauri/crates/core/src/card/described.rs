//! GPUs in words: a card's name or free memory, and attributes behind `@`, joined by `+`.

use super::named::{Unnamed, resolve};
use super::size::size;
use super::table::{Card, capability_of};
use crate::engine::llama_cpp::flags::Device;
use crate::speed::{CardSpeed, Link};

/// Cards listed beside a name that is not understood.
const NEAR_MAX: usize = 4;
/// Newest PCIe generation that there is.
const PCIE_GENERATION_MAX: u8 = 7;

/// A GPU in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The card's name as NVML gives it, where one was given.
    pub name: Option<String>,
    /// All memory of the card, bytes; of a GPU described by its free memory, that.
    pub total: u64,
    /// Free memory, bytes.
    pub free: u64,
    /// Whether the free memory was given, else it is all that the card has.
    pub free_given: bool,
    /// Compute capability × 100.
    pub capability: u32,
    /// What of it decides speed, its slot included; absent for a GPU described by its free memory, and for a card whose
    /// clock is not known.
    pub speed: Option<CardSpeed>,
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
    /// The name of several cards.
    #[error("\"{text}\" is the name of several cards: write {cards}.")]
    SeveralCards {
        /// As written.
        text: String,
        /// Their names.
        cards: String,
    },
    /// An attribute that is none.
    #[error(
        "\"{text}\" behind @ is none of compute capability (cc8.6), free memory (free=22GiB), slot (pcie4x8), p2p, nop2p and \
         nvlink."
    )]
    UnknownAttribute {
        /// As written.
        text: String,
    },
    /// A slot of a GPU of which nothing but its memory is known.
    #[error("\"{text}\" behind @ needs a card's name in front of it, such as RTX 4090@{text}.")]
    NoCard {
        /// As written.
        text: String,
    },
    /// NVLink on a card without.
    #[error("The {card} has no NVLink: leave \"nvlink\" out, or write p2p where its driver allows that over PCIe.")]
    NoNvlink {
        /// The card.
        card: &'static str,
    },
    /// An amount of memory that is none.
    #[error("\"{text}\" is no amount of memory: write a number with MiB or GiB, up to 16 TiB.")]
    BadSize {
        /// As written.
        text: String,
    },
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
    let (card, mut found) = subject(what)?;
    for attribute in attributes.into_iter().flat_map(|rest| rest.split('+')).map(str::trim) {
        apply(attribute, card.as_ref(), &mut found)?;
    }
    Ok(found)
}

/// What stands in front of the attributes.
fn subject(what: &str) -> Result<(Option<Card>, Described), DescriptionError> {
    let text = || what.to_owned();
    if what.starts_with(|c: char| c.is_ascii_digit())
        && !what.contains(' ')
        && !what.bytes().all(|b| b.is_ascii_digit())
    {
        // A number with letters is a size, unless it is a card's, such as 3080ti.
        if let Some(free) = size(what) {
            let capability = Device::CAPABILITY_ASSUMED;
            return Ok((None, Described { name: None, total: free, free, free_given: true, capability, speed: None }));
        }
    }
    match resolve(what) {
        Ok(card) => {
            let (memory, capability) = (card.memory, card.capability);
            let name = Some(card.name.to_owned());
            let speed = card.speed();
            let found = Described { name, total: memory, free: memory, free_given: false, capability, speed };
            Ok((Some(card), found))
        }
        Err(Unnamed::Ambiguous(cards)) => {
            Err(DescriptionError::SeveralCards { text: text(), cards: listed(&cards, cards.len()) })
        }
        Err(Unnamed::Unknown(_)) if what.starts_with(|c: char| c.is_ascii_digit()) && !what.contains(' ') => {
            Err(DescriptionError::BadSize { text: text() })
        }
        Err(Unnamed::Unknown(near)) if near.is_empty() => {
            Err(DescriptionError::UnknownCard { text: text(), near: String::new() })
        }
        Err(Unnamed::Unknown(near)) => {
            let near = format!("; is {} meant", listed(&near, NEAR_MAX));
            Err(DescriptionError::UnknownCard { text: text(), near })
        }
    }
}

/// Names of cards for a sentence, up to a number; cards that share one are told by their memory.
fn listed(cards: &[Card], most: usize) -> String {
    let shared = |card: &Card| cards.iter().filter(|other| other.name == card.name).count() > 1;
    let name = |card: &Card| {
        let gib = card.memory / crate::units::GIB;
        if shared(card) { format!("{} {gib}GB", card.name) } else { card.name.to_owned() }
    };
    cards.iter().take(most).map(name).collect::<Vec<_>>().join(" or ")
}

fn apply(attribute: &str, card: Option<&Card>, found: &mut Described) -> Result<(), DescriptionError> {
    let unknown = || DescriptionError::UnknownAttribute { text: attribute.to_owned() };
    if let Some(free) = attribute.strip_prefix("free=") {
        found.free = size(free).ok_or_else(|| DescriptionError::BadSize { text: free.to_owned() })?;
        found.free_given = true;
        if card.is_none() {
            found.total = found.free;
        }
        return Ok(());
    }
    if let Some(capability) = attribute.strip_prefix("cc") {
        let capability = capability_of(capability.strip_prefix('=').unwrap_or(capability)).ok_or_else(unknown)?;
        found.capability = capability;
        found.speed = found.speed.map(|speed| CardSpeed { capability, ..speed });
        return Ok(());
    }
    let change = link_change(attribute).ok_or_else(unknown)?;
    let card = card.ok_or_else(|| DescriptionError::NoCard { text: attribute.to_owned() })?;
    if matches!(change, LinkChange::Nvlink) && !card.nvlink {
        return Err(DescriptionError::NoNvlink { card: card.name });
    }
    found.speed = found.speed.map(|speed| CardSpeed { link: change.applied(speed.link), ..speed });
    Ok(())
}

/// What an attribute says of a card's link.
enum LinkChange {
    /// The slot; lanes as they were where none are given.
    Slot { generation: u8, lanes: Option<u8> },
    /// Peer access over PCIe, or none.
    PeerAccess(bool),
    /// A bridge or a board with NVLink, which is a way to reach each other's memory too.
    Nvlink,
}

impl LinkChange {
    fn applied(&self, link: Link) -> Link {
        match *self {
            Self::Slot { generation, lanes } => Link { generation, lanes: lanes.unwrap_or(link.lanes), ..link },
            Self::PeerAccess(p2p) => Link { p2p, ..link },
            Self::Nvlink => Link { p2p: true, nvlink: true, ..link },
        }
    }
}

fn link_change(attribute: &str) -> Option<LinkChange> {
    match attribute {
        "p2p" => Some(LinkChange::PeerAccess(true)),
        "nop2p" => Some(LinkChange::PeerAccess(false)),
        "nvlink" => Some(LinkChange::Nvlink),
        slot => {
            let (generation, lanes) = match slot.strip_prefix("pcie")?.split_once('x') {
                Some((generation, lanes)) => (generation, Some(lanes)),
                None => (slot.strip_prefix("pcie")?, None),
            };
            let generation = generation.strip_suffix(".0").unwrap_or(generation).parse().ok();
            let generation = generation.filter(|generation| (1..=PCIE_GENERATION_MAX).contains(generation))?;
            let lanes = match lanes {
                Some(lanes) => Some(lanes.parse().ok().filter(|lanes| [1, 2, 4, 8, 16].contains(lanes))?),
                None => None,
            };
            Some(LinkChange::Slot { generation, lanes })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::card::size::SIZE_MAX;
    use crate::units::MIB;

    #[test]
    fn gpus_are_described_by_memory_or_name() {
        let found =
            described("23700MiB@cc8.6, 11500MiB@cc6.1,RTX 4090@free=22.5GiB+cc9.0,rtx 3060,4060ti").expect("all sound");
        let seen: Vec<_> = found.iter().map(|gpu| (gpu.free / MIB, gpu.free_given, gpu.capability)).collect();
        assert_eq!(
            seen,
            [(23_700, true, 860), (11_500, true, 610), (23_040, true, 900), (12_288, false, 860), (16_384, false, 890)]
        );
        assert_eq!(found[2].name.as_deref(), Some("NVIDIA GeForce RTX 4090"));
        assert_eq!((found[2].total / MIB, found[2].speed.map(|speed| speed.capability)), (24_576, Some(900)));
        assert_eq!((found[0].speed, found[0].total), (None, found[0].free));
        assert_eq!((described("none"), described("")), (Ok(vec![]), Ok(vec![])));
    }

    #[test]
    fn slots_are_described_behind_the_name() {
        let link = |text: &str| {
            let link = described(text).expect("sound")[0].speed.expect("the card's clock is known").link;
            (link.generation, link.lanes, link.p2p, link.nvlink)
        };
        for (text, expected) in [
            ("RTX 4090", (4, 16, false, false)),
            ("RTX 5060 Ti 16GB", (5, 8, false, false)),
            ("Tesla P40", (3, 16, true, false)),
            ("Tesla P40@nop2p", (3, 16, false, false)),
            ("RTX 4090@pcie4x8+p2p", (4, 8, true, false)),
            ("RTX 3090@nvlink+free=22GiB", (4, 16, true, true)),
            ("RTX 3090@pcie3x16", (3, 16, false, false)),
            ("RTX 5090@pcie5.0x8", (5, 8, false, false)),
            ("RTX 4060@pcie3", (3, 8, false, false)),
        ] {
            assert_eq!(link(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let error = |text: &str| described(text).expect_err("not sound").to_string();
        assert!(error("24GB").contains("\"24GB\" is no amount of memory"));
        assert!(error("24000").contains("MiB or GiB"));
        assert!(error("1GiB,").contains("neither free memory"));
        assert!(error("RTX 409").contains("is NVIDIA GeForce RTX 4090 or "), "{}", error("RTX 409"));
        assert!(error("RTX 9999").contains("a card that is known."), "{}", error("RTX 9999"));
        assert!(error("H100").contains("NVIDIA H100 PCIe or NVIDIA H100 80GB HBM3"), "{}", error("H100"));
        assert!(error("RTX 3080 24GB").contains("NVIDIA GeForce RTX 3080 12GB"), "{}", error("RTX 3080 24GB"));
        assert!(error("1GiB@pcie4").contains("\"pcie4\" behind @ needs a card's name"));
        assert!(error("RTX 4090@nvlink").contains("The NVIDIA GeForce RTX 4090 has no NVLink"));
        for attribute in ["cc86", "pcie", "pcie8x16", "pcie4x3", "pciex8", "fast", ""] {
            assert!(error(&format!("RTX 4090@{attribute}")).contains(&format!("\"{attribute}\" behind @ is none")));
        }
        assert!(error("RTX 4090@free=lots").contains("\"lots\""));
        assert!(error("99999999999GiB").contains("16 TiB"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[0-9a-zA-Z@+=., GiBM]{0,40}") {
            if let Ok(gpus) = described(&text) {
                prop_assert!(gpus.iter().all(|gpu| gpu.free <= SIZE_MAX && gpu.capability >= 100));
            }
        }
    }
}
