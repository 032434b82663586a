//! NVIDIA cards by name, and GPUs described in words instead of being present: `RTX 4090@pcie4x8+free=22GiB`, `23700MiB@cc8.6`.
//!
//! Absent: what of a card's memory the driver keeps for itself, which differs by card and driver: a card named alone counts
//! with all of its memory free.

mod described;
mod named;
mod present;
mod size;
mod table;

pub use described::{Described, DescriptionError, described};
pub use named::card;
pub use present::speed_of;
pub use table::{Card, cards};

use crate::speed::CardSpeed;

/// What of a card decides speed, by its name as people write it, in a slot that has all that the card asks for.
///
/// Absent where the name is that of no card, or of several, or where the card's clock is not known.
#[must_use]
pub fn card_speed(name: &str) -> Option<CardSpeed> {
    named::resolve(name).ok()?.speed()
}
